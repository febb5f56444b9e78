"""RSNA Pneumonia Detection Challenge 2018: about 26,700 radiographs with boxes around opacities that suggest pneumonia.

Shih et al., "Augmenting the National Institutes of Health chest radiograph dataset with expert annotations of possible
pneumonia", Radiology: Artificial Intelligence 2019;
https://www.kaggle.com/c/rsna-pneumonia-detection-challenge. Read here:

    stage_2_train_labels.csv   stage_2_train_images/<patientId>.dcm

The table has one row per box, in pixels of images that are all 1024 x 1024, and one row with a blank box where Target
is 0. `patientId` names an image: its images come from NIH ChestX-ray14, where one patient has several, and the table
does not tell which belong together.
"""

from collections.abc import Iterator

from gazevlm_core.datasets.files import Row, grouped
from gazevlm_core.datasets.identity import id_text
from gazevlm_core.datasets.source import DataSource, Drop, Edges, are_blank, corner_and_size, find_image, need_folder
from gazevlm_core.sample import DatasetError, Sample

TABLE = "stage_2_train_labels.csv"
IMAGES = "stage_2_train_images"
SIZE_PX = (1024, 1024)
BOX = ("x", "y", "width", "height")
FINDING = "pneumonia"

BOTH_TARGETS = "Target both 0 and 1"
BOX_OF_NOTHING = "Target 0 with a box"
NO_BOX = "Target 1 without a box"


class RsnaPneumonia(DataSource):
    """One sample per image, in the order in which the table names them first; the table's rows are kept in memory.

    Finding "pneumonia" is 1.0 where Target is 1 and 0.0 where it is 0. Boxes become fractions of 1024 px. An image
    whose rows contradict each other is left out, since its label is in doubt: BOTH_TARGETS, BOX_OF_NOTHING and NO_BOX
    in `dropped` count images. A box that is not numeric, has no area or lies off the image is left out alone, and
    Target stays.

    Args:
        root: folder that holds the table.
    """

    name = "RSNA Pneumonia"

    def items(self) -> Iterator[tuple[str, list[Row]]]:
        """Yield each image with its rows.

        Raises:
            DatasetError: no table, no column, or no folder of images.
        """
        rows = self.rows(TABLE, ("patientId", *BOX, "Target"))
        need_folder(self.root, IMAGES)
        yield from grouped(rows, "patientId").items()

    def sample(self, item: tuple[str, list[Row]]) -> Sample:
        """Make a sample of an image with a label that can be believed; a Target other than 0 and 1 is an error."""
        image_id, rows = item
        targets = [id_text(row["Target"]) for row in rows]
        unknown = next((target for target in targets if target not in ("0", "1")), None)
        if unknown is not None:
            raise DatasetError(f"{TABLE}, {image_id[:64]}: Target is {unknown[:40]!r}, expected 0 or 1")
        boxes: list[Edges | None] = []
        for row, target in zip(rows, targets, strict=True):
            texts = [row[column] for column in BOX]
            if target != targets[0]:
                raise Drop(BOTH_TARGETS)
            if are_blank(texts) == (target == "1"):
                raise Drop(NO_BOX if target == "1" else BOX_OF_NOTHING)
            if target == "1":
                boxes.append(corner_and_size(self.edges(texts)))
        image = find_image(f"{image_id}.dcm", self.root / IMAGES)
        marks = self.boxes([(FINDING, edges, "") for edges in boxes], SIZE_PX)
        return Sample(image_id, image, findings={FINDING: float(targets[0])}, boxes=marks)

    def wanted(self) -> Iterator[str]:
        """Yield the images of the table."""
        for row in self.rows(TABLE, ("patientId",)):
            yield f"{IMAGES}/{row['patientId']}.dcm"
