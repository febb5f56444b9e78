"""Slowly varying fields: noise that is fixed in space, and wide blurs."""

import numpy as np
from scipy import ndimage

from phantoms.projection import Field, Raster


def noise_field(raster: Raster, rng: np.random.Generator, scale_mm: float) -> Field:
    """Smooth random field [H, W] of about unit variance with structures of `scale_mm`, fixed in space.

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


def low_pass(field: Field, sigma_px: float) -> Field:
    """Wide Gaussian blur, done on block means and interpolated back: for shadows that vary slowly."""
    block = max(int(sigma_px / 2.0), 1)
    if block == 1:
        return np.asarray(ndimage.gaussian_filter(field, sigma_px, mode="nearest"), dtype=np.float32)
    height, width = field.shape
    padded = np.pad(field, ((0, -height % block), (0, -width % block)), mode="edge")
    coarse = padded.reshape(padded.shape[0] // block, block, padded.shape[1] // block, block).mean(axis=(1, 3))
    coarse = ndimage.gaussian_filter(coarse, sigma_px / block, mode="nearest")
    rows, cols = _block_interpolation(height, block, len(coarse)), _block_interpolation(width, block, coarse.shape[1])
    return np.asarray(rows @ coarse @ cols.T, dtype=np.float32)


def _block_interpolation(count: int, block: int, nodes: int) -> Field:
    """Linear interpolation weights [count, nodes] from block centres to pixels."""
    at = np.clip((np.arange(count) + 0.5) / block - 0.5, 0.0, nodes - 1.0)
    low = np.minimum(at.astype(int), max(nodes - 2, 0))
    blend = np.zeros((count, nodes), dtype=np.float32)
    blend[np.arange(count), low] = 1.0 - (at - low)
    if nodes > 1:
        blend[np.arange(count), low + 1] = at - low
    return blend
