"""Names for places on a frontal radiograph: thirds of the image, with the patient's sides.

Thirds of the image are no anatomy: on a badly centred image the lung's upper zone may lie in the middle third.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gazevlm_core.scanpath import Fixation

HEIGHTS = ("upper", "middle", "lower")
SIDES = ("right", "central", "left")  # from the image's left edge on: the patient faces the viewer
ZONES: tuple[str, ...] = tuple(f"{side} {height}" for height in HEIGHTS for side in SIDES)
# What radiologists call these thirds; the one below the heart is none of the chest's regions.
REGIONS = {"upper": "upper zone", "middle": "mid zone", "lower": "base"}
MEDIASTINUM = frozenset({"central upper", "central middle"})


@dataclass(frozen=True)
class ZoneDwell:
    """Dwell of a scanpath in one zone.

    Args:
        zone: one of ZONES.
        fixations: how many.
        dwell_ms: their summed durations; None where one of them is not known.
        share: of all dwell time, or of all fixations where a duration is not known.
    """

    zone: str
    fixations: int
    dwell_ms: float | None
    share: float


def zone_of(fixation: Fixation) -> str:
    """Return the third of the image, e.g. "right upper", with the patient's side."""
    return f"{SIDES[int(3 * fixation.x)]} {HEIGHTS[int(3 * fixation.y)]}"


def zone_dwells(fixations: Sequence[Fixation]) -> list[ZoneDwell]:
    """Return the dwell in every zone that is fixated, in the order of ZONES; empty without fixations."""
    durations = [fixation.duration_ms for fixation in fixations]
    weights = [1.0 if None in durations or duration is None else duration for duration in durations]
    total, rows = sum(weights), []
    for zone in ZONES:
        inside = [index for index, fixation in enumerate(fixations) if zone_of(fixation) == zone]
        if inside:
            known = [duration for index in inside if (duration := durations[index]) is not None]
            dwell_ms = sum(known) if len(known) == len(inside) else None
            share = sum(weights[index] for index in inside) / total if total else 0.0
            rows.append(ZoneDwell(zone, len(inside), dwell_ms, share))
    return rows


def unseen_regions(fixations: Sequence[Fixation]) -> list[str]:
    """Return the regions of the chest that no fixation lies in, from top to bottom, e.g. ["both bases"]."""
    seen, found = {zone_of(fixation) for fixation in fixations}, []
    for height, region in REGIONS.items():
        sides = [side for side in ("right", "left") if f"{side} {height}" not in seen]
        if len(sides) == 2:
            found.append(f"both {region}s")
        found += [f"the {side} {region}" for side in sides if len(sides) == 1]
        found += ["the mediastinum"] if height == "middle" and seen.isdisjoint(MEDIASTINUM) else []
    return found


def unseen_words(fixations: Sequence[Fixation]) -> str:
    """Say in a sentence which regions no fixation lies in, e.g. "Both bases were not looked at."; "" where none."""
    names = unseen_regions(fixations)
    if not names:
        return ""
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    one = len(names) == 1 and not listed.startswith("both")
    return f"{listed[0].upper()}{listed[1:]} {'was' if one else 'were'} not looked at."
