"""Every metric, once: what is listed here stands in the JSON, tables, cards, pages and commands of the evaluation.

A metric is one entry: of a path against another (`path_metrics`), of one finding's probabilities (LABEL_METRICS), or of
the map behind each fixation (MAP_METRICS).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

import numpy as np

from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.alignment import chunks, levenshtein
from gazevlm_core.metrics.distance import dtw_distances, embedding_distances, frechet_distances
from gazevlm_core.metrics.intervals import Estimate, estimate_of
from gazevlm_core.metrics.labels import (
    CHANCE,
    auroc,
    auroc_samples,
    average_precision,
    best_threshold,
    calibration_error,
    f1_at,
)
from gazevlm_core.metrics.multimatch import MultiMatch, multimatch
from gazevlm_core.metrics.paths import PathBatch, check_pairs, coverage, jaccard, patch_strings
from gazevlm_core.metrics.saliency import conditional_information_gain, conditional_nss
from gazevlm_core.metrics.scanmatch import scanmatch_scores
from gazevlm_core.metrics.sequence import string_scores

Order = Literal["sensitive", "weak", "blind"]
Scores = TypeVar("Scores", float, np.ndarray)
DURATION_BIN_MS = 100.0
DEFAULT_GRID = PatchGrid(8, 8)
SEQUENCE, SCANMATCH, JACCARD, AUROC = "sequence score", "ScanMatch", "Jaccard", "AUROC"


# ---- a path against another -----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class PathMetric:
    """A score of predicted paths against true ones.

    Args:
        name: unique.
        order: what the score sees of the order of fixations.
        higher_is_better: False for distances.
        scores: (truth, predicted) -> float64 [P], NaN where it is not defined.
    """

    name: str
    order: Order
    higher_is_better: bool
    scores: Callable[[PathBatch, PathBatch], np.ndarray]

    @property
    def better(self) -> Literal["higher", "lower"]:
        """Which way is better, as reports say it."""
        return "higher" if self.higher_is_better else "lower"

    def gain(self, own: Scores, mixed: Scores) -> Scores:
        """Return how much better scores are than others, with the sign turned for distances."""
        return own - mixed if self.higher_is_better else mixed - own


def path_metrics(grid: PatchGrid = DEFAULT_GRID) -> dict[str, PathMetric]:
    """Return every score of paths by name, those that see the order first.

    Args:
        grid: of the scores on strings and sets of patches.
    """

    def strings(truth: PathBatch, predicted: PathBatch) -> np.ndarray:
        check_pairs(truth, predicted)
        return string_scores(
            patch_strings(truth, grid), truth.lengths, patch_strings(predicted, grid), predicted.lengths
        )

    def edit_similarity(truth: PathBatch, predicted: PathBatch) -> np.ndarray:
        check_pairs(truth, predicted)
        a, b = patch_strings(truth, grid), patch_strings(predicted, grid)
        edits = np.empty(len(truth))
        for part in chunks(len(truth), a.shape[1] * b.shape[1]):
            differs = a[part][:, :, None] != b[part][:, None, :]
            edits[part] = levenshtein(differs, truth.lengths[part], predicted.lengths[part])
        return 1 - edits / np.maximum(truth.lengths, predicted.lengths)

    metrics = [
        PathMetric(SEQUENCE, "sensitive", True, strings),
        PathMetric(SCANMATCH, "sensitive", True, scanmatch_scores),
        PathMetric("ScanMatch with durations", "sensitive", True, partial(scanmatch_scores, bin_ms=DURATION_BIN_MS)),
        PathMetric("Levenshtein similarity", "sensitive", True, edit_similarity),
        PathMetric("DTW distance", "sensitive", False, dtw_distances),
        PathMetric("Frechet distance", "sensitive", False, frechet_distances),
        PathMetric("time-delay embedding distance", "sensitive", False, embedding_distances),
        PathMetric(JACCARD, "blind", True, lambda truth, predicted: jaccard(truth, predicted, grid)),
        PathMetric("coverage", "blind", True, lambda truth, predicted: coverage(truth, predicted, grid)),
    ]
    metrics += [PathMetric(f"MultiMatch {name}", "weak", True, _Dimension(name)) for name in MultiMatch._fields]
    return {metric.name: metric for metric in metrics}


@dataclass(frozen=True)
class _Dimension:
    """One of MultiMatch's five similarities."""

    name: str

    def __call__(self, truth: PathBatch, predicted: PathBatch) -> np.ndarray:
        return getattr(multimatch(truth, predicted), self.name)


def all_scores(metrics: Iterable[PathMetric], truth: PathBatch, predicted: PathBatch) -> dict[str, np.ndarray]:
    """Return the scores of P pairs by many metrics, float64 [P] by name; MultiMatch is aligned only once."""
    found: dict[str, np.ndarray] = {}
    shared: MultiMatch | None = None
    for metric in metrics:
        if isinstance(metric.scores, _Dimension):
            shared = shared or multimatch(truth, predicted)
            found[metric.name] = getattr(shared, metric.scores.name)
        else:
            found[metric.name] = metric.scores(truth, predicted)
    return found


# ---- one finding's probabilities ------------------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class LabelTask:
    """One finding on N images.

    Args:
        labels: float [N] of 1, 0 and NaN for unknown; at least one is known.
        logits: float [N].
        counts: [R, N] from `patient_counts`.
        other_labels, other_logits: float [M] of images that are not scored, for thresholds; may be empty.
    """

    labels: np.ndarray
    logits: np.ndarray
    counts: np.ndarray
    other_labels: np.ndarray
    other_logits: np.ndarray


@dataclass(frozen=True)
class LabelMetric:
    """A score of one finding's probabilities.

    Args:
        key: in files.
        name: in tables.
        floor: prevalence -> score of who knows no more than that; None where there is no such floor.
        score: the estimate, and the threshold where it has one; None where it cannot be computed.
    """

    key: str
    name: str
    floor: Callable[[float], float] | None
    score: Callable[[LabelTask], tuple[Estimate, float | None] | None]


def _auroc(task: LabelTask) -> tuple[Estimate, None]:
    known = ~np.isnan(task.labels)
    labels, logits = task.labels[known], task.logits[known]
    if len(np.unique(labels)) < 2:
        return Estimate(*[float("nan")] * 3), None
    return estimate_of(auroc(labels, logits), auroc_samples(labels, logits, task.counts[:, known])), None


def _f1(task: LabelTask) -> tuple[Estimate, float] | None:
    """At the threshold that is best on other images; None where those have no such finding."""
    if not (task.other_labels == 1).any():
        return None
    threshold = best_threshold(task.other_labels, task.other_logits)
    return f1_at(threshold, task.labels, task.logits, task.counts), threshold


def _calibration(task: LabelTask) -> tuple[Estimate, None]:
    probabilities = 1 / (1 + np.exp(-np.clip(task.logits, -60, 60)))
    return calibration_error(task.labels, probabilities, task.counts), None


LABEL_METRICS: tuple[LabelMetric, ...] = (
    LabelMetric("auroc", AUROC, lambda prevalence: CHANCE, _auroc),
    LabelMetric("auprc", "AUPRC", lambda prevalence: prevalence,
                lambda task: (average_precision(task.labels, task.logits, task.counts), None)),
    LabelMetric("f1", "F1", lambda prevalence: 2 * prevalence / (1 + prevalence), _f1),  # of always saying "present"
    LabelMetric("calibration_error", "calibration error", None, _calibration),
)  # fmt: skip


# ---- the map behind each fixation -----------------------------------------------------------------------------------
@dataclass(frozen=True)
class MapMetric:
    """A score of a model's map at each step of a reader's path; chance is 0.

    Args:
        key: in reports on data sets.
        phantom_key: in reports on phantoms, which were there first.
        name: in tables.
        scores: (maps [K, C], cells [K]) -> float64 [K].
    """

    key: str
    phantom_key: str
    name: str
    scores: Callable[[np.ndarray, np.ndarray], np.ndarray]


MAP_METRICS: tuple[MapMetric, ...] = (
    MapMetric("nss", "nss", "NSS (chance 0)", conditional_nss),
    MapMetric("bits", "information_gain_bits", "information gain over uniform (bits)",
              lambda maps, cells: conditional_information_gain(maps, np.full(maps.shape[1], 1 / maps.shape[1]), cells)),
)  # fmt: skip


def map_scores(maps: np.ndarray, cells: np.ndarray) -> dict[str, np.ndarray]:
    """Return the scores of maps [K, C] at fixations [K] by every map metric, float64 [K] by key."""
    return {metric.key: metric.scores(maps, cells) for metric in MAP_METRICS}
