"""The experiment's report: Markdown for reading, HTML with figures. Every number comes from the summary."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from evaluate.experiment.plan import BASE, DOMAINS, Plan
from evaluate.table import cell
from gazevlm_core.training.gaze_order import GazeOrder

COLORS = {"original": "#1b7f79", "shuffled": "#d9822b", "random": "#8a6fc9", "none": "#6b7785"}
_RUN_HEADS = ("images", "gaze", "seeds", "macro AUROC", "sequence score", "order gain", "best floor")
_DIFFERENCE_HEADS = ("score", "images", "first - second", "difference", "by seed")
Values = Mapping[str, Any]
INTRODUCTION = (
    "Nano models trained from nothing on drawn phantoms, with the gaze of simulated readers in its original order, "
    "shuffled, replaced by random places, or left out; everything else is equal. Means over seeds; brackets are 95% "
    "intervals that draw seeds and test images again (with few seeds they are too narrow). These are results on "
    "phantoms, not on patients."
)


def markdown(summary: Values, plan: Plan, command: str) -> str:
    """The report as Markdown.

    Args:
        summary: from `summarise`.
        plan: of the experiment.
        command: that ran it.
    """
    lines = ["# The order of gaze", "", INTRODUCTION, "", f"`{command}`", ""]
    lines += [
        f"{summary['runs']} of {summary['planned_runs']} runs; {plan.steps} steps of {plan.batch_size} examples each; "
        f"{plan.test_images} test images per domain (seed {plan.test_seed}).",
        "",
    ]
    lines += _order_information(summary["order_information"])
    for domain, words in DOMAINS.items():
        lines += [f"## Domain {domain}: {words}", "", *_domain(summary["domains"][domain])]
    return "\n".join(lines)


def _domain(values: Values) -> list[str]:
    runs = [run for run in values["runs"] if run["variant"] == BASE]
    lines = _table(_RUN_HEADS, [_run_row(run) for run in runs])
    lines += ["### Paired differences", ""]
    lines += _table(_DIFFERENCE_HEADS, [_difference_row(entry) for entry in values["differences"]])
    lines += _ablations(values)
    lines += _words(runs)
    lines += _path_metrics(runs)
    lines += ["### AUROC of each finding", ""]
    names = list(values["runs"][0]["per_finding"])
    rows = [[run["images"], run["order"], *(f"{run['per_finding'][name]:.3f}" for name in names)] for run in runs]
    return lines + _table(["images", "gaze", *names], rows)


def _order_information(values: Values | None) -> list[str]:
    if values is None or values["original"] is None:
        return []
    return [
        "## What the order could tell",
        "",
        "Findings guessed from gaze alone, without image or model, by a cross-validated logistic regression on where "
        f"readers of {values['images']} training images looked in the first, second and last third of their paths "
        f"(macro AUROC): original order {cell(values['original'])}, shuffled {cell(values['shuffled'])}, difference "
        f"{cell(values['difference'], 4)}. What the places tell is what shuffled gaze keeps.",
        "",
    ]


def _ablations(values: Values) -> list[str]:
    """Scores of each variant, and its paired difference from the model as it is."""
    runs = {run["variant"]: run for run in values["runs"] if run["variant"] != BASE}
    if not runs:
        return []
    lines = ["### Ablations (original gaze, most images)", ""]
    less = {(entry["variant"], entry["score"]): cell(entry) for entry in values["ablations"]}
    rows = [
        [name, run["seeds"], *(cell for score in ("macro AUROC", "sequence score")
                               for cell in (_cell(run, score), less.get((name, score), "-")))]
        for name, run in runs.items()
    ]  # fmt: skip
    return lines + _table(["variant", "seeds", "macro AUROC", "less the base", "sequence score", "less the base"], rows)


def _words(runs: Sequence[Values]) -> list[str]:
    asked = [run for run in runs if run["answer_text_auroc"] is not None]
    if not asked:
        return []
    lines = ["### Finding head and answers in words (macro AUROC)", ""]
    rows = [
        [run["images"], run["order"], _cell(run, "macro AUROC"), _number(run["answer_text_auroc"])] for run in asked
    ]
    return lines + _table(["images", "gaze", "finding head", "P(\"Yes\") of the answer"], rows)


def _path_metrics(runs: Sequence[Values]) -> list[str]:
    """Every scanpath metric of the runs with the most images, beside the floors of the original order."""
    largest = max(run["images"] for run in runs)
    by_order = {run["order"]: run["path_metrics"] for run in runs if run["images"] == largest and run["path_metrics"]}
    original = by_order.get(GazeOrder.ORIGINAL.value)
    if original is None:
        return []
    orders, floors = list(by_order), list(next(iter(original.values()))["floors"])
    rows = [
        [f"{name} ({'up' if first['better'] == 'higher' else 'down'}, order: {first['order']})",
         *(_number(by_order[order][name]["value"]) for order in orders), _number(first["order_gain"]),
         *(_number(first["floors"][floor]) for floor in floors), _number(first["ceiling_other_reader"])]
        for name, first in original.items()
    ]  # fmt: skip
    head = ["metric (better, sees order)", *(f"{order} gaze" for order in orders), "order gain, original",
            *(f"floor: {floor}" for floor in floors), "ceiling: another reader"]  # fmt: skip
    return [f"### Scanpaths, {largest} images", "", *_table(head, rows)]


def html(summary: Values, plan: Plan, command: str) -> str:
    """The report as one HTML file with its figures; nothing is fetched from elsewhere."""
    parts = [f"<h1>The order of gaze</h1><p>{escape(INTRODUCTION)}</p><p><code>{escape(command)}</code></p>"]
    library: bool | str = True  # plotly's script, once
    for domain, words in DOMAINS.items():
        runs = [run for run in summary["domains"][domain]["runs"] if run["variant"] == BASE]
        parts.append(f"<h2>Domain {domain}: {escape(words)}</h2>")
        for score in ("macro AUROC", "sequence score"):
            figure = curves(runs, score)
            parts.append(figure.to_html(full_html=False, include_plotlyjs=library))
            library = False
    body = "\n".join(parts)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>The order of gaze</title>'
        '<meta name="viewport" content="width=device-width"><style>body { font: 16px/1.5 system-ui, sans-serif; '
        "max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }</style></head>"
        f"<body>{body}<p>All tables: README.md; all numbers: results.json.</p></body></html>"
    )


def curves(runs: Sequence[Values], score: str) -> go.Figure:
    """A score against the number of training images, one line per order, with intervals."""
    figure = go.Figure(order_lines(runs, score))
    figure.update_layout(
        title=score, xaxis={"title": "training images", "type": "log"}, yaxis={"title": score},
        template="plotly_white", height=420, margin={"l": 60, "r": 20, "t": 50, "b": 50},
    )  # fmt: skip
    return figure


def order_lines(runs: Sequence[Values], score: str) -> list[go.Scatter]:
    """The lines of `curves`; orders without the score have none."""
    lines = []
    for order, color in COLORS.items():
        points = sorted((run for run in runs if run["order"] == order and score in run), key=lambda run: run["images"])
        if not points:
            continue
        means = [run[score]["value"] for run in points]
        lows, highs = zip(*(run[score]["interval"] for run in points), strict=True)
        whiskers = {
            "array": [high - mean for high, mean in zip(highs, means, strict=True)],
            "arrayminus": [mean - low for low, mean in zip(lows, means, strict=True)],
        }
        images = [run["images"] for run in points]
        lines.append(
            go.Scatter(x=images, y=means, name=f"{order} gaze", mode="lines+markers", line={"color": color},
                       error_y=whiskers)
        )  # fmt: skip
    return lines


def _cell(run: Values, score: str) -> str:
    return cell(run.get(score))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _run_row(run: Values) -> list[Any]:
    """Images, gaze, seeds, macro AUROC, sequence score, order gain and best floor of a run."""
    floors = {name: value for name, value in run["sequence_floors"].items() if name not in ("order gain",)
              and not name.startswith("ceiling")}
    best = max(floors.items(), key=lambda item: item[1], default=None)
    gain = run["sequence_floors"].get("order gain")
    return [
        run["images"], run["order"], run["seeds"], cell(run.get("macro AUROC")), cell(run.get("sequence score")),
        "-" if gain is None else f"{gain:.3f}", "-" if best is None else f"{best[1]:.3f} ({best[0]})",
    ]  # fmt: skip


def _difference_row(entry: Values) -> list[Any]:
    """Score, images, what is subtracted from what, the paired difference, and that of each seed."""
    by_seed = ", ".join(f"{value:+.3f}" for value in entry["by_seed"])
    return [entry["score"], entry["images"], f"{entry['first']} - {entry['second']}", cell(entry), by_seed]


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows), ""]
