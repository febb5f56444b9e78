"""Two paths on one image: where they come from, and scores that hold on one pair."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluate.tab import markup
from evaluate.tab.compare import FIRST_SEED, MOST_FIXATIONS, MOST_READERS, drawn_image, score_pair, uploaded_image
from gazevlm_core.datasets.phantom import TRAINING_SEEDS
from gazevlm_core.metrics.registry import path_metrics
from gazevlm_core.scanpath import Fixation, Scanpath

WALK = Scanpath(tuple(Fixation(0.1 + 0.2 * step, 0.3, 200.0 + step) for step in range(4)), "simulated")
OTHER = Scanpath(tuple(Fixation(0.9 - 0.2 * step, 0.8, 300.0) for step in range(4)), "simulated")


def test_a_path_against_itself_is_perfect_and_its_order_is_worth_something() -> None:
    rows = {row.name: row for row in score_pair(WALK, [WALK, OTHER], 0, (500, 400))}
    assert set(rows) == set(path_metrics())
    assert rows["sequence score"].score == 1
    assert rows["DTW distance"].score == 0
    for name in ("sequence score", "ScanMatch", "Levenshtein similarity", "DTW distance"):
        row = rows[name]
        assert row.order_gain > 0, name
        shuffled, backwards, *_ = row.floors
        for floor in (shuffled, backwards, row.others):
            assert (floor < row.score) is (row.better == "higher"), name
    assert rows["Jaccard"].order_gain == pytest.approx(0), "the places are the same"


def test_without_other_readers_there_is_no_ceiling() -> None:
    rows = score_pair(WALK, [OTHER], 0, (500, 400))
    assert all(math.isnan(row.others) for row in rows)
    table = markup.pair_scores(rows, "m", "<b>r</b>")
    assert "<td>-</td>" in table
    assert "&lt;b&gt;r" in table


def test_drawn_images_are_none_of_training() -> None:
    assert FIRST_SEED not in TRAINING_SEEDS
    looked = drawn_image(3.0, "B")
    assert looked.caption.startswith("Phantom 3 of domain B")
    assert len(looked.readers) == 6
    assert looked.image.mode == "RGB"
    again = drawn_image(3, "B")
    assert np.array_equal(np.asarray(looked.image), np.asarray(again.image))


@pytest.mark.parametrize(
    ("number", "domain"), [(-1, "A"), (1e9, "A"), (1.5, "A"), ("1", "A"), (True, "A"), (float("nan"), "A"), (1, "C")]
)
def test_numbers_that_stand_for_nothing(number: object, domain: str) -> None:
    with pytest.raises(ValueError, match="from 0 to"):
        drawn_image(number, domain)


def upload(folder: Path, *lines: dict) -> tuple[str, str]:
    Image.fromarray(np.full((60, 80), 90, np.uint8)).save(folder / "image.png")
    (folder / "paths.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return str(folder / "image.png"), str(folder / "paths.jsonl")


def test_uploaded_readings_are_told_apart(tmp_path: Path) -> None:
    line = {"image_id": "a", "x": [0.1, 0.2], "y": [0.3, 0.4]}
    files = upload(tmp_path, {**line, "reader": "r1"}, {**line, "reader": "r1"}, line, {**line, "x": [0.5, 1.5]})
    looked = uploaded_image(*files)
    assert list(looked.readers) == ["r1", "r1, reading 2", "reading 3", "reading 4"]
    assert looked.image.size == (80, 60)
    assert "1 fixations beside the image" in looked.caption


def test_of_many_readings_the_first_are_shown_and_it_is_said(tmp_path: Path) -> None:
    looked = uploaded_image(*upload(tmp_path, *[{"image_id": "a", "x": [0.1], "y": [0.3]}] * 20))
    assert len(looked.readers) == MOST_READERS
    assert looked.caption == "Uploaded image, 12 readings, the first of 20"


def test_uploads_that_cannot_be_compared(tmp_path: Path) -> None:
    line = {"image_id": "a", "x": [0.1], "y": [0.3]}
    image, paths = upload(tmp_path, line, {**line, "image_id": "b"})
    with pytest.raises(ValueError, match="scanpaths on 2 images; give the lines of this image alone"):
        uploaded_image(image, paths)
    for missing in ((image, None), (None, paths)):
        with pytest.raises(ValueError, match="Give both"):
            uploaded_image(*missing)
    image, paths = upload(tmp_path, {"image_id": "a", "x": [0.1] * 201, "y": [0.1] * 201})
    with pytest.raises(ValueError, match=f"more than the {MOST_FIXATIONS}"):
        uploaded_image(image, paths)
    for lines, message in (
        ({**line, "x": [0.1] * 3, "y": [0.1] * 3, "duration_ms": [1e9] * 3}, "lasts more than 120 s"),
        ({**line, "width_px": 60, "height_px": 80}, "60 x 80 px, which cannot be this one of 80 x 60 px"),
        ({**line, "x": [10**400]}, "a number is larger than 1e"),
    ):
        with pytest.raises(ValueError, match=message):
            uploaded_image(*upload(tmp_path, lines))
    uploaded_image(*upload(tmp_path, {**line, "width_px": 160, "height_px": 120}))  # the same one, twice as large
    Path(paths).write_text("[" * 100_000)
    with pytest.raises(ValueError, match="nested too deep"):
        uploaded_image(image, paths)
    colors = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(colors).save(tmp_path / "color.png")
    with pytest.raises(ValueError, match="colour picture"):
        uploaded_image(str(tmp_path / "color.png"), paths)
    Path(paths).write_text("not json")
    with pytest.raises(ValueError, match="no JSON"):
        uploaded_image(image, paths)
    Path(image).write_bytes(b"")
    Path(paths).write_text(json.dumps(line))
    with pytest.raises(ValueError, match=r"\w"):
        uploaded_image(image, paths)
