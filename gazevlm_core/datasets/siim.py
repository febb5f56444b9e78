"""SIIM-ACR Pneumothorax Segmentation 2019: about 12,000 radiographs with masks of pneumothoraces.

Society for Imaging Informatics in Medicine and American College of Radiology;
https://www.kaggle.com/c/siim-acr-pneumothorax-segmentation. Read here:

    train-rle.csv   dicom-images-train/<study>/<series>/<ImageId>.dcm

The header of the table is `ImageId, EncodedPixels`, in some copies without the blank before the second name. A mask is
a list of pairs "offset length" over the pixels of a 1024 x 1024 image, column by column from the upper left; an offset
counts from the end of the run before. `-1` means that there is none. An image with several masks has several rows.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from gazevlm_core.datasets.identity import id_text
from gazevlm_core.datasets.image_files import IMAGE_MISSING, OUTSIDE, index_files, leaves_root, need_folder
from gazevlm_core.datasets.pixel_boxes import Edges, clip_box
from gazevlm_core.datasets.record import StudyRecord
from gazevlm_core.datasets.tables import find_file, read_rows

TABLE = "train-rle.csv"
IMAGES = "dicom-images-train"
MASK = "EncodedPixels"
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

    @property
    def conflict(self) -> str:
        if self.unreadable:
            return UNREADABLE
        return CONTRADICTION if self.says_none and self.edges else ""


class SiimPneumothorax:
    """One record per image, in the order in which the table names them first.

    The boxes around an image's masks, and the path of each image, are kept in memory; masks are not. The folders of
    images are listed once, when the first image is looked for.

    Finding "pneumothorax" is 1.0 where there is a mask, 0.0 where the table has -1. A mask becomes one box around it,
    in fractions of 1024 px. An image with a mask that cannot be read (nothing, words, a run off the image or of no
    length), or with a mask and -1, is left out, since the mask is all that tells its label: UNREADABLE and
    CONTRADICTION in `dropped` count images. A patient is not said, so every image is one.

    Args:
        root: folder that holds the table.
    """

    name = "SIIM Pneumothorax"

    def __init__(self, root: Path) -> None:
        self.root = root
        self.dropped: Counter[str] = Counter()

    def records(self) -> Iterator[StudyRecord]:
        """Every image with masks that can be read, or with none.

        Raises:
            DatasetError: no table, no column, or no folder of images.
        """
        self.dropped.clear()
        table = find_file(self.root, TABLE, self.name)
        need_folder(self.root, IMAGES, self.name)
        for image_id, masks in self._masks(table).items():
            if masks.conflict:
                self.dropped[masks.conflict] += 1
                continue
            image = self._find(image_id)
            if image is not None:
                boxes = (clip_box(FINDING, edges, (SIDE_PX, SIDE_PX), self.dropped) for edges in masks.edges)
                yield StudyRecord(
                    self.name,
                    image_id,
                    image_id,
                    image,
                    findings={FINDING: float(bool(masks.edges))},
                    boxes=tuple(box for box in boxes if box is not None),
                )

    def image_files(self) -> Iterator[str]:
        """Images of the table; the folders between are named by studies and series, which the table does not tell."""
        for row in read_rows(find_file(self.root, TABLE, self.name), ("ImageId", MASK), self.name):
            yield f"{IMAGES}/*/*/{row['ImageId']}.dcm"

    def _masks(self, table: Path) -> dict[str, _Masks]:
        images: dict[str, _Masks] = {}
        for row in read_rows(table, ("ImageId", MASK), self.name):
            masks = images.setdefault(row["ImageId"], _Masks())
            if id_text(row[MASK]) == NO_MASK:
                masks.says_none = True
                continue
            try:
                masks.edges.append(edges_around(decode_runs(row[MASK])))
            except ValueError:
                masks.unreadable = True
        return images

    @cached_property
    def _index(self) -> dict[str, str]:
        return index_files(self.root / IMAGES, ".dcm")

    def _find(self, image_id: str) -> Path | None:
        if leaves_root(image_id):
            self.dropped[OUTSIDE] += 1
            return None
        path = self._index.get(image_id)
        if path is None or not Path(path).is_file():
            self.dropped[IMAGE_MISSING] += 1
            return None
        return Path(path)


def decode_runs(text: str, pixels: int = SIDE_PX * SIDE_PX) -> list[tuple[int, int]]:
    """Runs of a mask as (first pixel, pixel behind the last), 0-based, column by column.

    Args:
        text: pairs "offset length"; an offset counts from the end of the run before, the first from pixel 0.
        pixels: of the image.

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
    """Edges of the smallest box that holds all runs.

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
