"""Findings: truth by severity, data sets' labels, and findings and sides named in reports, counted by hand."""

import numpy as np
import pytest

from gazevlm_core.evaluation.findings import (
    best_constant,
    count_named,
    count_sides,
    graded_labels,
    label_tables,
    named_scores,
    one_side,
    score_graded,
    score_labels,
    score_reports,
)
from gazevlm_core.evaluation.graded import FAINT_BELOW, Scored, faint_bar
from gazevlm_core.evaluation.report import ModelScores
from gazevlm_core.findings import SUBTLE_BELOW
from gazevlm_core.metrics.intervals import bootstrap_counts
from gazevlm_core.metrics.labels import macro_auroc
from tests.evaluation.sample_maker import sample_of

SAMPLES = (
    sample_of(pneumothorax=(0.8, "left"), edema=(0.1, "both")),
    sample_of(cardiomegaly=(0.5, "midline"), pleural_effusion=(0.6, "both")),
    sample_of(),
)
REPORTS = (
    "Large left pneumothorax. Mild pulmonary edema. Rib fracture.",  # one right, a subtle one, one wrong
    "Left pleural effusion.",  # one right on the wrong side, one missed
    "The lungs are clear. No pneumothorax.",
)


def test_tallies_by_hand() -> None:
    named = [{"pneumothorax", "edema", "fracture"}, {"pleural effusion"}, set()]
    assert count_named(SAMPLES, named).tolist() == [[1, 1, 0], [1, 0, 1], [0, 0, 0]]


def test_a_subtle_finding_is_neither_right_nor_wrong_nor_missed() -> None:
    case = sample_of(edema=(0.32, "both"))
    assert count_named([case, case], [{"edema"}, set()]).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_micro_scores_by_hand() -> None:
    scores = named_scores(np.array([[1.0, 1, 0], [1, 0, 1], [0, 0, 0]]), bootstrap_counts(3, 100))
    assert [scores[name].value for name in ("precision", "recall", "f1")] == pytest.approx([2 / 3, 2 / 3, 4 / 6])


def test_reports_from_words_to_scores() -> None:
    scores = score_reports(SAMPLES, SAMPLES, REPORTS, bootstrap_counts(3, 200))
    named, sides = scores.moderate_or_worse, scores.sides
    assert named.f1.value == pytest.approx(4 / 6, abs=1e-6)
    assert sides.said == 2  # pneumothorax left, effusion left; none said for edema
    assert sides.value == 0.5
    assert named.floors["the normal report, always"].f1.value == 0.0
    assert named.floors["the normal report, always"].precision.value is None
    # Shifted by one and by two images, no report names a finding of the image that is moderate or worse.
    assert named.floors["the model's report of another image"].f1.value == 0.0
    more = [f"{report} Pneumonia is seen." for report in REPORTS]
    assert score_reports(SAMPLES, SAMPLES, more, bootstrap_counts(3, 200)) == scores, "nobody drew it or left it out"


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
    case = sample_of(pneumothorax=(0.8, "left"), cardiomegaly=(0.5, "midline"), edema=(0.1, "both"))
    parsed = {"pneumothorax": {"right"}, "cardiomegaly": {"left"}, "fracture": {"left"}, "edema": {"left", "right"}}
    assert count_sides([case], [parsed]).tolist() == [[1, 2]]
    assert count_sides([case], [parsed], always="left").tolist() == [[1, 2]]
    assert count_sides([case], [{"pneumothorax": set()}]).tolist() == [[0, 0]]


def test_best_constant_weighs_precision_against_recall() -> None:
    common = [sample_of(edema=(0.9, "both"))] * 3 + [sample_of(fracture=(0.9, "left"))]
    assert best_constant(common) == {"edema"}  # F1 0.75; with fracture too 2 * 4 / (8 + 4) = 0.67
    assert best_constant([sample_of()]) == frozenset()


# ---- probabilities --------------------------------------------------------------------------------------------------
GRADED = (
    sample_of(edema=(0.2, "both")), sample_of(edema=(0.5, "both")), sample_of(fracture=(0.9, "left")), sample_of(),
)  # fmt: skip


def test_truth_by_severity() -> None:
    names = ("edema", "fracture")
    assert graded_labels(GRADED, names).tolist() == [[1, 0], [1, 0], [0, 1], [0, 0]]
    moderate = graded_labels(GRADED, names, least=SUBTLE_BELOW)
    assert np.isnan(moderate[0, 0])
    assert moderate[1:].tolist() == [[1, 0], [0, 1], [0, 0]]
    faint = graded_labels(GRADED, names, below=0.4)
    assert faint[0].tolist() == [1, 0]
    assert np.isnan(faint[1, 0])
    assert np.isnan(faint[2, 1])
    assert faint[3].tolist() == [0, 0]


def test_a_missed_subtle_finding_lowers_only_the_whole() -> None:
    logits = [{"edema": logit} for logit in (-3.0, 2.0, 0.0, -1.0)]
    result, _ = score_graded(GRADED, logits, ("edema",), bootstrap_counts(4, 50))
    assert result.all_severities.macro.value == 0.5  # 2 of 4 pairs
    assert result.moderate_or_worse.macro.value == 1.0


def test_grades_of_a_sample() -> None:
    sample = sample_of(edema=(0.2, "both"), fracture=(1 / 3, "left"), cardiomegaly=(0.9, "midline"))
    assert sample.clear_findings == {"fracture", "cardiomegaly"}
    assert sample.subtle_findings == {"edema"}
    assert sample.leading == "cardiomegaly"
    assert sample_of().leading == "no finding"


def test_labels_of_a_data_set_by_hand() -> None:
    labels, logits = [{"a": 1.0}, {"a": 0.0}, {"b": 1.0}], [{"a": 2.0}, {"a": 1.0}, {"b": 0.0}]
    names, truth, scores = label_tables(labels, logits)
    assert names == ["a", "b"]
    np.testing.assert_array_equal(truth, [[1, np.nan], [0, np.nan], [np.nan, 1]])
    np.testing.assert_array_equal(scores, [[2, 0], [1, 0], [0, 0]])
    others = [{"a": 1.0}, {"a": 0.0}], [{"a": 0.5}, {"a": 0.1}]
    values = score_labels(labels, logits, *others, bootstrap_counts(3, 200))
    assert values is not None
    assert (values.macro_auroc.floor, values.micro_auroc.floor) == (0.5, 0.75), "a is there half of the time, b always"
    assert (values.too_few, values.findings["a"].scores["auroc"].interval) == (["a"], None), "two images"
    assert values.one_class_only == ["b"]
    found = {name: finding.scores for name, finding in values.findings.items()}
    assert found["a"]["auroc"].value == 1.0
    assert found["a"]["f1"].threshold == 0.5, "the best one on the other images"
    assert found["a"]["f1"].value == pytest.approx(2 / 3, abs=1e-6), "and there both are called present"
    assert found["b"]["f1"] is None
    assert score_labels(labels, [{}] * 3, *others, bootstrap_counts(3, 200)) is None


def test_glimpses_are_judged_by_faint_findings_in_pairs() -> None:
    """Between models with the same answers on all but faint findings the gain is that on faint ones alone."""
    samples = [sample_of(edema=(0.2, "both"))] * 20 + [sample_of(edema=(0.9, "both"))] * 20 + [sample_of()] * 20
    counts, names = bootstrap_counts(60, 200), ("edema",)

    def scored(faint: float) -> Scored:
        values = np.array([[faint]] * 20 + [[2.0]] * 20 + [[0.1 * number] for number in range(20)])
        labels = graded_labels(samples, names, below=FAINT_BELOW)
        found = macro_auroc(labels, values, names, counts)
        return Scored(ModelScores.model_construct(), None, found, None, None)

    better, worse = scored(1.55), scored(0.75)
    gained = faint_bar(better, worse)
    assert gained.value == pytest.approx(0.4)
    assert gained.met
    assert faint_bar(worse, better).met is False
    assert faint_bar(better, better).met is False
    assert faint_bar(better, None).met is None
