"""Text can be read on what it stands on, light and dark."""

import pytest

from web.theme import GazeTheme

READABLE = 4.5  # WCAG 2, level AA, for text of the usual size
PAIRS = [
    ("body_text_color", "body_background_fill"), ("body_text_color_subdued", "body_background_fill"),
    ("body_text_color", "background_fill_primary"), ("body_text_color_subdued", "block_background_fill"),
    ("block_label_text_color", "block_label_background_fill"), ("input_placeholder_color", "input_background_fill"),
    ("button_primary_text_color", "button_primary_background_fill"), ("link_text_color", "body_background_fill"),
    ("button_primary_text_color_hover", "button_primary_background_fill_hover"),
    ("button_secondary_text_color", "button_secondary_background_fill"), ("link_text_color", "block_background_fill"),
    ("color_accent", "body_background_fill"), ("color_accent", "block_background_fill"),
]  # fmt: skip


def luminance(color: str) -> float:
    """Relative luminance of "#rrggbb", as WCAG 2 defines it."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_of_black_and_white() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("end", ["", "_dark"])
def test_a_box_for_text_has_an_edge_that_is_seen(end: str) -> None:
    theme = GazeTheme()
    colors = [getattr(theme, f"{name}{end}") for name in ("input_border_color", "input_background_fill")]
    assert contrast(*colors) >= 3, colors  # WCAG 2, of what is no text
    assert theme.input_border_width == "1px"


@pytest.mark.parametrize("end", ["", "_dark"])
@pytest.mark.parametrize(("text", "ground"), PAIRS)
def test_text_is_readable(text: str, ground: str, end: str) -> None:
    theme = GazeTheme()
    colors = [getattr(theme, f"{name}{end}") for name in (text, ground)]
    assert contrast(*colors) >= READABLE, colors
