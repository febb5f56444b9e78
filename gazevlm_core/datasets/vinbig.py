"""VinBigData Chest X-ray (VinDr-CXR, Kaggle's edition): 15,000 radiographs, each read by three of 17 radiologists.

Nguyen et al., "VinDr-CXR: an open dataset of chest X-rays with radiologist's annotations", Scientific Data 2022;
https://www.kaggle.com/c/vinbigdata-chest-xray-abnormalities-detection. Read here:

    train.csv   train/<image_id>.dicom

The table has one row per box, in pixels of the original DICOM image, whose size is in its header; and one row with a
blank box and class 14, "No finding", for each reader who found nothing.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from gazevlm_core.datasets.files import Row, grouped
from gazevlm_core.datasets.identity import id_text
from gazevlm_core.datasets.label_policies import CONTRADICTION, finding_name
from gazevlm_core.datasets.source import DataSource, Drop, Edges, are_blank, dicom_size_px, find_image, need_folder
from gazevlm_core.sample import Box, DatasetError, Sample

TABLE = "train.csv"
IMAGES = "train"
BOX = ("x_min", "y_min", "x_max", "y_max")
CLASSES: tuple[str, ...] = (
    "Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Consolidation", "ILD", "Infiltration",
    "Lung Opacity", "Nodule/Mass", "Other lesion", "Pleural effusion", "Pleural thickening", "Pneumothorax",
    "Pulmonary fibrosis", "No finding",
)  # fmt: skip
NO_FINDING = CLASSES.index("No finding")
RENAMED = {"ILD": "interstitial lung disease"}
FINDINGS = tuple(finding_name(label, RENAMED) for label in CLASSES[:NO_FINDING])

BOX_OF_NOTHING = "no finding with a box"
NO_BOX = "finding without a box"
NO_READER = "image without a reader to believe"


class _Mark(NamedTuple):
    """One row: class number, box (None where unusable or blank), and whether the box is blank."""

    class_id: int
    edges: Edges | None
    is_blank: bool


_Readers = Mapping[str, list[_Mark]]  # reader -> marks


class VinBig(DataSource):
    """One sample per image, in the order in which the table names them first; the table's rows are kept in memory.

    All 14 findings of an image are known: present (1.0) where more than half of its readers marked them, else
    absent (0.0), since each reader looked for all. Boxes are those of all readers, with the reader's name, whatever the
    others say of the finding. "No finding" is no finding: that reader marked nothing.

    A reader who contradicts himself on an image (CONTRADICTION: class 14 beside another; BOX_OF_NOTHING; NO_BOX) has no
    vote and no boxes on it; these count readings in `dropped`. An image that has no reader left is NO_READER. A box
    that is not numeric, has no area or lies off the image is left out alone; the vote stays. Patients are not
    known, so every image is one.

    Args:
        root: folder that holds the table.
    """

    name = "VinBigData"

    def items(self) -> Iterator[tuple[str, list[Row]]]:
        """Yield each image with its rows.

        Raises:
            DatasetError: no table, no column, or no folder of images.
        """
        rows = self.rows(TABLE, ("image_id", "class_name", "class_id", "rad_id", *BOX))
        need_folder(self.root, IMAGES)
        yield from grouped(rows, "image_id").items()

    def sample(self, item: tuple[str, list[Row]]) -> Sample:
        """Make a sample of an image with a reader to believe; its header is read only where it has boxes."""
        image_id, rows = item
        readers: dict[str, list[_Mark]] = {}
        for reader, some in grouped(rows, "rad_id").items():
            marks = [self._mark(row) for row in some]
            conflict = conflict_of(marks)
            if conflict:
                self.dropped[conflict] += 1
            else:
                readers[reader] = marks
        if not readers:
            raise Drop(NO_READER)
        image = find_image(f"{image_id}.dicom", self.root / IMAGES)
        return Sample(image_id, image, findings=majority_vote(readers), boxes=self._boxes(readers, image))

    def wanted(self) -> Iterator[str]:
        """Yield the images of the table."""
        for row in self.rows(TABLE, ("image_id",)):
            yield f"{IMAGES}/{row['image_id']}.dicom"

    def _mark(self, row: Row) -> _Mark:
        """Read a row; a class whose name does not fit its number shows that the table is another one."""
        text, texts = id_text(row["class_id"]), [row[column] for column in BOX]
        class_id = int(text) if text.isdecimal() and len(text) < 3 else len(CLASSES)
        if class_id >= len(CLASSES) or row["class_name"].strip().lower() != CLASSES[class_id].lower():
            shown = f"{text[:40]!r} {row['class_name'][:40]!r}"
            where = f"{TABLE}, {row['image_id'][:64]}"
            raise DatasetError(f"{where}: class {shown} is none of 0 to {NO_FINDING} with its name")
        blank = are_blank(texts)
        return _Mark(class_id, None if blank else self.edges(texts), blank)

    def _boxes(self, readers: _Readers, image: Path) -> tuple[Box, ...]:
        """Return the boxes of all readers."""
        marks = [
            (FINDINGS[mark.class_id], mark.edges, reader)
            for reader, marks in readers.items()
            for mark in marks
            if mark.edges is not None
        ]
        return self.boxes(marks, dicom_size_px(image)) if marks else ()


def conflict_of(marks: Sequence[_Mark]) -> str:
    """Return why the marks of one reader on one image cannot be believed; "" where they can."""
    nothing = [mark.class_id == NO_FINDING for mark in marks]
    if any(nothing) and not all(nothing):
        return CONTRADICTION
    if all(nothing):
        return "" if all(mark.is_blank for mark in marks) else BOX_OF_NOTHING
    return NO_BOX if any(mark.is_blank for mark in marks) else ""


def majority_vote(readers: _Readers) -> dict[str, float]:
    """Return every finding: present where more than half of an image's readers, at least one, marked it."""
    votes = Counter(class_id for marks in readers.values() for class_id in {mark.class_id for mark in marks})
    return {name: float(2 * votes[class_id] > len(readers)) for class_id, name in enumerate(FINDINGS)}
