"""AUROC: by hand, against scikit-learn, and honest about findings with one class."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from gazevlm_core.metrics.intervals import bootstrap_counts
from gazevlm_core.metrics.labels import auroc, auroc_samples, macro_auroc


def test_auroc_by_hand() -> None:
    labels, scores = np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.5, 0.5])
    assert auroc(labels, scores) == pytest.approx(2.5 / 4)  # wins: 2 over both negatives, then a loss and a tie


def test_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="one class only"):
        auroc(np.ones(3), np.arange(3.0))


def test_resampled_auroc_equals_scikit_learn_on_the_repeated_images() -> None:
    rng = np.random.default_rng(2)
    labels, scores = rng.integers(0, 2, 40), rng.integers(0, 8, 40) / 8  # many ties
    counts = bootstrap_counts(40, 30, seed=1)
    expected = [
        roc_auc_score(np.repeat(labels, row.astype(int)), np.repeat(scores, row.astype(int))) for row in counts
    ]
    np.testing.assert_allclose(auroc_samples(labels, scores, counts), expected, rtol=1e-12)


def test_a_resample_of_one_class_is_undefined() -> None:
    labels, scores = np.repeat([1, 0], 5), np.repeat([0.9, 0.1], 5)
    counts = np.array([[1.0, 2, 3, 4, 5, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 2, 3, 4, 5]])
    samples = auroc_samples(labels, scores, counts)
    assert np.isnan(samples[0])
    assert samples[1] == 1.0


def test_a_finding_that_few_have_is_neither_in_the_mean_nor_in_its_interval() -> None:
    rng = np.random.default_rng(3)
    labels = np.zeros((80, 3))
    labels[:40, 0], labels[:5, 1], labels[0, 2] = 1, 1, 1
    scores, counts = labels + rng.normal(size=(80, 3)), bootstrap_counts(80, 400)
    result = macro_auroc(labels, scores, ("often", "five", "once"), counts)
    assert result.too_few == ("once",)
    assert np.isnan([result.per_finding["once"].low, result.per_finding["once"].high]).all()
    assert result.macro.value == np.mean([result.per_finding[name].value for name in ("often", "five")])
    lost = np.isnan(auroc_samples(labels[:, 1], scores[:, 1], counts))
    assert lost.any(), "some resamples have none of the five"
    often = auroc_samples(labels[:, 0], scores[:, 0], counts)
    filled = (often[lost] + result.per_finding["five"].value) / 2
    np.testing.assert_allclose(result.samples[lost], filled, err_msg="a mean of the same findings as the value")
    alone = macro_auroc(labels[:, 2:], scores[:, 2:], ("once",), counts)
    assert alone.macro.value == alone.per_finding["once"].value
    assert np.isnan([alone.macro.low, alone.macro.high]).all()


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    truth, held, given = 0.5, 0, 0
    for number in range(100):
        scores = np.random.default_rng(number).normal(size=80)
        area = macro_auroc((np.arange(80) < 1 + 5 * (number % 2))[:, None].astype(float), scores[:, None], ("a",),
                           bootstrap_counts(80, 200, number)).macro  # fmt: skip
        given += bool(np.isfinite(area.low))
        held += bool(area.low <= truth <= area.high)
    assert given == 50, "one positive gives no interval, six do"
    assert held >= 40


def test_macro_is_the_mean_of_the_findings_with_both_classes() -> None:
    labels = np.array([[1, 1, 0], [0, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=float)
    scores = np.array([[0.9, 0.1, 0.5], [0.1, 0.6, 0.5], [0.8, 0.7, 0.5], [0.2, 0.2, 0.5]])
    result = macro_auroc(labels, scores, ("a", "b", "c"), bootstrap_counts(4, 100))
    assert {name: estimate.value for name, estimate in result.per_finding.items()} == {"a": 1.0, "b": 0.0}
    assert (result.macro.value, result.skipped) == (0.5, ("c",))
    assert result.samples.shape == (100,)


def test_unknown_labels_are_left_out_for_their_finding() -> None:
    labels = np.array([[1.0], [0.0], [np.nan]])
    scores = np.array([[0.6], [0.5], [0.0]])
    assert macro_auroc(labels, scores, ("a",), bootstrap_counts(3, 50)).macro.value == 1.0
    labels[2] = 1.0
    assert macro_auroc(labels, scores, ("a",), bootstrap_counts(3, 50)).macro.value == 0.5


def test_no_finding_with_both_classes_gives_nothing() -> None:
    result = macro_auroc(np.zeros((3, 1)), np.zeros((3, 1)), ("a",), bootstrap_counts(3, 10))
    assert np.isnan(result.macro.value)
    assert result.skipped == ("a",)


def test_nan_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        macro_auroc(np.array([[1.0], [0.0]]), np.array([[np.nan], [0.0]]), ("a",), bootstrap_counts(2, 5))
