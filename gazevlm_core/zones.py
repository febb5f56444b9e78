"""Names for places on a frontal radiograph: thirds of the image, with the patient's sides.

Thirds of the image are no anatomy: on a badly centred image the lung's upper zone may lie in the middle third.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gazevlm_core.scanpath import Fixation

HEIGHTS = ("upper", "middle", "lower")
SIDES = ("right", "central", "left")  # from the image's left edge on: the patient faces the viewer
ZONES: tuple[str, ...] = tuple(f"{side} {height}" for height in HEIGHTS for side in SIDES)


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
    all_known = all(fixation.duration_ms is not None for fixation in fixations)
    total = sum(_weight(fixation, all_known) for fixation in fixations)
    rows = []
    for zone in ZONES:
        inside = [fixation for fixation in fixations if zone_of(fixation) == zone]
        if inside:
            weight = sum(_weight(fixation, all_known) for fixation in inside)
            known = [fixation.duration_ms for fixation in inside if fixation.duration_ms is not None]
            dwell_ms = sum(known) if len(known) == len(inside) else None
            rows.append(ZoneDwell(zone, len(inside), dwell_ms, weight / total if total else 0.0))
    return rows


def _weight(fixation: Fixation, all_known: bool) -> float:
    return fixation.duration_ms if all_known and fixation.duration_ms is not None else 1.0
