"""Scores of probabilities beyond AUROC: average precision, F1 at a threshold chosen elsewhere, and calibration.

Sources: scikit-learn for what it has (AUROC over all labels pooled, average precision without interpolation, F1);
expected calibration error by Naeini et al., AAAI 2015, with equally wide bins.
"""

from collections.abc import Callable

import numpy as np

from gazevlm_core.metrics.intervals import Estimate, estimate_of

CALIBRATION_BINS = 15
_Statistic = Callable[[np.ndarray], float]


def _known(labels: np.ndarray, scores: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores and the image of each known label, all flat.

    Args:
        labels: float [N] or [N, F] of 1, 0 and NaN for unknown.
        scores: float, of the same shape.
        counts: [R, N] from `bootstrap_counts` or `patient_counts`.
    """
    if labels.shape != scores.shape or counts.shape[1] != len(labels):
        raise ValueError(f"labels {labels.shape}, scores {scores.shape} and counts {counts.shape} do not fit")
    known = ~np.isnan(labels)
    if not np.isfinite(scores[known]).all():
        raise ValueError("scores must be finite; the model gave NaN or infinite ones")
    return labels[known].astype(np.int64), scores[known], np.nonzero(known)[0]


def _estimate(statistic: _Statistic, images: np.ndarray, counts: np.ndarray) -> Estimate:
    """A statistic of the labels' weights, on the images as they are and in each resample."""
    samples = np.array([statistic(row[images]) for row in counts])
    return estimate_of(statistic(np.ones(len(images))), samples)


def micro_auroc(labels: np.ndarray, scores: np.ndarray, counts: np.ndarray) -> Estimate:
    """AUROC of all labels [N, F] pooled, as if they were one finding's; NaN with one class. Errors as in `_known`."""
    from sklearn.metrics import roc_auc_score  # late: importing this module must be quick

    truth, score, images = _known(labels, scores, counts)
    statistic = _both_classes(truth, lambda w: float(roc_auc_score(truth, score, sample_weight=w)))
    return _estimate(statistic, images, counts)


def average_precision(labels: np.ndarray, scores: np.ndarray, counts: np.ndarray) -> Estimate:
    """AUPRC as average precision, of one finding [N] or of several pooled [N, F]; its chance level is the prevalence.

    NaN with one class. Errors as in `_known`.
    """
    from sklearn.metrics import average_precision_score

    truth, score, images = _known(labels, scores, counts)
    statistic = _both_classes(truth, lambda w: float(average_precision_score(truth, score, sample_weight=w)))
    return _estimate(statistic, images, counts)


def best_threshold(labels: np.ndarray, scores: np.ndarray) -> float:
    """The score from which on saying "present" gives the highest F1; the lowest such score on a tie.

    To be chosen on validation images only, and used on others by `f1_at`.

    Args:
        labels: float [N] of 1, 0 and NaN for unknown.
        scores: float [N].

    Raises:
        ValueError: no positive label, which leaves F1 undefined.
    """
    from sklearn.metrics import precision_recall_curve

    known = ~np.isnan(labels)
    if not (labels[known] == 1).any():
        raise ValueError("a threshold needs positive images; choose it on a set that has some")
    precision, recall, thresholds = precision_recall_curve(labels[known], scores[known])
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)[:-1]
    return float(thresholds[int(np.argmax(f1))])


def f1_at(threshold: float, labels: np.ndarray, scores: np.ndarray, counts: np.ndarray) -> Estimate:
    """F1 of saying "present" from a threshold on; NaN without positive labels. Errors as in `_known`."""
    truth, score, images = _known(labels, scores, counts)
    said = score >= threshold

    def f1(weights: np.ndarray) -> float:
        hits, claims, positives = (weights @ column for column in (truth * said, said, truth))
        return float(2 * hits / (claims + positives)) if positives > 0 else float("nan")

    return _estimate(f1, images, counts)


def calibration_error(
    labels: np.ndarray, probabilities: np.ndarray, counts: np.ndarray, bins: int = CALIBRATION_BINS
) -> Estimate:
    """Expected calibration error: mean distance of stated probability and true share, over bins of equal width.

    Raises:
        ValueError: probabilities outside [0, 1], no bin, or as in `_known`.
    """
    truth, stated, images = _known(labels, probabilities, counts)
    if bins < 1 or (len(stated) and (stated.min() < 0 or stated.max() > 1)):
        raise ValueError("calibration needs bins, and probabilities in [0, 1]")
    place = np.minimum((stated * bins).astype(np.int64), bins - 1)

    def error(weights: np.ndarray) -> float:
        off = np.bincount(place, weights * (stated - truth), bins)
        return float(np.abs(off).sum() / weights.sum()) if weights.sum() > 0 else float("nan")

    return _estimate(error, images, counts)


def _both_classes(truth: np.ndarray, statistic: _Statistic) -> _Statistic:
    """NaN where the weights leave one class only."""

    def guarded(weights: np.ndarray) -> float:
        there = truth[weights > 0]
        return statistic(weights) if len(there) and 0 < there.sum() < len(there) else float("nan")

    return guarded
