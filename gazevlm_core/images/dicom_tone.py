"""Stored values of a grey DICOM image to 8-bit grey, through look-up tables, rescale and windows.

Everything acts on a table with one row per possible word, so 64 megapixels cost no more than 65,536.
"""

import math

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_windowing

from gazevlm_core.images.base import CENTRAL_PERCENTILES, grey_range, to_8_bit
from gazevlm_core.images.dicom_display import Display, Window

_BEYOND = 1e300  # a value beyond every window
_BLOCK_ROWS = 64
_SHALLOW = 256  # values of 8 bits


def words_to_grey(
    words: NDArray[np.uint8] | NDArray[np.uint16], stored: NDArray[np.int32], display: Display, inverted: bool
) -> NDArray[np.uint8]:
    """Grey levels as a workstation would first show them.

    A look-up table goes before a window. One that leaves the whole picture in a single grey says nothing about it, and
    counts as absent; without any, up to 8 bits are shown as they are, like those of other formats, and of more bits
    `grey_range` decides, on the stored values. Padding is black and moves nothing.

    Args:
        words: [rows, columns] as they lie in the file.
        stored: [2**bits of a word], the stored value that each word means.
        display: of the data set.
        inverted: whether the lowest value is the brightest (MONOCHROME1).

    Returns:
        uint8 [rows, columns], high is bright.
    """
    counts = _count(words, len(stored))
    padding = _padding(stored, counts, display)
    counts[padding] = 0
    grey = _first_that_shows(stored, counts, display)
    if inverted:
        grey = 255 - grey
    grey[padding] = 0
    return grey[words]


def _count(words: NDArray[np.uint8] | NDArray[np.uint16], kinds: int) -> NDArray[np.int64]:
    """How often each word occurs, [kinds]; in blocks, as bincount copies to 64 bits."""
    counts = np.zeros(kinds, dtype=np.int64)
    for start in range(0, len(words), _BLOCK_ROWS):
        counts += np.bincount(words[start:start + _BLOCK_ROWS].ravel(), minlength=kinds)
    return counts


def _padding(stored: NDArray[np.int32], counts: NDArray[np.int64], display: Display) -> NDArray[np.bool_]:
    """Which words are padding, [kinds]; both ends of a padding range belong to it.

    Some writers mix up signed and unsigned, or put a padding value of a whole word into an image of fewer bits: it is
    padding under either reading. What would leave no picture at all is no padding.
    """
    none = np.zeros(len(stored), dtype=np.bool_)
    if display.padding is None:
        return none
    whole = len(stored)
    word = np.arange(whole)
    if display.padding[0] == display.padding[1]:
        hit = (stored == display.padding[0]) | (word == display.padding[0] % whole)
    else:
        half = whole // 2
        signed = stored.min() < 0
        first, last = sorted(
            end - whole if signed and half <= end < whole else end + whole if not signed and -half <= end < 0 else end
            for end in display.padding
        )
        hit = (stored >= first) & (stored <= last)
    return hit if (counts[~hit] > 0).any() else none


def _first_that_shows(stored: NDArray[np.int32], counts: NDArray[np.int64], display: Display) -> NDArray[np.uint8]:
    """Grey of each word, [kinds], by the first means that leaves more than one level in the picture."""
    occurring = counts > 0
    plain = stored.astype(np.float64)
    values = plain * display.slope + display.intercept
    falling, shallow = display.slope < 0, bool(stored.max() - stored.min() < _SHALLOW)
    if display.modality is not None:
        mapped = display.modality.look_up(plain, occurring)
        if np.ptp(mapped[occurring]) > 0:
            plain = values = mapped
            falling = shallow = False
    if display.voi is not None:
        entries = display.voi.entries
        grey = to_8_bit(display.voi.look_up(values, occurring), float(entries.min()), float(entries.max()))
        if np.ptp(grey[occurring]) > 0:
            return grey
    if display.window is not None:
        grey = _through_window(values, display.window)
        if np.ptp(grey[occurring]) > 0:
            return grey
    # Not the rescaled values: a line changes nothing but the scale, and the depth tells that of the stored ones.
    shown_as_is = shallow and np.ptp(plain[occurring]) > 0  # an even picture is black in every depth
    grey = to_8_bit(plain, *((float(stored.min()), float(stored.max())) if shown_as_is else _range(plain, counts)))
    return 255 - grey if falling else grey


def _range(values: NDArray[np.float64], counts: NDArray[np.int64]) -> tuple[float, float]:
    """`grey_range` of pixels that are given as values and how often each occurs."""
    order = np.argsort(values, kind="stable")
    order = order[counts[order] > 0]
    below = np.cumsum(counts[order])  # [distinct values], pixels up to and with each
    ranks = [math.ceil(percent / 100.0 * below[-1]) for percent in CENTRAL_PERCENTILES]
    low, high = (float(values[order[np.searchsorted(below, rank)]]) for rank in ranks)
    return grey_range(float(values[order[0]]), float(values[order[-1]]), low, high)


def _through_window(values: NDArray[np.float64], window: Window) -> NDArray[np.uint8]:
    """What the window makes of a value far below it is black, far above it white."""
    dataset = Dataset()
    dataset.PhotometricInterpretation, dataset.BitsStored, dataset.PixelRepresentation = "MONOCHROME2", 16, 0
    dataset.WindowCenter, dataset.WindowWidth, dataset.VOILUTFunction = window.center, window.width, window.function
    with np.errstate(over="ignore"):
        shown = apply_windowing(np.concatenate([[-_BEYOND, _BEYOND], values]), dataset)
    black, white = float(shown[0]), float(shown[1])
    return to_8_bit((shown[2:] - black) / (white - black), 0.0, 1.0)
