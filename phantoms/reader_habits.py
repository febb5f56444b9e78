"""Habits of visual search: what a reader notices, where the eye enters, how it sweeps, and how it visits a finding.

What decides can be seen in the image: the findings, their severity, and the landmarks as projected. Chance enters once
per reading, and a reader's habits only tilt the search. Lengths are fractions of the image side.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from phantoms.findings import DRAWN_FINDINGS
from phantoms.truth import PlacedFinding

Point = tuple[float, float]
Landmarks = Mapping[str, Point]
Purpose = Literal["finding", "comparison", "sweep"]

REFIXATION_DISTANCE = 0.066  # from one fixation to the next within a finding or region
FAR_FOCUS = 0.16  # foci further apart than this are places of their own
NATURAL_STEP = 0.18  # regions nearer than this are no easier to go to: they were seen from the corner of the eye
CHOICE_NOISE = 0.04  # how much chance shifts the distances by which the next region is chosen
ENTRY_REACH_ACROSS, ENTRY_REACH_ALONG = 0.22, 0.3  # how far from the middle the eye can enter
USUAL_DOME_GAP, DOME_GAP_SPREAD = 0.04, 0.017  # of generated phantoms without findings, by chest width
USUAL_LUNG_HEIGHT, LUNG_HEIGHT_SPREAD = 0.72, 0.07  # by chest width

# Regions of the sweep, with what is added to their distance: larger where a reader seldom goes without a reason.
SIDED_REGIONS: Mapping[str, float] = {
    "upper lung": 0.0,
    "mid lung": 0.0,
    "lower lung": 0.0,
    "hilum": 0.0,
    "costophrenic angle": 0.03,
    "apex": 0.04,
    "diaphragm": 0.1,
}
REGIONS: Mapping[str, float] = {
    **{f"{side} {place}": aversion for side in ("right", "left") for place, aversion in SIDED_REGIONS.items()},
    "carina": 0.03,
    "aortic knob": 0.03,
    "heart": 0.02,
    "left heart border": 0.04,
    "right heart border": 0.05,
}


@dataclass(frozen=True, slots=True)
class Reader:
    """One simulated reader: habits that tilt the search.

    Args:
        name: unique; seeds this reader's chance.
        tempo: factor on fixation durations.
        jitter: spread of the landing point around its aim (standard deviation, fraction of the image side).
        vigilance: shift of the log-odds of noticing a finding.
        rightward: aversion from the patient's left (image right) when the next region is chosen, per unit of distance.
        upward: aversion from lower places, per unit of distance.
        comparison: probability of comparing a one-sided leading finding with the mirrored place.
        returning: probability of coming back to the leading finding, at once after a comparison and again later.
        refixating: probability of a second fixation within a region of the sweep.
        pairing: probability of comparing a region of the sweep with the same region of the other side.
        opening: landmarks always visited first, in this order.
        closing: landmarks always visited last, in this order.

    Raises:
        ValueError: a probability outside [0, 1], or a tempo or jitter that is not positive.
    """

    name: str
    tempo: float = 1.0
    jitter: float = 0.015
    vigilance: float = 0.0
    rightward: float = 0.0
    upward: float = 0.0
    comparison: float = 0.8
    returning: float = 0.7
    refixating: float = 0.25
    pairing: float = 0.25
    opening: tuple[str, ...] = ()
    closing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field_name in ("comparison", "returning", "refixating", "pairing"):
            value = getattr(self, field_name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"reader {self.name!r}: {field_name} must be a probability, got {value!r}")
        for field_name in ("tempo", "jitter"):
            if not getattr(self, field_name) > 0.0:
                raise ValueError(f"reader {self.name!r}: {field_name} must be positive")


@dataclass(frozen=True, slots=True)
class Aim:
    """A planned fixation: where the eye aims (fractions of the image) and why."""

    x: float
    y: float
    purpose: Purpose

    @property
    def at(self) -> Point:
        """(x, y)."""
        return self.x, self.y


def seen_findings(findings: Sequence[PlacedFinding], reader: Reader, rng: np.random.Generator) -> list[PlacedFinding]:
    """The findings that this reading notices, most alarming first.

    The chance rises with severity. What was noticed before satisfies the search: it lowers the chance of subtle ones.
    """
    by_alarm = sorted(findings, key=lambda finding: -(finding.severity + DRAWN_FINDINGS[finding.name].alarm))
    seen: list[PlacedFinding] = []
    for finding in by_alarm:
        satisfied = 0.6 * len(seen) if finding.grade == "subtle" else 0.0
        log_odds = -1.0 + 11.0 * finding.severity + reader.vigilance - satisfied
        if rng.random() < 1.0 / (1.0 + math.exp(-log_odds)):
            seen.append(finding)
    return seen


def mirrored(point: Point, landmarks: Landmarks) -> Point:
    """The place on the other side of the spine, at the same height."""
    (upper_x, upper_y), (lower_x, lower_y) = landmarks["upper spine"], landmarks["lower spine"]
    share = (point[1] - upper_y) / max(lower_y - upper_y, 1e-6)
    spine_x = upper_x + min(max(share, 0.0), 1.0) * (lower_x - upper_x)
    return 2.0 * spine_x - point[0], point[1]


def towards(start: Point, goal: Point) -> Point:
    """The place of a second fixation: a little way from one place to another."""
    share = REFIXATION_DISTANCE / max(math.dist(start, goal), REFIXATION_DISTANCE)
    return start[0] + share * (goal[0] - start[0]), start[1] + share * (goal[1] - start[1])


def finding_aims(
    finding: PlacedFinding, leading: bool, landmarks: Landmarks, reader: Reader, rng: np.random.Generator
) -> list[Aim]:
    """The aims at a finding when it is met: its foci, and for a leading one-sided one the mirrored place and back."""
    first, *others = finding.foci
    near = [focus for focus in others if 0.03 <= math.dist(first, focus) <= FAR_FOCUS]
    far = [focus for focus in others if math.dist(first, focus) > FAR_FOCUS]
    aims = [Aim(*first, "finding"), Aim(*(near[0] if near else towards(first, landmarks["carina"])), "finding")]
    if far:
        aims.append(Aim(*far[0], "finding"))
    elif leading and finding.side in ("left", "right") and rng.random() < reader.comparison:
        aims.append(Aim(*mirrored(first, landmarks), "comparison"))
        if rng.random() < reader.returning:
            aims.append(Aim(*first, "finding"))
    return aims


def entry_point(landmarks: Landmarks) -> Point:
    """Where the eye enters: towards the side with the higher diaphragm, and lower where the lungs are short."""
    width = landmarks["left lateral ribs"][0] - landmarks["right lateral ribs"][0]
    gap = (landmarks["left diaphragm"][1] - landmarks["right diaphragm"][1]) / width
    height = (landmarks["right diaphragm"][1] - landmarks["right apex"][1]) / width
    right = ENTRY_REACH_ACROSS * math.tanh((gap - USUAL_DOME_GAP) / DOME_GAP_SPREAD)
    down = ENTRY_REACH_ALONG * math.tanh((USUAL_LUNG_HEIGHT - height) / LUNG_HEIGHT_SPREAD)
    middles = [landmarks[name] for name in ("right mid lung", "left mid lung", "right lower lung", "left lower lung")]
    x, y = np.mean(middles, axis=0)
    return float(x) - right, float(y) + down


def other_side(name: str) -> str | None:
    """The region of the other side with the same name; None for one in the middle."""
    side, _, place = name.partition(" ")
    return f"{'left' if side == 'right' else 'right'} {place}" if place in SIDED_REGIONS else None


def next_region(
    gaze: Point,
    paired: str | None,
    left_over: Sequence[str],
    landmarks: Landmarks,
    reader: Reader,
    rng: np.random.Generator,
) -> str:
    """The region that the sweep goes on with: the paired one, or the nearest, tilted by habits and by chance."""
    if paired is not None and paired in left_over and rng.random() < reader.pairing:
        return paired
    costs = []
    for name in left_over:
        x, y = landmarks[name]
        distance = max(math.dist(gaze, (x, y)), NATURAL_STEP)
        tilt = reader.rightward * (x - gaze[0]) + reader.upward * (y - gaze[1])
        costs.append(distance + REGIONS[name] + tilt + CHOICE_NOISE * rng.standard_normal())
    return left_over[int(np.argmin(costs))]
