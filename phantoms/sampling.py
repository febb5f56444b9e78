"""Draws the case of a seed: who is imaged, how, and with which findings."""

from collections.abc import Sequence

import numpy as np

from phantoms.case import DOMAINS, Case, Domain, Habitus, Technique, stream
from phantoms.findings import DRAWN_FINDINGS
from phantoms.prevalence import FindingRequest, choose_findings

BEDSIDE_ABOVE = 0.4  # severity


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
        domain: "A" or "B".
        findings: draw exactly these (an empty sequence gives a phantom without findings); None samples by prevalence.
        include_held_out: let the held-out findings be sampled, too.

    Raises:
        ValueError: a negative seed, an unknown domain, finding, side or severity.
    """
    if seed < 0:
        raise ValueError(f"a phantom's seed must be >= 0, got {seed}")
    if domain not in DOMAINS:
        raise ValueError(f"unknown phantom domain {domain!r}; expected one of {', '.join(DOMAINS)}")
    chosen: Domain = "B" if domain == "B" else "A"
    specs = choose_findings(stream(seed, domain, "findings"), chosen, findings, include_held_out)
    sick = any(DRAWN_FINDINGS[spec.name].bedside and spec.severity > BEDSIDE_ABOVE for spec in specs)
    habitus = _sample_habitus(stream(seed, domain, "habitus"), chosen)
    return Case(seed, chosen, habitus, _sample_technique(stream(seed, domain, "technique"), chosen, sick), specs)


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
