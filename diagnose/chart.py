"""The findings as a bar chart."""

from collections.abc import Mapping

import plotly.graph_objects as go

BAR, TEXT, GRID = "#3b82a0", "#7c8796", "rgba(124, 135, 150, 0.25)"  # readable on light and on dark
ROW_PX, MARGIN_PX = 24, 70


def findings_chart(probabilities: Mapping[str, float]) -> go.Figure:
    """Horizontal bars, the most probable finding on top.

    Args:
        probabilities: finding name -> probability in [0, 1]; empty gives a chart that says so.
    """
    ordered = sorted(probabilities.items(), key=lambda item: item[1])
    values = [value for _, value in ordered]
    figure = go.Figure(
        go.Bar(
            x=values,
            y=[name for name, _ in ordered],
            orientation="h",
            marker={"color": BAR},
            text=[f"{value:.2f}" for value in values],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.3f}<extra></extra>",
        )
    )
    figure.update_layout(
        height=MARGIN_PX + ROW_PX * max(len(ordered), 2),
        margin={"l": 8, "r": 8, "t": 34, "b": 30},
        bargap=0.35,
        paper_bgcolor="rgba(0, 0, 0, 0)",
        plot_bgcolor="rgba(0, 0, 0, 0)",
        font={"color": TEXT, "size": 12},
        xaxis={"range": [0, 1.12], "tickvals": [0, 0.5, 1], "tickangle": 0, "gridcolor": GRID, "zeroline": False,
               "fixedrange": True, "tickformat": ".2~f"},
        yaxis={"automargin": True, "fixedrange": True},
        showlegend=False,
    )
    if not ordered:
        figure.update_layout(xaxis={"visible": False}, yaxis={"visible": False})
        figure.add_annotation(text="This model's finding head is untrained.", showarrow=False, x=0.5, y=0.5,
                              xref="paper", yref="paper")
    return figure
