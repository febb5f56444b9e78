"""A path that is changed by hand: who follows it, what is kept of the model's own, and which change is the latest."""

import json
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from gradio.data_classes import FileData

from diagnose.service import Step
from diagnose.tab.answering import STEERED, STOP
from diagnose.tab.form import how_of
from diagnose.tab.page import DiagnosePage
from diagnose.tab.result import Result, Shown, Visit
from diagnose.tab.steering import changed_result, result_of, steering_of
from gazevlm_core.model.configuration_gazevlm import GazeConfig
from gazevlm_core.scanpath import Fixation
from gazevlm_core.words import LOOP_NOTE, STOPPED_NOTE
from tests.diagnose.samples import FOUND
from web.viewer.payload import ViewerPayload

IMAGE = ViewerPayload(image=FileData(path="/tmp/picture.png"), width_px=8, height_px=4)
FOLLOWS = steering_of(GazeConfig(num_glimpses=3, num_gaze_tokens=6, gaze_trained=True), "seeing")
BLIND = steering_of(GazeConfig(num_glimpses=0, gaze_trained=True), "<twin>")
OWN = Result("one", FOUND, 1.0, finished=True, steering=FOLLOWS)


def test_only_a_model_with_glimpses_follows_and_others_say_why() -> None:
    assert (FOLLOWS.most_steps, FOLLOWS.why) == (6, "")
    assert BLIND.most_steps == 0
    assert BLIND.why.startswith("<twin> answers from the whole image")
    assert BLIND.why.count(".") == 1
    untrained = steering_of(GazeConfig(num_glimpses=3, gaze_trained=False), "blind")
    assert untrained.most_steps == 0


def test_what_cannot_be_changed_is_refused() -> None:
    for shown in (None, Shown(IMAGE, "a")):
        with pytest.raises(ValueError, match="diagnose the image again"):
            result_of(shown, 0)
    twin = Shown(IMAGE, "a", results=(Result("one", FOUND, 1.0, steering=BLIND),))
    with pytest.raises(ValueError, match="does not follow"):
        result_of(twin, 0)
    assert result_of(Shown(IMAGE, "a", results=(OWN,)), 0) is OWN


def test_a_change_keeps_the_models_own_result_to_compare_with_and_go_back_to() -> None:
    path = (Fixation(0.1, 0.1),)
    changed = changed_result(OWN, Step(FOUND, 0.5, finished=False), path, 7)
    assert (changed.own, changed.finished, changed.seconds) == (OWN, False, 0.5)
    shown = Shown(IMAGE, "a").with_result(0, changed)
    steering = shown.payload(0, revealed=False).steering
    assert steering is not None
    assert (steering.turn, steering.most_steps) == (7, 6)
    back = changed_result(OWN, Step(FOUND, 1.0, finished=True), None, 8)
    assert (back.own, back.steering and back.steering.turn) == (None, 8)


def test_the_latest_change_of_each_viewer_is_known_whatever_a_browser_sends() -> None:
    visit = Visit()
    for data in (None, 3, {}, {"turn": "5"}):
        visit.note_change(0, data)
    assert visit.latest_change(0) == 0
    visit.note_change(0, {"turn": 4, "path": None})
    visit.note_change(1, {"turn": 9})
    assert (visit.latest_change(0), visit.latest_change(1)) == (4, 9)


class Model:
    """Stands for the catalogue and what answers; keeps the paths that it was asked for."""

    def __init__(self) -> None:
        gaze = GazeConfig(num_glimpses=3, num_gaze_tokens=6, gaze_trained=True)
        self.choice = SimpleNamespace(name="seeing", gaze=gaze, scores=None, facts=dict)
        self.asked: list[tuple[Fixation, ...]] = []
        self.found = FOUND

    def choices(self) -> dict[str, Any]:
        return {"seeing": self.choice}

    def find(self, name: str) -> Any:
        return self.choice

    def ask(self, model: str, image: object, question: str, options: Any) -> Iterator[Any]:
        self.asked.append(options.look_at)
        yield replace(self.found, answer="", finding_probabilities={"edema": 0.25})
        yield replace(self.found, answer="No edema.", finding_probabilities={"edema": 0.25})


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def page(model: Model) -> DiagnosePage:
    with gr.Blocks():
        return DiagnosePage(model, model.ask)  # type: ignore[arg-type]


def steer(page: DiagnosePage, shown: Shown, visit: Visit, change: object) -> list[dict[Any, Any]]:
    values = list(page.answering.steer(page.panels[0], shown, visit, change))
    assert set().union(*values) <= {*page.about_image, *page.controls}, "what the event may change"
    return values


def test_findings_and_words_follow_a_changed_path_and_the_models_own_comes_back(
    page: DiagnosePage, model: Model
) -> None:
    shown, visit, panel = Shown(IMAGE, "a", example=0, results=(OWN,)), Visit(), page.panels[0]
    first, path, *_, last = steer(page, shown, visit, {"turn": 2, "path": [[0.1, 0.2, None], [0.5, 0.5, 210]]})
    assert model.asked == [(Fixation(0.1, 0.2), Fixation(0.5, 0.5, 210.0))]
    assert panel.viewer not in first
    assert path[panel.viewer].steering.turn == 2
    assert "was 0.75" in path[page.findings.chart]
    assert "<ins>No</ins>" in last[panel.answer]
    changed = last[page.shown]
    assert (changed.results[0].own, changed.results[0].finished) == (OWN, True)
    result = changed.results[0]
    how = how_of(result.asking, 0, result.changed_by_hand)
    assert how["look_at"] == [[one.x, one.y, one.duration_ms] for one in result.diagnosis.scanpath or ()]
    assert "link" not in how, "it would give the model's own path"
    *_, back = steer(page, changed, visit, {"turn": 3, "path": None})
    assert "look_at" not in how_of(result.asking, 0, back[page.shown].results[0].changed_by_hand)
    assert len(model.asked) == 1, "it is known"
    assert back[page.shown].results[0].diagnosis is FOUND
    assert back[panel.viewer].steering.turn == 3
    assert "<ins" not in back[page.findings.chart] + back[panel.answer]


def test_what_became_of_the_places_stands_at_the_image_and_is_no_warning(page: DiagnosePage, model: Model) -> None:
    loud, merged = "This model has a flaw.", "3 places became 2 steps."
    found = replace(FOUND, notes=(merged, loud, LOOP_NOTE))
    model.found = found
    own = replace(OWN, diagnosis=replace(FOUND, notes=(loud,)))
    shown, panel = Shown(IMAGE, "a", example=0, results=(own,)), page.panels[0]
    _, path, *_, last = steer(page, shown, Visit(), {"turn": 2, "path": [[0.1, 0.2, None]]})
    assert path[panel.viewer].steering.remark == merged
    assert merged not in last[panel.warning]
    assert loud in last[panel.warning]
    assert LOOP_NOTE in last[panel.warning]
    assert last[page.shown].results[0].diagnosis.notes == found.notes, "the record keeps all of them"
    *_, back = steer(page, last[page.shown], Visit(), {"turn": 3, "path": None})
    assert back[panel.viewer].steering.remark == ""


def test_a_change_that_is_no_longer_the_latest_ends(page: DiagnosePage) -> None:
    shown, visit = Shown(IMAGE, "a", example=0, results=(OWN,)), Visit()
    visit.note_change(0, {"turn": 5})
    values = steer(page, shown, visit, {"turn": 4, "path": [[0.1, 0.2, None]]})
    other = Visit(images=1)  # another image was chosen
    change = {"turn": 5, "path": [[0.1, 0.2, None]]}
    values += page.answering.steer(page.panels[0], shown, other, change)
    assert all(page.panels[0].viewer not in one for one in values)
    assert len(steer(page, shown, visit, {"turn": 5, "path": [[0.1, 0.2, None]]})) > 1


def test_a_change_that_failed_gives_the_path_back(page: DiagnosePage) -> None:
    shown, visit, panel = Shown(IMAGE, "a", example=0, results=(OWN,)), Visit(), page.panels[0]
    with pytest.raises(gr.Error, match="not on the image"):
        steer(page, shown, visit, {"turn": 1, "path": [[2, 0, None]]})
    visit.note_change(0, {"turn": 1})
    for ending in (STEERED, STOP):
        steering = page.answering.give_up(panel, shown, visit, ending)[panel.viewer].steering
        assert (steering.turn, steering.failed, steering.kept) == (1, True, 0)
    assert set(page.answering.give_up(panel, shown, visit, "")) == {page.status}, "another question"


def test_a_changed_path_whose_words_were_stopped_stays_the_visitors(page: DiagnosePage) -> None:
    shown, visit, panel = Shown(IMAGE, "a", example=0, results=(OWN,)), Visit(), page.panels[0]
    change = {"turn": 2, "path": [[0.1, 0.2, None]]}
    visit.note_change(0, change)
    _, path, *_ = page.answering.steer(panel, shown, visit, change)
    half = path[page.shown]
    assert not half.results[0].finished
    steering = page.answering.give_up(panel, half, visit, STOP)[panel.viewer].steering
    assert (steering.turn, steering.failed) == (2, False)
    visit.note_change(0, {"turn": 3, "path": None})  # and a further one, stopped before its path came
    steering = page.answering.give_up(panel, half, visit, STOP)[panel.viewer].steering
    assert (steering.turn, steering.failed, steering.kept) == (3, True, 2)


def test_what_is_revealed_during_a_change_lies_beside_it(page: DiagnosePage) -> None:
    shown, panel, visit = Shown(IMAGE, "a", example=0, results=(OWN,)), page.panels[0], Visit()
    steps = page.answering.steer(panel, shown, visit, {"turn": 2, "path": [[0.1, 0.2, None]]})
    next(steps)
    revealed = page._reveal(shown, visit, True)[panel.viewer]
    assert (revealed.beside, [one.role for one in revealed.paths]) == (True, ["model", "reader"])
    path = next(steps)[panel.viewer]
    assert (path.beside, path.steering.turn, [one.role for one in path.paths]) == (False, 2, ["model", "reader"])
    visit.new_image()
    assert panel.viewer not in page._reveal(shown, visit, True), "of the image before"
    assert not visit.revealed


def test_a_download_of_an_answer_that_was_stopped_says_so(
    page: DiagnosePage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("diagnose.tab.page.save_file_to_cache", lambda file, _: shutil.copy(file, tmp_path))
    stopped = replace(OWN, finished=False)
    for result in (OWN, stopped):
        with zipfile.ZipFile(page._downloads(Shown(IMAGE, "a", example=0, results=(result,))).value["path"]) as archive:
            record = json.loads(archive.read("gazevlm.json"))
        assert (STOPPED_NOTE in record["notes"]) is (result is stopped)
        assert record["how"].get("stopped", False) is (result is stopped)
        assert bool(record["claims"]) is (result is OWN)


def test_a_changed_path_keeps_its_place_beside_the_other_model(page: DiagnosePage) -> None:
    other = Result("two", FOUND, 1.0, finished=True, steering=BLIND)
    shown = Shown(IMAGE, "a", example=0, results=(OWN, other))
    _, path, *_ = steer(page, shown, Visit(), {"turn": 2, "path": [[0.1, 0.2, None]]})
    first, second = path[page.findings.chart].split("gaze-side-2\" data-links")
    assert "was 0.75" in first
    assert "<b>0.75</b>" in second
