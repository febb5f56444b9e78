"""The endpoints `/diagnose` and `/models` of the page, for programs and as MCP tools."""

import time
from dataclasses import replace
from typing import Any

import gradio as gr
from gradio.components.api_component import Api
from PIL import Image

from diagnose.catalogue import Catalogue
from diagnose.record import MODELS_SCHEMA, RECORD_SCHEMA, DiagnosisRecord, ModelRecord, model_records, to_record
from diagnose.service import answer_steps, choose_picture, overlay_of
from diagnose.tab.form import USUAL, answer_settings, asking_of
from gazevlm_core.options import DEFAULT_QUESTION
from gazevlm_core.scanpath import LONGEST_DWELL_MS, Fixation, fixations_at
from web.blocks import MODEL_QUEUE
from web.models import Ask
from web.page import page_error

# Of all three numbers: by `prefixItems` clients of Gradio would take the whole path for one tuple.
_NUMBER = {"anyOf": [{"type": "number", "minimum": 0, "maximum": LONGEST_DWELL_MS}, {"type": "null"}]}
PLACES_SCHEMA: dict[str, Any] = {
    "type": "array", "items": {"type": "array", "items": _NUMBER, "minItems": 2, "maxItems": 3},
}  # fmt: skip


def add_endpoints(catalogue: Catalogue, ask: Ask) -> None:
    """Add both, on components that are never shown."""
    _diagnose_endpoint(catalogue, ask)
    _models_endpoint(catalogue)


def _diagnose_endpoint(catalogue: Catalogue, ask: Ask) -> None:
    """The endpoint `/diagnose`; files are checked by gr.File."""
    image = gr.File(label="image: PNG, JPEG, WebP, TIFF or DICOM")
    question = gr.Textbox(DEFAULT_QUESTION, label="question")
    model = gr.Textbox(USUAL.model, label="model: a name from /models; empty for the usual one")
    places = {**PLACES_SCHEMA, "maxItems": _longest_path(catalogue)}
    look_at = Api([], places, "look_at: places (x, y, ms) that are the whole path, in the model's stead")
    begin_at = Api([], places, "begin_at: places (x, y, ms) that the path begins with")
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
        look_at: list[list[float]] | None = None,
        begin_at: list[list[float]] | None = None,
    ) -> tuple[DiagnosisRecord, Image.Image | None]:
        """Diagnose one image.

        Returns the record that `gazevlm diagnose --json` prints, and the scanpath drawn over the image at its own size
        (nothing where the model's gaze is untrained). The settings are those of the page; the same ones give the same
        answer. Places are x and y, fractions of the upright image from its upper left corner, and may have a third
        number, how long they are looked at in ms: those without are seen closely first. The answer of a model with
        glimpses follows from them; the notes of the record say where it does not.
        """
        start = time.perf_counter()
        try:
            most = _longest_path(catalogue)
            settings = (model, path, walks, path_temperature, path_seed, text_temperature, text_seed)
            options = replace(
                asking_of(None, question, settings).options(),
                look_at=_places(look_at, "look_at", most), begin_at=_places(begin_at, "begin_at", most),
            )  # fmt: skip
            picture = choose_picture(image, None)
            *_, last = answer_steps(ask, model, picture.image, question, options)
        except ValueError as error:
            raise page_error(error) from error
        drawn = overlay_of(picture.image, last.diagnosis) if last.diagnosis.gaze_trained else None
        return to_record(last.diagnosis, picture.name, time.perf_counter() - start), drawn

    call.click(diagnose, [image, question, model, *answer_settings(), look_at, begin_at], [record, overlay],
               api_name="diagnose", concurrency_id=MODEL_QUEUE, concurrency_limit=1)


def _longest_path(catalogue: Catalogue) -> int:
    """Return steps of the longest path that anything here can take; an adapter may come that takes more."""
    return max(choice.gaze.num_gaze_tokens for choice in catalogue.choices().values())


def _places(places: object, name: str, most: int) -> tuple[Fixation, ...]:
    """Return places of a path from a program; none where it gave nothing.

    Raises:
        ValueError: what is wrong, in one sentence.
    """
    given = [] if places is None else places
    if not isinstance(given, list):
        raise ValueError(f"{name} must be a list of places [x, y] or [x, y, ms]; change it.")
    if len(given) > most:
        raise ValueError(f"{name} has {len(given)} places, and a path at most {most}; give fewer.")
    try:
        return fixations_at(given)
    except ValueError as error:
        raise ValueError(f"{name}: {error}.") from None


def _models_endpoint(catalogue: Catalogue) -> None:
    """The endpoint `/models`."""

    def models() -> list[ModelRecord]:
        """What can answer: models and adapters by the name that `/diagnose` takes, the usual one first."""
        return model_records(catalogue.choices().values())

    gr.Button().click(models, None, Api(None, MODELS_SCHEMA, "models"), api_name="models")
