"""Distances by hand, and in the units they promise."""

import numpy as np
import pytest

from gazevlm_core.metrics.distance import dtw_distances, embedding_distances, frechet_distances
from gazevlm_core.metrics.paths import pack_paths
from tests.metrics.path_maker import batch_of, random_paths

WIDE = (300.0, 400.0)  # diagonal 500
ALL = (dtw_distances, frechet_distances, embedding_distances)


@pytest.mark.parametrize("distance", ALL)
def test_equal_paths_have_distance_zero(distance) -> None:
    batch = pack_paths(random_paths(20, 3), WIDE)
    assert distance(batch, batch) == pytest.approx(np.zeros(20))


@pytest.mark.parametrize("distance", ALL)
def test_one_fixation_each_is_their_distance_over_the_diagonal(distance) -> None:
    first, second = batch_of((0.0, 0.0), size=WIDE), batch_of((0.5, 0.5), size=WIDE)
    assert distance(first, second) == pytest.approx([0.5])


def test_dtw_by_hand() -> None:
    first = batch_of((0.0, 0.0), (0.5, 0.0), (0.75, 0.0), size=WIDE)
    second = batch_of((0.0, 0.0), (0.75, 0.0), size=WIDE)
    assert dtw_distances(first, second) == pytest.approx([0.25 * 300 / 3 / 500])  # 0-0, 0.5-0.75, 0.75-0.75


def test_frechet_by_hand() -> None:
    first = batch_of((0.0, 0.0), (0.5, 0.0), (0.75, 0.0), size=WIDE)
    second = batch_of((0.0, 0.5), (0.75, 0.5), size=WIDE)
    assert frechet_distances(first, second) == pytest.approx([np.hypot(75, 200) / 500])


def test_embedding_by_hand_and_in_one_direction() -> None:
    truth = batch_of((0.0, 0.0), (0.3, 0.0), (0.6, 0.0), (0.9, 0.0))
    part = batch_of((0.3, 0.0), (0.6, 0.0), (0.9, 0.0))
    assert embedding_distances(truth, part) == pytest.approx([0.0])  # every run of the prediction is in the truth
    # runs 0.0.. and 0.3..: the first is 0.3 away from the only run of the other at each of three fixations
    assert embedding_distances(part, truth) == pytest.approx([np.sqrt(3 * 0.09) / 3 / 2 / np.sqrt(2)])
    assert embedding_distances(truth, part, window=1) == pytest.approx([0.0])
    with pytest.raises(ValueError, match="window"):
        embedding_distances(truth, part, window=0)


def test_short_paths_shorten_the_window() -> None:
    truth, one = batch_of((0.0, 0.0), (0.4, 0.0)), batch_of((0.4, 0.3))
    assert embedding_distances(truth, one) == pytest.approx([0.3 / np.sqrt(2)])


@pytest.mark.parametrize("distance", ALL)
def test_padding_changes_nothing_and_pairs_must_fit(distance) -> None:
    first, second = random_paths(30, 4), random_paths(30, 5)
    together = distance(pack_paths(first), pack_paths(second))
    alone = [distance(pack_paths([a]), pack_paths([b]))[0] for a, b in zip(first, second, strict=True)]
    assert together == pytest.approx(alone)
    with pytest.raises(ValueError, match="cannot pair"):
        distance(pack_paths(first), pack_paths(second[:2]))
    with pytest.raises(ValueError, match="same size"):
        distance(pack_paths(first), pack_paths(second, WIDE))
