"""RSNA pneumonia: several rows per image, boxes of 1024 px, what is dropped, errors."""

from pathlib import Path

import pytest

from gazevlm_core.datasets.rsna import RsnaPneumonia
from gazevlm_core.datasets.source import DataSource
from gazevlm_core.sample import Box, DatasetError
from tests.datasets.label_tables import write_dicom, write_table

RSNA_HEADER = "patientId,x,y,width,height,Target"


def write_rsna(root: Path, *rows: str, images: str = "abcdefghi") -> None:
    write_table(root / "stage_2_train_labels.csv", RSNA_HEADER, *rows)
    (root / "stage_2_train_images").mkdir(exist_ok=True)
    for name in images:
        write_dicom(root / f"stage_2_train_images/{name}.dcm")


def test_rsna_records(tmp_path: Path) -> None:
    write_rsna(tmp_path, "a,256.0,512.0,128.0,64.0,1", "b,,,,,0", "a,-100.0,0.0,612.0,2048.0,1")
    source: DataSource = RsnaPneumonia(tmp_path)
    first, second = source.samples()
    assert (first.dataset, first.image_id, first.patient_id) == ("RSNA Pneumonia", "a", "a")
    assert first.image == tmp_path / "stage_2_train_images/a.dcm"
    assert first.findings == {"pneumonia": 1.0}
    assert first.boxes == (Box("pneumonia", 0.25, 0.5, 0.125, 0.0625), Box("pneumonia", 0.0, 0.0, 0.5, 1.0))
    assert (second.image_id, second.findings, second.boxes) == ("b", {"pneumonia": 0.0}, ())
    assert not source.dropped


def test_rsna_drops_what_contradicts_itself(tmp_path: Path) -> None:
    write_rsna(
        tmp_path,
        "a,1,1,9,9,0",  # 0 with a box
        "b,,,,,1",  # 1 without
        "c,1,1,9,9,1", "c,,,,,0",  # both
        "d,1,1,0,9,1",  # no area: the label stays
        "e,1024,1,9,9,1", "e,512,512,512,256,1",  # off the image, and a good one
        "f,1,one,9,9,1",
        "g,1,,9,9,1",
        "z,,,,,0",  # no such image
        "../a,,,,,0",
        "/a,,,,,0",
    )  # fmt: skip
    source = RsnaPneumonia(tmp_path)
    records = list(source.samples())
    assert [record.image_id for record in records] == ["d", "e", "f", "g"]
    assert all(record.findings == {"pneumonia": 1.0} for record in records)
    assert [record.boxes for record in records] == [(), (Box("pneumonia", 0.5, 0.5, 0.5, 0.25),), (), ()]
    assert source.dropped == {
        "Target 0 with a box": 1,
        "Target 1 without a box": 1,
        "Target both 0 and 1": 1,
        "box of no area": 1,
        "box off the image": 1,
        "box not numeric": 2,
        "image missing": 1,
        "path outside the data set": 2,
    }
    assert list(source.samples()) == records
    assert source.dropped.total() == 10


def test_rsna_errors(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"RSNA Pneumonia: there is no stage_2_train_labels.csv in"):
        next(RsnaPneumonia(tmp_path).samples())
    write_table(tmp_path / "stage_2_train_labels.csv", RSNA_HEADER, "a,,,,,0")
    with pytest.raises(DatasetError, match=r"RSNA Pneumonia: there is no folder stage_2_train_images in"):
        next(RsnaPneumonia(tmp_path).samples())
    write_rsna(tmp_path, "a,,,,,2")
    with pytest.raises(DatasetError, match=r"stage_2_train_labels.csv, a: Target is '2', expected 0 or 1"):
        next(RsnaPneumonia(tmp_path).samples())
    write_table(tmp_path / "stage_2_train_labels.csv", "patientId,x,y,width,height,class")
    with pytest.raises(DatasetError, match="lacks the column 'Target'"):
        next(RsnaPneumonia(tmp_path).samples())


def test_rsna_streams(tmp_path: Path) -> None:
    write_rsna(tmp_path, "a,,,,,0", "b,,,,,0", "c,,,,,0")
    source = RsnaPneumonia(tmp_path)
    records = source.samples()
    assert next(records).image_id == "a"
    (tmp_path / "stage_2_train_images/b.dcm").unlink()
    assert [record.image_id for record in records] == ["c"]
    assert source.dropped == {"image missing": 1}


@pytest.mark.parametrize("nothing", ["nan", "NA", ""])
def test_rsna_of_a_table_that_was_written_anew(tmp_path: Path, nothing: str) -> None:
    write_rsna(tmp_path, "a,1.0,1.0,9.0,9.0,1.0", f"b,{nothing},{nothing},{nothing},{nothing},0.0")
    source = RsnaPneumonia(tmp_path)
    assert [record.findings["pneumonia"] for record in source.samples()] == [1.0, 0.0]
    assert not source.dropped
