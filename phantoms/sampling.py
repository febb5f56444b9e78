"""Draw the case of a seed: who is imaged, how, and with which findings, how severe, where, and which go together.

"Lung opacity" is a finding of its own here, a hazy, patchy ground-glass change; consolidation, lesions, edema and
atelectasis do not imply it (CheXpert labels it as their parent, which would make it a sum of the others).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from gazevlm_core.findings import FINDING_NAMES, HELD_OUT_FINDING_NAMES, SEVERE_FROM, SUBTLE_BELOW, Side
from phantoms.case import DOMAINS, RANDOMISED, Case, Domain, FindingSpec, Habitus, Technique, stream
from phantoms.findings import DRAWN_FINDINGS
from phantoms.randomised import random_habitus, random_technique

BEDSIDE_ABOVE = 0.4  # severity
GRADE_SHARES = (0.25, 0.45, 0.30)  # subtle, moderate, severe
SMALLEST_SEVERITY = 0.04
COUNT_SHARES = {  # of 0, 1, 2, 3, 4 findings
    "A": (0.22, 0.30, 0.26, 0.15, 0.07),
    "B": (0.34, 0.34, 0.20, 0.09, 0.03),
    "R": (0.28, 0.30, 0.23, 0.13, 0.06),
}
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


def sample_case(
    seed: int,
    domain: str = "A",
    *,
    findings: Sequence[FindingRequest] | None = None,
    include_held_out: bool = False,
) -> Case:
    """Draw patient, technique and findings; no image is made.

    Args:
        seed: >= 0.
        domain: "A", "B", or "R" for training.
        findings: draw exactly these (an empty sequence gives a phantom without findings); None samples by prevalence.
        include_held_out: let the held-out findings be sampled, too.

    Raises:
        ValueError: a negative seed, an unknown domain, finding, side or severity.
    """
    if seed < 0:
        raise ValueError(f"a phantom's seed must be >= 0, got {seed}")
    chosen = _domain(domain)
    specs = choose_findings(stream(seed, domain, "findings"), chosen, findings, include_held_out)
    sick = any(DRAWN_FINDINGS[spec.name].bedside and spec.severity > BEDSIDE_ABOVE for spec in specs)
    rngs = stream(seed, domain, "habitus"), stream(seed, domain, "technique")
    if chosen == RANDOMISED:
        return Case(seed, chosen, random_habitus(rngs[0]), random_technique(rngs[1]), specs)
    return Case(seed, chosen, _sample_habitus(rngs[0], chosen), _sample_technique(rngs[1], chosen, sick), specs)


def _domain(name: str) -> Domain:
    for domain in get_args(Domain):
        if name == domain:
            return domain
    raise ValueError(f"unknown phantom domain {name!r}; expected one of {', '.join((*DOMAINS, RANDOMISED))}")


def _sample_habitus(rng: np.random.Generator, domain: Domain) -> Habitus:
    """Domain B: smaller, heavier patients with weaker bones."""
    heavy = domain == "B"
    female = rng.random() < 0.5
    scale = float(np.clip(rng.normal(0.99 if female else 1.06, 0.045) - 0.05 * heavy, 0.86, 1.16))
    width = float(np.clip(rng.normal(1.0, 0.05) + 0.04 * heavy, 0.88, 1.14))
    fat_mm = float(np.clip(rng.gamma(2.2, 6.0) + 8.0 * heavy, 1.0, 48.0))
    breast = float(np.clip(rng.normal(0.55, 0.22) + fat_mm / 60.0, 0.15, 1.35)) if female else 0.0
    inspiration = float(np.clip(rng.normal(0.0, 0.4) - 0.15 * heavy, -1.0, 1.0))
    heart_ratio = float(np.clip(rng.normal(0.44, 0.02), 0.395, 0.475))
    bone = float(np.clip(rng.normal(1.0, 0.13) - 0.08 * heavy, 0.65, 1.3))
    return Habitus(scale, width, fat_mm, breast, inspiration, heart_ratio, bone, float(rng.beta(1.6, 2.2)))


def _sample_technique(rng: np.random.Generator, domain: Domain, sick: bool) -> Technique:
    """Ill patients are more often imaged at the bedside; domain B collimates more and exposes less evenly."""
    bedside = bool(rng.random() < (0.6 if sick else 0.2) + (0.15 if domain == "B" else 0.0))
    focus_mm = float(rng.uniform(1000, 1250) if bedside else rng.uniform(1750, 1850))
    shape = rng.random()
    aspect = 1.0 if shape < 0.6 else 0.83 if shape < 0.85 else 1.2
    aspect = float(aspect * np.exp(rng.normal(0.0, 0.012))) if shape >= 0.6 else 1.0
    rotation, tilt = rng.normal(0.0, 3.2 if bedside else 1.8), rng.normal(0.0, 1.8 if bedside else 0.9)
    covered = rng.random(4) < (0.35 if domain == "B" else 0.1)
    shutter = np.where(covered, rng.uniform(0.008, 0.035, 4), 0.0)
    return Technique(
        anteroposterior=bedside,
        focus_mm=focus_mm,
        rotation_deg=float(np.clip(rotation, -8, 8)),
        tilt_deg=float(np.clip(tilt, -4.5, 4.5)),
        exposure=float(np.exp(rng.normal(-0.15 if domain == "B" else 0.0, 0.35))),
        aspect=aspect,
        zoom=float(rng.uniform(0.99, 1.13)),
        shift=(float(rng.normal(0, 0.014)), float(rng.normal(0, 0.012))),
        shutter=(float(shutter[0]), float(shutter[1]), float(shutter[2]), float(shutter[3])),
        marker="L" if rng.random() < 0.6 else "R",
        marker_at=(float(rng.random()), float(rng.random())),
    )


def choose_findings(
    rng: np.random.Generator, domain: str, requests: Sequence[FindingRequest] | None, include_held_out: bool
) -> tuple[FindingSpec, ...]:
    """Return requested findings, or a plausible combination by the domain's prevalence, in the order of
    FINDING_NAMES."""
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
    """Return a severity in (0, 1]: uniform within a grade drawn by GRADE_SHARES."""
    grade = int(rng.choice(3, p=GRADE_SHARES))
    low, high = ((SMALLEST_SEVERITY, SUBTLE_BELOW), (SUBTLE_BELOW, SEVERE_FROM), (SEVERE_FROM, 1.0))[grade]
    return float(rng.uniform(low, high))


def _sample_names(rng: np.random.Generator, domain: str, include_held_out: bool) -> list[str]:
    """Return names one by one; each choice shifts the odds of the next by the affinities."""
    count = int(rng.choice(len(COUNT_SHARES[domain]), p=COUNT_SHARES[domain]))
    odds = np.array([DRAWN_FINDINGS[name].odds.get(domain, 1.0) for name in FINDING_NAMES], dtype=np.float64)
    strength = 0.5 if domain == RANDOMISED else 1.0  # of what goes together: little to rely on
    names: list[str] = []
    for _ in range(count):
        name = FINDING_NAMES[int(rng.choice(len(odds), p=odds / odds.sum()))]
        names.append(name)
        odds[FINDING_NAMES.index(name)] = 0.0
        for index, other in enumerate(FINDING_NAMES):
            odds[index] *= _affinity(name, other) ** strength
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
    """Return a side that no earlier finding of the lung holds alone, where there is one."""
    taken = {spec.side for spec in earlier if DRAWN_FINDINGS[spec.name].hides_others}
    if side in ("left", "right") and side in taken:
        other: Side = "right" if side == "left" else "left"
        return side if other in taken or "both" in taken else other
    if side == "both" and taken:
        return "right" if "left" in taken else "left"
    return side
