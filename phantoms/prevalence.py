"""Which findings a phantom has: how often, how severe, where, and which go together.

"Lung opacity" is a finding of its own here, a hazy, patchy ground-glass change; consolidation, lesions, edema and
atelectasis do not imply it (CheXpert labels it as their parent, which would make it a sum of the others).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from gazevlm_core.findings import FINDING_NAMES, HELD_OUT_FINDING_NAMES, SEVERE_FROM, SUBTLE_BELOW, Side
from phantoms.case import FindingSpec
from phantoms.findings import DRAWN_FINDINGS

GRADE_SHARES = (0.25, 0.45, 0.30)  # subtle, moderate, severe
SMALLEST_SEVERITY = 0.04
COUNT_SHARES = {"A": (0.22, 0.30, 0.26, 0.15, 0.07), "B": (0.34, 0.34, 0.20, 0.09, 0.03)}  # of 0, 1, 2, 3, 4 findings
HELD_OUT_SHARE = 0.12


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
        if self.name not in DRAWN_FINDINGS:
            raise ValueError(f"unknown finding {self.name!r}; expected one of {', '.join(DRAWN_FINDINGS)}")
        if self.severity is not None and not 0.0 < self.severity <= 1.0:
            raise ValueError(f"{self.name}: severity must lie in (0, 1], got {self.severity!r}")
        if self.side is not None and self.side not in get_args(Side):
            raise ValueError(f"{self.name}: unknown side {self.side!r}; expected one of {', '.join(get_args(Side))}")
        kinds = [kind for finding in DRAWN_FINDINGS.values() for kind in finding.kinds]
        if self.detail is not None and self.detail not in kinds:
            raise ValueError(f"unknown device {self.detail!r}; expected one of {', '.join(kinds)}")


def choose_findings(
    rng: np.random.Generator, domain: str, requests: Sequence[FindingRequest] | None, include_held_out: bool
) -> tuple[FindingSpec, ...]:
    """Requested findings, or a plausible combination by the domain's prevalence, in the order of FINDING_NAMES."""
    if requests is None:
        requests = [FindingRequest(name) for name in _sample_names(rng, domain, include_held_out)]
    names = [request.name for request in requests]
    if len(set(names)) != len(names):
        raise ValueError(f"each finding can be requested once, got {', '.join(names)}")
    order = list(DRAWN_FINDINGS)
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
    odds = np.array([DRAWN_FINDINGS[name].odds[domain] for name in FINDING_NAMES], dtype=np.float64)
    names: list[str] = []
    for _ in range(count):
        name = FINDING_NAMES[int(rng.choice(len(odds), p=odds / odds.sum()))]
        names.append(name)
        odds[FINDING_NAMES.index(name)] = 0.0
        for index, other in enumerate(FINDING_NAMES):
            odds[index] *= _affinity(name, other)
    held_out = rng.random(len(HELD_OUT_FINDING_NAMES))
    if include_held_out:
        names += [name for name, draw in zip(HELD_OUT_FINDING_NAMES, held_out, strict=True) if draw < HELD_OUT_SHARE]
    return names


def _affinity(name: str, other: str) -> float:
    """Odds of one finding given the other, relative to chance, as either of the two has it."""
    return DRAWN_FINDINGS[name].affinities.get(other, DRAWN_FINDINGS[other].affinities.get(name, 1.0))


def _place(rng: np.random.Generator, request: FindingRequest, earlier: list[FindingSpec]) -> FindingSpec:
    """Give a finding its severity, side, zone and kind, away from earlier findings of the lung."""
    finding = DRAWN_FINDINGS[request.name]
    severity = sample_severity(rng) if request.severity is None else request.severity
    zone = finding.zones[int(rng.integers(len(finding.zones)))]
    side: Side = "left" if rng.random() < 0.5 else "right"
    if rng.random() < finding.share_both:
        side = "both"
    kinds = finding.kinds or {"": 1.0}  # drawn in any case: a change of kinds shifts no later finding
    kind = list(kinds)[int(rng.choice(len(kinds), p=list(kinds.values())))]
    if finding.kinds and request.detail:
        kind = request.detail
    if finding.midline:
        side = "midline"
    elif finding.hides_others:
        side = _free_side(side, earlier)
    if finding.choose_side is not None:
        side = finding.choose_side(side, kind, earlier, rng)
    return FindingSpec(finding.name, request.side or side, zone, severity, kind)


def _free_side(side: Side, earlier: list[FindingSpec]) -> Side:
    """A side that no earlier finding of the lung holds alone, where there is one."""
    taken = {spec.side for spec in earlier if DRAWN_FINDINGS[spec.name].hides_others}
    if side in ("left", "right") and side in taken:
        other: Side = "right" if side == "left" else "left"
        return side if other in taken or "both" in taken else other
    if side == "both" and taken:
        return "right" if "left" in taken else "left"
    return side
