"""Alignments against plain recursions, for pairs of all lengths at once."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from gazevlm_core.metrics.alignment import (
    chunks,
    discrete_frechet,
    dynamic_time_warping,
    levenshtein,
    needleman_wunsch,
)

PAIRS, LONGEST = 40, 9


@pytest.fixture(scope="module")
def case() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, LONGEST + 1, (2, PAIRS))
    lengths[:, :3] = [[1, 1, LONGEST], [1, LONGEST, LONGEST]]
    return rng.normal(size=(PAIRS, LONGEST, LONGEST)), lengths[0], lengths[1]


def by_recursion(
    step: Callable[[float, float, float, float], float], edge: Callable[[int], float], local: np.ndarray
) -> float:
    """Value of the last cell; `step` takes the cell's local value and what lies left, above, and at the corner."""

    @cache
    def value(i: int, j: int) -> float:
        if i == 0 or j == 0:
            return edge(i + j)
        return step(float(local[i - 1, j - 1]), value(i, j - 1), value(i - 1, j), value(i - 1, j - 1))

    return value(*local.shape)


def warped(local: float, left: float, above: float, corner: float) -> float:
    return local + min(left, above, corner)


def leashed(local: float, left: float, above: float, corner: float) -> float:
    return max(local, min(left, above, corner))


@pytest.mark.parametrize("gap", [0.0, -0.4, 0.3])
def test_needleman_wunsch(case: tuple[np.ndarray, np.ndarray, np.ndarray], gap: float) -> None:
    local, a, b = case
    expected = [
        by_recursion(
            lambda s, left, above, corner: max(corner + s, left + gap, above + gap), lambda k: gap * k, table[:m, :n]
        )
        for table, m, n in zip(local, a, b, strict=True)
    ]
    assert needleman_wunsch(local, a, b, gap) == pytest.approx(expected, abs=1e-12)


def test_levenshtein(case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    local, a, b = case
    differs = local > 0
    expected = [
        by_recursion(
            lambda s, left, above, corner: min(corner + s, left + 1, above + 1), float, table[:m, :n].astype(float)
        )
        for table, m, n in zip(differs, a, b, strict=True)
    ]
    assert levenshtein(differs, a, b).tolist() == expected


def test_levenshtein_of_words() -> None:
    first, second = np.array([list("kitten ")]), np.array([list("sitting")])
    differs = first[:, :, None] != second[:, None, :]
    assert levenshtein(differs, np.array([6]), np.array([7])).tolist() == [3]


@pytest.mark.parametrize(("align", "step"), [(dynamic_time_warping, warped), (discrete_frechet, leashed)])
def test_curves(case: tuple[np.ndarray, np.ndarray, np.ndarray], align: Callable, step: Callable) -> None:
    local, a, b = case
    cost = np.abs(local)
    corner = 0.0 if align is dynamic_time_warping else -np.inf
    expected = [
        by_recursion(step, lambda k: corner if k == 0 else np.inf, table[:m, :n])
        for table, m, n in zip(cost, a, b, strict=True)
    ]
    assert align(cost, a, b) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("align", [needleman_wunsch, levenshtein, dynamic_time_warping, discrete_frechet])
def test_empty_and_ill_fitting_sequences_are_refused(align: Callable) -> None:
    table, one = np.zeros((1, 2, 2)), np.array([1])
    with pytest.raises(ValueError, match="empty"):
        align(table, np.array([0]), one)
    with pytest.raises(ValueError, match="longer than the table"):
        align(table, np.array([3]), one)
    with pytest.raises(ValueError, match="does not fit"):
        align(table, np.array([1, 1]), one)
    nobody = np.zeros(0, dtype=np.int64)
    assert align(np.zeros((0, 1, 1)), nobody, nobody).shape == (0,)


def test_chunks_cover_all_pairs_within_the_bound() -> None:
    parts = list(chunks(10, cells=30, most_cells=100))
    assert [list(range(10))[part] for part in parts] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    assert len(list(chunks(3, cells=1000, most_cells=100))) == 3
