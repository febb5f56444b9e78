"""Which findings a phantom has: how often, how severe, where, and which go together.

"Lung opacity" is a finding of its own here, a hazy, patchy ground-glass change; consolidation, lesions, edema and
atelectasis do not imply it (CheXpert labels it as their parent, which would make it a sum of the others).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from gazevlm_core.findings import FINDING_NAMES, HELD_OUT_FINDING_NAMES, SEVERE_FROM, SUBTLE_BELOW, Side

GRADE_SHARES = (0.25, 0.45, 0.30)  # subtle, moderate, severe
SMALLEST_SEVERITY = 0.04
COUNT_SHARES = {"A": (0.22, 0.30, 0.26, 0.15, 0.07), "B": (0.34, 0.34, 0.20, 0.09, 0.03)}  # of 0, 1, 2, 3, 4 findings
HELD_OUT_SHARE = 0.12
# Relative odds of being the next finding, before affinities.
WEIGHTS = {
    "A": (0.9, 0.85, 1.15, 1.05, 0.85, 0.9, 0.95, 1.0, 0.75, 0.95, 0.95),
    "B": (0.6, 1.3, 0.8, 0.7, 0.9, 1.4, 0.7, 0.6, 1.3, 0.6, 1.6),
}
# Odds of the second given the first, relative to chance; symmetric, 1 where not named.
AFFINITIES: dict[tuple[str, str], float] = {
    ("cardiomegaly", "edema"): 3.5,
    ("cardiomegaly", "pleural effusion"): 2.2,
    ("edema", "pleural effusion"): 3.0,
    ("edema", "support devices"): 1.8,
    ("cardiomegaly", "enlarged cardiomediastinum"): 1.6,
    ("cardiomegaly", "support devices"): 1.5,
    ("consolidation", "pleural effusion"): 1.6,
    ("atelectasis", "pleural effusion"): 2.0,
    ("pneumothorax", "fracture"): 2.2,
    ("pneumothorax", "support devices"): 1.6,
    ("pneumothorax", "edema"): 0.15,
    ("pneumothorax", "lung opacity"): 0.6,
    ("edema", "lung opacity"): 0.15,
    ("edema", "lung lesion"): 0.5,
    ("consolidation", "lung opacity"): 0.7,
    ("edema", "consolidation"): 0.5,
}
MIDLINE = ("enlarged cardiomediastinum", "cardiomegaly", "hiatal hernia")
SHARE_BOTH_SIDES = {"lung opacity": 0.35, "pleural effusion": 0.3, "atelectasis": 0.2, "edema": 1.0}
ZONES: dict[str, tuple[str, ...]] = {
    "enlarged cardiomediastinum": ("upper",),
    "cardiomegaly": ("central",),
    "lung opacity": ("upper", "mid", "lower"),
    "lung lesion": ("upper", "mid", "lower"),
    "edema": ("perihilar",),
    "consolidation": ("upper", "mid", "lower"),
    "atelectasis": ("basal", "lower", "mid"),
    "pneumothorax": ("apical",),
    "pleural effusion": ("basal",),
    "fracture": ("upper", "lateral", "lower"),
    "support devices": ("central",),
    "hiatal hernia": ("retrocardiac",),
}
DEVICE_SHARES: dict[str, float] = {
    "central venous catheter": 0.28,
    "pacemaker": 0.24,
    "endotracheal tube": 0.17,
    "nasogastric tube": 0.16,
    "chest tube": 0.15,
}
PARENCHYMAL = ("lung opacity", "lung lesion", "consolidation", "atelectasis")  # would hide each other in one place


@dataclass(frozen=True)
class FindingRequest:
    """A finding to draw, for galleries and tests.

    Args:
        name: one of FINDING_NAMES or HELD_OUT_FINDING_NAMES.
        severity: (0, 1]; None draws one.
        side: the patient's side; None draws one.
        detail: kind of support device; None draws one.
    """

    name: str
    severity: float | None = None
    side: Side | None = None
    detail: str | None = None

    def __post_init__(self) -> None:
        if self.name not in FINDING_NAMES + HELD_OUT_FINDING_NAMES:
            known = ", ".join(FINDING_NAMES + HELD_OUT_FINDING_NAMES)
            raise ValueError(f"unknown finding {self.name!r}; expected one of {known}")
        if self.severity is not None and not 0.0 < self.severity <= 1.0:
            raise ValueError(f"{self.name}: severity must lie in (0, 1], got {self.severity!r}")
        if self.side is not None and self.side not in get_args(Side):
            raise ValueError(f"{self.name}: unknown side {self.side!r}; expected one of {', '.join(get_args(Side))}")
        if self.detail is not None and self.detail not in DEVICE_SHARES:
            raise ValueError(f"unknown device {self.detail!r}; expected one of {', '.join(DEVICE_SHARES)}")


@dataclass(frozen=True)
class FindingSpec:
    """A finding that was decided upon: what, where, how strong; see PlacedFinding for the terms."""

    name: str
    side: Side
    zone: str
    severity: float
    detail: str = ""

    @property
    def signs(self) -> tuple[float, ...]:
        """-1 for the patient's right (image left), +1 for the left."""
        return {"right": (-1.0,), "left": (1.0,), "both": (-1.0, 1.0), "midline": (1.0,)}[self.side]


def choose_findings(
    rng: np.random.Generator, domain: str, requests: Sequence[FindingRequest] | None, include_held_out: bool
) -> tuple[FindingSpec, ...]:
    """Requested findings, or a plausible combination by the domain's prevalence, in the order of FINDING_NAMES."""
    if requests is None:
        requests = [FindingRequest(name) for name in _sample_names(rng, domain, include_held_out)]
    names = [request.name for request in requests]
    if len(set(names)) != len(names):
        raise ValueError(f"each finding can be requested once, got {', '.join(names)}")
    order = FINDING_NAMES + HELD_OUT_FINDING_NAMES
    specs: list[FindingSpec] = []
    for request in sorted(requests, key=lambda request: order.index(request.name)):
        specs.append(_place(rng, request, specs))
    return tuple(specs)


def sample_severity(rng: np.random.Generator) -> float:
    """Severity in (0, 1]: uniform within a grade drawn by GRADE_SHARES."""
    grade = int(rng.choice(3, p=GRADE_SHARES))
    low, high = ((SMALLEST_SEVERITY, SUBTLE_BELOW), (SUBTLE_BELOW, SEVERE_FROM), (SEVERE_FROM, 1.0))[grade]
    return float(rng.uniform(low, high))


def _sample_names(rng: np.random.Generator, domain: str, include_held_out: bool) -> list[str]:
    """Names one by one; each choice shifts the odds of the next by the affinities."""
    count = int(rng.choice(len(COUNT_SHARES[domain]), p=COUNT_SHARES[domain]))
    odds = np.array(WEIGHTS[domain], dtype=np.float64)
    names: list[str] = []
    for _ in range(count):
        name = FINDING_NAMES[int(rng.choice(len(odds), p=odds / odds.sum()))]
        names.append(name)
        odds[FINDING_NAMES.index(name)] = 0.0
        for other, value in enumerate(FINDING_NAMES):
            odds[other] *= AFFINITIES.get((name, value), AFFINITIES.get((value, name), 1.0))
    held_out = rng.random(len(HELD_OUT_FINDING_NAMES))
    if include_held_out:
        names += [name for name, draw in zip(HELD_OUT_FINDING_NAMES, held_out, strict=True) if draw < HELD_OUT_SHARE]
    return names


def _place(rng: np.random.Generator, request: FindingRequest, earlier: list[FindingSpec]) -> FindingSpec:
    """Give a finding its severity, side and zone, away from earlier findings of the lung."""
    name = request.name
    severity = sample_severity(rng) if request.severity is None else request.severity
    zones = ZONES[name]
    zone = zones[int(rng.integers(len(zones)))]
    side: Side = "left" if rng.random() < 0.5 else "right"
    if rng.random() < SHARE_BOTH_SIDES.get(name, 0.0):
        side = "both"
    device = list(DEVICE_SHARES)[int(rng.choice(len(DEVICE_SHARES), p=list(DEVICE_SHARES.values())))]
    if name in MIDLINE:
        side = "midline"
    elif name in PARENCHYMAL or name == "pneumothorax":
        side = _free_side(side, earlier)
    detail = ""
    if name == "support devices":
        detail = request.detail or device
        if detail in ("endotracheal tube", "nasogastric tube"):
            side = "midline"
        elif detail == "chest tube":  # it drains what is there
            drained = [spec.side for spec in earlier if spec.name in ("pneumothorax", "pleural effusion")]
            side = drained[0] if drained and drained[0] in ("left", "right") else side
        elif detail == "pacemaker" and rng.random() < 0.6:
            side = "left"
    return FindingSpec(name, request.side or side, zone, severity, detail)


def _free_side(side: Side, earlier: list[FindingSpec]) -> Side:
    """A side that no earlier finding of the lung holds alone, where there is one."""
    taken = {spec.side for spec in earlier if spec.name in (*PARENCHYMAL, "pneumothorax")}
    if side in ("left", "right") and side in taken:
        other: Side = "right" if side == "left" else "left"
        return side if other in taken or "both" in taken else other
    if side == "both" and taken:
        return "right" if "left" in taken else "left"
    return side
