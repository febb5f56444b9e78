"""Scores of probabilities: by hand and by scikit-learn; thresholds come from elsewhere; patients are drawn whole."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from gazevlm_core.metrics.intervals import bootstrap_counts, patient_counts
from gazevlm_core.metrics.labels import (
    average_precision,
    best_threshold,
    calibration_error,
    f1_at,
    micro_auroc,
    prevalence_auroc,
)

RNG = np.random.default_rng(0)
LABELS = (RNG.random((80, 3)) < 0.3).astype(float)
SCORES = np.clip(0.3 * LABELS + 0.7 * RNG.random((80, 3)), 0, 1)
COUNTS = bootstrap_counts(80, 60)


def test_pooled_scores_are_scikit_learns() -> None:
    assert micro_auroc(LABELS, SCORES, COUNTS).value == pytest.approx(roc_auc_score(LABELS.ravel(), SCORES.ravel()))
    pooled = average_precision_score(LABELS.ravel(), SCORES.ravel())
    assert average_precision(LABELS, SCORES, COUNTS).value == pytest.approx(pooled)
    single = average_precision(LABELS[:, 0], SCORES[:, 0], COUNTS)
    assert single.value == pytest.approx(average_precision_score(LABELS[:, 0], SCORES[:, 0]))
    assert single.low < single.value < single.high


def test_weights_of_a_resample_are_repeated_images() -> None:
    estimate = micro_auroc(LABELS, SCORES, COUNTS[:4])
    drawn = [np.repeat(np.arange(80), row.astype(int)) for row in COUNTS[:4]]
    areas = [roc_auc_score(LABELS[rows].ravel(), SCORES[rows].ravel()) for rows in drawn]
    assert [estimate.low, estimate.high] == pytest.approx(np.quantile(areas, [0.025, 0.975]).tolist())


def test_prevalences_alone_are_the_floor_of_all_labels_pooled() -> None:
    labels = np.array([[1, 0], [1, 0], [1, 1], [0, 0], [np.nan, 0]], dtype=float)
    # 3 positives of the frequent finding (0.75) and 1 of the rare (0.2) against 1 and 4 negatives
    assert prevalence_auroc(labels) == pytest.approx((3 * (4 + 0.5) + 0.5 * 4) / (4 * 5))
    constant = np.broadcast_to([0.75, 0.2], labels.shape)
    assert micro_auroc(labels, constant, bootstrap_counts(5, 10)).value == pytest.approx(prevalence_auroc(labels))
    assert prevalence_auroc(labels[:, :1]) == 0.5
    assert np.isnan(prevalence_auroc(np.full((3, 2), np.nan)))


@pytest.mark.parametrize(("positive", "told"), [(1, False), (4, False), (5, True), (76, False)])
def test_too_few_of_either_class_give_a_value_and_no_interval(positive: int, told: bool) -> None:
    labels, scores, counts = (np.arange(80) < positive).astype(float), SCORES[:, 0], bootstrap_counts(80, 60)
    of_pairs = patient_counts(np.arange(80) // 2, 60)
    for score in (average_precision, micro_auroc):
        estimate = score(labels, scores, counts)
        assert np.isfinite(estimate.value)
        assert np.isfinite([estimate.low, estimate.high]).all() == told
        assert np.isnan(score(labels, scores, of_pairs).low), "half as many patients as images"
    assert np.isfinite(f1_at(0.5, labels, scores, counts).low) == (positive >= 5), "F1 needs no negatives"
    assert np.isnan(calibration_error(labels[:4], scores[:4], counts[:, :4]).low)


def test_unknown_labels_are_left_out() -> None:
    labels = LABELS.copy()
    labels[:40, 1] = np.nan
    known = ~np.isnan(labels)
    assert micro_auroc(labels, SCORES, COUNTS).value == pytest.approx(roc_auc_score(labels[known], SCORES[known]))
    assert np.isnan(micro_auroc(np.zeros((80, 1)), SCORES[:, :1], COUNTS).value)
    assert np.isnan(average_precision(np.full(80, np.nan), SCORES[:, 0], COUNTS).value)


def test_threshold_is_the_best_of_all_and_f1_is_scikit_learns() -> None:
    labels, scores = LABELS[:, 0], SCORES[:, 0]
    threshold = best_threshold(labels, scores)
    every = [f1_score(labels, scores >= value) for value in np.unique(scores)]
    assert f1_score(labels, scores >= threshold) == pytest.approx(max(every))
    assert f1_at(threshold, labels, scores, COUNTS).value == pytest.approx(max(every))
    assert f1_at(2.0, labels, scores, COUNTS).value == 0.0
    assert np.isnan(f1_at(0.5, np.zeros(80), scores, COUNTS).value)
    with pytest.raises(ValueError, match="positive"):
        best_threshold(np.zeros(80), scores)


def test_calibration_by_hand() -> None:
    stated, truth = np.array([0.1, 0.1, 0.9, 0.9]), np.array([0.0, 1.0, 1.0, 1.0])
    error = calibration_error(truth, stated, bootstrap_counts(4, 10), bins=2)
    assert error.value == pytest.approx((abs(0.1 - 0.5) * 2 + abs(0.9 - 1.0) * 2) / 4)
    assert calibration_error(np.ones(4), np.ones(4), bootstrap_counts(4, 10)).value == 0.0
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        calibration_error(truth, stated + 1, bootstrap_counts(4, 10))


def test_patients_are_drawn_with_all_their_images() -> None:
    patients = np.array(["b", "a", "b", "c", "a", "b"])
    counts = patient_counts(patients, 50)
    assert np.array_equal(counts[:, 0], counts[:, 2])
    assert np.array_equal(counts[:, 1], counts[:, 4])
    assert (counts[:, [0, 1, 3]].sum(axis=1) == 3).all()
    assert np.array_equal(patient_counts(np.arange(6), 50), bootstrap_counts(6, 50))


def test_shapes_must_fit_and_scores_be_finite() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        micro_auroc(LABELS, SCORES[:, :2], COUNTS)
    with pytest.raises(ValueError, match="finite"):
        average_precision(LABELS, np.full_like(SCORES, np.nan), COUNTS)
