"""All scores of a scanpath against another, each with what it sees: the one list for tables, files and the page."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.alignment import chunks, levenshtein
from gazevlm_core.metrics.distance import dtw_distances, embedding_distances, frechet_distances
from gazevlm_core.metrics.multimatch import MultiMatch, multimatch
from gazevlm_core.metrics.paths import PathBatch, check_pairs, patch_strings
from gazevlm_core.metrics.scanmatch import ScanMatch
from gazevlm_core.metrics.sequence import string_scores
from gazevlm_core.metrics.sets import coverage, jaccard

Order = Literal["sensitive", "weak", "blind"]
SHUFFLES = 8
DURATION_BIN_MS = 100.0
DEFAULT_GRID = PatchGrid(8, 8)


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

    def order_gain(self, truth: PathBatch, predicted: PathBatch, seed: int = 0, shuffles: int = SHUFFLES) -> np.ndarray:
        """Order gain: score of the order as it is, less the mean score of the same fixations shuffled, float64 [P].

        Positive where the order helps, for distances too. Our own figure.

        Args:
            truth, predicted: P pairs.
            seed: of the shuffles.
            shuffles: how many orders are averaged.
        """
        own = self.scores(truth, predicted)
        mixed = np.mean([self.scores(truth, shuffle(predicted, seed, turn)) for turn in range(shuffles)], axis=0)
        return own - mixed if self.higher_is_better else mixed - own


def shuffle(batch: PathBatch, seed: int, turn: int = 0) -> PathBatch:
    """Every path in a random order; `turn` counts the shuffles of one seed."""
    keys = np.random.default_rng([seed, 1, turn]).random(batch.xy.shape[:2])
    return batch.with_order(np.argsort(np.where(batch.inside, keys, 2.0), axis=1, kind="stable"))


def reverse(batch: PathBatch) -> PathBatch:
    """Every path backwards."""
    columns = np.arange(batch.xy.shape[1])
    back = batch.lengths[:, None] - 1 - columns
    return batch.with_order(np.where(back >= 0, back, columns))


def path_metrics(grid: PatchGrid = DEFAULT_GRID) -> dict[str, PathMetric]:
    """Every score by name, those that see the order first.

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

    plain, timed = ScanMatch(), ScanMatch(bin_ms=DURATION_BIN_MS)
    metrics = [
        PathMetric("sequence score", "sensitive", True, strings),
        PathMetric("ScanMatch", "sensitive", True, plain.scores),
        PathMetric("ScanMatch with durations", "sensitive", True, timed.scores),
        PathMetric("Levenshtein similarity", "sensitive", True, edit_similarity),
        PathMetric("DTW distance", "sensitive", False, dtw_distances),
        PathMetric("Frechet distance", "sensitive", False, frechet_distances),
        PathMetric("time-delay embedding distance", "sensitive", False, embedding_distances),
        PathMetric("Jaccard", "blind", True, lambda truth, predicted: jaccard(truth, predicted, grid)),
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
    """Scores of P pairs by many metrics, float64 [P] by name: as from each one, but MultiMatch is aligned only once."""
    found: dict[str, np.ndarray] = {}
    shared: MultiMatch | None = None
    for metric in metrics:
        if isinstance(metric.scores, _Dimension):
            shared = shared or multimatch(truth, predicted)
            found[metric.name] = getattr(shared, metric.scores.name)
        else:
            found[metric.name] = metric.scores(truth, predicted)
    return found
