"""Reports say what was drawn, and the parser reads them back."""

import re

import numpy as np
import pytest

from gazevlm_core.findings import (
    FILM_FINDING_NAMES,
    FINDING_NAMES,
    HELD_OUT_FINDING_NAMES,
    QUESTIONS,
    REPORT_QUESTION,
    Side,
    presence_question,
)
from gazevlm_core.report_parser import PARSED_NAMES, parse_claims, parse_report
from phantoms.findings import DRAWN_FINDINGS
from phantoms.report import presence_answer, write_report
from phantoms.truth import Phantom, PlacedFinding

ALL_NAMES = FINDING_NAMES + HELD_OUT_FINDING_NAMES
MIDLINE_NAMES = {"enlarged cardiomediastinum", "cardiomegaly", "hiatal hernia"}
ZONES = ("upper", "mid", "lower", "apical", "basal", "perihilar", "retrocardiac", "lateral", "central")
DEVICES = ("central venous catheter", "pacemaker", "endotracheal tube", "nasogastric tube", "chest tube")
SIDES: tuple[Side, ...] = ("left", "right", "both")
WORD = re.compile(r"[a-z]+")


def placed(name: str, side: Side, zone: str = "upper", severity: float = 0.5, detail: str = "") -> PlacedFinding:
    return PlacedFinding(name, side, zone, severity, (0.2, 0.2, 0.4, 0.4), ((0.3, 0.3),), np.ones((1, 1), bool), detail)


def phantom_of(*findings: PlacedFinding, seed: int = 1) -> Phantom:
    return Phantom(seed, "A", np.zeros((1, 1), np.uint8), findings, {})


def sampled_phantom(seed: int) -> Phantom:
    """Up to five findings, any zone, side and severity: more combinations than the generator draws."""
    rng = np.random.default_rng(seed)
    names = rng.permutation(ALL_NAMES)[: rng.integers(0, 6)].tolist()
    findings = []
    for name in sorted(names, key=ALL_NAMES.index):
        side: Side = "midline" if name in MIDLINE_NAMES else SIDES[int(rng.integers(3))]
        detail = DEVICES[int(rng.integers(len(DEVICES)))] if name == "support devices" else ""
        findings.append(placed(name, side, ZONES[int(rng.integers(len(ZONES)))], float(rng.uniform(0.02, 1)), detail))
    return phantom_of(*findings, seed=seed)


def named_sides(phantom: Phantom) -> dict[str, set[str]]:
    """What a perfect report of the phantom parses to: finding name -> sides; a midline finding names no side."""
    sides: dict[str, set[str]] = {finding.name: set() for finding in phantom.findings}
    for finding in phantom.findings:
        if finding.side != "midline":
            sides[finding.name].add(finding.side)
    return sides


@pytest.mark.parametrize("style_seed", [0, 1, 2, 99])
def test_reports_parse_to_exactly_what_was_drawn(style_seed: int) -> None:
    for seed in range(400):
        phantom = sampled_phantom(seed)
        text = write_report(phantom, style_seed)
        assert parse_report(text) == named_sides(phantom), text


def test_every_finding_side_zone_and_grade_is_read_back() -> None:
    for name in ALL_NAMES:
        for zone in ZONES:
            for side in (*SIDES, "midline"):
                for severity in (0.1, 0.5, 0.9):
                    phantom = phantom_of(placed(name, side, zone, severity))
                    assert parse_report(write_report(phantom, 3)) == named_sides(phantom)


def test_presence_answers_begin_with_yes_or_no_and_parse_to_that_finding() -> None:
    for seed in range(150):
        phantom = sampled_phantom(seed)
        truth = named_sides(phantom)
        for name in ALL_NAMES:
            answer = presence_answer(phantom, name, seed + 5)
            assert answer.startswith("Yes" if name in truth else "No")
            assert parse_report(answer) == ({name: truth[name]} if name in truth else {})


def test_grade_words_match_the_severity() -> None:
    for name in FINDING_NAMES:
        adjectives = DRAWN_FINDINGS[name].wording.adjectives
        for severity, grade in ((0.1, "subtle"), (0.5, "moderate"), (0.9, "severe")):
            wrong = {word for other, words in adjectives.items() if other != grade for word in words}
            wrong -= set(adjectives.get(grade, ()))
            for style_seed in range(20):
                phantom = phantom_of(placed(name, "left", severity=severity))
                said = set(WORD.findall(write_report(phantom, style_seed).lower()))
                assert not said & wrong
                if adjectives:
                    assert said & set(adjectives[grade])


def test_reports_are_short_varied_and_of_few_words() -> None:
    normal = phantom_of()
    reports = [write_report(normal, style_seed) for style_seed in range(60)]
    assert len(set(reports)) > 20
    assert max(len(report.split()) for report in reports) <= 22
    words: set[str] = set(WORD.findall(" ".join(QUESTIONS).lower()))
    for seed in range(300):
        phantom = sampled_phantom(seed)
        report = write_report(phantom, seed)
        assert len(report.split()) <= 45
        words |= set(WORD.findall(report.lower()))
        for name in ALL_NAMES:
            words |= set(WORD.findall(f"{presence_question(name)} {presence_answer(phantom, name, seed)}".lower()))
    assert len(words) < 400


def test_report_names_side_zone_and_grade() -> None:
    phantom = phantom_of(placed("pneumothorax", "left", "apical", 0.2))
    report = write_report(phantom, 0).lower()
    assert "left apical pneumothorax" in report
    assert report == write_report(phantom, 0).lower()


def test_questions() -> None:
    assert QUESTIONS[0] == REPORT_QUESTION
    assert presence_question("pneumothorax") == "Is there pneumothorax?"
    with pytest.raises(ValueError, match="unknown finding 'dragon'"):
        presence_answer(phantom_of(), "dragon", 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No pneumothorax.", {}),
        ("No pneumothorax, effusion or rib fracture.", {}),
        ("No evidence of consolidation with small right pleural effusion", {"pleural effusion": {"right"}}),
        ("Large left effusion without right pneumothorax.", {"pleural effusion": {"left"}}),
        ("Pneumothorax is not seen but bilateral effusions", {"pleural effusion": {"both"}}),
        ("Effusion is absent. Opacity on the left.", {"lung opacity": {"left"}}),
        ("Large left effusion. No right effusion.", {"pleural effusion": {"left"}}),
        ("Small left effusion. Large right effusion.", {"pleural effusion": {"left", "right"}}),
        ("Small hiatus hernia, no edema", {"hiatal hernia": set()}),
        ("Yes, endotracheal tube in the midline", {"support devices": {"midline"}}),
        ("Enlarged heart, widened mediastinum", {"cardiomegaly": set(), "enlarged cardiomediastinum": set()}),
        ("left left opacity opacity the the, no no ,,", {"lung opacity": {"left"}}),
        ("", {}),
    ],
)
def test_parser_on_hand_written_text(text: str, expected: dict[str, set[str]]) -> None:
    assert parse_report(text) == expected


def test_parser_never_raises_on_garbled_text() -> None:
    rng = np.random.default_rng(0)
    pieces = ["no", "left", "effusion", ",", ".", "with", "<st>", "absent", "\x00", "not", "ü", "opacity", "(", "both"]
    for _ in range(500):
        text = " ".join(rng.choice(pieces, size=int(rng.integers(0, 30))))
        assert set(parse_report(text)) <= set(PARSED_NAMES)


def test_parser_and_generator_know_the_same_findings() -> None:
    assert PARSED_NAMES == (*ALL_NAMES, *FILM_FINDING_NAMES)


@pytest.mark.parametrize(("text", "claims"), [
    ("", {}), ("No pneumothorax or effusion. Small left nodule.",
               {"lung lesion": True, "pneumothorax": False, "pleural effusion": False}),
    ("No edema. Edema in the left lung.", {"edema": True}), ("Effusion is absent.", {"pleural effusion": False}),
    ("The heart and mediastinum are normal.", {"enlarged cardiomediastinum": False, "cardiomegaly": False}),
    ("Abnormal chest radiograph.", {}), ("Clear lungs but edema.", dict.fromkeys(
        ("lung opacity", "lung lesion", "consolidation", "atelectasis", "pneumonia"), False) | {"edema": True}),
])  # fmt: skip
def test_claims_are_what_a_text_affirms_and_denies(text: str, claims: dict[str, bool]) -> None:
    assert parse_claims(text) == claims


@pytest.mark.parametrize(("text", "claims"), [
    ("Cannot exclude pneumothorax.", {}), ("Pneumothorax is not excluded.", {}), ("Rule out edema.", {}),
    ("Effusion cannot be completely ruled out", {}), ("Edema is ruled out.", {"edema": False}),
    ("The edema has not resolved.", {"edema": True}), ("Edema has resolved.", {"edema": False}),
    ("No interval change in the effusion.", {"pleural effusion": True}), ("Edema: none.", {"edema": False}),
    ("Neither effusion nor edema.", {"edema": False, "pleural effusion": False}),
    ("Effusion is no longer seen.", {"pleural effusion": False}), ("Edema is unlikely.", {"edema": False}),
    ("There isn\N{RIGHT SINGLE QUOTATION MARK}t any edema.", {"edema": False}),
    ("Absence of edema.", {"edema": False}), ("Lungs are clear of edema.", {"edema": False}),
    ("There is no effusion and there is edema.", {"edema": True, "pleural effusion": False}),
    ("No evidence that there is edema.", {"edema": False}), ("Not only edema but effusion.",
                                                             {"edema": True, "pleural effusion": True}),
])  # fmt: skip
def test_a_denial_is_one_and_what_is_left_open_is_no_claim(text: str, claims: dict[str, bool]) -> None:
    assert parse_claims(text) == claims


def test_a_yes_or_no_is_about_what_was_asked() -> None:
    assert parse_claims("No pneumothorax is seen.", "Is there edema?") == {"pneumothorax": False}
    assert parse_claims("No, there is none.", "Is there edema?") == {"edema": False}
    assert parse_claims("No bird there.", "Is there a bird?") == {"bird": False}
    assert parse_claims("No.", "Is there pneumothorax?") == {"pneumothorax": False}
    assert parse_claims("Yes, small left.", "are there any support devices") == {"support devices": True}
    assert parse_claims("No.", "Is there a bird?") == {"bird": False}
    assert parse_claims("Nodule.", "Is there edema?") == {"lung lesion": True}
    assert parse_claims("No.", "What are the findings?") == {}
