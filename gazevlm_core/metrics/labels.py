"""Scores of labels: AUROC with intervals, per finding and averaged over findings (macro).

AUROC is the probability that a positive image scores higher than a negative one, ties counting half (Hanley and
McNeil, Radiology 1982).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gazevlm_core.metrics.intervals import Estimate, estimate_of

_GROUP = 250  # resamples at once: bounds memory


@dataclass(frozen=True, eq=False)
class MacroAuroc:
    """AUROC of several findings.

    Args:
        macro: mean over the findings that have both classes.
        per_finding: finding name -> its AUROC.
        skipped: findings without positives or without negatives.
        samples: float64 [R], the macro AUROC in each resample; for comparisons in pairs.
    """

    macro: Estimate
    per_finding: dict[str, Estimate]
    skipped: tuple[str, ...]
    samples: np.ndarray


def auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """AUROC of one finding.

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
    """AUROC in each resample, float64 [R]; NaN where a resample holds one class only.

    Args:
        labels: [N] of 1 and 0.
        scores: float [N].
        counts: [R, N] from `bootstrap_counts`.
    """
    order = np.argsort(scores, kind="stable")
    ranked = np.asarray(scores)[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])  # first of each run of equal scores
    present = np.asarray(labels)[order].astype(np.float64)
    result = np.full(len(counts), np.nan)
    for first in range(0, len(counts), _GROUP):
        drawn = counts[first : first + _GROUP][:, order]
        positive = np.add.reduceat(drawn * present, starts, axis=1)
        negative = np.add.reduceat(drawn * (1 - present), starts, axis=1)
        below = np.cumsum(negative, axis=1) - negative
        wins = (positive * (below + 0.5 * negative)).sum(axis=1)
        pairs = positive.sum(axis=1) * negative.sum(axis=1)
        np.divide(wins, pairs, out=result[first : first + _GROUP], where=pairs > 0)
    return result


def macro_auroc(labels: np.ndarray, scores: np.ndarray, names: Sequence[str], counts: np.ndarray) -> MacroAuroc:
    """AUROC per finding and their mean, with bootstrap intervals by image.

    A finding with one class only is skipped and named. In a resample that leaves one of the others with a single class,
    the mean runs over the rest.

    Args:
        labels: float [N, F] of 1, 0 and NaN; an image with NaN is left out for that finding.
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
    per_finding: dict[str, Estimate] = {}
    columns: list[np.ndarray] = []
    for column, name in enumerate(names):
        known = ~np.isnan(labels[:, column])
        truth, score = labels[known, column], scores[known, column]
        if len(np.unique(truth)) < 2:
            continue
        samples = auroc_samples(truth, score, counts[:, known])
        per_finding[name] = estimate_of(auroc(truth, score), samples)
        columns.append(samples)
    skipped = tuple(name for name in names if name not in per_finding)
    if not columns:
        nan = float("nan")
        return MacroAuroc(Estimate(nan, nan, nan), per_finding, skipped, np.full(len(counts), nan))
    table = np.stack(columns)  # [F', R]
    known_cells = ~np.isnan(table)
    found = known_cells.sum(axis=0)
    totals = np.where(known_cells, table, 0.0).sum(axis=0)
    means = np.divide(totals, found, out=np.full(len(counts), np.nan), where=found > 0)
    value = float(np.mean([estimate.value for estimate in per_finding.values()]))
    return MacroAuroc(estimate_of(value, means), per_finding, skipped, means)
