"""How the page looks: its own Gradio theme, readable in light and dark."""

from collections.abc import Mapping

import gradio as gr
from gradio.themes.utils import colors, sizes

# The reader's own fonts: nothing is fetched from elsewhere
FONT = ["Inter", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]
INK, INK_QUIET, GROUND, CARD, LINE = "#16202b", "#51606f", "#f5f7f9", "#ffffff", "#d7dee5"
DARK_INK, DARK_QUIET, DARK_GROUND, DARK_CARD, DARK_LINE = "#e8edf2", "#9fb0c0", "#0c1116", "#141b22", "#2b3641"
ACCENT, ACCENT_HOVER, ON_ACCENT = "#0f6f68", "#0b5853", "#ffffff"
DARK_ACCENT, DARK_ACCENT_HOVER, ON_DARK_ACCENT = "#41c9bb", "#6cdbcf", "#05211e"

COLOURS: Mapping[tuple[str, str], str] = {  # light and dark -> the values of Gradio's themes that have them
    (INK, DARK_INK): "body_text_color button_secondary_text_color checkbox_label_text_color_selected",
    (INK_QUIET, DARK_QUIET):
        "body_text_color_subdued block_label_text_color block_title_text_color block_info_text_color",
    (GROUND, DARK_GROUND): "body_background_fill background_fill_secondary",
    (CARD, DARK_CARD):
        "background_fill_primary block_background_fill block_label_background_fill table_even_background_fill "
        "table_odd_background_fill",
    (CARD, DARK_GROUND): "input_background_fill",
    (CARD, "#1d2731"): "button_secondary_background_fill",
    ("#e9eef2", "#273440"): "button_secondary_background_fill_hover",
    (LINE, DARK_LINE): "border_color_primary block_border_color button_secondary_border_color",
    ("#8795a3", "#5d6d7c"): "input_border_color",
    (ACCENT, DARK_ACCENT):
        "border_color_accent link_text_color link_text_color_active link_text_color_visited input_border_color_focus "
        "button_primary_background_fill slider_color",
    (ACCENT_HOVER, DARK_ACCENT_HOVER): "link_text_color_hover button_primary_background_fill_hover",
    (ON_ACCENT, ON_DARK_ACCENT): "button_primary_text_color button_primary_text_color_hover",
    ("#d9efed", "#14332f"): "color_accent_soft checkbox_label_background_fill_selected",
    (ACCENT, "#17857b"): "checkbox_background_color_selected checkbox_border_color_selected",
    ("#66737f", "#8b9bab"): "input_placeholder_color",
    ("none", "none"): "block_shadow",
}


class GazeTheme(gr.themes.Base):
    """Quiet greys around black images, one accent, small type, close spacing."""

    def __init__(self) -> None:
        super().__init__(
            primary_hue=colors.teal, secondary_hue=colors.teal, neutral_hue=colors.slate, text_size=sizes.text_md,
            spacing_size=sizes.spacing_sm, radius_size=sizes.radius_md, font=FONT, font_mono=MONO,
        )  # fmt: skip
        self.name = "gazevlm"
        self.color_accent_dark = DARK_ACCENT  # a value that `set` knows for light only; the style sheet takes both
        pairs = {name: pair for pair, names in COLOURS.items() for name in names.split()}
        self.set(
            **{name: light for name, (light, _) in pairs.items()},
            **{f"{name}_dark": dark for name, (_, dark) in pairs.items()},
            color_accent=ACCENT, block_border_width="1px", block_label_border_width="0", block_title_text_weight="500",
            panel_border_width="0", input_shadow="none", input_border_width="1px", button_border_width="1px",
            button_large_padding="7px 14px", button_large_text_size="*text_md", button_large_text_weight="600",
            button_small_padding="3px 9px", button_small_text_weight="500",
            layout_gap="10px", form_gap_width="0px", container_radius="8px", shadow_drop="none", shadow_drop_lg="none",
        )  # fmt: skip
