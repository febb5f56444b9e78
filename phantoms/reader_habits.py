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

USUAL_BOX_AREA = 0.06  # of a finding, share of the image
CAPTURED_BY_SIZE, RECOGNISED_BY_SIZE = 0.22, 0.1  # what a size larger by the factor e adds to conspicuity
CAPTURED_AT_MOST = 0.95  # share of gross abnormality that the first glance goes to
CAPTURED_FROM, CAPTURE_SLOPE = 0.5, 12.0  # conspicuity of even odds
RECOGNISED_FROM, RECOGNITION_SLOPE = -0.1, 3.5
RETURN_COST, FORGOTTEN_AFTER = 0.2, 12.0  # a region just seen is this much further away, and less with every visit
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
    "costophrenic angle": 0.0,
    "lateral ribs": 0.0,
    "apex": 0.02,
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
        returning: factor on the rate of returns to unsure findings, and probability of checking one at the end.
        lingering: probability of looking at another place of a finding before the search goes on; again each time.
        grasp: how many findings the first glance draws the eye to, at most.
        thoroughness: factor on the length of the scan.
        staying: chance of one more small step in a place.
        pairing: probability of comparing a region of the sweep with the same region of the other side.
        opening: landmarks always visited first, in this order.
        closing: landmarks always visited last, in this order.

    Raises:
        ValueError: a probability outside [0, 1], staying or lingering without end, or a tempo or jitter that is not
            positive.
    """

    name: str
    tempo: float = 1.0
    jitter: float = 0.015
    vigilance: float = 0.0
    rightward: float = 0.0
    upward: float = 0.0
    comparison: float = 0.35
    returning: float = 0.6
    lingering: float = 0.65
    grasp: int = 1
    thoroughness: float = 1.0
    staying: float = 0.47
    pairing: float = 0.35
    opening: tuple[str, ...] = ()
    closing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field_name in ("staying", "comparison", "returning", "lingering", "pairing"):
            value = getattr(self, field_name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"reader {self.name!r}: {field_name} must be a probability, got {value!r}")
        for field_name in ("staying", "lingering"):
            if getattr(self, field_name) == 1.0:
                raise ValueError(f"reader {self.name!r}: with {field_name} 1 a reading would never end")
        for field_name in ("tempo", "jitter", "thoroughness"):
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


def conspicuity(finding: PlacedFinding, size_weight: float = CAPTURED_BY_SIZE) -> float:
    """Return how much a finding stands out, about 0 to 1.3: its severity, its size, and what it means."""
    x0, y0, x1, y1 = finding.box
    size = math.log(max((x1 - x0) * (y1 - y0), 1e-4) / USUAL_BOX_AREA)
    return finding.severity + DRAWN_FINDINGS[finding.name].alarm + size_weight * min(max(size, -2.5), 1.5)


def captures(finding: PlacedFinding, reader: Reader, rng: np.random.Generator) -> bool:
    """Return whether the first glance is drawn by a finding: gross abnormality draws it, a subtle or small one does
    not."""
    log_odds = CAPTURE_SLOPE * (conspicuity(finding) - CAPTURED_FROM) + reader.vigilance
    return bool(rng.random() < CAPTURED_AT_MOST / (1.0 + math.exp(-log_odds)))


def recognises(finding: PlacedFinding, found: int, reader: Reader, rng: np.random.Generator) -> bool:
    """Return whether a reader who fixates near a finding sees it as one.

    What was found before satisfies the search: it lowers the chance of a subtle one.
    """
    satisfied = 0.6 * found if finding.grade == "subtle" else 0.0
    stands_out = conspicuity(finding, RECOGNISED_BY_SIZE)
    log_odds = RECOGNITION_SLOPE * (stands_out - RECOGNISED_FROM) + reader.vigilance - satisfied
    return bool(rng.random() < 1.0 / (1.0 + math.exp(-log_odds)))


def mirrored(point: Point, landmarks: Landmarks) -> Point:
    """Return the place on the other side of the spine, at the same height."""
    (upper_x, upper_y), (lower_x, lower_y) = landmarks["upper spine"], landmarks["lower spine"]
    share = (point[1] - upper_y) / max(lower_y - upper_y, 1e-6)
    spine_x = upper_x + min(max(share, 0.0), 1.0) * (lower_x - upper_x)
    return 2.0 * spine_x - point[0], point[1]


def entry_point(landmarks: Landmarks) -> Point:
    """Return where the eye enters: towards the side with the higher diaphragm, and lower where the lungs are short."""
    width = landmarks["left lateral ribs"][0] - landmarks["right lateral ribs"][0]
    gap = (landmarks["left diaphragm"][1] - landmarks["right diaphragm"][1]) / width
    height = (landmarks["right diaphragm"][1] - landmarks["right apex"][1]) / width
    right = ENTRY_REACH_ACROSS * math.tanh((gap - USUAL_DOME_GAP) / DOME_GAP_SPREAD)
    down = ENTRY_REACH_ALONG * math.tanh((USUAL_LUNG_HEIGHT - height) / LUNG_HEIGHT_SPREAD)
    middles = [landmarks[name] for name in ("right mid lung", "left mid lung", "right lower lung", "left lower lung")]
    x, y = np.mean(middles, axis=0)
    return float(x) - right, float(y) + down


def other_side(name: str) -> str | None:
    """Return the region of the other side with the same name; None for one in the middle."""
    side, _, place = name.partition(" ")
    return f"{'left' if side == 'right' else 'right'} {place}" if place in SIDED_REGIONS else None


def next_region(
    gaze: Point,
    paired: str | None,
    names: Sequence[str],
    ages: Mapping[str, int],
    landmarks: Landmarks,
    reader: Reader,
    rng: np.random.Generator,
) -> str:
    """Return the region that the scan goes on with: the paired one, or a near one not seen lately; habits and chance
    tilt it.

    Args:
        gaze: the place fixated now.
        paired: the region of the other side, None in the middle.
        names: of the regions to choose from.
        ages: visits since each visited region was left.
        landmarks, reader, rng: of the reading.
    """
    if paired is not None and paired not in ages and paired in names and rng.random() < reader.pairing:
        return paired
    chance = CHOICE_NOISE * rng.standard_normal(len(names))
    costs = []
    for name, shift in zip(names, chance, strict=True):
        x, y = landmarks[name]
        distance = max(math.hypot(x - gaze[0], y - gaze[1]), NATURAL_STEP)
        tilt = reader.rightward * (x - gaze[0]) + reader.upward * (y - gaze[1])
        seen = RETURN_COST * math.exp(-ages[name] / FORGOTTEN_AFTER) if name in ages else 0.0
        costs.append(distance + REGIONS[name] + tilt + seen + shift)
    return names[int(np.argmin(costs))]
