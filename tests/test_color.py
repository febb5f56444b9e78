"""Photographs are in colour, radiographs are not: not even tinted ones, or those with a coloured mark."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from skimage import data

from gazevlm_core.images import is_colored, load_image
from gazevlm_core.images.color import colorfulness
from gazevlm_core.phantom.make import make_phantom

PHANTOM = Image.fromarray(make_phantom(3, size_px=200).image)


def test_grey_and_evenly_tinted_images_have_no_colour() -> None:
    assert colorfulness(PHANTOM) == pytest.approx(0, abs=1e-9)
    assert colorfulness(Image.new("RGB", (50, 40), (10, 200, 90))) == pytest.approx(0, abs=1e-9)
    for black, white in (("#001030", "#c0e0ff"), ("black", "#ffd090")):
        assert not is_colored(ImageOps.colorize(PHANTOM, black, white))


def test_half_red_half_green_by_hand() -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:32, :, 0] = pixels[32:, :, 1] = 255
    # chroma of red is (2, -1, -1) / 3; less the mean of both halves, (1, 1, -2) / 6, that is (3, -3, 0) / 6
    assert colorfulness(Image.fromarray(pixels)) == pytest.approx(1.0)


def test_a_small_coloured_mark_is_no_photograph() -> None:
    marked = PHANTOM.convert("RGB")
    marked.paste((255, 0, 0), (5, 5, 35, 25))
    assert not is_colored(marked)


@pytest.mark.parametrize("photograph", ["cat", "astronaut", "coffee"])
def test_photographs_are_coloured(photograph: str) -> None:
    assert is_colored(Image.fromarray(getattr(data, photograph)()))


def test_real_radiographs_are_not(real_radiographs: list[Path]) -> None:
    assert [path.name for path in real_radiographs if is_colored(load_image(path).image)] == []
