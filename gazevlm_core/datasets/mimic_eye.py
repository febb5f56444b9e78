"""MIMIC-EYE: REFLACX and EGD-CXR joined with MIMIC, one folder per patient.

Hsieh et al., "MIMIC-Eye: Integrating MIMIC datasets with REFLACX and Eye Gaze for multimodal deep learning
applications", PhysioNet 2023; https://physionet.org/content/mimic-eye-multimodal-datasets/ (credentialed access). Read:

    patient_{subject_id}/REFLACX/metadata.csv   and REFLACX/main_data/<id>/fixations.csv; the union of the three phases
    patient_{subject_id}/EyeGaze/fixations.csv  as in EGD-CXR, the patient's rows
    patient_{subject_id}/CXR-JPG/s{study_id}/{dicom_id}.jpg   and CXR-DICOM/s{study_id}.txt
    spreadsheets/EyeGaze/master_sheet_with_updated_stayId.csv   and spreadsheets/cxr_meta.csv

Its CSV files were written anew and have an unnamed first index column. Labels, units and quirks are those of the two
sources; see `datasets.reflacx` and `datasets.egd_cxr`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path

from gazevlm_core.datasets.egd_cxr import FIXATIONS as EGD_FIXATIONS
from gazevlm_core.datasets.egd_cxr import READER, chexpert_columns, master_rows, screen_scanpath
from gazevlm_core.datasets.identity import id_text
from gazevlm_core.datasets.record import DatasetError, Reading, StudyRecord
from gazevlm_core.datasets.reflacx import METADATA, PRESENT_FROM, certain_findings, image_size, is_true, read_fixations
from gazevlm_core.datasets.tables import Row, by_id, find_file, path_part, read_rows, read_words

MASTER_SHEET = "spreadsheets/EyeGaze/master_sheet_with_updated_stayId.csv"
IMAGE_TABLE = "spreadsheets/cxr_meta.csv"
IMAGE_COLUMNS = ("dicom_id", "subject_id", "study_id")


class MimicEye:
    """One record per reading, patient by patient: those of REFLACX, then those of EGD-CXR.

    The two spreadsheets, a few thousand small rows, are kept in memory.

    Args:
        root: folder that holds the patients' folders.
        present_from: least certainty at which a finding of REFLACX counts as present.
    """

    name = "MIMIC-EYE"

    def __init__(self, root: Path, *, present_from: int = PRESENT_FROM) -> None:
        self.root, self.present_from = root, present_from
        self.dropped: Counter[str] = Counter()

    def records(self) -> Iterator[StudyRecord]:
        """Every reading with fixations on its image."""
        self.dropped.clear()
        table = find_file(self.root, IMAGE_TABLE, self.name)
        where = f"{self.name}: {table.name}"
        rows = by_id(read_rows(table, IMAGE_COLUMNS, self.name), "dicom_id", IMAGE_COLUMNS, where)
        studies = {dicom_id: id_text(row["study_id"]) for dicom_id, row in rows.items()}
        master = find_file(self.root, MASTER_SHEET, self.name)
        sheet = master_rows(master, self.name)
        patients = sorted(path for path in self.root.glob("patient_*") if path.is_dir())
        if not patients:
            raise DatasetError(f"{self.name}: there is no folder patient_... in {self.root}")
        for patient in patients:
            yield from self._reflacx(patient, studies)
            yield from self._eye_gaze(patient, sheet)

    def image_files(self) -> Iterator[str]:
        """Images of the table of images, of readings or not."""
        for row in read_rows(find_file(self.root, IMAGE_TABLE, self.name), IMAGE_COLUMNS, self.name):
            patient, study = id_text(row["subject_id"]), id_text(row["study_id"]).removeprefix("s")
            yield f"patient_{patient}/CXR-JPG/s{study}/{row['dicom_id']}.jpg"

    def _reflacx(self, patient: Path, studies: Mapping[str, str]) -> Iterator[StudyRecord]:
        table = patient / "REFLACX" / "metadata.csv"
        if not table.is_file():
            return  # this patient was read for EGD-CXR alone
        for row in read_rows(table, METADATA, self.name):
            where = f"{self.name}: {patient.name}, {row['id']}"
            if is_true(row["eye_tracking_data_discarded"]):
                self.dropped["eye tracking discarded by its authors"] += 1
                continue
            study_id = studies.get(row["dicom_id"])
            if study_id is None:
                self.dropped["image not in cxr_meta.csv"] += 1
                continue
            reading_id = path_part(row, "id", where)
            fixations = find_file(patient, f"REFLACX/main_data/{reading_id}/fixations.csv", self.name)
            scanpath = read_fixations(fixations, image_size(row, where), self.name, self.dropped)
            findings = certain_findings(row, METADATA, self.present_from, where)
            reading = None if scanpath is None else Reading("", scanpath, reading_id)
            record = self._record(patient, study_id, row["dicom_id"], reading, findings, id_text(row["split"]))
            if record is not None:
                yield record

    def _eye_gaze(self, patient: Path, sheet: Mapping[str, Row]) -> Iterator[StudyRecord]:
        table = patient / "EyeGaze" / "fixations.csv"
        if not table.is_file():
            return
        for dicom_id, rows in groupby(read_rows(table, EGD_FIXATIONS, self.name), key=lambda row: row["DICOM_ID"]):
            study = sheet.get(dicom_id)
            if study is None:
                self.dropped["image not in the master sheet"] += 1
                continue
            where = f"{self.name}: {patient.name}, {dicom_id}"
            scanpath = screen_scanpath(list(rows), study, where, self.dropped)
            reading = None if scanpath is None else Reading(READER, scanpath)
            findings = chexpert_columns(study, where, self.dropped)
            record = self._record(patient, id_text(study["study_id"]), dicom_id, reading, findings, "")
            if record is not None:
                yield record

    def _record(
        self,
        patient: Path,
        study_id: str,
        dicom_id: str,
        reading: Reading | None,
        findings: Mapping[str, float],
        split: str,
    ) -> StudyRecord | None:
        study = f"s{study_id.removeprefix('s')}"
        image = patient / "CXR-JPG" / study / f"{dicom_id}.jpg"
        if reading is None:
            self.dropped["no fixation on the image"] += 1
            return None
        if not image.is_file():
            self.dropped["image missing"] += 1
            return None
        report = patient / "CXR-DICOM" / f"{study}.txt"
        words = read_words(report, self.name)
        patient_id = patient.name.removeprefix("patient_")
        return StudyRecord(
            self.name, dicom_id, patient_id, image, (reading,), findings, words, published_split=split
        )
