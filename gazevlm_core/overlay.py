"""Drawing a scanpath over an image: numbered fixations in viewing order, with arrows between them.

White dots mark the exact positions; rings, numbers and arrows only point at them. Fixations close to each other have
one ring, whose area grows with the time spent there. Colours, shapes and sizes are those of
`gazevlm_core.path_style`, as in the page's viewer.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gazevlm_core.images import as_rgb
from gazevlm_core.path_style import (
    STYLE,
    Color,
    Point,
    control_point,
    is_light,
    order_colors,
    ring_scales,
    visits,
    visits_label,
)
from gazevlm_core.scanpath import Scanpath

Color4 = tuple[int, int, int, int]

DOT, ROLE, SIZES = STYLE.dot, STYLE.roles["model"], STYLE.overlay
HALO = (*STYLE.halo, round(255 * STYLE.halo_alpha))
SMALLEST_DOT_PX = 1.25  # so that the pixel under a fixation is wholly inside its dot
# Shapes are drawn larger and shrunk, so that edges are smooth; large images are smooth enough as they are.
SMOOTHING = ((1024, 4), (1600, 3), (2600, 2))
CURVE_POINTS = 25
BADGE_ANGLES = 16
BADGE_DISTANCES = (1.0, 1.7, 2.5, 3.4)  # steps away from the ring, in badge heights


@dataclass(frozen=True)
class _Mark:
    """A place as drawn: centre, radius of its ring, both in canvas pixels, its colour, its visits and its opacity."""

    at: Point
    radius: float
    color: Color
    steps: tuple[int, ...]
    alpha: float


@dataclass(frozen=True)
class _Arrow:
    """The way from one place to another, in the colour of the fixation that it leads to."""

    start: _Mark
    end: _Mark
    color: Color
    alpha: float


def draw_overlay(image: Image.Image, scanpath: Scanpath, *, shown: int | None = None) -> Image.Image:
    """Draw a scanpath over an image.

    Args:
        image: upright; any mode and size.
        scanpath: at least one fixation; rings have one size where a duration is unknown.
        shown: draw only the first so many fixations, each as it looks on the whole path, the last of them in full and
            those before faintly; None draws all in full.

    Returns:
        A new RGB image of the same size. Pixels away from the marks are those of the image; the pixel under each
        fixation (int(x * width), int(y * height)) is white.
    """
    scale = next((factor for side_px, factor in SMOOTHING if max(image.size) <= side_px), 1)
    canvas = as_rgb(image).resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
    unit = float(min(canvas.size))
    marks, arrows = _marks(scanpath, canvas.size, unit, shown)
    draw = ImageDraw.Draw(canvas, "RGBA")
    width = max(round(SIZES.line * unit), 1)
    for halo in (True, False):
        for mark in marks:
            _draw_ring(draw, mark, width, halo)
        for arrow in arrows:
            _draw_arrow(draw, arrow, width, SIZES.head * unit, halo)
    _draw_badges(draw, marks, arrows, canvas.size, unit)
    drawn = canvas.reduce(scale)  # equal pixels average to themselves
    seen = scanpath.fixations[:shown]
    positions = dict.fromkeys((fixation.x * image.width, fixation.y * image.height) for fixation in seen)
    _draw_dots(drawn, list(positions))
    return drawn


def _marks(
    scanpath: Scanpath, size: tuple[int, int], unit: float, shown: int | None
) -> tuple[list[_Mark], list[_Arrow]]:
    """Return places in the order of first visits, and the ways between them."""
    count, (least, most) = len(scanpath) if shown is None else min(shown, len(scanpath)), SIZES.radius_limits
    radius, colors = SIZES.radius * unit, order_colors(len(scanpath), ROLE.colors)
    points = [(fixation.x * size[0], fixation.y * size[1]) for fixation in scanpath]
    places = visits(points, STYLE.repeat * max(radius, least))
    dwells = [[scanpath.fixations[step].duration_ms for step in steps] for steps in places]
    scales = ring_scales([_sum_known(dwell) for dwell in dwells])

    def alpha(step: int) -> float:
        return 1.0 if shown is None or step >= count - STYLE.window else STYLE.faint

    marks: list[_Mark] = []
    at_step: dict[int, _Mark] = {}
    for steps, scale in zip(places, scales, strict=True):
        seen = tuple(step for step in steps if step < count)
        if seen:
            ring = min(max(radius * scale, least), most)
            marks.append(_Mark(points[seen[0]], ring, colors[seen[0]], seen, alpha(seen[-1])))
            at_step |= dict.fromkeys(seen, marks[-1])
    arrows = [
        _Arrow(at_step[step - 1], at_step[step], colors[step], alpha(step))
        for step in range(1, count)
        if at_step[step] is not at_step[step - 1]
    ]
    return marks, arrows


def _sum_known(durations: Sequence[float | None]) -> float | None:
    """Return the sum where all are known."""
    known = [duration for duration in durations if duration is not None]
    return sum(known) if len(known) == len(durations) else None


def _ink(color: Color, alpha: float, halo: bool) -> Color4:
    """Return the colour of a line, or of what lies behind it."""
    return (*HALO[:3], round(HALO[3] * alpha)) if halo else (*color, round(255 * alpha))


def _draw_ring(draw: ImageDraw.ImageDraw, mark: _Mark, width: int, halo: bool) -> None:
    edge = max(width // 2, 1) if halo else 0
    reach = mark.radius + width / 2 + edge
    fill = None if halo else (*mark.color, round(255 * STYLE.fill_alpha * mark.alpha))
    outline, thick = _ink(mark.color, mark.alpha, halo), width + 2 * edge
    x, y = mark.at
    if ROLE.ring:
        corners = [(x + dx * reach, y + dy * reach) for dx, dy in ROLE.ring]
        draw.polygon(corners, fill=fill, outline=outline, width=thick)
    else:
        draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=fill, outline=outline, width=thick)


def _draw_line(draw: ImageDraw.ImageDraw, points: Sequence[Point], width: int, thick: int, color: Color4) -> None:
    """Draw a solid line along some points, or one of dashes."""
    if not ROLE.dash:
        draw.line(list(points), fill=color, width=thick, joint="curve")
        return
    dash, gap = (part * width for part in ROLE.dash)
    xs, ys = np.array(points).T
    along = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(xs), np.diff(ys)))])
    for start in np.arange(0.0, along[-1], dash + gap).tolist():
        steps = np.linspace(start, min(start + dash, along[-1]), 4)
        places = zip(np.interp(steps, along, xs).tolist(), np.interp(steps, along, ys).tolist(), strict=True)
        draw.line(list(places), fill=color, width=thick)


def _draw_arrow(draw: ImageDraw.ImageDraw, arrow: _Arrow, width: int, head: float, halo: bool) -> None:
    """Draw it from rim to rim; where the rings meet, from position to position."""
    start, end = arrow.start, arrow.end
    distance = math.dist(start.at, end.at)
    leave, arrive = start.radius + SIZES.gaps[0] * width, end.radius + SIZES.gaps[1] * width
    if distance < leave + arrive + head:
        leave, arrive, head = 0.0, 0.0, min(head, 0.6 * distance)
    corner = control_point(start.at, end.at)
    (from_x, from_y), (ux, uy) = _unit(start.at, corner), _unit(corner, end.at)
    tail = (start.at[0] + from_x * leave, start.at[1] + from_y * leave)
    tip = (end.at[0] - ux * arrive, end.at[1] - uy * arrive)
    base = (tip[0] - ux * head, tip[1] - uy * head)
    edge = max(width // 2, 1) if halo else 0
    color = _ink(arrow.color, arrow.alpha, halo)
    _draw_line(draw, _quadratic(tail, corner, base), width, width + 2 * edge, color)
    half = SIZES.head_width * head + edge
    wings = [(base[0] - uy * half, base[1] + ux * half), (base[0] + uy * half, base[1] - ux * half)]
    draw.polygon([(tip[0] + ux * 2 * edge, tip[1] + uy * 2 * edge), *wings], fill=color)


def _unit(start: Point, end: Point) -> Point:
    """Direction from one place to another, of length 1."""
    distance = math.dist(start, end)
    return (end[0] - start[0]) / distance, (end[1] - start[1]) / distance


def _quadratic(start: Point, control: Point, end: Point) -> list[Point]:
    """Points along a quadratic Bezier curve."""
    share = np.linspace(0.0, 1.0, CURVE_POINTS)[:, None]
    points = (1 - share) ** 2 * np.array(start) + 2 * share * (1 - share) * np.array(control) + share**2 * np.array(end)
    return [(x, y) for x, y in points.tolist()]


def _draw_badges(
    draw: ImageDraw.ImageDraw, marks: Sequence[_Mark], arrows: Sequence[_Arrow], size: tuple[int, int], unit: float
) -> None:
    """Draw numbers beside the rings, each where it hides least."""
    height = max(SIZES.number * unit, 6.0)
    font = ImageFont.load_default(size=SIZES.text * height)
    labels = [visits_label(mark.steps) for mark in marks]
    placed: list[tuple[float, float, float]] = []  # centre and half width
    for mark, label in zip(marks, labels, strict=True):
        half_width = max(0.5 * draw.textlength(label, font) + SIZES.padding * height, 0.5 * height)
        ways = [_direction(mark, other) for arrow in arrows for other in _other_end(arrow, mark)]
        x, y = _badge_place(mark, ways, marks, placed, (half_width, 0.5 * height), size)
        placed.append((x, y, half_width))
    edge = max(round(SIZES.border * height), 1)
    for mark, label, (x, y, half_width) in zip(marks, labels, placed, strict=True):
        distance, color = math.dist((x, y), mark.at), _ink(mark.color, mark.alpha, halo=False)
        if distance > mark.radius + max(1.2 * height, half_width):  # moved away: a thread leads back to the ring
            share = mark.radius / distance
            rim = (mark.at[0] + (x - mark.at[0]) * share, mark.at[1] + (y - mark.at[1]) * share)
            draw.line([rim, (x, y)], fill=color, width=edge)
        # whole pixels: from fractions Pillow cannot make each small rounded rectangle
        left, top, right, bottom = map(round, (x - half_width, y - 0.5 * height, x + half_width, y + 0.5 * height))
        border = (*STYLE.halo, round(255 * mark.alpha))
        draw.rounded_rectangle((left, top, right, bottom), (bottom - top) / 2, color, border, edge)
        ink = (0, 0, 0) if is_light(mark.color) else (255, 255, 255)
        draw.text((x, y), label, fill=(*ink, round(255 * mark.alpha)), font=font, anchor="mm")


def _other_end(arrow: _Arrow, mark: _Mark) -> list[_Mark]:
    """Return where an arrow of a place leads or comes from; nothing where it is another's."""
    return [arrow.end] if arrow.start is mark else [arrow.start] if arrow.end is mark else []


def _direction(mark: _Mark, other: _Mark) -> float:
    return math.atan2(other.at[1] - mark.at[1], other.at[0] - mark.at[0])


def _badge_place(
    mark: _Mark,
    arrows: Sequence[float],
    marks: Sequence[_Mark],
    placed: Sequence[tuple[float, float, float]],
    half: tuple[float, float],
    size: tuple[int, int],
) -> Point:
    """Return the nearest free place around a ring, upper right first: clear of border, other badges, positions and
    arrows."""
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
    """Draw the exact positions, smooth at any size: every outline first, so that no dot's core is covered."""
    radius = max(SIZES.dot * min(image.size), SMALLEST_DOT_PX)
    for color, reach in ((STYLE.halo, radius + max(SIZES.dot_rim * radius, 0.75)), (DOT, radius)):
        for x, y in positions:
            left, top = max(math.floor(x - reach - 1), 0), max(math.floor(y - reach - 1), 0)
            right = min(math.ceil(x + reach + 1), image.width)
            bottom = min(math.ceil(y + reach + 1), image.height)
            across = np.arange(left, right) + 0.5 - x  # pixel i covers [i, i + 1)
            down = np.arange(top, bottom) + 0.5 - y
            coverage = np.clip(reach + 0.5 - np.hypot(across[None, :], down[:, None]), 0.0, 1.0)
            mask = Image.fromarray(np.rint(255 * coverage).astype(np.uint8))
            image.paste(color, (left, top), mask)
