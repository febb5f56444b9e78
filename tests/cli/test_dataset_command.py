"""`gazevlm dataset inspect`: counts, labels, leaks and a sheet, of a folder of anything."""

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from cli.main import app
from gazevlm_core.datasets.label_policies import CHEXPERT_LABELS
from gazevlm_core.datasets.registry import ADAPTERS


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "set"
    (folder / "images").mkdir(parents=True)
    for number in range(5):
        Image.new("L", (60, 40 + number), 100).save(folder / "images" / f"{number}.png")
    (folder / "images" / "broken.png").write_bytes(b"no picture")
    paths = [
        {"image_id": "0", "x": [0.2, 0.8], "y": [0.3, 0.6], "duration_ms": [100, 200]},
        {"image_id": "1", "x": [2], "y": [2]},
    ]
    studies = [
        {"image_id": "0", "patient_id": "p", "findings": {"edema": 1}, "report": "Edema.", "split": "train"},
        {"image_id": "1", "patient_id": "p", "findings": {"edema": 0}, "split": "test"},
    ]
    for name, rows in (("scanpaths", paths), ("studies", studies)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["dataset", "inspect", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.stderr


def test_counts_labels_leaks_and_sheet(root: Path, tmp_path: Path) -> None:
    report = json.loads(run("folder", root, "--json", "--sheet", tmp_path / "sheet.png"))
    assert (report["records"], report["images"], report["patients"], report["readings"]) == (6, 6, 5, 1)
    assert (report["fixations_per_reading"], report["mean_duration_ms"], report["reports"]) == (2.0, 150.0, 1)
    assert report["labels"] == {"edema": {"present": 1, "absent": 1, "unknown": 4}}
    assert report["patients_leaking_in_published_split"] == 1
    assert report["published_split"] == "the data's own split has 1 patient on several sides (p), so it is not used"
    assert (report["images_opened"], len(report["unreadable"])) == (6, 1)
    assert report["unreadable"][0].startswith("broken: ")
    assert report["readings_without_a_reader"] == 1
    assert sum(report["patients_by_split"].values()) == 5
    assert report["dropped"] == {"fixation off the image": 1, "no fixation on the image": 1}
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (4 * 244 + 4, 2 * 264 + 4)
        colors = {color for _, color in sheet.convert("RGB").getcolors(maxcolors=100_000)}
    assert (90, 0, 0) in colors, "an image that cannot be read is seen"


def test_table_and_limit(root: Path) -> None:
    lines = run("folder", root, "--limit", 2).splitlines()
    assert "records                                2" in lines
    assert any(line.startswith("edema ") for line in lines)
    assert lines[-1] == "dropped: fixation off the image 1, no fixation on the image 1"
    (said,) = [line for line in run("folder", root).splitlines() if line.startswith("  broken: ")]
    assert said
    assert "images that cannot be read: 1 of 6 that were opened" in run("folder", "--root", root)


def test_one_clear_error_each(root: Path, tmp_path: Path) -> None:
    (tmp_path / "empty" / "images").mkdir(parents=True)
    cases = [
        (("nothing", root), "there is no data set 'nothing'; choose one of: reflacx, "),
        (("folder", tmp_path / "missing"), "folder: there is nothing at "),
        (("folder", tmp_path), "holds neither images/ nor *.parquet"),
        (("folder", tmp_path / "empty"), "folder holds no record that can be used; dropped: nothing"),
        (("folder", root, "--images", root), "its images lie in its own folder"),
        (("reflacx", root), "reflacx: its images lie elsewhere; give their folder as well"),
        (("egd-cxr", root, "--images", root), "EGD-CXR: there is no master_sheet.csv in "),
        (("folder", root, "--sheet", tmp_path / "no" / "sheet.png"), "cannot write "),
    ]
    for arguments, words in cases:
        error = run(*arguments, code=1)
        assert words in error
        assert error.startswith("gazevlm: ")
        assert error.count("\n") == 1


def test_every_adapter_can_be_opened_by_name(root: Path) -> None:
    for name, adapter in ADAPTERS.items():
        more = ("--images", root) if adapter.images_apart else ()
        if name != "folder":
            assert run(name, root, *more, code=1).startswith("gazevlm: ")


def test_inspect_says_what_is_cut_and_which_names_are_strange(root: Path) -> None:
    path = {"image_id": "2", "x": [0.5] * 30, "y": [0.5] * 30}
    (root / "scanpaths.jsonl").write_text(json.dumps(path))
    (root / "studies.jsonl").write_text(json.dumps({"image_id": "2", "findings": {"Edema": 1, "fox": 0}}))
    report = json.loads(run("folder", root, "--json"))
    assert report["labels_unknown_to_the_embedded_model"] == ["fox"]
    assert report["gaze_tokens_for_95_percent_of_fixations"] == 29
    said = "6 of 30 fixations (20%) lie beyond the first 24 of their reading, in 1 of 1 readings, and are not taught"
    cut = report["fixations_beyond_the_embedded_model"]
    assert cut.startswith(f"at most {said}"), "all of them lie in one patch, and are one step to it"
    assert cut.endswith("fixations next to each other in one patch are one step to it")
    table = run("folder", root)
    assert said in table
    assert "names that the embedded model does not know: fox" in table


CHEXPERT_HEADER = ",".join(CHEXPERT_LABELS)
REFLACX_HEADER = "id,split,eye_tracking_data_discarded,image,dicom_id,subject_id,image_size_x,image_size_y"
MASTER_HEADER = "dicom_id,path,study_id,patient_id,image_left_pad,image_right_pad,image_top_pad,image_bottom_pad"
TABLES: dict[str, tuple[dict[str, list[str]], list[str]]] = {
    "nih": (
        {"Data_Entry_2017_v2020.csv": ["Image Index,Finding Labels,Patient ID", "a.png,Mass,1", "b.png,No Finding,2"]},
        ["a.png", "b.png"],
    ),
    "rsna": (
        {"stage_2_train_labels.csv": ["patientId,x,y,width,height,Target", "a,1,1,2,2,1", "a,5,5,2,2,1", "b,,,,,0"]},
        ["stage_2_train_images/a.dcm", "stage_2_train_images/b.dcm"],
    ),
    "siim": ({"train-rle.csv": ["ImageId,EncodedPixels", "1.2.3,-1"]}, ["dicom-images-train/*/*/1.2.3.dcm"]),
    "vinbig": (
        {"train.csv": ["image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max", "a,No finding,14,R1,,,,"]},
        ["train/a.dicom"],
    ),
    "chexpert": (
        {"train.csv": [
            f"Path,Frontal/Lateral,{CHEXPERT_HEADER}",
            f"CheXpert-v1.0/train/patient1/study1/view1_frontal.jpg,Frontal{',' * 14}",
            f"CheXpert-v1.0/train/patient1/study1/view2_lateral.jpg,Lateral{',' * 14}",
        ]},
        ["train/patient1/study1/view1_frontal.jpg"],
    ),
    "mimic-cxr": (
        {"mimic-cxr-2.0.0-metadata.csv": [
            "dicom_id,subject_id,study_id,ViewPosition", "aa,100.0,500.0,PA", "b,100,5,AP", "c,100,500,LATERAL"],
         "mimic-cxr-2.0.0-chexpert.csv": [f"subject_id,study_id,{CHEXPERT_HEADER}", f"100,500{',' * 14}"],
         "mimic-cxr-2.0.0-split.csv": ["dicom_id,subject_id,study_id,split"]},
        ["files/p10/p100/s500/aa.jpg"],
    ),
    "reflacx": (
        {f"main_data/metadata_phase_{n}.csv": [
            REFLACX_HEADER, f"P{n},train,{n == 2},files/p10/p1/s5/a{n}.dcm,a{n},1,9,9"] for n in (1, 2, 3)},
        ["files/p10/p1/s5/a1.jpg", "files/p10/p1/s5/a3.jpg"],
    ),
    "egd-cxr": (
        {"master_sheet.csv": [MASTER_HEADER, "a,files/p10/p1/s5/a.dcm,5,1,0,0,0,0"]}, ["files/p10/p1/s5/a.jpg"],
    ),
    "mimic-eye": (
        {"spreadsheets/cxr_meta.csv": [",dicom_id,subject_id,study_id", "0,a,100,s500", "1,b,100,500"]},
        ["patient_100/CXR-JPG/s500/a.jpg", "patient_100/CXR-JPG/s500/b.jpg"],
    ),
    "kermany": ({"labels.csv": ["file,patient_id,pneumonia", "a.jpg,1,0", "x/b.jpg,1,1"]}, ["a.jpg", "x/b.jpg"]),
    "siim-gaze": (
        {"scanpaths.json": ['[{"image_id": "1.2", "pneumothorax": 0, "x": [], "y": []}]']}, ["*/*/1.2.dcm"],
    ),
    "eyecrowd": (
        {"scanpaths.json": ['[{"image": "1.jpg", "viewer": 0, "x": [], "y": [], "ms": []}]']}, ["images/1.jpg"],
    ),
    "folder": (
        {"scanpaths.jsonl": ['{"image_id": "b", "x": [0.5], "y": [0.5]}', '{"image_id": "sub/a", "x": 0.5, "y": 0.5}'],
         "studies.jsonl": ['{"image_id": "sub\\\\a.png"}']},
        ["images/b", "images/sub/a.png"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_images_that_the_tables_ask_for_are_listed_without_being_there(tmp_path: Path, name: str) -> None:
    tables, wanted = TABLES[name]
    for file, rows in tables.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("\n".join(rows))
    result = CliRunner().invoke(app, ["dataset", "list-images", name, "--root", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == wanted


def test_images_of_a_json_file_are_listed_too(tmp_path: Path) -> None:
    entry = {"subject": 1, "task": "Edema", "condition": "present", "X": [], "Y": [], "T": [], "split": "train"}
    (tmp_path / "search.json").write_text(json.dumps([{**entry, "name": name} for name in ("b", "a.jpg", "b")]))
    result = CliRunner().invoke(app, ["dataset", "list-images", "gazesearch", str(tmp_path / "search.json")])
    assert result.stdout.splitlines() == ["b", "a.jpg"]
    assert set(TABLES) | {"gazesearch"} == set(ADAPTERS)


def test_the_folder_is_given_once(root: Path) -> None:
    for arguments in ((), (str(root), "--root", str(root))):
        result = CliRunner().invoke(app, ["dataset", "list-images", "folder", *arguments])
        assert result.exit_code == 1
        assert "give the data set's folder, once" in result.stderr
