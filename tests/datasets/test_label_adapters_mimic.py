"""MIMIC-CXR-JPG: the join of its three tables, reports, policies, what is dropped, errors."""

from pathlib import Path

import pytest

from gazevlm_core.datasets.label_policies import CHEXPERT_LABELS, finding_name
from gazevlm_core.datasets.mimic_cxr import LABELS, METADATA, SPLIT, MimicCxrLabels
from gazevlm_core.datasets.source import DataSource
from gazevlm_core.sample import DatasetError
from tests.datasets.label_tables import chexpert_row, write_picture, write_table

MIMIC_ORDER = sorted(CHEXPERT_LABELS)  # the columns are in another order than CheXpert's
METADATA_HEADER = (
    "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate,StudyTime,"
    "ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,PatientOrientationCodeSequence_CodeMeaning"
)


def mimic_labels(subject: str, study: str, **values: str) -> str:
    row = chexpert_row(**values)
    return ",".join([subject, study, *(row[label] for label in MIMIC_ORDER)])


def metadata(dicom: str, subject: str, study: str, view: str) -> str:
    return f"{dicom},{subject},{study},CHEST (PA AND LAT),{view},3056,2544,21800506,213014.531,CHEST,{view},Erect"


def write_mimic(root: Path) -> None:
    write_table(
        root / METADATA,
        METADATA_HEADER,
        metadata("aa-1", "10000032", "50414267", "PA"),
        metadata("aa-2", "10000032", "50414267", "LATERAL"),
        metadata("aa-3", "10000032", "53189527", ""),
        metadata("bb-1", "12000764", "58000000", "AP"),
        metadata("bb-2", "12000764", "58000001", "AP"),
        metadata("bb-3", "12000764", "58000002", "AP"),
        metadata("bb-4", "12000765", "58000000", "AP"),  # a study of another subject
        metadata("../../../../../bb", "12000764", "58000000", "AP"),
        metadata("/bb", "12000764", "58000000", "AP"),
    )
    write_table(
        root / LABELS,
        ",".join(["subject_id", "study_id", *MIMIC_ORDER]),
        mimic_labels("10000032", "50414267", Pneumothorax="0.0", Lung_Opacity="-1.0", Pleural_Effusion="1.0"),
        mimic_labels("10000032", "53189527"),
        mimic_labels("12000764", "58000000", No_Finding="1.0"),
        mimic_labels("12000764", "58000001", Edema="1.0"),
        mimic_labels("12000764", "58000002", No_Finding="1.0", Edema="1.0"),
    )
    write_table(
        root / SPLIT,
        "dicom_id,study_id,subject_id,split",
        "aa-1,50414267,10000032,train",
        "aa-2,50414267,10000032,train",
        "bb-2,58000001,12000764,validate",
    )
    for name in ("p10/p10000032/s50414267/aa-1", "p10/p10000032/s50414267/aa-2", "p12/p12000764/s58000000/bb-1"):
        write_picture(root / f"files/{name}.jpg")
    (root / "files/p10/p10000032/s50414267.txt").write_text("\n FINAL REPORT\n Small effusion.\n", encoding="utf-8")


def test_mimic_records(tmp_path: Path) -> None:
    write_mimic(tmp_path)
    source: DataSource = MimicCxrLabels(tmp_path)
    first, second = source.samples()
    assert first.image == tmp_path / "files/p10/p10000032/s50414267/aa-1.jpg"
    assert (first.dataset, first.image_id, first.patient_id) == ("MIMIC-CXR", "aa-1", "10000032")
    assert first.findings == {"pneumothorax": 0.0, "pleural effusion": 1.0}
    assert first.report == "FINAL REPORT\n Small effusion."
    assert first.split == "train"
    assert (second.image_id, second.report, second.split) == ("bb-1", None, "")
    assert second.findings == {finding_name(label): 0.0 for label in CHEXPERT_LABELS[1:-1]}
    assert source.dropped == {
        "not a frontal view": 2,
        "image missing": 1,
        "no finding and a finding": 1,
        "image of a study without labels": 1,
        "path outside the data set": 2,
    }
    assert list(source.samples()) == [first, second]
    assert source.dropped.total() == 7


@pytest.mark.parametrize("name", [METADATA, LABELS, SPLIT])
def test_mimic_needs_all_tables_unpacked(tmp_path: Path, name: str) -> None:
    write_mimic(tmp_path)
    (tmp_path / name).rename(tmp_path / f"{name}.gz")
    with pytest.raises(DatasetError, match=rf"MIMIC-CXR: {name}.gz in .* is packed; unpack it"):
        next(MimicCxrLabels(tmp_path).samples())
    (tmp_path / f"{name}.gz").unlink()
    with pytest.raises(DatasetError, match=rf"MIMIC-CXR: there is no {name} in"):
        next(MimicCxrLabels(tmp_path).samples())


@pytest.mark.parametrize(
    ("name", "column"), [(METADATA, "ViewPosition"), (LABELS, "Lung Lesion"), (SPLIT, "split"), (METADATA, "dicom_id")]
)
def test_mimic_needs_its_columns(tmp_path: Path, name: str, column: str) -> None:
    write_mimic(tmp_path)
    table = tmp_path / name
    table.write_text(table.read_text("utf-8").replace(column, "other", 1), encoding="utf-8")
    with pytest.raises(DatasetError, match=rf"{name} lacks the column '{column}'"):
        next(MimicCxrLabels(tmp_path).samples())


def test_mimic_errors(tmp_path: Path) -> None:
    write_mimic(tmp_path)
    with (tmp_path / SPLIT).open("a", encoding="utf-8") as table:
        table.write("aa-2,50414267,10000032,test\n")
    with pytest.raises(DatasetError, match=f"{SPLIT} has study 50414267 in two splits"):
        next(MimicCxrLabels(tmp_path).samples())
    (tmp_path / "files").rename(tmp_path / "other")
    with pytest.raises(DatasetError, match="MIMIC-CXR: there is no folder files in"):
        next(MimicCxrLabels(tmp_path).samples())


def test_mimic_streams(tmp_path: Path) -> None:
    write_mimic(tmp_path)
    source = MimicCxrLabels(tmp_path)
    records = source.samples()
    assert next(records).image_id == "aa-1"
    (tmp_path / "files/p12/p12000764/s58000000/bb-1.jpg").unlink()
    assert list(records) == []
    assert source.dropped["image missing"] == 2


def test_mimic_text_and_splits_of_another_making(tmp_path: Path) -> None:
    write_mimic(tmp_path)
    write_table(tmp_path / SPLIT, "dicom_id,study_id,subject_id,split", "aa-1,50414267.0,10000032.0,nan")
    first, _ = MimicCxrLabels(tmp_path).samples()
    assert (first.image_id, first.split) == ("aa-1", "")
    (tmp_path / "files/p10/p10000032/s50414267.txt").write_bytes("Ödem".encode("latin-1"))
    with pytest.raises(DatasetError, match=r"MIMIC-CXR: s50414267.txt, line 1 is no text in UTF-8 .*save it as UTF-8"):
        list(MimicCxrLabels(tmp_path).samples())
