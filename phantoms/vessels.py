"""Pulmonary arteries and veins: branching, tapering tubes that fan out from the hila."""

import numpy as np
from numpy.typing import NDArray

from phantoms.case import Case
from phantoms.projection import Beam, Field, Raster
from phantoms.shape import Body
from phantoms.thorax import DENSER_THAN_LUNG
from phantoms.tubes import splat_tubes

GENERATIONS = 6
POINTS = 5
FAN_DEG = {-1.0: (-82, -60, -38, -15, 8, 30, 48, 62, 76, 88), 1.0: (-84, -62, -40, -16, 8, 28, 46, 60, 74, 88)}
ROOT_RADII = (3.3, 3.0, 2.7, 2.5, 2.8, 3.2, 3.6, 3.8, 3.7, 3.2)


def vessels(case: Case, body: Body, beam: Beam, raster: Raster, gate: Field) -> Field:
    """Return attenuation of the vessels beyond lung [H, W].

    Args:
        gate: [H, W] in [0, 1], where vessels show: 0 outside the lungs and beyond a pneumothorax.
    """
    swelling = body.congestion
    out = _hila(body, beam, raster, swelling) * np.clip(gate * 1.5, 0, 1)
    rng = case.stream("vessels")
    start, heading, radius = _roots(rng, body)
    length = rng.uniform(24, 42, len(radius)) * body.scale
    upwards = heading[:, 1] < -0.2
    radius = radius * np.where(upwards, 1.0 + 0.35 * swelling, 1.0 + 0.12 * swelling)  # blood is diverted upwards
    for generation in range(GENERATIONS):
        points, leave = _grow(rng, start, heading, length)
        taper = np.linspace(1.0, 0.86, POINTS)[None, :] * radius[:, None]
        blurred = taper * (1.0 + 0.5 * swelling)  # fluid around the vessels blurs their edges
        mass = 1.8 * DENSER_THAN_LUNG * np.pi * taper**2 * (1.0 + 0.7 * swelling)
        out += splat_tubes(raster, beam, points, blurred, mass, gate=gate)
        if generation < GENERATIONS - 1:
            start, heading, radius, length = _branch(rng, points[:, -1], leave, radius, length)
    return out


def _hila(body: Body, beam: Beam, raster: Raster, swelling: float) -> Field:
    """Return the central pulmonary arteries: the right interlobar artery and the arch of the left."""
    s, shift = body.scale, body.shift_mm
    curves = np.array(
        [
            [[-22, 4, 4], [-36, 10, 0], [-45, 24, -4], [-50, 42, -8], [-56, 64, -12]],
            [[22, 0, 0], [36, -5, -6], [45, 4, -12], [49, 22, -16], [50, 46, -20]],
            [[-24, 2, 8], [-38, -8, 6], [-46, -22, 4], [-54, -38, 2], [-60, -54, 0]],
            [[26, -2, 4], [40, -14, 2], [48, -26, 0], [56, -40, -2], [62, -56, -4]],
            [[-16, 60, -12], [-30, 52, -12], [-44, 50, -14], [-58, 52, -16], [-70, 56, -18]],
            [[24, 58, -12], [38, 48, -12], [52, 42, -14], [66, 40, -16], [78, 40, -18]],
        ],
        dtype=np.float64,
    )
    curves = curves * s + np.array([shift, 0.0, 0.0])
    radii = np.array(
        [
            [8, 8.5, 7.6, 6.2, 4.2],
            [8.5, 9, 8, 6.4, 4.4],
            [6, 5.4, 4.4, 3.4, 2.4],
            [6, 5.2, 4.2, 3.2, 2.4],
            [5, 5, 4.6, 3.8, 2.8],
            [5, 4.8, 4.4, 3.6, 2.6],
        ]
    )
    radii *= s * (1.0 + 0.18 * swelling)
    mass = 0.85 * DENSER_THAN_LUNG * np.pi * radii**2
    return splat_tubes(raster, beam, curves, radii * (1 + 0.25 * swelling), mass)


def _roots(
    rng: np.random.Generator, body: Body
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Starts [B, 3], headings [B, 3] and radii [B] of the segmental arteries and veins of both lungs."""
    starts, headings, radii = [], [], []
    for sign in (-1.0, 1.0):
        for index, angle in enumerate(FAN_DEG[sign]):
            for _ in range(2):  # an artery and a vein
                turn = np.deg2rad(angle + rng.normal(0, 8))
                lift = rng.uniform(-0.55, 0.55)
                headings.append((sign * np.cos(turn), np.sin(turn), lift))
                down = 34.0 * np.clip(np.sin(turn), 0, 1)
                base = (sign * (42 + 5 * rng.normal()), (8 if sign > 0 else 16) + down + 4 * rng.normal(), 12 * lift)
                starts.append(np.array(base) * body.scale + np.array([body.shift_mm, 0, 0]))
                radii.append(ROOT_RADII[index] * rng.uniform(0.72, 1.0) * body.scale)
    heading = np.array(headings)
    return np.array(starts), heading / np.linalg.norm(heading, axis=1, keepdims=True), np.array(radii)


def _grow(
    rng: np.random.Generator, start: NDArray[np.float64], heading: NDArray[np.float64], length: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gently bent branches: points [B, POINTS, 3] and the headings [B, 3] at their ends."""
    bend = rng.normal(0.0, 0.22, heading.shape)
    t = np.linspace(0.0, 1.0, POINTS)[None, :, None]
    points = start[:, None] + length[:, None, None] * (heading[:, None] * t + bend[:, None] * t * t)
    leave = heading + 2 * bend
    return points, leave / np.linalg.norm(leave, axis=1, keepdims=True)


def _branch(
    rng: np.random.Generator,
    end: NDArray[np.float64],
    heading: NDArray[np.float64],
    radius: NDArray[np.float64],
    length: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return two unequal children per branch; the cross-sections obey Murray's law (cubes of the radii add up)."""
    count = len(radius)
    across = np.cross(heading, rng.normal(0.0, 1.0, heading.shape))
    across /= np.linalg.norm(across, axis=1, keepdims=True) + 1e-9
    share = rng.uniform(0.3, 0.7, count)
    starts, headings, radii, lengths = [], [], [], []
    for part, direction in ((share, 1.0), (1.0 - share, -1.0)):
        spread = np.tan(np.deg2rad(rng.uniform(14, 40, count))) * (1.35 - part)
        child = (heading + direction * spread[:, None] * across) * np.array([1.0, 1.0, 0.7])  # few end on
        headings.append(child / np.linalg.norm(child, axis=1, keepdims=True))
        radii.append(radius * 0.86 * np.cbrt(part))
        lengths.append(length * rng.uniform(0.62, 0.95, count))
        starts.append(end)
    return np.concatenate(starts), np.concatenate(headings), np.concatenate(radii), np.concatenate(lengths)
