"""Floors from the training images: the same for all images of a grid, and cheap however many images there are."""

from collections.abc import Sequence

import numpy as np
import pytest

from finetune.held_out import MOST_PATHS, Floors
from gazevlm_core.evaluation import floors
from gazevlm_core.evaluation.floors import on_grid
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.sequence import median_path_of
from gazevlm_core.sample import Sample
from tests.finetune.case_maker import make_case, path_of

GRID = PatchGrid(8, 8)


def read(count: int, length: int = 4) -> list[Sample]:
    rng = np.random.default_rng(0)
    paths = [path_of([(float(x), float(y)) for x, y in rng.random((length, 2))]) for _ in range(count)]
    return [make_case(f"i{n}", readings=[("owl", path)]) for n, path in enumerate(paths)]


def median_of(cases: Sequence[Sample], grid: PatchGrid) -> tuple[int, ...]:
    return median_path_of([on_grid(reading.scanpath, grid) for case in cases for reading in case.readings])


@pytest.mark.parametrize("count", [1, 30, MOST_PATHS])
def test_few_paths_are_all_compared(count: int) -> None:
    cases = read(count)
    assert Floors(cases, 0).best_path(GRID) == median_of(cases, GRID)


def test_paths_are_compared_once_for_each_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def counted(paths: Sequence[Sequence[int]]) -> tuple[int, ...]:
        seen.append(len(paths))
        return median_path_of(paths)

    monkeypatch.setattr(floors, "median_path_of", counted)
    floor = Floors(read(MOST_PATHS + 50), 0)
    for _ in range(3):
        for grid in (GRID, PatchGrid(4, 6), PatchGrid(8, 8)):
            assert floor.best_path(grid) is not None
    assert seen == [MOST_PATHS] * 2


def test_the_paths_of_many_are_drawn_by_the_seed() -> None:
    cases = read(5 * MOST_PATHS, length=2)
    fine = PatchGrid(16, 16)
    assert Floors(cases, 3).best_path(fine) == Floors(cases, 3).best_path(fine)
    assert len({Floors(cases, seed).best_path(fine) for seed in range(4)}) > 1


def test_without_a_scanpath_there_is_no_path() -> None:
    assert Floors((), 0).best_path(GRID) is None
    assert Floors([make_case("i", findings={"edema": 1.0})], 0).best_path(GRID) is None
