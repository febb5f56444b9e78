"""EGD-CXR: eye tracking of one radiologist over 1,083 MIMIC-CXR images.

Karargyris et al., "Creation and validation of a chest X-ray dataset with eye-tracking and report dictation for AI
development", Scientific Data 2021; https://physionet.org/content/egd-cxr/ (credentialed access). Files read here:

    master_sheet.csv   fixations.csv   bounding_boxes.csv   audio_segmentation_transcripts/<dicom_id>/transcript.json

FPOGX and FPOGY are fractions of the 1920 x 1080 SCREEN, on which the image stood between paddings; FPOGS and FPOGD are
seconds. `fixations.csv` holds all sessions one after another; it is read once, and of it only the rows of the image at
hand are kept. Findings are those of the `*__chx` columns, read as CheXpert's (`label_policies`): 1 present, 0 absent,
-1 and blank unknown.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from gazevlm_core.datasets.files import Row, by_id, find_file, grouped, id_of, number, read_rows, read_text
from gazevlm_core.datasets.label_policies import CHEXPERT_LABELS, CHEXPERT_NAMES, CONTRADICTION, chexpert_findings
from gazevlm_core.datasets.reflacx import NO_POSITION, image_name
from gazevlm_core.datasets.source import (
    IMAGE_MISSING,
    MIMIC,
    NO_AREA,
    NO_FIXATION,
    DataSource,
    Drop,
    Edges,
    recorded_path,
)
from gazevlm_core.sample import Box, DatasetError, Reading, Sample
from gazevlm_core.scanpath import Fixation, Scanpath

SCREEN_PX = (1920.0, 1080.0)
DICOM_ID_LENGTH = 44
PADS = ("image_left_pad", "image_right_pad", "image_top_pad", "image_bottom_pad")
SHEET = "master_sheet.csv"
MASTER = ("dicom_id", "path", "study_id", "patient_id", *PADS)
FIXATIONS = ("DICOM_ID", "FPOGX", "FPOGY", "FPOGS", "FPOGD", "FPOGV")
BOXES = ("dicom_id", "bbox_name", "x1", "x2", "y1", "y2")  # in this order in the file
TRANSCRIPTS = "audio_segmentation_transcripts"
LABEL_END = "__chx"
READER = "radiologist"
NOT_IN_SHEET = "image not in the master sheet"


class EgdCxr(DataSource):
    """One sample per image, in the order of the fixations.

    Args:
        root: folder that holds master_sheet.csv.
        images: folder of MIMIC-CXR-JPG that holds files/.
    """

    name = "EGD-CXR"
    id_space = MIMIC
    images_apart = True

    def items(self) -> Iterator[tuple[str, Row | None, list[Row], list[Row]]]:
        """Yield each image with its row of the master sheet, its fixations and its boxes, which are few."""
        studies = master_rows(find_file(self.root, SHEET))
        table = self.root / "bounding_boxes.csv"
        boxes = grouped(read_rows(table, BOXES), "dicom_id") if table.is_file() else {}
        seen: set[str] = set()
        for dicom_id, rows in groupby(self.rows("fixations.csv", FIXATIONS), key=lambda row: row["DICOM_ID"]):
            if dicom_id in seen:
                raise DatasetError(f"fixations.csv has the rows of {dicom_id} in two places; sort them")
            seen.add(dicom_id)
            yield dicom_id, studies.get(dicom_id), list(rows), boxes.get(dicom_id, [])

    def sample(self, item: tuple[str, Row | None, list[Row], list[Row]]) -> Sample:
        """Make a sample of an image with fixations on it."""
        dicom_id, study, rows, boxes = item
        where = dicom_id[:DICOM_ID_LENGTH]
        if len(dicom_id) != DICOM_ID_LENGTH:
            raise Drop("malformed DICOM_ID")
        if study is None:
            raise Drop(NOT_IN_SHEET)
        image = self.images / "files" / image_name(study["path"], where)
        if not image.is_file():
            raise Drop(IMAGE_MISSING)
        scanpath = screen_scanpath(self, rows, study, where)
        if scanpath is None:
            raise Drop(NO_FIXATION)
        return Sample(
            dicom_id,
            image,
            report=self._report(dicom_id),
            findings=chexpert_columns(self, study, where),
            readings=(Reading(READER, scanpath),),
            boxes=self._boxes(boxes, image, where),
            patient_id=id_of(study, "patient_id", where),
        )

    def wanted(self) -> Iterator[str]:
        """Yield the images of the master sheet, below the folder of MIMIC-CXR-JPG."""
        for row in self.rows(SHEET, MASTER):
            yield f"files/{image_name(row['path'], row['dicom_id'][:DICOM_ID_LENGTH])}"

    def _boxes(self, rows: list[Row], image: Path, where: str) -> tuple[Box, ...]:
        """Return boxes in image pixels as fractions; anatomy, not findings."""
        if not rows:
            return ()
        from PIL import Image  # the size alone: pixels are not decoded

        marks: list[tuple[str, Edges, str]] = []
        for row in rows:
            x1, x2, y1, y2 = (number(row, column, where) for column in BOXES[2:])
            if x1 is None or x2 is None or y1 is None or y2 is None:
                self.dropped[NO_AREA] += 1
            else:
                marks.append((row["bbox_name"], (x1, y1, x2, y2), ""))
        with Image.open(image) as picture:
            return self.boxes(marks, picture.size)

    def _report(self, dicom_id: str) -> str | None:
        """Return the dictation, joined from its phrases."""
        path = self.root / TRANSCRIPTS / dicom_id / "transcript.json"
        if not path.is_file():
            return None
        try:
            stamped = json.loads(read_text(path))["time_stamped_text"]
            return " ".join(phrase["phrase"].strip() for phrase in stamped) or None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            shown = f"{TRANSCRIPTS}/{dicom_id}/{path.name}"
            raise DatasetError(f"{shown} is no transcript with time_stamped_text and phrase") from error


def master_rows(sheet: Path) -> dict[str, Row]:
    """Return the rows of a master sheet by image.

    Raises:
        DatasetError: two rows of an image that differ in what is read of them.
    """
    compared = (*MASTER, *(f"{name.replace(' ', '_')}{LABEL_END}" for name in sorted(CHEXPERT_NAMES)))
    return by_id(read_rows(sheet, MASTER), "dicom_id", compared, sheet.name)


def screen_scanpath(source: DataSource, rows: Sequence[Row], study: Row, where: str) -> Scanpath | None:
    """Return the fixations of one image from fractions of the screen; None where none lies on the image.

    Args:
        source: counts the fixations that are left out.
        rows: of FIXATIONS.
        study: the image's row of the master sheet, with its paddings in screen pixels.
        where: for errors.

    Raises:
        DatasetError: paddings that leave nothing of the screen, or words for numbers.
    """
    left, right, top, bottom = (number(study, column, where) or 0.0 for column in PADS)
    width_px, height_px = SCREEN_PX[0] - left - right, SCREEN_PX[1] - top - bottom
    if width_px <= 0 or height_px <= 0:
        raise DatasetError(f"{where}: the paddings leave nothing of the screen")
    fixations = []
    for row in rows:
        screen_x, screen_y, start_s, duration_s = (number(row, name, where) for name in FIXATIONS[1:5])
        if row["FPOGV"].strip() in ("0", "0.0"):
            source.dropped["fixation marked invalid"] += 1
        elif screen_x is None or screen_y is None or start_s is None or duration_s is None:
            source.dropped[NO_POSITION] += 1
        elif start_s < 0 or duration_s < 0:
            source.dropped["fixation with a negative time"] += 1
        else:
            x, y = (screen_x * SCREEN_PX[0] - left) / width_px, (screen_y * SCREEN_PX[1] - top) / height_px
            if source.on_image(x, y):
                fixations.append(Fixation(x, y, 1000 * duration_s, 1000 * start_s))
    return recorded_path(fixations)


def chexpert_columns(source: DataSource, row: Row, where: str) -> dict[str, float]:
    """Return the findings of the `*__chx` columns; none, counted, where the row says "no finding" and names one.

    Args:
        source: counts contradictions.
        row: of the master sheet; a column that it lacks is blank.
        where: for errors.

    Raises:
        DatasetError: a label that is not 1, 0, -1 or blank.
    """
    labels = {label: row.get(label.lower().replace(" ", "_") + LABEL_END, "") for label in CHEXPERT_LABELS}
    findings = chexpert_findings(labels, where)
    if findings is None:
        source.dropped[CONTRADICTION] += 1
    return findings or {}
