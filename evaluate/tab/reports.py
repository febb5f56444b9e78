"""Files of `gazevlm experiment`, `evaluate` and `score` as tables and figures. They may come from anybody."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import plotly.graph_objects as go

from evaluate.datasets.table import FINDING_HEADS, SOURCES, finding_rows
from evaluate.experiment.report import DIFFERENCE_HEADS, RUN_HEADS, difference_row, run_row
from evaluate.tab.charts import experiment_figure, finding_figure, metric_figure
from evaluate.table import cell, table_cells

MOST_BYTES = 5_000_000
MOST_ROWS, MOST_LETTERS = 400, 200
SHIPPED = Path(__file__).parents[2] / "reports"
WANTED = (
    "Give a results.json of `gazevlm experiment`, or what `gazevlm evaluate --json` or `gazevlm score --json` prints."
)
PHANTOMS = "Measured on drawn phantoms, not on patients."
Values = Mapping[str, Any]


class ReportError(ValueError):
    """A file that is no report; the message says what to give."""


@dataclass(frozen=True)
class ReportTable:
    """A table of words: caption, column heads, rows of as many."""

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, eq=False)
class Report:
    """What is shown of a file.

    Args:
        title: what was scored.
        note: what a reader must know about the numbers.
        tables: scores beside their floors.
        figures: curves or bars; at most two.
    """

    title: str
    note: str
    tables: tuple[ReportTable, ...]
    figures: tuple[go.Figure, ...]


def shipped_reports() -> dict[str, Path]:
    """Reports in the repository: name of their folder -> file."""
    return {path.parent.name: path for path in sorted(SHIPPED.glob("*/results.json"))}


def read_report(path: Path) -> Report:
    """Read a file.

    Raises:
        ReportError: too large, no JSON, or not one of our reports.
    """
    if path.stat().st_size > MOST_BYTES:
        raise ReportError(f"This file is larger than {MOST_BYTES // 1_000_000} MB. {WANTED}")
    try:
        values = json.loads(path.read_bytes().decode("utf-8"), parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError):
        raise ReportError(f"This file is no JSON as we write it. {WANTED}") from None
    kind = _kind(values)
    if kind is None:
        raise ReportError(f"This JSON is none of our reports. {WANTED}")
    try:
        return kind(values)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, StopIteration, OverflowError):
        raise ReportError(f"This report is not whole, or of another version. {WANTED}") from None


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)


def _kind(values: object) -> Callable[[Values], Report] | None:
    if not isinstance(values, dict):
        return None
    if values.get("kind") == "experiment":
        return _experiment
    if "metrics" in values and "pairs" in values:
        return _score
    if "scores" in values and "dataset" in values:
        return _phantoms if values["dataset"] == "phantom" else _dataset
    return None


def _experiment(values: Values) -> Report:
    tables, domains = [], values["domains"]
    for name, domain in domains.items():
        base = [run for run in domain["runs"] if run["variant"] == "base"]
        tables.append(_table(f"Domain {name}: means over seeds", RUN_HEADS, map(run_row, base)))
        rows = map(difference_row, domain["differences"])
        tables.append(_table(f"Domain {name}: paired differences", DIFFERENCE_HEADS, rows))
        if domain["ablations"]:
            lost = [(e["variant"], e["score"], cell(e)) for e in domain["ablations"]]
            tables.append(_table(f"Domain {name}: ablations, less the base", ("variant", "score", "difference"), lost))
        tables.append(_path_table(f"Domain {name}", base))
    done = f"{int(values['runs'])} of {int(values['planned_runs'])} runs are finished."
    figures = tuple(experiment_figure(domains, score) for score in ("macro AUROC", "sequence score"))
    return Report("The order of gaze: none, random, shuffled, original", f"{PHANTOMS} {done}", tuple(tables), figures)


def _path_table(domain: str, runs: Sequence[Values]) -> ReportTable:
    """Metrics of the runs with original gaze and most images, beside their floors."""
    known = [run for run in runs if run["path_metrics"] and run["order"] == "original"]
    if not known:
        return _table(f"{domain}: no scanpath metrics yet", ("metric",), [])
    largest = max(known, key=lambda run: int(run["images"]))
    heads, rows = _metric_rows(largest["path_metrics"], lambda value: "-" if value is None else f"{value:.3f}")
    return _table(f"{domain}: scanpaths, original gaze, {largest['images']} images", heads, rows)


def _phantoms(values: Values) -> Report:
    heads, rows = table_cells(values)
    title = f"{values['model']} on {values['n']} phantoms of domain {values['domain']}"
    own = next(iter(values["scores"].values()))
    figures = [
        finding_figure(own[source]["all_severities"]["per_finding"], f"AUROC of each finding, {words}")
        for source, words in SOURCES.items()
        if own[source] is not None
    ]
    note = f"{PHANTOMS} A star: the floor's interval touches the model's."
    return Report(title, note, (_table("Scores with 95% intervals", heads, rows),), tuple(figures))


def _dataset(values: Values) -> Report:
    tables, figures = [], []
    for source, words in SOURCES.items():
        scores = values["scores"][source]
        if scores is None:
            continue
        rows = finding_rows(scores)
        rows.append(("macro", "", cell(scores["macro_auroc"]), "", "", "", "", ""))
        tables.append(_table(f"Findings, {words}", FINDING_HEADS, rows))
        areas = {name: s["auroc"] for name, s in scores["findings"].items()}
        figures.append(finding_figure(areas, f"AUROC of each finding, {words}"))
    scanpath = values["scores"]["scanpath"]
    if not isinstance(scanpath, str):
        tables.append(_table("Scanpaths", *_metric_rows(scanpath["metrics"], cell)))
    title = f"{values['model']} on {values['records']} records of {values['dataset']}, split {values['split']}"
    return Report(title, "95% intervals by patient.", tuple(tables), tuple(figures))


def _score(values: Values) -> Report:
    table = _table("Every metric beside its floors", *_metric_rows(values["metrics"], cell))
    title = f"{int(values['images'])} images, {int(values['pairs'])} pairs of paths"
    return Report(title, "95% intervals by image.", (table,), (metric_figure(values["metrics"]),))


def _metric_rows(metrics: Values, word: Callable[[Any], str]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Heads and rows of scanpath metrics: score, order gain, floors, ceiling."""
    floors = tuple(next(iter(metrics.values()))["floors"])
    heads = ("metric", "better", "sees order", "score", "order gain", *floors, "another reader")
    rows = []
    for name, values in metrics.items():
        own = values if isinstance(values.get("interval"), list) or "interval" in values else values["value"]
        numbers = (own, values["order_gain"], *(values["floors"][floor] for floor in floors))
        rows.append(
            (name, values["better"], values["order"], *map(word, numbers), word(values["ceiling_other_reader"]))
        )
    return heads, rows


def _table(caption: str, heads: Sequence[str], rows: Any) -> ReportTable:  # noqa: ANN401 (rows of unchecked values)
    """Everything as words, cut where a file tries to flood the page.

    Raises:
        ValueError: a row of another length than the heads.
    """
    kept = [tuple(str(value)[:MOST_LETTERS] for value in row) for row in list(rows)[:MOST_ROWS]]
    if any(len(row) != len(heads) for row in kept):
        raise ValueError("a row does not fit its heads")
    return ReportTable(caption, tuple(str(head)[:MOST_LETTERS] for head in heads), tuple(kept))
