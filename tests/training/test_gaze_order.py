"""The controls: what is kept of a scanpath, what is lost, and that it is the same in every epoch."""

import numpy as np

from gazevlm_core.scanpath import Fixation, Scanpath
from gazevlm_core.training.gaze_order import GazeOrder, ordered_paths

PATHS = tuple(
    Scanpath(tuple(Fixation(k / 20, r / 20, 100.0 + k, 200.0 * k) for k in range(12)), "simulated") for r in range(3)
)


def test_original_and_none() -> None:
    assert ordered_paths(PATHS, GazeOrder.ORIGINAL, (1, 2)) == PATHS
    assert ordered_paths(PATHS, GazeOrder.NONE, (1, 2)) == ()


def test_shuffled_keeps_fixations_with_their_durations_and_loses_the_order() -> None:
    shuffled = ordered_paths(PATHS, GazeOrder.SHUFFLED, (1, 2))
    for path, other in zip(PATHS, shuffled, strict=True):
        assert sorted((f.x, f.y, f.duration_ms) for f in path) == sorted((f.x, f.y, f.duration_ms) for f in other)
        assert [f.x for f in path] != [f.x for f in other]
        assert {f.onset_ms for f in other} == {None}
    assert [f.x for f in shuffled[0]] != [f.x for f in shuffled[1]], "each path in an order of its own"


def test_random_keeps_number_and_durations_alone() -> None:
    moved = ordered_paths(PATHS * 200, GazeOrder.RANDOM, (1, 2))
    assert [f.duration_ms for f in moved[0]] == [f.duration_ms for f in PATHS[0]]
    places = np.array([(f.x, f.y) for path in moved for f in path])
    assert np.abs(places.mean(axis=0) - 0.5).max() < 0.02
    assert np.abs(places.std(axis=0) - np.sqrt(1 / 12)).max() < 0.02


def test_the_same_seed_is_the_same_and_another_is_not() -> None:
    for order in (GazeOrder.SHUFFLED, GazeOrder.RANDOM):
        assert ordered_paths(PATHS, order, (1, 2)) == ordered_paths(PATHS, order, (1, 2))
        assert ordered_paths(PATHS, order, (1, 2)) != ordered_paths(PATHS, order, (1, 3))
