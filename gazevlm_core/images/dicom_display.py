"""How a DICOM data set wants its grey values displayed, as far as its elements can be used.

Display elements are often empty, given twice, or contradict each other. One that cannot be used counts as absent, as in
other viewers: it is no reason to refuse the pixels, which are sound.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
_MOST_ENTRIES = 65_536
_WHOLE = 0x10000
_A = TypeVar("_A")
_B = TypeVar("_B")
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
        """Return entries of values, [N]; beyond the ends, the first and the last one.

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
    """The usable display elements.

    Args:
        slope, intercept: of the rescale; 1 and 0 where there is none.
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
    """Return the display elements of a data set with one frame.

    Its functional groups go before the data set itself, as far as they can be used.

    Args:
        little_endian: byte order of the tables.
    """
    slope, intercept = _first_known(_rescale(place) for place in _places(dataset, "PixelValueTransformationSequence"))
    voi, window = _first_known(
        (_table(_first_item(place, "VOILUTSequence"), little_endian), _window(place))
        for place in _places(dataset, "FrameVOILUTSequence")
    )
    return Display(
        slope=1.0 if slope is None else slope,
        intercept=0.0 if intercept is None else intercept,
        modality=_table(_first_item(dataset, "ModalityLUTSequence"), little_endian),
        voi=voi,
        window=window,
        padding=_padding(dataset),
    )


def numbers(dataset: Dataset | None, keyword: str | int) -> list[float]:
    """Return the values of an element, or none of them where one is no finite number."""
    found = _values(dataset, keyword)
    return found if all(map(math.isfinite, found)) else []


def _values(dataset: Dataset | None, keyword: str | int) -> list[float]:
    """Return the values of an element, an empty one as NaN; none where one is no number."""
    try:
        value: Any = None if dataset is None else dataset[keyword].value
        several = value if isinstance(value, MultiValue | list) else [value]
        return [math.nan if one == "" else float(one) for one in several]
    except _UNUSABLE:
        return []


def single_number(dataset: Dataset | None, keyword: str | int) -> float | None:
    """Return the value of an element that has exactly one finite number."""
    found = numbers(dataset, keyword)
    return found[0] if len(found) == 1 else None


def single_text(dataset: Dataset, keyword: str) -> str:
    """Return the value of an element that has exactly one, in capitals; else nothing."""
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


def _places(dataset: Dataset, group: str) -> Iterator[Dataset]:
    """Yield the frame's own functional group, that of all frames, and the data set: as many of them as there are."""
    for groups in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        item = _first_item(_first_item(dataset, groups), group)
        if item is not None:
            yield item
    yield dataset


def _first_known(pairs: Iterable[tuple[_A | None, _B | None]]) -> tuple[_A | None, _B | None]:
    """Return the first pair of which one half is there."""
    return next((pair for pair in pairs if pair[0] is not None or pair[1] is not None), (None, None))


def _rescale(dataset: Dataset) -> tuple[float | None, float | None]:
    """Slope and intercept; a slope of 0, or a line beyond all numbers, leaves no picture."""
    slope, intercept = single_number(dataset, "RescaleSlope") or None, single_number(dataset, "RescaleIntercept")
    finite = math.isfinite(_WHOLE * (1.0 if slope is None else slope) + (intercept or 0.0))
    return (slope, intercept) if finite else (None, None)


def _window(dataset: Dataset) -> Window | None:
    function = single_text(dataset, "VOILUTFunction")
    function = function if function in _FUNCTIONS else "LINEAR"
    for center, width in zip(_values(dataset, "WindowCenter"), _values(dataset, "WindowWidth"), strict=False):
        finite = math.isfinite(center) and math.isfinite(width)
        if finite and (width >= 1.0 or (function != "LINEAR" and width > 0.0)):
            return Window(center, width, function)
    return None


def _padding(dataset: Dataset) -> tuple[int, int] | None:
    first, limit = single_number(dataset, "PixelPaddingValue"), single_number(dataset, "PixelPaddingRangeLimit")
    if first is None:
        return None
    return int(first), int(first if limit is None else limit)


def _table(item: Dataset | None, little_endian: bool) -> LookUpTable | None:
    """Return a table that holds as many entries as it says, and more than one level; its depth does not matter.

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
    """Return the data of a table, [N]."""
    try:
        data = item["LUTData"].value
        if isinstance(data, bytes):
            order = "<" if little_endian else ">"
            return np.frombuffer(data[:len(data) // 2 * 2], dtype=f"{order}u2").astype(np.uint16)
        return np.asarray(data, dtype=np.int64).reshape(-1).astype(np.uint16)
    except _UNUSABLE:
        return None
