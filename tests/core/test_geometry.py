"""Laws of the patch grid, and hand-computed cells."""

import numpy as np
import pytest

from gazevlm_core.geometry import PatchGrid, pixel_of
from gazevlm_core.scanpath import Fixation


def test_the_centre_of_every_patch_lies_in_that_patch_for_all_grids_up_to_40_by_40() -> None:
    for rows in range(1, 41):
        for cols in range(1, 41):
            grid = PatchGrid(rows, cols)
            back = [grid.index_of(Fixation(*grid.center_of(index))) for index in range(len(grid))]
            assert back == list(range(rows * cols))


@pytest.mark.parametrize(("rows", "cols"), [(1, 2000), (2000, 1), (3, 1000), (1000, 3)])
def test_extreme_aspect_ratios_round_trip(rows: int, cols: int) -> None:
    grid = PatchGrid(rows, cols)
    assert all(grid.index_of(Fixation(*grid.center_of(index))) == index for index in range(len(grid)))


def test_many_positions_at_once_are_those_one_by_one() -> None:
    positions = np.random.default_rng(0).random((3, 50, 2))
    grid = PatchGrid(5, 7)
    one_by_one = [[grid.index_of(Fixation(x, y)) for x, y in row] for row in positions.tolist()]
    assert grid.indices_of(positions).tolist() == one_by_one
    assert grid.indices_of(np.zeros((0, 2))).shape == (0,)
    for outside in (1.0, -0.1, np.nan):
        with pytest.raises(ValueError, match=r"in \[0, 1\)"):
            grid.indices_of(np.array([[0.5, outside]]))


def test_hand_computed_cells() -> None:
    grid = PatchGrid(rows=2, cols=4)
    assert grid.index_of(Fixation(0.0, 0.0)) == 0
    assert grid.index_of(Fixation(0.2499, 0.4999)) == 0
    assert grid.index_of(Fixation(0.25, 0.0)) == 1
    assert grid.index_of(Fixation(0.0, 0.5)) == 4
    assert grid.index_of(Fixation(0.9999999999999999, 0.9999999999999999)) == 7
    assert grid.center_of(5) == (0.375, 0.75)


def test_every_position_has_a_patch_even_just_below_one() -> None:
    last = float.fromhex("0x1.fffffffffffffp-1")  # the largest double below 1
    for side in range(1, 200):
        grid = PatchGrid(side, side)
        assert grid.index_of(Fixation(last, last)) == len(grid) - 1


@pytest.mark.parametrize("digits", [0, 2, 3])
def test_a_place_in_pixels_is_on_the_image(digits: int) -> None:
    for side_px in (1, 16, 333, 2000, 16_384):
        for share in (0.0, 0.5, 1 - 1e-6, 1 - 2**-40, float.fromhex("0x1.fffffffffffffp-1")):
            at_px = pixel_of(share, side_px, digits)
            assert 0 <= at_px < side_px
            assert at_px == pytest.approx(share * side_px, abs=1.001 * 10**-digits)
    assert pixel_of(0.123456, 1000, 2) == 123.46


def test_grid_thw_is_divided_by_the_merge() -> None:
    assert PatchGrid.from_grid_thw((1, 16, 20), 2) == PatchGrid(8, 10)


@pytest.mark.parametrize("thw", [(2, 16, 16), (1, 15, 16), (1, 16, 15)])
def test_grids_that_cannot_be_are_refused(thw: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"frame|divisible"):
        PatchGrid.from_grid_thw(thw, 2)


def test_empty_grids_and_foreign_patches_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        PatchGrid(0, 3)
    for index in (-1, 6):
        with pytest.raises(IndexError, match="outside"):
            PatchGrid(2, 3).center_of(index)
