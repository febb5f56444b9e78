"""Downloads: what they hold, and what they are called."""

import csv
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from diagnose.record import VERDICT, to_record
from diagnose.service import (
    CSV_COLUMNS,
    FIGURE_PX,
    TALLEST_PX,
    draw_figure,
    fixation_rows,
    write_downloads,
    zip_files,
    zip_name,
)
from gazevlm_core.overlay import DOT
from gazevlm_core.words import LENGTH_NOTE
from tests.diagnose.samples import FOUND, UNTRAINED

IMAGE = Image.new("RGB", (400, 200))


def test_all_files_of_a_diagnosis(tmp_path: Path) -> None:
    record = to_record(FOUND, "Jane Doe.png", 1.5)
    paths = write_downloads(tmp_path, IMAGE, FOUND.scanpath, record)
    assert [path.name for path in paths] == [
        "gazevlm-overlay.png", "gazevlm-replay.webp", "gazevlm-replay.gif", "gazevlm-replay.mp4", "gazevlm.json",
        "gazevlm-fixations.csv", "gazevlm-figure.png",
    ]  # fmt: skip
    with Image.open(paths[0]) as overlay:
        assert overlay.size == IMAGE.size
        assert overlay.getpixel((50, 50)) == DOT
    for replay in paths[1:3]:
        with Image.open(replay) as frames:
            assert frames.n_frames == 3
    assert json.loads(paths[4].read_text()) == record
    with paths[5].open(newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows == [
        list(CSV_COLUMNS),
        ["1", "0.125", "0.25", "50.0", "50.0", "0", "0.5", "210.0"],
        ["2", "0.875", "0.75", "350.0", "150.0", "7", "0.25", ""],
    ]


def test_a_place_at_the_edge_is_on_the_image() -> None:
    """As far as a fixation can be dragged on the page."""
    fixation = {**to_record(FOUND, "a.png", 1.5)["scanpath"][0], "x": 1 - 1e-6, "y": 1 - 1e-6}  # type: ignore[index]
    record = {**to_record(FOUND, "a.png", 1.5), "scanpath": [fixation]}
    ((_, _, _, x_px, y_px, *_),) = fixation_rows(record, (2000, 1000))  # type: ignore[arg-type]
    assert (x_px, y_px) == (1999.99, 999.99)


def test_a_second_result_has_names_of_its_own(tmp_path: Path) -> None:
    record = to_record(FOUND, "a.png", 1.5)
    first = write_downloads(tmp_path, IMAGE, FOUND.scanpath, record)
    second = write_downloads(tmp_path, IMAGE, FOUND.scanpath, record, second=True)
    assert len({*first, *second}) == 14


def test_without_a_path_there_is_only_the_record(tmp_path: Path) -> None:
    paths = write_downloads(tmp_path, IMAGE, UNTRAINED.scanpath, to_record(UNTRAINED, "a.png", 1.0))
    assert [path.name for path in paths] == ["gazevlm.json"]
    assert sorted(tmp_path.iterdir()) == paths


def test_a_strip_makes_no_endless_figure() -> None:
    figure = draw_figure(Image.new("L", (20, 2000)), FOUND.scanpath, to_record(FOUND, "a.png", 1.5))
    assert figure.width == FIGURE_PX
    assert TALLEST_PX < figure.height < 2 * TALLEST_PX


def test_an_empty_answer_is_no_obstacle(tmp_path: Path) -> None:
    silent = replace(FOUND, answer="")
    assert len(write_downloads(tmp_path, IMAGE, silent.scanpath, to_record(silent, "a.png", 0.1))) == 7


def test_a_record_says_how_to_get_it_again(tmp_path: Path) -> None:
    how = {"question": "What?", "path_seed": 7}
    paths = write_downloads(tmp_path, IMAGE, FOUND.scanpath, to_record(FOUND, "a.png", 1.0), how=how)
    assert json.loads(paths[4].read_text())["how"] == how


def test_a_figure_is_the_image_above_its_caption() -> None:
    assert FOUND.scanpath is not None
    figure = draw_figure(IMAGE, FOUND.scanpath, to_record(FOUND, "a.png", 1.0))
    assert figure.width == FIGURE_PX
    caption = figure.crop((0, FIGURE_PX // 2, FIGURE_PX, figure.height))
    assert caption.getextrema() == ((0, 255),) * 3, "black on white"


def test_the_text_of_a_figure_begins_with_the_verdict_and_has_the_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    wrapped: list[str] = []
    monkeypatch.setattr("diagnose.service.textwrap.wrap", lambda text, _: wrapped.append(text) or [text])
    told = replace(FOUND, question="What?", notes=(LENGTH_NOTE,))
    for score, first in ((1.0, "What?"), (None, "What?"), (1.5, VERDICT)):
        wrapped.clear()
        draw_figure(IMAGE, FOUND.scanpath, to_record(replace(told, ood_score=score), "a.png", 1.0))
        assert wrapped[0] == first
        assert wrapped[wrapped.index("What?") :][:3] == ["What?", FOUND.answer, LENGTH_NOTE]


@pytest.mark.parametrize(
    ("image", "name"),
    [("Jane Doe.png", "gazevlm-Jane-Doe.zip"), ("../../x.dcm", "gazevlm-x.zip"), ("\u00e9.png", "gazevlm-image.zip"),
     ("example: edema, severe", "gazevlm-example-edema-severe.zip"), ("a" * 300 + ".png", f"gazevlm-{'a' * 60}.zip")],
)  # fmt: skip
def test_an_archive_is_named_after_the_image(tmp_path: Path, image: str, name: str) -> None:
    assert zip_name(image) == name
    one = tmp_path / "one.json"
    one.write_text("{}")
    with zipfile.ZipFile(zip_files([one], tmp_path / name)) as archive:
        assert archive.namelist() == ["one.json"]
