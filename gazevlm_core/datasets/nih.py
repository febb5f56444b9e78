"""NIH ChestX-ray14: 112,120 frontal radiographs of 30,805 patients, labelled from their reports by a program.

Wang et al., "ChestX-ray8: hospital-scale chest X-ray database and benchmarks on weakly-supervised classification and
localization of common thorax diseases", CVPR 2017; https://nihcc.app.box.com/v/ChestXray-NIHCC. Read here:

    Data_Entry_2017_v2020.csv, or Data_Entry_2017.csv   BBox_List_2017.csv
    train_val_list.txt and test_list.txt (may be missing)
    images_*/images/<Image Index>   or images/<Image Index>

A part of it may come with other tables in their place: labels.csv with a column of 1 and 0 for each label,
`source_name` for the Image Index, `file`, `patient_id` and `view`; and boxes.csv with image, finding, x, y, w, h.

Both tables have brackets with commas in their headers, `OriginalImage[Width,Height]` and `Bbox [x,y,w,h]`, which split
there into columns of their own unless somebody has put them into quotes, and empty columns at the end: the four numbers
of a box are those from the column on that begins with "Bbox". Boxes are pixels of the PNG files, which are all
1024 x 1024, not of the originals whose sizes are in the table.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from gazevlm_core.datasets.files import Row, each_once, find_file, id_of, number, read_rows, read_table, text_lines
from gazevlm_core.datasets.label_policies import CONTRADICTION, NO_FINDING, finding_name
from gazevlm_core.datasets.label_table import view_name
from gazevlm_core.datasets.source import DataSource, Drop, Edges, corner_and_size, find_image
from gazevlm_core.sample import DatasetError, Sample

TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")  # 2020: labels corrected, the same form
COLUMNS = ("Image Index", "Finding Labels", "Patient ID")
BOX_TABLE = "BBox_List_2017.csv"
BOX_START, BOX_NUMBERS = "bbox", 4
LISTS = {"train_val": "train_val_list.txt", "test": "test_list.txt"}  # published split -> file
PART, PART_COLUMNS = "labels.csv", ("file", "source_name", "patient_id")
PART_BOXES, PART_BOX = "boxes.csv", ("image", "finding", "x", "y", "w", "h")
SIZE_PX = (1024, 1024)
LABELS: tuple[str, ...] = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
)  # fmt: skip
RENAMED = {"Effusion": "pleural effusion", "Infiltrate": "infiltration"}  # the table of boxes has another word for it
FINDINGS = tuple(finding_name(label, RENAMED) for label in LABELS)

UNLISTED_BOX = "box of a finding that the image lacks"
STRAY_BOX = "box of an image that is not in the table"

_Mark = tuple[str, Edges | None, str]


class NihChestXray14(DataSource):
    """One sample per image, in the order of the table of entries, which is walked row by row.

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
    credit = (
        "NIH ChestX-ray14, by courtesy of the NIH Clinical Center, https://nihcc.app.box.com/v/ChestXray-NIHCC (use "
        "unrestricted, with link, acknowledgement and citation). Cite: Wang X, Peng Y, Lu L, Lu Z, Bagheri M, Summers "
        "RM. ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks on Weakly-Supervised Classification and "
        "Localization of Common Thorax Diseases. IEEE CVPR 2017, 3462-3471."
    )

    def items(self) -> Iterator[tuple[Row, str, list[Path], list[_Mark], str]]:
        """Yield each row of the table, with the table's name, the folders of images, its boxes and its split.

        Raises:
            DatasetError: no table, no column, no folder of images, an image in two rows, or in both lists.
        """
        table = self._table()
        folders, boxes, splits = self._folders(), self._boxes(), self._splits()
        for row in each_once(_entries(table), lambda row: row["Image Index"], table.name):
            image_id = row["Image Index"]
            yield row, table.name, folders, boxes.pop(image_id, []), splits.get(image_id, "")
        if boxes:
            self.dropped[STRAY_BOX] += sum(map(len, boxes.values()))

    def sample(self, item: tuple[Row, str, list[Path], list[_Mark], str]) -> Sample:
        """Make a sample of an image; errors are an unknown label and an image without a patient."""
        row, table, folders, marks, split = item
        image_id = row["Image Index"]
        where = f"{table}, {image_id[:64]}"
        patient_id = id_of(row, "Patient ID", where)
        labels = [label.strip() for label in row["Finding Labels"].split("|")]
        if NO_FINDING in labels and len(labels) > 1:
            raise Drop(CONTRADICTION)
        present = {_finding(label, where) for label in labels if label != NO_FINDING}
        image = find_image(row["file"], self.root) if "file" in row else find_image(image_id, *folders)
        listed = [mark for mark in marks if mark[0] in present]
        if len(listed) < len(marks):
            self.dropped[UNLISTED_BOX] += len(marks) - len(listed)
        return Sample(
            image_id,
            image,
            findings={name: float(name in present) for name in FINDINGS},
            boxes=self.boxes(listed, SIZE_PX),
            patient_id=patient_id,
            split=split,
            view=view_name(row.get("View Position", "")),
        )

    def wanted(self) -> Iterator[str]:
        """Yield the images of the table, below images/ or images_*/images/, as NIH's archives hold them."""
        for row in _entries(self._table()):
            yield row.get("file", row["Image Index"])

    def _table(self) -> Path:
        """Return the table of entries; that of a part only where there is no other."""
        part = [PART] if (self.root / PART).is_file() else []
        return find_file(self.root, *TABLES, *part)

    def _folders(self) -> list[Path]:
        """Return where images lie: as unpacked from the twelve archives, or all in one folder."""
        folders = [*sorted(self.root.glob("images_*/images")), self.root / "images"]
        folders = [path for path in folders if path.is_dir()]
        if not folders:
            raise DatasetError(f"there is no folder images_*/images or images in {self.root}")
        return folders

    def _boxes(self) -> dict[str, list[_Mark]]:
        """Return finding and edges of every usable box, by image."""
        found: dict[str, list[_Mark]] = {}
        table, rows = self._box_rows()
        for image_id, label, *numbers in rows:
            finding = _finding(label, f"{table}, {image_id[:64]}")
            edges = corner_and_size(self.edges(numbers))
            if edges is not None:
                found.setdefault(image_id, []).append((finding, edges, ""))
        return found

    def _box_rows(self) -> tuple[str, Iterator[Sequence[str]]]:
        """Return the name of the table of boxes, and image, finding and four numbers of each of its rows; a part may
        have no such table."""
        if self._table().name == PART:
            path = self.root / PART_BOXES
            boxes = read_rows(path, PART_BOX) if path.is_file() else iter(())
            return PART_BOXES, ([row[name] for name in PART_BOX] for row in boxes)
        rows = read_table(find_file(self.root, BOX_TABLE))
        _, header = next(rows, (0, []))
        first = next((place for place, name in enumerate(header) if name.lower().startswith(BOX_START)), None)
        if first is None or len(header) < first + BOX_NUMBERS or header[:2] != ["Image Index", "Finding Label"]:
            raise DatasetError(f"{BOX_TABLE} has no columns Image Index, Finding Label and Bbox [x,y,w,h]")
        return BOX_TABLE, ([*cells[:2], *cells[first : first + BOX_NUMBERS]] for _, cells in rows)

    def _splits(self) -> dict[str, str]:
        """Return the published split by image, of the lists that are there."""
        found: dict[str, str] = {}
        for split, name in LISTS.items():
            path = self.root / name
            for image_id in filter(None, map(str.strip, text_lines(path) if path.is_file() else ())):
                if found.setdefault(image_id, split) != split:
                    raise DatasetError(f"{image_id[:64]} is in {' and in '.join(LISTS.values())}")
        return found


def _entries(table: Path) -> Iterator[Row]:
    """Yield the rows of the table of entries; those of a part in its form, with `file` beside."""
    if table.name != PART:
        yield from read_rows(table, COLUMNS)
        return
    for row in read_rows(table, (*PART_COLUMNS, *LABELS)):
        present = [label for label in LABELS if number(row, label, f"{PART}, {row['file'][:64]}") == 1.0]
        yield {
            "Image Index": row["source_name"], "file": row["file"], "Patient ID": row["patient_id"],
            "Finding Labels": "|".join(present) or NO_FINDING, "View Position": row.get("view", ""),
        }  # fmt: skip


def _finding(label: str, where: str) -> str:
    name = finding_name(label, RENAMED)
    if name not in FINDINGS:
        raise DatasetError(f"{where}: {label[:40]!r} is none of the labels {', '.join(LABELS)}")
    return name
