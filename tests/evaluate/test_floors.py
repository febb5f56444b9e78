"""Floors for scanpaths: they know what they may know, and no more."""

import pytest

from evaluate import floors
from evaluate.floors import ConstantPaths
from gazevlm_core.geometry import PatchGrid
from tests.evaluate.study_maker import GRID, case_of, path_of


def test_shuffling_keeps_the_patches_and_loses_the_order() -> None:
    path = tuple(range(8))
    (alternatives,) = floors.shuffled([path], seed=1)
    assert len(alternatives) == floors.SHUFFLES
    assert all(sorted(other) == list(path) for other in alternatives)
    assert all(other != path for other in alternatives)
    assert floors.shuffled([path], seed=1) == [alternatives]
    assert floors.shuffled([(5,)], seed=1) == [[(5,)] * floors.SHUFFLES]  # nothing to shuffle


def test_random_and_central_paths_fit_the_grid() -> None:
    grid = PatchGrid(3, 5)
    (random_paths,) = floors.uniform([(0, 1, 2)], [grid], seed=0)
    assert all(len(path) == 3 and max(path) < 15 for path in random_paths)
    assert floors.centre([(0, 1, 2)], [grid]) == [[(7, 7, 7)]]


def test_moving_between_grids_goes_by_position() -> None:
    assert floors.moved((0, 3, 12, 15), GRID, PatchGrid(2, 2)) == (0, 1, 2, 3)
    assert floors.moved((3, 5), GRID, GRID) == (3, 5)


def test_readings_become_patches() -> None:
    assert floors.on_grid(path_of(0, 5, 15), GRID) == (0, 5, 15)


def test_partners_share_the_leading_finding_and_are_never_the_image_itself() -> None:
    edema, mild_edema, fracture = (case_of(edema=(0.9, "both")), case_of(edema=(0.4, "both")),
                                   case_of(fracture=(0.5, "left")))  # fmt: skip
    cases = [edema, case_of(), mild_edema, fracture, case_of()]
    assert floors.same_finding_partners(cases) == [[2], [4], [0], [], [1]]


def test_partners_are_several_where_there_are_several() -> None:
    partners = floors.same_finding_partners([case_of()] * 20)
    assert [len(set(others)) for others in partners] == [floors.OTHER_IMAGES] * 20
    assert all(index not in others for index, others in enumerate(partners))


def test_partners_readings_and_paths_come_over() -> None:
    cases = [case_of((((0, 1), (9, 9)), ((2, 3), (9, 9)))), case_of((((4, 5), (9, 9)), ((6, 7), (9, 9))))]
    assert floors.readings_of_partners(cases, [GRID, GRID], [[1], [0]]) == [[(4, 5)], [(2, 3)]]  # readers in turn
    paths = floors.model_paths_of_partners([(0,), (3, 15)], [GRID, PatchGrid(4, 4)], [[1], []])
    assert paths == [[(3, 15)], []]


def test_constant_paths() -> None:
    others = [case_of((((0, 1, 2), (9,)), ((0, 1, 3), (9,)))), case_of((((0, 1), (9,)), ((8, 9, 10, 11), (9,))))]
    constants = ConstantPaths(others, num_steps=3)
    assert constants.best(GRID) in {(0, 1, 2), (0, 1, 3), (0, 1)}
    assert constants.modes(GRID)[:2] == (0, 1)
    assert constants.usual_length == 3  # the fourth reading is cut at the longest path


@pytest.mark.parametrize("grid", [GRID, PatchGrid(2, 2)])
def test_the_best_constant_is_on_the_images_own_grid(grid: PatchGrid) -> None:
    constants = ConstantPaths([case_of((((0, 15, 15), (9,)),))], num_steps=12)
    assert constants.best(grid) == (0, len(grid) - 1, len(grid) - 1)
