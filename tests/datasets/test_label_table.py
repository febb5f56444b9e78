"""Anybody's table of labels: columns by any name and order, images by any path, and what is wrong is named."""

from pathlib import Path

import pytest
from PIL import Image

from gazevlm_core.datasets.folder import GazeFolder
from gazevlm_core.datasets.label_table import NamedFiles, view_name
from gazevlm_core.evaluation.dataset import NO_PATIENTS, SplitDataset
from gazevlm_core.sample import DatasetError, Sample


def folder(root: Path, table: str, *images: str, name: str = "labels.csv") -> GazeFolder:
    """A folder with a table, and black images."""
    for image in images:
        path = root / image
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(path)
    (root / name).write_bytes(table.encode())
    return GazeFolder(root)


def read(source: GazeFolder) -> dict[str, Sample]:
    return {sample.image_id: sample for sample in source.samples()}


def test_a_table_beside_images(tmp_path: Path) -> None:
    source = folder(
        tmp_path,
        "file,patient_id,view,age,Effusion,Foreign_Body,note\n"
        "images/a.png,7,AP,60,1,0,x\n"
        "images/b.png,7.0,pa,61,,1,\n"
        "images/gone.png,8,AP,1,0,0,\n",
        "images/a.png", "images/b.png", "images/c.png",
    )  # fmt: skip
    found = read(source)
    assert set(found) == {"a", "b"}
    assert found["a"].findings == {"pleural effusion": 1.0, "Foreign_Body": 0.0}
    assert found["b"].findings == {"Foreign_Body": 1.0}
    assert [found[name].patient_id for name in "ab"] == ["7", "7"]
    assert [found[name].view for name in "ab"] == ["AP", "PA"]
    assert source.dropped == {"image missing": 1, "image that no file speaks of": 1}
    assert source.not_read == {"age": "no finding", "note": "holds other values than 0 and 1, first in line 2"}
    assert source.zero_shot


@pytest.mark.parametrize(
    "table",
    [
        "\ufeffedema,IMAGE ID,Subject ID\n1,x/one,5\n0,two,6\n",
        "Patient;Edema;Path\r\n5;1.0;X\\ONE.PNG\r\n6;0;./TWO\r\n",
        "path\tedema\tpid\tfracture\n/home/me/set/x/one.png\tTrue\t5\t-1\ntwo.jpeg\tfalse\t6\tNA\n",
        "picture,edema,patient\nx/one.png,1,5\ntwo.png,0,6\n\n",
        "id,name,edema,patient,image file\n101,A,1,5,one\n102,B,0,6,two.png\n",
    ],
)
def test_columns_and_paths_are_found_however_they_are_written(tmp_path: Path, table: str) -> None:
    found = read(folder(tmp_path, table, "x/one.png", "two.jpeg" if "two.jpeg" in table else "two.png"))
    assert {name: one.findings for name, one in found.items()} == {"x/one": {"edema": 1.0}, "two": {"edema": 0.0}}
    assert [found[name].patient_id for name in ("x/one", "two")] == ["5", "6"]


def test_repeated_rows_and_labels_that_disagree(tmp_path: Path) -> None:
    source = folder(
        tmp_path, "image,patient,edema,fracture,Effusion,Pleural Effusion\na,1,1,0,1,0\na.png,1,1,1,,\nb,,0,,0,0\n",
        "a.png", "b.png",
    )  # fmt: skip
    found = read(source)
    assert found["a"].findings == {"edema": 1.0}
    assert found["b"].findings == {"edema": 0.0, "pleural effusion": 0.0}
    assert source.dropped == {
        "repeated row of labels.csv": 1, "label that labels.csv gives twice, as 0 and as 1": 2,
    }  # fmt: skip


def test_normal_makes_all_findings_absent_and_a_split_is_honoured(tmp_path: Path) -> None:
    source = folder(tmp_path, "file,Normal,edema,split\na,1,,train\nb,0,1,test\n", "a.png", "b.png", name="Labels.CSV")
    found = read(source)
    assert found["a"].findings == {"edema": 0.0}
    assert (found["a"].split, found["b"].split) == ("train", "test")
    assert not source.zero_shot


def test_studies_count_where_both_speak(tmp_path: Path) -> None:
    (tmp_path / "studies.jsonl").write_text('{"image_id": "a", "patient_id": "p", "findings": {"edema": 0}}\n')
    source = folder(tmp_path, "image,patient,edema,fracture\na,q,1,1\n", "images/a.png")
    (sample,) = source.samples()
    assert (sample.patient_id, sample.findings) == ("p", {"edema": 0.0, "fracture": 1.0})
    assert list(source.image_files()) == ["images/a"]


NUMBERED = tuple(f"{number}.png" for number in range(6))


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("edema,number,patient", "{label},{image},p{image}"),  # 0 and 1 are images, too
        ("patient,scan,edema", "{half},{image},{label}"),  # so are the patients
        ("id,scan,edema,pid", "{row},{image}.png,{label},p{image}"),  # so is every row
        ("name,id,edema,file", "{row},{half},{label},{image}"),
    ],
)
def test_a_number_that_is_an_image_by_accident_takes_no_image_from_another(
    tmp_path: Path, header: str, row: str
) -> None:
    rows = [row.format(row=one, image=5 - one, label=int(one > 2), half=one // 2) for one in range(6)]
    found = read(folder(tmp_path, "\n".join([header, *rows]), *NUMBERED))
    assert {name: one.findings["edema"] for name, one in found.items()} == {
        str(5 - one): float(one > 2) for one in range(6)
    }


def test_images_are_found_where_the_first_rows_are_about_others(tmp_path: Path) -> None:
    rows = [f"m{number},1" for number in range(300)] + ["0.png,1", "1.png,0"]
    source = folder(tmp_path, "\n".join(["picture,edema", *rows]), *NUMBERED)
    assert {name: one.findings for name, one in read(source).items()} == {"0": {"edema": 1.0}, "1": {"edema": 0.0}}
    assert source.dropped["image missing"] == 300


@pytest.mark.parametrize(
    "table",
    [
        "file;edema;fracture\n0;1,0;0,0\n1;0,0;-1,0\n", "file,edema,fracture\n0,1.00,0.000\n1,0.00,-1.00\n",
        "sep=;\nfile;edema;fracture\n0;1;0\n1;0;\n", '"sep=\t"\nfile\tedema\tfracture\n0\t1\t0\n1\t0\t\n',
        ",,\n,,\nfile,edema,fracture\n0,1,0\n1,0,\n",
    ],
)  # fmt: skip
def test_tables_as_spreadsheets_write_them(tmp_path: Path, table: str) -> None:
    source = folder(tmp_path, table, "0.png", "1.png")
    found = read(source)
    assert (found["0"].findings, found["1"].findings) == ({"edema": 1.0, "fracture": 0.0}, {"edema": 0.0})
    assert not source.not_read


def test_a_normal_image_keeps_its_labels_beside_a_column_that_is_no_finding(tmp_path: Path) -> None:
    source = folder(
        tmp_path, "file,No Finding,edema,male,Lung_Nodule\n0,1,0,1,0\n1,1,,0,\n2,0,1,1,1\n3,1,1,1,0\n4,1,0,1,1\n",
        *NUMBERED[:5],
    )  # fmt: skip
    found = {name: one.findings for name, one in read(source).items()}
    assert found == {
        "0": {"edema": 0.0, "male": 1.0, "Lung_Nodule": 0.0}, "1": {"edema": 0.0, "male": 0.0, "Lung_Nodule": 0.0},
        "2": {"edema": 1.0, "male": 1.0, "Lung_Nodule": 1.0}, "3": {}, "4": {},
    }  # fmt: skip
    assert source.dropped["no finding and a finding"] == 2


def test_whether_any_patient_is_named_is_known(tmp_path: Path) -> None:
    for table, named in (("file,edema\n0,1\n1,0\n", False), ("file,edema,pid\n0,1,\n1,0,7\n", True)):
        source = folder(tmp_path, table, "0.png", "1.png")
        splits = SplitDataset(lambda source=source: source)
        assert (source.names_patients, splits.note == NO_PATIENTS) == (named, not named)


def test_a_split_that_names_no_side_is_none(tmp_path: Path) -> None:
    source = folder(tmp_path, "file,edema,Set\n0,1,a\n1,0,b\n", "0.png", "1.png")
    list(source.samples())
    assert source.zero_shot


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("a,b\n1,0\n", "no column that names the images, such as file or image_id; it has 'a', 'b'"),
        ("", "no column that names the images"),
        ("file,edema,edema\na,1,0\n", "two columns called 'edema'; rename one"),
        ("file,patient,edema\na,1,0\na,2,0\n", "lines 2 and 3 give a to two patients; keep one"),
        ("file,edema\nd,1\n", "line 2: 'd' may be x/d.png or y/d.png; give its folder and ending"),
        ("file,edema\n", "no row below its header"),
        ("file,edema\nq,1\n", "none of its images is in .*; the first is 'q'"),
        ("file,edema\na,1,2,3\n", "line 2 has 4 values for 2 columns"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, table: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        list(folder(tmp_path, table, "a.png", "x/d.png", "y/d.png").samples())


def test_a_file_is_never_taken_for_that_of_another_folder() -> None:
    files = NamedFiles(["train/a.png", "test/b.png", "c.png"])
    assert files.find("set/train/a.png") == files.find("A") == files.find("a.jpg") == "train/a.png"
    assert files.find("test/a.png") is None
    assert files.find("other/b.png") is None
    assert files.find("other/c.png") == "c.png"


@pytest.mark.parametrize(
    ("text", "view"),
    [("ap", "AP"), ("AP portable", "AP"), ("Posteroanterior", "PA"), ("LL", "lateral"), ("Lateral", "lateral"),
     ("NaN", ""), ("", ""), ("apical", "APICAL")],
)  # fmt: skip
def test_views_by_their_usual_words(text: str, view: str) -> None:
    assert view_name(text) == view
