"""Sequence score of scanpaths written as strings of patch indices.

Source: Yang et al., "Predicting Goal-directed Human Attention Using Inverse Reinforcement Learning" (CVPR 2020), which
aligns strings of fixation labels by Needleman-Wunsch with match 1, mismatch 0 and gap 0 and divides by the longer
length. With these costs the alignment score is the length of the longest common subsequence. Variant pinned here: the
labels are the patch indices of the model's own grid (the source clusters fixations), so both paths need the same grid.
"""

from collections.abc import Sequence

import numpy as np

_PAD_A, _PAD_B = -1, -2  # different, so that padding never matches padding


def _padded(paths: Sequence[Sequence[int]], fill: int) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.array([len(path) for path in paths], dtype=np.int64)
    if lengths.size and lengths.min() < 1:
        raise ValueError("a scanpath without fixations has no sequence score")
    table = np.full((len(paths), int(lengths.max(initial=1))), fill, dtype=np.int64)
    for row, path in zip(table, paths, strict=True):
        row[: len(path)] = path
    return table, lengths


def sequence_scores(first: Sequence[Sequence[int]], second: Sequence[Sequence[int]]) -> np.ndarray:
    """Sequence score of each pair of paths, all pairs at once.

    Args:
        first: N paths of patch indices >= 0, each with at least one.
        second: N paths on the same grids, in the same order.

    Returns:
        float64 [N] in [0, 1]; 1 for equal strings, 0 where no patch is shared in order.

    Raises:
        ValueError: an empty path, or a different number of paths.
    """
    if len(first) != len(second):
        raise ValueError(f"cannot pair {len(first)} paths with {len(second)}")
    a, a_lengths = _padded(first, _PAD_A)
    b, b_lengths = _padded(second, _PAD_B)
    equal = a[:, :, None] == b[:, None, :]  # [N, A, B]
    previous = np.zeros((len(a), b.shape[1] + 1), dtype=np.int64)
    for i in range(a.shape[1]):
        current = np.zeros_like(previous)
        for j in range(b.shape[1]):
            taken = previous[:, j] + equal[:, i, j]
            current[:, j + 1] = np.maximum(np.maximum(previous[:, j + 1], current[:, j]), taken)
        previous = current
    return previous[:, -1] / np.maximum(a_lengths, b_lengths)


def sequence_score(first: Sequence[int], second: Sequence[int]) -> float:
    """Sequence score of one pair of paths; see `sequence_scores`."""
    return float(sequence_scores([first], [second])[0])


def medoid_index(paths: Sequence[Sequence[int]]) -> int:
    """Index of the path with the highest mean sequence score to the others; the earliest on a tie.

    Under the sequence score this is the minimum-Bayes-risk choice among the given paths.

    Raises:
        ValueError: no path, or an empty one.
    """
    if not paths:
        raise ValueError("the medoid of no paths is undefined")
    left, right = np.triu_indices(len(paths), k=1)
    scores = sequence_scores([paths[i] for i in left.tolist()], [paths[j] for j in right.tolist()])
    totals = np.bincount(left, scores, len(paths)) + np.bincount(right, scores, len(paths))
    return int(np.argmax(totals))
