"""What varies in domain R, which is drawn to train on: patients, techniques and tissues.

The ranges are wide rather than true: they were chosen until drawn and real radiographs overlap in grey levels, power
spectra, profiles and local contrast (Tobin et al., "Domain randomization", IROS 2017). No label of a film was used.
"""

from dataclasses import dataclass

import numpy as np

from phantoms.case import RANDOMISED, Case, Habitus, Technique


def random_habitus(rng: np.random.Generator) -> Habitus:
    """Return anybody's habitus, from children to the very heavy, in shallow or deep breath; no heart without disease
    is wider than half the chest."""
    fat_mm = float(np.clip(rng.gamma(1.6, 13.0), 0.5, 75.0))
    breast = float(np.clip(rng.normal(0.6, 0.35) + fat_mm / 70.0, 0.1, 1.7)) if rng.random() < 0.5 else 0.0
    return Habitus(
        scale=float(np.clip(rng.normal(1.02, 0.08), 0.8, 1.22)),
        width=float(np.clip(rng.normal(1.02, 0.08), 0.84, 1.24)),
        fat_mm=fat_mm,
        breast=breast,
        inspiration=float(np.clip(rng.normal(-1.0, 0.95), -3.0, 1.3)),
        heart_ratio=float(np.clip(rng.normal(0.44, 0.028), 0.37, 0.48)),
        bone=float(np.clip(rng.normal(0.95, 0.25), 0.45, 1.6)),
        unfolding=float(rng.beta(1.4, 1.8)),
    )


def random_technique(rng: np.random.Generator) -> Technique:
    """Return any view of anybody: neither the beam nor the field tells who is ill."""
    bedside = bool(rng.random() < 0.45)
    covered = rng.random(4) < np.array((0.12, 0.1, 0.12, 0.04))
    left, top, right, bottom = np.where(covered, rng.uniform(0.005, 0.05, 4), 0.0).tolist()
    side = -18.0 + 105.0 * rng.beta(1.0, 1.8)
    left_mm, right_mm = np.maximum(side + rng.normal(0, 17.0, 2), -26.0)
    margins = (float(left_mm), float(rng.uniform(4.0, 78.0)), float(right_mm), float(rng.uniform(-2.0, 125.0)))
    x, y = rng.random(2)
    return Technique(
        anteroposterior=bedside,
        focus_mm=float(rng.uniform(900, 1300) if bedside else rng.uniform(1600, 2000)),
        rotation_deg=float(np.clip(rng.normal(0.0, 5.0), -14, 14)),
        tilt_deg=float(np.clip(rng.normal(0.0, 3.0), -9, 9)),
        exposure=float(np.exp(rng.normal(-0.1, 0.5))),
        aspect=1.0,
        zoom=1.0,
        shift=(0.0, 0.0),
        shutter=(left, top, right, bottom),
        marker="L" if rng.random() < 0.6 else "R",
        marker_at=(float(x), float(y)),
        margins=margins,
        marker_size=float(rng.uniform(0.02, 0.06)) if rng.random() < 0.55 else 0.0,
        square=bool(rng.random() < 0.6),
    )


@dataclass(frozen=True)
class Tissues:
    """How much the parts of a patient attenuate, relative to domains A and B.

    Args:
        soft: soft tissue.
        lung: what the air of the lungs takes away, less in a shallow breath, and with it what findings change.
        bones: ribs and shoulders.
        spine: vertebrae.
        airway: what the air of trachea and bronchi takes away.
        vessels: vessels of the lungs.
        grain: uneven aeration of the lungs.
        unevenness: strength of slow changes across the field, in attenuation (uneven beam, folds, bedding).
    """

    soft: float = 1.0
    lung: float = 1.0
    bones: float = 1.0
    spine: float = 1.0
    airway: float = 1.0
    vessels: float = 1.0
    grain: float = 1.0
    unevenness: float = 0.0


def sample_tissues(case: Case) -> Tissues:
    """Return the tissues of a case; those of domains A and B are all alike."""
    if case.domain != RANDOMISED:
        return Tissues()
    rng = case.stream("tissues")
    return Tissues(
        soft=float(rng.uniform(0.8, 1.05)),
        lung=float(np.clip(rng.uniform(0.7, 1.04) + 0.05 * case.habitus.inspiration, 0.6, 1.05)),
        bones=float(np.exp(rng.normal(0.1, 0.4))),
        spine=float(rng.uniform(0.2, 1.1)),
        airway=float(rng.uniform(0.1, 0.9)),
        vessels=float(np.exp(rng.normal(-0.1, 0.3))),
        grain=float(np.exp(rng.normal(0.5, 0.6))),
        unevenness=float(rng.uniform(0.0, 0.2)),
    )


def torso_changes(case: Case, count: int) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Return factors on widths and depths of the trunk [count], lift of the arms and their gap from it in mm."""
    rng = case.stream("arms")
    if case.domain != RANDOMISED:
        lift, gap = rng.uniform(0.12, 0.42), rng.uniform(6.0, 26.0)
        return np.ones(count), np.ones(count), lift, gap
    lift, gap = rng.uniform(0.05, 0.75), rng.uniform(-30.0, 45.0)
    at = np.linspace(-1.0, 1.0, count)
    width = 1.0 + rng.uniform(-0.06, 0.22) + rng.normal(0, 0.05) * at
    depth = 1.0 + rng.uniform(-0.08, 0.3) + rng.normal(0, 0.05) * at
    shoulders = np.exp(-(((np.arange(count) - 4.0) / 1.6) ** 2))
    return width + rng.uniform(-0.1, 0.25) * shoulders, depth + rng.uniform(-0.1, 0.65) * shoulders, lift, gap
