"""What every image reader shares: the error, the limits, and how deep pixels become 8 bits."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Where the central 99% of the pixels fill less than this share of the full range, the rest are outliers.
OUTLIER_SHARE = 0.5
CENTRAL_PERCENTILES = (0.5, 99.5)
# White of a picture of fractions, and of one with 8, 10, 12, 14, 16 or 32 bits: the depths of detectors and files.
WHITES = (1.0, 255.0, 1023.0, 4095.0, 16_383.0, 65_535.0, 2.0**32 - 1)
USED_SHARE = 0.25
_BLOCK_ROWS = 256
# Limits that are checked from the headers, before any pixel is decoded.
MAX_BYTES = 64 * 1024 * 1024  # of the file
MAX_PIXELS = 64_000_000  # width times height
MAX_SIDE_PX = 16_384  # longest side
MIN_SIDE_PX = 16  # shortest side; below it there is nothing to see
MAX_RATIO = 200  # longest side over shortest; the backbone's image processor takes no picture beyond it


class ImageError(ValueError):
    """An image cannot be used. The text is one sentence: what is wrong, and what to do.

    It never holds a file name, a DICOM tag value or an EXIF value, so it may be logged and shown.
    """


def check_size(width_px: int, height_px: int) -> None:
    """Refuse a size that is empty, tiny, too large or far too long for its width.

    Raises:
        ImageError: the size is outside the limits.
    """
    size = f"{width_px} x {height_px} px"
    if width_px < 1 or height_px < 1:
        raise ImageError(f"The image has no pixels ({size}); export it again from its source.")
    if min(width_px, height_px) < MIN_SIDE_PX:
        raise ImageError(
            f"The image is only {size}, below {MIN_SIDE_PX} px a side; use the full-size original."
        )
    if max(width_px, height_px) > MAX_SIDE_PX:
        raise ImageError(
            f"The image is {size}, above the limit of {MAX_SIDE_PX} px a side; make it smaller and try again."
        )
    if width_px * height_px > MAX_PIXELS:
        raise ImageError(
            f"The image is {size}, above the limit of {MAX_PIXELS / 1e6:g} megapixels; "
            "make it smaller and try again."
        )
    check_ratio(width_px, height_px)


def check_ratio(width_px: int, height_px: int) -> None:
    """Refuse a strip, which the backbone's image processor does not take.

    Raises:
        ImageError: too long for its width.
    """
    if max(width_px, height_px) > MAX_RATIO * min(width_px, height_px):
        raise ImageError(
            f"The image is a strip of {width_px} x {height_px} px, more than {MAX_RATIO} times as long as wide; "
            "cut out the part that matters."
        )


def array_range(values: NDArray[Any]) -> tuple[float, float]:
    """Return `grey_range` of pixels.

    Args:
        values: finite pixels, any shape, not empty.
    """
    low, high = (float(value) for value in np.percentile(values, CENTRAL_PERCENTILES))
    return grey_range(float(values.min()), float(values.max()), low, high)


def grey_range(smallest: float, largest: float, low: float, high: float) -> tuple[float, float]:
    """Return the values that become black and white where nothing says which should: one rule for every deep format.

    A picture is shown on the scale of its depth, so that one film appears alike in 8, 12 or 16 bits, in integers or
    fractions, and as its 8-bit form does, which is never changed. White is the lowest of WHITES that no value exceeds
    (the container says little: detectors of 12 bits write files of 16); of integers the upper 8 bits are shown,
    which are the same whether a byte was shifted up or spread over the scale. Values that only a handful of pixels
    reach, four times as high as the rest (a burnt-in marker, dead pixels), do not count.
    There is no such scale for values below 0 (measured or computed), nor for what uses less than a quarter of it:
    those are spread over their own range, from the smallest to the largest; or, where the central 99% fill less than
    half of that, from the 0.5 to the 99.5 percentile.

    Args:
        smallest, largest: of all pixels.
        low, high: their 0.5 and 99.5 percentiles.
    """
    if smallest >= 0:
        reached = high if high <= USED_SHARE * largest else largest
        white = next((white for white in WHITES if reached <= white), None)
        if white is not None and high - low >= USED_SHARE * white:
            if white == 1:
                return 0.0, 1.0
            level = (white + 1) / 256  # values per grey level; the first one's middle is black
            return level / 2 - 0.5, white - level / 2 + 0.5
    return (low, high) if low < high and high - low < OUTLIER_SHARE * (largest - smallest) else (smallest, largest)


def to_8_bit(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Scale linearly so that low becomes 0 and high 255, clipping outside; a constant image becomes black.

    Args:
        values: numbers, at least one dimension.
        low, high: finite, low <= high.

    Returns:
        uint8 of the same shape, rising with the values.
    """
    grey = np.zeros(values.shape, dtype=np.uint8)
    if low < high:
        for start in range(0, len(values), _BLOCK_ROWS):  # in blocks: 64 megapixels of float64 are half a gigabyte
            share = (values[start:start + _BLOCK_ROWS].astype(np.float64) - low) / (high - low)
            grey[start:start + _BLOCK_ROWS] = np.floor(np.clip(share, 0.0, 1.0) * 255.0 + 0.5)
    return grey
