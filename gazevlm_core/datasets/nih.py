"""NIH ChestX-ray14: 112,120 frontal radiographs of 30,805 patients, labelled from their reports by a program.

Wang et al., "ChestX-ray8: hospital-scale chest X-ray database and benchmarks on weakly-supervised classification and
localization of common thorax diseases", CVPR 2017; https://nihcc.app.box.com/v/ChestXray-NIHCC. Read here:

    Data_Entry_2017_v2020.csv, or Data_Entry_2017.csv   BBox_List_2017.csv
    train_val_list.txt and test_list.txt (may be missing)
    images_*/images/<Image Index>   or images/<Image Index>

Both tables have brackets with commas in their headers, `OriginalImage[Width,Height]` and `Bbox [x,y,w,h]`, which split
there into columns of their own unless somebody has put them into quotes, and empty columns at the end: the four numbers
of a box are those from the column on that begins with "Bbox". Boxes are pixels of the PNG files, which are all
1024 x 1024, not of the originals whose sizes are in the table.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from gazevlm_core.datasets.image_files import find_image
from gazevlm_core.datasets.label_policies import CONTRADICTION, NO_FINDING, finding_name
from gazevlm_core.datasets.pixel_boxes import Edges, clip_box, corner_and_size, four_numbers
from gazevlm_core.datasets.record import Box, DatasetError, StudyRecord
from gazevlm_core.datasets.tables import Once, Row, find_file, id_of, read_rows, read_table
from gazevlm_core.datasets.text_files import TextFileError, text_lines

TABLES = ("Data_Entry_2017.csv", "Data_Entry_2017_v2020.csv")  # 2020: labels corrected, the same form
COLUMNS = ("Image Index", "Finding Labels", "Patient ID")
BOX_TABLE = "BBox_List_2017.csv"
BOX_START, BOX_NUMBERS = "bbox", 4
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
    """One record per image, in the order of the table of entries, which is walked row by row.

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
            DatasetError: no table, no column, no folder of images, an unknown label, an image without a patient, in two
                rows, or in both lists.
        """
        self.dropped.clear()
        table = self._table()
        folders, boxes, splits = self._folders(), self._boxes(), self._splits()
        once = Once(f"{self.name}: {table.name}")
        for row in read_rows(table, COLUMNS, self.name):
            image_id = row["Image Index"]
            once.see(image_id)
            marked = boxes.pop(image_id, [])
            findings = self._findings(row, table.name)
            image = None if findings is None else find_image(image_id, folders, self.dropped)
            if findings is not None and image is not None:
                yield StudyRecord(
                    self.name,
                    image_id,
                    id_of(row, "Patient ID", f"{self.name}: {table.name}, {image_id[:64]}"),
                    image,
                    findings=findings,
                    boxes=self._clipped(marked, findings),
                    published_split=splits.get(image_id, ""),
                )
        if boxes:
            self.dropped[STRAY_BOX] += sum(map(len, boxes.values()))

    def image_files(self) -> Iterator[str]:
        """Images of the table, below images/ or images_*/images/, as NIH's archives hold them."""
        for row in read_rows(self._table(), COLUMNS, self.name):
            yield row["Image Index"]

    def _table(self) -> Path:
        """The newest edition of the table that is there."""
        newest, *others = reversed(TABLES)
        return find_file(self.root, newest, self.name, *others)

    def _folders(self) -> list[Path]:
        """Where images lie: as unpacked from the twelve archives, or all in one folder."""
        folders = sorted(path for path in self.root.glob("images_*/images") if path.is_dir())
        folders += [path for path in (self.root / "images",) if path.is_dir()]
        if not folders:
            raise DatasetError(f"{self.name}: there is no folder images_*/images or images in {self.root}")
        return folders

    def _findings(self, row: Row, table: str) -> dict[str, float] | None:
        """All findings of an image; None, counted, where its labels contradict each other."""
        where = f"{self.name}: {table}, {row['Image Index'][:64]}"
        id_of(row, "Patient ID", where)
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
        rows = read_table(table, self.name)
        _, header = next(rows, (0, []))
        first = next((place for place, name in enumerate(header) if name.lower().startswith(BOX_START)), None)
        if first is None or len(header) < first + BOX_NUMBERS or header[:2] != ["Image Index", "Finding Label"]:
            raise DatasetError(f"{self.name}: {BOX_TABLE} has no columns Image Index, Finding Label and Bbox [x,y,w,h]")
        for _, cells in rows:
            image_id = cells[0]
            finding = self._finding(cells[1], f"{self.name}: {BOX_TABLE}, {image_id[:64]}")
            numbers = four_numbers(cells[first : first + BOX_NUMBERS], self.dropped)
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
            try:
                for image_id in filter(None, map(str.strip, text_lines(path))):
                    if found.setdefault(image_id, split) != split:
                        raise DatasetError(f"{self.name}: {image_id[:64]} is in {' and in '.join(LISTS.values())}")
            except TextFileError as error:
                raise DatasetError(f"{self.name}: {error}") from None
        return found
