"""The components of the Diagnose page, and what happens between them."""

import tempfile
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.processing_utils import save_file_to_cache

from diagnose import markup
from diagnose.chart import dwell_timeline, findings_chart
from diagnose.examples import EXAMPLES, draw_example
from diagnose.exports import write_downloads
from diagnose.link import HOTTEST, LARGEST_SEED, MOST_WALKS, Asking, from_query, to_query
from diagnose.questions import PRESETS
from diagnose.record import to_record
from diagnose.scores import CheckpointScores
from diagnose.service import LONGEST_QUESTION, Ask, Picture, Step, answer_steps, choose_picture, read_upload
from diagnose.view import model_paths, picture_description, reader_path, viewer_grid
from gazevlm_core.options import PathChoice
from gazevlm_core.prompt import DEFAULT_QUESTION
from gazevlm_core.records import Diagnosis
from viewer.component import ScanpathViewer
from viewer.payload import ViewerPayload

if TYPE_CHECKING:
    from gradio.events import Dependency

MODEL_QUEUE = "model"  # one answer at a time, from the page and the endpoint together
EMPTY, READY, FAILED = "Upload an image or pick an example.", "Ready.", "That did not work; the message says why."
WAITING, LOOKING, WRITING, STOPPED = "Waiting for the model…", "Looking…", "Writing…", "Stopped."

# Where the page is one column, the results lie below the button.
SHOW_RESULTS = "() => { if (innerWidth < 700) document.getElementById('status').scrollIntoView({behavior: 'smooth'}); }"
WHOLE_LINK = "query => `${location.origin}${location.pathname}?${query}`"
# Handlers of the page are no endpoints, and say themselves what they are doing.
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


@dataclass(frozen=True, eq=False)
class Shown:
    """What one visitor's page shows; kept on the server between events.

    Args:
        value: of the viewer, without any truth.
        name: of the image, for the record.
        upload: path of the uploaded file, or None.
        example: number of the example, or None.
        diagnosis: the latest, or None.
        seconds: until its last word.
    """

    value: ViewerPayload
    name: str
    upload: str | None = None
    example: int | None = None
    diagnosis: Diagnosis | None = None
    seconds: float = 0.0

    def with_truth(self, revealed: bool) -> ViewerPayload:
        """The viewer's value, with the simulated reader's path beside the model's where the truth is revealed."""
        if not revealed or self.example is None:
            return self.value
        paths = [*self.value.paths, reader_path(self.example)]
        return self.value.model_copy(update={"paths": paths, "autoplay": False})


def settings_components() -> list[gr.components.Component]:
    """One component per setting of `Asking` that decides an answer, in its order."""
    usual = Asking(DEFAULT_QUESTION)
    whole: dict[str, Any] = {"precision": 0, "minimum": 0, "maximum": LARGEST_SEED}
    return [
        gr.Radio(list(PathChoice), value=usual.path, label="Path: most typical walk, most likely steps, one walk"),
        gr.Slider(1, MOST_WALKS, usual.walks, step=1, label="Walks behind the most typical one"),
        gr.Slider(0, HOTTEST, usual.path_temperature, step=0.05, label="Temperature of the walks"),
        gr.Number(usual.path_seed, label="Seed of the walks", **whole),
        gr.Slider(0, HOTTEST, usual.text_temperature, step=0.05, label="Temperature of the words; 0 is greedy"),
        gr.Number(usual.text_seed, label="Seed of the words", **whole),
    ]


class DiagnosePage:
    """The components of the page, inside a `gr.Blocks`, and what happens between them.

    Args:
        ask: image and question in; path, then growing answers.
        scores: of the model, or None.
    """

    def __init__(self, ask: Ask, scores: CheckpointScores | None) -> None:
        self.ask, self.scores = ask, scores
        with gr.Row():
            with gr.Column(scale=2, min_width=280):
                self._questions()
            with gr.Column(scale=3, min_width=280):
                self._results()
        self.shown = gr.State(None)
        self.cleared = [
            self.viewer, self.status, self.shown, self.truth, self.truth_text, self.warning, self.answer, self.chart,
            self.timeline, self.zones, self.table, self.files,
        ]  # fmt: skip
        self.controls = [self.status, self.start, self.stop]
        running = self._connect_answers()
        self._connect_pictures(running)
        self._connect_rest()

    def _questions(self) -> None:
        self.upload = gr.File(label="PNG, JPEG, WebP, TIFF or DICOM", height=150, elem_id="upload")
        self.gallery = gr.Gallery(
            label="or a drawn example", columns=4, height=300, allow_preview=False, interactive=False,
            object_fit="cover", buttons=[], elem_id="examples",
        )
        self.preset = gr.Dropdown(list(PRESETS), label="Ask for", value=next(iter(PRESETS)), elem_id="preset")
        self.question = gr.Textbox(
            DEFAULT_QUESTION, label="Question", lines=2, max_length=LONGEST_QUESTION, elem_id="question"
        )
        with gr.Accordion("Settings", open=False, elem_id="settings"):
            self._settings()
        with gr.Row():
            self.start = gr.Button("Diagnose", variant="primary", elem_id="diagnose", scale=2, min_width=120)
            self.stop = gr.Button("Stop", elem_id="stop", scale=1, min_width=80, interactive=False)

    def _settings(self) -> None:
        second = gr.Number(
            None, label="Temperature of a second path, to compare (empty: none)", minimum=0, maximum=HOTTEST,
            elem_id="second",
        )  # fmt: skip
        self.settings = [*settings_components(), second]
        self.make_link = gr.Button("Make a link to this", elem_id="make-link", size="sm")
        self.link = gr.Textbox(
            label="Link", info="Holds the question, the settings and a drawn example; an upload is not part of it.",
            interactive=False, visible=False, buttons=["copy"], elem_id="link",
        )  # fmt: skip

    def _results(self) -> None:
        self.status = gr.HTML(markup.status(EMPTY), elem_id="status")
        self.warning = gr.HTML(elem_id="warning")
        self.viewer = ScanpathViewer(elem_id="viewer")
        self.truth = gr.Checkbox(label="Reveal what was drawn", visible=False, elem_id="truth")
        self.truth_text = gr.HTML(visible=False, elem_id="truth-text")
        self.answer = gr.Textbox(
            label="Answer", lines=3, max_lines=16, interactive=False, buttons=["copy"], elem_id="answer"
        )
        self.chart = gr.Plot(label="Findings: probability", elem_id="chart")
        gr.HTML(markup.chart_note(self.scores), elem_id="chart-note")
        self.timeline = gr.Plot(label="Dwell of each fixation", elem_id="timeline", visible=False)
        self.zones = gr.HTML(elem_id="zones")
        self.table = gr.HTML(elem_id="scanpath")
        with gr.Accordion("Downloads", open=False, elem_id="downloads"):
            self.prepare = gr.Button("Make the files", elem_id="prepare")
            self.files = gr.File(
                label="Overlay (PNG), replays (WebP, GIF), record (JSON), fixations (CSV)", file_count="multiple",
                interactive=False, visible=False, elem_id="files",
            )

    def _connect_answers(self) -> "Dependency":
        """The Diagnose and Stop buttons; returns the event that another image must cancel."""
        controls = self.controls
        begun = gr.on(
            [self.start.click, self.question.submit], lambda: _controls(WAITING, busy=True), None, controls,
            queue=False, js=SHOW_RESULTS, **QUIET,
        )
        running = begun.then(
            self._answers, [self.shown, self.truth, self.question, *self.settings],
            [self.shown, self.viewer, self.status, self.warning, self.answer, self.chart, self.timeline, self.zones,
             self.table, self.files],
            concurrency_id=MODEL_QUEUE, concurrency_limit=1, **QUIET,
        )  # fmt: skip
        running.success(lambda: _controls(None, busy=False), None, controls, queue=False, **QUIET)
        running.failure(lambda: _controls(FAILED, busy=False), None, controls, queue=False, **QUIET)
        self.stop.click(
            lambda: _controls(STOPPED, busy=False), None, controls, cancels=running, queue=False, **QUIET
        )
        return running

    def _connect_pictures(self, running: "Dependency") -> None:
        """Another image stops the answer about the last one, and frees the buttons."""
        for happening in (self.upload.upload, self.upload.clear, self.gallery.select):
            happening(None, None, None, cancels=running, **QUIET)
        uploaded = self.upload.upload(self._show_upload, self.upload, self.cleared, **QUIET)
        uploaded.failure(lambda: self._blank(FAILED), None, self.cleared, **QUIET)
        removed = self.upload.clear(lambda: self._blank(EMPTY), None, self.cleared, **QUIET)
        chosen = self.gallery.select(self._show_example, None, [*self.cleared, self.upload], **QUIET)
        for event in (uploaded, removed, chosen):
            event.then(lambda: _controls(None, busy=False), None, self.controls, queue=False, **QUIET)

    def _connect_rest(self) -> None:
        self.truth.input(self._reveal, [self.shown, self.truth], [self.viewer, self.truth_text], **QUIET)
        self.preset.input(lambda preset: PRESETS.get(preset, DEFAULT_QUESTION), self.preset, self.question, **QUIET)
        asked = [self.shown, self.question, *self.settings]
        self.make_link.click(self._query, asked, self.link, **QUIET).success(None, self.link, self.link, js=WHOLE_LINK)
        self.prepare.click(self._downloads, self.shown, self.files, api_visibility="private")

    # ---- handlers ---------------------------------------------------------------------------------------------------
    def _show_upload(self, path: str) -> tuple[Any, ...]:
        try:
            picture = read_upload(path)
        except ValueError as error:
            raise page_error(error) from error
        return self._showing(picture, READY, upload=path)

    def _show_example(self, event: gr.SelectData) -> tuple[Any, ...]:
        number = event.index  # from the browser: anything
        if not isinstance(number, int) or not 0 <= number < len(EXAMPLES):
            raise gr.Error("There is no such example; pick one from the gallery.", print_exception=False)
        return *self._showing_example(number), None

    def from_link(self, request: gr.Request) -> list[Any]:
        """Values of `cleared`, question and settings, as the page's address asks for them."""
        outputs = len(self.cleared) + 1 + len(self.settings)
        known = {field.name for field in fields(Asking)} & set(request.query_params)
        if not known:
            return [gr.skip()] * outputs
        try:
            asking = from_query(request.query_params, DEFAULT_QUESTION)
        except ValueError as error:
            gr.Warning(markup.escape(f"The link could not be used. {error}"))
            return [gr.skip()] * outputs
        picture: list[Any] = [gr.skip()] * len(self.cleared)
        if asking.example is not None:
            picture = self._showing_example(asking.example)
        return [*picture, asking.question, *list(astuple(asking))[2:]]

    @staticmethod
    def _query(shown: Shown | None, question: str, *settings: Any) -> Any:  # noqa: ANN401 (an update of a component)
        try:
            return gr.Textbox(to_query(asking_of(shown.example if shown else None, question, settings)), visible=True)
        except ValueError as error:
            raise page_error(error) from error

    def _showing_example(self, number: int) -> list[Any]:
        picture = Picture(f"example: {EXAMPLES[number].caption}", draw_example(number))
        return [*self._showing(picture, f"{READY} Drawn: {EXAMPLES[number].caption}.", example=number)]

    def _showing(
        self, picture: Picture, status: str, *, upload: str | None = None, example: int | None = None
    ) -> tuple[Any, ...]:
        """Values of `cleared` for a new image."""
        value = self.viewer.show(picture.image, description=picture_description(example))
        shown = Shown(value, picture.name, upload, example)
        _, _, _, _, *rest = self._blank(status)
        return value, markup.status(status), shown, gr.Checkbox(value=False, visible=example is not None), *rest

    @staticmethod
    def _blank(status: str) -> tuple[Any, ...]:
        """Values of `cleared` where there is no image."""
        hidden = gr.update(value=None, visible=False)
        return (
            ViewerPayload(), markup.status(status), None, gr.Checkbox(value=False, visible=False),
            gr.HTML("", visible=False), "", "", None, hidden, "", "", hidden,
        )  # fmt: skip

    @staticmethod
    def _reveal(shown: Shown | None, revealed: bool) -> tuple[Any, Any]:
        if shown is None or shown.example is None:
            return gr.skip(), gr.HTML("", visible=False)
        words = markup.truth(shown.example) if revealed else ""
        return shown.with_truth(revealed), gr.HTML(words, visible=revealed)

    def _answers(
        self, shown: Shown | None, revealed: bool, question: str, *settings: Any
    ) -> Generator[tuple[Any, ...], None, None]:
        """First the path, then the words; values of the outputs of `running`."""
        skip = gr.skip()
        try:
            picture = choose_picture(shown.upload if shown else None, shown.example if shown else None)
            asking = asking_of(None, question, settings)
            options = asking.options()
            assert shown is not None  # or there would be no picture
            value = shown.value.model_copy(update={"paths": [], "autoplay": False})
            hidden = gr.update(value=None, visible=False)
            yield skip, value, markup.status(LOOKING), "", "", None, hidden, "", "", hidden
            with closing(answer_steps(self.ask, picture.image, question, options)) as steps:
                first = next(steps).diagnosis
                value = value.model_copy(
                    update={"paths": model_paths(first), "grid": viewer_grid(first), "autoplay": True}
                )
                shown = Shown(value, picture.name, shown.upload, shown.example, first)
                yield (
                    shown, shown.with_truth(revealed), markup.status(WRITING), markup.warning(first), "",
                    findings_chart(first.finding_probabilities, self.scores), _timeline(first),
                    markup.zone_table(first), markup.fixation_table(first), skip,
                )  # fmt: skip
                for step in steps:
                    shown = Shown(value, picture.name, shown.upload, shown.example, step.diagnosis, step.seconds)
                    yield shown, skip, markup.status(_progress(step)), skip, step.diagnosis.answer, *[skip] * 5
            if asking.second_temperature is not None and first.scanpath is not None:
                shown = replace(shown, value=self._compared(shown, picture, asking))
                yield shown, shown.with_truth(revealed), *[skip] * 8
        except ValueError as error:
            raise page_error(error) from error

    def _compared(self, shown: Shown, picture: Picture, asking: Asking) -> ViewerPayload:
        """The viewer's value with the path of the second temperature beside the first; the pass is run once more."""
        options = replace(asking.options(), path_temperature=float(asking.second_temperature or 0))
        with closing(self.ask(picture.image, asking.question, options)) as records:
            other = next(records)
        first = shown.value.paths[0].model_copy(update={"name": f"Temperature {asking.path_temperature:g}"})
        name = f"Temperature {options.path_temperature:g}"
        return shown.value.model_copy(update={"paths": [first, *model_paths(other, name, "second model")]})

    def _downloads(self, shown: Shown | None) -> Any:  # noqa: ANN401 (an update of a component)
        if shown is None or shown.diagnosis is None:
            raise gr.Error("There is nothing to download yet; diagnose an image first.", print_exception=False)
        record = to_record(shown.diagnosis, shown.name, shown.seconds)
        try:
            picture = choose_picture(shown.upload, shown.example)
        except ValueError as error:
            raise page_error(error) from error
        with tempfile.TemporaryDirectory(prefix="gazevlm-") as folder:
            written = write_downloads(Path(folder), picture.image, shown.diagnosis.scanpath, record)
            cached = [save_file_to_cache(path, self.files.GRADIO_CACHE) for path in written]
        return gr.File(cached, visible=True)


def asking_of(example: int | None, question: str, settings: Sequence[Any]) -> Asking:
    """Checked values of a question and of the settings, all or the first of them.

    Raises:
        ValueError: what is wrong, in one sentence.
    """
    names = [field.name for field in fields(Asking)][2 : 2 + len(settings)]
    # a slider's whole numbers may come as floats
    whole: list[Any] = [int(value) if isinstance(value, float) and value.is_integer() else value for value in settings]
    return Asking(question, example, **dict(zip(names, whole, strict=True)))


def _timeline(diagnosis: Diagnosis) -> Any:  # noqa: ANN401 (an update of a component)
    figure = dwell_timeline(diagnosis.scanpath) if diagnosis.scanpath else None
    return gr.Plot(figure, visible=figure is not None)


def _controls(text: str | None, *, busy: bool) -> tuple[Any, ...]:
    """Status line (None leaves it), Diagnose button and Stop button."""
    line = gr.skip() if text is None else markup.status(text)
    return line, gr.Button(interactive=not busy), gr.Button(interactive=busy)


def _progress(step: Step) -> str:
    return f"Done in {step.seconds:.1f} s." if step.finished else WRITING


def page_error(error: ValueError) -> gr.Error:
    """What the user sees of a bad input."""
    # The text is shown as HTML; no traceback, since nothing is wrong with the program.
    return gr.Error(markup.escape(str(error)), duration=None, print_exception=False)
