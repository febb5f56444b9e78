"""The Diagnose tab: the page around the loaded models, and the endpoints `/diagnose` and `/models`."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components.api_component import Api
from PIL import Image

from diagnose import markup
from diagnose.catalogue import Catalogue
from diagnose.examples import thumbnails
from diagnose.form.ui import USUAL, answer_settings, asking_of
from diagnose.page.ui import MODEL_QUEUE, QUIET, DiagnosePage, page_error
from diagnose.record import MODELS_SCHEMA, RECORD_SCHEMA, DiagnosisRecord, ModelRecord, model_records, to_record
from diagnose.service import Ask, answer_steps, choose_picture, overlay_of
from gazevlm_core.images import DEFAULT_LIMITS
from gazevlm_core.prompt import DEFAULT_QUESTION

HOUR_S, DAY_S = 3600, 86_400
# For the page's head: Gradio would rewrite the selectors of `css`, and break those with commas or media queries.
PAGE_STYLE = f"<style>{Path(__file__).with_name('page.css').read_text(encoding='utf-8')}</style>"
PAGE_SCRIPT = f"<script>{Path(__file__).with_name('page.js').read_text(encoding='utf-8')}</script>"

Gpu = Callable[[Ask], Ask]


def build_app(
    catalogue: Catalogue, gpu: Gpu = lambda ask: ask, further: Mapping[str, Callable[[Ask], object]] | None = None
) -> gr.Blocks:
    """The page around the loaded models.

    Args:
        catalogue: what can answer, one question at a time.
        gpu: wraps the one function that computes; on a ZeroGPU Space, `spaces.GPU(...)`.
        further: other tabs: name -> what fills it, given the function that computes.
    """
    ask = gpu(catalogue.ask)
    with gr.Blocks(title="GazeVLM", analytics_enabled=False, delete_cache=(HOUR_S, DAY_S)) as page:
        gr.HTML(markup.INTRODUCTION, elem_id="introduction")
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Diagnose"):
                body = DiagnosePage(catalogue, ask)
            for name, fill in (further or {}).items():
                with gr.Tab(name):
                    fill(ask)
        page.load(thumbnails, None, body.gallery, **QUIET)  # drawn after the page is up, once for all visitors
        page.load(body.opened, None, body.opening, **QUIET)
        with gr.Row(visible=False):
            _diagnose_endpoint(ask)
            _models_endpoint(catalogue)
    page.queue(max_size=32, default_concurrency_limit=4)
    return page


def launch_options(head: str = "") -> dict[str, Any]:
    """How the page is served: what it looks like, and the largest upload. No folder of the server is opened to it.

    Args:
        head: styles of further tabs, for the page's `<head>`.
    """
    theme = gr.themes.Default(  # the reader's own fonts: nothing is fetched from elsewhere
        primary_hue="teal", neutral_hue="slate", font=["system-ui", "sans-serif"], font_mono=["monospace"]
    )
    head = PAGE_STYLE + PAGE_SCRIPT + head
    return {"theme": theme, "head": head, "max_file_size": DEFAULT_LIMITS.max_bytes, "ssr_mode": False}


def launch(page: gr.Blocks, *, mcp: bool = False, head: str = "") -> None:
    """Serve the page until the process ends, at GRADIO_SERVER_NAME and GRADIO_SERVER_PORT or 127.0.0.1:7860.

    Args:
        page: from `build_app`.
        mcp: whether the endpoints are MCP tools too.
        head: as in `launch_options`.
    """
    page.launch(**launch_options(head), mcp_server=mcp)


def _diagnose_endpoint(ask: Ask) -> None:
    """The endpoint `/diagnose`, on components that are never shown: files are checked by gr.File."""
    image = gr.File(label="image: PNG, JPEG, WebP, TIFF or DICOM")
    question = gr.Textbox(DEFAULT_QUESTION, label="question")
    model = gr.Textbox(USUAL.model, label="model: a name from /models; empty for the usual one")
    record = Api(None, RECORD_SCHEMA, "record")
    overlay = gr.Image(label="overlay", format="png", type="pil")
    call = gr.Button()

    def diagnose(
        image: str,
        question: str = DEFAULT_QUESTION,
        model: str = USUAL.model,
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
            settings = (model, path, walks, path_temperature, path_seed, text_temperature, text_seed)
            options = asking_of(None, question, settings).options()
            picture = choose_picture(image, None)
            *_, last = answer_steps(ask, model, picture.image, question, options)
        except ValueError as error:
            raise page_error(error) from error
        drawn = overlay_of(picture.image, last.diagnosis) if last.diagnosis.gaze_trained else None
        return to_record(last.diagnosis, picture.name, time.perf_counter() - start), drawn

    call.click(diagnose, [image, question, model, *answer_settings()], [record, overlay], api_name="diagnose",
               concurrency_id=MODEL_QUEUE, concurrency_limit=1)


def _models_endpoint(catalogue: Catalogue) -> None:
    """The endpoint `/models`."""

    def models() -> list[ModelRecord]:
        """What can answer: models and adapters by the name that `/diagnose` takes, the usual one first."""
        return model_records(catalogue.choices().values())

    gr.Button().click(models, None, Api(None, MODELS_SCHEMA, "models"), api_name="models")
