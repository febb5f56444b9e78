"""A model's path beside a reader's on one image: cases, scores with their floors, and what the viewer gets."""

import json
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evaluate.tab.overlay import LARGEST_NUMBER, Case, CaseError, OverlayState, drawn_case, remark_on, uploaded_case
from gazevlm_core.datasets.splits import SplitRule
from gazevlm_core.datasets.trained_on import TrainedOn
from gazevlm_core.evaluation.comparison import compare_paths
from gazevlm_core.evaluation.floors import CENTRE, PAIR_FLOORS, REVERSED, SHUFFLED, UNIFORM
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.images import ImageError
from gazevlm_core.metrics.registry import path_metrics
from gazevlm_core.records import Diagnosis
from gazevlm_core.sample import DatasetError, pixel_digest
from gazevlm_core.scanpath import Fixation, Scanpath
from phantoms.readers import READERS
from web.models import predict_path
from web.viewer.payload import ViewerPayload

GRID = PatchGrid(8, 8)
SIZE = (640.0, 480.0)
PLACES = ((0.1, 0.1), (0.9, 0.2), (0.2, 0.8), (0.8, 0.9), (0.55, 0.3))


def scanpath(*places: tuple[float, float], ms: float | None = 200.0) -> Scanpath:
    return Scanpath(tuple(Fixation(x, y, ms) for x, y in places or PLACES), "eyetracker")


def image_file(folder: Path, name: str = "chest.png", size: tuple[int, int] = (64, 48)) -> str:
    path = folder / name
    Image.new("L", size, 90).save(path)
    return str(path)


def lines_file(folder: Path, *lines: dict[str, Any] | str) -> str:
    path = folder / "readings.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return str(path)


def line(image_id: str = "chest", reader: str = "r1", **more: Any) -> dict[str, Any]:
    return {"image_id": image_id, "reader": reader, "x": [0.1, 0.5, 0.7], "y": [0.1, 0.5, 0.2], **more}


def look_of(path: Scanpath | None) -> Diagnosis:
    heat = None if path is None else np.full((len(path), 64), 1 / 64)
    return Diagnosis("", {}, path, heat, () if path is None else (0.5,) * len(path), GRID, "nano")


def seen(case: Case) -> OverlayState:
    value = ViewerPayload(image={"path": "image.png"}, width_px=case.size[0], height_px=case.size[1])
    return OverlayState(case, value)


def test_the_same_number_is_the_same_phantom_with_all_simulated_readers() -> None:
    (first, image), (again, same), (_, other) = drawn_case(7, "A"), drawn_case(7.0, "A"), drawn_case(7, "B")
    assert image.tobytes() == same.tobytes() == first.image().tobytes() != other.tobytes()
    assert list(first.readings) == [reader.name for reader in READERS]
    assert first.readings == again.readings
    assert first.caption.startswith("Drawn patient 7, as in training: ")


@pytest.mark.parametrize("number", [-1, LARGEST_NUMBER + 1, 1.5, None, float("nan"), float("inf")])
def test_numbers_out_of_range_are_refused(number: float | None) -> None:
    with pytest.raises(CaseError, match="whole number from 0 to 999999"):
        drawn_case(number, "A")


def test_uploads_belong_together_by_name(tmp_path: Path) -> None:
    readings = lines_file(tmp_path, line(), line(reader="r2"), line(reader="r2"), line("other"), line(reader=""))
    case, image = uploaded_case(image_file(tmp_path), readings)
    assert case.image().tobytes() == image.tobytes()
    assert list(case.readings) == ["r1", "r2", "r2, reading 3", "reading 4"]
    alone, _ = uploaded_case(image_file(tmp_path, "any name.png"), lines_file(tmp_path, line("1")))
    assert list(alone.readings) == ["r1"]


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([line("a"), line("b")], "none of them is called 'chest'"),
        ([line(width_px=4800, height_px=6400)], "give the image that was read"),
        ([line(duration_ms=[50_000] * 3)], "longer than 120 s; durations are in milliseconds"),
        ([{"image_id": "a", "x": [0.5] * 200, "y": [0.5] * 200}], "200 fixations"),
        ([line(reader=str(k)) for k in range(41)], "41 readings"),
        (["[" * 100_000], "nested too deep"),
        (['{"image_id": "a", "x": ' + "1" * 5000 + ', "y": 0}'], "too long"),
        (['{"image_id": "a", "x": 1' + "0" * 400 + ', "y": 0}'], "larger than"),
        (['{"image_id": "a", "x": NaN, "y": 0.5}'], "no scanpath on an image"),
        (["not json"], "no JSON"),
    ],
)
def test_readings_that_cannot_be_used_are_refused(tmp_path: Path, lines: list[Any], complaint: str) -> None:
    with pytest.raises((CaseError, DatasetError), match=complaint):
        uploaded_case(image_file(tmp_path), lines_file(tmp_path, *lines))


def test_images_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    readings = lines_file(tmp_path, line())
    with pytest.raises(CaseError, match="Two files are needed"):
        uploaded_case(None, readings)
    with pytest.raises(CaseError, match="Two files are needed"):
        uploaded_case(image_file(tmp_path), None)
    with pytest.raises(ImageError):
        uploaded_case(readings, readings)
    color = tmp_path / "color.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(color)
    with pytest.raises(ImageError, match="colour picture"):
        uploaded_case(str(color), readings)


def test_a_path_against_itself_is_best_and_order_counts_where_it_is_seen() -> None:
    own = scanpath()
    compared = {one.name: one for one in compare_paths(own, [own], [own], SIZE, GRID)}
    assert list(compared) == list(path_metrics(GRID))
    for name, one in compared.items():
        assert tuple(one.floors) == tuple(PAIR_FLOORS) == (SHUFFLED, REVERSED, UNIFORM, CENTRE)
        assert one.value == pytest.approx(1.0 if one.higher_is_better else 0.0), name
        assert one.ceiling == pytest.approx(one.value)
        if one.order == "sensitive":
            assert one.order_gain > 0.02, name
            sign = 1 if one.higher_is_better else -1
            assert all(sign * (one.value - floor) > 0 for floor in one.floors.values()), name
        if one.order == "blind":
            assert one.order_gain == pytest.approx(0)
    sequence = compared["sequence score"]
    assert sequence.order_gain == pytest.approx(sequence.value - sequence.floors[SHUFFLED])
    assert sequence.floors[REVERSED] == pytest.approx(0.2), "one of five patches stays in order"
    distance = compared["DTW distance"]
    assert distance.order_gain == pytest.approx(distance.floors[SHUFFLED] - distance.value)


def test_what_is_not_defined_stays_undefined_and_seeds_repeat() -> None:
    short = scanpath((0.2, 0.2), (0.4, 0.8), ms=None)
    first, again = (compare_paths(short, [scanpath()], [], SIZE, GRID, seed=3) for _ in range(2))
    by_name = {one.name: one for one in first}
    assert np.isnan(by_name["MultiMatch shape"].value)
    assert np.isnan(by_name["sequence score"].ceiling)
    assert [one.floors[UNIFORM] for one in first[:2]] == [one.floors[UNIFORM] for one in again[:2]]


def test_both_paths_go_in_step_and_the_table_stands_beside_them(tmp_path: Path) -> None:
    case, _ = uploaded_case(image_file(tmp_path), lines_file(tmp_path, line(), line(reader="<b>r2</b>")))
    before = seen(case)
    assert [path.role for path in before.payload("r1").paths] == ["reader"]
    assert before.table("r1") is None
    after = replace(before, model="nano", diagnosis=look_of(scanpath()))
    value = after.payload("<b>r2</b>")
    named = [(path.role, path.name) for path in value.paths]
    assert named == [("model", "Model: nano"), ("reader", "Reader: <b>r2</b>")]
    assert value.in_step
    shown = after.table("r1")
    assert shown is not None
    assert shown.heads[:3] == ["score", "model", "order gain"]
    assert shown.heads[-1] == "ceiling: other readers (1)"
    assert [row[0][0] for row in shown.rows] == list(path_metrics(GRID))
    assert ("Jaccard", "blind to order; higher is better") in [row[0] for row in shown.rows]
    assert all(len(row) == len(shown.heads) for row in shown.rows)
    assert "the uploaded image" in shown.notes[0]


def test_an_image_that_was_learned_from_is_said_to_be(tmp_path: Path) -> None:
    case, image = uploaded_case(image_file(tmp_path), lines_file(tmp_path, line()))
    learned = TrainedOn.of("salt", (), [pixel_digest(image)], SplitRule())
    other = TrainedOn.of("salt", (), ["f" * 64], SplitRule())
    assert "trained on this very image" in remark_on([None, learned], image)
    assert "not known" in remark_on([other, None], image)
    assert remark_on([other], image) == ""
    after = replace(
            seen(case), model="nano", diagnosis=look_of(scanpath()), remark=remark_on([learned], image)
        )
    shown = after.table("r1")
    assert shown is not None
    assert after.remark == shown.notes[0]
    assert after.status().endswith(after.remark)


def test_what_a_model_notes_of_an_image_stands_at_it_and_at_its_scores() -> None:
    case, _image = drawn_case(3, "A")
    noted = replace(look_of(scanpath()), ood_score=3.0, notes=("Its path means nothing here.",))
    after = replace(seen(case), model="nano", diagnosis=noted)
    assert after.status().endswith("Its path means nothing here.")
    shown = after.table(next(iter(case.readings)))
    assert shown is not None
    assert shown.notes[0] == "Its path means nothing here."


def test_a_model_with_untrained_gaze_shows_no_path_and_says_so() -> None:
    after = replace(seen(drawn_case(3, "A")[0]), model="twin", diagnosis=look_of(None))
    assert [path.role for path in after.payload(READERS[0].name).paths] == ["reader"]
    assert after.table(READERS[0].name) is None
    assert after.status().startswith("The gaze of twin is untrained: no path is shown")


def test_only_the_predict_path_is_waited_for() -> None:
    closed = []

    def ask(*asked: Any) -> Generator[Diagnosis, None, None]:
        try:
            yield look_of(scanpath())
            pytest.fail("words were asked for")
        finally:
            closed.append(asked[0])

    assert len(predict_path(ask, "nano", Image.new("RGB", (8, 8))).scanpath or ()) == 5
    assert closed == ["nano"]
