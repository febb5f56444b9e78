"""The Diagnose page: image in, scanpath first, then streamed words; and the endpoint `/diagnose`."""

import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components.api_component import Api
from gradio.processing_utils import save_file_to_cache
from PIL import Image

from diagnose import markup
from diagnose.chart import dwell_timeline, findings_chart
from diagnose.examples import EXAMPLES, draw_example, thumbnails
from diagnose.exports import write_downloads
from diagnose.questions import PRESETS
from diagnose.record import RECORD_SCHEMA, DiagnosisRecord, to_record
from diagnose.scores import CheckpointScores
from diagnose.service import (
    LONGEST_QUESTION,
    Ask,
    Picture,
    Step,
    answer_steps,
    choose_picture,
    overlay_of,
    read_upload,
)
from diagnose.view import model_paths, picture_description, reader_path, viewer_grid
from gazevlm_core.images import DEFAULT_LIMITS
from gazevlm_core.prompt import DEFAULT_QUESTION
from gazevlm_core.records import Diagnosis
from viewer.component import ScanpathViewer
from viewer.payload import ViewerPayload

if TYPE_CHECKING:
    from gazevlm_core.inference import GazeEngine

HOUR_S, DAY_S = 3600, 86_400
MODEL_QUEUE = "model"  # one answer at a time, from the page and the endpoint together
EMPTY, READY, FAILED = "Upload an image or pick an example.", "Ready.", "That did not work; the message says why."
WAITING, LOOKING, WRITING, STOPPED = "Waiting for the model…", "Looking…", "Writing…", "Stopped."
# For the page's head: Gradio would rewrite the selectors of `css`, and break those with commas or media queries.
PAGE_STYLE = f"<style>{Path(__file__).with_name('page.css').read_text(encoding='utf-8')}</style>"

# Where the page is one column, the results lie below the button.
SHOW_RESULTS = "() => { if (innerWidth < 700) document.getElementById('status').scrollIntoView({behavior: 'smooth'}); }"
# Handlers of the page are no endpoints, and say themselves what they are doing.
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

Gpu = Callable[[Ask], Ask]


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


def build_app(
    engine: "GazeEngine", gpu: Gpu = lambda ask: ask, scores: CheckpointScores | None = None
) -> gr.Blocks:
    """The page around one loaded model.

    Args:
        engine: answers one question at a time.
        gpu: wraps the one function that computes; on a ZeroGPU Space, `spaces.GPU(...)`.
        scores: of the model, to show beside its probabilities.
    """

    def ask(image: Image.Image, question: str) -> Generator[Diagnosis, None, None]:
        yield from engine.stream(image, question)

    asking = gpu(ask)
    with gr.Blocks(title="GazeVLM", analytics_enabled=False, delete_cache=(HOUR_S, DAY_S)) as page:
        gr.HTML(markup.INTRODUCTION, elem_id="introduction")
        gr.HTML(markup.notice(engine.gaze_config.trained_on), elem_id="notice")
        body = DiagnosePage(asking, scores)
        page.load(thumbnails, None, body.gallery, **QUIET)  # drawn after the page is up, once for all visitors
        with gr.Row(visible=False):
            _endpoint(asking)
    page.queue(max_size=32, default_concurrency_limit=4)
    return page


def launch(page: gr.Blocks) -> None:
    """Serve the page until the process ends, at GRADIO_SERVER_NAME and GRADIO_SERVER_PORT or 127.0.0.1:7860."""
    theme = gr.themes.Default(  # the reader's own fonts: nothing is fetched from elsewhere
        primary_hue="teal", neutral_hue="slate", font=["system-ui", "sans-serif"], font_mono=["monospace"]
    )
    page.launch(theme=theme, head=PAGE_STYLE, max_file_size=DEFAULT_LIMITS.max_bytes, ssr_mode=False)


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
        self._connect_pictures()
        self._connect_answers()

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
        with gr.Row():
            self.start = gr.Button("Diagnose", variant="primary", elem_id="diagnose", scale=2, min_width=120)
            self.stop = gr.Button("Stop", elem_id="stop", scale=1, min_width=80, interactive=False)

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

    def _connect_pictures(self) -> None:
        uploaded = self.upload.upload(self._show_upload, self.upload, self.cleared, **QUIET)
        uploaded.failure(lambda: self._blank(FAILED), None, self.cleared, **QUIET)
        self.upload.clear(lambda: self._blank(EMPTY), None, self.cleared, **QUIET)
        self.gallery.select(self._show_example, None, [*self.cleared, self.upload], **QUIET)
        self.truth.input(self._reveal, [self.shown, self.truth], [self.viewer, self.truth_text], **QUIET)
        self.preset.input(lambda preset: PRESETS[preset], self.preset, self.question, **QUIET)
        self.prepare.click(self._downloads, self.shown, self.files, api_visibility="private")

    def _connect_answers(self) -> None:
        controls = [self.status, self.start, self.stop]
        begun = gr.on(
            [self.start.click, self.question.submit], lambda: _controls(WAITING, busy=True), None, controls,
            queue=False, js=SHOW_RESULTS, **QUIET,
        )
        running = begun.then(
            self._answers, [self.shown, self.question, self.truth],
            [self.shown, self.viewer, self.status, self.warning, self.answer, self.chart, self.timeline, self.zones,
             self.table, self.files],
            concurrency_id=MODEL_QUEUE, concurrency_limit=1, **QUIET,
        )  # fmt: skip
        running.success(lambda: _controls(None, busy=False), None, controls, queue=False, **QUIET)
        running.failure(lambda: _controls(FAILED, busy=False), None, controls, queue=False, **QUIET)
        self.stop.click(
            lambda: _controls(STOPPED, busy=False), None, controls, cancels=running, queue=False, **QUIET
        )

    # ---- handlers ---------------------------------------------------------------------------------------------------
    def _show_upload(self, path: str) -> tuple[Any, ...]:
        try:
            picture = read_upload(path)
        except ValueError as error:
            raise _page_error(error) from error
        return self._showing(picture, READY, upload=path)

    def _show_example(self, event: gr.SelectData) -> tuple[Any, ...]:
        number = event.index  # from the browser: anything
        if not isinstance(number, int) or not 0 <= number < len(EXAMPLES):
            raise gr.Error("There is no such example; pick one from the gallery.", print_exception=False)
        picture = Picture(f"example: {EXAMPLES[number].caption}", draw_example(number))
        return *self._showing(picture, f"{READY} Drawn: {EXAMPLES[number].caption}.", example=number), None

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
        self, shown: Shown | None, question: str, revealed: bool
    ) -> Generator[tuple[Any, ...], None, None]:
        """First the path, then the words; values of the outputs of `running`."""
        skip = gr.skip()
        try:
            picture = choose_picture(shown.upload if shown else None, shown.example if shown else None)
            assert shown is not None  # or there would be no picture
            value = shown.value.model_copy(update={"paths": [], "autoplay": False})
            hidden = gr.update(value=None, visible=False)
            yield skip, value, markup.status(LOOKING), "", "", None, hidden, "", "", hidden
            with closing(answer_steps(self.ask, picture.image, question)) as steps:
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
        except ValueError as error:
            raise _page_error(error) from error

    def _downloads(self, shown: Shown | None) -> Any:  # noqa: ANN401 (an update of a component)
        if shown is None or shown.diagnosis is None:
            raise gr.Error("There is nothing to download yet; diagnose an image first.", print_exception=False)
        record = to_record(shown.diagnosis, shown.name, shown.seconds)
        try:
            picture = choose_picture(shown.upload, shown.example)
        except ValueError as error:
            raise _page_error(error) from error
        with tempfile.TemporaryDirectory(prefix="gazevlm-") as folder:
            written = write_downloads(Path(folder), picture.image, shown.diagnosis.scanpath, record)
            cached = [save_file_to_cache(path, self.files.GRADIO_CACHE) for path in written]
        return gr.File(cached, visible=True)


def _timeline(diagnosis: Diagnosis) -> Any:  # noqa: ANN401 (an update of a component)
    figure = dwell_timeline(diagnosis.scanpath) if diagnosis.scanpath else None
    return gr.Plot(figure, visible=figure is not None)


def _controls(text: str | None, *, busy: bool) -> tuple[Any, ...]:
    """Status line (None leaves it), Diagnose button and Stop button."""
    line = gr.skip() if text is None else markup.status(text)
    return line, gr.Button(interactive=not busy), gr.Button(interactive=busy)


def _progress(step: Step) -> str:
    return f"Done in {step.seconds:.1f} s." if step.finished else WRITING


def _page_error(error: ValueError) -> gr.Error:
    # The text is shown as HTML; no traceback, since nothing is wrong with the program.
    return gr.Error(markup.escape(str(error)), duration=None, print_exception=False)


def _endpoint(ask: Ask) -> None:
    """The endpoint `/diagnose`, on components that are never shown: files are checked by gr.File."""
    image = gr.File(label="image: PNG, JPEG, WebP, TIFF or DICOM")
    question = gr.Textbox(DEFAULT_QUESTION, label="question")
    record = Api(None, RECORD_SCHEMA, "record")
    overlay = gr.Image(label="overlay", format="png", type="pil")
    call = gr.Button()

    def diagnose(image: str, question: str = DEFAULT_QUESTION) -> tuple[DiagnosisRecord, Image.Image | None]:
        """Diagnose one image.

        Returns the record that `gazevlm diagnose --json` prints, and the scanpath drawn over the image at its own size
        (nothing where the model's gaze is untrained).
        """
        start = time.perf_counter()
        try:
            picture = choose_picture(image, None)
            *_, last = answer_steps(ask, picture.image, question)
        except ValueError as error:
            raise _page_error(error) from error
        drawn = overlay_of(picture.image, last.diagnosis) if last.diagnosis.gaze_trained else None
        return to_record(last.diagnosis, picture.name, time.perf_counter() - start), drawn

    call.click(diagnose, [image, question], [record, overlay], api_name="diagnose", concurrency_id=MODEL_QUEUE,
               concurrency_limit=1)
