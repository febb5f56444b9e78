"""The Diagnose tab: the page around one loaded model, and the endpoint `/diagnose`."""

import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr
from gradio.components.api_component import Api
from PIL import Image

from diagnose import markup
from diagnose.examples import thumbnails
from diagnose.link import Asking
from diagnose.page.ui import MODEL_QUEUE, QUIET, DiagnosePage, asking_of, page_error, settings_components
from diagnose.record import RECORD_SCHEMA, DiagnosisRecord, to_record
from diagnose.scores import CheckpointScores
from diagnose.service import Ask, answer_steps, choose_picture, overlay_of
from gazevlm_core.images import DEFAULT_LIMITS
from gazevlm_core.options import DiagnoseOptions, Precision
from gazevlm_core.prompt import DEFAULT_QUESTION
from gazevlm_core.records import Diagnosis

if TYPE_CHECKING:
    from gazevlm_core.inference import GazeEngine

HOUR_S, DAY_S = 3600, 86_400
# For the page's head: Gradio would rewrite the selectors of `css`, and break those with commas or media queries.
PAGE_STYLE = f"<style>{Path(__file__).with_name('page.css').read_text(encoding='utf-8')}</style>"

PRECISIONS = {
    Precision.NF4: "4 bits (NF4)",
    Precision.INT8: "8 bits",
    Precision.BF16: "16 bits (bfloat16)",
    Precision.FP32: "32 bits (float)",
}
USUAL = Asking(DEFAULT_QUESTION)

Gpu = Callable[[Ask], Ask]


def build_app(
    engine: "GazeEngine", gpu: Gpu = lambda ask: ask, scores: CheckpointScores | None = None
) -> gr.Blocks:
    """The page around one loaded model.

    Args:
        engine: answers one question at a time.
        gpu: wraps the one function that computes; on a ZeroGPU Space, `spaces.GPU(...)`.
        scores: of the model, to show beside its probabilities.
    """

    def ask(image: Image.Image, question: str, options: DiagnoseOptions) -> Generator[Diagnosis, None, None]:
        yield from engine.stream(image, question, options)

    asking = gpu(ask)
    with gr.Blocks(title="GazeVLM", analytics_enabled=False, delete_cache=(HOUR_S, DAY_S)) as page:
        gr.HTML(markup.INTRODUCTION, elem_id="introduction")
        gr.HTML(markup.notice(engine.gaze_config.trained_on), elem_id="notice")
        gr.HTML(markup.badges(engine_facts(engine)), elem_id="badges")
        body = DiagnosePage(asking, scores)
        page.load(thumbnails, None, body.gallery, **QUIET)  # drawn after the page is up, once for all visitors
        page.load(body.from_link, None, [*body.cleared, body.question, *body.settings], **QUIET)
        with gr.Row(visible=False):
            _endpoint(asking)
    page.queue(max_size=32, default_concurrency_limit=4)
    return page


def engine_facts(engine: "GazeEngine") -> dict[str, str]:
    """What a reader should know of the model that answers: name -> fact."""
    config = engine.gaze_config
    return {
        "model": engine.checkpoint.model_id,
        "adapter": engine.adapter_id or "none",
        "weights": PRECISIONS[engine.checkpoint.precision],
        "device": "GPU" if engine.model.device.type == "cuda" else "CPU",
        "gaze": "trained" if config.gaze_trained else "untrained: no path is shown",
        "findings": "trained" if config.findings_trained else "untrained: no probabilities",
    }


def launch(page: gr.Blocks) -> None:
    """Serve the page until the process ends, at GRADIO_SERVER_NAME and GRADIO_SERVER_PORT or 127.0.0.1:7860."""
    theme = gr.themes.Default(  # the reader's own fonts: nothing is fetched from elsewhere
        primary_hue="teal", neutral_hue="slate", font=["system-ui", "sans-serif"], font_mono=["monospace"]
    )
    page.launch(theme=theme, head=PAGE_STYLE, max_file_size=DEFAULT_LIMITS.max_bytes, ssr_mode=False)


def _endpoint(ask: Ask) -> None:
    """The endpoint `/diagnose`, on components that are never shown: files are checked by gr.File."""
    image = gr.File(label="image: PNG, JPEG, WebP, TIFF or DICOM")
    question = gr.Textbox(DEFAULT_QUESTION, label="question")
    record = Api(None, RECORD_SCHEMA, "record")
    overlay = gr.Image(label="overlay", format="png", type="pil")
    call = gr.Button()

    def diagnose(
        image: str,
        question: str = DEFAULT_QUESTION,
        path: str = USUAL.path,
        walks: int = USUAL.walks,
        path_temperature: float = USUAL.path_temperature,
        path_seed: int = USUAL.path_seed,
        text_temperature: float = USUAL.text_temperature,
        text_seed: int = USUAL.text_seed,
    ) -> tuple[DiagnosisRecord, Image.Image | None]:
        """Diagnose one image.

        Returns the record that `gazevlm diagnose --json` prints, and the scanpath drawn over the image at its own size
        (nothing where the model's gaze is untrained). The settings are those of the page; the same ones give the same
        answer.
        """
        start = time.perf_counter()
        try:
            settings = (path, walks, path_temperature, path_seed, text_temperature, text_seed)
            options = asking_of(None, question, settings).options()
            picture = choose_picture(image, None)
            *_, last = answer_steps(ask, picture.image, question, options)
        except ValueError as error:
            raise page_error(error) from error
        drawn = overlay_of(picture.image, last.diagnosis) if last.diagnosis.gaze_trained else None
        return to_record(last.diagnosis, picture.name, time.perf_counter() - start), drawn

    call.click(diagnose, [image, question, *settings_components()], [record, overlay], api_name="diagnose",
               concurrency_id=MODEL_QUEUE, concurrency_limit=1)
