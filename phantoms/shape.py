"""The patient's shape in numbers: chest, diaphragm, heart and mediastinum.

All lengths are mm in the patient frame of `projection`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phantoms.projection import Beam, Ellipsoid, Field

TABLE_SIZE = 3072
MEDIAL_BEND = 0.45  # of the dome, relative to its lateral half


@dataclass(frozen=True)
class Table:
    """A smooth function of y, tabulated for quick look-up over fields."""

    start_mm: float
    stop_mm: float
    values: Field

    @classmethod
    def through(cls, levels: tuple[float, ...], values: tuple[float, ...]) -> "Table":
        """Return the monotone cubic through the points; constant beyond the ends."""
        at = np.linspace(levels[0], levels[-1], TABLE_SIZE)
        return cls(levels[0], levels[-1], monotone_cubic(np.array(levels), np.array(values), at).astype(np.float32))

    def __call__(self, y: Field | float) -> Field:
        """Look up the nearest entry; the entries lie a tenth of a millimetre apart."""
        scale = np.float32((TABLE_SIZE - 1) / (self.stop_mm - self.start_mm))
        at = np.asarray(y, dtype=np.float32) * scale + np.float32(0.5 - self.start_mm * scale)
        return self.values[np.clip(at, 0, TABLE_SIZE - 1).astype(np.intp)]


def monotone_cubic(
    knots: NDArray[np.float64], values: NDArray[np.float64], at: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the Fritsch-Carlson interpolation of values over rising knots: smooth, and without overshoot between
    them."""
    width = np.diff(knots)
    slope = np.diff(values) / width
    before, after = slope[:-1], slope[1:]
    turning = before * after <= 0
    weight_a, weight_b = 2 * width[1:] + width[:-1], width[1:] + 2 * width[:-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        harmonic = (weight_a + weight_b) / (weight_a / before + weight_b / after)
    tangent = np.concatenate([slope[:1], np.where(turning, 0.0, harmonic), slope[-1:]])
    cell = np.clip(np.searchsorted(knots, at, side="right") - 1, 0, len(width) - 1)
    t = (at - knots[cell]) / width[cell]
    rise, first, last = slope[cell] * width[cell], tangent[cell] * width[cell], tangent[cell + 1] * width[cell]
    return values[cell] + t * (first + t * (3 * rise - 2 * first - last + t * (first + last - 2 * rise)))


@dataclass(frozen=True)
class Dome:
    """Half of the diaphragm: y = top + bend_x (x - x0)^2 + bend_z (z - z0)^2; flatter towards the midline."""

    top_mm: float
    x0_mm: float
    bend_x: float
    bend_z: float
    z0_mm: float

    def edge(self, x: float) -> float:
        """Return the height y of the visible edge at x."""
        medial = abs(x) < abs(self.x0_mm)
        return self.top_mm + self.bend_x * (MEDIAL_BEND if medial else 1.0) * (x - self.x0_mm) ** 2


@dataclass(frozen=True)
class Heart:
    """A heart whose outline is a star around a point inside, in mm.

    Args:
        centre: (x, y) of that point.
        outline: (x, y) points of the outline, in order.
        half_depth_mm: half of the longest chord along the beam.
        z_mm: depth of its middle.
        edges: x of the right and the left border.
        level_mm: y of its greatest width.
    """

    centre: tuple[float, float]
    outline: tuple[tuple[float, float], ...]
    half_depth_mm: float
    z_mm: float
    edges: tuple[float, float]
    level_mm: float

    def radii(self, count: int) -> Field:
        """Return the distance of the outline from the centre at `count` + 1 equal steps of the angle from -pi to pi."""
        rays = np.array(self.outline) - np.array(self.centre)
        angles, lengths = np.arctan2(rays[:, 1], rays[:, 0]), np.hypot(rays[:, 0], rays[:, 1])
        order = np.argsort(angles)
        angles, lengths = angles[order], lengths[order]
        angles = np.concatenate([angles - 2 * np.pi, angles, angles + 2 * np.pi])
        rays_at = np.linspace(-np.pi, np.pi, count + 1)
        return monotone_cubic(angles, np.tile(lengths, 3), rays_at).astype(np.float32)


@dataclass(frozen=True)
class Body:
    """Shape of one patient.

    Args:
        scale: overall size.
        width: factor on chest widths.
        apex_mm: y of the lung apices.
        lung_height_mm: from the apices to the level of the deepest recess.
        half_width: lateral edge of the lungs over y.
        medial_edge: medial edge of the lungs over y.
        half_depth: half depth of the chest cavity over y.
        domes: diaphragm by side sign (-1 the patient's right).
        mediastinum: half width over y by side sign.
        shift_mm: displacement of heart and mediastinum towards the patient's left.
        heart: outline and depth of the heart.
        great_vessels: aortic knob and ascending aorta as (x, y, z, half axis, half axis, half depth, angle).
        congestion: how far the vessels of the lung are swollen, in [0, 1].
        mediastinal_edge: how softly the mediastinum's depth falls off to its sides (exponent).
    """

    scale: float
    width: float
    apex_mm: float
    lung_height_mm: float
    half_width: Table
    medial_edge: Table
    half_depth: Table
    domes: dict[float, Dome]
    mediastinum: dict[float, Table]
    shift_mm: float
    heart: Heart
    great_vessels: tuple[tuple[float, ...], ...]
    congestion: float
    mediastinal_edge: float = 0.625

    @property
    def heart_edges(self) -> tuple[float, float]:
        """x of the right and the left border of the heart."""
        return self.heart.edges

    @property
    def heart_y_mm(self) -> float:
        """Level of the heart's greatest width."""
        return self.heart.level_mm

    def level(self, fraction: float) -> float:
        """Return y at a fraction of the lung height, 0 at the apices."""
        return self.apex_mm + fraction * self.lung_height_mm

    def ellipsoids(self, parts: tuple[tuple[float, ...], ...], beam: Beam) -> list[Ellipsoid]:
        """Return great vessels as seen by a beam."""
        seen = []
        for x, y, z, a, b, c, angle in parts:
            centre = beam.project(np.array([x + self.shift_mm, y, z]))
            scale = float(beam.magnification(z))
            seen.append(Ellipsoid((float(centre[0]), float(centre[1])), (a * scale, b * scale), c, angle))
        return seen

    def angle_of(self, sign: float) -> tuple[float, float]:
        """Return (x, y) of the costophrenic angle of a side."""
        dome = self.domes[sign]
        wall = float(self.half_width(dome.top_mm + 35.0)) - 3.0
        return sign * wall, dome.edge(sign * wall)

    def lung_point(self, sign: float, level: float, across: float) -> tuple[float, float]:
        """Return a place in a lung.

        Args:
            sign: -1 for the patient's right lung, 1 for the left.
            level: 0 at the apex to 1 at the dome.
            across: 0 at the mediastinum to 1 at the chest wall.
        """
        bottom = self.domes[sign].top_mm
        y = self.apex_mm + level * (bottom - self.apex_mm)
        inner = max(float(self.mediastinum[sign](y)), float(self.medial_edge(y)))
        left, right = self.heart_edges
        if sign > 0 and y > self.heart_y_mm - 45:
            inner = max(inner, 0.8 * right)
        if sign < 0 and y > self.heart_y_mm - 45:
            inner = max(inner, -0.8 * left)
        outer = float(self.half_width(y))
        return sign * (inner + across * (outer - inner)), y
