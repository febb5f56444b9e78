"""Fixations of the moving window, by hand."""

import time

import pytest

from annotate.blur import window_scanpath
from annotate.payload import LEAST_SAMPLE_MS, MOST_SAMPLES
from gazevlm_core.annotation import PointerSample

SIZE = (600, 400, 32.0)  # width, height, radius in px


def still(x: float, y: float, start_ms: float, samples: int, every_ms: float = 20.0) -> list[PointerSample]:
    return [PointerSample(start_ms + every_ms * k, x, y) for k in range(samples)]


def test_two_rests_with_their_true_times() -> None:
    path = window_scanpath([*still(0.2, 0.3, 1000, 20), *still(0.8, 0.6, 1400, 10)], *SIZE)
    assert path.source == "moving window"
    # 20 samples every 20 ms: 380 ms from first to last, and one interval
    assert [(one.x, one.y, one.onset_ms, one.duration_ms) for one in path] == [
        (pytest.approx(0.2), pytest.approx(0.3), 1000, pytest.approx(400)),
        (pytest.approx(0.8), pytest.approx(0.6), 1400, pytest.approx(200)),
    ]


def test_distances_are_those_of_the_image_in_radii() -> None:
    right = 0.2 + 31 / 600  # less than a radius to the right: one fixation
    assert len(window_scanpath([*still(0.2, 0.3, 0, 10), *still(right, 0.3, 200, 10)], *SIZE)) == 1
    below = 0.3 + 33 / 400  # more than a radius below: two
    assert len(window_scanpath([*still(0.2, 0.3, 0, 10), *still(0.2, below, 200, 10)], *SIZE)) == 2


def test_short_stops_and_rests_beside_the_image_are_none() -> None:
    moving = [PointerSample(20.0 * k, 0.1 * (k % 10), 0.5) for k in range(50)]
    with pytest.raises(ValueError, match="rested nowhere"):
        window_scanpath(moving, *SIZE)
    with pytest.raises(ValueError, match="rested nowhere"):
        window_scanpath(still(1.2, 0.5, 0, 50), *SIZE)
    with pytest.raises(ValueError, match="rested nowhere"):
        window_scanpath(still(0.5, 0.5, 0, 1), *SIZE)


def test_a_gap_ends_a_fixation() -> None:
    path = window_scanpath([*still(0.5, 0.5, 0, 10), *still(0.5, 0.5, 600, 10)], *SIZE)
    assert [one.onset_ms for one in path] == [0, 600]


def test_the_worst_that_may_be_sent_is_quick() -> None:
    jumps = [PointerSample(LEAST_SAMPLE_MS * k, 0.9 * (k % 8 == 7), 0.5) for k in range(MOST_SAMPLES)]
    begun = time.perf_counter()
    with pytest.raises(ValueError, match="rested nowhere"):
        window_scanpath(jumps, *SIZE)
    assert time.perf_counter() - begun < 10
