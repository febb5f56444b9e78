"""The contact sheet shows every finding at three severities, and healthy patients of every domain."""

import pytest

from gazevlm_core.findings import FINDING_NAMES, HELD_OUT_FINDING_NAMES, grade_of
from phantoms.contact_sheet import CAPTION_PX, GAP_PX, Tile, contact_sheet, default_tiles


def test_default_tiles_cover_everything() -> None:
    tiles = default_tiles()
    shown = {(request.name, grade_of(request.severity or 0.0)) for tile in tiles for request in tile.findings}
    grades = ("subtle", "moderate", "severe")
    assert shown == {(name, grade) for name in FINDING_NAMES + HELD_OUT_FINDING_NAMES for grade in grades}
    assert {tile.domain for tile in tiles if not tile.findings} == {"A", "B", "R"}
    assert len({tile.seed for tile in tiles}) == len(tiles)


def test_sheet_is_six_across() -> None:
    sheet = contact_sheet(tuple(Tile(seed, "x") for seed in range(7)), tile_px=64)
    assert sheet.size == (6 * (64 + GAP_PX) + GAP_PX, 2 * (64 + CAPTION_PX + GAP_PX) + GAP_PX)
    assert sheet.getextrema()[1] > 200


def test_empty_sheet_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one tile"):
        contact_sheet(())
