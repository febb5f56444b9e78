"""What every adapter of a data set is: a class that makes samples of its files and counts what it leaves out.

An adapter is one file with one class and its line in `registry`; see docs/how-to/add-a-data-set.md.
"""

import math
import os
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from gazevlm_core.datasets.files import Row, find_file, read_rows
from gazevlm_core.datasets.identity import id_text
from gazevlm_core.sample import Box, DatasetError, Sample
from gazevlm_core.scanpath import Fixation, Scanpath

IMAGE_MISSING, OUTSIDE = "image missing", "path outside the data set"
HEADER_UNREADABLE = "DICOM header not readable"
NO_FIXATION, OFF_IMAGE = "no fixation on the image", "fixation off the image"
NOT_NUMERIC, NO_AREA, BOX_OFF_IMAGE = "box not numeric", "box of no area", "box off the image"

MIMIC, SIIM = "MIMIC", "SIIM"  # whose patients or images several data sets are of

Edges = tuple[float, float, float, float]  # left, top, right, bottom in pixels, origin upper left


class Drop(Exception):
    """Raised for an image that is left out; its text is the reason, which is counted."""


class DataSource(ABC):
    """An adapter: reads a data set from a folder, image by image, and never all of it into memory.

    `dropped` counts what was left out, by reason; it is complete once `samples` has been walked to its end, as is
    `not_read`, columns of a table that are no findings, and why. `zero_shot` says that all images are scored unless
    somebody chooses a split, `names_patients` whether it tells whose any image is. A subclass gives `name`, `items`,
    `sample` and `wanted`.

    Args:
        root: folder of the data set.
        images: folder of its images, where they lie elsewhere.
    """

    name: ClassVar[str]
    credit: ClassVar[str] = ""  # what a card must say where anything was learned from it: source, citation, licence
    id_space: ClassVar[str] = ""  # whose ids its patients have, where several data sets share them
    images_apart: ClassVar[bool] = False  # whether its images lie in another folder than its tables
    images_optional: ClassVar[bool] = False  # of these: whether it is of use without them

    def __init__(self, root: Path, images: Path | None = None) -> None:
        self.root, self.images = root, images or root
        self.dropped: Counter[str] = Counter()
        self.not_read: Mapping[str, str] = {}
        self.zero_shot = False
        self.names_patients = True

    @abstractmethod
    def items(self) -> Iterator[Any]:
        """Yield what each sample is made of, such as a row of a table."""

    @abstractmethod
    def sample(self, item: Any) -> Sample:  # noqa: ANN401 (each adapter has its own)
        """Make a sample of an item; `Drop` leaves it out."""

    @abstractmethod
    def wanted(self) -> Iterator[str]:
        """Yield the image files that the tables ask for; none is opened, and they need not be there."""

    def samples(self) -> Iterator[Sample]:
        """Yield every sample, in the files' order.

        Raises:
            DatasetError: a file, row or column that is not what it should be.
        """
        self.dropped.clear()
        try:
            for item in self.items():
                try:
                    sample = self.sample(item)
                except Drop as reason:
                    self.dropped[str(reason)] += 1
                    continue
                yield replace(sample, dataset=self.name)
        except DatasetError as error:
            raise DatasetError(f"{self.name}: {error}") from None

    def image_files(self) -> Iterator[str]:
        """Yield the paths of `wanted`, each once, below the data set's folder or that of its images."""
        try:
            yield from dict.fromkeys(self.wanted())
        except DatasetError as error:
            raise DatasetError(f"{self.name}: {error}") from None

    # ---- for adapters -----------------------------------------------------------------------------------------------
    def rows(self, table: str, columns: Sequence[str]) -> Iterator[Row]:
        """Yield the rows of a table in the data set's folder; see `files.find_file` and `files.read_rows`."""
        return read_rows(find_file(self.root, table), columns)

    def on_image(self, x: float, y: float) -> bool:
        """Return whether a fixation lies on the image; others are counted."""
        if 0 <= x < 1 and 0 <= y < 1:
            return True
        self.dropped[OFF_IMAGE] += 1
        return False

    def boxes(self, marks: Iterable[tuple[str, Edges | None, str]], size_px: tuple[int, int]) -> tuple[Box, ...]:
        """Return what of some boxes lies on the image, as fractions; what cannot be used is counted.

        Args:
            marks: name, edges in pixels of the image (None for a box that was counted already), and who marked it.
            size_px: width and height of the image.
        """
        boxes = []
        for name, edges, reader in marks:
            try:
                if edges is not None:
                    boxes.append(clip_box(name, edges, size_px, reader))
            except Drop as reason:
                self.dropped[str(reason)] += 1
        return tuple(boxes)

    def edges(self, texts: Sequence[str]) -> Edges | None:
        """Return the four numbers of a box, in the order given; None, counted, for words, blanks and infinities."""
        try:
            first, second, third, fourth = (float(text) for text in texts)
        except ValueError:
            first = second = third = fourth = math.nan
        if not all(map(math.isfinite, (first, second, third, fourth))):
            self.dropped[NOT_NUMERIC] += 1
            return None
        return first, second, third, fourth


# ---- gaze -----------------------------------------------------------------------------------------------------------
def recorded_path(fixations: Iterable[Fixation]) -> Scanpath | None:
    """Return the path of an eye tracker, in the order of onsets; None where no fixation is left."""
    ordered = sorted(fixations, key=lambda fixation: fixation.onset_ms or 0.0)
    return Scanpath(tuple(ordered), "eyetracker") if ordered else None


# ---- images ---------------------------------------------------------------------------------------------------------
def leaves_root(value: str) -> bool:
    """Return whether a table value, taken as a path, is absolute or goes upwards, by the rules of any operating
    system."""
    absolute = value.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", value) is not None
    return absolute or ".." in re.split(r"[/\\]", value)


def need_folder(root: Path, relative: str) -> Path:
    """Return a folder of a data set.

    Raises:
        DatasetError: it is not there.
    """
    path = root / relative
    if not path.is_dir():
        raise DatasetError(f"there is no folder {relative} in {root}; expected the images there")
    return path


def find_image(relative: str, *folders: Path) -> Path:
    """Return the image that a table value names, in the first folder that has it.

    Raises:
        Drop: the value leads elsewhere, or no folder has it.
    """
    if leaves_root(relative):
        raise Drop(OUTSIDE)
    for folder in folders:
        path = folder / relative
        if os.path.isfile(path):  # unlike Path.is_file, it also says no to names that no file can have
            return path
    raise Drop(IMAGE_MISSING)


def index_files(folder: Path, suffix: str) -> dict[str, Path]:
    """Return name without suffix -> path of every file below a folder; linked folders are not entered.

    Only names are read, no file is opened. Where a name is there twice, the first in sorted order counts.
    """
    found: dict[str, Path] = {}
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if name.endswith(suffix):
                found.setdefault(name.removesuffix(suffix), Path(parent, name))
    return found


def dicom_size_px(path: Path) -> tuple[int, int]:
    """Return width and height from a DICOM header, without the pixels.

    Only the two elements are parsed: nothing about the patient is.

    Raises:
        Drop: it cannot be read or gives none.
    """
    from pydicom import dcmread  # takes half a second to import

    try:
        header = dcmread(path, stop_before_pixels=True, specific_tags=["Rows", "Columns"])
        width, height = int(header.Columns), int(header.Rows)
    except MemoryError:
        raise
    except Exception:
        width = height = 0  # pydicom raises whatever it likes on a damaged file
    if width <= 0 or height <= 0:
        raise Drop(HEADER_UNREADABLE)
    return width, height


# ---- boxes ----------------------------------------------------------------------------------------------------------
def are_blank(texts: Sequence[str]) -> bool:
    """Return whether a row says nothing about a box."""
    return not any(map(id_text, texts))


def corner_and_size(numbers: Edges | None) -> Edges | None:
    """Return the edges of a box that is given as x, y, width, height in pixels."""
    if numbers is None:
        return None
    x, y, width, height = numbers
    return x, y, x + width, y + height


def clip_box(name: str, edges: Edges, size_px: tuple[int, int], reader: str = "") -> Box:
    """Return the part of a box that lies on the image.

    Args:
        name: of what is marked.
        edges: in pixels of the image.
        size_px: width and height of the image.
        reader: who marked it.

    Raises:
        Drop: a box of no area, or none of it on the image.
    """
    left, top, right, bottom = edges
    if right <= left or bottom <= top:
        raise Drop(NO_AREA)
    width, height = size_px
    left, right = (min(max(edge / width, 0.0), 1.0) for edge in (left, right))
    top, bottom = (min(max(edge / height, 0.0), 1.0) for edge in (top, bottom))
    if right <= left or bottom <= top:
        raise Drop(BOX_OFF_IMAGE)
    return Box(name, left, top, right - left, bottom - top, reader)
