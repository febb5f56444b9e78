"""What a DICOM data set says about the look of its grey values, as far as it says anything that can be used.

Display elements are often empty, given twice, or contradict each other. One that cannot be used counts as absent, as in
other viewers: it is no reason to refuse the pixels, which are sound.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
_MOST_ENTRIES = 65_536
_HALF, _WHOLE = 0x8000, 0x10000
# pydicom converts a value when it is asked for, and raises one of these where the bytes are none of its kind.
_UNUSABLE = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, NotImplementedError)


@dataclass(frozen=True, slots=True, eq=False)
class LookUpTable:
    """A modality or VOI look-up table.

    Args:
        first: the value that the first entry is for, below 65,536; it may stand for itself less 65,536.
        entries: uint16 [N].
    """

    first: int
    entries: NDArray[np.uint16]

    def look_up(self, values: NDArray[np.float64], occurring: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Entries of values, [N]; beyond the ends, the first and the last one.

        Writers mix up signed and unsigned first values: the reading counts under which the table covers more of what
        there is.

        Args:
            values: finite, [N].
            occurring: [N], which of them the picture holds; one at least.
        """
        smallest, largest = float(values[occurring].min()), float(values[occurring].max())
        count = len(self.entries)
        first = max(
            (self.first, self.first - _WHOLE, self.first + _WHOLE),
            key=lambda start: min(largest, start + count - 1) - max(smallest, start),
        )
        places = np.clip(np.rint(values), first, first + count - 1).astype(np.int64) - first
        return self.entries[places].astype(np.float64)


@dataclass(frozen=True, slots=True)
class Window:
    """A VOI window (PS3.3 C.11.2.1.2): center, width, and one of LINEAR, LINEAR_EXACT and SIGMOID."""

    center: float
    width: float
    function: str


@dataclass(frozen=True, slots=True, eq=False)
class Display:
    """What is said about the look of grey values, and can be used.

    Args:
        slope, intercept: of the rescale; 1 and 0 where nothing is said.
        modality: the table that goes before the rescale.
        voi: the first VOI table.
        window: the first window.
        padding: first and last stored value that mean no picture.
    """

    slope: float = 1.0
    intercept: float = 0.0
    modality: LookUpTable | None = None
    voi: LookUpTable | None = None
    window: Window | None = None
    padding: tuple[int, int] | None = None


def read_display(dataset: Dataset, little_endian: bool) -> Display:
    """The display elements of a data set with one frame; its functional groups go before the data set itself.

    Args:
        dataset: any.
        little_endian: byte order of the tables.
    """
    rescale = _where_said(dataset, "PixelValueTransformationSequence", ("RescaleSlope", "RescaleIntercept"))
    voi = _where_said(dataset, "FrameVOILUTSequence", ("WindowCenter", "WindowWidth", "VOILUTSequence"))
    slope = single_number(rescale, "RescaleSlope") or 1.0  # a slope of 0 leaves no picture
    intercept = single_number(rescale, "RescaleIntercept") or 0.0
    if not math.isfinite(_WHOLE * slope + intercept):
        slope, intercept = 1.0, 0.0
    return Display(
        slope=slope,
        intercept=intercept,
        modality=_table(_first_item(dataset, "ModalityLUTSequence"), little_endian),
        voi=_table(_first_item(voi, "VOILUTSequence"), little_endian),
        window=_window(voi),
        padding=_padding(dataset),
    )


def numbers(dataset: Dataset | None, keyword: str | int) -> list[float]:
    """The values of an element, or none of them where one is no finite number."""
    try:
        value: Any = None if dataset is None else dataset[keyword].value
        found = [float(one) for one in (value if isinstance(value, MultiValue | list) else [value])]
    except _UNUSABLE:
        return []
    return found if all(map(math.isfinite, found)) else []


def single_number(dataset: Dataset | None, keyword: str | int) -> float | None:
    """The value of an element that has exactly one finite number."""
    found = numbers(dataset, keyword)
    return found[0] if len(found) == 1 else None


def single_text(dataset: Dataset, keyword: str) -> str:
    """The value of an element that has exactly one, in capitals; else nothing."""
    try:
        value = dataset[keyword].value
    except _UNUSABLE:
        return ""
    return value.strip(" \0").upper() if isinstance(value, str) else ""


def _first_item(dataset: Dataset | None, keyword: str) -> Dataset | None:
    try:
        item = None if dataset is None else dataset[keyword].value[0]
    except _UNUSABLE:
        return None
    return item if isinstance(item, Dataset) else None


def _where_said(dataset: Dataset, group: str, keywords: tuple[str, ...]) -> Dataset:
    """The frame's own functional group, or that of all frames, or the data set: the first that says something."""
    for groups in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        item = _first_item(_first_item(dataset, groups), group)
        if item is not None and any(keyword in item for keyword in keywords):
            return item
    return dataset


def _window(dataset: Dataset) -> Window | None:
    function = single_text(dataset, "VOILUTFunction")
    function = function if function in _FUNCTIONS else "LINEAR"
    for center, width in zip(numbers(dataset, "WindowCenter"), numbers(dataset, "WindowWidth"), strict=False):
        if width >= 1.0 or (function != "LINEAR" and width > 0.0):
            return Window(center, width, function)
    return None


def _padding(dataset: Dataset) -> tuple[int, int] | None:
    first, limit = single_number(dataset, "PixelPaddingValue"), single_number(dataset, "PixelPaddingRangeLimit")
    if first is None:
        return None
    return int(first), int(first if limit is None else limit)


def _table(item: Dataset | None, little_endian: bool) -> LookUpTable | None:
    """A table that holds as many entries as it says, and more than one level; its depth does not matter.

    Entries of up to 8 bits may be packed two to a word; then the first is in the lower half.
    """
    descriptor = [int(number) for number in numbers(item, "LUTDescriptor")]
    if item is None or len(descriptor) != 3:
        return None
    count = descriptor[0] % _WHOLE or _MOST_ENTRIES
    words = _words(item, little_endian)
    if words is not None and len(words) < count <= 2 * len(words) and descriptor[2] <= 8:
        words = words.astype("<u2").view(np.uint8).astype(np.uint16)
    if words is None or len(words) < count:
        return None
    entries = words[:count]
    return LookUpTable(descriptor[1], entries) if entries.min() < entries.max() else None


def _words(item: Dataset, little_endian: bool) -> NDArray[np.uint16] | None:
    """The data of a table, [N]."""
    try:
        data = item["LUTData"].value
        if isinstance(data, bytes):
            order = "<" if little_endian else ">"
            return np.frombuffer(data[:len(data) // 2 * 2], dtype=f"{order}u2").astype(np.uint16)
        return np.asarray(data, dtype=np.int64).reshape(-1).astype(np.uint16)
    except _UNUSABLE:
        return None
