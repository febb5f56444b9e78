"""Findings and sides named in reports, counted by hand."""

import math

import numpy as np
import pytest

from evaluate.text_scores import (
    best_constant,
    count_named,
    count_sides,
    named_scores,
    one_side,
    score_reports,
)
from gazevlm_core.metrics.intervals import bootstrap_counts
from tests.evaluate.study_maker import case_of

CASES = (
    case_of(pneumothorax=(0.8, "left"), edema=(0.1, "both")),
    case_of(cardiomegaly=(0.5, "midline"), pleural_effusion=(0.6, "both")),
    case_of(),
)
REPORTS = (
    "Large left pneumothorax. Mild pulmonary edema. Rib fracture.",  # one right, a subtle one, one wrong
    "Left pleural effusion.",  # one right on the wrong side, one missed
    "The lungs are clear. No pneumothorax.",
)


def test_tallies_by_hand() -> None:
    named = [{"pneumothorax", "edema", "fracture"}, {"pleural effusion"}, set()]
    assert count_named(CASES, named).tolist() == [[1, 1, 0], [1, 0, 1], [0, 0, 0]]


def test_a_subtle_finding_is_neither_right_nor_wrong_nor_missed() -> None:
    case = case_of(edema=(0.32, "both"))
    assert count_named([case, case], [{"edema"}, set()]).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_micro_scores_by_hand() -> None:
    scores = named_scores(np.array([[1.0, 1, 0], [1, 0, 1], [0, 0, 0]]), bootstrap_counts(3, 100))
    assert scores.precision.value == pytest.approx(2 / 3)
    assert scores.recall.value == pytest.approx(2 / 3)
    assert scores.f1.value == pytest.approx(4 / 6)


def test_reports_from_words_to_scores() -> None:
    scores = score_reports(CASES, CASES, REPORTS, bootstrap_counts(3, 200))
    assert scores.named.f1.value == pytest.approx(4 / 6)
    assert scores.sides_said == 2  # pneumothorax left, effusion left; none said for edema
    assert scores.sides.value == 0.5
    assert scores.floors["the normal report, always"].f1.value == 0.0
    assert math.isnan(scores.floors["the normal report, always"].precision.value)
    # Shifted by one and by two images, no report names a finding of the image that is moderate or worse.
    assert scores.floors["the model's report of another image"].f1.value == 0.0


@pytest.mark.parametrize(
    ("sides", "meant"),
    [
        ({"left"}, "left"),
        ({"left", "right"}, "both"),
        ({"both", "left"}, "both"),
        ({"left", "midline"}, "left and midline"),
    ],
)
def test_side_that_is_meant(sides: set[str], meant: str) -> None:
    assert one_side(sides) == meant


def test_sides_count_true_findings_with_a_side_only() -> None:
    case = case_of(pneumothorax=(0.8, "left"), cardiomegaly=(0.5, "midline"), edema=(0.1, "both"))
    parsed = {"pneumothorax": {"right"}, "cardiomegaly": {"left"}, "fracture": {"left"}, "edema": {"left", "right"}}
    assert count_sides([case], [parsed]).tolist() == [[1, 2]]
    assert count_sides([case], [parsed], always="left").tolist() == [[1, 2]]
    assert count_sides([case], [{"pneumothorax": set()}]).tolist() == [[0, 0]]


def test_best_constant_weighs_precision_against_recall() -> None:
    common = [case_of(edema=(0.9, "both"))] * 3 + [case_of(fracture=(0.9, "left"))]
    assert best_constant(common) == {"edema"}  # F1 0.75; with fracture too 2 * 4 / (8 + 4) = 0.67
    assert best_constant([case_of()]) == frozenset()
