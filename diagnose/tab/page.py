"""The Diagnose tab: its components, what happens between them, and the endpoints `/diagnose` and `/models`."""

import json
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import astuple, fields
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.processing_utils import save_file_to_cache

from diagnose.catalogue import Catalogue
from diagnose.record import to_record
from diagnose.service import (
    EXAMPLES,
    Picture,
    answer_steps,
    choose_picture,
    thumbnails,
    write_downloads,
)
from diagnose.tab import markup
from diagnose.tab.endpoints import add_endpoints
from diagnose.tab.form import Asking, AskingForm, asking_of, from_query, preset_question, to_query
from diagnose.tab.result import Result, ResultPanel, Shown, history
from gazevlm_core.options import DEFAULT_QUESTION
from gazevlm_core.words import UnknownQuestionError, check_question
from web.blocks import MODEL_QUEUE, Page
from web.markup import status as status_line
from web.models import Ask
from web.page import FAILED, QUIET, Tab, Values, build_page, page_error, remembered, show_errors
from web.viewer.payload import ViewerPayload

if TYPE_CHECKING:
    from gradio.events import Dependency

HEAD = (
    f"<style>{Path(__file__).with_name('page.css').read_text(encoding='utf-8')}</style>"
    f"<script>{Path(__file__).with_name('page.js').read_text(encoding='utf-8')}</script>"
)
UNANSWERED = "Not answered: this model does not know the question."
STEP_S = 0.05  # between two steps of an answer: each takes the server and the browser longer than a small model a word
EMPTY, READY = "Upload an image or pick an example.", "Ready."
WAITING, PREDICTING, WRITING, STOPPED = "Waiting for the model…", "Looking…", "Writing…", "Stopped."

# Why an answer ended before its end, and what the status line then says; None leaves it.
STOP, REPLACED = "stop", "replaced"
ENDINGS: dict[str, str | None] = {STOP: STOPPED, REPLACED: None}

# Where the page is one column, the results lie below the button.
SHOW_RESULTS = "() => { if (innerWidth < 700) document.getElementById('status').scrollIntoView({behavior: 'smooth'}); }"
# Until another image is here the button would ask about the last one; in the browser, since a click may be quicker.
LOADING = f"() => {json.dumps([{'__type__': 'update', 'interactive': False}, status_line('Loading the image…')])}"
ASK = "() => { document.getElementById('diagnose').click(); }"  # which does nothing while the button is off
FULL_LINK = "query => `${location.origin}${location.pathname}?${query}`"


def diagnose_tab(catalogue: Catalogue, ask: Ask) -> Tab:
    """The tab around the loaded models, with the endpoints.

    Args:
        catalogue: what can answer, one question at a time.
        ask: `catalogue.ask`, or that on a GPU.
    """

    def fill(page: gr.Blocks) -> None:
        body = DiagnosePage(catalogue, ask)
        page.load(thumbnails, None, body.gallery, **QUIET)  # drawn after the page is up, once for all visitors
        page.load(body.opened, None, body.opening, **QUIET)
        with gr.Row(visible=False):
            add_endpoints(catalogue, ask)

    return Tab("Diagnose", "diagnose-tab", fill, head=HEAD)


def build_app(catalogue: Catalogue, gpu: Callable[[Ask], Ask] = lambda ask: ask) -> Page:
    """A page with this tab alone.

    Args:
        catalogue: what can answer, one question at a time.
        gpu: wraps the one function that computes; on a ZeroGPU Space, `spaces.GPU(...)`.
    """
    return build_page([diagnose_tab(catalogue, gpu(catalogue.ask))])


class DiagnosePage:
    """The tab's components and handlers."""

    def __init__(self, catalogue: Catalogue, ask: Ask) -> None:
        self.catalogue, self.ask = catalogue, ask
        self.form = AskingForm(catalogue)
        self.form.notice_line()
        with gr.Row():
            with gr.Column(scale=2, min_width=280):
                self._questions()
            with gr.Column(scale=3, min_width=280):
                self._results()
        self.shown, self.ending = remembered(), remembered("")
        panels = [part for panel in self.panels for part in panel.parts]
        self.about_image = [
            self.shown, self.status, self.truth, self.truth_text, self.history, self.files, *panels
        ]  # fmt: skip
        self.controls = [self.status, self.start, self.stop]
        running = self._connect_answers()
        self._connect_pictures(running)
        self._connect_form()

    def _questions(self) -> None:
        self.upload = gr.File(label="Drop, paste or choose: PNG, JPEG, WebP, TIFF, DICOM", height=130, elem_id="upload")
        self.gallery = gr.Gallery(
            label="or a drawn example", columns=4, height=220, allow_preview=False, interactive=False,
            object_fit="cover", buttons=[], elem_id="examples",
        )
        self.form.question_box()
        with gr.Row():
            self.start = gr.Button("Diagnose", variant="primary", elem_id="diagnose", scale=2, min_width=120)
            self.stop = gr.Button("Stop", elem_id="stop", scale=1, min_width=80, interactive=False)
        self.form.choices()

    def _results(self) -> None:
        self.status = gr.HTML(status_line(EMPTY), elem_id="status")
        with gr.Row(elem_id="results"):
            self.panels = (ResultPanel(0), ResultPanel(1))
        self.truth = gr.Checkbox(label="Reveal what was drawn", visible=False, elem_id="truth")
        self.truth_text = gr.HTML(visible=False, elem_id="truth-text")
        self.history = gr.HTML(elem_id="history")
        with gr.Accordion("Downloads", open=False, elem_id="downloads"):
            self.prepare = gr.Button("Make the files", elem_id="prepare")
            self.files = gr.File(
                label="Overlay (PNG), replays (WebP, GIF), record (JSON), fixations (CSV)", file_count="multiple",
                interactive=False, visible=False, elem_id="files",
            )

    def _connect_answers(self) -> "Dependency":
        """The Diagnose and Stop buttons; returns the event that another image must cancel.

        To Gradio, an answer that was cancelled has failed, and words under way come after the click: so `ending` says
        why, before anything is cancelled, and the last word on the status line is that of the failure.
        """
        controls = self.controls
        self.form.question.submit(None, None, None, js=ASK, **QUIET)
        begun = self.start.click(
            lambda: ("", *_controls(WAITING, busy=True)), None, [self.ending, *controls], queue=False, js=SHOW_RESULTS,
            **QUIET,
        )
        running = begun.then(
            self._answers, [self.shown, self.truth, self.form.question, *self.form.settings], self.about_image,
            concurrency_id=MODEL_QUEUE, concurrency_limit=1, **QUIET,
        )
        running.success(lambda: _controls(None, busy=False), None, controls, queue=False, **QUIET)
        running.failure(_ended, self.ending, controls, queue=False, **QUIET)
        self.stop.click(
            lambda: (STOP, *_controls(STOPPED, busy=False)), None, [self.ending, *controls], queue=False, **QUIET
        )
        # listeners of their own: one with a function as well would lose its result
        self.stop.click(None, None, None, cancels=running, **QUIET)
        return running

    def _connect_pictures(self, running: "Dependency") -> None:
        """Another image stops the answer about the last one, and frees the buttons."""
        for happening in (self.upload.upload, self.upload.clear, self.gallery.select):
            happening(None, None, [self.start, self.status], js=LOADING, **QUIET)
            happening(lambda: REPLACED, None, self.ending, queue=False, **QUIET)
            happening(None, None, None, cancels=running, **QUIET)
        uploaded = self.upload.upload(self._show_upload, self.upload, self.about_image, **QUIET)
        uploaded.failure(lambda: self._blank(FAILED), None, self.about_image, **QUIET)
        removed = self.upload.clear(lambda: self._blank(EMPTY), None, self.about_image, queue=False, **QUIET)
        chosen = self.gallery.select(self._show_example, None, [*self.about_image, self.upload], **QUIET)
        for event in (uploaded, removed, chosen):
            event.then(lambda: _controls(None, busy=False), None, self.controls, queue=False, **QUIET)

    def _connect_form(self) -> None:
        form = self.form
        pickers = [form.model, form.second_model]
        gr.on([picker.input for picker in pickers], form.refreshed, pickers, form.picked, **QUIET)
        form.preset.select(self._preset, [form.preset, self.shown], [form.question, form.preset], **QUIET)
        self.truth.input(
            self._reveal, [self.shown, self.truth], [self.truth_text, *(panel.viewer for panel in self.panels)], **QUIET
        )
        asked = [self.shown, form.question, *form.settings]
        form.make_link.click(self._query, asked, form.link, **QUIET).success(
            None, form.link, form.link, js=FULL_LINK, **QUIET
        )
        self.prepare.click(self._downloads, self.shown, self.files, api_visibility="private")

    # ---- the image --------------------------------------------------------------------------------------------------
    @show_errors
    def _show_upload(self, path: str | None) -> Values:
        return self._showing(choose_picture(path, None), READY, upload=path)

    @show_errors
    def _show_example(self, event: gr.SelectData) -> Values:
        number = event.index  # from the browser: anything
        if not isinstance(number, int) or not 0 <= number < len(EXAMPLES):
            raise ValueError("There is no such example; pick one from the gallery.")
        return {**self._showing_example(number), self.upload: None}

    def _showing_example(self, number: int) -> Values:
        words = f"{READY} Drawn: {EXAMPLES[number].caption}."
        return self._showing(choose_picture(None, number), words, example=number)

    def _showing(
        self, picture: Picture, status: str, *, upload: str | None = None, example: int | None = None
    ) -> Values:
        """A new image, without any answer; an upload's name is not shown."""
        description = "Uploaded image" if example is None else f"Drawn radiograph: {EXAMPLES[example].caption}"
        value = self.panels[0].viewer.show(picture.image, description=description)
        return {
            **self._blank(status, value),
            self.shown: Shown(value, picture.name, upload, example),
            self.truth: gr.Checkbox(value=False, visible=example is not None),
        }

    def _blank(self, status: str, value: ViewerPayload | None = None) -> Values:
        """Everything about an image taken away; `value` is the first viewer's."""
        return {
            self.shown: None,
            self.status: status_line(status),
            self.truth: gr.Checkbox(value=False, visible=False),
            self.truth_text: gr.HTML("", visible=False),
            self.history: "",
            self.files: gr.File(None, visible=False),
            **self.panels[0].blank(value or ViewerPayload()),
            **self.panels[1].blank(ViewerPayload()),
        }

    def _reveal(self, shown: Shown | None, revealed: bool) -> Values:
        if shown is None or shown.example is None:
            return {self.truth_text: gr.HTML("", visible=False)}
        words = markup.truth(shown.example) if revealed else ""
        values: Values = {self.truth_text: gr.HTML(words, visible=revealed)}
        for panel in self.panels[: max(1, len(shown.results))]:
            values[panel.viewer] = shown.payload(panel.number, revealed=revealed)
        return values

    # ---- the question -----------------------------------------------------------------------------------------------
    @show_errors
    def _preset(self, preset: str, shown: Shown | None) -> Values:
        probabilities = shown.results[0].diagnosis.finding_probabilities if shown and shown.results else {}
        said = [text for exchange in shown.exchanges() for text in astuple(exchange)] if shown else []
        return {self.form.question: preset_question(preset, probabilities, said), self.form.preset: None}

    def opened(self, request: gr.Request) -> Values:
        """The models that there are now, and what the page's address asks for; outputs are `opening`."""
        fresh = self.form.refreshed("", "")
        if not {field.name for field in fields(Asking)} & set(request.query_params):
            return fresh
        try:
            asking = from_query(request.query_params, DEFAULT_QUESTION)
            for model in (asking.model, asking.second_model):
                self.catalogue.find(model)
        except ValueError as error:
            gr.Warning(escape(f"The link could not be used. {error}"))
            return fresh
        _, _, model, *answer, second_model, second_temperature = astuple(asking)
        pickers = self.form.refreshed(model, second_model)
        _, *answer_components, _, temperature_component = self.form.settings
        return {
            **pickers,
            **dict(zip(answer_components, answer, strict=True)),
            temperature_component: "" if second_temperature is None else f"{second_temperature:g}",
            self.form.question: asking.question,
            **({} if asking.example is None else self._showing_example(asking.example)),
        }

    @property
    def opening(self) -> list[Any]:
        """What `opened` may change."""
        others = [part for part in self.form.settings if part not in self.form.picked]
        return [*self.about_image, *others, *self.form.picked, self.form.question]

    @staticmethod
    @show_errors
    def _query(shown: Shown | None, question: str, *settings: Any) -> Any:  # noqa: ANN401 (an update of a component)
        return gr.Textbox(to_query(asking_of(shown.example if shown else None, question, settings)), visible=True)

    # ---- the answer -------------------------------------------------------------------------------------------------
    def _answers(
        self, shown: Shown | None, revealed: bool, question: str, *settings: Any
    ) -> Generator[Values, None, None]:
        """First the path, then the words; then the same of what is compared."""
        try:
            picture = choose_picture(shown.upload if shown else None, shown.example if shown else None)
            asking = asking_of(None, question, settings)
            second = asking.second()
            ways = [asking] if second is None else [asking, second]
            titles = self._titles(ways)
            assert shown is not None  # or there would be no picture
            shown = shown.with_question(check_question(asking.question))
            declined = self._declined(ways)
            yield {
                self.shown: shown,
                self.status: status_line(PREDICTING),
                self.history: history(shown.earlier),
                self.files: gr.File(None, visible=False),
                **self.panels[0].blank(shown.payload(0, revealed=False), titles[0] if second else None),
                **self.panels[1].blank(shown.value if second else ViewerPayload(), titles[1] if second else None),
            }
            if declined:
                yield {self.status: status_line(UNANSWERED), **declined}
                return
            for number, (way, title) in enumerate(zip(ways, titles, strict=True)):
                for step in self._steps(number, title, way, picture, shown, revealed=revealed):
                    shown = step[self.shown]
                    yield step
        except ValueError as error:
            raise page_error(error) from error

    def _declined(self, ways: list[Asking]) -> Values:
        """What the panels say where a model was not trained on the question; nothing where all of them were."""
        values: Values = {}
        for panel, way in zip(self.panels, ways, strict=False):
            try:
                self.catalogue.find(way.model).recognise(way.question)
            except UnknownQuestionError as error:
                values[panel.warning] = markup.alert([str(error)])
        return values

    def _steps(
        self, number: int, title: str, way: Asking, picture: Picture, shown: Shown, *, revealed: bool
    ) -> Generator[Values, None, None]:
        """One answer, into one panel; every step has the new `shown`. Words wait for the next step of the page."""
        panel, scores, next_s = self.panels[number], self.catalogue.find(way.model).scores, 0.0
        with closing(answer_steps(self.ask, way.model, picture.image, way.question, way.options())) as steps:
            for count, step in enumerate(steps):
                if not step.finished and time.monotonic() < next_s:
                    continue
                result = Result(title, step.diagnosis, step.seconds)
                shown = shown.with_result(number, result)
                values = {
                    self.shown: shown,
                    self.status: status_line(f"Done in {step.seconds:.1f} s." if step.finished else WRITING),
                    **panel.answer_values(result, finished=step.finished),
                }
                yield values if count else {**values, **panel.path_values(shown, scores, revealed=revealed)}
                next_s = time.monotonic() + STEP_S

    def _titles(self, ways: list[Asking]) -> list[str]:
        """What the results are called beside each other; errors as `Catalogue.find`."""
        names = [self.catalogue.find(way.model).name for way in ways]
        if len({way.path_temperature for way in ways}) == 1:
            return names
        return [f"{name}, temperature {way.path_temperature:g}" for name, way in zip(names, ways, strict=True)]

    @show_errors
    def _downloads(self, shown: Shown | None) -> Any:  # noqa: ANN401 (an update of a component)
        if shown is None or not shown.results:
            raise ValueError("There is nothing to download yet; diagnose an image first.")
        picture, cached = choose_picture(shown.upload, shown.example), []
        with tempfile.TemporaryDirectory(prefix="gazevlm-") as folder:
            for number, result in enumerate(shown.results):
                record = to_record(result.diagnosis, shown.name, result.seconds)
                written = write_downloads(
                    Path(folder), picture.image, result.diagnosis.scanpath, record, second=number == 1
                )
                cached += [save_file_to_cache(path, self.files.GRADIO_CACHE) for path in written]
        return gr.File(cached, visible=True)


def _ended(ending: str) -> list[Any]:
    """What the status line and the two buttons become when an answer ended before its time. Where another image ended
    it, Diagnose stays off until that is there."""
    line, start, stop = _controls(ENDINGS.get(ending, FAILED), busy=False)
    return [line, gr.skip() if ending == REPLACED else start, stop]


def _controls(text: str | None, *, busy: bool) -> tuple[Any, ...]:
    """Status line (None leaves it), Diagnose button and Stop button."""
    line = gr.skip() if text is None else status_line(text)
    return line, gr.Button(interactive=not busy), gr.Button(interactive=busy)
