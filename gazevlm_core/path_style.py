"""How a scanpath is drawn, in the viewer and on overlays alike: colours, shapes, sizes. A new style is an edit here.

The model's colours run from blue (first fixation) to yellow (last): viridis, which keeps its order for colour-blind
readers (S. van der Walt and N. Smith, matplotlib, 2015, CC0), without its darkest third, which would vanish on a
radiograph. Each role keeps its order in lightness; hue, ring and dashes tell the roles apart.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Color = tuple[int, int, int]
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
    heat: tuple[Color, ...] = ((20, 40, 90), (28, 120, 140), (90, 190, 110), (253, 231, 37))  # unlikely to likely
    heat_alpha: tuple[float, float] = (0.15, 0.45)  # of a cell, at least, and more with its probability
    heat_least: float = 0.02  # of the largest probability; less is not drawn
    halo: Color = (0, 0, 0)  # behind lines
    halo_alpha: float = 190 / 255
    dot: Color = (255, 255, 255)  # the exact position
    fill_alpha: float = 46 / 255  # inside a ring
    faint: float = 0.22  # opacity of what is still to come in a replay
    size_range: tuple[float, float] = (0.7, 1.6)  # of a ring over the usual one, for very small and large values
    light_from: float = 110.0  # lightness from which text on a colour is black, else white


STYLE = PathStyle({"model": MODEL, "reader": READER, "second model": SECOND})


def order_colors(count: int, anchors: Sequence[Color] = MODEL.colors) -> list[Color]:
    """Return colours of `count` fixations, first to last, along a list of anchors."""
    places = np.linspace(0.0, len(anchors) - 1.0, max(count, 1))[:count]
    channels = [np.interp(places, range(len(anchors)), channel) for channel in zip(*anchors, strict=True)]
    return [(round(red), round(green), round(blue)) for red, green, blue in zip(*channels, strict=True)]


def is_light(color: Color) -> bool:
    """Return whether black text is easier to read on a colour than white text."""
    red, green, blue = color
    return 0.299 * red + 0.587 * green + 0.114 * blue > STYLE.light_from


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
