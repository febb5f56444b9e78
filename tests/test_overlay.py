"""The overlay tells the truth about positions, and leaves the rest of the image alone."""

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from gazevlm_core import overlay
from gazevlm_core.overlay import DOT, draw_overlay
from gazevlm_core.path_style import (
    SQUARE,
    STYLE,
    Color,
    RoleStyle,
    control_point,
    is_light,
    order_colors,
    ring_scales,
    visits,
    visits_label,
)
from gazevlm_core.scanpath import Fixation, Scanpath

GREY = 100


def grey(width_px: int, height_px: int) -> Image.Image:
    return Image.new("L", (width_px, height_px), GREY)


def path_of(*points: tuple[float, float], durations_ms: list[float] | None = None) -> Scanpath:
    times = durations_ms or [None] * len(points)
    return Scanpath(tuple(Fixation(x, y, time) for (x, y), time in zip(points, times, strict=True)), "model")


def random_path(count: int, seed: int) -> Scanpath:
    rng = np.random.default_rng(seed)
    return path_of(*map(tuple, rng.uniform(0.0, 0.9999, (count, 2))), durations_ms=list(rng.uniform(80, 1500, count)))


@pytest.mark.parametrize("size", [(16, 16), (17, 400), (333, 500), (1025, 900), (2601, 700), (4000, 4000)])
@pytest.mark.parametrize("count", [1, 12, 40])
def test_pixel_under_every_fixation_is_white(size: tuple[int, int], count: int) -> None:
    path = random_path(count, seed=size[0])
    drawn = draw_overlay(grey(*size), path)
    assert drawn.size == size
    assert drawn.mode == "RGB"
    for fixation in path:
        assert drawn.getpixel((int(fixation.x * size[0]), int(fixation.y * size[1]))) == DOT


@pytest.mark.parametrize("size", [(64, 64), (512, 430), (1400, 1500), (3000, 2000)])
@pytest.mark.parametrize("seed", range(4))
def test_dot_lies_within_half_a_pixel(size: tuple[int, int], seed: int) -> None:
    x, y = np.random.default_rng(seed).uniform(0.3, 0.7, 2)
    drawn = np.asarray(draw_overlay(grey(*size), path_of((x, y))).convert("L"), dtype=float)
    reach = max(round(0.008 * min(size)), 2)  # inside the ring, away from the number
    row, col = int(y * size[1]), int(x * size[0])
    rows, cols = np.mgrid[row - reach:row + reach + 1, col - reach:col + reach + 1]
    bright = np.clip(drawn[rows, cols] - 150.0, 0.0, None)
    found_x, found_y = ((places + 0.5) @ bright.ravel() / bright.sum() for places in (cols.ravel(), rows.ravel()))
    assert abs(found_x - x * size[0]) <= 0.5
    assert abs(found_y - y * size[1]) <= 0.5


def test_image_stays_as_it_is_away_from_the_path() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    drawn = np.asarray(draw_overlay(image, path_of((0.2, 0.2), (0.3, 0.4))))
    assert (np.asarray(image) == noise).all()
    assert (drawn[:, 200:] == noise[:, 200:]).all()
    assert (drawn[200:] == noise[200:]).all()
    assert (drawn != noise).any()


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "I;16"])
def test_modes_are_accepted(mode: str) -> None:
    image = Image.new(mode, (40, 30))
    assert draw_overlay(image, path_of((0.5, 0.5))).mode == "RGB"


def test_an_image_of_16_bits_has_its_grey_levels() -> None:
    deep = np.linspace(0, 65_535, 90 * 120).astype(np.uint16).reshape(90, 120)
    drawn = np.asarray(draw_overlay(Image.fromarray(deep), path_of((0.5, 0.5))))
    assert (drawn[:, 0, 0] == deep[:, 0] >> 8).all()


def test_arrow_runs_from_rim_to_rim() -> None:
    """It leaves the ring above the straight line, and the ring looks the same on both sides of its dot below it."""
    drawn = np.asarray(draw_overlay(grey(400, 400), path_of((0.2, 0.5), (0.8, 0.5)))).astype(int)
    left, right, row = 80, 320, 200
    inside_px = [4, 5, 6]
    for center in (left, right):
        assert all(abs(drawn[row, center + d] - drawn[row, center - 1 - d]).max() <= 3 for d in inside_px)
    shaft = drawn[row - 40 : row + 20, left + 14 : right - 14]
    assert (shaft != GREY).any(axis=(0, 2)).all()
    assert (drawn[row, left - 14] == GREY).all()
    assert (drawn[row, right + 14] == GREY).all()


def test_a_way_and_the_way_back_are_two_lines() -> None:
    """The middle of a curve lies beside the straight line, by its bend."""
    assert control_point((0.0, 0.0), (100.0, 0.0)) == (50.0, -200 * STYLE.bend)
    there = np.asarray(draw_overlay(grey(400, 400), path_of((0.2, 0.5), (0.8, 0.5)))).astype(int)
    both = np.asarray(draw_overlay(grey(400, 400), path_of((0.2, 0.5), (0.8, 0.5), (0.2, 0.5)))).astype(int)
    aside = round(240 * STYLE.bend)
    drawn = [(picture[:, 200] != GREY).any(axis=1).nonzero()[0] for picture in (there, both)]
    assert drawn[0].mean() == pytest.approx(200 - aside, abs=5)
    assert (drawn[1].min(), drawn[1].max()) == pytest.approx((200 - aside, 200 + aside), abs=9)


def test_arrow_head_is_at_the_later_fixation() -> None:
    drawn = np.asarray(draw_overlay(grey(400, 400), path_of((0.2, 0.5), (0.8, 0.5)))).astype(int)
    thickness = (drawn[150:210] != GREY).any(axis=2).sum(axis=0)
    assert thickness[294:304].max() >= thickness[120:280].max() + 3


def test_fixations_on_one_place_are_one_mark_with_all_its_numbers() -> None:
    assert visits([(0, 0), (50, 0), (3, 4), (50, 5), (0, 6)], 5.0) == [[0, 2], [1, 3], [4]]
    assert visits([(0, 0), (8, 0), (5, 0)], 6.0) == [[0], [1, 2]], "the nearest place"
    assert [visits_label(steps) for steps in ([0], [1, 3], list(range(10)))] == ["1", "2 · 4", "1 · 2 · 3 · 4 …"]
    once = draw_overlay(grey(600, 600), path_of((0.5, 0.5)))
    often = draw_overlay(grey(600, 600), path_of(*[(0.5, 0.5)] * 10))
    changed = (np.asarray(once) != np.asarray(often)).any(axis=2)
    rows, cols = changed.nonzero()
    ring = np.hypot(rows - 300, cols - 300) <= 8
    assert changed.any()
    assert not ring.any(), "one ring around one dot"


def test_a_replay_fades_what_was_looked_at_long_ago() -> None:
    places = [(0.1 + 0.08 * k, 0.2 + 0.6 * (k % 2)) for k in range(STYLE.window + 3)]
    path = path_of(*places)
    whole, early, late = (
        np.asarray(draw_overlay(grey(500, 500), path, shown=shown)).astype(int) for shown in (None, 3, len(path))
    )
    x, y = round(500 * places[0][0]), round(500 * places[0][1])
    first = np.s_[y - 14 : y + 15, x - 14 : x + 3]  # without the number and the arrow

    def inked(picture: np.ndarray) -> float:
        return float(np.abs(picture[first] - GREY).mean())

    assert inked(early) == pytest.approx(inked(whole), rel=0.05)
    assert inked(late) < 0.7 * inked(whole)


def test_more_fixations_than_there_are_draw_all_of_them() -> None:
    path = path_of((0.2, 0.2), (0.8, 0.6))
    whole, more = (np.asarray(draw_overlay(grey(200, 200), path, shown=shown)) for shown in (2, 5))
    assert (whole == more).all()


def test_numbers_stay_inside_the_image() -> None:
    corners = [(0.0, 0.0), (0.9999, 0.0), (0.0, 0.9999), (0.9999, 0.9999)]
    drawn = np.asarray(draw_overlay(grey(500, 500), path_of(*corners)))
    for color in order_colors(4):
        assert (drawn == color).all(axis=2).sum() > 60


@pytest.mark.parametrize("size", [(2, 2), (8, 8), (20, 12), (64, 48), (100, 20)])
def test_small_images_have_their_path_too(size: tuple[int, int]) -> None:
    """Their badges are a few pixels wide, which Pillow cannot draw as rounded rectangles wherever they stand."""
    for seed in range(60):
        places = np.random.default_rng(seed).random((12, 2))
        path = Scanpath(tuple(Fixation(x, y) for x, y in places.tolist()), "model")
        assert draw_overlay(Image.new("L", size), path).size == size


def test_ring_area_follows_the_duration() -> None:
    assert ring_scales([200.0, 400.0, 600.0]) == pytest.approx([0.5**0.5, 1.0, 1.5**0.5])
    assert ring_scales([1.0, 400.0, 90_000.0]) == [0.7, 1.0, 1.6]
    assert ring_scales([None, 300.0, None]) == [1.0, 1.0, 1.0]
    assert ring_scales([None, None]) == [1.0, 1.0]
    assert ring_scales([0.0, 0.0]) == [1.0, 1.0]
    assert ring_scales([0.0, 300.0]) == [0.7, 1.0]


def test_colors_grow_lighter_in_order() -> None:
    """So the order survives any colour blindness, and a grey print."""
    for count in (2, 12, 40):
        lightness = [0.299 * red + 0.587 * green + 0.114 * blue for red, green, blue in order_colors(count)]
        assert all(later > earlier for earlier, later in pairwise(lightness))
    assert order_colors(1) == [(49, 104, 142)]
    assert order_colors(3)[1] == (53, 183, 121)


def test_numbers_can_be_read_on_every_color_of_an_order() -> None:
    """White on the teal of a middle step had a contrast of 4.1; WCAG 2.2 asks for 4.5."""

    def luminance(color: Color) -> float:
        return sum(
            weight * (part / 3294.6 if part <= 10 else ((part / 255 + 0.055) / 1.055) ** 2.4)
            for part, weight in zip(color, (0.2126, 0.7152, 0.0722), strict=True)
        )

    for line in STYLE.roles.values():
        for color in order_colors(24, line.colors):
            ground, ink = luminance(color), 0.0 if is_light(color) else 1.0
            assert (max(ground, ink) + 0.05) / (min(ground, ink) + 0.05) >= 4.5, color


def test_ring_and_dashes_follow_the_style(monkeypatch: pytest.MonkeyPatch) -> None:
    path = path_of((0.2, 0.5), (0.8, 0.5))
    circles = np.asarray(draw_overlay(grey(400, 400), path)).astype(int)
    monkeypatch.setattr(overlay, "ROLE", RoleStyle(((0, 0, 255), (255, 255, 0)), SQUARE, dash=(3, 2)))
    squares = np.asarray(draw_overlay(grey(400, 400), path)).astype(int)
    assert tuple(squares[200, 80]) == tuple(squares[200, 320]) == DOT
    band = squares[170:200, 110:270]  # between the rings; the arrow has the colour of its end
    yellow = (np.abs(band - (255, 255, 0)).sum(axis=2) < 60).any(axis=0).astype(int)
    assert (np.diff(yellow) == 1).sum() > 5, "dashes"
    assert tuple(squares[191, 71]) != (GREY,) * 3, "the corner of a square"
    assert tuple(circles[191, 71]) == (GREY,) * 3
