"""MultiMatch equals the published implementation, ties included."""

import warnings

import numpy as np
import pytest

from gazevlm_core.metrics.multimatch import multimatch
from gazevlm_core.metrics.paths import pack_paths
from gazevlm_core.scanpath import Fixation, Scanpath
from tests.metrics.path_maker import random_paths

SIZE_PX = (1024.0, 768.0)


def published(first: Scanpath, second: Scanpath) -> list[float]:
    from multimatch_gaze import docomparison

    def vectors(path: Scanpath) -> np.recarray:
        columns = [
            [fixation.x * SIZE_PX[0] for fixation in path], [fixation.y * SIZE_PX[1] for fixation in path],
            [(fixation.duration_ms or 0.0) / 1000 for fixation in path],
        ]  # fmt: skip
        return np.rec.fromarrays([np.array(column) for column in columns], names="start_x,start_y,duration")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(docomparison(vectors(first), vectors(second), SIZE_PX))


def ours(first: list[Scanpath], second: list[Scanpath]) -> np.ndarray:
    return np.stack(multimatch(pack_paths(first, SIZE_PX), pack_paths(second, SIZE_PX)), axis=1)


@pytest.mark.parametrize("cells", [None, 8, 2, 1])
def test_equal_on_random_paths_and_on_grids_full_of_ties(cells: int | None) -> None:
    first, second = (random_paths(150, seed, least=1, cells=cells) for seed in (1, 2))
    second[:15] = first[:15]
    second[15:30] = [Scanpath(path.fixations[::-1], path.source) for path in first[15:30]]
    expected = np.array([published(a, b) for a, b in zip(first, second, strict=True)])
    assert ours(first, second) == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_equal_on_edge_cases() -> None:
    here, there = Fixation(0.5, 0.5, 200.0), Fixation(0.25, 0.75, 300.0)
    still = Scanpath((here,) * 4, "simulated")
    straight = Scanpath(tuple(Fixation(k / 8, k / 8, 100.0) for k in range(8)), "simulated")
    left = Scanpath((there, here, there), "simulated")  # a saccade straight against another
    cases = [still, straight, left]
    pairs = [(a, b) for a in cases for b in cases]
    expected = np.array([published(a, b) for a, b in pairs])
    found = ours([a for a, _ in pairs], [b for _, b in pairs])
    assert found == pytest.approx(expected, abs=1e-9, nan_ok=True)
    assert found[0] == pytest.approx(1.0)


def test_short_paths_and_unknown_durations_are_not_scored() -> None:
    short, known = random_paths(2, 0, least=2, most=2)[:1], random_paths(1, 0, least=3)
    assert np.isnan(ours(short, known)).all()
    untimed = [Scanpath(tuple(Fixation(f.x, f.y) for f in known[0]), "click")]
    scores = ours(untimed, known)
    assert np.isnan(scores[0]).tolist() == [False, False, False, False, True]
