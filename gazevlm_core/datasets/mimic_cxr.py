"""MIMIC-CXR-JPG: 377,110 radiographs of 65,379 patients, labelled from their reports by the CheXpert labeller.

Johnson et al., "MIMIC-CXR-JPG, a large publicly available database of labeled chest radiographs", 2019,
arXiv 1901.07042; https://physionet.org/content/mimic-cxr-jpg/ (credentialed access). Read here, unpacked:

    mimic-cxr-2.0.0-{metadata,chexpert,split}.csv
    files/pXX/p<subject_id>/s<study_id>/<dicom_id>.jpg   (XX: the first two digits of the subject)
    files/pXX/p<subject_id>/s<study_id>.txt              (the report, from MIMIC-CXR; may be missing)

Labels are those of a study, so all its images have the same.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from gazevlm_core.datasets.files import Row, each_once, find_file, id_of, read_report, read_rows
from gazevlm_core.datasets.identity import id_text
from gazevlm_core.datasets.label_policies import CHEXPERT_LABELS, CONTRADICTION, NOT_FRONTAL, chexpert_findings
from gazevlm_core.datasets.source import MIMIC, OUTSIDE, DataSource, Drop, find_image, leaves_root, need_folder
from gazevlm_core.sample import DatasetError, Sample

METADATA = "mimic-cxr-2.0.0-metadata.csv"
LABELS = "mimic-cxr-2.0.0-chexpert.csv"
SPLIT = "mimic-cxr-2.0.0-split.csv"
IMAGES = "files"
STUDY = ("subject_id", "study_id")
METADATA_COLUMNS = ("dicom_id", *STUDY, "ViewPosition")
FRONTAL_VIEWS = ("AP", "PA")

NO_LABELS = "image of a study without labels"

_Findings = Mapping[str, float] | None  # None: the row contradicts itself


class MimicCxrLabels(DataSource):
    """One sample per image, in the order of the metadata.

    Labels and split of each study (227,835) are kept in memory, equal ones once; the metadata are walked row by row.

    `chexpert_findings` says what labels mean. `dropped` counts images: other views than AP and PA (a blank one
    among them), studies without a row of labels or with "No Finding" and a finding, ids that would leave the folder,
    missing images. A study that is not in the split table has no published split.

    Args:
        root: folder that holds the tables and files/.
    """

    name = "MIMIC-CXR"
    id_space = MIMIC

    def items(self) -> Iterator[tuple[Row, Mapping[str, _Findings], Mapping[str, str]]]:
        """Yield each row of the metadata, with the labels and the splits of all studies.

        Raises:
            DatasetError: no table (or a packed one), no column, no folder of images, a label that is none, or a study
                in two splits.
        """
        metadata, labels, split = (self._table(name) for name in (METADATA, LABELS, SPLIT))
        need_folder(self.root, IMAGES)
        findings, splits = self._findings(labels), self._splits(split)
        for row in each_once(read_rows(metadata, METADATA_COLUMNS), lambda row: row["dicom_id"], METADATA):
            yield row, findings, splits

    def sample(self, item: tuple[Row, Mapping[str, _Findings], Mapping[str, str]]) -> Sample:
        """Make a sample of an image of a labelled study."""
        row, labels, splits = item
        if row["ViewPosition"] not in FRONTAL_VIEWS:
            raise Drop(NOT_FRONTAL)
        study = _study(row)
        if study not in labels:
            raise Drop(NO_LABELS)
        findings = labels[study]
        if findings is None:
            raise Drop(CONTRADICTION)
        subject, number = (id_of(row, column, f"{METADATA}, {row['dicom_id'][:64]}") for column in STUDY)
        dicom = row["dicom_id"]
        if any(map(leaves_root, (subject, number, dicom))):  # each by itself: within a path they might hide it
            raise Drop(OUTSIDE)
        folder, relative = self.root / IMAGES, _folder_of(row)
        return Sample(
            dicom,
            find_image(f"{relative}/{dicom}.jpg", folder),
            report=read_report(folder / f"{relative}.txt"),
            findings=dict(findings),
            patient_id=subject,
            split=splits.get(study, ""),
        )

    def wanted(self) -> Iterator[str]:
        """Yield the images of labelled studies, of the views that are read."""
        labelled = {_study(row) for row in read_rows(self._table(LABELS), STUDY)}
        for row in read_rows(self._table(METADATA), METADATA_COLUMNS):
            if row["ViewPosition"] in FRONTAL_VIEWS and _study(row) in labelled:
                yield f"{IMAGES}/{_folder_of(row)}/{row['dicom_id']}.jpg"

    def _table(self, name: str) -> Path:
        if (self.root / f"{name}.gz").is_file() and not (self.root / name).is_file():
            raise DatasetError(f"{name}.gz in {self.root} is packed; unpack it to {name}")
        return find_file(self.root, name)

    def _findings(self, table: Path) -> dict[str, _Findings]:
        """Return findings by study; studies with the same labels share one mapping."""
        found: dict[str, _Findings] = {}
        shared: dict[tuple[str, ...], _Findings] = {}
        for row in read_rows(table, (*STUDY, *CHEXPERT_LABELS)):
            labels = tuple(row[label] for label in CHEXPERT_LABELS)
            if labels not in shared:
                shared[labels] = chexpert_findings(row, f"{LABELS}, study {row['study_id'][:20]}")
            if found.setdefault(_study(row), shared[labels]) != shared[labels]:
                raise DatasetError(f"{LABELS} has two rows of study {row['study_id'][:20]} that differ")
        return found

    def _splits(self, table: Path) -> dict[str, str]:
        """Return the name of the split by study."""
        found: dict[str, str] = {}
        for row in read_rows(table, (*STUDY, "split")):
            split = sys.intern(id_text(row["split"]))
            if found.setdefault(_study(row), split) != split:
                raise DatasetError(f"{SPLIT} has study {row['study_id'][:20]} in two splits")
        return found


def _study(row: Row) -> str:
    """Subject and study: a table that has a study under another subject does not speak of it."""
    return "/".join(id_text(row[column]) for column in STUDY)


def _folder_of(row: Row) -> str:
    """Return the folder of a study below files/."""
    subject, study = (id_text(row[column]) for column in STUDY)
    return f"p{subject[:2]}/p{subject}/s{study}"
