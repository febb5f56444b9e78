"""Saliency scores: by hand, against scikit-learn, and their laws."""

from itertools import pairwise

import numpy as np
import pytest

from gazevlm_core.metrics.saliency import (
    auc_judd,
    conditional_information_gain,
    conditional_nss,
    correlation,
    fixation_map,
    information_gain,
    kl_divergence,
    nss,
)

RNG = np.random.default_rng(0)
MAP = RNG.random(64)
CELLS = RNG.integers(0, 64, 9)


def test_fixation_map_counts_and_blurs_without_loss() -> None:
    assert fixation_map(np.array([0, 0, 3]), 2, 2).tolist() == pytest.approx([2 / 3, 0, 0, 1 / 3])
    blurred = fixation_map(np.array([0]), 8, 8, sigma_cells=1.0)
    assert blurred.sum() == pytest.approx(1.0)
    assert blurred[0] > blurred[1] > blurred[2] > 0
    with pytest.raises(ValueError, match="at least one"):
        fixation_map(np.array([], dtype=int), 2, 2)


def test_nss_by_hand() -> None:
    assert nss(np.array([0.0, 0.0, 0.0, 4.0]), np.array([3, 3])) == pytest.approx(3 / np.sqrt(3))
    assert nss(np.ones(4), np.array([1])) == 0.0
    assert nss(7 * MAP + 2, CELLS) == pytest.approx(nss(MAP, CELLS))
    assert nss(MAP, np.arange(64)) == pytest.approx(0.0)


def judd_by_hand(saliency: np.ndarray, cells: set[int]) -> float:
    """The benchmark's loop: a threshold at each fixated cell's value, from the highest; then trapezoids."""
    points = [(0.0, 0.0)]
    for place, value in enumerate(sorted((saliency[cell] for cell in cells), reverse=True), start=1):
        above = int((saliency >= value).sum())
        points.append(((above - place) / (len(saliency) - len(cells)), place / len(cells)))
    points.append((1.0, 1.0))
    return sum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in pairwise(points))


def test_auc_judd_equals_the_published_loop_without_ties() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        saliency, cells = rng.random(64), rng.integers(0, 64, 9)
        assert auc_judd(saliency, cells) == pytest.approx(judd_by_hand(saliency, set(cells.tolist())))


def test_auc_judd_at_its_ends() -> None:
    best = np.zeros(64)
    best[CELLS] = 1
    assert auc_judd(best, CELLS) == pytest.approx(1.0)
    assert auc_judd(np.ones(64), CELLS) == pytest.approx(0.5)
    assert np.isnan(auc_judd(np.arange(3.0), np.arange(3)))


def test_correlation_and_divergence() -> None:
    other = RNG.random(64)
    assert correlation(MAP, other) == pytest.approx(np.corrcoef(MAP, other)[0, 1])
    assert correlation(MAP, 3 - MAP) == pytest.approx(-1.0)
    assert np.isnan(correlation(np.ones(4), np.arange(4.0)))
    assert kl_divergence(MAP, MAP) == pytest.approx(0.0, abs=1e-12)
    expected = 0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75)
    assert kl_divergence(np.array([1.0, 3.0]), np.array([1.0, 1.0])) == pytest.approx(expected)


def test_information_gain_is_bits_over_the_baseline() -> None:
    flat = np.ones(4)
    assert information_gain(np.array([4.0, 2.0, 1.0, 1.0]), flat, np.array([0, 1])) == pytest.approx((1 + 0) / 2)
    assert information_gain(MAP, MAP, CELLS) == pytest.approx(0.0)


def test_conditional_scores_take_one_map_per_step() -> None:
    maps = RNG.random((5, 64))
    cells = RNG.integers(0, 64, 5)
    alone = [nss(row, cell[None]) for row, cell in zip(maps, cells, strict=True)]
    assert conditional_nss(maps, cells) == pytest.approx(alone)
    gains = conditional_information_gain(maps, np.full(64, 1 / 64), cells)
    assert gains == pytest.approx([np.log2(row[cell] * 64) for row, cell in zip(maps, cells, strict=True)])
    assert conditional_information_gain(maps, maps, cells) == pytest.approx(np.zeros(5))
    for score in (conditional_nss, lambda m, c: conditional_information_gain(m, np.ones(64), c)):
        with pytest.raises(ValueError, match="as many maps"):
            score(maps, cells[:2])


@pytest.mark.parametrize("score", [nss, auc_judd, lambda m, c: information_gain(m, m, c)])
def test_nothing_to_score_is_an_error(score) -> None:
    with pytest.raises(ValueError, match="at least one fixation"):
        score(MAP, np.array([], dtype=int))
    with pytest.raises(ValueError, match="finite"):
        score(np.array([np.nan, 1.0]), np.array([0]))
