"""Finished adapters with their figures; two to four of them beside each other."""

from typing import Any

import gradio as gr

from finetune.tab.charts import comparison_chart
from finetune.tab.looking import FEWEST, MOST
from finetune.tab.runs import Run
from finetune.tab.service import AdaptService
from finetune.tab.tables import comparison_table, history_table, run_label
from web.identity import Claim
from web.markup import note, table
from web.page import FIT_CHARTS, QUIET, Values, told
from web.sign_in import Entry

NONE_YET = "No adapter is finished yet."


class HistoryView:
    """Components and handlers.

    Args:
        service: of the tab.
        entry: who asks.
    """

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

    def first(self, claim: Claim, chosen: object) -> Values:
        """What is finished now; what was chosen stays, else the latest ones that are better than their base are.

        Args:
            claim: who asks.
            chosen: ids of runs.
        """
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

    @told
    def _compare(self, token: str, chosen: object, request: gr.Request) -> Values:
        runs = self.service.compare(self.entry.claim(request, token), chosen)
        return {self.chart: comparison_chart(runs), self.table: table(comparison_table(runs, self.service.bases))}


def preselected(runs: tuple[Run, ...]) -> list[str]:
    """Ids of the latest ones that are better than their base; one that is not is never chosen for anybody."""
    return [run.job.job_id for run in runs if run.verdict is not None and run.verdict.better][:FEWEST]
