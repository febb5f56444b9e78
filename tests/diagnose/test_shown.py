"""What a visitor's page shows: paths of one or two results, the truth, and the questions so far."""

from dataclasses import replace

import pytest
from gradio.data_classes import FileData

from diagnose.record import VERDICT
from diagnose.tab.result import BY_HAND, Exchange, Result, Shown, history
from gazevlm_core.words import LENGTH_NOTE, STOPPED_NOTE
from tests.diagnose.samples import FOUND, UNTRAINED
from web.viewer.payload import ViewerPayload

IMAGE = ViewerPayload(image=FileData(path="/tmp/picture.png"), width_px=8, height_px=4)
FIRST, SECOND = Result("one", FOUND, 1.0, finished=True), Result("two", FOUND, 2.0, finished=True)


def roles(shown: Shown, number: int, revealed: bool = False) -> list[str]:
    return [path.role for path in shown.payload(number, revealed=revealed).paths]


def test_each_result_has_a_style_of_its_own() -> None:
    shown = Shown(IMAGE, "picture.png")
    assert (roles(shown, 0), shown.payload(0, revealed=False).grid) == ([], None)
    shown = shown.with_question("What?").with_result(0, FIRST)
    assert roles(shown, 0) == ["model"]
    assert roles(shown, 1) == []
    shown = shown.with_result(1, SECOND)
    assert (roles(shown, 0), roles(shown, 1)) == (["model"], ["second model"])
    assert shown.with_result(0, SECOND).results == (SECOND, SECOND), "the other one stays"


def test_untrained_gaze_shows_no_path() -> None:
    assert roles(Shown(IMAGE, "picture.png", results=(Result("one", UNTRAINED, 1.0),)), 0) == []


@pytest.mark.parametrize("number", [0, 1])
def test_truth_lies_beside_every_result_but_only_of_an_example(number: int) -> None:
    results = (FIRST, SECOND)
    drawn, uploaded = Shown(IMAGE, "a", example=3, results=results), Shown(IMAGE, "a", upload="a", results=results)
    assert roles(drawn, number, revealed=True)[1:] == ["reader"]
    assert len(roles(drawn, number)) == len(roles(uploaded, number, revealed=True)) == 1


def test_questions_are_kept_with_their_answers() -> None:
    shown = Shown(IMAGE, "picture.png").with_question("First?")
    assert shown.exchanges() == ()  # nothing was answered
    shown = shown.with_result(0, FIRST).with_question("Second?")
    assert shown.earlier == (Exchange("First?", FOUND.answer, FIRST.title),)
    assert shown.results == ()
    assert shown.with_result(0, SECOND).exchanges() == (*shown.earlier, Exchange("Second?", FOUND.answer, SECOND.title))


def test_what_is_not_a_whole_answer_along_the_models_own_path_is_kept_as_such() -> None:
    unlike = replace(FOUND, ood_score=1.5, notes=(LENGTH_NOTE, "Something else."))
    results = (replace(FIRST, finished=False), replace(FIRST, own=FIRST), replace(FIRST, diagnosis=unlike))
    kept = [Shown(IMAGE, "a", question="What?", results=(one,)).exchanges()[0] for one in results]
    assert [one.notes for one in kept] == [(STOPPED_NOTE,), (BY_HAND,), (LENGTH_NOTE,)]
    assert [one.strange for one in kept] == [False, False, True]
    stopped, _, strange = map(history, zip(kept))
    assert f">{STOPPED_NOTE}<" in stopped
    assert "<details" not in stopped
    fold = strange[strange.index("<details"):strange.index("</details>")]
    assert f"<summary>{VERDICT}</summary>" in fold
    assert FOUND.answer in fold
    assert strange.count(FOUND.answer) == 1, "nowhere but in the fold"


def test_only_viewers_of_a_comparison_are_linked() -> None:
    shown = Shown(IMAGE, "a").with_question("What?", compared=True).with_result(0, FIRST).with_result(1, SECOND)
    first, second = (shown.payload(number, revealed=False).linked for number in (0, 1))
    assert first == second != ""
    assert shown.with_question("And alone?").payload(0, revealed=False).linked == ""
