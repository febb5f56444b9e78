"""Drawing a scanpath over an image, or as an animation: numbered fixations in viewing order, with arrows between them.

The white dot marks the exact position; ring, number and arrow only point at it. A ring's area grows with the fixation's
duration. Colours, shapes and sizes are those of `gazevlm_core.path_style`, as in the page's viewer.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gazevlm_core.path_style import STYLE, Color, is_light, order_colors, ring_scales
from gazevlm_core.scanpath import Scanpath

Point = tuple[float, float]
Color4 = tuple[int, int, int, int]

DOT, ROLE, SIZES = STYLE.dot, STYLE.roles["model"], STYLE.overlay
HALO = (*STYLE.halo, round(255 * STYLE.halo_alpha))
SMALLEST_DOT_PX = 1.25  # so that the pixel under a fixation is wholly inside its dot
# Shapes are drawn larger and shrunk, so that edges are smooth; large images are smooth enough as they are.
SMOOTHING = ((1024, 4), (1600, 3), (2600, 2))
UNKNOWN_MS = 450  # a frame whose dwell is not known
SHORTEST_MS = 100  # browsers slow down anything quicker
LAST_MS = 1500  # the whole path, before it begins again
SIDE_PX = 768  # longer side of the animation at the most
WEBP_QUALITY = 82
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
    width = max(round(SIZES.line * unit), 1)
    for halo in (True, False):
        for mark in marks:
            _draw_ring(draw, mark, width, halo)
        for start, end in pairwise(marks):
            _draw_arrow(draw, start, end, width, SIZES.head * unit, halo)
    _draw_badges(draw, marks, canvas.size, unit)
    drawn = canvas.reduce(scale)  # equal pixels average to themselves
    seen = scanpath.fixations[:shown]
    _draw_dots(drawn, [(fixation.x * image.width, fixation.y * image.height) for fixation in seen])
    return drawn


def _marks(scanpath: Scanpath, size: tuple[int, int], unit: float) -> list[_Mark]:
    scales = ring_scales([fixation.duration_ms for fixation in scanpath])
    colors, (least, most) = order_colors(len(scanpath), ROLE.colors), SIZES.radius_limits
    return [
        _Mark((fixation.x * size[0], fixation.y * size[1]), min(max(SIZES.radius * unit * scale, least), most), color)
        for fixation, scale, color in zip(scanpath, scales, colors, strict=True)
    ]


def _draw_ring(draw: ImageDraw.ImageDraw, mark: _Mark, width: int, halo: bool) -> None:
    edge = max(width // 2, 1) if halo else 0
    reach = mark.radius + width / 2 + edge
    fill = None if halo else (*mark.color, round(255 * STYLE.fill_alpha))
    outline, thick = (HALO, width + 2 * edge) if halo else ((*mark.color, 255), width)
    x, y = mark.at
    if ROLE.ring:
        corners = [(x + dx * reach, y + dy * reach) for dx, dy in ROLE.ring]
        draw.polygon(corners, fill=fill, outline=outline, width=thick)
    else:
        draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=fill, outline=outline, width=thick)


def _draw_line(draw: ImageDraw.ImageDraw, tail: Point, head: Point, width: int, thick: int, color: Color4) -> None:
    """A solid line, or one of dashes."""
    if not ROLE.dash:
        draw.line([tail, head], fill=color, width=thick)
        return
    length, (dash, gap) = math.dist(tail, head), (part * width for part in ROLE.dash)
    for start in np.arange(0.0, length, dash + gap).tolist():
        ends = (start / length, min(start + dash, length) / length)
        places = [(tail[0] + (head[0] - tail[0]) * part, tail[1] + (head[1] - tail[1]) * part) for part in ends]
        draw.line(places, fill=color, width=thick)


def _draw_arrow(draw: ImageDraw.ImageDraw, start: _Mark, end: _Mark, width: int, head: float, halo: bool) -> None:
    """From rim to rim; where the rings meet, from position to position; none between equal positions."""
    dx, dy = end.at[0] - start.at[0], end.at[1] - start.at[1]
    distance = math.hypot(dx, dy)
    if distance < 1.0:
        return
    ux, uy = dx / distance, dy / distance
    leave, arrive = start.radius + SIZES.gaps[0] * width, end.radius + SIZES.gaps[1] * width
    if distance < leave + arrive + head:
        leave, arrive, head = 0.0, 0.0, min(head, 0.6 * distance)
    tip = (end.at[0] - ux * arrive, end.at[1] - uy * arrive)
    tail = (start.at[0] + ux * leave, start.at[1] + uy * leave)
    base = (tip[0] - ux * head, tip[1] - uy * head)
    color = HALO if halo else (*end.color, 255)
    edge = max(width // 2, 1) if halo else 0
    _draw_line(draw, tail, base, width, width + 2 * edge, color)
    half = SIZES.head_width * head + edge
    wings = [(base[0] - uy * half, base[1] + ux * half), (base[0] + uy * half, base[1] - ux * half)]
    draw.polygon([(tip[0] + ux * 2 * edge, tip[1] + uy * 2 * edge), *wings], fill=color)


def _draw_badges(draw: ImageDraw.ImageDraw, marks: Sequence[_Mark], size: tuple[int, int], unit: float) -> None:
    """Numbers beside the rings, each where it hides least."""
    height = max(SIZES.number * unit, 6.0)
    font = ImageFont.load_default(size=SIZES.text * height)
    placed: list[tuple[float, float, float]] = []  # centre and half width
    for index in range(len(marks)):
        half_width = max(0.5 * draw.textlength(str(index + 1), font) + SIZES.padding * height, 0.5 * height)
        x, y = _badge_place(index, marks, placed, (half_width, 0.5 * height), size)
        placed.append((x, y, half_width))
    edge = max(round(SIZES.border * height), 1)
    for index, (mark, (x, y, half_width)) in enumerate(zip(marks, placed, strict=True)):
        distance = math.dist((x, y), mark.at)
        if distance > mark.radius + 1.2 * height:  # moved away: a thread leads back to the ring
            share = mark.radius / distance
            rim = (mark.at[0] + (x - mark.at[0]) * share, mark.at[1] + (y - mark.at[1]) * share)
            draw.line([rim, (x, y)], fill=(*mark.color, 255), width=edge)
        # whole pixels: from fractions Pillow cannot make each small rounded rectangle
        left, top, right, bottom = map(round, (x - half_width, y - 0.5 * height, x + half_width, y + 0.5 * height))
        draw.rounded_rectangle(
            (left, top, right, bottom), (bottom - top) / 2, (*mark.color, 255), (*STYLE.halo, 255), edge
        )
        ink = (0, 0, 0) if is_light(mark.color) else (255, 255, 255)
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
    neighbours = [*marks[max(index - 1, 0) : index], *marks[index + 1 : index + 2]]
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


# ---- replay ---------------------------------------------------------------------------------------------------------
class ReplayFormat(StrEnum):
    """File formats of an animation."""

    WEBP = "webp"
    GIF = "gif"


def frame_durations_ms(scanpath: Scanpath) -> list[int]:
    """Return how long the image alone and each fixation are shown, N + 1 numbers; a fixation as long as its dwell."""
    dwells = [UNKNOWN_MS if fixation.duration_ms is None else fixation.duration_ms for fixation in scanpath]
    shown = [max(round(dwell), SHORTEST_MS) for dwell in dwells]
    return [UNKNOWN_MS, *shown[:-1], shown[-1] + LAST_MS]


def replay_frames(image: Image.Image, scanpath: Scanpath) -> list[Image.Image]:
    """Return the image alone, then one more fixation in every frame: N + 1 RGB images of at most SIDE_PX.

    Args:
        image: upright; any mode and size.
        scanpath: N fixations.
    """
    small = image.convert("RGB")
    small.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
    return [small, *(draw_overlay(small, scanpath, shown=count) for count in range(1, len(scanpath) + 1))]


def save_replay(image: Image.Image, scanpath: Scanpath, path: Path, kind: ReplayFormat) -> None:
    """Write the animation, which repeats for ever.

    Args:
        image, scanpath: as in `replay_frames`.
        path: of the file; replaced where it exists.
        kind: WEBP is small and true to the grey values, GIF opens everywhere.
    """
    first, *others = replay_frames(image, scanpath)
    options = {"quality": WEBP_QUALITY, "method": 2} if kind is ReplayFormat.WEBP else {"optimize": False}
    first.save(
        path, kind.value, save_all=True, append_images=others, duration=frame_durations_ms(scanpath), loop=0, **options
    )
