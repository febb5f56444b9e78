"""Downloads: what they hold, and that their names tell nothing of the user's file."""

import csv
import json
from dataclasses import replace
from pathlib import Path

from PIL import Image

from diagnose.record import to_record
from diagnose.service import CSV_COLUMNS, write_downloads
from gazevlm_core.overlay import DOT
from tests.diagnose.samples import FOUND, UNTRAINED

IMAGE = Image.new("RGB", (400, 200))


def test_all_five_files_of_a_diagnosis(tmp_path: Path) -> None:
    record = to_record(FOUND, "Jane Doe.png", 1.5)
    paths = write_downloads(tmp_path, IMAGE, FOUND.scanpath, record)
    assert [path.name for path in paths] == [
        "gazevlm-overlay.png", "gazevlm-replay.webp", "gazevlm-replay.gif", "gazevlm.json", "gazevlm-fixations.csv",
    ]  # fmt: skip
    with Image.open(paths[0]) as overlay:
        assert overlay.size == IMAGE.size
        assert overlay.getpixel((50, 50)) == DOT
    for replay in paths[1:3]:
        with Image.open(replay) as frames:
            assert frames.n_frames == 3
    assert json.loads(paths[3].read_text()) == record
    with paths[4].open(newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows == [
        list(CSV_COLUMNS),
        ["1", "0.125", "0.25", "50.0", "50.0", "0", "0.5", "210.0"],
        ["2", "0.875", "0.75", "350.0", "150.0", "7", "0.25", ""],
    ]


def test_a_second_result_has_names_of_its_own(tmp_path: Path) -> None:
    record = to_record(FOUND, "a.png", 1.5)
    first = write_downloads(tmp_path, IMAGE, FOUND.scanpath, record)
    second = write_downloads(tmp_path, IMAGE, FOUND.scanpath, record, second=True)
    assert len({*first, *second}) == 10


def test_without_a_path_there_is_only_the_record(tmp_path: Path) -> None:
    paths = write_downloads(tmp_path, IMAGE, UNTRAINED.scanpath, to_record(UNTRAINED, "a.png", 1.0))
    assert [path.name for path in paths] == ["gazevlm.json"]
    assert sorted(tmp_path.iterdir()) == paths


def test_an_empty_answer_is_no_obstacle(tmp_path: Path) -> None:
    silent = replace(FOUND, answer="")
    assert len(write_downloads(tmp_path, IMAGE, silent.scanpath, to_record(silent, "a.png", 0.1))) == 5
