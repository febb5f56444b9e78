"""Curves: the parts of the loss, a held-out measure beside base and floors, the losses of several runs."""

from collections.abc import Sequence
from html import escape
from itertools import cycle, pairwise

import plotly.graph_objects as go

from finetune.tab.runs import LOSS, LOSSES, Run, better_words
from web.plot_style import AXIS, CEILING, FLOOR, OWN, PLAIN, TEXT

HEIGHT_PX, MOST_POINTS = 320, 300
PART_COLORS = (OWN, "#1b9e94", "#d9822b", "#8a6fc9", "#b5739d", "#9aa5b1", "#6b9a3c", "#b8952e")
LOSS_COLORS = dict(zip(LOSSES, cycle(PART_COLORS), strict=False))
RUN_COLORS = (OWN, "#d9822b", "#8a6fc9", "#1b9e94")
FLOOR_DASHES = ("dot", "dashdot", "longdash", "longdashdot") * 2


def thinned(points: Sequence[tuple[int, float]], most: int = MOST_POINTS) -> list[tuple[int, float]]:
    """Return at most so many points, each the mean of those that it stands for, at the last of their steps."""
    if len(points) <= most:
        return list(points)
    bounds = [number * len(points) // most for number in range(most + 1)]
    groups = [points[low:high] for low, high in pairwise(bounds)]
    return [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]


def loss_chart(run: Run) -> go.Figure | None:
    """Draw the parts of the loss over the steps; None before the first."""
    if not run.losses:
        return None
    figure = go.Figure()
    parts = list(run.losses)
    if set(parts) - {LOSS} and len(parts) == 2:  # one part is the whole
        parts = [part for part in parts if part != LOSS]
    for part in parts:
        _add_curve(figure, run.losses[part], LOSSES[part], LOSS_COLORS[part], 2.5 if part == LOSS else 1.5)
    return _laid_out(figure, "loss while training", max(run.job.steps, run.losses[parts[0]][-1][0]))


def drawn_measures(run: Run) -> dict[str, str]:
    """Return the held-out measures that can be drawn, each with what is better, in the order of the latest scoring."""
    if not run.held_out:
        return {}
    known = {one.name for _, measures in run.held_out for one in measures if one.value is not None}
    return {one.name: f"{one.name} ({better_words(one)})" for one in run.held_out[-1][1] if one.name in known}


def measure_chart(run: Run, name: str) -> go.Figure | None:
    """Draw a held-out measure over the steps, its base and its floors as lines; None where it was never scored."""
    scored = [(step, one) for step, measures in run.held_out for one in measures if one.name == name]
    known = [(step, one.value) for step, one in scored if one.value is not None]
    if not known:
        return None
    latest, figure, last = scored[-1][1], go.Figure(), max(run.job.steps, known[-1][0])
    lines: list[tuple[str, float | None, str, str]] = [("base", latest.base, CEILING, "dash")]
    for (floor, value), dash in zip(latest.floors.items(), FLOOR_DASHES, strict=False):
        lines.append((f"floor: {floor}", value, FLOOR, dash))
    for words, level, color, dash in lines:
        if level is not None:
            figure.add_scatter(
                x=[0, last], y=[level, level], name=escape(words), mode="lines",
                line={"color": color, "dash": dash, "width": 1.5},
                hovertemplate=f"{escape(words)}: %{{y:.3f}}<extra></extra>",
            )  # fmt: skip
    figure.add_scatter(
        x=[step for step, _ in known], y=[value for _, value in known], name="adapter", mode="lines+markers",
        line={"color": OWN, "width": 2.5}, hovertemplate="adapter, step %{x}: %{y:.3f}<extra></extra>",
    )  # fmt: skip
    return _laid_out(figure, f"{name}, {latest.unit}" if latest.unit else name, last)


def comparison_chart(runs: Sequence[Run]) -> go.Figure | None:
    """Draw the whole loss of several runs; None where no run has made a step."""
    figure = go.Figure()
    for run, color in zip(runs, RUN_COLORS, strict=False):
        if run.losses.get(LOSS):
            _add_curve(figure, run.losses[LOSS], escape(run.job.name), color, 2)
    if not figure.data:
        return None
    return _laid_out(figure, "whole loss while training", max(max(trace.x) for trace in figure.data))


def _add_curve(figure: go.Figure, values: Sequence[tuple[int, float]], name: str, color: str, width: float) -> None:
    points = thinned(values)
    figure.add_scatter(
        x=[step for step, _ in points], y=[value for _, value in points], name=name,
        mode="lines" if len(points) > 1 else "markers",  # a line of one point is not seen
        line={"color": color, "width": width}, hovertemplate=f"{name}, step %{{x}}: %{{y:.3f}}<extra></extra>",
    )  # fmt: skip


def _laid_out(figure: go.Figure, title: str, last: int) -> go.Figure:
    figure.update_layout(
        **PLAIN,
        height=HEIGHT_PX,
        showlegend=True,
        xaxis={**AXIS, "title": "optimizer step", "range": [0, last + 0.5], "tickformat": "d"},
        yaxis={**AXIS, "title": {"text": escape(title), "font": {"color": TEXT}}},
    )
    return figure
