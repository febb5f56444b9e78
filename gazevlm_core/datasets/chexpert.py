"""CheXpert: 224,316 radiographs of 65,240 patients, labelled from their reports by a program.

Irvin et al., "CheXpert: a large chest radiograph dataset with uncertainty labels and expert comparison", AAAI 2019;
https://stanfordmlgroup.github.io/competitions/chexpert/. Read here, in the full or the small edition:

    train.csv or valid.csv   {train,valid}/patientNNNNN/studyN/viewN_{frontal,lateral}.jpg

`Path` in the tables begins with the name of the data set's folder, CheXpert-v1.0-small or CheXpert-v1.0.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from gazevlm_core.datasets.files import Row, each_once, find_file, read_rows
from gazevlm_core.datasets.label_policies import CHEXPERT_LABELS, CONTRADICTION, NOT_FRONTAL, chexpert_findings
from gazevlm_core.datasets.source import OUTSIDE, DataSource, Drop, find_image, leaves_root, need_folder
from gazevlm_core.sample import DatasetError, Sample

FOLDERS = ("CheXpert-v1.0-small", "CheXpert-v1.0")
VIEW = "Frontal/Lateral"
FRONTAL = "Frontal"
_PATIENT = re.compile(r"patient\d+")


class CheXpert(DataSource):
    """One sample per image, in the table's order; nothing but the row at hand is kept.

    The table's name without its ending is the published split. An image's id is its path below the data set's folder,
    the same in both editions. `chexpert_findings` says what a row means. `dropped` counts images: lateral views,
    rows with "No Finding" and a finding, paths that leave the folder or begin with another one, missing images.

    Args:
        root: the data set's folder, or the one above it.
        table: which table.
    """

    name = "CheXpert"

    def __init__(self, root: Path, table: str = "train.csv") -> None:
        super().__init__(root)
        self.table = table

    def items(self) -> Iterator[tuple[Row, Path]]:
        """Yield each row of the table, and the data set's folder."""
        folder, checked = self._folder(), False
        rows = read_rows(folder / self.table, ("Path", VIEW, *CHEXPERT_LABELS))
        for row in each_once(rows, lambda row: _relative(row["Path"]), self.table):
            relative = _relative(row["Path"])
            if relative and not checked:  # one message instead of a data set of missing images
                need_folder(folder, relative.partition("/")[0])
                checked = True
            yield row, folder

    def sample(self, item: tuple[Row, Path]) -> Sample:
        """Make a sample of an image of the table."""
        row, folder = item
        relative = _relative(row["Path"])
        if relative is None:
            raise Drop(OUTSIDE)
        where = f"{self.table}, {relative[:80]}"
        patient = next((part for part in relative.split("/") if _PATIENT.fullmatch(part)), None)
        if patient is None:
            raise DatasetError(f"{where}: expected a folder patientNNNNN in Path")
        if row[VIEW] != FRONTAL:
            raise Drop(NOT_FRONTAL)
        findings = chexpert_findings(row, where)
        if findings is None:
            raise Drop(CONTRADICTION)
        image, split = find_image(relative, folder), Path(self.table).stem
        return Sample(relative, image, findings=findings, patient_id=patient, split=split)

    def wanted(self) -> Iterator[str]:
        """Yield the images of the table, of frontal views, below the data set's folder."""
        for row in read_rows(self._folder() / self.table, ("Path", VIEW)):
            relative = _relative(row["Path"])
            if relative is not None and row[VIEW] == FRONTAL:
                yield relative

    def _folder(self) -> Path:
        """Return the data set's folder: the first of root and the folders in it that holds the table."""
        for folder in (self.root, *(self.root / name for name in FOLDERS)):
            if (folder / self.table).is_file():
                return folder
        return find_file(self.root, self.table).parent  # raises


def _relative(path: str) -> str | None:
    """Return the part of a path below the data set's folder; None where it lies elsewhere."""
    folder, _, relative = path.partition("/")
    return relative if folder in FOLDERS and relative and not leaves_root(relative) else None
