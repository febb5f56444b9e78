"""A model's path and a reader's on one image: components and handlers."""

from collections.abc import Callable
from typing import Any

import gradio as gr
from PIL import Image

from evaluate.overlay.cases import LARGEST_NUMBER, Case, drawn_case, uploaded_case
from evaluate.overlay.view import Seen
from phantoms.case import DOMAIN_WORDS
from web.blocks import MODEL_QUEUE
from web.markup import notice, status, table
from web.models import Ask, Models, predict_path
from web.page import QUIET, Listen, Values, remembered, run_busily, told
from web.viewer.component import ScanpathViewer

EMPTY = "Draw a phantom, or upload an image with readings."
DRAWING, READING, LOOKING = "Drawing…", "Reading the files…", "The model looks…"
NO_IMAGE = "There is no image yet; draw a phantom or upload an image with readings."
FIRST_NUMBER = 7
# Where the page is one column, the results lie below the buttons.
SHOW_RESULTS = (
    "() => { if (innerWidth < 700) document.getElementById('evaluate-status').scrollIntoView({behavior: 'smooth'}); }"
)


class OverlayView:
    """Components and handlers.

    Args:
        models: what can look.
        ask: looks, one image at a time.
        notice_line: says what the chosen model has seen.
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
        self.seen = remembered()
        self.shown = [self.seen, self.status, self.reader, self.viewer, self.table]
        self.controls = [self.draw, self.use, self.look]
        self._connect()

    def _choices(self) -> None:
        self.number = gr.Number(
            FIRST_NUMBER, precision=0, label=f"Phantom number, 0 to {LARGEST_NUMBER}",
            info="The same number is the same patient. The models that come with GazeVLM never saw these.",
            elem_id="evaluate-number",
        )  # fmt: skip
        kinds = [(f"{name}: {words}", name) for name, words in DOMAIN_WORDS.items()]
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
        self.look = gr.Button("Let the model look", variant="primary", elem_id="evaluate-look")

    def refreshed(self) -> Values:
        """Models that there are now, and what the usual one has seen; for `model` and the notice."""
        names = list(self.models.choices())
        return {self.model: gr.Dropdown(names, value=names[0]), self.notice: notice_of(self.models, names[0])}

    def _connect(self) -> None:
        self._run(self.draw.click, DRAWING, self._draw, [self.number, self.domain])
        self._run(self.number.submit, DRAWING, self._draw, [self.number, self.domain])
        self._run(self.use.click, READING, self._use, [self.image, self.readings])
        self._run(
            self.look.click, LOOKING, self._look, [self.seen, self.model, self.reader], concurrency_id=MODEL_QUEUE,
            concurrency_limit=1,
        )  # fmt: skip
        self.reader.input(self._read, [self.seen, self.reader], [self.viewer, self.table], **QUIET)
        self.model.input(lambda name: notice_of(self.models, name), self.model, self.notice, **QUIET)

    def _run(self, event: Listen, words: str, work: Callable[..., Values], inputs: list[Any], **limits: Any) -> None:
        run_busily(event, self.controls, self.status, words, work, inputs, self.shown, js=SHOW_RESULTS, **limits)

    # ---- handlers ---------------------------------------------------------------------------------------------------
    @told
    def _draw(self, number: float | None, domain: str) -> Values:
        return self._begin(*drawn_case(number, domain))

    @told
    def _use(self, image: str | None, readings: str | None) -> Values:
        return self._begin(*uploaded_case(image, readings))

    def _begin(self, case: Case, image: Image.Image) -> Values:
        """A new image, at which no model looked yet."""
        seen, first = Seen(case, self.viewer.show(image, description=case.caption)), next(iter(case.readings))
        reader = gr.Dropdown(list(case.readings), value=first, interactive=len(case.readings) > 1)
        return {**self._showing(seen, first), self.reader: reader}

    @told
    def _look(self, seen: Seen | None, model: str, reader: str) -> Values:
        if seen is None:
            raise ValueError(NO_IMAGE)
        return self._showing(seen.looked(model, predict_path(self.ask, model, seen.case.image())), reader)

    @told
    def _read(self, seen: Seen | None, reader: str) -> Values:
        if seen is None:
            raise ValueError(NO_IMAGE)
        values = self._showing(seen, reader)
        return {self.viewer: values[self.viewer], self.table: values[self.table]}

    def _showing(self, seen: Seen, reader: str) -> Values:
        reader = reader if reader in seen.case.readings else next(iter(seen.case.readings))
        scores = seen.table(reader)
        return {
            self.seen: seen,
            self.status: status(seen.status()),
            self.viewer: seen.payload(reader),
            self.table: "" if scores is None else table(scores),
        }


def notice_of(models: Models, name: str) -> str:
    """What a model has seen, and what the page is not; of the usual one where there is no such model."""
    choices = models.choices()
    return notice((choices.get(name) or next(iter(choices.values()))).gaze.trained_on)
