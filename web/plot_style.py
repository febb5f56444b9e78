"""How every chart of the page looks, as plotly's layout values; readable on light and on dark."""

from typing import Any

TEXT, GRID = "#7c8796", "rgba(124, 135, 150, 0.25)"
OWN, FLOOR, CEILING = "#3b82a0", "#9aa5b1", "#5a9e6f"
PLAIN: dict[str, Any] = {
    "paper_bgcolor": "rgba(0, 0, 0, 0)",
    "plot_bgcolor": "rgba(0, 0, 0, 0)",
    "font": {"color": TEXT, "size": 12},
    "margin": {"l": 8, "r": 12, "t": 40, "b": 40},
    "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
}
AXIS: dict[str, Any] = {"gridcolor": GRID, "zeroline": False, "fixedrange": True, "automargin": True}
