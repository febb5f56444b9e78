"""One record, the same for the command line and the endpoint."""

import json
from dataclasses import replace

import pytest

from diagnose.record import RECORD_SCHEMA, ClaimRecord, DiagnosisRecord, FixationRecord, to_record
from diagnose.tab.markup import badges, evidence, fixation_table, tables, title, truth, warning, zone_table
from diagnose.tab.markup import claims as markup_claims
from diagnose.tab.result import Exchange, history
from gazevlm_core.geometry import Window
from gazevlm_core.records import Glimpse, Sentence
from gazevlm_core.words import LENGTH_NOTE, LOOP_NOTE, STOPPED_NOTE
from tests.diagnose.samples import ATTACK, FOUND, UNTRAINED
from web.markup import notice, status


def test_record_of_a_diagnosis() -> None:
    assert to_record(FOUND, "a.png", 1.23456) == {
        "image": "a.png",
        "question": "",
        "answer": "Edema.",
        "claims": [{"finding": "edema", "affirmed": True, "probability": 0.75, "agrees": True}],
        "findings": {"edema": 0.75},
        "grid": [2, 4],
        "scanpath": [
            {"x": 0.125, "y": 0.25, "patch_index": 0, "probability": 0.5, "duration_ms": 210.0},
            {"x": 0.875, "y": 0.75, "patch_index": 7, "probability": 0.25, "duration_ms": None},
        ],
        "glimpses": [],
        "evidence": {},
        "sentences": [],
        "model": "nano",
        "adapter": "mine",
        "seconds": 1.235,
        "strangeness": None,
        "notes": [],
    }


PROBABILITIES = {"consolidation": 0.01, "edema": 0.9, "pleural effusion": 0.2, "cardiomegaly": 0.5, "my sign": 0.8}


@pytest.mark.parametrize(("question", "answer", "agrees"), [
    ("", "Moderate consolidation. Severe edema.", {"edema": True, "consolidation": False}),
    ("", "No edema or consolidation.", {"edema": False, "consolidation": True}),
    ("", "Heart size is normal. Fracture.", {"cardiomegaly": True, "fracture": None}),
    ("Is there pleural effusion?", "Yes, a large left one.", {"pleural effusion": False}),
    ("Is there edema?", "No.", {"edema": False}), ("Is there my sign?", "No.", {"my sign": False}),
    ("Is there edema?", "Nothing.", {}),
])  # fmt: skip
def test_words_stand_beside_the_probabilities_of_what_they_name(
    question: str, answer: str, agrees: dict[str, bool | None]
) -> None:
    said = replace(UNTRAINED, question=question, answer=answer, finding_probabilities=PROBABILITIES)
    claims = to_record(said, "a.png", 1.0)["claims"]
    assert {claim["finding"]: claim["agrees"] for claim in claims} == agrees
    assert all(claim["probability"] == PROBABILITIES.get(claim["finding"]) for claim in claims)
    shown = markup_claims(said)
    assert shown.count("contradicts the words") == list(agrees.values()).count(False)
    assert bool(shown) == bool(agrees)


def test_of_words_that_were_cut_short_whole_sentences_alone_say_something() -> None:
    text = "No pneumothorax is seen. A left pleural effusion is"
    for note, denied in (("", True), (LENGTH_NOTE, True), (LOOP_NOTE, True), (STOPPED_NOTE, False)):
        said = replace(UNTRAINED, answer=text, notes=(note,))
        claims = {claim["finding"]: claim["affirmed"] for claim in to_record(said, "a.png", 1.0)["claims"]}
        assert claims.get("pneumothorax") == (False if denied else None)
        assert ("pleural effusion" in claims) is (note == ""), note


SEEN = replace(
    FOUND, glimpses=(Glimpse(1, Window(0.5, 0.25, 1.0, 1.0)),), evidence={"edema": (0.25,)},
    sentences=(Sentence(f"Edema {ATTACK}.", (0.125,)),),
)  # fmt: skip


def test_record_says_what_was_seen_closely_and_what_leaned_on_it() -> None:
    record = to_record(SEEN, "a.png", 1.0)
    assert record["glimpses"] == [{"step": 2, "left": 0.5, "upper": 0.25, "right": 1.0, "lower": 1.0}]
    assert record["evidence"] == {"edema": [0.25]}
    assert record["sentences"] == [{"text": f"Edema {ATTACK}.", "shares": [0.125]}]


def test_evidence_is_a_table_of_shares_that_sum_to_all() -> None:
    assert evidence(FOUND) == ""
    table = evidence(SEEN)
    assert "<td>edema</td><td>25%</td><td>75%</td>" in table
    assert "<td>12%</td><td>88%</td>" in table
    assert ">fixation 2<" in table
    assert "no proof" in table
    assert "<script" not in table


def test_untrained_gaze_gives_no_path_and_says_why() -> None:
    record = to_record(UNTRAINED, "a.png", 1.0)
    assert record["scanpath"] is None
    assert record["notes"] == list(UNTRAINED.notes)


def test_schema_names_what_the_record_holds() -> None:
    assert list(RECORD_SCHEMA["properties"]) == list(DiagnosisRecord.__annotations__)
    fixation = RECORD_SCHEMA["properties"]["scanpath"]["anyOf"][0]["items"]
    assert list(fixation["properties"]) == list(FixationRecord.__annotations__)
    assert list(RECORD_SCHEMA["properties"]["claims"]["items"]["properties"]) == list(ClaimRecord.__annotations__)
    assert json.loads(json.dumps(RECORD_SCHEMA)) == RECORD_SCHEMA


def test_table_lists_fixations_in_order() -> None:
    table = fixation_table(FOUND)
    assert "<td>1</td><td>0.125</td><td>0.250</td><td>0</td><td>0.50</td><td>210</td>" in table
    assert "<td>2</td><td>0.875</td><td>0.750</td><td>7</td><td>0.25</td><td>-</td>" in table
    assert "2 \N{MULTIPLICATION SIGN} 4 patches" in table


def test_outside_words_are_escaped() -> None:
    said = history([Exchange(ATTACK, ATTACK)])
    badge = badges({"model": ATTACK})
    for page_part in (warning(UNTRAINED), notice(ATTACK), status(ATTACK), badge, title(ATTACK), said):
        assert "<script" not in page_part
        assert "&lt;script&gt;" in page_part


def test_history_has_the_latest_first_and_is_nothing_without_any() -> None:
    assert history([]) == ""
    words = history([Exchange("First?", "Yes.", "one"), Exchange("Second?", "No.", "other <b>")])
    assert words.count("<li>") == 2
    assert "other &lt;b&gt;" in words
    assert words.index("Second?") < words.index("No.") < words.index("First?") < words.index("Yes.")


def test_notice_names_the_training_data() -> None:
    assert "Trained on phantoms" in notice("Trained on phantoms.")
    assert "untrained" in notice("")
    assert "Not a medical device." in notice("")


def test_warning_holds_the_notes_and_is_empty_without_any() -> None:
    assert "Untrained" in warning(UNTRAINED)
    assert 'role="alert"' in warning(UNTRAINED)
    assert warning(FOUND) == ""
    assert tables(UNTRAINED) == ""


def test_zones_sum_the_dwell() -> None:
    assert FOUND.scanpath is not None
    table = zone_table(FOUND.scanpath)
    assert "<td>right upper</td><td>1</td><td>210</td><td>50%</td>" in table
    assert "<td>left lower</td><td>1</td><td>-</td><td>50%</td>" in table


def test_truth_of_an_example_names_what_was_drawn() -> None:
    assert "no finding" in truth(0)
    assert "<table" not in truth(0)
    assert "<td>enlarged cardiomediastinum</td>" in truth(1)
    assert "A perfect report:" in truth(1)
