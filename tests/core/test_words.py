"""Which questions a model knows, and where a text begins to repeat itself."""

import pytest

from gazevlm_core.findings import QUESTIONS, presence_question
from gazevlm_core.words import (
    LONGEST_QUESTION,
    UnknownQuestionError,
    check_question,
    cut_loop,
    recognised,
    sentence_spans,
    whole_sentences,
)

KNOWN = (*QUESTIONS, *map(presence_question, ("edema", "pleural effusion", "support devices")))
EFFUSION = "Is there pleural effusion?"


@pytest.mark.parametrize(("asked", "taught"), [
    (QUESTIONS[1], QUESTIONS[1]), (" what are the FINDINGS ", "What are the findings?"),
    ("Report this chest radiograph!!", "Report this chest radiograph."), (EFFUSION, EFFUSION),
    ("is there a pleural effusion", EFFUSION), ("Is there any  pleural-effusion ?", EFFUSION),
    ("Are there any support devices?", "Are there support devices?"), ("Is there an edema?", "Is there edema?"),
])  # fmt: skip
def test_a_question_is_known_whatever_its_case_blanks_and_articles(asked: str, taught: str) -> None:
    assert recognised(asked, KNOWN) == taught


@pytest.mark.parametrize("asked", [
    "How old is the patient?", "Is there a hiatal hernia?", "Is there no edema?", "Is there?", "edema",
    "Is edema there?", "What is there?", "Is there pleural effusion or edema?",
    "Describe the findings on this knee radiograph.", "??",
])  # fmt: skip
def test_no_other_question_is_guessed(asked: str) -> None:
    with pytest.raises(UnknownQuestionError) as error:
        recognised(asked, KNOWN, "nano")
    assert str(error.value) == (
        'nano was not taught this question, so it does not answer it. It knows "Describe the findings on this chest '
        'radiograph.", "What do you see on this chest radiograph?", "Write a short report of this image.", "What '
        'are the findings?", "Report this chest radiograph." And "Is there ...?" of: edema, pleural '
        'effusion, support devices.'
    )


def test_a_model_without_a_list_answers_anything_as_it_was_asked() -> None:
    assert recognised("How old is the patient?", ()) == "How old is the patient?"


def test_a_question_has_some_words_and_not_too_many() -> None:
    assert check_question(" " + "x" * LONGEST_QUESTION + "\n") == "x" * LONGEST_QUESTION
    for unusable in ("", " \n", "x" * (LONGEST_QUESTION + 1)):
        with pytest.raises(ValueError, match=r"question (is empty|has 501 characters; shorten it to 500)"):
            check_question(unusable)


@pytest.mark.parametrize(("text", "kept"), [
    ("No edema. Heart is large. No edema. Heart is large. No edema. Heart is large. No", "No edema. Heart is large."),
    ("Large the the the the the", "Large the"), ("a b a b a b a b", "a b"), ("Edema nonononononononono", "Edema no"),
    ("One. Then x y z x y z x y z", "One. Then x y z"), ("Clear Lungs. clear lungs. CLEAR LUNGS.", "Clear Lungs."),
])  # fmt: skip
def test_a_loop_is_cut_after_its_first_turn(text: str, kept: str) -> None:
    assert cut_loop(text) == kept


@pytest.mark.parametrize("text", [
    "", "No.", "No pneumothorax. No effusion. No fracture.", "Very, very, very large effusion.", "a b a b c", "-" * 80,
    "There is edema. There is edema.", "Serial number 100000000000", " ".join(map(str, range(600))),
])  # fmt: skip
def test_other_texts_stay_whole(text: str) -> None:
    assert cut_loop(text) == text


@pytest.mark.parametrize(("text", "parts"), [
    ("Severe edema. No effusion of 0.5 cm! ", ["Severe edema.", "No effusion of 0.5 cm!"]),
    ("Yes", ["Yes"]), ("A\nB. C", ["A", "B.", "C"]), ("left.  \n right?", ["left.", "right?"]), (" ", []),
])  # fmt: skip
def test_sentences_end_at_full_stops_and_lines(text: str, parts: list[str]) -> None:
    assert [text[first:last] for first, last in sentence_spans(text)] == parts


@pytest.mark.parametrize(("text", "kept"), [
    ("No pneumothorax is seen. A left pleural effusion is", "No pneumothorax is seen."), ("A left pleural", ""),
    ("No edema.", "No edema."), ("Clear?! Yes", "Clear?!"), ("Edema: none\nEffusion", "Edema: none"), ("", ""),
    ("Edema of 0.5 cm", ""),
])  # fmt: skip
def test_of_a_text_that_was_cut_whole_sentences_are_left(text: str, kept: str) -> None:
    assert whole_sentences(text) == kept
