"""Floors for scanpaths: they know what they may know, and no more."""

import numpy as np
import pytest

from gazevlm_core.evaluation import floors
from gazevlm_core.evaluation.floors import GRID_FLOORS, ConstantPaths, GridTask
from gazevlm_core.geometry import PatchGrid
from tests.evaluation.sample_maker import GRID, path_of, sample_of

NO_CONSTANTS = ConstantPaths([])


def predicted(
    name: str, paths: list[tuple[int, ...]], grids: list[PatchGrid], seed: int = 1, samples: list | None = None
) -> list[list[tuple[int, ...]]]:
    """What a floor predicts."""
    return GRID_FLOORS[name](GridTask(samples or [sample_of()] * len(paths), grids, paths, NO_CONSTANTS, seed))


def test_shuffling_keeps_the_patches_and_loses_the_order() -> None:
    path = tuple(range(8))
    (alternatives,) = predicted(floors.OWN_SHUFFLED, [path], [GRID])
    assert len(alternatives) == floors.SHUFFLES
    assert all(sorted(other) == list(path) for other in alternatives)
    assert all(other != path for other in alternatives)
    assert predicted(floors.OWN_SHUFFLED, [path], [GRID]) == [alternatives]
    assert predicted(floors.OWN_SHUFFLED, [(5,)], [GRID]) == [[(5,)] * floors.SHUFFLES]  # nothing to shuffle


def test_random_and_central_paths_fit_the_grid() -> None:
    grid = PatchGrid(3, 5)
    (random_paths,) = predicted(floors.UNIFORM_PATCHES, [(0, 1, 2)], [grid])
    assert all(len(path) == 3 and max(path) < 15 for path in random_paths)
    assert predicted(floors.STARING, [(0, 1, 2)], [grid]) == [[(7, 7, 7)]]


def test_moving_between_grids_goes_by_position() -> None:
    assert floors.moved((0, 3, 12, 15), GRID, PatchGrid(2, 2)) == (0, 1, 2, 3)
    assert floors.moved((3, 5), GRID, GRID) == (3, 5)


def test_readings_become_patches() -> None:
    assert floors.on_grid(path_of(0, 5, 15), GRID) == (0, 5, 15)


def test_partners_share_the_leading_finding_and_are_never_the_image_itself() -> None:
    edema, mild_edema, fracture = (sample_of(edema=(0.9, "both")), sample_of(edema=(0.4, "both")),
                                   sample_of(fracture=(0.5, "left")))  # fmt: skip
    samples = [edema, sample_of(), mild_edema, fracture, sample_of()]
    assert GridTask(samples, [GRID] * 5, [(0,)] * 5, NO_CONSTANTS, 0).partners == [[2], [4], [0], [], [1]]


def test_partners_are_several_where_there_are_several() -> None:
    partners = GridTask([sample_of()] * 20, [GRID] * 20, [(0,)] * 20, NO_CONSTANTS, 0).partners
    assert [len(set(others)) for others in partners] == [floors.OTHER_IMAGES] * 20
    assert all(index not in others for index, others in enumerate(partners))


def test_partners_readings_and_paths_come_over() -> None:
    samples = [sample_of((((0, 1), (9, 9)), ((2, 3), (9, 9)))), sample_of((((4, 5), (9, 9)), ((6, 7), (9, 9))))]
    readings = predicted(floors.OTHER_READING, [(0,), (0,)], [GRID, GRID], samples=samples)
    assert readings == [[(4, 5)], [(2, 3)]]  # readers in turn
    samples.append(sample_of(fracture=(0.5, "left")))
    paths = predicted(floors.OTHER_PATH, [(0,), (3, 0), (1,)], [GRID, PatchGrid(2, 2), GRID], samples=samples)
    assert paths == [[(15, 5)], [(0,)], []], "by position, and none without a partner"


def test_constant_paths() -> None:
    others = [path_of(0, 1, 2), path_of(0, 1, 3), path_of(0, 1), path_of(8, 9, 10, 11)]
    constants = ConstantPaths(others, num_steps=3)
    assert constants.best(GRID) in {(0, 1, 2), (0, 1, 3), (0, 1)}
    assert constants.modes(GRID)[:2] == (0, 1)
    assert constants.best_length(within=0) == 3  # the fourth reading is cut at the longest path


def test_the_best_constant_length_is_not_the_median() -> None:
    readings = [path_of(*range(length)) for length in (9, 9, 9, 8, 7, 5)]
    assert ConstantPaths(readings, num_steps=9).best_length(within=1) == 8, "right for five of six; 9 for four"
    assert ConstantPaths(readings, num_steps=7).best_length(within=0) == 7


@pytest.mark.parametrize("grid", [GRID, PatchGrid(2, 2)])
def test_the_best_constant_is_on_the_images_own_grid(grid: PatchGrid) -> None:
    constants = ConstantPaths([path_of(0, 15, 15)], num_steps=12)
    assert constants.best(grid) == (0, len(grid) - 1, len(grid) - 1)


def test_the_histogram_counts_each_step_and_leaves_no_patch_out() -> None:
    small = PatchGrid(1, 2)
    constants = ConstantPaths([path_of(0, 1, grid=small), path_of(0, grid=small)])
    np.testing.assert_allclose(constants.histogram(small, 3), [[3 / 4, 1 / 4], [1 / 3, 2 / 3], [0.5, 0.5]])
    assert NO_CONSTANTS.histogram(GRID, 2).tolist() == [[1 / 16] * 16] * 2, "where nobody looked"
