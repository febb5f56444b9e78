"""`gazevlm dataset inspect`: counts, labels, leaks and a sheet, of a folder of anything."""

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from cli.main import app
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
    assert sum(report["patients_by_split"].values()) == 5
    assert report["dropped"] == {"fixation off the image": 1, "no fixation on the image": 1}
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (4 * 246 + 6, 2 * 264 + 6)
        colors = {color for _, color in sheet.convert("RGB").getcolors(maxcolors=100_000)}
    assert (90, 0, 0) in colors, "an image that cannot be read is seen"


def test_table_and_limit(root: Path) -> None:
    lines = run("folder", root, "--limit", 2).splitlines()
    assert "records                                2" in lines
    assert any(line.startswith("edema ") for line in lines)
    assert lines[-1] == "dropped: fixation off the image 1, no fixation on the image 1"


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
        more = () if adapter.open_root else ("--images", root)
        if name != "folder":
            assert run(name, root, *more, code=1).startswith("gazevlm: ")
