"""Stored values of a grey DICOM image to 8-bit grey, through pydicom's look-up tables, rescale and windows.

Everything acts on a table with one row per stored value, so 64 megapixels cost no more than 65,536.
"""

import math

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_modality_lut, apply_voi, apply_windowing

from gazevlm_core.images.base import CENTRAL_PERCENTILES, ImageError, to_8_bit

_BEYOND = 1e300  # a value beyond every window


def stored_to_grey(stored: NDArray[np.int32], dataset: Dataset) -> NDArray[np.uint8]:
    """Grey levels as a workstation would first show them.

    A look-up table goes before a window, and the first of several counts. A window that is not finite, or narrower
    than its function allows, says nothing and counts as absent. Padding is black and does not shift the percentiles.

    Args:
        stored: [rows, columns], at most 16 bits.
        dataset: the elements of the modality LUT and VOI LUT modules.

    Returns:
        uint8 [rows, columns], high is bright.

    Raises:
        ImageError: a rescale that is not finite.
    """
    lowest = int(stored.min())
    table = np.arange(lowest, int(stored.max()) + 1, dtype=np.int32)
    rows = stored - lowest
    padding = _is_padding(table, dataset)
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.asarray(apply_modality_lut(table, dataset), dtype=np.float64)
    if not np.isfinite(values).all():
        raise ImageError("The rescale values of this DICOM file are no numbers; export it again.")
    if _has_table(dataset):
        grey = _through_voi_table(values, dataset)
    elif _has_window(dataset):
        grey = _through_window(values, dataset)
    else:
        counts = sum(np.bincount(row, minlength=len(table)) for row in rows)  # row by row: it copies to 64 bits
        grey = to_8_bit(values, *_percentiles(values, np.where(padding, 0, counts)))
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        grey = 255 - grey
    grey[padding] = 0
    return grey[rows]


def _is_padding(table: NDArray[np.int32], dataset: Dataset) -> NDArray[np.bool_]:
    """Which stored values are padding; both ends of a padding range belong to it."""
    first = dataset.get("PixelPaddingValue")
    if first is None:
        return np.zeros(len(table), dtype=np.bool_)
    ends = [int(first), int(dataset.get("PixelPaddingRangeLimit") or first)]
    if dataset.PixelRepresentation == 1:  # some writers store a negative padding as if it had no sign
        half = 1 << (int(dataset.BitsAllocated) - 1)
        ends = [end - 2 * half if end >= half else end for end in ends]
    return (table >= min(ends)) & (table <= max(ends))


def _percentiles(values: NDArray[np.float64], counts: NDArray[np.int64]) -> tuple[float, float]:
    """The 0.5 and 99.5 percentiles of pixels given as values and how often each occurs.

    Smallest and largest where the two coincide; zero and zero where nothing but padding is left.
    """
    order = np.argsort(values, kind="stable")
    order = order[counts[order] > 0]
    if not len(order):
        return 0.0, 0.0
    below = np.cumsum(counts[order])  # [distinct values], pixels up to and with each
    ranks = [math.ceil(percent / 100.0 * below[-1]) for percent in CENTRAL_PERCENTILES]
    low, high = (float(values[order[np.searchsorted(below, rank)]]) for rank in ranks)
    if low < high:
        return low, high
    return float(values[order[0]]), float(values[order[-1]])


def _has_table(dataset: Dataset) -> bool:
    items = dataset.get("VOILUTSequence")
    return bool(items) and None not in (items[0].get("LUTDescriptor"), items[0].get("LUTData"))


def _has_window(dataset: Dataset) -> bool:
    center, width = _first_number(dataset, "WindowCenter"), _first_number(dataset, "WindowWidth")
    narrowest = 1.0 if dataset.get("VOILUTFunction", "LINEAR") == "LINEAR" else 1e-6
    return math.isfinite(center) and math.isfinite(width) and width >= narrowest


def _first_number(dataset: Dataset, keyword: str) -> float:
    """The first value of an element, NaN where it has none."""
    value = dataset.get(keyword)
    if isinstance(value, MultiValue):
        value = value[0] if len(value) else None
    return math.nan if value in (None, "") else float(value)


def _through_voi_table(values: NDArray[np.float64], dataset: Dataset) -> NDArray[np.uint8]:
    """The first VOI LUT; its first and last entries are the ends of the grey scale."""
    descriptor = dataset.VOILUTSequence[0].LUTDescriptor
    entries, start = descriptor[0] or 65536, descriptor[1]
    # pydicom indexes with the type of the entries, so 8-bit entries would wrap around at 256: declare them as 16 bits.
    dataset.VOILUTSequence[0].LUTDescriptor = [descriptor[0], start, 16]
    inside = np.clip(np.rint(values), start, start + entries - 1).astype(np.int32)
    shown = np.asarray(apply_voi(inside, dataset), dtype=np.float64)
    ends = apply_voi(np.array([start, start + entries - 1], dtype=np.int32), dataset)
    return to_8_bit(shown, float(ends.min()), float(ends.max()))


def _through_window(values: NDArray[np.float64], dataset: Dataset) -> NDArray[np.uint8]:
    """The first window; what it makes of a value far below it is black, far above it white."""
    with np.errstate(over="ignore"):
        shown = apply_windowing(np.concatenate([[-_BEYOND, _BEYOND], values]), dataset)
    black, white = float(shown[0]), float(shown[1])
    return to_8_bit((shown[2:] - black) / (white - black), 0.0, 1.0)
