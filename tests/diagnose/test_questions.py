"""Presets: what they fill the question with."""

import pytest

from diagnose.tab.form import PRESETS, REPORT, WHAT_ELSE, preset_question, presets
from gazevlm_core.options import DEFAULT_QUESTION

PROBABILITIES = {"edema": 0.2, "support devices": 0.6, "Pneumothorax": 0.9}


@pytest.fixture(autouse=True)
def without_further_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    for label in PRESETS.keys() - {REPORT, WHAT_ELSE}:
        monkeypatch.delitem(PRESETS, label)


def test_a_model_is_asked_for_what_it_knows() -> None:
    assert presets(["edema"]) == [REPORT, WHAT_ELSE, "Is there edema?"]
    assert presets([]) == [REPORT]
    assert presets(["edema", "hernia"], ["Is there edema?"]) == [REPORT, WHAT_ELSE, "Is there edema?"]
    assert preset_question(REPORT, {}, []) == DEFAULT_QUESTION
    assert preset_question("Is there edema?", {}, []) == "Is there edema?"


def test_a_preset_is_offered_to_models_that_answer_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "the heart", "Is the heart enlarged?")
    assert presets([]) == [REPORT, "the heart"]
    assert presets([], ["Is there edema?"]) == [REPORT]
    assert presets([], ["Is the heart enlarged?"]) == [REPORT, "the heart"]
    assert preset_question("the heart", {}, []) == "Is the heart enlarged?"


def test_what_else_is_the_most_probable_finding_nobody_mentioned() -> None:
    assert preset_question(WHAT_ELSE, PROBABILITIES, ["Describe."]) == "Is there Pneumothorax?"
    said = ["Describe.", "No pneumothorax."]
    assert preset_question(WHAT_ELSE, PROBABILITIES, said) == "Are there support devices?"
    said += ["Are there support devices?", "No."]
    assert preset_question(WHAT_ELSE, PROBABILITIES, said) == "Is there edema?"


def test_what_else_says_when_there_is_nothing_to_ask() -> None:
    with pytest.raises(ValueError, match="no answer about this image yet"):
        preset_question(WHAT_ELSE, {}, [])
    with pytest.raises(ValueError, match="Every finding"):
        preset_question(WHAT_ELSE, {"edema": 0.5}, ["Is there edema?"])
