"""Saliency scores: by hand, and their laws."""

import numpy as np
import pytest

from gazevlm_core.metrics.saliency import conditional_information_gain, conditional_nss, fixation_map

RNG = np.random.default_rng(0)


def test_fixation_map_counts_and_blurs_without_loss() -> None:
    assert fixation_map(np.array([0, 0, 3]), 2, 2).tolist() == pytest.approx([2 / 3, 0, 0, 1 / 3])
    blurred = fixation_map(np.array([0]), 8, 8, sigma_cells=1.0)
    assert blurred.sum() == pytest.approx(1.0)
    assert blurred[0] > blurred[1] > blurred[2] > 0
    with pytest.raises(ValueError, match="at least one"):
        fixation_map(np.array([], dtype=int), 2, 2)


def test_nss_by_hand() -> None:
    steps = np.array([[0.0, 0.0, 0.0, 4.0], [1.0, 1.0, 1.0, 1.0]])
    assert conditional_nss(steps, np.array([3, 1])) == pytest.approx([3 / np.sqrt(3), 0.0])
    maps, cells = RNG.random((9, 64)), RNG.integers(0, 64, 9)
    assert conditional_nss(7 * maps + 2, cells) == pytest.approx(conditional_nss(maps, cells))
    everywhere = np.broadcast_to(maps[0], (64, 64))
    assert conditional_nss(everywhere, np.arange(64)).mean() == pytest.approx(0.0)


def test_conditional_scores_take_one_map_per_step() -> None:
    maps = RNG.random((5, 64))
    cells = RNG.integers(0, 64, 5)
    alone = [(row[cell] - row.mean()) / row.std() for row, cell in zip(maps, cells, strict=True)]
    assert conditional_nss(maps, cells) == pytest.approx(alone)
    gains = conditional_information_gain(maps, np.full(64, 1 / 64), cells)
    assert gains == pytest.approx([np.log2(row[cell] * 64) for row, cell in zip(maps, cells, strict=True)])
    assert conditional_information_gain(maps, maps, cells) == pytest.approx(np.zeros(5))
    for score in (conditional_nss, lambda m, c: conditional_information_gain(m, np.ones(64), c)):
        with pytest.raises(ValueError, match="as many maps"):
            score(maps, cells[:2])
