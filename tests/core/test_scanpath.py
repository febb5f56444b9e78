"""Fixations and scanpaths are validated at birth."""

import math

import pytest

from gazevlm_core.scanpath import LONGEST_DWELL_MS, Fixation, Scanpath, fixations_at


@pytest.mark.parametrize("value", [-1e-9, 1.0, 1.5, math.nan, math.inf])
def test_positions_outside_the_image_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\)"):
        Fixation(value, 0.5)
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\)"):
        Fixation(0.5, value)


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_times_must_be_finite_and_not_negative(value: float) -> None:
    with pytest.raises(ValueError, match="duration_ms"):
        Fixation(0.5, 0.5, duration_ms=value)
    with pytest.raises(ValueError, match="onset_ms"):
        Fixation(0.5, 0.5, onset_ms=value)


def test_unknown_durations_stay_unknown() -> None:
    assert Fixation(0.0, 0.0).duration_ms is None


def test_a_path_needs_a_fixation_a_known_source_and_onsets_that_run_forwards() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Scanpath((), "click")
    with pytest.raises(ValueError, match="unknown scanpath source"):
        Scanpath((Fixation(0.1, 0.1),), "telepathy")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="backwards"):
        Scanpath((Fixation(0.1, 0.1, onset_ms=5), Fixation(0.1, 0.1), Fixation(0.1, 0.1, onset_ms=4)), "click")


def test_a_path_keeps_the_viewing_order() -> None:
    fixations = [Fixation(0.1, 0.2), Fixation(0.3, 0.4), Fixation(0.1, 0.2)]
    path = Scanpath(tuple(fixations), "eyetracker")
    assert list(path) == fixations
    assert len(path) == 3


def test_places_are_numbers_with_or_without_a_dwell_or_fixations() -> None:
    timed = Fixation(0.5, 0.5, 200.0)
    assert fixations_at([(0.1, 0.2), ["0.3", "0.4"], timed]) == (Fixation(0.1, 0.2), Fixation(0.3, 0.4), timed)
    dwells = [(0.5, 0.5, 200), ["0.5", "0.5", "200"], (0.5, 0.5, None), (0.5, 0.5, LONGEST_DWELL_MS)]
    assert [one.duration_ms for one in fixations_at(dwells)] == [200, 200, None, LONGEST_DWELL_MS]
    wrong_dwells = [(0.1, 0.2, value) for value in (-1, math.nan, math.inf, LONGEST_DWELL_MS + 1, "", "x", [])]
    others = ((0.1, 1.0), (0.1,), (0.1, 0.2, 200, 0), "ab", None, (math.nan, 0.1), ({}, []), (10**400, 0.1))
    for wrong in (*others, *wrong_dwells):
        with pytest.raises(ValueError, match=r"place 2 must be two numbers x and y"):
            fixations_at([(0.1, 0.2), wrong])  # type: ignore[list-item]
