"""Drawing a scanpath over an image: numbered fixations in viewing order, with arrows between them.

The white dot marks the exact position; ring, number and arrow only point at it. A ring's area grows with the fixation's
duration. Colours run from blue (first) to yellow (last): viridis, which keeps its order for colour-blind readers
(S. van der Walt and N. Smith, matplotlib, 2015, CC0), without its darkest third, which would vanish on a radiograph.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gazevlm_core.scanpath import Scanpath

Color = tuple[int, int, int]
Point = tuple[float, float]

VIRIDIS: tuple[Color, ...] = (  # at 0.33, 0.44, ... 1.0 of the map
    (49, 104, 142), (38, 130, 142), (31, 158, 137), (53, 183, 121), (110, 206, 88), (181, 222, 43), (253, 231, 37),
)
HALO: Color = (0, 0, 0)
DOT: Color = (255, 255, 255)

# Sizes as fractions of the image's shorter side.
RING_RADIUS, RING_WIDTH, DOT_RADIUS, BADGE_TEXT, ARROW_HEAD = 0.022, 0.0045, 0.005, 0.037, 0.026
SMALLEST_DOT_PX = 1.25  # so that the pixel under a fixation is wholly inside its dot
DWELL_RADIUS_RANGE = (0.7, 1.6)  # of RING_RADIUS, for very short and very long fixations
# Shapes are drawn larger and shrunk, so that edges are smooth; large images are smooth enough as they are.
SMOOTHING = ((1024, 4), (1600, 3), (2600, 2))
BADGE_ANGLES = 16
BADGE_DISTANCES = (1.0, 1.7, 2.5, 3.4)  # steps away from the ring, in badge heights


@dataclass(frozen=True)
class _Mark:
    """A fixation as drawn: centre, radius of its ring, both in canvas pixels, and its colour."""

    at: Point
    radius: float
    color: Color


def draw_overlay(image: Image.Image, scanpath: Scanpath, *, shown: int | None = None) -> Image.Image:
    """Draw a scanpath over an image.

    Args:
        image: upright; any mode and size.
        scanpath: at least one fixation; rings have one size where a duration is unknown.
        shown: draw only the first so many fixations, each as it looks on the whole path; None draws all.

    Returns:
        A new RGB image of the same size. Pixels away from the marks are those of the image; the pixel under each
        fixation (int(x * width), int(y * height)) is white.
    """
    scale = next((factor for side_px, factor in SMOOTHING if max(image.size) <= side_px), 1)
    canvas = image.convert("RGB").resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
    unit = float(min(canvas.size))
    marks = _marks(scanpath, canvas.size, unit)[:shown]
    draw = ImageDraw.Draw(canvas, "RGBA")
    width = max(round(RING_WIDTH * unit), 1)
    for halo in (True, False):
        for mark in marks:
            _draw_ring(draw, mark, width, halo)
        for start, end in pairwise(marks):
            _draw_arrow(draw, start, end, width, ARROW_HEAD * unit, halo)
    _draw_badges(draw, marks, canvas.size, unit)
    drawn = canvas.reduce(scale)  # equal pixels average to themselves
    seen = scanpath.fixations[:shown]
    _draw_dots(drawn, [(fixation.x * image.width, fixation.y * image.height) for fixation in seen])
    return drawn


def order_colors(count: int, palette: Sequence[Color] = VIRIDIS) -> list[Color]:
    """Colours of `count` fixations, first to last, along a palette."""
    places = np.linspace(0.0, len(palette) - 1.0, max(count, 1))[:count]
    channels = [np.interp(places, range(len(palette)), channel) for channel in zip(*palette, strict=True)]
    return [(round(red), round(green), round(blue)) for red, green, blue in zip(*channels, strict=True)]


def ring_scales(durations_ms: Sequence[float | None]) -> list[float]:
    """Radius of each ring over the usual one: its area follows the duration over the path's median, within limits.

    An unknown duration gives 1.
    """
    known = [duration for duration in durations_ms if duration]
    if not known:
        return [1.0] * len(durations_ms)
    median = float(np.median(known))
    low, high = DWELL_RADIUS_RANGE
    return [1.0 if value is None else min(max(math.sqrt(value / median), low), high) for value in durations_ms]


def _marks(scanpath: Scanpath, size: tuple[int, int], unit: float) -> list[_Mark]:
    scales = ring_scales([fixation.duration_ms for fixation in scanpath])
    colors = order_colors(len(scanpath))
    return [
        _Mark((fixation.x * size[0], fixation.y * size[1]), max(RING_RADIUS * unit * scale, 2.0), color)
        for fixation, scale, color in zip(scanpath, scales, colors, strict=True)
    ]


def _draw_ring(draw: ImageDraw.ImageDraw, mark: _Mark, width: int, halo: bool) -> None:
    edge = max(width // 2, 1) if halo else 0
    box = _box(mark.at, mark.radius + width / 2 + edge)
    if halo:
        draw.ellipse(box, outline=(*HALO, 190), width=width + 2 * edge)
    else:
        draw.ellipse(box, fill=(*mark.color, 46), outline=(*mark.color, 255), width=width)


def _draw_arrow(
    draw: ImageDraw.ImageDraw, start: _Mark, end: _Mark, width: int, head: float, halo: bool
) -> None:
    """From rim to rim; where the rings meet, from position to position; none between equal positions."""
    dx, dy = end.at[0] - start.at[0], end.at[1] - start.at[1]
    distance = math.hypot(dx, dy)
    if distance < 1.0:
        return
    ux, uy = dx / distance, dy / distance
    leave, arrive = start.radius + width, end.radius + 1.5 * width
    if distance < leave + arrive + head:
        leave, arrive, head = 0.0, 0.0, min(head, 0.6 * distance)
    tip = (end.at[0] - ux * arrive, end.at[1] - uy * arrive)
    tail = (start.at[0] + ux * leave, start.at[1] + uy * leave)
    base = (tip[0] - ux * head, tip[1] - uy * head)
    color = (*HALO, 190) if halo else (*end.color, 255)
    edge = max(width // 2, 1) if halo else 0
    draw.line([tail, base], fill=color, width=width + 2 * edge)
    half = 0.42 * head + edge
    wings = [(base[0] - uy * half, base[1] + ux * half), (base[0] + uy * half, base[1] - ux * half)]
    draw.polygon([(tip[0] + ux * 2 * edge, tip[1] + uy * 2 * edge), *wings], fill=color)


def _draw_badges(draw: ImageDraw.ImageDraw, marks: Sequence[_Mark], size: tuple[int, int], unit: float) -> None:
    """Numbers beside the rings, each where it hides least."""
    height = max(BADGE_TEXT * unit, 6.0)
    font = ImageFont.load_default(size=0.78 * height)
    placed: list[tuple[float, float, float]] = []  # centre and half width
    for index in range(len(marks)):
        half_width = max(0.5 * draw.textlength(str(index + 1), font) + 0.26 * height, 0.5 * height)
        x, y = _badge_place(index, marks, placed, (half_width, 0.5 * height), size)
        placed.append((x, y, half_width))
    edge = max(round(0.07 * height), 1)
    for index, (mark, (x, y, half_width)) in enumerate(zip(marks, placed, strict=True)):
        distance = math.dist((x, y), mark.at)
        if distance > mark.radius + 1.2 * height:  # moved away: a thread leads back to the ring
            share = mark.radius / distance
            rim = (mark.at[0] + (x - mark.at[0]) * share, mark.at[1] + (y - mark.at[1]) * share)
            draw.line([rim, (x, y)], fill=(*mark.color, 255), width=edge)
        box = (x - half_width, y - 0.5 * height, x + half_width, y + 0.5 * height)
        draw.rounded_rectangle(box, 0.5 * height, fill=(*mark.color, 255), outline=(*HALO, 255), width=edge)
        red, green, blue = mark.color
        ink = (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 110 else (255, 255, 255)
        draw.text((x, y), str(index + 1), fill=ink, font=font, anchor="mm")


def _badge_place(
    index: int,
    marks: Sequence[_Mark],
    placed: Sequence[tuple[float, float, float]],
    half: tuple[float, float],
    size: tuple[int, int],
) -> Point:
    """The nearest free place around a ring, upper right first: clear of border, other badges, positions and arrows."""
    mark = marks[index]
    neighbours = [*marks[max(index - 1, 0):index], *marks[index + 1:index + 2]]
    arrows = [math.atan2(other.at[1] - mark.at[1], other.at[0] - mark.at[0]) for other in neighbours]
    best, best_cost = mark.at, math.inf
    for step in BADGE_DISTANCES:
        for turn in range(BADGE_ANGLES):
            angle = -math.pi / 4 + math.tau * turn / BADGE_ANGLES
            away = mark.radius + 2 * half[1] * (step - 0.35)
            x = mark.at[0] + math.cos(angle) * (away + half[0] - half[1])
            y = mark.at[1] + math.sin(angle) * away
            outside = max(half[0] - x, x + half[0] - size[0], half[1] - y, y + half[1] - size[1], 0.0)
            cost = 50.0 * outside / half[1] + step + 0.02 * turn
            cost += 0.6 * sum(math.cos(angle - arrow) > 0.75 for arrow in arrows)
            for other_x, other_y, other_half in placed:
                overlap_x = half[0] + other_half - abs(x - other_x)
                overlap_y = 2 * half[1] - abs(y - other_y)
                cost += 30.0 * (overlap_x > 0 and overlap_y > 0) * min(overlap_x, overlap_y) / half[1]
            for other in marks:
                cost += 6.0 * (math.dist((x, y), other.at) < half[0] + 0.5 * other.radius)
            if cost < best_cost:
                best, best_cost = (x, y), cost
    return best


def _draw_dots(image: Image.Image, positions: Sequence[Point]) -> None:
    """The exact positions, smooth at any size: every outline first, so that no dot's core is covered."""
    radius = max(DOT_RADIUS * min(image.size), SMALLEST_DOT_PX)
    for color, reach in ((HALO, radius + max(0.35 * radius, 0.75)), (DOT, radius)):
        for x, y in positions:
            left, top = max(math.floor(x - reach - 1), 0), max(math.floor(y - reach - 1), 0)
            right = min(math.ceil(x + reach + 1), image.width)
            bottom = min(math.ceil(y + reach + 1), image.height)
            across = np.arange(left, right) + 0.5 - x  # pixel i covers [i, i + 1)
            down = np.arange(top, bottom) + 0.5 - y
            coverage = np.clip(reach + 0.5 - np.hypot(across[None, :], down[:, None]), 0.0, 1.0)
            mask = Image.fromarray(np.rint(255 * coverage).astype(np.uint8))
            image.paste(color, (left, top), mask)


def _box(center: Point, radius: float) -> tuple[float, float, float, float]:
    return center[0] - radius, center[1] - radius, center[0] + radius, center[1] + radius
