"""Figures of reports."""

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from evaluate.experiment.report import order_lines
from evaluate.finding_scores import CHANCE

INK, TEAL, GREY = "#334155", "#1b7f79", "#94a3b8"
ROW_PX = 26
Values = Mapping[str, Any]


def experiment_figure(domains: Mapping[str, Values], score: str) -> go.Figure:
    """A score against the number of training images: one picture per domain, one line per kind of gaze."""
    figure = make_subplots(1, len(domains), subplot_titles=[f"domain {name}" for name in domains], shared_yaxes=True)
    for column, domain in enumerate(domains.values(), start=1):
        runs = [run for run in domain["runs"] if run["variant"] == "base"]
        for line in order_lines(runs, score):
            figure.add_trace(line.update(showlegend=column == 1), row=1, col=column)
    sizes = sorted({run["images"] for domain in domains.values() for run in domain["runs"]})
    figure.update_xaxes(type="log", title="training images", tickvals=sizes, ticktext=[f"{size:,}" for size in sizes])
    return _plain(figure, score, 340)


def finding_figure(areas: Mapping[str, Values | None], title: str) -> go.Figure:
    """AUROC of each finding with its interval, and the line of chance."""
    known = {name: area for name, area in areas.items() if area and area["value"] is not None}
    names = sorted(known, key=lambda name: known[name]["value"])
    figure = go.Figure()
    figure.add_scatter(
        x=[known[name]["value"] for name in names], y=names, mode="markers", marker={"color": TEAL, "size": 9},
        error_x=_whiskers([known[name] for name in names]), showlegend=False,
    )  # fmt: skip
    figure.add_vline(x=CHANCE, line={"color": GREY, "dash": "dash"}, annotation_text="chance")
    return _plain(figure, title, 110 + ROW_PX * len(names))


def metric_figure(metrics: Mapping[str, Values]) -> go.Figure:
    """Scores whose highest value is 1, each beside its floors."""
    names = [name for name, values in metrics.items() if values["better"] == "higher" and values["value"] is not None]
    figure = go.Figure()
    for floor in next(iter(metrics.values()))["floors"]:
        figure.add_scatter(
            x=[metrics[name]["floors"][floor]["value"] for name in names], y=names, mode="markers", name=floor,
            marker={"size": 8, "symbol": "line-ns-open", "line": {"width": 2}},
        )  # fmt: skip
    figure.add_scatter(
        x=[metrics[name]["value"] for name in names], y=names, mode="markers", name="predicted paths",
        marker={"color": TEAL, "size": 11}, error_x=_whiskers([metrics[name] for name in names]),
    )  # fmt: skip
    return _plain(figure, "Scores and their floors (higher is better)", 240 + ROW_PX * len(names))


def _whiskers(values: list[Values]) -> dict[str, Any]:
    ends = [value["interval"] or (value["value"], value["value"]) for value in values]
    return {
        "array": [high - value["value"] for (_, high), value in zip(ends, values, strict=True)],
        "arrayminus": [value["value"] - low for (low, _), value in zip(ends, values, strict=True)],
    }


def _plain(figure: go.Figure, title: str, height: int) -> go.Figure:
    figure.update_layout(
        title={"text": title, "font": {"size": 15}}, template="plotly_white", height=height, font={"color": INK},
        margin={"l": 10, "r": 10, "t": 60, "b": 10}, legend={"orientation": "h", "y": -0.25},
    )  # fmt: skip
    figure.update_yaxes(automargin=True)
    return figure
