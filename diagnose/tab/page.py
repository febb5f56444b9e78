"""The Diagnose tab: its components, what happens between them, and the endpoints `/diagnose` and `/models`."""

import json
import tempfile
from collections.abc import Callable, Generator
from dataclasses import astuple, fields
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.processing_utils import save_file_to_cache

from diagnose.catalogue import Catalogue
from diagnose.opening import example_number, opening_of
from diagnose.record import to_record
from diagnose.service import (
    EXAMPLES,
    Picture,
    choose_picture,
    thumbnails,
    write_downloads,
    zip_files,
    zip_name,
)
from diagnose.tab import markup
from diagnose.tab.answering import (
    LOADING_LINE,
    REPLACED,
    STEERED,
    WAITING,
    Answering,
    controls_at,
    ended,
    freed,
    stopped,
)
from diagnose.tab.endpoints import add_endpoints
from diagnose.tab.form import Asking, AskingForm, asking_of, from_query, how_of, preset_question, to_query
from diagnose.tab.result import FindingsPanel, Result, ResultPanel, Shown, Visit
from diagnose.tab.steering import steering_of
from gazevlm_core.options import DEFAULT_QUESTION
from gazevlm_core.words import LONGEST_QUESTION
from web.blocks import MODEL_QUEUE
from web.markup import status as status_line
from web.models import Ask
from web.page import FAILED, QUIET, Tab, Values, remembered, show_errors
from web.viewer.payload import ViewerPayload

if TYPE_CHECKING:
    from gradio.events import Dependency

HEAD = (
    f"<style>{Path(__file__).with_name('page.css').read_text(encoding='utf-8')}</style>"
    f"<style>{Path(__file__).with_name('answer.css').read_text(encoding='utf-8')}</style>"
    f"<script>{Path(__file__).with_name('page.js').read_text(encoding='utf-8')}</script>"
)
OPENED = "An example, answered beforehand."
EMPTY, READY = "Upload an image or pick an example.", "Ready."
# Where the page is one column, the results lie above the button.
SHOW_RESULTS = "() => { GazeAsk.begin(); }"
LOADING = (
    "() => { GazeAsk.loading(); "
    f"return {json.dumps([{'__type__': 'update', 'interactive': False}, LOADING_LINE])}; }}"
)
ASK = "() => { document.getElementById('diagnose').click(); }"  # which does nothing while the button is off
ASK_WHEN_READY = "() => GazeAsk.whenReady()"
ASK_AS_LINKED = "() => GazeAsk.asLinked()"
OUTDATE = "() => GazeAsk.outdate()"
HIDE = f"() => [{json.dumps({'__type__': 'update', 'visible': False})}]"
SAVE_FILES = "() => GazeAsk.save()"
NOTE_SENDING = "(_, ...others) => [Number(GazeAsk.sending), ...others]"
EACH: dict[str, Any] = {**QUIET, "trigger_mode": "multiple"}  # else a second pick is lost while the first one loads
FULL_LINK = "query => `${location.origin}${location.pathname}?${query}`"


def diagnose_tab(catalogue: Catalogue, ask: Ask) -> Tab:
    """Return the tab around the loaded models, with the endpoints.

    Args:
        catalogue: what can answer, one question at a time.
        ask: `catalogue.ask`, or that on a GPU.
    """

    def fill(page: gr.Blocks) -> None:
        body = DiagnosePage(catalogue, ask)
        page.load(thumbnails, None, body.gallery, **QUIET)  # drawn after the page is up, once for all visitors
        page.load(body.opened, body.visit, body.opening, **QUIET).success(None, None, None, js=ASK_AS_LINKED, **QUIET)
        with gr.Row(visible=False):
            add_endpoints(catalogue, ask)

    return Tab("Diagnose", "diagnose-tab", fill, head=HEAD)


class DiagnosePage:
    """The tab's components and handlers."""

    def __init__(self, catalogue: Catalogue, ask: Ask) -> None:
        self.catalogue, self.ask = catalogue, ask
        self.form = AskingForm(catalogue)
        self.form.notice_line()
        self.panels = (ResultPanel(0), ResultPanel(1))
        with gr.Row(elem_id="desk", elem_classes="gaze-desk"):
            with gr.Column(min_width=0, elem_id="sources"):
                self._sources()
            with gr.Row(elem_id="figures"):
                for panel in self.panels:
                    panel.figure()
            with gr.Column(min_width=0, elem_id="reading"):
                with gr.Column(min_width=0, elem_id="story"):
                    self._story()
                with gr.Column(min_width=0, elem_id="ask"):
                    self._questions()
        self.shown, self.ending, self.visit = remembered(), remembered(""), remembered(Visit())
        self.sending = gr.Number(0, visible=False)  # whether the browser is sending a file
        panels = [part for panel in (*self.panels, self.findings) for part in panel.parts]
        self.about_image = [
            self.shown, self.visit, self.status, self.truth, self.truth_text, self.history, self.files, *panels
        ]  # fmt: skip
        self.answering = Answering(self)
        self.controls = self.answering.controls
        running = self._connect_answers()
        steering = [self._connect_steering(panel, running) for panel in self.panels]
        self._connect_pictures([running, *steering])
        self._connect_form()

    def _sources(self) -> None:
        self.upload = gr.File(label="Drop, paste or choose: PNG, JPEG, WebP, TIFF, DICOM", height=96, elem_id="upload")
        self.gallery = gr.Gallery(
            label="or a drawn example", columns=1, height=220, allow_preview=False, interactive=False,
            object_fit="cover", buttons=[], elem_id="examples",
        )

    def _questions(self) -> None:
        with gr.Row(elem_id="ask-row"):
            self.form.question_box()
            self.start = gr.Button("Diagnose", variant="primary", elem_id="diagnose", scale=0, min_width=104)
            self.stop = gr.Button("Stop", elem_id="stop", scale=0, min_width=104, interactive=False)
        self.form.choices()

    def _story(self) -> None:
        self.status = gr.HTML(status_line(EMPTY), elem_id="status")
        for panel in self.panels:
            panel.words()
        self.findings = FindingsPanel(self.panels)
        self.truth = gr.Checkbox(label="Reveal what was drawn", visible=False, elem_id="truth")
        self.truth_text = gr.HTML(visible=False, elem_id="truth-text")
        self.history = gr.HTML(elem_id="history")
        with gr.Row(elem_id="downloads"):
            self.prepare = gr.Button("Download", size="sm", elem_id="prepare", scale=0, min_width=100)
            self.files = gr.File(
                label="Figure, overlay, replays, record and fixations", interactive=False, visible=False,
                elem_id="files",
            )  # fmt: skip

    def _connect_answers(self) -> "Dependency":
        """Wire the Diagnose and Stop buttons; return the event that another image must cancel.

        To Gradio, an answer that was cancelled has failed, and words under way come after the click: so `ending` says
        why, before anything is cancelled, and the last word on the status line is that of the failure.
        """
        controls = self.controls
        self.form.question.submit(None, None, None, js=ASK, **QUIET)
        begun = self.start.click(
            lambda: ("", *controls_at(WAITING, busy=True)), None, [self.ending, *controls], queue=False,
            js=SHOW_RESULTS, **QUIET,
        )
        running = begun.then(
            self.answering.answer,
            [self.sending, self.shown, self.visit, self.form.question, *self.form.settings],
            self.about_image, js=NOTE_SENDING, concurrency_id=MODEL_QUEUE, concurrency_limit=1, **QUIET,
        )
        running.success(freed, [self.shown, self.visit], controls, queue=False, **QUIET)
        running.failure(ended, self.ending, controls, queue=False, **QUIET)
        self.stop.click(
            stopped, self.visit, [self.ending, *controls], queue=False, **QUIET
        )
        # listeners of their own: one with a function as well would lose its result
        self.stop.click(None, None, None, cancels=running, **QUIET)
        return running

    def _connect_steering(self, panel: ResultPanel, running: "Dependency") -> "Dependency":
        """Let a changed path end the answer about the one before, and ask anew; return the event that asks."""

        def begin(visit: Visit, event: gr.EventData) -> str:
            visit.note_change(panel.number, event._data)
            visit.new_answer()
            return STEERED

        def steer(shown: Shown | None, visit: Visit, event: gr.EventData) -> Generator[Values, None, None]:
            yield from self.answering.steer(panel, shown, visit, event._data)

        def give_up(shown: Shown | None, visit: Visit, ending: str) -> Values:
            return self.answering.give_up(panel, shown, visit, ending)

        changed = panel.viewer.input
        changed(begin, self.visit, self.ending, queue=False, trigger_mode="multiple", **QUIET)
        changed(None, None, None, cancels=running, **QUIET)
        asked = changed(
            steer, [self.shown, self.visit], [*self.about_image, *self.controls[1:]],
            concurrency_id=MODEL_QUEUE, concurrency_limit=1, trigger_mode="multiple", **QUIET,
        )  # fmt: skip
        asked.failure(
            give_up, [self.shown, self.visit, self.ending], [panel.viewer, *self.controls], queue=False, **QUIET
        )
        for button in (self.start, self.stop):
            button.click(None, None, None, cancels=asked, **QUIET)
        return asked

    def _connect_pictures(self, running: list["Dependency"]) -> None:
        """Another image stops the answer about the last one, and frees the buttons."""
        for happening in (self.upload.upload, self.upload.clear, self.gallery.select):
            happening(None, None, [self.start, self.status], js=LOADING, **QUIET)
            happening(lambda: REPLACED, None, self.ending, queue=False, **EACH)
            happening(None, None, None, cancels=[*running], **EACH)
        uploaded = self.upload.upload(self._show_upload, [self.upload, self.visit], self.about_image, **EACH)
        uploaded.failure(lambda: self._blank(FAILED), None, self.about_image, **QUIET)
        removed = self.upload.clear(self._clear, self.visit, self.about_image, queue=False, **EACH)
        chosen = self.gallery.select(self._show_example, self.visit, [*self.about_image, self.upload], **EACH)
        for event in (uploaded, removed, chosen):
            event.then(freed, [self.shown, self.visit], self.controls, queue=False, **QUIET)
        chosen.success(None, None, None, js=ASK_WHEN_READY, **QUIET)

    def _connect_form(self) -> None:
        form = self.form
        pickers = [form.model, form.second_model]
        picked = [picker.input for picker in pickers]
        gr.on(picked, form.refreshed, pickers, form.picked, **QUIET)
        gr.on(picked, None, None, None, js=OUTDATE, **QUIET)
        preset = form.preset.click(self._preset, self.shown, form.question, **QUIET)
        preset.success(None, None, None, js=ASK_WHEN_READY, **QUIET)
        self.truth.input(
            self._reveal, [self.shown, self.visit, self.truth],
            [self.truth_text, *(panel.viewer for panel in self.panels)], **QUIET,
        )  # fmt: skip
        asked = [self.shown, form.question, *form.settings]
        form.make_link.click(self._query, asked, form.link, **QUIET).success(
            None, form.link, form.link, js=FULL_LINK, **QUIET
        )
        # a link to what was asked before would be taken for one to this
        edited = [part.change for part in (form.question, *form.settings)]
        begun = [self.start.click, form.preset.click, self.upload.upload, self.upload.clear, self.gallery.select]
        gr.on([*edited, *begun], None, None, form.link, js=HIDE, **QUIET)
        made = self.prepare.click(self._downloads, self.shown, self.files, **QUIET)
        made.success(None, None, None, js=SAVE_FILES, **QUIET)

    # ---- the image --------------------------------------------------------------------------------------------------
    @show_errors
    def _show_upload(self, path: str | None, visit: Visit) -> Values:
        return self._newest(visit, lambda turn: self._showing(
            choose_picture(path, None), READY, turn, upload=path
        ))  # fmt: skip

    @show_errors
    def _show_example(self, visit: Visit, event: gr.SelectData) -> Values:
        number = event.index  # from the browser: anything
        if not isinstance(number, int) or not 0 <= number < len(EXAMPLES):
            raise ValueError("There is no such example; pick one from the gallery.")
        return self._newest(visit, lambda turn: {**self._showing_example(number, turn), self.upload: None})

    def _clear(self, visit: Visit) -> Values:
        return self._newest(visit, lambda _: self._blank(EMPTY))

    def _newest(self, visit: Visit, show: Callable[[int], Values]) -> Values:
        """Return what shows an image, and nothing of it where another one was chosen meanwhile."""
        turn = visit.new_image()
        values = show(turn)
        return {**values, self.visit: visit} if turn == visit.images else {self.status: gr.skip()}

    def _showing_example(self, number: int, turn: int = 0) -> Values:
        words = f"{READY} Drawn: {EXAMPLES[number].caption}."
        return self._showing(choose_picture(None, number), words, turn, example=number)

    def _showing(
        self, picture: Picture, status: str, turn: int = 0, *, upload: str | None = None, example: int | None = None
    ) -> Values:
        """Return a new image, without any answer; an upload's name is not shown."""
        description = "Uploaded image" if example is None else f"Drawn radiograph: {EXAMPLES[example].caption}"
        value = self.panels[0].viewer.show(picture.image, description=description)
        return {
            **self._blank(status, value),
            self.shown: Shown(value, picture.name, upload, example, turn),
            self.truth: gr.Checkbox(value=False, visible=example is not None),
        }

    def _blank(self, status: str, value: ViewerPayload | None = None) -> Values:
        """Return updates that take everything about an image away; `value` is the first viewer's."""
        return {
            self.shown: None,
            self.status: status_line(status),
            self.truth: gr.Checkbox(value=False, visible=False),
            self.truth_text: gr.HTML("", visible=False),
            self.history: "",
            self.files: gr.File(None, visible=False),
            **self.panels[0].blank(value or ViewerPayload()),
            **self.panels[1].blank(ViewerPayload()),
            **self.findings.blank(),
        }

    def _reveal(self, shown: Shown | None, visit: Visit, revealed: bool) -> Values:
        """Show what was drawn, or no longer; a path that is being changed by hand stays as it is."""
        if shown is None or shown.example is None or shown.turn != visit.images:
            return {self.truth_text: gr.HTML("", visible=False)}
        visit.revealed = revealed
        words = markup.truth(shown.example) if revealed else ""
        values: Values = {self.truth_text: gr.HTML(words, visible=revealed)}
        for panel in self.panels[: max(1, len(shown.results))]:
            values[panel.viewer] = shown.payload(panel.number, revealed=revealed).model_copy(update={"beside": True})
        return values

    # ---- the question -----------------------------------------------------------------------------------------------
    @show_errors
    def _preset(self, shown: Shown | None, event: gr.EventData) -> str:
        data = event._data  # from the browser: anything
        preset = data.get("preset") if isinstance(data, dict) else None
        if not isinstance(preset, str) or len(preset) > LONGEST_QUESTION:
            raise ValueError("There is no such question; press one of those that are offered.")
        known = shown.results[0].diagnosis.finding_probabilities.items() if shown and shown.results else ()
        probabilities = {name: value for name, value in known if shown and name not in shown.silent(0)}
        earlier = [text for one in shown.exchanges() for text in (one.question, one.answer)] if shown else []
        return preset_question(preset, probabilities, earlier)

    def opened(self, visit: Visit, request: gr.Request) -> Values:
        """Return the models that there are now, and what the page's address asks for, or else an answer that was made
        beforehand; outputs are `opening`."""
        fresh = self.form.refreshed("", "")
        if not {field.name for field in fields(Asking)} & set(request.query_params):
            return fresh if visit.images else {**fresh, **self._opening()}  # an image may be chosen already
        try:
            asking = from_query(request.query_params, DEFAULT_QUESTION)
            for model in (asking.model, asking.second_model):
                self.catalogue.find(model)
        except ValueError as error:
            gr.Warning(escape(f"The link could not be used. {error}"))
            return {**fresh, **self._opening()}
        example = asking.example
        if example is None and "question" not in request.query_params:  # such as a link to an adapter
            example = example_number()
        _, _, model, *answer, second_model, second_temperature = astuple(asking)
        pickers = self.form.refreshed(model, second_model)
        _, *answer_components, _, temperature_component = self.form.settings
        return {
            **pickers,
            **dict(zip(answer_components, answer, strict=True)),
            temperature_component: "" if second_temperature is None else f"{second_temperature:g}",
            self.form.question: asking.question,
            **({} if example is None else self._showing_example(example)),
        }

    def _opening(self) -> Values:
        """Return an example with its answer; nothing where none was made for what answers first."""
        choice = self.catalogue.find("")
        opening = opening_of(choice)
        if opening is None:
            return {}
        values = self._showing_example(opening.example)
        steering = steering_of(choice.gaze, choice.name)
        asking = Asking(opening.diagnosis.question, model=choice.name)
        result = Result(
            choice.name, opening.diagnosis, opening.seconds, asking, finished=True, scores=choice.scores,
            steering=steering,
        )  # fmt: skip
        shown = values[self.shown].with_question(opening.diagnosis.question).with_result(0, result)
        panel = self.panels[0]
        return {
            **values,
            self.shown: shown,
            self.status: status_line(OPENED),
            panel.asked: markup.asked(shown.question, choice.name),
            **panel.path_values(shown, revealed=False),
            **self.findings.values(shown),
            **panel.answer_values(result),
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

    @show_errors
    def _downloads(self, shown: Shown | None) -> Any:  # noqa: ANN401 (an update of a component)
        if shown is None or not shown.results:
            raise ValueError("There is nothing to download yet; diagnose an image first.")
        picture, written = choose_picture(shown.upload, shown.example), list[Path]()
        with tempfile.TemporaryDirectory(prefix="gazevlm-") as folder:
            for number, result in enumerate(shown.results):
                record = to_record(result.so_far, shown.name, result.seconds)
                written += write_downloads(
                    Path(folder), picture.image, result.diagnosis.scanpath, record, second=number == 1,
                    how=how_of(result.asking, shown.example, result.changed_by_hand, finished=result.finished),
                    silent=shown.silent(number),
                )  # fmt: skip
            archive = zip_files(written, Path(folder) / zip_name(shown.name))
            return gr.File(save_file_to_cache(archive, self.files.GRADIO_CACHE), visible=True)
