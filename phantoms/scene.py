"""What a finding needs to draw itself, and what it hands back."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from phantoms.case import RANDOMISED, Case
from phantoms.projection import Beam, Field, Raster
from phantoms.shape import Body
from phantoms.thorax import DENSER_THAN_LUNG, Thorax

Point = tuple[float, float]


@dataclass(frozen=True)
class Scene:
    """One patient in front of one detector, before findings; `body_without` shapes him without a finding of a name."""

    case: Case
    body: Body
    beam: Beam
    raster: Raster
    thorax: Thorax
    body_without: Callable[[str], Body]

    def project(self, x: float, y: float, z: float) -> Point:
        """Return the iso-plane position in mm of a point of the patient."""
        at = self.beam.project(np.array([x, y, z], dtype=np.float64))
        return float(at[0]), float(at[1])

    def filled(self, share: Field) -> Field:
        """Return attenuation added where a share in [0, 1] of the aerated lung along the ray is filled with fluid [H,
        W]."""
        return self.thorax.lung * share * np.float32(DENSER_THAN_LUNG)

    def on_side(self, sign: float) -> Field:
        """Return 1 on one side of the midline, 0 on the other, with a soft step [H, W]."""
        x = self.raster.grids[0] - np.float32(self.body.shift_mm)
        return np.clip(x * np.float32(sign / 8.0) + 0.5, 0.0, 1.0)

    def blob(self, rng: np.random.Generator, centre: Point, radii: Point, ragged: float, edge: float) -> Field:
        """Return an ellipse with a ragged outline: 1 inside, falling to 0 over `edge` radii around the outline [H,
        W]."""
        if self.case.domain == RANDOMISED:
            ragged, edge = ragged * rng.uniform(0.7, 2.2), edge * rng.uniform(0.7, 1.8)
        x, y = self.raster.grids
        across = (x - np.float32(centre[0])) / np.float32(radii[0])
        along = (y - np.float32(centre[1])) / np.float32(radii[1])
        at = np.hypot(across, along)
        scale_mm = max(0.45 * min(radii), 5.0)
        at = at + np.float32(ragged) * noise_field(self.raster, rng, scale_mm)
        return smooth_step((np.float32(1.0) - at) / np.float32(edge) + 0.5)


@dataclass(frozen=True)
class Shadow:
    """What a finding does to the image.

    Args:
        attenuation: change of the line integral [H, W]; negative where air replaces tissue.
        foci: positions in mm at the iso plane that a reader who sees it fixates, most telling first.
        gate: [H, W] in [0, 1], how far vessels still show, or None where they are untouched.
        embedded: True where the change is already part of the body's shape and must not be added again.
    """

    attenuation: Field
    foci: tuple[Point, ...]
    gate: Field | None = None
    embedded: bool = False


def smooth_step(value: Field) -> Field:
    """Return 3 t^2 - 2 t^3 of the value clipped to [0, 1]."""
    t = np.clip(value, 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), dtype=np.float32)


def ramp(severity: float, low: float, high: float, power: float = 1.0) -> float:
    """Return the strength of a sign at a severity, between its limits at 0 and 1.

    The exponent lifts the middle of the scale: a moderate finding has half of its full strength or more, and only the
    lowest third fades out.
    """
    return low + (high - low) * severity ** (0.6 * power)


def noise_field(raster: Raster, rng: np.random.Generator, scale_mm: float) -> Field:
    """Return a smooth random field [H, W] of about unit variance with structures of `scale_mm`, fixed in space.

    The lattice of random values is laid over the plane in mm, so the same draw gives the same field at any raster.
    """
    extent_mm = 560.0
    nodes = int(np.ceil(extent_mm / scale_mm)) + 4
    lattice = rng.standard_normal((nodes, nodes), dtype=np.float32)
    rows = _spline_basis(raster.top_mm, raster.height_px, raster.pitch_mm, scale_mm, extent_mm, nodes)
    cols = _spline_basis(raster.left_mm, raster.width_px, raster.pitch_mm, scale_mm, extent_mm, nodes)
    return np.asarray(rows @ lattice @ cols.T, dtype=np.float32) * np.float32(2.1)  # a B-spline sum has std 0.48


def _spline_basis(start_mm: float, count: int, pitch_mm: float, scale_mm: float, extent_mm: float, nodes: int) -> Field:
    """Cubic B-spline weights [count, nodes] of a lattice with spacing `scale_mm` around the origin."""
    at_mm = start_mm + (np.arange(count) + 0.5) * pitch_mm + extent_mm / 2
    at = np.clip(at_mm / scale_mm, 0.0, nodes - 4.0)
    cell = np.minimum(at.astype(int), nodes - 5)
    t = at - cell
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1) / 6
    basis = np.zeros((count, nodes), dtype=np.float32)
    for k in range(4):
        basis[np.arange(count), cell + k] = weights[:, k]
    return basis
