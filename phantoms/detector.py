"""From attenuation to the displayed image: scatter, quantum noise, blur, tone curve and display window."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from phantoms.case import RANDOMISED, Case
from phantoms.projection import Field, Raster


@dataclass(frozen=True)
class Detector:
    """Response of a scanner.

    Args:
        photons: mean count per mm^2 of the open beam.
        scatter: scattered signal relative to the blurred primary.
        scatter_mm: width of the scatter's spread.
        blur_mm: width of the focal spot and the detector's spread.
        equalise: share of the wide-area brightness that is taken out (multi-scale processing).
        sharpen: strength of the edge enhancement.
        steepness: slope of the S-shaped tone curve.
        middle: its middle as a share of the window.
        percentiles: display window in percent of the exposed pixels.
        below: how far the window reaches below that, as a share of it, towards the air around the patient.
    """

    photons: float
    scatter: float
    scatter_mm: float
    blur_mm: float
    equalise: float
    sharpen: float
    steepness: float
    middle: float
    percentiles: tuple[float, float]
    below: float = 0.0


def sample_detector(case: Case) -> Detector:
    """Return the scanner of the case's domain with its day-to-day settings."""
    rng, bedside = case.stream("detector"), case.technique.anteroposterior
    if case.domain == "A":
        return Detector(
            photons=float(120000 * case.technique.exposure * (0.6 if bedside else 1.0)),
            scatter=float(rng.uniform(0.25, 0.5) if bedside else rng.uniform(0.1, 0.3)),
            scatter_mm=28.0,
            blur_mm=float(rng.uniform(0.25, 0.42)),
            equalise=float(rng.uniform(0.12, 0.4)),
            sharpen=float(rng.uniform(0.1, 0.55)),
            steepness=float(rng.uniform(2.4, 4.2)),
            middle=float(rng.uniform(0.46, 0.6)),
            percentiles=(float(rng.uniform(0.3, 2.0)), float(rng.uniform(98.6, 99.7))),
        )
    if case.domain == RANDOMISED:
        return _any_detector(rng, case.technique.exposure)
    return Detector(
        photons=float(26000 * case.technique.exposure),
        scatter=float(rng.uniform(0.35, 0.7)),
        scatter_mm=36.0,
        blur_mm=float(rng.uniform(0.5, 0.8)),
        equalise=float(rng.uniform(0.0, 0.15)),
        sharpen=float(rng.uniform(0.0, 0.2)),
        steepness=float(rng.uniform(4.4, 6.2)),
        middle=float(rng.uniform(0.38, 0.5)),
        percentiles=(float(rng.uniform(1.5, 4.0)), float(rng.uniform(97.0, 99.0))),
    )


def _any_detector(rng: np.random.Generator, exposure: float) -> Detector:
    """Film, storage plate or flat panel, with any vendor's processing."""
    return Detector(
        photons=float(exposure * np.exp(rng.uniform(np.log(1.2e4), np.log(2e5)))),
        scatter=float(np.exp(rng.uniform(np.log(0.1), np.log(1.6)))),
        scatter_mm=float(rng.uniform(20.0, 45.0)),
        blur_mm=float(rng.uniform(0.25, 1.1)),
        equalise=float(rng.uniform(0.0, 0.6)),
        sharpen=float(rng.uniform(0.0, 0.9) if rng.random() < 0.7 else 0.0),
        steepness=float(rng.uniform(1.0, 3.5)),
        middle=float(rng.uniform(0.35, 0.65)),
        percentiles=(float(rng.uniform(0.1, 1.5)), float(rng.uniform(99.3, 99.95))),
        below=float(rng.uniform(0.05, 0.6)),
    )


def transmit(attenuation: Field) -> Field:
    """Return the share of the open beam that passes, exp(-integral of mu)."""
    return np.exp(-attenuation)


def expose(attenuation: Field, raster: Raster, detector: Detector, rng: np.random.Generator) -> Field:
    """Return the detected signal relative to the open beam [H, W]: primary, scatter, blur and quantum noise."""
    blur_px = max(detector.blur_mm / raster.pitch_mm, 0.35)
    primary = ndimage.gaussian_filter(transmit(attenuation), blur_px, mode="nearest", truncate=3)
    object_signal = np.minimum(primary, 0.25)  # bare detector scatters little
    signal = primary + np.float32(detector.scatter) * low_pass(object_signal, detector.scatter_mm / raster.pitch_mm)
    quanta = np.float32(detector.photons * raster.pitch_mm**2)
    noise = rng.standard_normal(signal.shape, dtype=np.float32)  # normal limit of Poisson at these counts
    return np.maximum(signal + noise * np.sqrt(signal / quanta), np.float32(1e-4))


def process(signal: Field, raster: Raster, detector: Detector) -> Field:
    """Return the density [H, W] of the detected signal, wide shadows partly taken out and edges enhanced, before its
    window."""
    density = -np.log(signal)
    wide = low_pass(density, 26.0 / raster.pitch_mm)
    fine = ndimage.gaussian_filter(density, max(1.6 / raster.pitch_mm, 0.6), mode="nearest", truncate=2.5)
    return density - np.float32(detector.equalise) * wide + np.float32(detector.sharpen) * (density - fine)


def display_window(shown: Field, detector: Detector, body: np.ndarray) -> tuple[float, float]:
    """Return lower and upper end of the display window, from the pixels where `body`, bool [H, W], is True."""
    sample = shown[::3, ::3][body[::3, ::3]]
    low, high = np.percentile(sample, detector.percentiles) if sample.size else (0.0, 1.0)
    return float(low - detector.below * (high - low)), float(high)


def display(shown: Field, window: tuple[float, float], detector: Detector) -> np.ndarray:
    """Return the displayed image [H, W], uint8, bone bright, from what `process` and `display_window` give."""
    low, high = window
    value = np.clip((shown - np.float32(low)) / np.float32(max(high - low, 1e-3)), -0.25, 1.25)
    return np.asarray(tone_curve(value, detector) * 255.0 + 0.5, dtype=np.uint8)


def tone_curve(value: Field, detector: Detector) -> Field:
    """Return the S-shaped curve from window position (0 to 1) to display brightness in [0, 1]."""
    k, middle = np.float32(detector.steepness), np.float32(detector.middle)
    ends = 1.0 / (1.0 + np.exp(-k * (np.array([0.0, 1.0], dtype=np.float32) - middle)))
    curve = 1.0 / (1.0 + np.exp(-k * (value - middle)))
    return np.clip((curve - ends[0]) / (ends[1] - ends[0]), 0.0, 1.0)


def low_pass(field: Field, sigma_px: float) -> Field:
    """Return a wide Gaussian blur, done on block means and interpolated back: for shadows that vary slowly."""
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
