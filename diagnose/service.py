"""What the Diagnose page does, without the page: images, and the steps of one answer."""

import math
import os
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass

from PIL import Image

from diagnose.examples import EXAMPLES, draw_example
from gazevlm_core.images import ImageError, load_radiograph
from gazevlm_core.options import DiagnoseOptions
from gazevlm_core.overlay import draw_overlay
from gazevlm_core.records import Diagnosis
from gazevlm_core.words import check_question
from web.models import Ask

GPU_START_S, GPU_GAZE_TOKEN_S, GPU_ANSWER_TOKEN_S = 10.0, 0.02, 0.15


@dataclass(frozen=True, eq=False)
class Picture:
    """An image that was chosen on the page.

    Args:
        name: file name or caption, for the record; never used as a path.
        image: upright RGB.
    """

    name: str
    image: Image.Image


@dataclass(frozen=True, eq=False)
class Step:
    """One step of an answer; the first comes before any word.

    Args:
        diagnosis: as known so far.
        seconds: since the question was asked.
        finished: whether this is the last step.
    """

    diagnosis: Diagnosis
    seconds: float
    finished: bool


def read_upload(path: str) -> Picture:
    """An uploaded file as an image.

    Raises:
        ImageError: what is wrong with it, in one sentence; a colour photograph is declined.
    """
    return Picture(os.path.basename(path), load_radiograph(path).image)


def choose_picture(upload: str | None, example: int | None) -> Picture:
    """The uploaded file, or else the chosen example.

    Raises:
        ImageError: nothing is chosen, or the file is no usable image.
    """
    if upload is not None:
        return read_upload(upload)
    if example is None or not 0 <= example < len(EXAMPLES):
        raise ImageError("There is no image yet; upload one or pick an example.")
    return Picture(f"example: {EXAMPLES[example].caption}", draw_example(example))


def answer_steps(
    ask: Ask, model: str, image: Image.Image, question: str, options: DiagnoseOptions
) -> Generator[Step, None, None]:
    """Path and findings first, then the growing answer; closing the iterator stops the model.

    Raises:
        ValueError: no such model, the question is not usable, or the image's shape is beyond the model.
    """
    question = check_question(question)
    start = time.perf_counter()
    latest: Diagnosis | None = None
    with closing(ask(model, image, question, options)) as records:
        for latest in records:
            yield Step(latest, time.perf_counter() - start, finished=False)
    if latest is not None:
        yield Step(latest, time.perf_counter() - start, finished=True)


def gpu_seconds(num_gaze_tokens: int, options: DiagnoseOptions) -> int:
    """How long a shared GPU is asked for: a budget for a 7B model in 4 bits, not a measurement.

    Args:
        num_gaze_tokens: K, prefilled with the prompt.
        options: the longest answer counts.
    """
    return math.ceil(GPU_START_S + GPU_GAZE_TOKEN_S * num_gaze_tokens + GPU_ANSWER_TOKEN_S * options.max_new_tokens)


def overlay_of(image: Image.Image, diagnosis: Diagnosis) -> Image.Image:
    """The image with the path; without it where the gaze weights are untrained."""
    return image if diagnosis.scanpath is None else draw_overlay(image, diagnosis.scanpath)
