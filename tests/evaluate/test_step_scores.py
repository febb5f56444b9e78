"""Conditional scores of each step, by hand."""

import math

import numpy as np
import pytest
import torch

from evaluate.step_scores import StepLooks, look_along, score_steps, step_histogram
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.intervals import bootstrap_counts
from gazevlm_core.model.pointer import PointerField
from tests.evaluate.study_maker import GRID, path_of

SMALL = PatchGrid(1, 2)


def field(logits: list[list[float]], stop: float) -> PointerField:
    """A pointer over two patches whose logits at each step are given, whatever was seen before."""
    queries = torch.tensor([[*row, stop] for row in logits]) * 3**0.5  # keys are the unit vectors of three dimensions
    return PointerField(queries, torch.zeros(3, 3), torch.eye(3))


def test_looks_along_a_path_leave_stopping_out() -> None:
    pointer = field([[math.log(3), 0.0], [0.0, math.log(7)]], stop=5.0)
    looks = look_along(pointer, [[0, 1, 1], [1]])  # the third look lies behind K = 2
    assert looks.steps.tolist() == [0, 1, 0]
    assert looks.patches.tolist() == [0, 1, 1]
    np.testing.assert_allclose(looks.bits, [math.log2(0.75 * 2), math.log2(0.875 * 2), math.log2(0.25 * 2)], atol=1e-6)
    np.testing.assert_allclose(looks.nss, [1, 1, -1], atol=1e-6)


def test_the_histogram_counts_each_step_and_leaves_no_patch_out() -> None:
    left, right = path_of(0, 1, grid=SMALL), path_of(0, grid=SMALL)
    np.testing.assert_allclose(step_histogram([left, right], SMALL, 3), [[3 / 4, 1 / 4], [1 / 3, 2 / 3], [0.5, 0.5]])


def test_means_run_over_fixations_and_the_floor_is_scored_alike() -> None:
    looks = [
        StepLooks(np.array([0, 1]), np.array([0, 1]), np.array([1.0, 2.0]), np.array([0.5, 0.7])),
        StepLooks(np.array([0]), np.array([1]), np.array([0.0]), np.array([0.0])),
    ]
    others = [path_of(0, 1, grid=SMALL), path_of(0, grid=SMALL)]
    scores = score_steps(looks, [SMALL, SMALL], others, 2, bootstrap_counts(2, 50))
    assert scores.nss.value == pytest.approx(1.0)
    assert scores.bits.value == pytest.approx(0.4)
    assert scores.histogram_nss.value == pytest.approx((1 + 1 - 1) / 3)
    expected = (math.log2(3 / 4 * 2) + math.log2(2 / 3 * 2) + math.log2(1 / 4 * 2)) / 3
    assert scores.histogram_bits.value == pytest.approx(expected)


def test_what_was_never_looked_at_still_has_a_histogram() -> None:
    assert step_histogram([], GRID, 2).tolist() == [[1 / 16] * 16] * 2
