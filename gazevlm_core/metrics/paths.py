"""Many scanpaths as padded arrays: the form in which metrics take them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gazevlm_core.geometry import PatchGrid
from gazevlm_core.scanpath import Scanpath

Size = tuple[float, float]
UNIT_SQUARE: Size = (1.0, 1.0)


@dataclass(frozen=True, eq=False)
class PathBatch:
    """P scanpaths, padded to the longest.

    Args:
        xy: float64 [P, L, 2], positions in units of `size`; 0 beyond a path's end.
        durations_ms: float64 [P, L]; NaN where unknown, and beyond a path's end.
        lengths: int64 [P], each at least 1.
        sizes: float64 [P, 2], width and height of each image in the same units.
    """

    xy: np.ndarray
    durations_ms: np.ndarray
    lengths: np.ndarray
    sizes: np.ndarray

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, rows: slice | np.ndarray) -> "PathBatch":
        return PathBatch(self.xy[rows], self.durations_ms[rows], self.lengths[rows], self.sizes[rows])

    @property
    def diagonals(self) -> np.ndarray:
        """Diagonal of each image, float64 [P]."""
        return np.hypot(self.sizes[:, 0], self.sizes[:, 1])

    @property
    def inside(self) -> np.ndarray:
        """Whether each entry belongs to its path, bool [P, L]."""
        return np.arange(self.xy.shape[1]) < self.lengths[:, None]

    def with_order(self, order: np.ndarray) -> "PathBatch":
        """Return the same fixations, durations with them, in another order; `order` is int64 [P, L] of column
        numbers."""
        xy = np.take_along_axis(self.xy, order[:, :, None], axis=1)
        return PathBatch(xy, np.take_along_axis(self.durations_ms, order, axis=1), self.lengths, self.sizes)


def pack_paths(paths: Sequence[Scanpath], sizes: Sequence[Size] | Size = UNIT_SQUARE) -> PathBatch:
    """Return scanpaths as arrays.

    Args:
        paths: P of them.
        sizes: width and height of the image, one for all or one for each path. Distances are only meaningful in units
            that are the same along both sides, such as pixels; the default takes the image for a square.

    Raises:
        ValueError: a number of sizes that does not fit, or a size that is not positive.
    """
    table = np.asarray(sizes, dtype=np.float64)
    table = np.broadcast_to(table, (len(paths), 2)) if table.ndim == 1 else table
    if table.shape != (len(paths), 2) or (table.size and table.min() <= 0):
        raise ValueError(f"one positive (width, height) per path is needed, got shape {table.shape}")
    lengths = np.array([len(path) for path in paths], dtype=np.int64)
    longest = int(lengths.max(initial=1))
    xy, durations_ms = np.zeros((len(paths), longest, 2)), np.full((len(paths), longest), np.nan)
    for row, path in enumerate(paths):
        xy[row, : len(path)] = [(fixation.x, fixation.y) for fixation in path]
        durations_ms[row, : len(path)] = [
            np.nan if fixation.duration_ms is None else fixation.duration_ms for fixation in path
        ]
    return PathBatch(xy * table[:, None, :], durations_ms, lengths, table)


def check_pairs(first: PathBatch, second: PathBatch) -> None:
    """Check that two batches can be compared row by row.

    Raises:
        ValueError: different numbers of paths, or images of other sizes.
    """
    if len(first) != len(second):
        raise ValueError(f"cannot pair {len(first)} paths with {len(second)}")
    if not np.array_equal(first.sizes, second.sizes):
        raise ValueError("paths of one pair must lie on images of the same size")


def distances(first: PathBatch, second: PathBatch) -> np.ndarray:
    """Return the Euclidean distance of every fixation of a path to every one of its partner, float64 [P, A, B]."""
    return np.linalg.norm(first.xy[:, :, None, :] - second.xy[:, None, :, :], axis=-1)


def patch_strings(batch: PathBatch, grid: PatchGrid) -> np.ndarray:
    """Return the index of the patch under each fixation, int64 [P, L]; -1 beyond a path's end."""
    return np.where(batch.inside, grid.indices_of(batch.xy / batch.sizes[:, None, :]), -1)


def shuffle(batch: PathBatch, seed: int, turn: int = 0) -> PathBatch:
    """Return every path in a random order; `turn` counts the shuffles of one seed."""
    keys = np.random.default_rng([seed, 1, turn]).random(batch.xy.shape[:2])
    return batch.with_order(np.argsort(np.where(batch.inside, keys, 2.0), axis=1, kind="stable"))


def reverse(batch: PathBatch) -> PathBatch:
    """Return every path backwards."""
    columns = np.arange(batch.xy.shape[1])
    back = batch.lengths[:, None] - 1 - columns
    return batch.with_order(np.where(back >= 0, back, columns))


def visited(batch: PathBatch, grid: PatchGrid) -> np.ndarray:
    """Return whether each path fixates each patch, bool [P, patches]."""
    strings = patch_strings(batch, grid)
    seen = np.zeros((len(batch), len(grid) + 1), dtype=bool)  # the last column takes what lies beyond the paths' ends
    seen[np.arange(len(batch))[:, None], strings] = True
    return seen[:, :-1]


def jaccard(first: PathBatch, second: PathBatch, grid: PatchGrid) -> np.ndarray:
    """Return the patches that both paths fixate, of those that any does, float64 [P] in [0, 1] (Jaccard 1912)."""
    check_pairs(first, second)
    a, b = visited(first, grid), visited(second, grid)
    return (a & b).sum(axis=1) / (a | b).sum(axis=1)


def coverage(truth: PathBatch, predicted: PathBatch, grid: PatchGrid) -> np.ndarray:
    """Return the share of the truth's patches that the prediction fixates, float64 [P]; a long path covers all."""
    check_pairs(truth, predicted)
    a, b = visited(truth, grid), visited(predicted, grid)
    return (a & b).sum(axis=1) / a.sum(axis=1)
