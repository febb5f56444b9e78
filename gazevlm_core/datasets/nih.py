"""NIH ChestX-ray14: 112,120 frontal radiographs of 30,805 patients, labelled from their reports by a program.

Wang et al., "ChestX-ray8: hospital-scale chest X-ray database and benchmarks on weakly-supervised classification and
localization of common thorax diseases", CVPR 2017; https://nihcc.app.box.com/v/ChestXray-NIHCC. Read here:

    Data_Entry_2017.csv   BBox_List_2017.csv   train_val_list.txt and test_list.txt (may be missing)
    images_*/images/<Image Index>   or images/<Image Index>

Both tables have brackets with commas in their headers, `OriginalImage[Width,Height]` and `Bbox [x,y,w,h]`, which split
there into columns of their own, and empty columns at the end. Boxes are pixels of the PNG files, which are all
1024 x 1024, not of the originals whose sizes are in the table.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from gazevlm_core.datasets.image_files import find_image
from gazevlm_core.datasets.label_policies import CONTRADICTION, NO_FINDING, finding_name
from gazevlm_core.datasets.pixel_boxes import Edges, clip_box, corner_and_size, four_numbers
from gazevlm_core.datasets.record import Box, DatasetError, StudyRecord
from gazevlm_core.datasets.tables import Row, find_file, read_rows

TABLE = "Data_Entry_2017.csv"
COLUMNS = ("Image Index", "Finding Labels", "Patient ID")
BOX_TABLE = "BBox_List_2017.csv"
BOX = ("Bbox [x", "y", "w", "h]")
LISTS = {"train_val": "train_val_list.txt", "test": "test_list.txt"}  # published split -> file
SIZE_PX = (1024, 1024)
LABELS: tuple[str, ...] = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
)  # fmt: skip
RENAMED = {"Effusion": "pleural effusion", "Infiltrate": "infiltration"}  # the table of boxes has another word for it
FINDINGS = tuple(finding_name(label, RENAMED) for label in LABELS)

UNLISTED_BOX = "box of a finding that the image lacks"
STRAY_BOX = "box of an image that is not in the table"


class NihChestXray14:
    """One record per image, in the order of Data_Entry_2017.csv, which is walked row by row.

    The boxes (984) and the names in the two lists are kept in memory.

    All 14 findings of an image are known: those in its labels are present (1.0), the others absent (0.0), as is usual
    for this data set; "No Finding" is no finding and makes all absent. The published split is "train_val" or "test",
    or "" for an image in neither list.

    `dropped` counts images (CONTRADICTION: "No Finding" beside a finding; missing; outside) and boxes: not numeric, of
    no area, off the image, UNLISTED_BOX, and STRAY_BOX.

    Args:
        root: folder that holds the tables.
    """

    name = "NIH ChestX-ray14"

    def __init__(self, root: Path) -> None:
        self.root = root
        self.dropped: Counter[str] = Counter()

    def records(self) -> Iterator[StudyRecord]:
        """Every image of the table that is there.

        Raises:
            DatasetError: no table, no column, no folder of images, an unknown label, an image without a patient, or one
                in both lists.
        """
        self.dropped.clear()
        table = find_file(self.root, TABLE, self.name)
        folders, boxes, splits = self._folders(), self._boxes(), self._splits()
        for row in read_rows(table, COLUMNS, self.name):
            image_id = row["Image Index"]
            marked = boxes.pop(image_id, [])
            findings = self._findings(row)
            image = None if findings is None else find_image(image_id, folders, self.dropped)
            if findings is not None and image is not None:
                yield StudyRecord(
                    self.name,
                    image_id,
                    row["Patient ID"].strip(),
                    image,
                    findings=findings,
                    boxes=self._clipped(marked, findings),
                    published_split=splits.get(image_id, ""),
                )
        if boxes:
            self.dropped[STRAY_BOX] += sum(map(len, boxes.values()))

    def _folders(self) -> list[Path]:
        """Where images lie: as unpacked from the twelve archives, or all in one folder."""
        folders = sorted(path for path in self.root.glob("images_*/images") if path.is_dir())
        folders += [path for path in (self.root / "images",) if path.is_dir()]
        if not folders:
            raise DatasetError(f"{self.name}: there is no folder images_*/images or images in {self.root}")
        return folders

    def _findings(self, row: Row) -> dict[str, float] | None:
        """All findings of an image; None, counted, where its labels contradict each other."""
        where = f"{self.name}: {TABLE}, {row['Image Index'][:64]}"
        if not row["Patient ID"].strip():
            raise DatasetError(f"{where}: Patient ID is blank")
        labels = [label.strip() for label in row["Finding Labels"].split("|")]
        if NO_FINDING in labels:
            if len(labels) > 1:
                self.dropped[CONTRADICTION] += 1
                return None
            return dict.fromkeys(FINDINGS, 0.0)
        present = {self._finding(label, where) for label in labels}
        return {name: float(name in present) for name in FINDINGS}

    def _finding(self, label: str, where: str) -> str:
        name = finding_name(label, RENAMED)
        if name not in FINDINGS:
            raise DatasetError(f"{where}: {label[:40]!r} is none of the labels {', '.join(LABELS)}")
        return name

    def _boxes(self) -> dict[str, list[tuple[str, Edges]]]:
        """Finding and edges of every usable box, by image."""
        table = find_file(self.root, BOX_TABLE, self.name)
        found: dict[str, list[tuple[str, Edges]]] = {}
        for row in read_rows(table, ("Image Index", "Finding Label", *BOX), self.name):
            image_id = row["Image Index"]
            finding = self._finding(row["Finding Label"].strip(), f"{self.name}: {BOX_TABLE}, {image_id[:64]}")
            numbers = four_numbers([row[column] for column in BOX], self.dropped)
            if numbers is not None:
                found.setdefault(image_id, []).append((finding, corner_and_size(numbers)))
        return found

    def _clipped(self, marked: list[tuple[str, Edges]], findings: dict[str, float]) -> tuple[Box, ...]:
        boxes = []
        for finding, edges in marked:
            if not findings[finding]:
                self.dropped[UNLISTED_BOX] += 1
                continue
            box = clip_box(finding, edges, SIZE_PX, self.dropped)
            if box is not None:
                boxes.append(box)
        return tuple(boxes)

    def _splits(self) -> dict[str, str]:
        """Published split by image, of the lists that are there."""
        found: dict[str, str] = {}
        for split, name in LISTS.items():
            path = self.root / name
            if not path.is_file():
                continue
            with path.open(encoding="utf-8-sig", errors="replace") as lines:
                for image_id in filter(None, map(str.strip, lines)):
                    if found.setdefault(image_id, split) != split:
                        raise DatasetError(f"{self.name}: {image_id[:64]} is in {' and in '.join(LISTS.values())}")
        return found
