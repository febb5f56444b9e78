"""How a scanpath is drawn, in the viewer and on overlays alike: colours, shapes, sizes. A new style is an edit here.

The model's colours run from blue (first fixation) to yellow (last): viridis, which keeps its order for colour-blind
readers (S. van der Walt and N. Smith, matplotlib, 2015, CC0), without its darkest third, which would vanish on a
radiograph. Each role keeps its order in lightness; hue, ring and dashes tell the roles apart. Heat maps have magma, of
the same source, so that likely is not taken for late.

Fixations close to each other are one place: one ring with the numbers of all its visits. Arrows bend, so that a way
and the way back are two lines. In a replay what was looked at long ago fades.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Color = tuple[int, int, int]
Point = tuple[float, float]
Corners = tuple[tuple[float, float], ...]

VIRIDIS: tuple[Color, ...] = (  # at 0.33, 0.44, ... 1.0 of the map
    (49, 104, 142), (38, 130, 142), (31, 158, 137), (53, 183, 121), (110, 206, 88), (181, 222, 43), (253, 231, 37),
)  # fmt: skip
CIRCLE: Corners = ()
DIAMOND: Corners = ((0.0, -1.2), (1.2, 0.0), (0.0, 1.2), (-1.2, 0.0))
SQUARE: Corners = ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9))


@dataclass(frozen=True)
class RoleStyle:
    """What tells whose path it is."""

    colors: tuple[Color, ...]  # anchors, from the first fixation to the last; those between are interpolated
    ring: Corners = CIRCLE  # corners around a fixation, in radii; none for a circle
    dash: tuple[float, ...] = ()  # of the arrows, dash and gap in line widths; none for a solid line
    chip: str = ""  # corners of the number's button below the viewer, in CSS


@dataclass(frozen=True)
class Sizes:
    """Lengths of one medium: CSS pixels in the viewer, shares of the image's shorter side on an overlay."""

    radius: float  # of a ring, as a share of the shorter side of stage or image
    radius_limits: tuple[float, float]  # of that, in pixels
    line: float  # width of rings and arrows
    current: float  # width of the ring that is looked at now
    head: float  # length of an arrow's head
    head_width: float  # half its width over its length
    gaps: tuple[float, float]  # between ring and arrow, behind and ahead, in line widths
    dot: float  # radius of the exact position
    dot_rim: float  # width of its rim, over its radius
    number: float  # height of a number's badge
    text: float  # size of its text, over that height
    padding: float  # beside the text, over that height
    border: float  # width of its border, over that height


SCREEN = Sizes(
    radius=0.024, radius_limits=(7, 14), line=2, current=4, head=9, head_width=0.45, gaps=(1, 2), dot=3, dot_rim=0.5,
    number=16, text=11 / 16, padding=0.25, border=1.5 / 16,
)  # fmt: skip
OVERLAY = Sizes(
    radius=0.022, radius_limits=(2, math.inf), line=0.0045, current=0.0045, head=0.026, head_width=0.42, gaps=(1, 1.5),
    dot=0.005, dot_rim=0.35, number=0.037, text=0.78, padding=0.26, border=0.07,
)  # fmt: skip
MODEL = RoleStyle(VIRIDIS)
READER = RoleStyle(
    ((178, 72, 16), (226, 112, 36), (247, 158, 90), (254, 206, 162)), DIAMOND, dash=(3, 2),
    chip="border-radius: 4px; transform: skewX(-12deg)",
)  # fmt: skip
SECOND = RoleStyle(
    ((112, 92, 196), (150, 130, 226), (188, 172, 244), (224, 214, 255)), SQUARE, dash=(1, 2), chip="border-radius: 3px"
)


@dataclass(frozen=True)
class PathStyle:
    """All that a path's look depends on."""

    roles: dict[str, RoleStyle]  # by whose path it is
    screen: Sizes = SCREEN
    overlay: Sizes = OVERLAY
    heat: tuple[Color, ...] = ((81, 18, 124), (183, 55, 121), (252, 137, 97), (252, 253, 191))  # unlikely to likely
    heat_alpha: tuple[float, float] = (0.0, 0.7)  # where the probability is nothing, and where it is largest
    halo: Color = (0, 0, 0)  # behind lines
    halo_alpha: float = 190 / 255
    dot: Color = (255, 255, 255)  # the exact position
    fill_alpha: float = 46 / 255  # inside a ring
    bend: float = 0.08  # how far the middle of an arrow lies beside the straight line, over its length
    repeat: float = 1.0  # within so many radii of a place's first fixation, another one is a visit to it
    named: int = 4  # visits that a place's mark names; more are an ellipsis
    faint: float = 0.22  # opacity of what a replay does not show now
    window: int = 6  # fixations that a replay shows in full: the one that is looked at, and those just before
    size_range: tuple[float, float] = (0.7, 1.6)  # of a ring over the usual one, for very small and large values
    light_from: float = 0.1791  # relative luminance from which text on a colour is black, else white: either has 4.58


STYLE = PathStyle({"model": MODEL, "reader": READER, "second model": SECOND})


def order_colors(count: int, anchors: Sequence[Color] = MODEL.colors) -> list[Color]:
    """Return colours of `count` fixations, first to last, along a list of anchors."""
    places = np.linspace(0.0, len(anchors) - 1.0, max(count, 1))[:count]
    channels = [np.interp(places, range(len(anchors)), channel) for channel in zip(*anchors, strict=True)]
    return [(round(red), round(green), round(blue)) for red, green, blue in zip(*channels, strict=True)]


def visits(places: Sequence[Point], reach: float) -> list[list[int]]:
    """Return the steps of a path by place, in the order of first visits.

    Args:
        places: x and y of each fixation.
        reach: a fixation within it of a place's first one is another visit to the nearest such place.
    """
    found: list[list[int]] = []
    for step, place in enumerate(places):
        near = [(math.dist(place, places[steps[0]]), number) for number, steps in enumerate(found)]
        distance, number = min(near, default=(math.inf, -1))
        if distance <= reach:
            found[number].append(step)
        else:
            found.append([step])
    return found


def visits_label(steps: Sequence[int]) -> str:
    """Return the numbers on a place's mark, e.g. "2 · 4"; steps count from 0."""
    named = " \N{MIDDLE DOT} ".join(str(step + 1) for step in steps[: STYLE.named])
    return named if len(steps) <= STYLE.named else f"{named} \N{HORIZONTAL ELLIPSIS}"


def control_point(start: Point, end: Point) -> Point:
    """Return where the tangents at both ends of an arrow meet: the middle control point of a quadratic curve."""
    along_x, along_y = end[0] - start[0], end[1] - start[1]
    aside = 2 * STYLE.bend  # the point is twice as far off as the middle of the curve
    return start[0] + along_x / 2 + aside * along_y, start[1] + along_y / 2 - aside * along_x


def is_light(color: Color) -> bool:
    """Return whether black text is easier to read on a colour than white text: by its contrast, as WCAG 2.2 has it."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (c / 255 for c in color)]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722))) > STYLE.light_from


def ring_scales(values: Sequence[float | None]) -> list[float]:
    """Return each ring's radius over the usual one: its area follows its value over the path's median, within limits.

    Args:
        values: such as durations; an unknown one gives 1.
    """
    known = [value for value in values if value]
    if not known:
        return [1.0] * len(values)
    median = float(np.median(known))
    low, high = STYLE.size_range
    return [1.0 if value is None else min(max(math.sqrt(value / median), low), high) for value in values]
