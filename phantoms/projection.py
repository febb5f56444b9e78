"""How anatomy becomes shadow: beam, raster, and the closed-form line integral of ellipsoids.

Patient frame in mm: x to the patient's left (image right), y down, z forward (anterior); the origin lies at the
carina's level in the middle of the chest. Projected positions are given at the iso plane z = 0.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating]  # float32 throughout; the stubs see float64 where a Python float takes part


@dataclass(frozen=True)
class Beam:
    """A cone beam with its central ray along z.

    Args:
        focus_mm: distance from focal spot to detector.
        object_mm: distance from the iso plane to the detector.
        anteroposterior: True where the beam enters from the front (detector behind the back).
        rotation_rad: turn of the patient about the vertical axis.
    """

    focus_mm: float
    object_mm: float
    anteroposterior: bool
    rotation_rad: float

    def project(self, points: NDArray[np.floating]) -> Field:
        """Project points [..., 3] in mm to the iso plane, [..., 2] in mm.

        A point nearer to the focal spot than the iso plane appears larger, one nearer to the detector smaller.
        """
        sine, cosine = np.sin(self.rotation_rad), np.cos(self.rotation_rad)
        x, y, z = points[..., 0], points[..., 1], points[..., 2]
        turned_x, turned_z = cosine * x + sine * z, cosine * z - sine * x
        scale = self.magnification(turned_z)
        return np.stack([turned_x * scale, y * scale], axis=-1).astype(np.float32)

    def magnification(self, z_mm: NDArray[np.floating] | float) -> NDArray[np.floating]:
        """Return the size at depth z relative to the iso plane."""
        towards_focus = np.asarray(z_mm) * (1.0 if self.anteroposterior else -1.0)
        to_focus_mm = self.focus_mm - self.object_mm
        return to_focus_mm / (to_focus_mm - towards_focus)


@dataclass(frozen=True)
class Raster:
    """The pixel grid of one image in the iso plane.

    Args:
        height_px: rows.
        width_px: columns.
        left_mm: x of the left edge, before the tilt.
        top_mm: y of the upper edge, before the tilt.
        pitch_mm: side of a pixel.
        tilt_rad: rotation of the patient in the image plane.
    """

    height_px: int
    width_px: int
    left_mm: float
    top_mm: float
    pitch_mm: float
    tilt_rad: float = 0.0

    @cached_property
    def grids(self) -> tuple[Field, Field]:
        """Patient x and y in mm at every pixel centre, two arrays [H, W]."""
        u = (np.arange(self.width_px, dtype=np.float32) + 0.5) * np.float32(self.pitch_mm) + np.float32(self.left_mm)
        v = (np.arange(self.height_px, dtype=np.float32) + 0.5) * np.float32(self.pitch_mm) + np.float32(self.top_mm)
        sine, cosine = np.float32(np.sin(self.tilt_rad)), np.float32(np.cos(self.tilt_rad))
        return cosine * u[None, :] + sine * v[:, None], cosine * v[:, None] - sine * u[None, :]

    def to_px(self, xy: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return positions [..., 2] in mm as continuous pixel positions [..., 2]; a pixel's centre has half a pixel."""
        sine, cosine = np.sin(self.tilt_rad), np.cos(self.tilt_rad)
        u = cosine * xy[..., 0] - sine * xy[..., 1]
        v = sine * xy[..., 0] + cosine * xy[..., 1]
        return np.stack([(u - self.left_mm) / self.pitch_mm, (v - self.top_mm) / self.pitch_mm], axis=-1)

    def fraction(self, xy: tuple[float, float]) -> tuple[float, float]:
        """Return a position in mm as fractions of the image, held just inside its edges."""
        px = self.to_px(np.asarray(xy, dtype=np.float64))
        x, y = px[0] / self.width_px, px[1] / self.height_px
        return float(np.clip(x, 0.005, 0.995)), float(np.clip(y, 0.005, 0.995))

    def zeros(self) -> Field:
        """Return an empty field [H, W]."""
        return np.zeros((self.height_px, self.width_px), dtype=np.float32)

    def window(self, centre: tuple[float, float], radius_mm: float) -> tuple[slice, slice]:
        """Return rows and columns of the square around a position in mm, cut to the image (possibly empty)."""
        sine, cosine = math.sin(self.tilt_rad), math.cos(self.tilt_rad)
        x_px = (cosine * centre[0] - sine * centre[1] - self.left_mm) / self.pitch_mm
        y_px = (sine * centre[0] + cosine * centre[1] - self.top_mm) / self.pitch_mm
        radius_px = radius_mm / self.pitch_mm + 1.0
        return _span(y_px, radius_px, self.height_px), _span(x_px, radius_px, self.width_px)


def _span(centre_px: float, radius_px: float, count: int) -> slice:
    """Return pixels within a radius, cut to [0, count)."""
    start, stop = min(max(centre_px - radius_px, 0), count), min(max(centre_px + radius_px, 0), count)
    return slice(int(start), math.ceil(stop))


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid by its projected outline and its half depth.

    Args:
        centre: (x, y) in mm, projected.
        axes: half axes of the projected outline in mm, along and across `angle_rad`.
        half_depth_mm: half of the longest chord along the beam.
        angle_rad: direction of the first axis from x towards y (down).
    """

    centre: tuple[float, float]
    axes: tuple[float, float]
    half_depth_mm: float
    angle_rad: float = 0.0

    def radius_squared(self, raster: Raster, window: tuple[slice, slice]) -> Field:
        """Return the squared distance from the centre in units of the half axes, inside the window."""
        x, y = raster.grids
        dx, dy = x[window] - np.float32(self.centre[0]), y[window] - np.float32(self.centre[1])
        sine, cosine = np.float32(np.sin(self.angle_rad)), np.float32(np.cos(self.angle_rad))
        along = (cosine * dx + sine * dy) / np.float32(self.axes[0])
        across = (cosine * dy - sine * dx) / np.float32(self.axes[1])
        return along * along + across * across

    def chord(self, raster: Raster) -> tuple[tuple[slice, slice], Field]:
        """Window around the ellipsoid and the chord length in mm there: 2 c sqrt(1 - r^2), zero outside."""
        window = raster.window(self.centre, max(self.axes))
        inside = np.maximum(np.float32(1.0) - self.radius_squared(raster, window), 0.0)
        return window, np.float32(2.0 * self.half_depth_mm) * np.sqrt(inside)
