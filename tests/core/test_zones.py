"""Zones of a radiograph, by hand."""

import pytest

from gazevlm_core.scanpath import Fixation
from gazevlm_core.zones import ZONES, ZoneDwell, unseen_regions, unseen_words, zone_dwells, zone_of


def test_sides_are_the_patients() -> None:
    assert zone_of(Fixation(0.1, 0.1)) == "right upper"
    assert zone_of(Fixation(0.9, 0.9)) == "left lower"
    assert zone_of(Fixation(0.5, 0.5)) == "central middle"


def test_every_zone_is_reached_and_borders_belong_to_the_next() -> None:
    centres = [Fixation((col + 0.5) / 3, (row + 0.5) / 3) for row in range(3) for col in range(3)]
    assert tuple(map(zone_of, centres)) == ZONES
    assert zone_of(Fixation(1 / 3, 0.0)) == "central upper"


def test_dwell_is_summed_where_it_is_known() -> None:
    path = [Fixation(0.1, 0.1, 100.0), Fixation(0.9, 0.9, 200.0), Fixation(0.2, 0.2, 100.0)]
    assert zone_dwells(path) == [ZoneDwell("right upper", 2, 200.0, 0.5), ZoneDwell("left lower", 1, 200.0, 0.5)]


def test_shares_count_fixations_where_a_dwell_is_not_known() -> None:
    path = [Fixation(0.1, 0.1, 900.0), Fixation(0.9, 0.9), Fixation(0.9, 0.8)]
    right, left = zone_dwells(path)
    assert (right.share, left.share) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert (right.dwell_ms, left.dwell_ms) == (900.0, None)
    assert zone_dwells([]) == []


def test_regions_that_were_not_looked_at_are_named() -> None:
    centres = {zone: Fixation((n % 3 + 0.5) / 3, (n // 3 + 0.5) / 3) for n, zone in enumerate(ZONES)}

    def without(*zones: str) -> list[Fixation]:
        return [fixation for zone, fixation in centres.items() if zone not in zones]

    assert unseen_words(list(centres.values())) == ""
    assert unseen_words(without("right lower", "left lower")) == "Both bases were not looked at."
    assert unseen_words(without("left upper")) == "The left upper zone was not looked at."
    assert unseen_words(without("right middle", "central upper", "central middle", "left middle", "right lower")) == (
        "Both mid zones, the mediastinum and the right base were not looked at."
    )
    for zones in (("central upper", "central lower"), ("central middle", "central lower")):
        assert unseen_regions(without(*zones)) == [], "the mediastinum lies in two thirds, and one was looked at"
    assert len(unseen_regions([])) == 4
