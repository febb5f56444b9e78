"""NIH ChestX-ray14: headers that split at their commas, boxes, published splits, what is dropped, errors."""

from pathlib import Path

import pytest

from gazevlm_core.datasets.nih import LABELS, NihChestXray14
from gazevlm_core.datasets.source import DataSource
from gazevlm_core.sample import Box, DatasetError
from tests.datasets.label_tables import write_picture, write_table

NIH_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
)
NIH_BOX_HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"


def entry(image: str, findings: str, patient: str = "1") -> str:
    return f"{image},{findings},0,{patient},58,M,PA,2682,2749,0.143,0.143,"


def write_nih(root: Path) -> None:
    write_table(
        root / "Data_Entry_2017.csv",
        NIH_HEADER,
        entry("00000001_000.png", "Effusion|Infiltration|Pleural_Thickening"),
        entry("00000002_000.png", "No Finding", "2"),
        entry("00000002_001.png", "No Finding|Mass", "2"),
        entry("00000003_000.png", "Hernia", "3"),
        entry("../00000001_000.png", "Hernia", "3"),
    )
    write_table(
        root / "BBox_List_2017.csv",
        NIH_BOX_HEADER,
        "00000001_000.png,Infiltrate,256,512,128,64,,,",
        "00000001_000.png,Effusion,-256,0,512,2048,,,",
        "00000001_000.png,Mass,1,1,9,9,,,",
        "00000001_000.png,Effusion,1,1,0,9,,,",
        "00000001_000.png,Effusion,1024,1,9,9,,,",
        "00000001_000.png,Effusion,one,1,9,9,,,",
        "00000099_000.png,Nodule,1,1,9,9,,,",
    )
    for name in ("00000001_000.png", "00000002_001.png"):
        write_picture(root / "images_001/images" / name)
    write_picture(root / "images_002/images/00000002_000.png")


def test_nih_records(tmp_path: Path) -> None:
    write_nih(tmp_path)
    source: DataSource = NihChestXray14(tmp_path)
    first, second = source.samples()
    assert (first.dataset, first.image_id, first.patient_id) == ("NIH ChestX-ray14", "00000001_000.png", "1")
    assert first.image == tmp_path / "images_001/images/00000001_000.png"
    present = {"pleural effusion", "infiltration", "pleural thickening"}
    assert {name for name, value in first.findings.items() if value == 1.0} == present
    assert len(first.findings) == len(second.findings) == 14
    assert first.boxes == (
        Box("infiltration", 0.25, 0.5, 0.125, 0.0625),
        Box("pleural effusion", 0.0, 0.0, 0.25, 1.0),
    )
    assert second.image == tmp_path / "images_002/images/00000002_000.png"
    assert set(second.findings.values()) == {0.0}
    assert (first.split, second.split) == ("", "")
    assert source.dropped == {
        "no finding and a finding": 1,
        "image missing": 1,
        "path outside the data set": 1,
        "box of a finding that the image lacks": 1,
        "box of no area": 1,
        "box off the image": 1,
        "box not numeric": 1,
        "box of an image that is not in the table": 1,
    }
    assert list(source.samples()) == [first, second]
    assert source.dropped.total() == 8


def test_nih_published_split_and_one_folder(tmp_path: Path) -> None:
    write_nih(tmp_path)
    (tmp_path / "train_val_list.txt").write_text("00000002_000.png\n", encoding="utf-8")
    (tmp_path / "test_list.txt").write_text("00000001_000.png", encoding="utf-8")
    write_picture(tmp_path / "images/00000003_000.png")
    records = list(NihChestXray14(tmp_path).samples())
    assert [record.split for record in records] == ["test", "train_val", ""]
    assert records[2].image == tmp_path / "images/00000003_000.png"
    (tmp_path / "test_list.txt").write_text("00000002_000.png\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"00000002_000.png is in train_val_list.txt and in test_list.txt"):
        next(NihChestXray14(tmp_path).samples())


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([entry("a.png", "Broken Rib")], "Data_Entry_2017.csv, a.png: 'Broken Rib' is none of the labels Atelectasis"),
        ([entry("a.png", "")], "'' is none of the labels"),
        ([entry("a.png", "Mass", " ")], "a.png: Patient ID is blank"),
        ([entry("a.png", "Mass") + ",x"], "line 2 has 13 values for 12 columns"),
    ],
)
def test_nih_broken_rows(tmp_path: Path, rows: list[str], message: str) -> None:
    write_nih(tmp_path)
    write_table(tmp_path / "Data_Entry_2017.csv", NIH_HEADER, *rows)
    with pytest.raises(DatasetError, match=message):
        list(NihChestXray14(tmp_path).samples())


def test_nih_errors(tmp_path: Path) -> None:
    write_nih(tmp_path)
    write_table(tmp_path / "BBox_List_2017.csv", NIH_BOX_HEADER, "a.png,Rib,1,1,9,9,,,")
    with pytest.raises(DatasetError, match=r"BBox_List_2017.csv, a.png: 'Rib' is none of the labels"):
        next(NihChestXray14(tmp_path).samples())
    write_table(tmp_path / "BBox_List_2017.csv", "Image Index,Finding Label,x,y,w,h")
    with pytest.raises(DatasetError, match=r"BBox_List_2017.csv has no columns Image Index, Finding Label and Bbox"):
        next(NihChestXray14(tmp_path).samples())
    (tmp_path / "BBox_List_2017.csv").unlink()
    with pytest.raises(DatasetError, match=r"there is no BBox_List_2017.csv in"):
        next(NihChestXray14(tmp_path).samples())
    for name in ("images_001", "images_002"):
        (tmp_path / name).rename(tmp_path / f"other_{name}")
    with pytest.raises(DatasetError, match=r"there is no folder images_\*/images or images in"):
        next(NihChestXray14(tmp_path).samples())
    (tmp_path / "Data_Entry_2017.csv").unlink()
    with pytest.raises(DatasetError, match=r"ray14: there is no Data_Entry_2017_v2020.csv or Data_Entry_2017.csv in"):
        next(NihChestXray14(tmp_path).samples())


def test_nih_streams(tmp_path: Path) -> None:
    write_nih(tmp_path)
    source = NihChestXray14(tmp_path)
    records = source.samples()
    assert next(records).image_id == "00000001_000.png"
    (tmp_path / "images_002/images/00000002_000.png").unlink()
    assert list(records) == []
    assert source.dropped["image missing"] == 2


@pytest.mark.parametrize(
    "header", [NIH_BOX_HEADER, 'Image Index,Finding Label,"Bbox [x,y,w,h]",,,', NIH_BOX_HEADER[:-3]]
)
@pytest.mark.parametrize("ends", ["", ",,,"])
def test_the_newer_table_and_other_headers_of_boxes_are_read(tmp_path: Path, header: str, ends: str) -> None:
    write_table(tmp_path / "Data_Entry_2017_v2020.csv", NIH_HEADER, entry("a.png", "Mass").removesuffix(","))
    write_table(tmp_path / "BBox_List_2017.csv", header, f"a.png,Mass,256,512,128,64{ends}")
    write_picture(tmp_path / "images" / "a.png")
    (record,) = NihChestXray14(tmp_path).samples()
    assert record.boxes == (Box("mass", 0.25, 0.5, 0.125, 0.0625),)
    write_table(tmp_path / "Data_Entry_2017.csv", NIH_HEADER, entry("gone.png", "Mass"))
    assert [one.image_id for one in NihChestXray14(tmp_path).samples()] == ["a.png"], "the newer one counts"


@pytest.mark.parametrize("patient", [" 7", "7.0", "7"])
def test_a_patient_of_nih_is_one_however_it_is_written(tmp_path: Path, patient: str) -> None:
    write_nih(tmp_path)
    write_table(tmp_path / "Data_Entry_2017.csv", NIH_HEADER, entry(" 00000001_000.png ", "Mass", patient))
    (record,) = NihChestXray14(tmp_path).samples()
    assert (record.image_id, record.patient_id) == ("00000001_000.png", "7")


def test_two_rows_of_one_image_are_named(tmp_path: Path) -> None:
    write_nih(tmp_path)
    write_table(tmp_path / "Data_Entry_2017.csv", NIH_HEADER, *[entry("00000001_000.png", "Mass")] * 2)
    with pytest.raises(DatasetError, match=r"Data_Entry_2017.csv has two rows of 00000001_000.png; keep one"):
        list(NihChestXray14(tmp_path).samples())


def test_a_part_of_nih_with_tables_of_its_own(tmp_path: Path) -> None:
    header = ",".join(("file", "source_name", "patient_id", "view", *LABELS))
    none = ["0"] * len(LABELS)
    edema = [str(int(label == "Edema")) for label in LABELS]
    write_table(
        tmp_path / "labels.csv", header,
        ",".join(["images/a.jpg", "a.png", "7", "AP", *edema]), ",".join(["images/b.jpg", "b.png", "8", "PA", *none]),
    )  # fmt: skip
    (tmp_path / "images").mkdir()
    write_picture(tmp_path / "images/a.jpg")
    source = NihChestXray14(tmp_path)
    (record,) = source.samples()
    assert (record.image_id, record.patient_id, record.view) == ("a.png", "7", "AP")
    assert {name for name, value in record.findings.items() if value} == {"edema"}
    assert source.dropped == {"image missing": 1}
    assert list(source.image_files()) == ["images/a.jpg", "images/b.jpg"]
    write_table(tmp_path / "boxes.csv", "image,finding,x,y,w,h", "a.png,Edema,256,512,128,64", "a.png,Mass,1,1,9,9")
    (record,) = source.samples()
    assert record.boxes == (Box("edema", 0.25, 0.5, 0.125, 0.0625),)
    assert source.dropped["box of a finding that the image lacks"] == 1
