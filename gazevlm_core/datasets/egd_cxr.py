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
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path, PurePosixPath

from gazevlm_core.datasets.label_policies import CHEXPERT_LABELS, CHEXPERT_NAMES, CONTRADICTION, LabelPolicy
from gazevlm_core.datasets.record import Box, DatasetError, Reading, StudyRecord
from gazevlm_core.datasets.reflacx import image_name
from gazevlm_core.datasets.tables import Row, by_id, find_file, id_of, number, read_rows
from gazevlm_core.datasets.text_files import whole_text
from gazevlm_core.scanpath import Fixation, Scanpath

SCREEN_PX = (1920.0, 1080.0)
DICOM_ID_LENGTH = 44
PADS = ("image_left_pad", "image_right_pad", "image_top_pad", "image_bottom_pad")
MASTER = ("dicom_id", "path", "study_id", "patient_id", *PADS)
FIXATIONS = ("DICOM_ID", "FPOGX", "FPOGY", "FPOGS", "FPOGD", "FPOGV")
BOXES = ("dicom_id", "bbox_name", "x1", "x2", "y1", "y2")  # in this order in the file
LABEL_END = "__chx"
READER = "radiologist"


class EgdCxr:
    """One record per image, in the order of the fixations.

    Args:
        root: folder that holds master_sheet.csv.
        images: folder of MIMIC-CXR-JPG that holds files/.
    """

    name = "EGD-CXR"

    def __init__(self, root: Path, images: Path) -> None:
        self.root, self.images = root, images
        self.dropped: Counter[str] = Counter()

    def records(self) -> Iterator[StudyRecord]:
        """Every image with fixations on it."""
        self.dropped.clear()
        sheet = find_file(self.root, "master_sheet.csv", self.name)
        studies = master_rows(sheet, self.name)
        boxes = self._boxes()
        table = find_file(self.root, "fixations.csv", self.name)
        seen: set[str] = set()
        for dicom_id, rows in groupby(read_rows(table, FIXATIONS, self.name), key=lambda row: row["DICOM_ID"]):
            if dicom_id in seen:
                raise DatasetError(f"{self.name}: {table.name} has the rows of {dicom_id} in two places; sort them")
            seen.add(dicom_id)
            record = self._record(dicom_id, studies.get(dicom_id), list(rows), boxes)
            if record is not None:
                yield record

    def image_files(self) -> Iterator[str]:
        """Images of the master sheet, below the folder of MIMIC-CXR-JPG."""
        sheet = find_file(self.root, "master_sheet.csv", self.name)
        for row in read_rows(sheet, MASTER, self.name):
            path = image_name(row["path"], f"{self.name}: {row['dicom_id'][:DICOM_ID_LENGTH]}")
            yield f"files/{path}"

    def _record(
        self, dicom_id: str, study: Row | None, rows: list[Row], boxes: Mapping[str, list[Row]]
    ) -> StudyRecord | None:
        where = f"{self.name}: {dicom_id[:DICOM_ID_LENGTH]}"
        if len(dicom_id) != DICOM_ID_LENGTH:
            self.dropped["malformed DICOM_ID"] += 1
            return None
        if study is None:
            self.dropped["image not in the master sheet"] += 1
            return None
        image = self.images / "files" / image_name(study["path"], where)
        if not image.is_file():
            self.dropped["image missing"] += 1
            return None
        scanpath = screen_scanpath(rows, study, where, self.dropped)
        if scanpath is None:
            self.dropped["no fixation on the image"] += 1
            return None
        return StudyRecord(
            self.name,
            dicom_id,
            id_of(study, "patient_id", where),
            image,
            readings=(Reading(READER, scanpath),),
            findings=chexpert_columns(study, where, self.dropped),
            report=self._report(dicom_id),
            boxes=self._image_boxes(boxes.get(dicom_id, []), image, where),
        )

    def _boxes(self) -> Mapping[str, list[Row]]:
        """Rows by image; small, so they are kept."""
        path = self.root / "bounding_boxes.csv"
        found: dict[str, list[Row]] = {}
        if path.is_file():
            for row in read_rows(path, BOXES, self.name):
                found.setdefault(row["dicom_id"], []).append(row)
        return found

    def _image_boxes(self, rows: list[Row], image: Path, where: str) -> tuple[Box, ...]:
        """Boxes in image pixels as fractions; anatomy, not findings."""
        if not rows:
            return ()
        from PIL import Image  # the size alone: pixels are not decoded

        with Image.open(image) as picture:
            width, height = picture.size
        boxes = []
        for row in rows:
            corners = [number(row, column, where) for column in ("x1", "x2", "y1", "y2")]
            x1, x2, y1, y2 = (0.0 if corner is None else corner for corner in corners)
            left, right = (min(max(corner / width, 0.0), 1.0) for corner in (x1, x2))
            upper, lower = (min(max(corner / height, 0.0), 1.0) for corner in (y1, y2))
            if None in corners or right <= left or lower <= upper:
                self.dropped["box of no area"] += 1
            else:
                boxes.append(Box(row["bbox_name"], left, upper, right - left, lower - upper))
        return tuple(boxes)

    def _report(self, dicom_id: str) -> str | None:
        """The dictation, joined from its phrases."""
        path = self.root / "audio_segmentation_transcripts" / dicom_id / "transcript.json"
        if not path.is_file():
            return None
        try:
            stamped = json.loads(whole_text(path))["time_stamped_text"]
            return " ".join(phrase["phrase"].strip() for phrase in stamped) or None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            shown = PurePosixPath("audio_segmentation_transcripts", dicom_id, path.name)
            raise DatasetError(f"{self.name}: {shown} is no transcript with time_stamped_text and phrase") from error


def master_rows(sheet: Path, dataset: str) -> dict[str, Row]:
    """Rows of a master sheet by image.

    Raises:
        DatasetError: two rows of an image that differ in what is read of them.
    """
    told = (*MASTER, *(f"{name.replace(' ', '_')}{LABEL_END}" for name in sorted(CHEXPERT_NAMES)))
    return by_id(read_rows(sheet, MASTER, dataset), "dicom_id", told, f"{dataset}: {sheet.name}")


def screen_scanpath(rows: Sequence[Row], study: Row, where: str, dropped: Counter[str]) -> Scanpath | None:
    """Fixations of one image from fractions of the screen; None where none lies on the image.

    Args:
        rows: of FIXATIONS.
        study: the image's row of the master sheet, with its paddings in screen pixels.
        where: for errors.
        dropped: gets the number of fixations left out, by reason.

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
            dropped["fixation marked invalid"] += 1
        elif screen_x is None or screen_y is None or start_s is None or duration_s is None:
            dropped["fixation without a position"] += 1
        elif start_s < 0 or duration_s < 0:
            dropped["fixation with a negative time"] += 1
        else:
            x, y = (screen_x * SCREEN_PX[0] - left) / width_px, (screen_y * SCREEN_PX[1] - top) / height_px
            if 0 <= x < 1 and 0 <= y < 1:
                fixations.append(Fixation(x, y, 1000 * duration_s, 1000 * start_s))
            else:
                dropped["fixation off the image"] += 1
    fixations.sort(key=lambda fixation: fixation.onset_ms or 0.0)
    return Scanpath(tuple(fixations), "eyetracker") if fixations else None


def chexpert_columns(row: Row, where: str, dropped: Counter[str]) -> dict[str, float]:
    """Findings of the `*__chx` columns; none, counted, where the row says "no finding" and names one.

    Args:
        row: of the master sheet; a column that it lacks is blank.
        where: for errors.
        dropped: gets CONTRADICTION.

    Raises:
        DatasetError: a label that is not 1, 0, -1 or blank.
    """
    labels = {label: row.get(label.lower().replace(" ", "_") + LABEL_END, "") for label in CHEXPERT_LABELS}
    findings = LabelPolicy().findings(labels, where)
    if findings is None:
        dropped[CONTRADICTION] += 1
    return findings or {}
