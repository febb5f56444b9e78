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

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import groupby
from pathlib import Path

from gazevlm_core.datasets.egd_cxr import FIXATIONS as EGD_FIXATIONS
from gazevlm_core.datasets.egd_cxr import NOT_IN_SHEET, READER, chexpert_columns, master_rows, screen_scanpath
from gazevlm_core.datasets.files import Row, by_id, find_file, is_true, path_part, read_report, read_rows
from gazevlm_core.datasets.identity import id_text
from gazevlm_core.datasets.reflacx import (
    DISCARDED,
    METADATA,
    certain_findings,
    image_size,
    read_fixations,
)
from gazevlm_core.datasets.source import IMAGE_MISSING, MIMIC, NO_FIXATION, DataSource, Drop
from gazevlm_core.sample import DatasetError, Reading, Sample
from gazevlm_core.scanpath import Scanpath

MASTER_SHEET = "spreadsheets/EyeGaze/master_sheet_with_updated_stayId.csv"
IMAGE_TABLE = "spreadsheets/cxr_meta.csv"
IMAGE_COLUMNS = ("dicom_id", "subject_id", "study_id")


class MimicEye(DataSource):
    """One sample per reading, patient by patient: those of REFLACX, then those of EGD-CXR.

    The two spreadsheets, a few thousand small rows, are kept in memory.

    Args:
        root: folder that holds the patients' folders.
    """

    name = "MIMIC-EYE"
    id_space = MIMIC

    def items(self) -> Iterator[Callable[[], Sample]]:
        """Yield a maker of each reading's sample."""
        rows = by_id(self.rows(IMAGE_TABLE, IMAGE_COLUMNS), "dicom_id", IMAGE_COLUMNS, Path(IMAGE_TABLE).name)
        studies = {dicom_id: id_text(row["study_id"]) for dicom_id, row in rows.items()}
        sheet = master_rows(find_file(self.root, MASTER_SHEET))
        patients = sorted(path for path in self.root.glob("patient_*") if path.is_dir())
        if not patients:
            raise DatasetError(f"there is no folder patient_... in {self.root}")
        for patient in patients:
            table = patient / "REFLACX" / "metadata.csv"
            if table.is_file():  # else this patient was read for EGD-CXR alone
                for row in read_rows(table, METADATA):
                    yield partial(self._reflacx, patient, row, studies)
            table = patient / "EyeGaze" / "fixations.csv"
            if table.is_file():
                for dicom_id, some in groupby(read_rows(table, EGD_FIXATIONS), key=lambda row: row["DICOM_ID"]):
                    yield partial(self._eye_gaze, patient, dicom_id, list(some), sheet)

    def sample(self, item: Callable[[], Sample]) -> Sample:
        """Make a sample of a reading with fixations on its image."""
        return item()

    def wanted(self) -> Iterator[str]:
        """Yield the images of the table of images, of readings or not."""
        for row in self.rows(IMAGE_TABLE, IMAGE_COLUMNS):
            patient, study = id_text(row["subject_id"]), id_text(row["study_id"]).removeprefix("s")
            yield f"patient_{patient}/CXR-JPG/s{study}/{row['dicom_id']}.jpg"

    def _reflacx(self, patient: Path, row: Row, studies: Mapping[str, str]) -> Sample:
        where = f"{patient.name}, {row['id']}"
        if is_true(row["eye_tracking_data_discarded"]):
            raise Drop(DISCARDED)
        study_id = studies.get(row["dicom_id"])
        if study_id is None:
            raise Drop("image not in cxr_meta.csv")
        reading_id = path_part(row, "id", where)
        fixations = find_file(patient, f"REFLACX/main_data/{reading_id}/fixations.csv")
        scanpath = read_fixations(self, fixations, image_size(row, where))
        findings = certain_findings(row, METADATA, where)
        split = id_text(row["split"])
        return self._sample(patient, study_id, row["dicom_id"], scanpath, findings, reading_id=reading_id, split=split)

    def _eye_gaze(self, patient: Path, dicom_id: str, rows: list[Row], sheet: Mapping[str, Row]) -> Sample:
        study = sheet.get(dicom_id)
        if study is None:
            raise Drop(NOT_IN_SHEET)
        where = f"{patient.name}, {dicom_id}"
        scanpath = screen_scanpath(self, rows, study, where)
        findings = chexpert_columns(self, study, where)
        return self._sample(patient, id_text(study["study_id"]), dicom_id, scanpath, findings, reader=READER)

    def _sample(
        self,
        patient: Path,
        study_id: str,
        dicom_id: str,
        scanpath: Scanpath | None,
        findings: Mapping[str, float],
        *,
        reader: str = "",
        reading_id: str = "",
        split: str = "",
    ) -> Sample:
        study = f"s{study_id.removeprefix('s')}"
        image = patient / "CXR-JPG" / study / f"{dicom_id}.jpg"
        if scanpath is None:
            raise Drop(NO_FIXATION)
        if not image.is_file():
            raise Drop(IMAGE_MISSING)
        return Sample(
            dicom_id,
            image,
            report=read_report(patient / "CXR-DICOM" / f"{study}.txt"),
            findings=findings,
            readings=(Reading(reader, scanpath, reading_id),),
            patient_id=patient.name.removeprefix("patient_"),
            split=split,
        )
