"""The Diagnose page: image in, scanpath first, then streamed words; and the endpoint `/diagnose`."""

import time
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components.api_component import Api
from PIL import Image

from diagnose import markup
from diagnose.chart import findings_chart
from diagnose.examples import EXAMPLE_CASES, draw_example
from diagnose.record import RECORD_SCHEMA, DiagnosisRecord, to_record
from diagnose.service import (
    LONGEST_QUESTION,
    Ask,
    Step,
    answer_steps,
    choose_picture,
    for_display,
    overlay_of,
    read_upload,
)
from gazevlm_core.images import DEFAULT_LIMITS
from gazevlm_core.prompt import DEFAULT_QUESTION
from gazevlm_core.records import Diagnosis

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


def build_app(engine: "GazeEngine", gpu: Gpu = lambda ask: ask) -> gr.Blocks:
    """The page around one loaded model.

    Args:
        engine: answers one question at a time.
        gpu: wraps the one function that computes; on a ZeroGPU Space, `spaces.GPU(...)`.
    """

    def ask(image: Image.Image, question: str) -> Generator[Diagnosis, None, None]:
        yield from engine.stream(image, question)

    asking = gpu(ask)
    with gr.Blocks(title="GazeVLM", analytics_enabled=False, delete_cache=(HOUR_S, DAY_S)) as page:
        gr.HTML(markup.INTRODUCTION, elem_id="introduction")
        gr.HTML(markup.notice(engine.gaze_config.trained_on), elem_id="notice")
        _page_body(asking)
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


def _page_body(ask: Ask) -> None:
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            upload = gr.File(label="PNG, JPEG, WebP, TIFF or DICOM", height=150, elem_id="upload")
            gallery = gr.Gallery(
                [(draw_example(case), case.caption) for case in EXAMPLE_CASES],
                label="or a drawn example", columns=3, allow_preview=False, interactive=False, height="auto",
                object_fit="contain", buttons=[], elem_id="examples",
            )
            question = gr.Textbox(DEFAULT_QUESTION, label="Question", lines=2, max_length=LONGEST_QUESTION,
                                  elem_id="question")
            with gr.Row():
                start = gr.Button("Diagnose", variant="primary", elem_id="diagnose", scale=2, min_width=120)
                stop = gr.Button("Stop", elem_id="stop", scale=1, min_width=80, interactive=False)
        with gr.Column(scale=3, min_width=280):
            status = gr.HTML(markup.status(EMPTY), elem_id="status")
            picture = gr.Image(label="Where the model looks, in order", interactive=False, format="png",
                               buttons=["download", "fullscreen"], elem_id="picture",
                               alt_text="The radiograph, with numbered fixations once it was diagnosed")
            answer = gr.Textbox(label="Answer", lines=3, max_lines=16, interactive=False, buttons=["copy"],
                                elem_id="answer")
            chart = gr.Plot(label="Findings: probability", elem_id="chart")
            table = gr.HTML(elem_id="scanpath")
    example = gr.State(None)
    results = [answer, chart, table]

    cleared = [picture, status, example, *results]
    shown = upload.upload(_show_upload, upload, cleared, **QUIET)
    shown.failure(lambda: _blank(FAILED), None, cleared, **QUIET)
    upload.clear(lambda: _blank(EMPTY), None, cleared, **QUIET)
    gallery.select(_show_example, None, [*cleared, upload], **QUIET)

    def show_answer(path: str | None, chosen: int | None, text: str) -> Generator[tuple[Any, ...], None, None]:
        yield from _page_updates(ask, path, chosen, text)

    controls = [status, start, stop]
    begun = gr.on(
        [start.click, question.submit], lambda: _controls(WAITING, busy=True), None, controls, queue=False,
        js=SHOW_RESULTS, **QUIET,
    )
    running = begun.then(
        show_answer, [upload, example, question], [picture, status, *results],
        concurrency_id=MODEL_QUEUE, concurrency_limit=1, **QUIET,
    )
    running.success(lambda: _controls(None, busy=False), None, controls, queue=False, **QUIET)
    running.failure(lambda: _controls(FAILED, busy=False), None, controls, queue=False, **QUIET)
    stop.click(lambda: _controls(STOPPED, busy=False), None, controls, cancels=running, queue=False, **QUIET)


def _controls(text: str | None, *, busy: bool) -> tuple[Any, ...]:
    """Status line (None leaves it), Diagnose button and Stop button."""
    line = gr.skip() if text is None else markup.status(text)
    return line, gr.Button(interactive=not busy), gr.Button(interactive=busy)


def _page_updates(
    ask: Ask, path: str | None, chosen: int | None, question: str
) -> Generator[tuple[Any, ...], None, None]:
    """Values of picture, status, answer, chart and table: first the path, then the words."""
    skip = gr.skip()
    try:
        chosen_picture = choose_picture(path, chosen)
        shown = for_display(chosen_picture.image)
        yield shown, markup.status(LOOKING), "", None, ""
        with closing(answer_steps(ask, chosen_picture.image, question)) as steps:
            first = next(steps).diagnosis
            findings, path_table = findings_chart(first.finding_probabilities), markup.fixation_table(first)
            yield overlay_of(shown, first), markup.status(WRITING), "", findings, path_table
            for step in steps:
                yield skip, markup.status(_progress(step)), step.diagnosis.answer, skip, skip
    except ValueError as error:
        raise _page_error(error) from error


def _progress(step: Step) -> str:
    return f"Done in {step.seconds:.1f} s." if step.finished else WRITING


def _page_error(error: ValueError) -> gr.Error:
    # The text is shown as HTML; no traceback, since nothing is wrong with the program.
    return gr.Error(markup.escape(str(error)), duration=None, print_exception=False)


def _show_upload(path: str) -> tuple[Any, ...]:
    try:
        image = read_upload(path).image
    except ValueError as error:
        raise _page_error(error) from error
    return for_display(image), *_blank(READY)[1:]


def _show_example(event: gr.SelectData) -> tuple[Any, ...]:
    case = EXAMPLE_CASES[event.index]
    _, _, _, *results = _blank(READY)
    return draw_example(case), markup.status(f"{READY} Drawn: {case.caption}."), event.index, *results, None


def _blank(text: str) -> tuple[Any, ...]:
    """Values of picture, status, example, answer, chart and table where nothing was answered yet."""
    return None, markup.status(text), None, "", None, ""


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
