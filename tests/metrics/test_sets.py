"""Sets of patches, by hand; and that they do not see order."""

import pytest

from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.paths import coverage, jaccard, pack_paths, reverse, visited
from tests.metrics.path_maker import batch_of, random_paths

GRID = PatchGrid(2, 2)
A, B, C, D = (0.1, 0.1), (0.9, 0.1), (0.1, 0.9), (0.9, 0.9)


def test_by_hand() -> None:
    truth, predicted = batch_of(A, B, A), batch_of(B, C, D)
    assert visited(truth, GRID).tolist() == [[True, True, False, False]]
    assert jaccard(truth, predicted, GRID) == pytest.approx([1 / 4])
    assert coverage(truth, predicted, GRID) == pytest.approx([1 / 2])
    assert coverage(predicted, truth, GRID) == pytest.approx([1 / 3])


def test_order_and_padding_change_nothing() -> None:
    first, second = pack_paths(random_paths(40, 1)), pack_paths(random_paths(40, 2))
    for score in (jaccard, coverage):
        assert score(first, second, GRID) == pytest.approx(score(reverse(first), reverse(second), GRID))
