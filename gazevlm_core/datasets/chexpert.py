"""CheXpert: 224,316 radiographs of 65,240 patients, labelled from their reports by a program.

Irvin et al., "CheXpert: a large chest radiograph dataset with uncertainty labels and expert comparison", AAAI 2019;
https://stanfordmlgroup.github.io/competitions/chexpert/. Read here, in the full or the small edition:

    train.csv or valid.csv   {train,valid}/patientNNNNN/studyN/viewN_{frontal,lateral}.jpg

`Path` in the tables begins with the name of the data set's folder, CheXpert-v1.0-small or CheXpert-v1.0.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from gazevlm_core.datasets.image_files import OUTSIDE, find_image, leaves_root, need_folder
from gazevlm_core.datasets.label_policies import (
    CHEXPERT_LABELS,
    CONTRADICTION,
    NOT_FRONTAL,
    Blank,
    LabelPolicy,
    Uncertain,
)
from gazevlm_core.datasets.record import DatasetError, StudyRecord
from gazevlm_core.datasets.tables import Once, Row, find_file, read_rows

FOLDERS = ("CheXpert-v1.0-small", "CheXpert-v1.0")
VIEW = "Frontal/Lateral"
FRONTAL = "Frontal"
_PATIENT = re.compile(r"patient\d+")


class CheXpert:
    """One record per image, in the table's order; nothing but the row at hand is kept.

    The table's name without its ending is the published split. An image's id is its path below the data set's folder,
    the same in both editions. What "No Finding" means is said in `LabelPolicy`. `dropped` counts images: other views,
    rows with "No Finding" and a finding, paths that leave the folder or begin with another one, missing images.

    Args:
        root: the data set's folder, or the one above it.
        table: which table.
        uncertain: what -1 becomes: "ignore" (unknown), "zeros" or "ones".
        blank: what a blank becomes: "ignore" (unknown) or "zeros".
        frontal_only: leave lateral views out.

    Raises:
        ValueError: another policy.
    """

    name = "CheXpert"

    def __init__(
        self,
        root: Path,
        table: str = "train.csv",
        uncertain: Uncertain = "ignore",
        *,
        blank: Blank = "ignore",
        frontal_only: bool = True,
    ) -> None:
        self.root, self.table, self.frontal_only = root, table, frontal_only
        self.policy = LabelPolicy(uncertain, blank)
        self.dropped: Counter[str] = Counter()

    def records(self) -> Iterator[StudyRecord]:
        """Every image of the table that is there.

        Raises:
            DatasetError: no table, no column, no folder of images, a path without a patient, or a label that is none.
        """
        self.dropped.clear()
        folder, checked = self._folder(), False
        once = Once(f"{self.name}: {self.table}")
        for row in read_rows(folder / self.table, ("Path", VIEW, *CHEXPERT_LABELS), self.name):
            relative = self._relative(row["Path"])
            if relative is None:
                self.dropped[OUTSIDE] += 1
                continue
            once.see(relative)
            if not checked:  # one message instead of a data set of missing images
                need_folder(folder, relative.partition("/")[0], self.name)
                checked = True
            record = self._record(row, relative, folder)
            if record is not None:
                yield record

    def image_files(self) -> Iterator[str]:
        """Images of the table, of the views that are read, below the data set's folder."""
        for row in read_rows(self._folder() / self.table, ("Path", VIEW), self.name):
            relative = self._relative(row["Path"])
            if relative is not None and self._wanted(row):
                yield relative

    def _wanted(self, row: Row) -> bool:
        return not self.frontal_only or row[VIEW] == FRONTAL

    def _folder(self) -> Path:
        """The data set's folder: the first of root and the folders in it that holds the table."""
        for folder in (self.root, *(self.root / name for name in FOLDERS)):
            if (folder / self.table).is_file():
                return folder
        return find_file(self.root, self.table, self.name).parent  # raises

    def _relative(self, path: str) -> str | None:
        """The part of a path below the data set's folder; None where it lies elsewhere."""
        folder, _, relative = path.partition("/")
        return relative if folder in FOLDERS and relative and not leaves_root(relative) else None

    def _record(self, row: Row, relative: str, folder: Path) -> StudyRecord | None:
        where = f"{self.name}: {self.table}, {relative[:80]}"
        patient = next((part for part in relative.split("/") if _PATIENT.fullmatch(part)), None)
        if patient is None:
            raise DatasetError(f"{where}: expected a folder patientNNNNN in Path")
        if not self._wanted(row):
            self.dropped[NOT_FRONTAL] += 1
            return None
        findings = self.policy.findings(row, where)
        if findings is None:
            self.dropped[CONTRADICTION] += 1
            return None
        image = find_image(relative, [folder], self.dropped)
        if image is None:
            return None
        split = Path(self.table).stem
        return StudyRecord(self.name, relative, patient, image, findings=findings, published_split=split)
