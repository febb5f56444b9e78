"""CheXpert: both editions and both roots, policies, views, what is dropped, errors."""

from pathlib import Path

import pytest

from gazevlm_core.datasets.chexpert import CheXpert
from gazevlm_core.datasets.label_policies import CHEXPERT_LABELS, finding_name
from gazevlm_core.datasets.source import DataSource
from gazevlm_core.sample import DatasetError
from tests.datasets.label_tables import chexpert_row, write_picture, write_table

CHEXPERT_HEADER = "Path,Sex,Age,Frontal/Lateral,AP/PA," + ",".join(CHEXPERT_LABELS)


def labels(**values: str) -> str:
    return ",".join(chexpert_row(**values).values())


def write_chexpert(folder: Path, prefix: str = "CheXpert-v1.0-small") -> None:
    front, side = "train/patient00001/study1/view1_frontal.jpg", "train/patient00001/study1/view2_lateral.jpg"
    write_table(
        folder / "train.csv",
        CHEXPERT_HEADER,
        f"{prefix}/{front},Female,68,Frontal,AP,{labels(Edema='1.0', Pleural_Effusion='-1.0')}",
        f"{prefix}/{side},Female,68,Lateral,,{labels(Edema='1.0')}",
        f"{prefix}/train/patient00002/study3/view1_frontal.jpg,Male,9,Frontal,PA,{labels(No_Finding='1.0')}",
        f"{prefix}/train/patient00003/study1/view1_frontal.jpg,Male,9,Frontal,PA,{labels()}",
        f"{prefix}/../../etc/x.jpg,Male,9,Frontal,PA,{labels()}",
        f"/{prefix}/train/patient00004/study1/x.jpg,Male,9,Frontal,PA,{labels()}",
        f"elsewhere/train/patient00004/study1/x.jpg,Male,9,Frontal,PA,{labels()}",
        f"{prefix}/train/patient00005/study1/x.jpg,Male,9,Frontal,PA,{labels(No_Finding='1', Edema='1')}",
    )
    for name in (front, side, "train/patient00002/study3/view1_frontal.jpg"):
        write_picture(folder / name)


@pytest.mark.parametrize("prefix", ["CheXpert-v1.0-small", "CheXpert-v1.0"])
@pytest.mark.parametrize("above", [True, False])
def test_chexpert_from_its_folder_or_the_one_above(tmp_path: Path, prefix: str, above: bool) -> None:
    folder = tmp_path / prefix if above else tmp_path / "renamed"
    write_chexpert(folder, prefix)
    source: DataSource = CheXpert(tmp_path if above else folder)
    first, second = source.samples()
    assert first.dataset == "CheXpert"
    assert first.image_id == "train/patient00001/study1/view1_frontal.jpg"
    assert first.image == folder / first.image_id
    assert (first.patient_id, first.split) == ("patient00001", "train")
    assert first.findings == {"edema": 1.0}
    assert second.patient_id == "patient00002"
    assert second.findings == {finding_name(label): 0.0 for label in CHEXPERT_LABELS[1:-1]}
    assert source.dropped == {
        "not a frontal view": 1,
        "image missing": 1,
        "path outside the data set": 3,
        "no finding and a finding": 1,
    }
    assert list(source.samples()) == [first, second]
    assert source.dropped.total() == 6  # counted anew


def test_chexpert_other_table(tmp_path: Path) -> None:
    row = f"CheXpert-v1.0/valid/patient64541/study1/view1_frontal.jpg,F,1,Frontal,AP,{labels(Edema='0.0')}"
    write_table(tmp_path / "CheXpert-v1.0/valid.csv", CHEXPERT_HEADER, row)
    write_picture(tmp_path / "CheXpert-v1.0/valid/patient64541/study1/view1_frontal.jpg")
    (record,) = CheXpert(tmp_path, "valid.csv").samples()
    assert (record.split, record.findings) == ("valid", {"edema": 0.0})


def test_chexpert_errors(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"CheXpert: there is no train.csv in .*give the folder"):
        next(CheXpert(tmp_path).samples())
    row = f"CheXpert-v1.0/train/patient1/a.jpg,F,1,Frontal,AP,{labels()}"
    write_table(tmp_path / "train.csv", CHEXPERT_HEADER, row)
    with pytest.raises(DatasetError, match=r"CheXpert: there is no folder train in .*expected the images there"):
        next(CheXpert(tmp_path).samples())
    (tmp_path / "train").mkdir()
    assert list(CheXpert(tmp_path).samples()) == []
    write_table(tmp_path / "train.csv", CHEXPERT_HEADER, f"CheXpert-v1.0/train/a.jpg,F,1,Frontal,AP,{labels()}")
    with pytest.raises(DatasetError, match=r"train.csv, train/a.jpg: expected a folder patientNNNNN"):
        next(CheXpert(tmp_path).samples())
    write_table(tmp_path / "train.csv", CHEXPERT_HEADER.replace("Fracture", "Break"))
    with pytest.raises(DatasetError, match=r"train.csv lacks the column 'Fracture'"):
        next(CheXpert(tmp_path).samples())


def test_chexpert_streams(tmp_path: Path) -> None:
    write_chexpert(tmp_path)
    with (tmp_path / "train.csv").open("a", encoding="utf-8") as table:
        table.write("a row of another length\n")
    records = CheXpert(tmp_path).samples()
    assert next(records).patient_id == "patient00001"
    (tmp_path / "train/patient00002/study3/view1_frontal.jpg").unlink()
    with pytest.raises(DatasetError, match="has 1 values for 19 columns"):
        next(records)
