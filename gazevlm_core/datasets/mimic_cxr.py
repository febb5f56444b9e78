"""MIMIC-CXR-JPG: 377,110 radiographs of 65,379 patients, labelled from their reports by the CheXpert labeller.

Johnson et al., "MIMIC-CXR-JPG, a large publicly available database of labeled chest radiographs", 2019,
arXiv 1901.07042; https://physionet.org/content/mimic-cxr-jpg/ (credentialed access). Read here, unpacked:

    mimic-cxr-2.0.0-{metadata,chexpert,split}.csv
    files/pXX/p<subject_id>/s<study_id>/<dicom_id>.jpg   (XX: the first two digits of the subject)
    files/pXX/p<subject_id>/s<study_id>.txt              (the report, from MIMIC-CXR; may be missing)

Labels are those of a study, so all its images have the same.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from gazevlm_core.datasets.identity import id_text
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
from gazevlm_core.datasets.tables import Once, Row, find_file, id_of, read_rows, read_words

METADATA = "mimic-cxr-2.0.0-metadata.csv"
LABELS = "mimic-cxr-2.0.0-chexpert.csv"
SPLIT = "mimic-cxr-2.0.0-split.csv"
IMAGES = "files"
STUDY = ("subject_id", "study_id")
METADATA_COLUMNS = ("dicom_id", *STUDY, "ViewPosition")
FRONTAL_VIEWS = ("AP", "PA")

NO_LABELS = "image of a study without labels"

_Findings = Mapping[str, float] | None  # None: the row contradicts itself


class MimicCxrLabels:
    """One record per image, in the order of the metadata.

    Labels and split of each study (227,835) are kept in memory, equal ones once; the metadata are walked row by row.

    What "No Finding" means is said in `LabelPolicy`. `dropped` counts images: other views than AP and PA (a blank one
    among them), studies without a row of labels or with "No Finding" and a finding, ids that would leave the folder,
    missing images. A study that is not in the split table has no published split.

    Args:
        root: folder that holds the tables and files/.
        uncertain: what -1 becomes: "ignore" (unknown), "zeros" or "ones".
        blank: what a blank becomes: "ignore" (unknown) or "zeros".
        frontal_only: leave other views than AP and PA out.

    Raises:
        ValueError: another policy.
    """

    name = "MIMIC-CXR"

    def __init__(
        self, root: Path, uncertain: Uncertain = "ignore", blank: Blank = "ignore", *, frontal_only: bool = True
    ) -> None:
        self.root, self.frontal_only = root, frontal_only
        self.policy = LabelPolicy(uncertain, blank)
        self.dropped: Counter[str] = Counter()

    def records(self) -> Iterator[StudyRecord]:
        """Every image of a labelled study.

        Raises:
            DatasetError: no table (or a packed one), no column, no folder of images, a label that is none, or a study
                in two splits.
        """
        self.dropped.clear()
        metadata, labels, split = (self._table(name) for name in (METADATA, LABELS, SPLIT))
        folder = need_folder(self.root, IMAGES, self.name)
        findings, splits = self._findings(labels), self._splits(split)
        once = Once(f"{self.name}: {METADATA}")
        for row in read_rows(metadata, METADATA_COLUMNS, self.name):
            once.see(row["dicom_id"])
            if not self._wanted(row):
                self.dropped[NOT_FRONTAL] += 1
                continue
            study = _study(row)
            if study not in findings:
                self.dropped[NO_LABELS] += 1
                continue
            record = self._record(row, folder, findings[study], splits.get(study, ""))
            if record is not None:
                yield record

    def image_files(self) -> Iterator[str]:
        """Images of labelled studies, of the views that are read."""
        labelled = {_study(row) for row in read_rows(self._table(LABELS), STUDY, self.name)}
        for row in read_rows(self._table(METADATA), METADATA_COLUMNS, self.name):
            if self._wanted(row) and _study(row) in labelled:
                yield f"{IMAGES}/{_folder_of(row)}/{row['dicom_id']}.jpg"

    def _wanted(self, row: Row) -> bool:
        return not self.frontal_only or row["ViewPosition"] in FRONTAL_VIEWS

    def _table(self, name: str) -> Path:
        if (self.root / f"{name}.gz").is_file() and not (self.root / name).is_file():
            raise DatasetError(f"{self.name}: {name}.gz in {self.root} is packed; unpack it to {name}")
        return find_file(self.root, name, self.name)

    def _findings(self, table: Path) -> dict[str, _Findings]:
        """Findings by study; studies with the same labels share one mapping."""
        found: dict[str, _Findings] = {}
        shared: dict[tuple[str, ...], _Findings] = {}
        for row in read_rows(table, (*STUDY, *CHEXPERT_LABELS), self.name):
            labels = tuple(row[label] for label in CHEXPERT_LABELS)
            if labels not in shared:
                shared[labels] = self.policy.findings(row, f"{self.name}: {LABELS}, study {row['study_id'][:20]}")
            if found.setdefault(_study(row), shared[labels]) != shared[labels]:
                raise DatasetError(f"{self.name}: {LABELS} has two rows of study {row['study_id'][:20]} that differ")
        return found

    def _splits(self, table: Path) -> dict[str, str]:
        """Name of the split by study."""
        found: dict[str, str] = {}
        for row in read_rows(table, (*STUDY, "split"), self.name):
            split = sys.intern(id_text(row["split"]))
            if found.setdefault(_study(row), split) != split:
                raise DatasetError(f"{self.name}: {SPLIT} has study {row['study_id'][:20]} in two splits")
        return found

    def _record(self, row: Row, folder: Path, findings: _Findings, split: str) -> StudyRecord | None:
        if findings is None:
            self.dropped[CONTRADICTION] += 1
            return None
        subject, study = (id_of(row, column, f"{self.name}: {METADATA}, {row['dicom_id'][:64]}") for column in STUDY)
        dicom = row["dicom_id"]
        if any(map(leaves_root, (subject, study, dicom))):  # each by itself: within a path they might hide it
            self.dropped[OUTSIDE] += 1
            return None
        relative = _folder_of(row)
        image = find_image(f"{relative}/{dicom}.jpg", [folder], self.dropped)
        if image is None:
            return None
        report = folder / f"{relative}.txt"
        words = read_words(report, self.name)
        return StudyRecord(
            self.name, dicom, subject, image, findings=dict(findings), report=words, published_split=split
        )


def _study(row: Row) -> str:
    """Subject and study: a table that has a study under another subject does not speak of it."""
    return "/".join(id_text(row[column]) for column in STUDY)


def _folder_of(row: Row) -> str:
    """Folder of a study below files/."""
    subject, study = (id_text(row[column]) for column in STUDY)
    return f"p{subject[:2]}/p{subject}/s{study}"
