"""Sequence score of scanpaths written as strings of patch indices.

Source: Yang et al., "Predicting Goal-directed Human Attention Using Inverse Reinforcement Learning" (CVPR 2020), which
aligns strings of fixation labels by Needleman-Wunsch with match 1, mismatch 0 and gap 0 and divides by the longer
length. With these costs the alignment score is the length of the longest common subsequence. Variant pinned here: the
labels are the patch indices of the model's own grid (the source clusters fixations), so both paths need the same grid.
"""

from collections.abc import Sequence

import numpy as np

from gazevlm_core.metrics.alignment import chunks, needleman_wunsch

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
    """Return the sequence score of each pair of paths, all pairs at once.

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
    return string_scores(a, a_lengths, b, b_lengths)


def string_scores(
    first: np.ndarray, first_lengths: np.ndarray, second: np.ndarray, second_lengths: np.ndarray
) -> np.ndarray:
    """Return the sequence score of each pair of padded strings, float64 [P].

    Args:
        first, second: int [P, A] and [P, B]; what lies beyond a length is not read.
        first_lengths, second_lengths: int [P], each at least 1.
    """
    result = np.empty(len(first))
    for part in chunks(len(first), first.shape[1] * second.shape[1]):
        a, b = (np.ascontiguousarray(strings[part].T, dtype=np.int32) for strings in (first, second))
        equal = (a[:, None] == b).astype(np.int16)  # [A, B, P]
        result[part] = needleman_wunsch(equal.transpose(2, 0, 1), first_lengths[part], second_lengths[part])
    return result / np.maximum(first_lengths, second_lengths)


def sequence_score(first: Sequence[int], second: Sequence[int]) -> float:
    """Return the sequence score of one pair of paths; see `sequence_scores`."""
    return float(sequence_scores([first], [second])[0])


def mean_pair_score(paths: Sequence[Sequence[int]]) -> float:
    """Return the mean sequence score of each two of a few short paths, without arrays, which take longer than this.

    The longest common subsequence is found a row of the alignment at a time, as the bits of one number: Hyyro,
    "Bit-Parallel LCS-length Computation Revisited" (AWOCA 2004).

    Args:
        paths: at least two, each with at least one patch index.

    Raises:
        ZeroDivisionError: fewer, or an empty one.
    """
    total = 0.0
    for number, first in enumerate(paths):
        places: dict[int, int] = {}
        for place, patch in enumerate(first):
            places[patch] = places.get(patch, 0) | 1 << place
        whole = (1 << len(first)) - 1
        for second in paths[number + 1 :]:
            row = whole  # a zero wherever the common subsequence grows
            for patch in second:
                if patch in places:
                    hits = row & places[patch]
                    row = (row + hits | row - hits) & whole
            total += (len(first) - row.bit_count()) / max(len(first), len(second))
    return 2 * total / (len(paths) * (len(paths) - 1))


def medoid_index(paths: Sequence[Sequence[int]]) -> int:
    """Return the index of the path with the highest mean sequence score to the others; the earliest on a tie.

    Under the sequence score this is the minimum-Bayes-risk choice among the given paths.

    Raises:
        ValueError: no path, or an empty one.
    """
    if not paths:
        raise ValueError("the medoid of no paths is undefined")
    strings, lengths = _padded(paths, _PAD_A)
    return int(medoid_indices(strings[None], lengths[None])[0])


def medoid_indices(strings: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return `medoid_index` of B sets of N paths each, int64 [B].

    Args:
        strings: int [B, N, L], padded; what lies beyond a length is not read.
        lengths: int [B, N], each at least 1.
    """
    sets, number, _ = strings.shape
    strings = strings[..., : int(lengths.max(initial=1))]
    left, right = np.triu_indices(number, k=1)
    pairs = (sets * len(left), strings.shape[-1])
    scores = string_scores(
        strings[:, left].reshape(pairs), lengths[:, left].ravel(),
        strings[:, right].reshape(pairs), lengths[:, right].ravel(),
    ).reshape(sets, len(left))  # fmt: skip
    totals = [np.bincount(left, row, number) + np.bincount(right, row, number) for row in scores]
    return np.array([row.argmax() for row in totals], dtype=np.int64)
