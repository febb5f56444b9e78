"""The list of scores: every one is bounded, sees the order as it claims, and gains what its order is worth."""

from itertools import groupby

import numpy as np
import pytest

from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.paths import PathBatch, pack_paths, reverse, shuffle
from gazevlm_core.metrics.registry import PathMetric, all_scores, path_metrics
from gazevlm_core.metrics.sequence import mean_pair_score, sequence_scores
from tests.metrics.path_maker import random_paths

METRICS = path_metrics()
NAMES = list(METRICS)


@pytest.fixture(scope="module")
def pair() -> tuple[PathBatch, PathBatch]:
    first, second = (pack_paths(random_paths(60, seed, least=4), (400.0, 300.0)) for seed in (1, 2))
    return first, second


def test_what_is_listed() -> None:
    groups = [order for order, _ in groupby(metric.order for metric in METRICS.values())]
    assert groups == ["sensitive", "blind", "weak"], "those that see the order first"
    assert all(metric.higher_is_better is ("distance" not in name) for name, metric in METRICS.items())


@pytest.mark.parametrize("name", NAMES)
def test_equal_paths_are_best(name: str, pair: tuple[PathBatch, PathBatch]) -> None:
    metric = METRICS[name]
    same, other = metric.scores(pair[0], pair[0]), metric.scores(*pair)
    assert same == pytest.approx(np.full(60, 1.0 if metric.higher_is_better else 0.0), abs=1e-12)
    assert ((other <= 1 + 1e-12) if metric.higher_is_better else (other >= 0)).all()
    assert np.isfinite(other).all()


def order_gain(metric: PathMetric, paths: PathBatch) -> float:
    """How much better paths are in their own order than shuffled, against themselves."""
    shuffled = np.mean([metric.scores(paths, shuffle(paths, 0, turn)) for turn in range(8)], axis=0)
    return float(metric.gain(metric.scores(paths, paths), shuffled).mean())


@pytest.mark.parametrize("name", NAMES)
def test_order_gain_is_positive_exactly_where_order_is_seen(name: str, pair: tuple[PathBatch, PathBatch]) -> None:
    gain = order_gain(METRICS[name], pair[0])
    if METRICS[name].order == "blind":
        assert gain == pytest.approx(0.0, abs=1e-12)
    elif name != "MultiMatch position":
        assert gain > 0.01


def test_shuffle_and_reverse_keep_the_fixations_of_each_path(pair: tuple[PathBatch, PathBatch]) -> None:
    batch = pair[0]
    for other in (shuffle(batch, 0), shuffle(batch, 0, 1), reverse(batch)):
        for row, length in enumerate(batch.lengths):
            own = np.column_stack([batch.xy[row, :length], batch.durations_ms[row, :length]])
            moved = np.column_stack([other.xy[row, :length], other.durations_ms[row, :length]])
            assert sorted(own.tolist()) == sorted(moved.tolist())
    assert np.array_equal(reverse(reverse(batch)).xy, batch.xy)
    assert reverse(batch).xy[0, 0].tolist() == batch.xy[0, batch.lengths[0] - 1].tolist()
    assert not np.array_equal(shuffle(batch, 0).xy, shuffle(batch, 0, 1).xy)


def test_the_sequence_score_is_that_of_patch_strings() -> None:
    first, second = random_paths(40, 1), random_paths(40, 2)
    grid = PatchGrid(3, 4)
    strings = [[[grid.index_of(fixation) for fixation in path] for path in paths] for paths in (first, second)]
    scores = path_metrics(grid)["sequence score"].scores(pack_paths(first), pack_paths(second))
    assert scores == pytest.approx(sequence_scores(*strings))


def test_the_mean_of_a_few_paths_is_that_of_all_their_pairs() -> None:
    rng = np.random.default_rng(0)
    for number in (2, 3, 12):
        for patches in (2, 64):
            paths = [rng.integers(0, patches, length).tolist() for length in rng.integers(1, 70, number)]
            left, right = np.triu_indices(number, k=1)
            scores = sequence_scores([paths[i] for i in left], [paths[j] for j in right])
            assert mean_pair_score([bytes(path) for path in paths]) == pytest.approx(scores.mean(), abs=1e-12)


def test_all_scores_are_those_of_each(pair: tuple[PathBatch, PathBatch]) -> None:
    together = all_scores(METRICS.values(), *pair)
    assert list(together) == NAMES
    for name, scores in together.items():
        np.testing.assert_array_equal(scores, METRICS[name].scores(*pair), err_msg=name)
