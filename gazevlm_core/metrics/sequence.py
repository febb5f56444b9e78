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
MEDIAN_SWEEPS = 3  # more gain less than a thousandth
_TINY = 1e-9  # a change has to be better, not only rounded otherwise


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
        equal = (a[:, None] == b).astype(np.min_scalar_type(-1 - min(len(a), len(b))))  # [A, B, P]
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


def median_path(
    strings: np.ndarray, lengths: np.ndarray, start: Sequence[int], longest: int, fixed: int = 0
) -> tuple[int, ...]:
    """Return a path with a high mean sequence score to N others, which need not be one of them.

    Sweeps along a first path, and inserts, replaces or removes at each place the patch by which the mean grows most: a
    local search for the generalised median string (Kohonen, "Median strings", Pattern Recognition Letters 3, 1985). The
    medoid is the best of the N alone; where they agree in parts only, none of them has all the parts. Equal patches
    stand next to each other only where they do so in one of the N.

    Args:
        strings: int [N, L], padded; what lies beyond a length is not read.
        lengths: int [N], each at least 1.
        start: the first path, at least one patch; the medoid is a good one.
        longest: length that the path may grow to.
        fixed: how many of its first patches stay.
    """
    others = _Strings(strings[:, : int(lengths.max())], lengths, start)
    path: list[int] = np.searchsorted(others.patches, start).tolist()
    for _ in range(MEDIAN_SWEEPS):
        swept = _sweep(others, path, longest, fixed)
        if swept == path:
            break
        path = swept
    return tuple(others.patches[path].tolist())


def median_path_of(paths: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Return `median_path` of some paths, from their medoid, as long as the longest of them at most.

    Raises:
        ValueError: no path, or an empty one.
    """
    start = paths[medoid_index(paths)]
    strings, lengths = _padded(paths, _PAD_A)
    return median_path(strings, lengths, start, strings.shape[1])


class _Strings:
    """N strings, with tables [L + 1, N]: how long the longest common subsequences of a path's beginning and each of
    their beginnings are, or of its end and each of their ends.

    Args:
        strings, lengths: as in `median_path`.
        path: its patches have codes, too.
    """

    def __init__(self, strings: np.ndarray, lengths: np.ndarray, path: Sequence[int]) -> None:
        inside = np.arange(strings.shape[1]) < lengths[:, None]
        self.patches = np.unique([*strings[inside], *path])  # a code is a position here; -1 stands for padding
        codes = np.where(inside, np.searchsorted(self.patches, strings), -1)
        self.nothing = np.zeros((strings.shape[1] + 1, len(strings)), np.min_scalar_type(-1 - strings.shape[1]))
        self._lengths, self._longer = lengths, dict[int, np.ndarray]()
        self._matches = [codes.T == code for code in range(len(self.patches))]
        rows = np.arange(len(strings))[:, None] * len(self.patches)
        self._cells = np.where(inside, rows + codes, -1).T.copy()
        self._repeats = bool((inside[:, 1:] & (strings[:, 1:] == strings[:, :-1])).any())

    def add(self, before: np.ndarray, code: int) -> np.ndarray:
        """Return the table of a beginning that is one patch longer."""
        longer = before.copy()
        np.maximum(longer[1:], before[:-1] + self._matches[code], out=longer[1:])
        return np.maximum.accumulate(longer, axis=0)

    def ends(self, path: Sequence[int]) -> list[np.ndarray]:
        """Return the tables of what follows each place of a path, the place itself with it; the last is of nothing."""
        tables = [self.nothing]
        for code in reversed(path):
            after = tables[-1]
            longer = after.copy()
            np.maximum(longer[:-1], after[1:] + self._matches[code], out=longer[:-1])
            tables.append(np.maximum.accumulate(longer[::-1], axis=0)[::-1])
        return tables[::-1]

    def score(self, before: np.ndarray, after: np.ndarray, length: int) -> float:
        """Return the mean sequence score of a path of a beginning and an end."""
        return self._mean((before + after).max(axis=0), length)

    def best_between(
        self, before: np.ndarray, after: np.ndarray, length: int, neighbours: Sequence[int]
    ) -> tuple[float, int, float]:
        """Return the highest score of a path of a beginning, one more patch and an end, the code of this patch, and the
        score without it."""
        apart = (before + after).max(axis=0)
        # one more patch adds one to a string that has it where beginning and end already leave it room, else nothing
        cells = np.zeros(len(apart) * len(self.patches) + 1)  # the last one takes what is padding
        cells[self._cells[before[:-1] + after[1:] == apart]] = 1.0
        most = cells[:-1].reshape(len(apart), -1)
        most += apart[:, None]
        scores = (1 / self._longer_than(length)) @ most / len(most)
        if not self._repeats:
            for code in neighbours:
                scores[code] = -1.0
        code = int(scores.argmax())
        return float(scores[code]), code, self._mean(apart, length - 1)

    def _mean(self, common: np.ndarray, length: int) -> float:
        return float((common / self._longer_than(length)).sum() / len(common))

    def _longer_than(self, length: int) -> np.ndarray:
        """Return the length of each string, or that of a path where it is longer."""
        if length not in self._longer:
            self._longer[length] = np.maximum(length, self._lengths)
        return self._longer[length]

    def may_meet(self, first: Sequence[int], second: Sequence[int]) -> bool:
        """Tell whether two patches, or none, may stand next to each other."""
        return self._repeats or not first or first != second


def _sweep(others: _Strings, path: list[int], longest: int, fixed: int) -> list[int]:
    """Go along a path once, and return it with the best change of each place."""
    ends = others.ends(path)
    before, swept = others.nothing, path[:0]
    best = others.score(before, ends[0], len(path)) + _TINY
    for place in range(len(path) + 1):
        here, next_one, length = path[place : place + 1], path[place + 1 : place + 2], len(swept) + len(path) - place
        if place >= fixed and length < longest:  # one more, before this place
            score, code, _ = others.best_between(before, ends[place], length + 1, swept[-1:] + here)
            if score > best:
                best, length = score + _TINY, length + 1
                before, swept = others.add(before, code), [*swept, code]
        if here and place >= fixed:  # another one here, or none
            score, code, without = others.best_between(before, ends[place + 1], length, swept[-1:] + next_one)
            if without > max(best, score) and others.may_meet(swept[-1:], next_one):
                best, here = without + _TINY, []
            elif score > best:
                best, here = score + _TINY, [code]
        for code in here:
            before, swept = others.add(before, code), [*swept, code]
    return swept
