"""Scores of finding probabilities against labels: AUROC, average precision, F1 at a threshold, calibration.

Labels are 1.0, 0.0 and NaN for unknown. Sources: AUROC is the probability that a positive image scores higher than a
negative one, ties counting half (Hanley and McNeil, Radiology 1982); average precision without interpolation and F1 as
in scikit-learn; expected calibration error by Naeini et al., AAAI 2015, with equally wide bins.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gazevlm_core.metrics.intervals import Estimate, enough_units, estimate_of

CHANCE = 0.5  # AUROC of knowing nothing
CALIBRATION_BINS = 15
_GROUP = 250  # resamples at once: bounds memory
_Statistic = Callable[[np.ndarray], float]


@dataclass(frozen=True, eq=False)
class MacroAuroc:
    """AUROC of several findings.

    Args:
        macro: from `mean_auroc`, over the findings that have both classes.
        per_finding: finding name -> its AUROC.
        skipped: findings without positives or without negatives.
        too_few: findings without an interval, since too few patients have or lack them.
        samples: float64 [R], the macro AUROC in each resample; for comparisons in pairs.
    """

    macro: Estimate
    per_finding: dict[str, Estimate]
    skipped: tuple[str, ...]
    too_few: tuple[str, ...]
    samples: np.ndarray


def auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the AUROC of one finding.

    Args:
        labels: [N], 1 for present and 0 for absent.
        scores: float [N], higher for present.

    Raises:
        ValueError: only one class, for which AUROC is undefined.
    """
    from sklearn.metrics import roc_auc_score  # late: importing this module must be quick

    if len(np.unique(labels)) != 2:
        raise ValueError("AUROC needs positive and negative images, got one class only")
    return float(roc_auc_score(labels, scores))


def auroc_samples(labels: np.ndarray, scores: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the AUROC in each resample, float64 [R]; NaN where a resample holds one class only.

    NaN in all of them where too few patients are in either class: their variation would hardly enter, since just the
    resamples without them drop out.

    Args:
        labels: [N] of 1 and 0.
        scores: float [N].
        counts: [R, N] from `bootstrap_counts`.
    """
    result = np.full(len(counts), np.nan)
    labels = np.asarray(labels)
    if not all(enough_units(counts, labels == value) for value in (0, 1)):
        return result
    order = np.argsort(scores, kind="stable")
    ranked = np.asarray(scores)[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])  # first of each run of equal scores
    present = labels[order].astype(np.float64)
    for first in range(0, len(counts), _GROUP):
        drawn = counts[first : first + _GROUP][:, order]
        positive = np.add.reduceat(drawn * present, starts, axis=1)
        negative = np.add.reduceat(drawn * (1 - present), starts, axis=1)
        below = np.cumsum(negative, axis=1) - negative
        wins = (positive * (below + 0.5 * negative)).sum(axis=1)
        pairs = positive.sum(axis=1) * negative.sum(axis=1)
        np.divide(wins, pairs, out=result[first : first + _GROUP], where=pairs > 0)
    return result


def mean_auroc(findings: Sequence[tuple[float, np.ndarray]]) -> tuple[float, np.ndarray]:
    """Return the mean AUROC over findings, and in each resample, float64 [R]; always over the same findings.

    A finding that too few patients have or lack is in neither: nobody knows how far its AUROC scatters, nor would one
    of a mean with it. Where there is no other, the mean runs over all and has no interval. Where a resample leaves one
    of the others with a single class, which is rare, its AUROC on all images stands in.

    Args:
        findings: AUROC of each, at least one, and in each resample, from `auroc_samples`.
    """
    known = [(value, samples) for value, samples in findings if not np.isnan(samples).all()]
    if not known:
        return float(np.mean([value for value, _ in findings])), findings[0][1]
    means = np.mean([np.where(np.isnan(samples), value, samples) for value, samples in known], axis=0)
    return float(np.mean([value for value, _ in known])), means


def macro_auroc(labels: np.ndarray, scores: np.ndarray, names: Sequence[str], counts: np.ndarray) -> MacroAuroc:
    """Return the AUROC per finding and their mean, with bootstrap intervals by image.

    A finding with one class only is skipped and named.

    Args:
        labels: float [N, F]; an image with NaN is left out for that finding.
        scores: float [N, F].
        names: F finding names.
        counts: [R, N] from `bootstrap_counts`.

    Raises:
        ValueError: shapes that do not fit, or scores that are not finite.
    """
    if labels.shape != scores.shape or labels.shape[1] != len(names) or counts.shape[1] != len(labels):
        raise ValueError(f"labels {labels.shape}, scores {scores.shape} and counts {counts.shape} do not fit")
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite; the model gave NaN or infinite ones")
    found: dict[str, tuple[float, np.ndarray]] = {}
    for column, name in enumerate(names):
        known = ~np.isnan(labels[:, column])
        truth, score = labels[known, column], scores[known, column]
        if len(np.unique(truth)) < 2:
            continue
        found[name] = auroc(truth, score), auroc_samples(truth, score, counts[:, known])
    value, means = mean_auroc(list(found.values())) if found else (float("nan"), np.full(len(counts), np.nan))
    return MacroAuroc(
        estimate_of(value, means),
        per_finding={name: estimate_of(*one) for name, one in found.items()},
        skipped=tuple(name for name in names if name not in found),
        too_few=tuple(name for name, (_, samples) in found.items() if np.isnan(samples).all()),
        samples=means,
    )


def micro_auroc(labels: np.ndarray, scores: np.ndarray, counts: np.ndarray) -> Estimate:
    """Return the AUROC of all labels [N, F] pooled, as if they were one finding's; NaN with one class.

    Its floor is `prevalence_auroc`. Errors as in `_known`.
    """
    from sklearn.metrics import roc_auc_score

    truth, score, images = _known(labels, scores, counts)
    statistic = _both_classes(truth, lambda w: float(roc_auc_score(truth, score, sample_weight=w)))
    return _estimate(statistic, images, counts, images[truth == 1], images[truth == 0])


def prevalence_auroc(labels: np.ndarray) -> float:
    """Return the AUROC of all labels [N, F] pooled of who knows how often each finding is there, and no image.

    It is above one half where findings are unequally frequent. NaN with one class.
    """
    known = ~np.isnan(labels)
    positive = np.where(known, labels, 0.0).sum(axis=0)
    frequent = np.divide(positive, known.sum(axis=0), out=np.zeros(labels.shape[1]), where=known.any(axis=0))
    truth = labels[known]
    if len(np.unique(truth)) < 2:
        return float("nan")
    return auroc(truth, np.broadcast_to(frequent, labels.shape)[known])


def average_precision(labels: np.ndarray, scores: np.ndarray, counts: np.ndarray) -> Estimate:
    """Return the AUPRC as average precision, of one finding [N] or of several pooled [N, F]; NaN with one class.

    Its chance level is the prevalence. Errors as in `_known`.
    """
    from sklearn.metrics import average_precision_score

    truth, score, images = _known(labels, scores, counts)
    statistic = _both_classes(truth, lambda w: float(average_precision_score(truth, score, sample_weight=w)))
    return _estimate(statistic, images, counts, images[truth == 1], images[truth == 0])


def best_threshold(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the score from which on saying "present" gives the highest F1; the lowest such score on a tie.

    To be chosen on validation images only, and used on others by `f1_at`.

    Args:
        labels: float [N].
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
    """Return the F1 of saying "present" from a threshold on; NaN without positive labels. Errors as in `_known`."""
    truth, score, images = _known(labels, scores, counts)
    positive = score >= threshold

    def f1(weights: np.ndarray) -> float:
        hits, claims, positives = (weights @ column for column in (truth * positive, positive, truth))
        return float(2 * hits / (claims + positives)) if positives > 0 else float("nan")

    return _estimate(f1, images, counts, images, images[truth == 1])


def calibration_error(
    labels: np.ndarray, probabilities: np.ndarray, counts: np.ndarray, bins: int = CALIBRATION_BINS
) -> Estimate:
    """Return the expected calibration error: mean distance of probability and true share, over bins of equal width.

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

    return _estimate(error, images, counts, images)


def _known(labels: np.ndarray, scores: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels, scores and the image of each known label, all flat.

    Args:
        labels: float [N] or [N, F].
        scores: float, of the same shape.
        counts: [R, N] from `bootstrap_counts` or `patient_counts`.

    Raises:
        ValueError: shapes that do not fit, or scores that are not finite.
    """
    if labels.shape != scores.shape or counts.shape[1] != len(labels):
        raise ValueError(f"labels {labels.shape}, scores {scores.shape} and counts {counts.shape} do not fit")
    known = ~np.isnan(labels)
    if not np.isfinite(scores[known]).all():
        raise ValueError("scores must be finite; the model gave NaN or infinite ones")
    return labels[known].astype(np.int64), scores[known], np.nonzero(known)[0]


def _estimate(statistic: _Statistic, images: np.ndarray, counts: np.ndarray, *needed: np.ndarray) -> Estimate:
    """Return a statistic of the labels' weights, on the images as they are and in each resample.

    Args:
        statistic: of weights [L].
        images: int [L], the image of each label.
        counts: [R, N].
        needed: groups of images in each of which there must be enough patients for an interval.
    """
    value = statistic(np.ones(len(images)))
    if not all(enough_units(counts, np.unique(group)) for group in needed):
        return estimate_of(value, np.zeros(0))
    return estimate_of(value, np.array([statistic(row[images]) for row in counts]))


def _both_classes(truth: np.ndarray, statistic: _Statistic) -> _Statistic:
    """Return the statistic, NaN where the weights leave one class only."""

    def guarded(weights: np.ndarray) -> float:
        there = truth[weights > 0]
        return statistic(weights) if len(there) and 0 < there.sum() < len(there) else float("nan")

    return guarded
