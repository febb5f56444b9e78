"""From edges in pixels, as tables give them, to boxes as fractions of the image."""

import math
from collections import Counter
from collections.abc import Sequence

from gazevlm_core.datasets.identity import id_text
from gazevlm_core.datasets.record import Box

Edges = tuple[float, float, float, float]  # left, top, right, bottom in pixels, origin upper left

NOT_NUMERIC = "box not numeric"
NO_AREA = "box of no area"
OFF_IMAGE = "box off the image"


def are_blank(texts: Sequence[str]) -> bool:
    """Whether a row says nothing about a box."""
    return not any(map(id_text, texts))


def four_numbers(texts: Sequence[str], dropped: Counter[str]) -> Edges | None:
    """The four numbers of a box, in the order given; None, counted as NOT_NUMERIC, for words, blanks and infinities."""
    try:
        first, second, third, fourth = (float(text) for text in texts)
    except ValueError:
        first = second = third = fourth = math.nan
    numbers = (first, second, third, fourth)
    if not all(map(math.isfinite, numbers)):
        dropped[NOT_NUMERIC] += 1
        return None
    return numbers


def corner_and_size(numbers: Edges) -> Edges:
    """Edges of a box that is given as x, y, width, height in pixels."""
    x, y, width, height = numbers
    return x, y, x + width, y + height


def clip_box(
    name: str, edges: Edges, size_px: tuple[int, int], dropped: Counter[str], *, reader: str = ""
) -> Box | None:
    """The part of a box that lies on the image.

    Args:
        name: of what is marked.
        edges: in pixels of the image.
        size_px: width and height of the image.
        dropped: gets NO_AREA or OFF_IMAGE where the answer is None.
        reader: who marked it.
    """
    left, top, right, bottom = edges
    if right <= left or bottom <= top:
        dropped[NO_AREA] += 1
        return None
    width, height = size_px
    left, right = (min(max(edge / width, 0.0), 1.0) for edge in (left, right))
    top, bottom = (min(max(edge / height, 0.0), 1.0) for edge in (top, bottom))
    if right <= left or bottom <= top:
        dropped[OFF_IMAGE] += 1
        return None
    return Box(name, left, top, right - left, bottom - top, reader)
