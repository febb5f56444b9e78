"""Scanpath scores, counted by hand on made-up readings."""

import numpy as np
import pytest

from evaluate import path_scores
from evaluate.cases import PixelFile, Study
from evaluate.path_scores import ceilings, mean_scores, score_paths, step_hits
from evaluate.predictions import Predictions
from evaluate.step_scores import StepLooks
from gazevlm_core.metrics.intervals import bootstrap_counts
from tests.evaluate.study_maker import GRID, case_of

# Two readers with two readings each.
CASES = (
    case_of((((0, 1, 2, 3), (0, 1, 2, 9)), ((0, 1, 4, 5), (0, 1, 4, 5)))),
    case_of((((8, 9, 10, 11), (8, 9, 10, 11)), ((8, 9), (8, 9, 12, 13)))),
)
OTHERS = (case_of((((0, 5, 2), (9,)), ((0, 5, 2), (9,)))),)


def made_predictions(*paths: tuple[int, ...]) -> Predictions:
    dwells = [np.array([[100.0, 200.0], [400.0, 200.0], [50.0, 100.0]])] * len(paths)
    looks = [StepLooks(np.array([0, 1]), np.array([0, 5]), np.array([1.0, 3.0]), np.array([0.5, 1.5]))] * len(paths)
    return Predictions((), True, 12, [GRID] * len(paths), paths=list(paths), looks=looks, dwells=dwells)


@pytest.fixture
def scores() -> path_scores.PathScores:
    study = Study(CASES, OTHERS, PixelFile())
    return score_paths(study, made_predictions((0, 1, 2, 3), (8, 9, 10, 11)), bootstrap_counts(2, 100), seed=0)


def test_mean_scores_by_hand() -> None:
    result = mean_scores([[(0, 1)], [], [(0, 1), (1, 0)]], [[(0, 1), (1, 2)], [(0,)], [(0, 1)]])
    np.testing.assert_allclose(result, [0.75, np.nan, 0.75])


def test_mean_scores_do_not_depend_on_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    paths = [[tuple(rng.integers(0, 4, size=rng.integers(1, 9)).tolist()) for _ in range(3)] for _ in range(10)]
    whole = mean_scores(paths, paths[::-1])
    monkeypatch.setattr(path_scores, "_PAIRS_AT_ONCE", 7)
    np.testing.assert_allclose(mean_scores(paths, paths[::-1]), whole)


def test_ceilings_by_hand() -> None:
    same, other = ceilings(CASES, [GRID, GRID])
    np.testing.assert_allclose(same, [(3 / 4 + 1) / 2, (1 + 2 / 4) / 2])
    np.testing.assert_allclose(other, [2 / 4, 2 / 4])


def test_score_share_and_gain(scores: path_scores.PathScores) -> None:
    first, second = (1 + 3 / 4 + 2 / 4 + 2 / 4) / 4, (1 + 1 + 2 / 4 + 2 / 4) / 4
    np.testing.assert_allclose(scores.per_image, [first, second])
    assert scores.score.value == pytest.approx((first + second) / 2)
    assert scores.share_of_ceiling.value == pytest.approx((first + second) / (0.875 + 0.75))
    assert scores.order_gain.value == pytest.approx(scores.score.value - scores.floors["its own path shuffled"].value)
    assert scores.order_gain.value > 0


def test_floors(scores: path_scores.PathScores) -> None:
    assert tuple(scores.floors) == path_scores.FLOORS
    reversed_first, reversed_second = (1 / 4 + 1 / 4 + 1 / 4 + 1 / 4) / 4, 1 / 4
    assert scores.floors["its own path reversed"].value == pytest.approx((reversed_first + reversed_second) / 2)
    assert scores.floors["best constant path"].value == pytest.approx((2 / 4 + 0) / 2)  # (0, 5, 2)
    # Both images have no finding, so they are partners; only 9 of (8, 9, 10, 11) meets one of four readings.
    assert scores.floors[path_scores.OTHER_PATH].value == pytest.approx((1 / 4 / 4 + 0) / 2)
    assert scores.without_partner == 0


def test_stop(scores: path_scores.PathScores) -> None:
    assert scores.stop_within.value == 1.0
    assert scores.length_difference.value == 0.0
    longer = made_predictions((0, 1, 2, 3, 4, 5), (0, 1, 2, 3, 4, 5, 6))
    result = score_paths(Study(CASES, OTHERS, PixelFile()), longer, bootstrap_counts(2, 100), seed=0)
    assert result.stop_within.value == 0.5
    assert result.length_difference.value == pytest.approx(2.5)  # +2 four times; +3 three times and +5 once
    assert result.stop_floor.value == 1.0  # three fixations, always


def test_step_hits_by_hand() -> None:
    targets = [[(0, 1, 2), (0, 5)], [(7,)]]
    assert step_hits([(0, 1), (3,)], targets, bootstrap_counts(2, 10)).value == pytest.approx(3 / 6)


def test_dwell(scores: path_scores.PathScores) -> None:
    assert scores.dwell_ratio is not None
    assert scores.dwell_ratio.value == 0.5
    assert scores.dwell_correlation is not None


def test_an_untrained_model_has_no_paths_to_score() -> None:
    with pytest.raises(ValueError, match="shows no paths"):
        score_paths(Study(CASES, OTHERS, PixelFile()), Predictions((), False, 12), bootstrap_counts(2, 10), seed=0)
