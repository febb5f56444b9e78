"""SIIM-ACR Pneumothorax Segmentation 2019: about 12,000 radiographs with masks of pneumothoraces.

Society for Imaging Informatics in Medicine and American College of Radiology;
https://www.kaggle.com/c/siim-acr-pneumothorax-segmentation. Read here:

    train-rle.csv   dicom-images-train/<study>/<series>/<ImageId>.dcm

The header of the table is `ImageId, EncodedPixels`, in some copies without the blank before the second name. A mask is
a list of pairs "offset length" over the pixels of a 1024 x 1024 image, column by column from the upper left; an offset
counts from the end of the run before. `-1` means that there is none. An image with several masks has several rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from gazevlm_core.datasets.identity import id_text
from gazevlm_core.datasets.source import (
    IMAGE_MISSING,
    OUTSIDE,
    SIIM,
    DataSource,
    Drop,
    Edges,
    index_files,
    leaves_root,
    need_folder,
)
from gazevlm_core.sample import Sample

TABLE = "train-rle.csv"
IMAGES = "dicom-images-train"
COLUMNS = IMAGE, MASK = "ImageId", "EncodedPixels"
SIDE_PX = 1024
NO_MASK = "-1"
FINDING = "pneumothorax"

UNREADABLE = "mask not readable"
CONTRADICTION = "mask and no mask"


@dataclass
class _Masks:
    """All rows of one image; `edges` are those around its masks."""

    edges: list[Edges] = field(default_factory=list)
    says_none: bool = False
    unreadable: bool = False


class SiimPneumothorax(DataSource):
    """One sample per image, in the order in which the table names them first.

    The boxes around an image's masks, and the path of each image, are kept in memory; masks are not. The folders of
    images are listed once, when the first image is looked for.

    Finding "pneumothorax" is 1.0 where there is a mask, 0.0 where the table has -1. A mask becomes one box around it,
    in fractions of 1024 px. An image with a mask that cannot be read (nothing, words, a run off the image or of no
    length), or with a mask and -1, is left out, since the mask is all that tells its label: UNREADABLE and
    CONTRADICTION in `dropped` count images. Patients are not known, so every image is one.

    Args:
        root: folder that holds the table.
    """

    name = "SIIM Pneumothorax"
    id_space = SIIM

    def items(self) -> Iterator[tuple[str, _Masks]]:
        """Yield each image with what all its rows say.

        Raises:
            DatasetError: no table, no column, or no folder of images.
        """
        images: dict[str, _Masks] = {}
        rows = self.rows(TABLE, COLUMNS)
        need_folder(self.root, IMAGES)
        for row in rows:
            masks = images.setdefault(row[IMAGE], _Masks())
            if id_text(row[MASK]) == NO_MASK:
                masks.says_none = True
                continue
            try:
                masks.edges.append(edges_around(decode_runs(row[MASK])))
            except ValueError:
                masks.unreadable = True
        yield from images.items()

    def sample(self, item: tuple[str, _Masks]) -> Sample:
        """Make a sample of an image with masks that can be read, or with none."""
        image_id, masks = item
        if masks.unreadable:
            raise Drop(UNREADABLE)
        if masks.says_none and masks.edges:
            raise Drop(CONTRADICTION)
        if leaves_root(image_id):
            raise Drop(OUTSIDE)
        image = self._index.get(image_id)
        if image is None or not image.is_file():
            raise Drop(IMAGE_MISSING)
        boxes = self.boxes([(FINDING, edges, "") for edges in masks.edges], (SIDE_PX, SIDE_PX))
        return Sample(image_id, image, findings={FINDING: float(bool(masks.edges))}, boxes=boxes)

    def wanted(self) -> Iterator[str]:
        """Yield the images of the table; the folders between, studies and series, are not in the table."""
        for row in self.rows(TABLE, COLUMNS):
            yield f"{IMAGES}/*/*/{row[IMAGE]}.dcm"

    @cached_property
    def _index(self) -> dict[str, Path]:
        return index_files(self.root / IMAGES, ".dcm")


def decode_runs(text: str, pixels: int = SIDE_PX * SIDE_PX) -> list[tuple[int, int]]:
    """Return the runs of a mask as (first pixel, pixel behind the last), 0-based, column by column.

    Args:
        text: pairs "offset length"; an offset counts from the end of the run before, the first from pixel 0.

    Raises:
        ValueError: no pairs of whole numbers, a negative offset, a run of no length, or one beyond the last pixel.
    """
    words = text.split()
    if not words or len(words) % 2:
        raise ValueError(f"run lengths come in pairs, got {len(words)} numbers")
    numbers = [int(word) for word in words]
    runs, end = [], 0
    for offset, length in zip(numbers[::2], numbers[1::2], strict=True):
        start, end = end + offset, end + offset + length
        if offset < 0 or length < 1 or end > pixels:
            raise ValueError(f"the run {offset} {length} does not lie on an image of {pixels} pixels")
        runs.append((start, end))
    return runs


def edges_around(runs: Sequence[tuple[int, int]], height_px: int = SIDE_PX) -> Edges:
    """Return the edges of the smallest box that holds all runs.

    Args:
        runs: at least one, from `decode_runs`.
        height_px: of the image, so the length of a column.
    """
    columns = [(start // height_px, (end - 1) // height_px) for start, end in runs]
    left, right = min(first for first, _ in columns), max(last for _, last in columns) + 1
    if any(first != last for first, last in columns):  # it leaves one column at its foot and enters the next at its top
        return float(left), 0.0, float(right), float(height_px)
    top = min(start % height_px for start, _ in runs)
    bottom = max((end - 1) % height_px for _, end in runs) + 1
    return float(left), float(top), float(right), float(bottom)
