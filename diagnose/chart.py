"""Charts of a diagnosis: the findings' probabilities, and the dwell of each fixation along time."""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from gazevlm_core.evaluation.checkpoint_scores import CheckpointScores
from gazevlm_core.overlay import VIRIDIS, Color, order_colors
from gazevlm_core.scanpath import Scanpath

BAR, TEXT, GRID = "#3b82a0", "#7c8796", "rgba(124, 135, 150, 0.25)"  # readable on light and on dark
ROW_PX, MARGIN_PX, TIMELINE_PX = 24, 70, 110
PLAIN: dict[str, Any] = {
    "bargap": 0.35,
    "paper_bgcolor": "rgba(0, 0, 0, 0)",
    "plot_bgcolor": "rgba(0, 0, 0, 0)",
    "font": {"color": TEXT, "size": 12},
    "showlegend": False,
}


def findings_chart(probabilities: Mapping[str, float], scores: CheckpointScores | None = None) -> go.Figure:
    """Horizontal bars, the most probable finding on top.

    Args:
        probabilities: finding name -> probability in [0, 1]; empty gives a chart that says so.
        scores: AUROC in brackets, and a line where a guess from prevalence alone would be; None shows neither.
    """
    ordered = sorted(probabilities.items(), key=lambda item: item[1])
    values = [value for _, value in ordered]
    known = scores.findings if scores else {}
    labels = [f"{name} ({known[name].auroc:.2f})" if name in known else name for name, _ in ordered]
    figure = go.Figure(
        go.Bar(
            x=values,
            y=labels,
            orientation="h",
            marker={"color": BAR},
            text=[f"{value:.2f}" for value in values],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.3f}<extra></extra>",
        )
    )
    named = zip(labels, ordered, strict=True)
    scored = [(label, known[name].prevalence) for label, (name, _) in named if name in known]
    if scored:
        figure.add_scatter(
            x=[prevalence for _, prevalence in scored],
            y=[label for label, _ in scored],
            mode="markers",
            marker={"symbol": "line-ns", "size": 14, "line": {"width": 2, "color": TEXT}},
            hovertemplate="%{y}: on %{x:.1%} of the scored images<extra></extra>",
        )
    figure.update_layout(
        **PLAIN,
        height=MARGIN_PX + ROW_PX * max(len(ordered), 2),
        margin={"l": 8, "r": 8, "t": 34, "b": 30},
        xaxis={"range": [0, 1.12], "tickvals": [0, 0.5, 1], "tickangle": 0, "gridcolor": GRID, "zeroline": False,
               "fixedrange": True, "tickformat": ".2~f"},
        yaxis={"automargin": True, "fixedrange": True},
    )
    if not ordered:
        figure.update_layout(xaxis={"visible": False}, yaxis={"visible": False})
        figure.add_annotation(text="This model's finding head is untrained.", showarrow=False, x=0.5, y=0.5,
                              xref="paper", yref="paper")
    return figure


def dwell_timeline(scanpath: Scanpath, palette: Sequence[Color] = VIRIDIS) -> go.Figure | None:
    """One bar cut into the fixations, each as long as its dwell; None where a dwell is not known.

    Args:
        scanpath: N fixations.
        palette: colours of the path in the viewer.
    """
    durations = [fixation.duration_ms for fixation in scanpath]
    known = [duration for duration in durations if duration is not None]
    if len(known) < len(durations):
        return None
    figure = go.Figure()
    start = 0.0
    for step, (duration, color) in enumerate(zip(known, order_colors(len(known), palette), strict=True), start=1):
        light = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] > 110
        figure.add_bar(
            x=[duration],
            base=[start],
            y=["dwell"],
            orientation="h",
            marker={"color": f"rgb{color}", "line": {"width": 1, "color": "rgba(0, 0, 0, 0.5)"}},
            text=str(step),
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            textfont={"color": "black" if light else "white"},
            hovertemplate=f"fixation {step}: {duration:.0f} ms, from {start:.0f} ms<extra></extra>",
        )
        start += duration
    figure.update_layout(
        **PLAIN,
        barmode="overlay",
        height=TIMELINE_PX,
        margin={"l": 8, "r": 8, "t": 30, "b": 34},
        xaxis={"range": [0, start], "ticksuffix": " ms", "gridcolor": GRID, "zeroline": False, "fixedrange": True,
               "nticks": 6, "tickangle": 0},
        yaxis={"visible": False, "fixedrange": True},
    )
    return figure
