"""Alignment of many pairs of sequences at once: one dynamic programme per definition, vectorised over the pairs.

Every function takes a table of local values [P, A, B] for P pairs (what lies beyond a pair's lengths is never read) and
walks along the first sequence; along the second, a running minimum does it where the recursion allows.

Sources: Needleman and Wunsch, J. Mol. Biol. 1970; Levenshtein, Soviet Physics Doklady 1966; Sakoe and Chiba, IEEE
Trans. ASSP 1978 (dynamic time warping, symmetric step pattern without slope weights: steps right, down and diagonal
cost the cell they enter once); Eiter and Mannila, TR CD 94/64, 1994 (discrete Frechet distance).
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np


def _check(local: np.ndarray, first_lengths: np.ndarray, second_lengths: np.ndarray) -> None:
    if local.ndim != 3 or len(first_lengths) != len(local) or len(second_lengths) != len(local):
        raise ValueError(f"a table of shape {local.shape} does not fit {len(first_lengths)} pairs")
    if len(local) and (first_lengths.min() < 1 or second_lengths.min() < 1):
        raise ValueError("an empty sequence cannot be aligned; leave empty paths out")
    if len(local) and (first_lengths.max() > local.shape[1] or second_lengths.max() > local.shape[2]):
        raise ValueError("a sequence is longer than the table")


def needleman_wunsch(
    similarity: np.ndarray, first_lengths: np.ndarray, second_lengths: np.ndarray, gap: float = 0
) -> np.ndarray:
    """Score of the best global alignment of each pair.

    Args:
        similarity: [P, A, B], gain of matching element a with element b; quickest with P innermost in memory.
        first_lengths: int [P], 1 to A.
        second_lengths: int [P], 1 to B.
        gap: gain of an element without partner, usually <= 0; gaps at the ends cost the same.

    Returns:
        [P], of the type of `similarity` with `gap`.

    Raises:
        ValueError: shapes that do not fit, or an empty sequence.
    """
    _check(similarity, first_lengths, second_lengths)
    # pairs innermost, and counted from an alignment of gaps alone: a match saves two of them
    gains = np.ascontiguousarray(similarity.transpose(1, 2, 0)) - 2 * gap
    best = np.zeros((gains.shape[1] + 1, len(similarity)), gains.dtype)
    result = np.empty(len(similarity), gains.dtype)
    for row, gain in enumerate(gains):
        np.maximum(best[:-1] + gain, best[1:], out=best[1:])
        for before, here in pairwise(best[1:]):  # over all pairs at once: quicker than a running maximum
            np.maximum(before, here, out=here)
        _collect(result, best.T, row, first_lengths, second_lengths)
    return result + gap * (first_lengths + second_lengths)


def levenshtein(differs: np.ndarray, first_lengths: np.ndarray, second_lengths: np.ndarray) -> np.ndarray:
    """Return the least number of insertions, deletions and substitutions, int64 [P]; `differs` is bool [P, A, B]."""
    return -needleman_wunsch(-differs.astype(np.int16), first_lengths, second_lengths, gap=-1)


def dynamic_time_warping(cost: np.ndarray, first_lengths: np.ndarray, second_lengths: np.ndarray) -> np.ndarray:
    """Return the least summed cost of a warping path from the first cell to the last, float64 [P]; arguments as
    elsewhere."""
    _check(cost, first_lengths, second_lengths)
    result = np.empty(len(cost))
    above = np.full((len(cost), cost.shape[2] + 1), np.inf)
    above[:, 0] = 0.0  # the corner before the first cell
    for row in range(cost.shape[1]):
        summed = np.cumsum(cost[:, row], axis=1)  # [P, B]
        before = np.concatenate([np.zeros((len(cost), 1)), summed[:, :-1]], axis=1)
        entered = np.minimum(above[:, :-1], above[:, 1:]) - before
        here = np.full_like(above, np.inf)
        here[:, 1:] = np.minimum.accumulate(entered, axis=1) + summed
        above = here
        _collect(result, above, row, first_lengths, second_lengths)
    return result


def discrete_frechet(distance: np.ndarray, first_lengths: np.ndarray, second_lengths: np.ndarray) -> np.ndarray:
    """Return the least leash of a walk along both sequences, float64 [P]; arguments as elsewhere."""
    _check(distance, first_lengths, second_lengths)
    result = np.empty(len(distance))
    above = np.full((len(distance), distance.shape[2] + 1), np.inf)
    above[:, 0] = -np.inf  # the corner before the first cell
    for row in range(distance.shape[1]):
        here = np.full_like(above, np.inf)
        entered = np.minimum(above[:, :-1], above[:, 1:])
        for col in range(distance.shape[2]):
            reached = np.minimum(entered[:, col], here[:, col])
            here[:, col + 1] = np.maximum(distance[:, row, col], reached)
        above = here
        _collect(result, above, row, first_lengths, second_lengths)
    return result


def chunks(pairs: int, cells: int, most_cells: int = 4_000_000) -> Iterator[slice]:
    """Yield slices of the pairs, so that a table of `cells` per pair stays within bounds of memory."""
    step = max(1, most_cells // max(1, cells))
    for start in range(0, pairs, step):
        yield slice(start, start + step)


def _collect(
    result: np.ndarray, values: np.ndarray, row: int, first_lengths: np.ndarray, second_lengths: np.ndarray
) -> None:
    """Keep the value of every pair whose first sequence ends with this row; column 0 stands before the first."""
    (ended,) = np.nonzero(first_lengths == row + 1)
    result[ended] = values[ended, second_lengths[ended]]
