"""RSNA Pneumonia Detection Challenge 2018: about 26,700 radiographs with boxes around opacities that suggest pneumonia.

Shih et al., "Augmenting the National Institutes of Health chest radiograph dataset with expert annotations of possible
pneumonia", Radiology: Artificial Intelligence 2019;
https://www.kaggle.com/c/rsna-pneumonia-detection-challenge. Read here:

    stage_2_train_labels.csv   stage_2_train_images/<patientId>.dcm

The table has one row per box, in pixels of images that are all 1024 x 1024, and one row with a blank box where Target
is 0. `patientId` names an image: its images come from NIH ChestX-ray14, where one patient has several, and the table
does not tell which belong together.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gazevlm_core.datasets.identity import id_text
from gazevlm_core.datasets.image_files import find_image, need_folder
from gazevlm_core.datasets.pixel_boxes import Edges, are_blank, clip_box, corner_and_size, four_numbers
from gazevlm_core.datasets.record import Box, DatasetError, StudyRecord
from gazevlm_core.datasets.tables import Row, find_file, read_rows

TABLE = "stage_2_train_labels.csv"
IMAGES = "stage_2_train_images"
SIZE_PX = (1024, 1024)
BOX = ("x", "y", "width", "height")
FINDING = "pneumonia"

BOTH_TARGETS = "Target both 0 and 1"
BOX_OF_NOTHING = "Target 0 with a box"
NO_BOX = "Target 1 without a box"


@dataclass
class _Labels:
    """All rows of one image; `conflict` is the first reason not to believe them."""

    target: str
    edges: list[Edges] = field(default_factory=list)
    conflict: str = ""


class RsnaPneumonia:
    """One record per image, in the order in which the table names them first.

    The rows of an image are gathered over the whole table, so a few numbers per image are kept in memory.

    Finding "pneumonia" is 1.0 where Target is 1 and 0.0 where it is 0. Boxes become fractions of 1024 px. An image
    whose rows contradict each other is left out, since its label is in doubt: BOTH_TARGETS, BOX_OF_NOTHING and NO_BOX
    in `dropped` count images. A box that is not numeric, has no area or lies off the image is left out alone, and
    Target stays.

    Args:
        root: folder that holds the table.
    """

    name = "RSNA Pneumonia"

    def __init__(self, root: Path) -> None:
        self.root = root
        self.dropped: Counter[str] = Counter()

    def records(self) -> Iterator[StudyRecord]:
        """Every image with a label that can be believed.

        Raises:
            DatasetError: no table, no column, no folder of images, or a Target other than 0 and 1.
        """
        self.dropped.clear()
        table = find_file(self.root, TABLE, self.name)
        folder = need_folder(self.root, IMAGES, self.name)
        for image_id, labels in self._images(table).items():
            if labels.conflict:
                self.dropped[labels.conflict] += 1
                continue
            image = find_image(f"{image_id}.dcm", [folder], self.dropped)
            if image is not None:
                findings = {FINDING: float(labels.target)}
                yield StudyRecord(
                    self.name, image_id, image_id, image, findings=findings, boxes=self._boxes(labels.edges)
                )

    def image_files(self) -> Iterator[str]:
        """Images of the table."""
        for row in read_rows(find_file(self.root, TABLE, self.name), ("patientId",), self.name):
            yield f"{IMAGES}/{row['patientId']}.dcm"

    def _images(self, table: Path) -> dict[str, _Labels]:
        images: dict[str, _Labels] = {}
        for row in read_rows(table, ("patientId", *BOX, "Target"), self.name):
            target = id_text(row["Target"])
            if target not in ("0", "1"):
                where = f"{self.name}: {TABLE}, {row['patientId'][:64]}"
                raise DatasetError(f"{where}: Target is {target[:40]!r}, expected 0 or 1")
            self._add(row, images.setdefault(row["patientId"], _Labels(target)))
        return images

    def _add(self, row: Row, labels: _Labels) -> None:
        texts = [row[column] for column in BOX]
        target, blank = id_text(row["Target"]), are_blank(texts)
        if target != labels.target:
            conflict = BOTH_TARGETS
        elif blank == (target == "1"):
            conflict = NO_BOX if blank else BOX_OF_NOTHING
        else:
            conflict = ""
            numbers = None if blank else four_numbers(texts, self.dropped)
            if numbers is not None:
                labels.edges.append(corner_and_size(numbers))
        labels.conflict = labels.conflict or conflict

    def _boxes(self, edges: list[Edges]) -> tuple[Box, ...]:
        boxes = (clip_box(FINDING, box, SIZE_PX, self.dropped) for box in edges)
        return tuple(box for box in boxes if box is not None)
