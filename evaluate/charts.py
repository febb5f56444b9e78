"""A report as charts, by name: curves of the experiment, AUROC of findings, scores beside their floors."""

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from typing import Any

import plotly.graph_objects as go

from evaluate.overview import Lines
from evaluate.tables import DOMAINS, metrics_of, runs_of, variants_of
from gazevlm_core.evaluation.report import (
    SOURCES,
    SUBSETS,
    DatasetReport,
    Difference,
    ExperimentReport,
    Metric,
    PathReport,
    PhantomReport,
    Report,
    Run,
    Score,
)
from web.plot_style import AXIS, CEILING, FLOOR, OWN, PLAIN, TEXT

SOURCE_COLORS = {"finding head": OWN, "answer text": "#d9822b"}
ORDER_COLORS = {"original": "#1b9e94", "shuffled": "#d9822b", "random": "#8a6fc9", "none": "#7c8796"}
CURVE_PX, ROW_PX, MARGIN_PX, LABEL_LETTERS, LEGEND_ROW_PX = 330, 24, 90, 26, 20
LINE_COLORS = (OWN, "#d9822b", "#8a6fc9", "#1b9e94", "#b5739d", "#7c8796")
SYMBOLS = ("circle", "diamond", "square", "triangle-up")  # once all colours are used
WIDE_LEGEND = {  # as wide as the chart, above it: beside its labels a phone has room for one name a row
    "orientation": "h", "xref": "container", "yref": "container", "x": 0.01, "y": 1, "yanchor": "top",
}  # fmt: skip
FARTHEST = (-0.6, 1.6)  # that is drawn, where 0 is chance and 1 another reader
Chart = Callable[[], go.Figure]


def charts_of(report: Report) -> dict[str, Chart]:
    """Name of each chart -> what draws it, the most telling first."""
    if isinstance(report, ExperimentReport):
        scores: dict[str, Callable[[Run], Score | None]] = {
            "macro AUROC": lambda run: run.auroc, "sequence score": lambda run: run.sequence,
        }  # fmt: skip
        differences = {
            f"Change of {name}, {variant}, {DOMAINS[domain]}": partial(difference_dots, some, name)
            for name in scores
            for domain, values in report.domains.items()
            for variant in variants_of(report)
            if (some := [one for one in values.differences if (one.variant, one.score) == (variant, name)])
        }
        return differences | {
            f"{name}, {variant}, {DOMAINS[domain]}": partial(curves, runs_of(values, variant), name, of)
            for name, of in scores.items()
            for domain, values in report.domains.items()
            for variant in variants_of(report)
            if any(_known(of(run)) for run in runs_of(values, variant))
        }
    if isinstance(report, PhantomReport):
        return _phantom_charts(report)
    if isinstance(report, DatasetReport):
        areas = {
            words: {name: found.scores.get("auroc") for name, found in known.findings.items()}
            for source, words in SOURCES.items()
            if (known := getattr(report.scores, source)) is not None
        }
        charts: dict[str, Chart] = {"AUROC of each finding": partial(finding_bars, areas)} if areas else {}
        paths = report.scores.scanpath
        return {**charts, **(_metric_charts(paths.metrics) if isinstance(paths, PathReport) else {})}
    return _metric_charts(report.metrics)


def dot_chart(lines: Lines) -> go.Figure | None:
    """Return every score as a dot between chance and another reader, one colour for each line; None where there is
    none.

    What lies further out than FARTHEST stands at the edge; pointing at it tells the figures.
    """
    drawn = {whose: {name: dot for name, dot in dots.items() if dot.drawn} for whose, dots in lines.items()}
    names = list(dict.fromkeys(name for dots in drawn.values() for name in dots))
    if not names:
        return None
    figure = go.Figure()
    left_out = sorted({name for dots in lines.values() for name, dot in dots.items() if not dot.drawn} - set(names))
    first = next(dots for dots in drawn.values() if dots)
    floors = [(name, floor, dot, one.value or 0.0) for name, dot in first.items() for floor, one in dot.floors.items()]
    if floors:
        figure.add_scatter(
            x=[_within(dot.place(value)) for _, _, dot, value in floors], y=[_label(name) for name, *_ in floors],
            mode="markers", name="knows less", marker={"symbol": "line-ns-open", "size": 9, "color": FLOOR},
            text=[f"{_label(floor)}: {value:.3f}" for _, floor, _, value in floors],
            hovertemplate="%{y}<br>%{text}<extra></extra>",
        )  # fmt: skip
    common = _common_end(list(drawn))
    for place, (line, dots) in enumerate(drawn.items()):
        whose = line.removesuffix(common)
        color, symbol = LINE_COLORS[place % len(LINE_COLORS)], SYMBOLS[place // len(LINE_COLORS) % len(SYMBOLS)]
        if dots:
            figure.add_scatter(
                x=[_within(dot.at) for dot in dots.values()], y=[_label(name) for name in dots], mode="markers",
                marker={"color": color, "size": 10, "symbol": symbol}, name=_label(whose),
                error_x=_error_bars([[_within(end) for end in (dot.at, *dot.ends)] for dot in dots.values()], 1.2),
                text=[f"{one.score.value:.3f}; chance {one.chance:.3f}, end {one.end:.3f}" for one in dots.values()],
                hovertemplate=f"%{{y}}, {_label(whose)}<br>%{{text}}<extra></extra>",
            )  # fmt: skip
    for place in (0, 1):
        figure.add_vline(x=place, line={"color": TEXT, "dash": "dash", "width": 1})
    legend_rows = math.ceil((len(drawn) + bool(floors)) / 2)  # of a phone
    below = [f"All {_label(common.removeprefix(', '))}."] if common else []
    below += [f"No line: {', '.join(map(_label, left_out))} (no reader above chance)"] if left_out else []
    figure.update_layout(
        **{**PLAIN, "legend": WIDE_LEGEND},
        height=MARGIN_PX + ROW_PX * max(4, len(names)) + (20 if below else 0) + LEGEND_ROW_PX * (legend_rows - 1),
        xaxis={
            **AXIS, "tickvals": [0, 1], "ticktext": ["chance", "another reader<br>(AUROC: 1)"],
            "tickangle": 0, "ticklabelposition": "outside left",  # a label that leaves a phone's chart is not drawn
            "title": {"text": "<br>".join(textwrap.wrap(" ".join(below), 60)), "font": {"size": 10}},
        },
        yaxis={**AXIS, "autorange": "reversed", "categoryorder": "array", "categoryarray": list(map(_label, names))},
    )  # fmt: skip
    return figure


def _common_end(names: Sequence[str]) -> str:
    """Return what all of several names end with, from a comma on; "" where they have no such end, or for one alone."""
    ends = {f", {end}" if comma else "" for _, comma, end in (name.rpartition(", ") for name in names)}
    return ends.pop() if len(ends) == 1 and len(names) > 1 else ""


def _within(place: float) -> float:
    return min(max(place, FARTHEST[0]), FARTHEST[1])


def curves(runs: Sequence[Run], name: str, of: Callable[[Run], Score | None]) -> go.Figure:
    """Return a score against the number of training images, one line per order of gaze, with intervals."""
    figure = go.Figure()
    for order, color in ORDER_COLORS.items():
        chosen = [run for run in runs if run.order == order]
        points = [(run.images, score) for run in chosen if (score := of(run)) is not None and _known(score)]
        if points:
            scores = [score for _, score in points]
            figure.add_scatter(
                x=[images for images, _ in points], y=[score.value for score in scores], name=_gaze(order),
                mode="lines+markers", line={"color": color}, error_y=_whiskers(scores),
                hovertemplate=f"{_gaze(order)}, %{{x}} images: %{{y:.3f}}<extra></extra>",
            )  # fmt: skip
    sizes = sorted({run.images for run in runs})
    figure.update_layout(
        **PLAIN,
        height=CURVE_PX,
        xaxis={**AXIS, "title": "training images", "type": "log", "tickvals": sizes, "ticktext": list(map(str, sizes))},
        yaxis={**AXIS, "title": name, "tickformat": ".2f"},
    )
    return figure


def difference_dots(differences: Sequence[Difference], name: str) -> go.Figure:
    """Return every paired difference of a score with its interval, and the line of none."""
    figure = go.Figure()
    for order, color in ORDER_COLORS.items():
        some = [one for one in differences if one.second == order and one.value is not None]
        if some:
            labels = [f"{one.first} - {one.second}, {one.images:,} images" for one in some]
            figure.add_scatter(
                x=[one.value for one in some], y=labels, mode="markers", marker={"color": color, "size": 9},
                error_x=_whiskers(some), name=f"less {_gaze(order)}",
                hovertemplate="%{y}: %{x:+.3f}<extra></extra>",
            )  # fmt: skip
    figure.add_vline(x=0, line={"color": TEXT, "dash": "dash", "width": 1})
    figure.update_layout(
        **PLAIN, height=MARGIN_PX + ROW_PX * max(4, len(differences)),
        xaxis={**AXIS, "title": f"change of {name}", "tickformat": "+.3~f"}, yaxis={**AXIS, "autorange": "reversed"},
    )  # fmt: skip
    return figure


def finding_bars(areas: Mapping[str, Mapping[str, Score | None]]) -> go.Figure:
    """Return AUROC of each finding with its interval, and the line of chance.

    Args:
        areas: source -> finding -> AUROC.
    """
    first = next(iter(areas.values()))
    names = sorted(first, key=lambda name: _value(first[name]))
    figure = go.Figure()
    for words, scores in reversed(list(areas.items())):
        known = [(name, score) for name in names if (score := scores.get(name)) is not None and _known(score)]
        _add_bars(figure, words, known, SOURCE_COLORS[words], f"%{{y}}, {words}: %{{x:.3f}}<extra></extra>")
    figure.add_vline(x=0.5, line={"color": TEXT, "dash": "dash"}, annotation={"text": "chance", "yanchor": "bottom"})
    figure.update_layout(
        **{**PLAIN, "legend": {**PLAIN["legend"], "traceorder": "reversed", "y": 1.06, "x": 1, "xanchor": "right"}},
        barmode="group",
        height=MARGIN_PX + ROW_PX * len(areas) * max(2, len(names)),
        xaxis={**AXIS, "range": [0, 1.02], "tickformat": ".1f", "title": "AUROC"},
        yaxis=AXIS,
    )
    return figure


def floor_bars(name: str, own: Score, floors: Mapping[str, Score], ceilings: Mapping[str, Score | None]) -> go.Figure:
    """Return a score, its ceilings and its floors with their intervals; the score on top."""
    groups: list[tuple[str, str, Mapping[str, Score | None]]] = [
        ("floor", FLOOR, floors), ("ceiling", CEILING, ceilings), ("score", OWN, {name: own}),
    ]  # fmt: skip
    figure, rows = go.Figure(), 0
    for words, color, scores in groups:
        known = [(label, score) for label, score in scores.items() if score is not None and _known(score)]
        rows += len(known)
        if known:
            _add_bars(figure, words, known, color, "%{y}: %{x:.3f}<extra></extra>")
    figure.update_layout(
        **PLAIN,
        height=MARGIN_PX + 36 * max(2, rows),
        xaxis={**AXIS, "rangemode": "tozero", "title": _label(name)},
        yaxis=AXIS,
    )
    return figure


def _phantom_charts(report: PhantomReport) -> dict[str, Chart]:
    charts: dict[str, Chart] = {}
    scores = report.scores.get("model") or next(iter(report.scores.values()))
    for subset, which in SUBSETS.items():
        areas = {
            words: getattr(known, subset).per_finding
            for source, words in SOURCES.items()
            if (known := getattr(scores, source)) is not None
        }
        if areas:
            charts[f"AUROC of each finding, {which}"] = partial(finding_bars, areas)
    if scores.paths:
        sequence = scores.paths.sequence_score
        ceilings = {"the same reader again": sequence.ceiling_same_reader, "another reader": sequence.other_reader}
        charts["sequence score and its floors"] = partial(
            floor_bars, "sequence score", sequence, sequence.floors, ceilings
        )
        charts |= _metric_charts(metrics_of(scores.paths))
    return charts


def _metric_charts(metrics: Mapping[str, Metric]) -> dict[str, Chart]:
    return {
        f"{name} and its floors ({metric.better} is better)": partial(
            floor_bars, name, metric, metric.floors, {"another reader": metric.ceiling_other_reader}
        )
        for name, metric in metrics.items()
        if _known(metric)
    }


def _gaze(order: str) -> str:
    return "no gaze" if order == "none" else f"{order} gaze"


def _known(score: Score | None) -> bool:
    return score is not None and score.value is not None


def _value(score: Score | None) -> float:
    return -1.0 if score is None or score.value is None else score.value


def _whiskers(scores: Sequence[Score]) -> dict[str, Any]:
    """Return the intervals of scores as error bars; none where there is no interval."""
    values = [_value(score) for score in scores]
    return _error_bars([
        (value, *(score.interval or (value, value))) for score, value in zip(scores, values, strict=True)
    ])  # fmt: skip


def _error_bars(intervals: Sequence[Sequence[float]], thickness: float = 1.5) -> dict[str, Any]:
    """Return error bars of values, each with the ends of its interval, as lengths from the value to the ends."""
    return {
        "type": "data",
        "array": [max(0.0, high - value) for value, _, high in intervals],
        "arrayminus": [max(0.0, value - low) for value, low, _ in intervals],
        "color": TEXT,
        "thickness": thickness,
        "width": 3,
    }


def _add_bars(figure: go.Figure, words: str, known: Sequence[tuple[str, Score]], color: str, hover: str) -> None:
    """Add one bar per score, by label."""
    figure.add_bar(
        x=[score.value for _, score in known], y=[_label(label) for label, _ in known], name=words, orientation="h",
        marker={"color": color}, error_x=_whiskers([score for _, score in known]), hovertemplate=hover,
    )  # fmt: skip


def _label(name: str) -> str:
    """Broken into lines for narrow windows; plotly would take a part of it for markup otherwise."""
    return "<br>".join(escape(line, quote=False) for line in textwrap.wrap(name, LABEL_LETTERS)) or "-"
