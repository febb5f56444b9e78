"""ScanMatch: the substitution matrix, scores by hand, durations."""

import numpy as np
import pytest

from gazevlm_core.metrics.paths import pack_paths
from gazevlm_core.metrics.scanmatch import GRID, scanmatch_scores, substitution
from gazevlm_core.scanpath import Fixation, Scanpath
from tests.metrics.path_maker import batch_of, random_paths


def cell(col: int, row: int) -> tuple[float, float]:
    return (col + 0.5) / GRID.cols, (row + 0.5) / GRID.rows


def test_gain_falls_with_the_distance_of_cells() -> None:
    gains = substitution()
    assert gains.shape == (96, 96)
    assert (np.diag(gains) == 3.5).all()
    assert gains[0, 1] == gains[0, 12] == 2.5
    assert gains[0, 12 * 4 + 3] == pytest.approx(3.5 - 5)
    assert np.array_equal(gains, gains.T)


def test_scores_by_hand() -> None:
    first, near, far = batch_of(cell(0, 0)), batch_of(cell(1, 0)), batch_of(cell(11, 7))
    assert scanmatch_scores(first, first) == pytest.approx([1.0])
    assert scanmatch_scores(first, near) == pytest.approx([2.5 / 3.5])
    assert scanmatch_scores(first, far) == pytest.approx([0.0])  # two gaps are better than a mismatch
    long = batch_of(cell(0, 0), cell(6, 4), cell(1, 0))
    assert scanmatch_scores(long, batch_of(cell(0, 0), cell(0, 0))) == pytest.approx([(3.5 + 2.5) / (3.5 * 3)])


def test_a_score_is_symmetric_and_one_only_for_equal_strings() -> None:
    first, second = pack_paths(random_paths(50, 1)), pack_paths(random_paths(50, 2))
    scores = scanmatch_scores(first, second)
    assert scores == pytest.approx(scanmatch_scores(second, first))
    assert ((scores >= 0) & (scores < 1)).all()


def test_durations_repeat_fixations() -> None:
    here, there = cell(0, 0), cell(11, 7)
    first = Scanpath((Fixation(*here, 200.0), Fixation(*there, 40.0)), "simulated")  # two, and at least one
    second = Scanpath((Fixation(*here, 300.0),), "simulated")
    assert scanmatch_scores(pack_paths([first]), pack_paths([second]), bin_ms=100.0) == pytest.approx([2 / 3])
    untimed = Scanpath((Fixation(*here),), "click")
    scores = scanmatch_scores(pack_paths([first, untimed]), pack_paths([first, second]), bin_ms=100.0)
    assert scores[0] == pytest.approx(1.0)
    assert np.isnan(scores[1])
