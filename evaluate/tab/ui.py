"""The Evaluate tab: `EvaluateTab(models, ask)` inside a `gr.Blocks`."""

from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from html import escape
from pathlib import Path
from typing import Any, Protocol

import gradio as gr
from PIL import Image

from evaluate.tab import markup
from evaluate.tab.compare import LAST_NUMBER, Looked, drawn_image, score_pair, uploaded_image
from evaluate.tab.reports import WANTED, read_report, shipped_reports
from gazevlm_core.options import DiagnoseOptions
from gazevlm_core.prompt import DEFAULT_QUESTION
from gazevlm_core.records import Diagnosis
from viewer.component import ScanpathViewer
from viewer.payload import ViewerGrid, ViewerPayload, viewer_path

# For the page's head.
STYLE = f"<style>{Path(__file__).with_name('tab.css').read_text(encoding='utf-8')}</style>"
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}  # handlers are no endpoints
QUEUE = "model"  # shared with whatever else asks the models of this process
CHOOSE, LOOKING, SHOWN = "Choose an image and a model, then Compare.", "Looking…", "Press play to replay both in step."
UNTRAINED = "This model's gaze weights are untrained: it shows no path, so there is nothing to compare."
NO_REPORTS = "No report ships with this copy. " + WANTED

Ask = Callable[[str, Image.Image, str, DiagnoseOptions], Generator[Diagnosis, None, None]]
Values = dict[Any, Any]  # component -> its new value


class Models(Protocol):
    """What the tab needs to know of the loaded models."""

    def choices(self) -> Mapping[str, object]:
        """All models by name, the usual one first."""
        ...


class EvaluateTab:
    """Reports above, the comparison of two paths below.

    Args:
        models: what can look at an image.
        ask: (model, image, question, options) -> records, the first of which has the path; `ValueError` for bad input.
    """

    def __init__(self, models: Models, ask: Ask) -> None:
        self.models, self.ask = models, ask
        self._report_part()
        self._compare_part()

    # ---- reports ----------------------------------------------------------------------------------------------------
    def _report_part(self) -> None:
        shipped = list(shipped_reports())
        gr.HTML("<h2>Reports</h2>", elem_classes="gaze-heading")
        with gr.Row(elem_classes="gaze-wrap"):
            self.shipped = gr.Dropdown(
                shipped, value=None, label="A report of this repository", visible=bool(shipped), elem_id="shipped"
            )
            # A button, since a file field would have to be emptied before it takes another report.
            self.report_file = gr.UploadButton("Open a report of yours (JSON)", elem_id="report-file")
        self.report_status = gr.HTML(markup.status(NO_REPORTS if not shipped else WANTED), elem_id="report-status")
        self.title = gr.HTML(elem_id="report-title")
        with gr.Row(elem_classes="gaze-wrap"):
            self.figures = [gr.Plot(visible=False, elem_id=f"figure-{place}", min_width=280) for place in (1, 2)]
        self.tables = gr.HTML(elem_id="report")
        outputs = [self.report_status, self.title, self.tables, *self.figures]
        self.shipped.input(self._show_shipped, self.shipped, outputs, **QUIET)
        self.report_file.upload(self._show_file, self.report_file, outputs, **QUIET)

    def _show_shipped(self, name: object) -> Values:
        path = shipped_reports().get(name) if isinstance(name, str) else None
        if path is None:
            return declined(self.report_status, "There is no report of that name; choose one of the list.")
        return self._show(path)

    def _show_file(self, path: str | None) -> Values:
        if path is None:
            return declined(self.report_status, WANTED)
        return self._show(Path(path))

    def _show(self, path: Path) -> Values:
        try:
            report = read_report(path)
        except ValueError as error:
            return declined(self.report_status, str(error))
        shown = [*report.figures, *[None] * len(self.figures)]
        figures = {
            component: gr.Plot(figure, visible=figure is not None)
            for component, figure in zip(self.figures, shown, strict=False)
        }
        return {
            self.report_status: markup.status(""),
            self.title: markup.title(report),
            self.tables: markup.tables(report),
            **figures,
        }

    # ---- two paths --------------------------------------------------------------------------------------------------
    def _compare_part(self) -> None:
        gr.HTML("<h2>A model's path beside a reader's</h2>", elem_classes="gaze-heading")
        names = list(self.models.choices())
        with gr.Row():
            with gr.Column(scale=2, min_width=280):
                self.number = gr.Number(
                    1, label="Drawn phantom, by number", precision=0, minimum=0, maximum=LAST_NUMBER,
                    elem_id="pair-number",
                )  # fmt: skip
                self.domain = gr.Radio(
                    [("A: as in training", "A"), ("B: other scanner and habitus", "B")], value="A", label="Domain"
                )
                with gr.Accordion("or your own image", open=False):
                    self.image = gr.File(label="Image: PNG, JPEG, WebP, TIFF, DICOM", height=110, elem_id="own-image")
                    self.paths = gr.File(label="Scanpaths on it: JSON lines", height=110, elem_id="own-paths")
                self.model = gr.Dropdown(names, value=names[0], label="Model", filterable=False, elem_id="pair-model")
                self.compare = gr.Button("Compare", variant="primary", elem_id="pair-start")
                self.reader = gr.Dropdown([], label="Reader", filterable=False, visible=False, elem_id="pair-reader")
            with gr.Column(scale=3, min_width=280):
                self.status = gr.HTML(markup.status(CHOOSE), elem_id="pair-status")
                self.viewer = ScanpathViewer(elem_id="pair-viewer")
        self.scores = gr.HTML(elem_id="pair-scores")
        self.looked: gr.State = gr.State(None)
        outputs = [self.status, self.viewer, self.scores, self.looked, self.reader]
        inputs = [self.number, self.domain, self.image, self.paths, self.model]
        self.compare.click(
            self._compare, inputs, outputs, concurrency_id=QUEUE, concurrency_limit=1, **QUIET
        )  # fmt: skip
        self.reader.input(self._other_reader, [self.looked, self.reader], outputs, **QUIET)

    def _compare(
        self, number: object, domain: str, image: str | None, paths: str | None, model: str
    ) -> Generator[Values, None, None]:
        yield {self.status: markup.status(LOOKING)}
        try:
            looked = uploaded_image(image, paths) if image or paths else drawn_image(number, domain)
            with closing(self.ask(model, looked.image, DEFAULT_QUESTION, DiagnoseOptions())) as records:
                diagnosis = next(records)
        except ValueError as error:
            yield declined(self.status, str(error))
            return
        if diagnosis.scanpath is None:
            yield {
                self.status: markup.status(UNTRAINED), self.scores: "", self.looked: None,
                self.viewer: self.viewer.show(looked.image, description=looked.caption),
                self.reader: gr.Dropdown(visible=False),
            }  # fmt: skip
            return
        first, *_ = looked.readers
        choices = gr.Dropdown(list(looked.readers), value=first, visible=True)
        yield {**self._pair((looked, diagnosis), first), self.reader: choices}

    def _other_reader(self, shown: tuple[Looked, Diagnosis] | None, reader: str) -> Values:
        if shown is None or reader not in shown[0].readers:
            return declined(self.status, "There is no such reader of this image; press Compare again.")
        return self._pair(shown, reader)

    def _pair(self, shown: tuple[Looked, Diagnosis], reader: str) -> Values:
        looked, diagnosis = shown
        assert diagnosis.scanpath is not None  # the callers made sure
        names = list(looked.readers)
        rows = score_pair(
            diagnosis.scanpath, list(looked.readers.values()), names.index(reader), looked.image.size
        )  # fmt: skip
        return {
            self.status: markup.status(f"{looked.caption}. {SHOWN}"),
            self.viewer: self._payload(looked, diagnosis, reader),
            self.scores: markup.pair_scores(rows, diagnosis.model_id, reader),
            self.looked: shown,
        }

    def _payload(self, looked: Looked, diagnosis: Diagnosis, reader: str) -> ViewerPayload:
        assert diagnosis.scanpath is not None
        model = viewer_path(
            diagnosis.scanpath, "Model", "model", grid=diagnosis.grid, probabilities=diagnosis.fixation_probabilities,
            patch_probabilities=diagnosis.patch_probabilities,
        )  # fmt: skip
        grid = ViewerGrid(rows=diagnosis.grid.rows, cols=diagnosis.grid.cols)
        paths = [model, viewer_path(looked.readers[reader], f"Reader: {reader}", "reader")]
        return self.viewer.show(looked.image, paths, grid=grid, description=looked.caption, in_step=True)


def declined(status: gr.HTML, message: str) -> Values:
    """A bad input: what is wrong is said in a toast and beside the input, and everything else stays as it is."""
    gr.Warning(escape(message), duration=None)  # shown as HTML
    return {status: markup.status(message)}
