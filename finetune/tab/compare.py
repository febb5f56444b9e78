"""The part "Compare": finished adapters with their figures, and two to four of them beside each other."""

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from finetune.records import Measure
from finetune.tab.charts import comparison_chart
from finetune.tab.form import form_fields
from finetune.tab.runs import VERDICT_WORDS, Run, base_name, better_words, run_label
from finetune.tab.service import FEWEST, MOST, AdaptService
from web.formatting import UNKNOWN, score, when
from web.identity import Claim
from web.markup import Cell, Table, note, table
from web.page import FIT_CHARTS, QUIET, Values, show_errors
from web.sign_in import Entry

NONE_YET = "No adapter is finished yet."
MOST_ROWS = 100
KEY_MEASURES = ("sequence score", "order gain", "AUROC")
CHANGE_NOTE = "Figures on held-out images; in brackets the change from the base on the same images."
COMPARED_NOTE = (
    "In brackets the change from each run's own base. Runs with other held-out images cannot be ranked by this."
)


class CompareView:
    """Components and handlers of the part."""

    def __init__(self, service: AdaptService, entry: Entry) -> None:
        self.service, self.entry = service, entry
        self.history = gr.HTML(note(NONE_YET), elem_id="adapt-history", padding=False)
        with gr.Row(elem_classes="adapt-line", elem_id="adapt-compare-line"):
            self.chosen = gr.Dropdown(
                [], value=[], multiselect=True, max_choices=MOST, label=f"Compare {FEWEST} to {MOST} of them",
                min_width=220, elem_id="adapt-chosen",
            )  # fmt: skip
            self.compare = gr.Button("Compare", min_width=110, scale=0, elem_id="adapt-compare")
        with gr.Column(elem_id="adapt-compared-body"):
            self.chart = gr.Plot(show_label=False, elem_id="adapt-compared-chart", elem_classes="adapt-chart")
            self.table = gr.HTML(elem_id="adapt-compared")
        self.shown: list[Any] = [self.history, self.chosen]
        self.chart.change(None, None, None, js=FIT_CHARTS, **QUIET)
        self.compare.click(self._compare, [entry.token, self.chosen], [self.chart, self.table], **QUIET)

    def open(self, claim: Claim, chosen: object) -> Values:
        """Show what is finished now; chosen ids stay, else the latest adapters that are better than their base are."""
        runs = self.service.history(claim)
        if not runs:
            return {self.history: note(NONE_YET), self.chosen: gr.Dropdown([], value=[], interactive=False)}
        ids = [run.job.job_id for run in runs]
        kept = [one for one in chosen if one in ids] if isinstance(chosen, list) else []
        value = list(dict.fromkeys([*kept, *preselected(runs)]))[: max(FEWEST, len(kept))]
        choices = [(run_label(run), run.job.job_id) for run in runs]
        return {
            self.history: table(history_table(runs, self.service.bases)),
            self.chosen: gr.Dropdown(choices, value=value, interactive=len(runs) >= FEWEST),
        }

    @show_errors
    def _compare(self, token: str, chosen: object, request: gr.Request) -> Values:
        runs = self.service.compare(self.entry.claim(request, token), chosen)
        return {self.chart: comparison_chart(runs), self.table: table(comparison_table(runs, self.service.bases))}


def preselected(runs: Sequence[Run]) -> list[str]:
    """Return the ids of the latest runs that are better than their base; no other is ever chosen for anybody."""
    return [run.job.job_id for run in runs if run.verdict is not None and run.verdict.better][:FEWEST]


def history_table(runs: Sequence[Run], bases: Mapping[str, str]) -> Table:
    """Return finished adapters with their key measures, the latest first.

    Args:
        runs: that are done.
        bases: name of a loaded model -> where it was loaded from.
    """
    names = [name for name in KEY_MEASURES if any(run.measure(name) for run in runs)]
    heads = ("adapter", "against its base", *names, "images", "steps", "made")
    rows: list[list[Cell]] = [
        [
            (run.job.name, base_name(run.job.config.base, bases)), _verdict(run),
            *(_with_change(run.measure(name)) for name in names),
            _images(run), f"{run.job.steps:,}", when(run.job.ended_at_s),
        ]
        for run in runs[:MOST_ROWS]
    ]  # fmt: skip
    return Table("Finished adapters", heads, rows, [CHANGE_NOTE] if names else [])


def comparison_table(runs: Sequence[Run], bases: Mapping[str, str]) -> Table:
    """Return chosen runs beside each other: their measures, and the settings that are in sight or differ.

    Args:
        runs: in their order.
        bases: name of a loaded model -> where it was loaded from.
    """
    measures = {one.name: better_words(one) for run in reversed(runs) for one in run.measures}
    names = dict.fromkeys(one.name for run in runs for one in run.measures)
    rows: list[list[Cell]] = [["against its base", *map(_verdict, runs)]]
    rows += [[(name, measures[name]), *(_with_change(run.measure(name)) for run in runs)] for name in names]
    rows += [["base", *(base_name(run.job.config.base, bases) for run in runs)]]
    in_sight = {name for name, field in form_fields().items() if field.in_sight}
    for name in type(runs[0].job.config).model_fields:
        values = [str(getattr(run.job.config, name)) for run in runs]
        if name not in ("annotations", "base") and (name in in_sight or len(set(values)) > 1):
            rows.append([name.replace("_", " "), *values])
    rows.append(["images", *map(_images, runs)])
    return Table("Compared", ("", *(run.job.name for run in runs)), rows, [COMPARED_NOTE])


def _images(run: Run) -> str:
    return f"{run.images[0]:,}" if run.images else UNKNOWN


def _verdict(run: Run) -> str:
    return UNKNOWN if run.verdict is None else VERDICT_WORDS[run.verdict.outcome]


def _with_change(measure: Measure | None) -> str:
    """Return a measure and its change from the base."""
    if measure is None or measure.value is None:
        return UNKNOWN
    return score(measure.value) + ("" if measure.base is None else f" ({measure.value - measure.base:+.3f})")
