"""Line integrals of swept tubes: ribs, vessels, bronchi, catheters."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from phantoms.projection import Beam, Field, Raster

Profile = Callable[[Field], Field]
# Spacing of the mass points of a tube; below one pixel the bilinear deposit shows no ripple.
ALONG_STEP_PX, ACROSS_STEP_PX = 0.95, 0.8


def solid_profile(offset: Field) -> Field:
    """Return the chord of a solid round tube over the offset from its axis in [-1, 1], up to a factor."""
    return np.sqrt(np.maximum(1.0 - offset * offset, 0.0)).astype(np.float32)


def shell_profile(inner: float, core: float) -> Profile:
    """Return the chord-weighted attenuation across a hollow tube: a shell down to `inner` radii and a core weighing
    `core`."""

    def profile(offset: Field) -> Field:
        outer = np.sqrt(np.maximum(1.0 - offset * offset, 0.0))
        hole = np.sqrt(np.maximum(inner * inner - offset * offset, 0.0))
        return (outer - (1.0 - core) * hole).astype(np.float32)

    return profile


def splat_tubes(
    raster: Raster,
    beam: Beam,
    points: NDArray[np.floating],
    half_width_mm: NDArray[np.floating],
    mass: NDArray[np.floating],
    profile: Profile = solid_profile,
    gate: Field | None = None,
) -> Field:
    """Return line integrals of swept tubes, by depositing the mass of thin slices along their 3-D centre lines.

    A slice of length ds and cross-section area a adds mu * a * ds over its projected width, so a tube that runs along
    the beam grows denser by itself, without dividing by a vanishing projected length.

    Args:
        raster: where to project.
        beam: how to project.
        points: centre lines [B, n, 3] in mm.
        half_width_mm: projected half width [B, n].
        mass: attenuation coefficient times cross-section area [B, n], in mm (1/mm x mm^2).
        profile: distribution across the width.
        gate: [H, W] weight looked up under the centre line (vessels end at the pleura), or None.

    Returns:
        Attenuation [H, W].
    """
    px: Field = raster.to_px(beam.project(points)).astype(np.float32)
    if gate is not None:  # tubes that show nowhere cost nothing
        shown = (_look_up(gate, px) > 0).any(axis=1)
        if not shown.any():
            return raster.zeros()
        points, px, half_width_mm, mass = points[shown], px[shown], half_width_mm[shown], mass[shown]
    longest_px = float(np.sqrt((np.diff(px, axis=1) ** 2).sum(axis=-1).max())) * (points.shape[1] - 1)
    count = max(int(np.ceil(longest_px / ALONG_STEP_PX)) + 1, 3)
    blend = _resampling(points.shape[1], count)
    speed_mm = np.sqrt((np.gradient(points, axis=1) ** 2).sum(axis=-1)) * ((points.shape[1] - 1) / (count - 1))
    px = np.asarray(blend @ px, dtype=np.float32)  # [B, count, 2]
    tangent = np.empty_like(px)
    tangent[:, 1:-1] = px[:, 2:] - px[:, :-2]
    tangent[:, 0], tangent[:, -1] = px[:, 1] - px[:, 0], px[:, -1] - px[:, -2]
    tangent /= np.sqrt((tangent * tangent).sum(axis=-1, keepdims=True)) + np.float32(1e-9)
    half_px = _along(half_width_mm, blend) / np.float32(raster.pitch_mm)
    weight = _along(mass, blend) * _along(speed_mm, blend) / np.float32(raster.pitch_mm**2)
    weight[:, [0, -1]] *= np.float32(0.5)  # trapezoid rule
    if gate is not None:
        weight = weight * _look_up(gate, px)
    across = max(int(np.ceil(2.0 * float(half_px.max()) / ACROSS_STEP_PX)), 1)
    offset = ((np.arange(across, dtype=np.float32) + 0.5) / across * 2.0 - 1.0).astype(np.float32)
    share = profile(offset)
    share = share / share.sum()
    reach = half_px[..., None] * offset
    x = px[..., 0, None] - tangent[..., 1, None] * reach
    y = px[..., 1, None] + tangent[..., 0, None] * reach
    return _deposit(raster, x.ravel(), y.ravel(), (weight[..., None] * share).ravel())


def _look_up(field: Field, px: Field) -> Field:
    """Return values of a field [H, W] at the nearest pixels to positions [..., 2]."""
    rows = np.clip(px[..., 1].astype(np.intp), 0, field.shape[0] - 1)
    cols = np.clip(px[..., 0].astype(np.intp), 0, field.shape[1] - 1)
    return field[rows, cols]


def _along(values: NDArray[np.floating], blend: Field) -> Field:
    """Resample a quantity [B, n] given along tubes to [B, count]."""
    return np.asarray(values.astype(np.float32) @ blend.T)


def _resampling(source: int, target: int) -> Field:
    """Matrix [target, source] of linear interpolation along a polyline."""
    at = np.linspace(0.0, source - 1.0, target)
    low = np.minimum(at.astype(int), source - 2)
    blend = np.zeros((target, source), dtype=np.float32)
    blend[np.arange(target), low] = 1.0 - (at - low)
    blend[np.arange(target), low + 1] = at - low
    return blend


def _deposit(raster: Raster, x: Field, y: Field, weight: Field) -> Field:
    """Sum weights at pixel positions, shared bilinearly between the four nearest pixel centres."""
    height, width = raster.height_px, raster.width_px
    x = np.clip(x + np.float32(0.5), 0.0, width + 0.99)  # shifted by one pixel into a canvas with a margin,
    y = np.clip(y + np.float32(0.5), 0.0, height + 0.99)  # which takes what falls outside the image
    col, row = x.astype(np.int32), y.astype(np.int32)
    fx, fy = x - col, y - row
    stride, size = width + 2, (width + 2) * (height + 3) + 1
    places = np.empty((4, len(x)), dtype=np.intp)
    np.add(row * np.int32(stride), col, out=places[0])
    np.add(places[0][None], np.array([[1], [stride], [stride + 1]]), out=places[1:])
    shares = np.empty((4, len(x)))
    below = weight * fy
    above = weight - below
    np.multiply(above, fx, out=shares[1])
    np.subtract(above, shares[1], out=shares[0])
    np.multiply(below, fx, out=shares[3])
    np.subtract(below, shares[3], out=shares[2])
    canvas = np.bincount(places.ravel(), shares.ravel(), size)[: size - 1]
    return canvas.reshape(height + 3, stride)[1 : height + 1, 1:-1].astype(np.float32)
