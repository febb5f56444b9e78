"""A report on the page: picked or uploaded, as a chart and tables."""

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from evaluate.reports.charts import charts_of
from evaluate.reports.read import ReportError, read_report, shipped_reports
from evaluate.reports.schema import Report
from evaluate.reports.tables import facts_of, tables_of
from web.markup import note, status, table
from web.page import QUIET, Values, remembered, told

EMPTY = "Pick a report or upload one."
FAILED = "That did not work; the message says why. What was shown before is still there."
NONE_SHIPPED = "None comes with this version; `gazevlm experiment --out reports/NAME` makes one."
WHAT = (
    "A report is results.json of gazevlm experiment, or what gazevlm evaluate --json or gazevlm score --json prints. "
    "What is uploaded is deleted after an hour."
)


class ReportView:
    """Components and handlers; page.css hides the body until there is a table in it."""

    def __init__(self) -> None:
        with gr.Row():
            with gr.Column(min_width=260):
                self.shipped = gr.Dropdown(
                    label="A report that comes with GazeVLM", filterable=False, elem_id="evaluate-shipped",
                    **_shipped_settings(),
                )  # fmt: skip
            with gr.Column(min_width=260):
                self.upload = gr.File(label="or your own (JSON)", height=110, elem_id="evaluate-report")
        gr.HTML(note(WHAT), elem_id="evaluate-what")
        self.status = gr.HTML(status(EMPTY), elem_id="evaluate-report-status")
        self.facts = gr.HTML(elem_id="evaluate-facts")
        with gr.Column(elem_id="evaluate-report-body"):
            self.chart_name = gr.Dropdown(label="Chart", filterable=False, elem_id="evaluate-chart-name")
            self.chart = gr.Plot(show_label=False, elem_id="evaluate-chart")
            self.tables = gr.HTML(elem_id="evaluate-tables")
        self.report = remembered()  # where the shown one lies
        self._connect()

    def refreshed(self) -> Any:  # noqa: ANN401 (an update of a component)
        """Reports that there are now, for `shipped`."""
        return gr.Dropdown(**_shipped_settings())

    def _connect(self) -> None:
        body = [self.report, self.status, self.facts, self.chart_name, self.chart, self.tables]
        picked = self.shipped.input(self._pick, self.shipped, [*body, self.upload], **QUIET)
        uploaded = self.upload.upload(self._upload, self.upload, [*body, self.shipped], **QUIET)
        for event in (picked, uploaded):
            event.failure(lambda: (status(FAILED), None), None, [self.status, self.upload], queue=False, **QUIET)
        self.chart_name.input(self._chart, [self.report, self.chart_name], self.chart, **QUIET)

    @told
    def _pick(self, name: str) -> Values:
        path = shipped_reports().get(name)  # a name from the browser is never a path
        if path is None:
            raise ReportError("There is no such report; pick another one.")
        return {**self._showing(path, name), self.upload: None}

    @told
    def _upload(self, path: str | None) -> Values:
        if path is None:
            raise ReportError("There is no file; choose one.")
        return {**self._showing(Path(path), Path(path).name), self.shipped: gr.Dropdown(value=None)}

    def _showing(self, path: Path, name: str) -> Values:
        report = read_report(path)
        charts = charts_of(report)
        first = next(iter(charts), None)
        return {
            self.report: str(path),
            self.status: status(f"Shown: {name}."),
            self.facts: _facts(report),
            self.chart_name: gr.Dropdown(list(charts), value=first, interactive=len(charts) > 1),
            self.chart: charts[first]() if first else None,
            self.tables: "".join(map(table, tables_of(report))),
        }

    @staticmethod
    @told
    def _chart(path: str | None, name: object) -> Any:  # noqa: ANN401 (a figure or nothing)
        if path is None:
            raise ReportError("No report is shown any more; pick it again, or upload it.")
        charts = charts_of(read_report(Path(path)))
        return charts[name]() if isinstance(name, str) and name in charts else None


def _shipped_settings() -> dict[str, Any]:
    names = list(shipped_reports())
    return {"choices": names, "value": None, "interactive": bool(names), "info": None if names else NONE_SHIPPED}


def _facts(report: Report) -> str:
    first, *others = facts_of(report)
    return f'<div class="gaze-facts"><p><b>{escape(first)}</b> {escape(" ".join(others))}</p></div>'
