"""Soft tissue and air: how much of each a ray meets, as height fields in closed form."""

from dataclasses import dataclass

import numpy as np

from phantoms.case import RANDOMISED, Case
from phantoms.projection import Beam, Ellipsoid, Field, Raster
from phantoms.randomised import torso_changes
from phantoms.shape import MEDIAL_BEND, Body, Table
from phantoms.tubes import splat_tubes

# Effective linear attenuation coefficients in 1/mm behind a diagnostic beam (about 60 keV).
MU_SOFT = 0.0185
MU_FAT = 0.0165
MU_LUNG = 0.0046
MU_CORTEX = 0.052
MU_MARROW = 0.0255
DENSER_THAN_LUNG = MU_SOFT - MU_LUNG

OUTLINE_STEPS = 360
TORSO_LEVELS = (-210.0, -150.0, -122.0, -106.0, -92.0, -74.0, -45.0, 0.0, 60.0, 130.0, 220.0)
TORSO_HALF_WIDTHS = (58.0, 60.0, 74.0, 108.0, 158.0, 196.0, 192.0, 168.0, 163.0, 163.0, 160.0)
TORSO_HALF_DEPTHS = (58.0, 56.0, 58.0, 60.0, 66.0, 80.0, 95.0, 104.0, 110.0, 112.0, 112.0)


@dataclass(frozen=True)
class Thorax:
    """Path lengths in mm, each [H, W].

    Args:
        soft: soft tissue along the ray if the chest held no air.
        cavity: chest cavity.
        lung: aerated lung, after mediastinum, heart and diaphragm.
        mediastinal: soft tissue of heart, great vessels and mediastinum before it is cut to the cavity.
    """

    soft: Field
    cavity: Field
    lung: Field
    mediastinal: Field


def build_thorax(case: Case, body: Body, beam: Beam, raster: Raster) -> Thorax:
    """Trace soft tissue and lungs."""
    cavity = cavity_chord(body, raster)
    aerated = cavity - under_domes(body, raster, cavity)
    mediastinal = mediastinal_chord(body, beam, raster)
    lung = np.maximum(aerated - mediastinal, 0.0)
    soft = torso_chord(case, body, raster) + breast_chord(case, body, raster)
    return Thorax(np.maximum(soft, cavity * 1.02), cavity, lung, mediastinal)


def cavity_chord(body: Body, raster: Raster, lateral_gap: Table | None = None, drop_mm: float = 0.0) -> Field:
    """Return the depth of the chest cavity: a stack of superellipses, rounded off at each apex.

    Args:
        lateral_gap: distance over y by which the lung falls short of the chest wall (pneumothorax), or None.
        drop_mm: distance by which the apices fall short of the chest's.
    """
    x, y = raster.grids
    level = y - np.float32(drop_mm)
    half_width = body.half_width(level)
    if lateral_gap is not None:
        half_width = np.maximum(half_width - lateral_gap(y), 1.0)
    reach = np.abs(x)
    out = np.minimum(reach / half_width, 1.0)
    lateral = np.sqrt(1.0 - out * out * np.sqrt(out))  # exponent 2.5, then a square root as of an ellipse
    medial = np.clip((reach - body.medial_edge(level)) / 20.0, 0.0, 1.0)
    below = level > body.apex_mm
    return np.asarray(2.0 * body.half_depth(level) * lateral * np.sqrt(medial) * below, dtype=np.float32)


def under_domes(body: Body, raster: Raster, cavity: Field) -> Field:
    """Return the length of the cavity that lies below the diaphragm."""
    x, y = raster.grids
    half = cavity * np.float32(0.5)
    out = raster.zeros()
    for sign, dome in body.domes.items():
        away = x - np.float32(dome.x0_mm)
        bend = np.where(away * sign < 0, np.float32(MEDIAL_BEND * dome.bend_x), np.float32(dome.bend_x))
        lift = y - np.float32(dome.top_mm) - bend * away * away
        lift = np.maximum(lift, 0.0)
        reach = np.sqrt(lift / np.float32(dome.bend_z)) + lift  # the recess behind narrows quickly
        overlap = np.minimum(half, dome.z0_mm + reach) - np.maximum(-half, dome.z0_mm - reach)
        out += np.maximum(overlap, 0.0) * (x * sign > 0) * (lift > 0)
    return out


def mediastinal_chord(body: Body, beam: Beam, raster: Raster) -> Field:
    """Return soft tissue of mediastinum, heart and great vessels: a smooth union of a stack and ellipsoids."""
    x, y = raster.grids
    centred = x - np.float32(0.7 * body.shift_mm)
    left = centred > 0
    half = np.where(left, body.mediastinum[1.0](y), body.mediastinum[-1.0](y))
    ratio = np.minimum(np.abs(centred) / half, 1.0) ** 2
    if body.mediastinal_edge == 0.625:
        stack = np.float32(108.0) * np.sqrt(1.0 - ratio) * np.sqrt(np.sqrt(np.sqrt(1.0 - ratio)))
    else:
        stack = np.float32(108.0) * (1.0 - ratio) ** np.float32(body.mediastinal_edge)
    union = stack * stack
    union *= union
    for part in body.ellipsoids(body.great_vessels, beam):
        window, chord = part.chord(raster)
        union[window] += chord**4
    window, chord = heart_chord(body, beam, raster)
    union[window] += chord**4
    window, chord = _descending_aorta(body, beam).chord(raster)
    union[window] += chord**4
    return np.asarray(np.sqrt(np.sqrt(union)), dtype=np.float32)


def heart_chord(body: Body, beam: Beam, raster: Raster) -> tuple[tuple[slice, slice], Field]:
    """Window around the heart and its chord there: an ellipsoid's over the distance to the star-shaped outline."""
    heart = body.heart
    scale = np.float32(beam.magnification(heart.z_mm))
    centre = beam.project(np.array([heart.centre[0] + body.shift_mm, heart.centre[1], heart.z_mm]))
    radii = heart.radii(OUTLINE_STEPS) * scale
    window = raster.window((float(centre[0]), float(centre[1])), float(radii.max()))
    x, y = raster.grids
    dx, dy = x[window] - centre[0], y[window] - centre[1]
    step = (np.arctan2(dy, dx) + np.float32(np.pi)) * np.float32(OUTLINE_STEPS / (2 * np.pi))
    low = np.minimum(step.astype(np.intp), OUTLINE_STEPS - 1)
    radius = radii[low] + (radii[low + 1] - radii[low]) * (step - low)
    ratio = np.minimum((dx * dx + dy * dy) / (radius * radius), 1.0)
    return window, np.float32(2 * heart.half_depth_mm) * np.sqrt(1.0 - ratio)


def _descending_aorta(body: Body, beam: Beam) -> Ellipsoid:
    """Return the descending aorta as a long ellipsoid left of the spine."""
    at = beam.project(np.array([17.0 * body.scale + 0.5 * body.shift_mm, 55.0 * body.scale, -50.0]))
    return Ellipsoid((float(at[0]), float(at[1])), (18.0 * body.scale, 120.0 * body.scale), 16.0 * body.scale)


def torso_chord(case: Case, body: Body, raster: Raster) -> Field:
    """Return neck, shoulders, trunk and upper arms, in mm of soft tissue."""
    x, y = raster.grids
    fat, s = case.habitus.fat_mm, body.scale
    levels = tuple(level * s for level in TORSO_LEVELS)
    padding = np.array([0.25, 0.3, 0.4, 0.6, 0.8, 1, 1, 1, 1, 1, 1]) * fat
    widths, depths, lift, gap = torso_changes(case, len(levels))
    half_widths = np.array(TORSO_HALF_WIDTHS) * body.width * widths + padding
    half_depths = np.array(TORSO_HALF_DEPTHS) * s * depths + padding * 0.7
    out = np.minimum(np.abs(x) / Table.through(levels, tuple(half_widths))(y), 1.0)
    chord = 2.0 * Table.through(levels, tuple(half_depths))(y) * _power_3_8(1.0 - out * out * np.sqrt(out))
    for sign in (-1.0, 1.0):
        centre = (sign * (207.0 * body.width + fat + gap), 45.0 * s)
        arm = Ellipsoid(centre, (150.0 * s, 44.0 * s + 0.5 * fat), 42.0 * s, float(np.pi / 2 - sign * lift))
        window, arm_chord = arm.chord(raster)
        chord[window] = np.maximum(chord[window], arm_chord)
    return np.asarray(chord, dtype=np.float32)


def _power_3_8(value: Field) -> Field:
    """value ** 0.375 by square roots, which are several times quicker than a power."""
    fourth = np.sqrt(np.sqrt(value))
    return np.asarray(fourth * np.sqrt(fourth), dtype=np.float32)


def breast_chord(case: Case, body: Body, raster: Raster) -> Field:
    """Return breast shadows: fuller and sharper below, fading upwards, in mm of fatty tissue as soft tissue."""
    out = raster.zeros()
    size = case.habitus.breast
    if size <= 0:
        return out
    rng = case.stream("breasts")
    s = body.scale
    low = rng.uniform(0.0, 22.0)
    for sign in (-1.0, 1.0):
        radius = (46.0 + 28.0 * size) * s
        centre = (sign * (86.0 * body.width + 8 * size + rng.normal(0, 3)), (70.0 + 24.0 * size + low) * s)
        window, chord = Ellipsoid(centre, (radius, radius * 0.86), 0.5).chord(raster)
        lower = np.clip((raster.grids[1][window] - centre[1]) / radius * 0.75 + 0.65, 0.0, 1.0)
        out[window] += chord**0.8 * lower * np.float32((11.0 + 17.0 * size) * MU_FAT / MU_SOFT)
    if case.domain == RANDOMISED:
        out *= np.float32(rng.uniform(0.6, 1.6))
    return out


def gas(case: Case, body: Body, beam: Beam, raster: Raster, airway: float = 1.0) -> Field:
    """Return attenuation taken away by air in trachea, bronchi, stomach and bowel (negative) [H, W]."""
    s, shift = body.scale, body.shift_mm
    tracheal_r, bronchial_r = 8.2 * s, 5.6 * s
    curves = np.array(
        [
            [[0, -190, 10], [0.2 * shift, -130, 5], [0.4 * shift + 1, -60, -2], [0.7 * shift + 2, 0, -8]],
            [[0.7 * shift + 1, -2, -8], [shift - 9, 9, -9], [shift - 21, 22, -10], [shift - 32, 38, -12]],
            [[0.7 * shift + 3, -2, -8], [shift + 14, 9, -9], [shift + 28, 18, -12], [shift + 44, 26, -16]],
        ]
    )
    curves = curves * np.array([1.0, s, 1.0])
    radii = np.array([[1.0] * 4, [0.95, 0.9, 0.85, 0.7], [0.9, 0.85, 0.8, 0.62]])
    radii *= np.array([[tracheal_r], [bronchial_r], [bronchial_r]])
    out = np.float32(-airway) * splat_tubes(raster, beam, curves, radii, MU_SOFT * np.pi * radii**2)
    _add_stomach(out, case, body, raster)
    return out


def _add_stomach(out: Field, case: Case, body: Body, raster: Raster) -> None:
    """Gastric bubble with a level below the left dome, and some bowel gas."""
    rng = case.stream("bowel")
    dome, s = body.domes[1.0], body.scale
    size = rng.uniform(0.55, 1.25)
    centre = (dome.x0_mm + rng.normal(-4, 8), dome.top_mm + (9.0 + 17.0 * size) * s)
    bubble = Ellipsoid(centre, (33.0 * size * s, 17.0 * size * s), 30.0 * size * s, float(rng.normal(0.1, 0.15)))
    window, chord = bubble.chord(raster)
    if not case.technique.anteroposterior:  # upright: fluid below a level
        level = centre[1] + rng.uniform(-0.2, 0.7) * 17.0 * size * s
        chord = chord * np.clip((level - raster.grids[1][window]) / 2.5 + 0.5, 0.0, 1.0)
    out[window] -= np.float32(MU_SOFT * rng.uniform(0.35, 0.75)) * chord
    for _ in range(int(rng.integers(0, 6))):
        at = (rng.uniform(20, 115) * s, dome.top_mm + rng.uniform(48, 95) * s)
        loop = Ellipsoid(at, (rng.uniform(9, 24) * s, rng.uniform(7, 14) * s), 15.0, float(rng.uniform(-1, 1)))
        window, chord = loop.chord(raster)
        out[window] -= np.float32(MU_SOFT * rng.uniform(0.3, 0.8)) * chord
