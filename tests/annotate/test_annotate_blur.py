"""The blur of the bubble mode against the full convolution."""

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from annotate.blur import BlurSettings, blur_image


def noise(width: int, height: int, channels: int = 1) -> np.ndarray:
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize(("width", "height", "sigma_px"), [(300, 240, 20.0), (240, 300, 20.0), (601, 397, 40.0)])
def test_the_reduced_blur_is_the_full_one(width: int, height: int, sigma_px: float) -> None:
    pixels = noise(width, height)
    pixels[: height // 2] //= 3  # an edge, or the blur of noise would be flat
    soft = blur_image(Image.fromarray(pixels), sigma_px)
    assert soft.width < width / 2
    shown = np.asarray(soft.resize((width, height), Image.Resampling.BICUBIC), dtype=float)
    full = gaussian_filter(pixels.astype(float), sigma_px, mode="reflect")
    assert full.max() - full.min() > 60
    assert np.abs(shown - full).max() < 2


def test_a_weak_blur_keeps_the_size_and_colour_its_channels() -> None:
    soft = blur_image(Image.fromarray(noise(50, 40, 3)), 2.0)
    assert (soft.mode, soft.size) == ("RGB", (50, 40))
    full = gaussian_filter(noise(50, 40, 3).astype(float), (2.0, 2.0, 0), mode="reflect")
    assert np.abs(np.asarray(soft, dtype=float) - full).max() <= 0.5001


def test_blur_and_disc_grow_with_the_image() -> None:
    assert BlurSettings().scaled(600, 400) == (40, 32)
    assert BlurSettings().scaled(300, 1200) == (80, 64)
    with pytest.raises(ValueError, match="positive"):
        BlurSettings(sigma_px=0)
