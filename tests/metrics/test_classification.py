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
    estimate = micro_auroc(LABELS, SCORES, COUNTS[:1])
    rows = np.repeat(np.arange(80), COUNTS[0].astype(int))
    assert estimate.low == pytest.approx(roc_auc_score(LABELS[rows].ravel(), SCORES[rows].ravel()))


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
