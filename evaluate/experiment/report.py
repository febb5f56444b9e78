"""The experiment's report: Markdown for reading, HTML with figures. Every number comes from the summary."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from evaluate.experiment.plan import BASE, Plan
from evaluate.experiment.run import DOMAINS
from evaluate.table import cell

COLORS = {"original": "#1b7f79", "shuffled": "#d9822b", "random": "#8a6fc9", "none": "#6b7785"}
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
        f"{summary['runs']} runs; {plan.steps} steps of {plan.batch_size} examples each; {plan.test_images} test "
        f"images per domain (seed {plan.test_seed}).",
        "",
    ]
    for domain, words in DOMAINS.items():
        values = summary["domains"][domain]
        lines += [f"## Domain {domain}: {words}", ""]
        lines += _table(["images", "gaze", "seeds", "macro AUROC", "sequence score", "order gain", "best floor"],
                        [_run_row(run) for run in values["runs"] if run["variant"] == BASE])
        lines += ["### Paired differences", ""]
        lines += _table(["score", "images", "first - second", "difference", "by seed"],
                        [_difference_row(entry) for entry in values["differences"]])
        ablations = [run for run in values["runs"] if run["variant"] != BASE]
        if ablations:
            lines += ["### Ablations (original gaze)", ""]
            lines += _table(["variant", "images", "seeds", "macro AUROC", "sequence score"],
                            [[run["variant"], run["images"], run["seeds"], cell(run.get("macro AUROC")),
                              cell(run.get("sequence score"))] for run in ablations])
        lines += ["### AUROC of each finding", ""]
        names = list(values["runs"][0]["per_finding"])
        rows = [[run["images"], run["order"], *(f"{run['per_finding'][name]:.3f}" for name in names)]
                for run in values["runs"] if run["variant"] == BASE]
        lines += _table(["images", "gaze", *names], rows)
    return "\n".join(lines)


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
    figure = go.Figure()
    for order, color in COLORS.items():
        points = sorted((run for run in runs if run["order"] == order and score in run), key=lambda run: run["images"])
        if not points:
            continue
        means = [run[score]["value"] for run in points]
        lows, highs = zip(*(run[score]["interval"] for run in points), strict=True)
        figure.add_scatter(
            x=[run["images"] for run in points],
            y=means,
            name=f"{order} gaze",
            mode="lines+markers",
            line={"color": color},
            error_y={
                "array": [high - mean for high, mean in zip(highs, means, strict=True)],
                "arrayminus": [mean - low for low, mean in zip(lows, means, strict=True)],
            },
        )
    figure.update_layout(
        title=score, xaxis={"title": "training images", "type": "log"}, yaxis={"title": score},
        template="plotly_white", height=420, margin={"l": 60, "r": 20, "t": 50, "b": 50},
    )  # fmt: skip
    return figure


def _run_row(run: Values) -> list[Any]:
    floors = {name: value for name, value in run["sequence_floors"].items() if name not in ("order gain",)
              and not name.startswith("ceiling")}
    best = max(floors.items(), key=lambda item: item[1], default=None)
    gain = run["sequence_floors"].get("order gain")
    return [
        run["images"], run["order"], run["seeds"], cell(run.get("macro AUROC")), cell(run.get("sequence score")),
        "-" if gain is None else f"{gain:.3f}", "-" if best is None else f"{best[1]:.3f} ({best[0]})",
    ]  # fmt: skip


def _difference_row(entry: Values) -> list[Any]:
    by_seed = ", ".join(f"{value:+.3f}" for value in entry["by_seed"])
    return [entry["score"], entry["images"], f"{entry['first']} - {entry['second']}", cell(entry), by_seed]


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows), ""]
