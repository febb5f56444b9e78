"""Is an image in colour? Radiographs are grey, perhaps with one tint all over, or with small coloured marks.

A tint is what a lamp, a film base or a toned print does to grey: each grey level has one colour, none is farther from
grey than a lamp or a dye makes it, and all three channels rise with the brightness at about the same pace. A photograph
has several colours at one brightness; sky over grass differs in one channel more than in the others; a red surface is
farther from grey than any tint; skin is redder than any lamp or dye. A drawing or a screenshot is paper and coloured
lines.
"""

from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gazevlm_core.images.base import ImageError
from gazevlm_core.images.load import LoadedImage, load_image
from gazevlm_core.images.raster import as_rgb

SIDE_PX = 64
LEVELS = 12
# Beside the tint of its brightness by more than OFF_TINT (range of the three channels, in [0, 1]) lies less than a
# tenth of a film with marks, a banner or JPEG's noise, and more than a fifth of a photograph.
OFF_TINT, MOST_OFF_TINT = 0.05, 0.15
# A tint's colours at black and at white: a candle-like lamp reaches 0.44 at white, a blue film base 0.22 at black.
MOST_AT_BLACK, MOST_AT_WHITE = 0.25, 0.55
# By how much a channel grows where the grey value grows by 1: lamps and film bases 0.71 to 1.29.
LEAST_SLOPE, MOST_SLOPE = 0.6, 1.45
# The colour of what has no light and shade, as multiples of the spread of its grey values; a pale film stays below 6.
MOST_CHROMA_PER_SPREAD = 10.0
# Of a tint towards red, how much of it green lacks against what the least channel lacks: lamps, amber and sepia up to
# 0.52, skin from 0.6; and how far from grey it has to be to tell.
MOST_RED, LEAST_RED_CHROMA = 0.58, 0.12
# Paper, or the even ground of a screen, has one colour, to 2 of 255; what is drawn on it is mostly coloured. Beside the
# black around a film with marks, an eighth of the rest is; where hardly anything is coloured at all, it does not count.
SAME, MOST_DRAWN, LEAST_DRAWN = 2, 0.35, 0.05
_DECLINED = "This is a colour picture, not a radiograph; give a grey chest radiograph."


def load_radiograph(source: str | Path | bytes | BinaryIO) -> LoadedImage:
    """Load an image, as `load_image`, for all that answers questions about a radiograph: the pages, the endpoints, the
    command line.

    Raises:
        ImageError: as `load_image`; or the image is in colour.
    """
    loaded = load_image(source)
    if is_colored(loaded.image):
        raise ImageError(_DECLINED)
    return loaded


def is_colored(image: Image.Image) -> bool:
    """Return whether an image is too colourful for a radiograph.

    Args:
        image: any mode and size.
    """
    channels = _reduced(image)
    grey = channels.mean(axis=1)
    chroma = channels - grey[:, None]  # [N, 3]
    tints, levels = _tints(grey, chroma)
    level_greys = np.array([grey[levels == level].mean() for level in range(len(tints))])
    far = _range(tints) > MOST_AT_BLACK + (MOST_AT_WHITE - MOST_AT_BLACK) * level_greys
    off_tint = (_range(chroma - tints[levels]) > OFF_TINT) | far[levels]
    if off_tint.mean() > MOST_OFF_TINT or _is_drawn(channels, off_tint):
        return True
    tints, greys = tints[~far], level_greys[~far]  # a banner may fill a level
    about_mean = greys - greys.mean()
    spread = max(float(greys.std()), 1 / 255)
    if _range(tints).mean() > MOST_CHROMA_PER_SPREAD * spread:
        return True
    if _is_reddish(tints.mean(axis=0)):
        return True
    slopes = 1.0 + about_mean @ (tints - tints.mean(axis=0)) / (len(greys) * spread**2)
    return bool(slopes.min() < LEAST_SLOPE or slopes.max() > MOST_SLOPE)


def _is_drawn(channels: NDArray[np.float64], off_tint: NDArray[np.bool_]) -> bool:
    """Return whether most of what is not the commonest colour is coloured."""
    levels = np.rint(channels * 255).astype(np.int64)
    colours, counts = np.unique(levels, axis=0, return_counts=True)
    drawn = (np.abs(levels - colours[counts.argmax()]) > SAME).any(axis=1)
    return bool(off_tint.mean() > LEAST_DRAWN and off_tint[drawn].sum() > MOST_DRAWN * drawn.sum())


def _is_reddish(tint: NDArray[np.float64]) -> bool:
    red, green, _ = tint
    away = red - tint.min()
    return bool(away > LEAST_RED_CHROMA and red - green > MOST_RED * away)


def _reduced(image: Image.Image) -> NDArray[np.float64]:
    """Return the image at SIDE_PX a side, [N, 3] in [0, 1]."""
    small = as_rgb(image).resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX)
    return np.asarray(small, np.float64).reshape(-1, 3) / 255.0


def _tints(grey: NDArray[np.float64], chroma: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the median chroma at each of up to LEVELS grey levels of equally many pixels, [L, 3], and each pixel's
    level."""
    edges = np.unique(np.quantile(grey, np.linspace(0, 1, LEVELS + 1)[1:-1]))
    levels = np.searchsorted(edges, grey, side="left")
    _, levels = np.unique(levels, return_inverse=True)
    return np.array([np.median(chroma[levels == level], axis=0) for level in range(levels.max() + 1)]), levels


def _range(chroma: NDArray[np.float64]) -> NDArray[np.float64]:
    return chroma.max(axis=-1) - chroma.min(axis=-1)
