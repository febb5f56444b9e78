"""Distances between scanpaths as curves: dynamic time warping, discrete Frechet, and time-delay embedding.

All are in fractions of the image's diagonal, so that images of several sizes can be averaged; 0 is equal.
"""

from collections.abc import Callable

import numpy as np

from gazevlm_core.metrics.alignment import chunks, discrete_frechet, dynamic_time_warping
from gazevlm_core.metrics.paths import PathBatch, check_pairs, distances

EMBEDDING_WINDOW = 3


def dtw_distances(first: PathBatch, second: PathBatch) -> np.ndarray:
    """Return the mean distance along the warping path of least summed distance (dynamic time warping), float64 [P].

    Variant pinned here: the least sum over the longer path's length (every warping path has at least that many cells),
    so that long paths are not far for their length alone. See `metrics.alignment` for the source.
    """
    summed = _aligned(first, second, dynamic_time_warping)
    return summed / np.maximum(first.lengths, second.lengths)


def frechet_distances(first: PathBatch, second: PathBatch) -> np.ndarray:
    """Return the discrete Frechet distance, float64 [P]; see `metrics.alignment` for the source."""
    return _aligned(first, second, discrete_frechet)


def embedding_distances(first: PathBatch, second: PathBatch, window: int = EMBEDDING_WINDOW) -> np.ndarray:
    """Return the time-delay embedding distance, float64 [P].

    Every run of `window` fixations of the second path (the prediction) is compared with the nearest run of the first
    (the truth): Euclidean distance of the stacked positions over `window`, averaged over the runs. Source: Wang et al.,
    "Simulating human saccadic scanpaths on natural images" (CVPR 2011). Variant pinned here: mean, not maximum, over
    runs, and for a path shorter than the window, the window is as long as the shorter path.

    Raises:
        ValueError: batches that cannot be paired, or a window below 1.
    """
    check_pairs(first, second)
    if window < 1:
        raise ValueError(f"a window holds at least one fixation, got {window}")
    result = np.empty(len(first))
    windows = np.minimum(np.minimum(first.lengths, second.lengths), window)
    for size in np.unique(windows).tolist():
        (rows,) = np.nonzero(windows == size)
        for part in chunks(len(rows), 2 * size * first.xy.shape[1] * second.xy.shape[1]):
            some = rows[part]
            result[some] = _embedded(first[some], second[some], size)
    return result / first.diagonals


def _embedded(first: PathBatch, second: PathBatch, size: int) -> np.ndarray:
    runs = [
        np.stack([batch.xy[:, k : batch.xy.shape[1] - size + 1 + k] for k in range(size)], axis=2)
        for batch in (first, second)
    ]  # [P, L - size + 1, size, 2]
    apart = runs[1][:, :, None] - runs[0][:, None]  # [P, B', A', size, 2]
    far = np.sqrt((apart**2).sum(axis=(-2, -1))) / size
    real = [
        np.arange(run.shape[1]) <= (batch.lengths - size)[:, None]
        for run, batch in zip(runs, (first, second), strict=True)
    ]
    nearest = np.where(real[0][:, None, :], far, np.inf).min(axis=2)
    return np.where(real[1], nearest, 0.0).sum(axis=1) / real[1].sum(axis=1)


def _aligned(
    first: PathBatch, second: PathBatch, align: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    check_pairs(first, second)
    result = np.empty(len(first))
    for part in chunks(len(first), first.xy.shape[1] * second.xy.shape[1]):
        a, b = first[part], second[part]
        result[part] = align(distances(a, b), a.lengths, b.lengths)
    return result / first.diagonals
