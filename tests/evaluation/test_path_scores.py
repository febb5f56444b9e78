"""Scanpath scores, counted by hand on made-up readings, and conditional scores of each step."""

import math

import numpy as np
import pytest
import torch

from gazevlm_core.evaluation import path_scores
from gazevlm_core.evaluation.floors import GRID_FLOORS, OTHER_PATH, ConstantPaths, GridTask
from gazevlm_core.evaluation.path_scores import StepScores, ceilings, mean_scores, score_paths, score_steps, step_hits
from gazevlm_core.evaluation.predict import score_along
from gazevlm_core.evaluation.report import Paths
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.intervals import bootstrap_counts
from gazevlm_core.model.pointer import PointerField
from tests.evaluation.sample_maker import GRID, path_of, sample_of

# Two readers with two readings each.
SAMPLES = (
    sample_of((((0, 1, 2, 3), (0, 1, 2, 9)), ((0, 1, 4, 5), (0, 1, 4, 5)))),
    sample_of((((8, 9, 10, 11), (8, 9, 10, 11)), ((8, 9), (8, 9, 12, 13)))),
)
CONSTANTS = ConstantPaths([path_of(0, 5, 2), path_of(0, 5, 2)], 12)
SMALL = PatchGrid(1, 2)


def steps_of(steps: list[int], patches: list[int], nss: list[float], bits: list[float]) -> StepScores:
    scores = {"nss": np.array(nss), "bits": np.array(bits)}
    return StepScores(np.array(steps), np.array(patches), scores)


def scored(*paths: tuple[int, ...]) -> tuple[Paths, np.ndarray]:
    dwells = [np.array([[100.0, 200.0], [400.0, 200.0], [50.0, 100.0]])] * len(paths)
    steps = [steps_of([0, 1], [0, 5], [1.0, 3.0], [0.5, 1.5])] * len(paths)
    task = GridTask(SAMPLES, [GRID] * len(paths), paths, CONSTANTS, 0)
    return score_paths(task, steps, dwells, 12, bootstrap_counts(2, 100))


@pytest.fixture(scope="module")
def scores() -> Paths:
    return scored((0, 1, 2, 3), (8, 9, 10, 11))[0]


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
    same, other = ceilings(SAMPLES, [GRID, GRID])
    np.testing.assert_allclose(same, [(3 / 4 + 1) / 2, (1 + 2 / 4) / 2])
    np.testing.assert_allclose(other, [2 / 4, 2 / 4])


def test_score_share_and_gain(scores: Paths) -> None:
    first, second = (1 + 3 / 4 + 2 / 4 + 2 / 4) / 4, (1 + 1 + 2 / 4 + 2 / 4) / 4
    np.testing.assert_allclose(scored((0, 1, 2, 3), (8, 9, 10, 11))[1], [first, second])
    sequence = scores.sequence_score
    assert sequence.value == pytest.approx((first + second) / 2, abs=1e-6)
    assert sequence.share_of_ceiling.value == pytest.approx((first + second) / (0.875 + 0.75), abs=1e-6)
    shuffled = sequence.floors["its own path shuffled"].value
    assert sequence.order_gain.value == pytest.approx(sequence.value - shuffled, abs=2e-6)
    assert sequence.order_gain.value > 0


def test_floors(scores: Paths) -> None:
    floors = scores.sequence_score.floors
    assert tuple(floors) == tuple(GRID_FLOORS)
    reversed_first, reversed_second = (1 / 4 + 1 / 4 + 1 / 4 + 1 / 4) / 4, 1 / 4
    assert floors["its own path reversed"].value == pytest.approx((reversed_first + reversed_second) / 2)
    assert floors["best constant path"].value == pytest.approx((2 / 4 + 0) / 2)  # (0, 5, 2)
    # Both images have no finding, so they are partners; only 9 of (8, 9, 10, 11) meets one of four readings.
    assert floors[OTHER_PATH].value == pytest.approx((1 / 4 / 4 + 0) / 2, abs=1e-6)
    assert scores.sequence_score.images_without_same_finding_partner == 0


def test_stop(scores: Paths) -> None:
    assert scores.stop.within_2_fixations.value == 1.0
    assert scores.stop.median_length_difference.value == 0.0
    longer, _ = scored((0, 1, 2, 3, 4, 5), (0, 1, 2, 3, 4, 5, 6))
    assert longer.stop.within_2_fixations.value == 0.5
    assert longer.stop.median_length_difference.value == pytest.approx(2.5)  # +2 four times; +3 three times, +5 once
    assert longer.stop.within_2_fixations.floors["the best constant length"].value == 1.0  # three fixations, always


def test_how_alike_readings_end(scores: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    assert scores.stop.same_reader.value == scores.stop.other_reader.value == 1.0
    monkeypatch.setattr(path_scores, "STOP_WITHIN", 1)
    stop = scored((0, 1, 2, 3), (8, 9, 10, 11))[0].stop
    assert stop.same_reader.value == (1 + 1 / 2) / 2, "one reader of the second image ends after two, then four"
    assert stop.other_reader.value == (1 + 1 / 2) / 2, "as many as the other's second, or two fewer"


def test_step_hits_by_hand() -> None:
    targets = [[(0, 1, 2), (0, 5)], [(7,)]]
    assert step_hits([(0, 1), (3,)], targets, bootstrap_counts(2, 10)).value == pytest.approx(3 / 6)


def test_dwell(scores: Paths) -> None:
    assert scores.dwell.median_ratio.value == 0.5
    assert scores.dwell.log_correlation is not None


# ---- maps behind each fixation --------------------------------------------------------------------------------------
def field(logits: list[list[float]], stop: float) -> PointerField:
    """A pointer over two patches whose logits at each step are given, whatever was seen before."""
    queries = torch.tensor([[*row, stop] for row in logits]) * 3**0.5  # keys are the unit vectors of three dimensions
    return PointerField(queries, torch.zeros(3, 3), torch.eye(3))


def test_scores_along_a_path_leave_stopping_out() -> None:
    pointer = field([[math.log(3), 0.0], [0.0, math.log(7)]], stop=5.0)
    found = score_along(pointer, [[0, 1, 1], [1]])  # the third fixation lies behind K = 2
    assert found.steps.tolist() == [0, 1, 0]
    assert found.patches.tolist() == [0, 1, 1]
    bits = [math.log2(0.75 * 2), math.log2(0.875 * 2), math.log2(0.25 * 2)]
    np.testing.assert_allclose(found.scores["bits"], bits, atol=1e-6)
    np.testing.assert_allclose(found.scores["nss"], [1, 1, -1], atol=1e-6)


def test_means_run_over_fixations_and_the_floor_is_scored_alike() -> None:
    steps = [steps_of([0, 1], [0, 1], [1.0, 2.0], [0.5, 0.7]), steps_of([0], [1], [0.0], [0.0])]
    others = ConstantPaths([path_of(0, 1, grid=SMALL), path_of(0, grid=SMALL)])
    scores = score_steps(steps, [SMALL, SMALL], others, 2, bootstrap_counts(2, 50))
    assert scores["nss"].value == pytest.approx(1.0)
    assert scores["bits"].value == pytest.approx(0.4)
    assert scores["histogram_nss"].value == pytest.approx((1 + 1 - 1) / 3)
    expected = (math.log2(3 / 4 * 2) + math.log2(2 / 3 * 2) + math.log2(1 / 4 * 2)) / 3
    assert scores["histogram_bits"].value == pytest.approx(expected)
