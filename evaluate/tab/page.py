"""The Evaluate tab: paths on one image, and reports. No handler of it is an endpoint."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from evaluate.charts import charts_of, dot_chart
from evaluate.overview import any_drawn, details, headline, named_lines, side_by_side
from evaluate.tab.overlay import LARGEST_NUMBER, Case, OverlayState, drawn_case, remark_on, uploaded_case
from evaluate.tables import facts_of, tables_of
from gazevlm_core.evaluation.read_report import ReportError, read_report
from gazevlm_core.evaluation.report import Report
from phantoms.case import DOMAIN_WORDS
from web.blocks import MODEL_QUEUE
from web.glossary import mark
from web.markup import note, notice, status, table
from web.models import Ask, Models, predict_path
from web.page import FIT_CHARTS, QUIET, Listen, Tab, Values, remembered, run_busily, show_errors
from web.viewer.component import ScanpathViewer

HEAD = f"<style>{Path(__file__).with_name('evaluate.css').read_text(encoding='utf-8')}</style>"
SHIPPED = Path(__file__).resolve().parents[2] / "reports"
RESULTS_FILE = "results.json"
EMPTY = "Draw a phantom, or upload an image with readings."
NO_REPORT = "Pick a report, or upload one or several."
DRAWING, READING, PREDICTING = "Drawing…", "Reading the files…", "The model looks…"
NO_IMAGE = "There is no image yet; draw a phantom or upload an image with readings."
FIRST_NUMBER, MOST_REPORTS = 7, 4
EVERY_SCORE = "Every score, from chance to another reader"
# Where the page is one column, the results lie below the buttons.
SHOW_RESULTS = (
    "() => { if (innerWidth < 700) document.getElementById('evaluate-status').scrollIntoView({behavior: 'smooth'}); }"
)
FAILED = "That did not work; the message says why. What was shown before is still there."
NONE_SHIPPED = "None comes with this version; `gazevlm experiment --out reports/NAME` makes one."
WHAT = (
    "A report is results.json of gazevlm experiment, or what gazevlm evaluate --json or gazevlm score --json prints. "
    "What is uploaded is deleted after an hour."
)


def evaluate_tab(models: Models, ask: Ask) -> Tab:
    """Return the tab around the loaded models.

    Args:
        models: what can look.
        ask: looks, one image at a time.
    """

    views: list[ReportView] = []

    def fill(page: gr.Blocks) -> None:
        line = gr.HTML(notice_of(models, ""), elem_id="evaluate-notice", elem_classes="gaze-notice-line")
        with gr.Tabs(elem_id="evaluate-parts"):
            with gr.Tab("Reports", elem_id="evaluate-reports", render_children=True):
                views.append(ReportView())
            with gr.Tab("Paths on one image", elem_id="evaluate-paths", render_children=True):
                overlay = OverlayView(models, ask, line)
        page.load(overlay.refreshed, None, [overlay.model, line], **QUIET)

    return Tab("Evaluate", "evaluate-tab", fill, lambda opened: views[-1].connect(opened), HEAD)


# ---- paths on one image ---------------------------------------------------------------------------------------------
class OverlayView:
    """Components and handlers.

    Args:
        models: what can look.
        ask: looks, one image at a time.
        notice_line: says what the chosen model has state.
    """

    def __init__(self, models: Models, ask: Ask, notice_line: gr.HTML) -> None:
        self.models, self.ask, self.notice = models, ask, notice_line
        with gr.Row():
            with gr.Column(scale=2, min_width=280):
                self._choices()
            with gr.Column(scale=3, min_width=280):
                self.status = gr.HTML(status(EMPTY), elem_id="evaluate-status")
                self.reader = gr.Dropdown(
                    label="Reader", interactive=False, filterable=False, elem_id="evaluate-reader"
                )
                self.viewer = ScanpathViewer(elem_id="evaluate-viewer")
        self.table = gr.HTML(elem_id="evaluate-table")
        self.state = remembered()
        self.shown = [self.state, self.status, self.reader, self.viewer, self.table]
        self.controls = [self.draw, self.use, self.predict]
        self._connect()

    def _choices(self) -> None:
        self.number = gr.Number(
            FIRST_NUMBER, precision=0, label=f"Phantom number, 0 to {LARGEST_NUMBER}",
            info="The same number is the same patient. The models that come with GazeVLM never saw these.",
            elem_id="evaluate-number",
        )  # fmt: skip
        kinds = [(words, name) for name, words in DOMAIN_WORDS.items()]
        self.domain = gr.Radio(kinds, value="A", label="Kind of phantom", elem_id="evaluate-domain")
        self.draw = gr.Button("Draw it, with six simulated readers", elem_id="evaluate-draw")
        with gr.Accordion("Or your own image and readings", open=False, elem_id="evaluate-own"):
            self.image = gr.File(label="Image: PNG, JPEG, WebP, TIFF, DICOM", height=110, elem_id="evaluate-image")
            self.readings = gr.File(
                label="Its readings: JSON lines with image_id, reader, x, y, duration_ms", height=110,
                elem_id="evaluate-readings",
            )  # fmt: skip
            self.use = gr.Button("Use these files", elem_id="evaluate-use")
        names = list(self.models.choices())
        self.model = gr.Dropdown(names, value=names[0], label="Model", filterable=False, elem_id="evaluate-model")
        self.predict = gr.Button("Let the model look", variant="primary", elem_id="evaluate-look")

    def refreshed(self) -> Values:
        """Return models that there are now, and what the usual one has seen; for `model` and the notice."""
        names = list(self.models.choices())
        return {self.model: gr.Dropdown(names, value=names[0]), self.notice: notice_of(self.models, names[0])}

    def _connect(self) -> None:
        self._run(self.draw.click, DRAWING, self._draw, [self.number, self.domain])
        self._run(self.number.submit, DRAWING, self._draw, [self.number, self.domain])
        self._run(self.use.click, READING, self._use, [self.image, self.readings])
        self._run(
            self.predict.click, PREDICTING, self._predict, [self.state, self.model, self.reader],
            concurrency_id=MODEL_QUEUE, concurrency_limit=1,
        )  # fmt: skip
        self.reader.input(self._read, [self.state, self.reader], [self.viewer, self.table], **QUIET)
        self.model.input(lambda name: notice_of(self.models, name), self.model, self.notice, **QUIET)

    def _run(self, event: Listen, words: str, work: Callable[..., Values], inputs: list[Any], **limits: Any) -> None:
        run_busily(event, self.controls, self.status, words, work, inputs, self.shown, js=SHOW_RESULTS, **limits)

    # ---- handlers ---------------------------------------------------------------------------------------------------
    @show_errors
    def _draw(self, number: float | None, domain: str) -> Values:
        return self._begin(*drawn_case(number, domain))

    @show_errors
    def _use(self, image: str | None, readings: str | None) -> Values:
        return self._begin(*uploaded_case(image, readings))

    def _begin(self, case: Case, image: Image.Image) -> Values:
        """Return a new image, at which no model looked yet."""
        state, first = OverlayState(case, self.viewer.show(image, description=case.caption)), next(iter(case.readings))
        reader = gr.Dropdown(list(case.readings), value=first, interactive=len(case.readings) > 1)
        return {**self._showing(state, first), self.reader: reader}

    @show_errors
    def _predict(self, state: OverlayState | None, model: str, reader: str) -> Values:
        if state is None:
            raise ValueError(NO_IMAGE)
        choice, image = self.models.choices().get(model), state.case.image()
        remark = "" if choice is None or state.case.drawn else remark_on(choice.learned, image)
        said = predict_path(self.ask, model, image)
        return self._showing(replace(state, model=model, diagnosis=said, remark=remark), reader)

    @show_errors
    def _read(self, state: OverlayState | None, reader: str) -> Values:
        if state is None:
            raise ValueError(NO_IMAGE)
        values = self._showing(state, reader)
        return {self.viewer: values[self.viewer], self.table: values[self.table]}

    def _showing(self, state: OverlayState, reader: str) -> Values:
        reader = reader if reader in state.case.readings else next(iter(state.case.readings))
        scores = state.table(reader)
        return {
            self.state: state,
            self.status: status(state.status()),
            self.viewer: state.payload(reader),
            self.table: "" if scores is None else table(scores),
        }


def notice_of(models: Models, name: str) -> str:
    """Return what a model has seen, and what the page is not; of the usual one where there is no such model."""
    choices = models.choices()
    return notice((choices.get(name) or next(iter(choices.values()))).gaze.trained_on)


# ---- reports --------------------------------------------------------------------------------------------------------
def shipped_reports(folder: Path = SHIPPED) -> dict[str, Path]:
    """Return the reports that lie in the repository: name of their folder -> file."""
    return {path.parent.name: path for path in sorted(folder.glob(f"*/{RESULTS_FILE}")) if path.is_file()}


class ReportView:
    """Components and handlers; it opens with the first report that comes with GazeVLM."""

    def __init__(self) -> None:
        with gr.Row():
            with gr.Column(scale=4, min_width=300):
                self.status = gr.HTML(status(NO_REPORT), elem_id="evaluate-report-status")
                self.facts = gr.HTML(elem_id="evaluate-facts")
                with gr.Column(elem_id="evaluate-report-body"):
                    self.chart = gr.Plot(show_label=False, elem_id="evaluate-chart")
                    self.chart_name = gr.Dropdown(label="Chart", filterable=False, elem_id="evaluate-chart-name")
            with gr.Column(scale=1, min_width=220):
                self.shipped = gr.Dropdown(
                    list(shipped_reports()), value=[], multiselect=True, label="Reports that come with GazeVLM",
                    max_choices=MOST_REPORTS, info=None if shipped_reports() else NONE_SHIPPED,
                    filterable=False, elem_id="evaluate-shipped",
                )  # fmt: skip
                self.upload = gr.File(
                    label="or your own (JSON), one or several", file_count="multiple", height=150,
                    elem_id="evaluate-report",
                )  # fmt: skip
                gr.HTML(note(WHAT), elem_id="evaluate-what")
        self.tables = gr.HTML(elem_id="evaluate-tables")
        self.reports = remembered(())  # names and places of the shown ones
        self.body = [self.reports, self.status, self.facts, self.chart_name, self.chart, self.tables]
        self._connect()

    def _connect(self) -> None:
        picked = self.shipped.input(self._pick, [self.shipped, self.upload], self.body, **QUIET)
        uploaded = self.upload.upload(self._upload, self.upload, [*self.body, self.shipped], **QUIET)
        for event in (picked, uploaded):
            event.failure(lambda: (status(FAILED), None), None, [self.status, self.upload], queue=False, **QUIET)
        self.chart_name.input(self._chart, [self.reports, self.chart_name], self.chart, **QUIET)

    def connect(self, opened: Listen) -> None:
        """Show the first report when the tab is opened, unless one is shown."""
        shown = opened(self._open, self.reports, [*self.body, self.shipped], **QUIET)
        shown.then(None, None, None, js=FIT_CHARTS, **QUIET)

    @show_errors
    def _open(self, shown: Sequence[tuple[str, str]]) -> Values:
        names = list(shipped_reports())
        if shown or not names:
            return {self.shipped: gr.Dropdown(names)}
        return {**self._pick(names[:1], None), self.shipped: gr.Dropdown(names, value=names[:1], multiselect=True)}

    @show_errors
    def _pick(self, names: Sequence[str] | None, uploads: Sequence[str] | None) -> Values:
        known = shipped_reports()  # a name from the browser is never a path
        paths = [(name, str(known[name])) for name in names or () if isinstance(name, str) and name in known]
        return self._showing([*paths, *_uploaded(uploads)])

    @show_errors
    def _upload(self, paths: Sequence[str] | None) -> Values:
        return {**self._showing(_uploaded(paths)), self.shipped: gr.Dropdown(value=[], multiselect=True)}

    def _showing(self, shown: Sequence[tuple[str, str]]) -> Values:
        if len(shown) > MOST_REPORTS:
            raise ReportError(f"At most {MOST_REPORTS} reports are shown side by side; leave some out.")
        reports = _read(shown)
        charts, lines = _charts(reports), named_lines(reports)
        first = next(iter(charts), None)
        compared = side_by_side(lines) if len(reports) > 1 else None
        tables = [replace(one, folded=True) for one in ([compared] if compared else [])]
        for name, report in reports.items():
            title = f"{name}: " if len(reports) > 1 else ""
            tables += [replace(one, title=f"{title}{one.title}", folded=True) for one in tables_of(report)]
        return {
            self.reports: tuple(shown),
            self.status: status(f"Shown: {', '.join(reports)}." if reports else NO_REPORT),
            self.facts: "".join(_facts(name if len(reports) > 1 else "", one) for name, one in reports.items()),
            self.chart_name: gr.Dropdown(list(charts), value=first, interactive=len(charts) > 1),
            self.chart: charts[first]() if first else None,
            self.tables: "".join(map(table, tables)),
        }

    @staticmethod
    @show_errors
    def _chart(shown: Sequence[tuple[str, str]], name: object) -> Any:  # noqa: ANN401 (a figure or nothing)
        if not shown:
            raise ReportError("No report is shown any more; pick it again, or upload it.")
        charts = _charts(_read(shown))
        return charts[name]() if isinstance(name, str) and name in charts else None


def _uploaded(paths: Sequence[str] | None) -> list[tuple[str, str]]:
    return [(Path(path).name, str(path)) for path in paths or ()]


def _read(shown: Sequence[tuple[str, str]]) -> dict[str, Report]:
    """Return the reports by names that tell them apart; errors as `read_report`."""
    reports: dict[str, Report] = {}
    for place, (name, path) in enumerate(shown, start=1):
        reports[name if name not in reports else f"{name} ({place})"] = read_report(Path(path))
    return reports


def _charts(reports: Mapping[str, Report]) -> dict[str, Callable[[], Any]]:
    """Return every chart by name: all scores on one line first, then those of each report."""
    lines = named_lines(reports) if reports else {}
    charts: dict[str, Callable[[], Any]] = {EVERY_SCORE: partial(dot_chart, lines)} if any_drawn(lines) else {}
    for name, report in reports.items():
        title = f"{name}: " if len(reports) > 1 else ""
        charts |= {f"{title}{chart}": draw for chart, draw in charts_of(report).items()}
    return charts


def _facts(name: str, report: Report) -> str:
    """Return the answer of a report in one sentence, and below it its numbers, and what was measured, on what."""
    first, *others = facts_of(report)
    title = f"<b>{escape(name)}</b> " if name else ""
    answer, rest, seen = headline(report), " ".join(others), set[str]()
    line = f'<p class="gaze-answer-line">{title}{escape(answer)}{mark(answer, seen)}</p>'
    numbers = "".join(f"<li>{escape(one)}{mark(one, seen)}</li>" for one in details(report))
    line += f"<ul>{numbers}</ul>" if numbers else ""
    return f'<div class="gaze-facts">{line}<p><b>{escape(first)}</b> {escape(rest)}{mark(rest, seen)}</p></div>'
