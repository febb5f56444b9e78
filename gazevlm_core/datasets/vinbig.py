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
from typing import Literal, NamedTuple, get_args

from gazevlm_core.datasets.identity import id_text
from gazevlm_core.datasets.image_files import HEADER_UNREADABLE, dicom_size_px, find_image, need_folder
from gazevlm_core.datasets.label_policies import CONTRADICTION, finding_name
from gazevlm_core.datasets.pixel_boxes import Edges, are_blank, clip_box, four_numbers
from gazevlm_core.datasets.record import Box, DatasetError, StudyRecord
from gazevlm_core.datasets.tables import Row, find_file, read_rows

Policy = Literal["any", "majority", "all"]

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


class VinBig:
    """One record per image, in the order in which the table names them first.

    The rows of an image are gathered over the whole table, so a few numbers per row are kept in memory.

    All 14 findings of an image are known: present (1.0) where enough of its readers marked them, else absent (0.0),
    since each reader looked for all. Boxes are those of all readers, with the reader's name, whatever the policy says
    of the finding. "No finding" is no finding: that reader marked nothing.

    A reader who contradicts himself on an image (CONTRADICTION: class 14 beside another; BOX_OF_NOTHING; NO_BOX) has no
    vote and no boxes on it; these count readings in `dropped`. An image that has no reader left is NO_READER. A box
    that is not numeric, has no area or lies off the image is left out alone; the vote stays. A patient is not said, so
    every image is one.

    Args:
        root: folder that holds the table.
        policy: how many of the image's readers must have marked a finding: one ("any"), more than half ("majority") or
            "all".

    Raises:
        ValueError: another policy.
    """

    name = "VinBigData"

    def __init__(self, root: Path, policy: Policy = "majority") -> None:
        if policy not in get_args(Policy):
            raise ValueError(f"policy must be one of {', '.join(get_args(Policy))}, got {policy!r}")
        self.root, self.policy = root, policy
        self.dropped: Counter[str] = Counter()

    def records(self) -> Iterator[StudyRecord]:
        """Every image with a reader to believe. The header of an image is read only where it has boxes.

        Raises:
            DatasetError: no table, no column, no folder of images, or a class that is none of CLASSES.
        """
        self.dropped.clear()
        table = find_file(self.root, TABLE, self.name)
        folder = need_folder(self.root, IMAGES, self.name)
        for image_id, marked in self._images(table).items():
            readers = self._believed(marked)
            if not readers:
                self.dropped[NO_READER] += 1
                continue
            image = find_image(f"{image_id}.dicom", [folder], self.dropped)
            boxes = None if image is None else self._boxes(readers, image)
            if image is not None and boxes is not None:
                findings = vote(readers, self.policy)
                yield StudyRecord(self.name, image_id, image_id, image, findings=findings, boxes=boxes)

    def image_files(self) -> Iterator[str]:
        """Images of the table."""
        for row in read_rows(find_file(self.root, TABLE, self.name), ("image_id",), self.name):
            yield f"{IMAGES}/{row['image_id']}.dicom"

    def _images(self, table: Path) -> dict[str, dict[str, list[_Mark]]]:
        images: dict[str, dict[str, list[_Mark]]] = {}
        columns = ("image_id", "class_name", "class_id", "rad_id", *BOX)
        for row in read_rows(table, columns, self.name):
            texts = [row[column] for column in BOX]
            blank = are_blank(texts)
            edges = None if blank else four_numbers(texts, self.dropped)
            mark = _Mark(self._class_id(row), edges, blank)
            images.setdefault(row["image_id"], {}).setdefault(row["rad_id"], []).append(mark)
        return images

    def _class_id(self, row: Row) -> int:
        """Number of the class; a name that does not fit shows that the table is another one."""
        text = id_text(row["class_id"])
        class_id = int(text) if text.isdecimal() and len(text) < 3 else len(CLASSES)
        if class_id >= len(CLASSES) or row["class_name"].strip().lower() != CLASSES[class_id].lower():
            where = f"{self.name}: {TABLE}, {row['image_id'][:64]}"
            shown = f"{text[:40]!r} {row['class_name'][:40]!r}"
            raise DatasetError(f"{where}: class {shown} is none of 0 to {NO_FINDING} with its name")
        return class_id

    def _believed(self, readers: _Readers) -> _Readers:
        believed = {}
        for reader, marks in readers.items():
            conflict = conflict_of(marks)
            if conflict:
                self.dropped[conflict] += 1
            else:
                believed[reader] = marks
        return believed

    def _boxes(self, readers: _Readers, image: Path) -> tuple[Box, ...] | None:
        """Boxes of all readers; None where the size of the image cannot be read."""
        marks = [(reader, mark) for reader, marks in readers.items() for mark in marks]
        if all(mark.edges is None for _, mark in marks):
            return ()
        size_px = dicom_size_px(image)
        if size_px is None:
            self.dropped[HEADER_UNREADABLE] += 1
            return None
        boxes = [
            clip_box(FINDINGS[mark.class_id], mark.edges, size_px, self.dropped, reader=reader)
            for reader, mark in marks
            if mark.edges is not None
        ]
        return tuple(box for box in boxes if box is not None)


def conflict_of(marks: Sequence[_Mark]) -> str:
    """Why the marks of one reader on one image cannot be believed; "" where they can."""
    nothing = [mark.class_id == NO_FINDING for mark in marks]
    if any(nothing) and not all(nothing):
        return CONTRADICTION
    if all(nothing):
        return "" if all(mark.is_blank for mark in marks) else BOX_OF_NOTHING
    return NO_BOX if any(mark.is_blank for mark in marks) else ""


def vote(readers: _Readers, policy: Policy) -> dict[str, float]:
    """Every finding, by the number of an image's readers who marked it.

    Args:
        readers: at least one.
        policy: as in `VinBig`.
    """
    needed = {"any": 1, "majority": len(readers) // 2 + 1, "all": len(readers)}[policy]
    votes = Counter(class_id for marks in readers.values() for class_id in {mark.class_id for mark in marks})
    return {name: float(votes[class_id] >= needed) for class_id, name in enumerate(FINDINGS)}
