"""What K gaze tokens leave out of readings, counted by hand."""

import pytest

from gazevlm_core.scanpath import Fixation, PathLengths, Scanpath


def lengths(*counts: int) -> PathLengths:
    return PathLengths.of(Scanpath((Fixation(0.5, 0.5, None),) * count, "click") for count in counts)


@pytest.mark.parametrize(("steps", "beyond", "cut"), [(1, 33, 3), (4, 24, 2), (12, 8, 1), (20, 0, 0), (99, 0, 0)])
def test_fixations_beyond_k_are_counted(steps: int, beyond: int, cut: int) -> None:
    found = lengths(4, 12, 20, 1)
    assert (found.readings, found.fixations) == (4, 37)
    assert (found.fixations_beyond(steps), found.readings_beyond(steps)) == (beyond, cut)
    assert bool(found.words(steps)) == bool(beyond)


@pytest.mark.parametrize(("share", "steps"), [(1.0, 20), (0.95, 19), (0.5, 7), (0.0, 0)])
def test_the_least_k_that_keeps_a_share(share: float, steps: int) -> None:
    found = lengths(4, 12, 20, 1)
    assert found.steps_that_keep(share) == steps
    assert found.fixations_beyond(steps) <= (1 - share) * found.fixations + 1e-9
    assert steps == 0 or found.fixations_beyond(steps - 1) > (1 - share) * found.fixations


def test_the_sentence_tells_the_share_and_a_k() -> None:
    assert lengths(*[10] * 9, 30).words(12) == (
        "18 of 120 fixations (15%) lie beyond the first 12 of their reading, in 1 of 10 readings, and are not taught; "
        "K = 24 gaze tokens would keep 95% of all"
    )
    assert PathLengths().steps_that_keep() == 0
    assert PathLengths().words(3) == ""
