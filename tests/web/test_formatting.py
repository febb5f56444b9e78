"""How values are written for people."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from web.formatting import UNKNOWN, duration, score, short_digest, short_name, when


@pytest.mark.parametrize(("seconds", "words"), [
    (0.2, "1 s"), (45, "45 s"), (90, "2 min"), (3600, "60 min"), (7200, "2 h"), (7800, "2 h 10 min"),
])  # fmt: skip
def test_lengths_of_time_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_moment_is_written_alike_wherever_it_comes_from() -> None:
    moment = datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC)
    elsewhere = moment.astimezone(timezone(timedelta(hours=5)))
    assert when(moment) == when(moment.timestamp()) == when(elsewhere) == "2024-02-29 23:59 UTC"


def test_the_epoch_and_nought_are_known_and_nothing_is_not() -> None:
    assert (when(0.0), score(0.0), score(0.0, signed=True)) == ("1970-01-01 00:00 UTC", "0.000", "+0.000")
    assert when(None) == score(None) == score(None, signed=True) == UNKNOWN


def test_what_rounds_to_nought_has_no_minus() -> None:
    assert [score(-0.0004), score(-0.0004, signed=True), score(-0.0006)] == ["0.000", "+0.000", "-0.001"]


def test_what_is_long_is_cut_and_what_fits_is_whole() -> None:
    assert short_name("a" * 40) == "a" * 40
    assert short_name("a" * 41) == "a" * 39 + "…"
    assert short_digest("0123456789abcdef") == "0123456789"
