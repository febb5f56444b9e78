"""Which patches were looked at, whatever the order: blind to order by design, and labelled so where they are shown."""

import numpy as np

from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.paths import PathBatch, check_pairs, patch_strings


def visited(batch: PathBatch, grid: PatchGrid) -> np.ndarray:
    """Whether each path fixates each patch, bool [P, patches]."""
    strings = patch_strings(batch, grid)
    seen = np.zeros((len(batch), len(grid) + 1), dtype=bool)  # the last column takes what lies beyond the paths' ends
    seen[np.arange(len(batch))[:, None], strings] = True
    return seen[:, :-1]


def jaccard(first: PathBatch, second: PathBatch, grid: PatchGrid) -> np.ndarray:
    """Patches that both paths fixate, of those that any of them does, float64 [P] in [0, 1] (Jaccard 1912)."""
    check_pairs(first, second)
    a, b = visited(first, grid), visited(second, grid)
    return (a & b).sum(axis=1) / (a | b).sum(axis=1)


def coverage(truth: PathBatch, predicted: PathBatch, grid: PatchGrid) -> np.ndarray:
    """Share of the truth's patches that the prediction fixates too, float64 [P]; a long path covers everything."""
    check_pairs(truth, predicted)
    a, b = visited(truth, grid), visited(predicted, grid)
    return (a & b).sum(axis=1) / a.sum(axis=1)
