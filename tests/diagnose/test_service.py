"""What the page does, without the page."""

from collections.abc import Generator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diagnose.chart import findings_chart
from diagnose.examples import EXAMPLE_CASES, draw_example
from diagnose.service import (
    DISPLAY_SIDE_PX,
    LONGEST_QUESTION,
    Settings,
    SettingsError,
    answer_steps,
    choose_picture,
    for_display,
    overlay_of,
)
from gazevlm_core.images import ImageError
from gazevlm_core.records import Diagnosis
from tests.diagnose.samples import FOUND, UNTRAINED

PIXELS = Image.new("RGB", (64, 48))


class Speaker:
    """Stands for the engine; knows whether it was stopped."""

    def __init__(self) -> None:
        self.stopped = False

    def ask(self, image: Image.Image, question: str) -> Generator[Diagnosis, None, None]:
        try:
            yield from (FOUND, FOUND, FOUND)
        finally:
            self.stopped = True


def test_settings_default_to_the_shipped_model() -> None:
    assert Settings.from_environment({}) == Settings("gazevlm-nano", None)
    assert Settings.from_environment({"GAZEVLM_MODEL": " ", "GAZEVLM_ADAPTER": ""}) == Settings("gazevlm-nano", None)


def test_settings_are_read(tmp_path: Path) -> None:
    values = {"GAZEVLM_MODEL": "Qwen/Qwen2.5-VL-3B-Instruct", "GAZEVLM_ADAPTER": str(tmp_path)}
    assert Settings.from_environment(values) == Settings("Qwen/Qwen2.5-VL-3B-Instruct", tmp_path)


@pytest.mark.parametrize("values", [{"GAZEVLM_MODEL": "./nowhere"}, {"GAZEVLM_ADAPTER": "nowhere"}])
def test_settings_that_lead_nowhere_are_refused(values: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=next(iter(values))):
        Settings.from_environment(values)


def test_path_comes_before_the_words_and_the_last_step_says_so() -> None:
    steps = list(answer_steps(Speaker().ask, PIXELS, "What is there?"))
    assert [step.finished for step in steps] == [False, False, False, True]
    assert all(later.seconds >= earlier.seconds for earlier, later in pairwise(steps))


def test_closing_the_steps_stops_the_model_at_once() -> None:
    speaker = Speaker()
    steps = answer_steps(speaker.ask, PIXELS, "What is there?")
    next(steps)
    assert not speaker.stopped
    steps.close()
    assert speaker.stopped


@pytest.mark.parametrize("question", ["", " \n", "x" * (LONGEST_QUESTION + 1)])
def test_unusable_questions_are_refused(question: str) -> None:
    with pytest.raises(ValueError, match="question"):
        next(answer_steps(Speaker().ask, PIXELS, question))


def test_upload_goes_before_the_example(tmp_path: Path) -> None:
    PIXELS.save(tmp_path / "mine.png")
    assert choose_picture(str(tmp_path / "mine.png"), 1).name == "mine.png"
    assert choose_picture(None, 1).name == "example: Cardiomegaly"
    for missing in (None, -1, len(EXAMPLE_CASES)):
        with pytest.raises(ImageError, match="no image yet"):
            choose_picture(None, missing)


def test_examples_are_the_same_on_every_run() -> None:
    first, second = (np.asarray(draw_example(EXAMPLE_CASES[2])) for _ in range(2))
    assert (first == second).all()
    assert len({case.seed for case in EXAMPLE_CASES}) == len(EXAMPLE_CASES)
    assert EXAMPLE_CASES[0].findings == ()


def test_large_images_are_shown_smaller_in_the_same_shape() -> None:
    assert for_display(Image.new("RGB", (4000, 2000))).size == (DISPLAY_SIDE_PX, DISPLAY_SIDE_PX // 2)
    assert for_display(Image.new("RGB", (16_000, 20))).size == (DISPLAY_SIDE_PX, 2)
    assert for_display(PIXELS) is PIXELS


def test_nothing_is_drawn_without_a_trained_gaze() -> None:
    assert overlay_of(PIXELS, UNTRAINED) is PIXELS
    assert (np.asarray(overlay_of(PIXELS, FOUND)) != 0).any()


def test_chart_has_the_most_probable_finding_on_top() -> None:
    bars = findings_chart({"edema": 0.2, "fracture": 0.9, "cardiomegaly": 0.5}).data[0]
    assert list(bars.y) == ["edema", "cardiomegaly", "fracture"]  # plotly counts from below
    assert list(bars.x) == [0.2, 0.5, 0.9]
    assert list(bars.text) == ["0.20", "0.50", "0.90"]


def test_chart_without_findings_says_why() -> None:
    assert "untrained" in findings_chart({}).layout.annotations[0].text
