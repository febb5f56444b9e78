"""What the page does, without the page."""

import re
from collections import Counter
from collections.abc import Generator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from diagnose.service import (
    EXAMPLES,
    answer_steps,
    choose_picture,
    draw_example,
    example_phantom,
    example_reading,
    gpu_seconds,
    overlay_of,
    thumbnails,
)
from diagnose.tab.markup import dwell_bar
from gazevlm_core.evaluation.checkpoint_scores import SCORES_FILE, CheckpointScores, FindingScore, read_scores
from gazevlm_core.findings import FINDING_NAMES, grade_of
from gazevlm_core.images import ImageError
from gazevlm_core.options import DiagnoseOptions
from gazevlm_core.records import Diagnosis
from gazevlm_core.scanpath import Fixation, Scanpath
from gazevlm_core.words import LONGEST_QUESTION
from tests.diagnose.samples import FOUND, UNTRAINED

PIXELS = Image.new("RGB", (64, 48))


class Speaker:
    """Stands for the engine; knows whether it was stopped."""

    def __init__(self) -> None:
        self.stopped = False

    def ask(
        self, model: str, image: Image.Image, question: str, options: DiagnoseOptions
    ) -> Generator[Diagnosis, None, None]:
        try:
            yield from (FOUND, FOUND, FOUND)
        finally:
            self.stopped = True


def test_path_comes_before_the_words_and_the_last_step_says_so() -> None:
    steps = list(answer_steps(Speaker().ask, "", PIXELS, "What is there?", DiagnoseOptions()))
    assert [step.finished for step in steps] == [False, False, False, True]
    assert all(later.seconds >= earlier.seconds for earlier, later in pairwise(steps))


def test_closing_the_steps_stops_the_model_at_once() -> None:
    speaker = Speaker()
    steps = answer_steps(speaker.ask, "", PIXELS, "What is there?", DiagnoseOptions())
    next(steps)
    assert not speaker.stopped
    steps.close()
    assert speaker.stopped


@pytest.mark.parametrize("question", ["", " \n", "x" * (LONGEST_QUESTION + 1)])
def test_unusable_questions_are_refused(question: str) -> None:
    with pytest.raises(ValueError, match="question"):
        next(answer_steps(Speaker().ask, "", PIXELS, question, DiagnoseOptions()))


def test_upload_goes_before_the_example(tmp_path: Path) -> None:
    PIXELS.save(tmp_path / "mine.png")
    assert choose_picture(str(tmp_path / "mine.png"), 1).name == "mine.png"
    assert choose_picture(None, 1).name == "example: enlarged cardiomediastinum, subtle"
    for missing in (None, -1, len(EXAMPLES)):
        with pytest.raises(ImageError, match="no image yet"):
            choose_picture(None, missing)


def test_a_photograph_of_a_cat_is_declined(tmp_path: Path) -> None:
    Image.fromarray(data.cat()).save(tmp_path / "cat.png")
    with pytest.raises(ImageError, match="colour picture, not a radiograph"):
        choose_picture(str(tmp_path / "cat.png"), None)


def test_examples_are_one_normal_and_every_finding_at_three_severities() -> None:
    assert EXAMPLES[0].findings == ()
    shown = Counter(tile.findings[0].name for tile in EXAMPLES[1:])
    assert shown == dict.fromkeys(FINDING_NAMES, 3)
    assert [grade_of(tile.findings[0].severity) for tile in EXAMPLES[1:4]] == ["subtle", "moderate", "severe"]
    assert len({tile.seed for tile in EXAMPLES}) == len(EXAMPLES)
    assert [caption for _, caption in thumbnails()] == [tile.caption for tile in EXAMPLES]


def test_examples_are_the_same_on_every_run() -> None:
    first = np.asarray(draw_example(2))
    example_phantom.cache_clear()
    assert (first == np.asarray(draw_example(2))).all()
    assert example_reading(2) == example_reading(2)
    for number in (-1, len(EXAMPLES)):
        with pytest.raises(IndexError, match="no example"):
            draw_example(number)


def test_gpu_time_grows_with_fixations_and_words() -> None:
    few, many = DiagnoseOptions(max_new_tokens=10), DiagnoseOptions(max_new_tokens=100)
    assert gpu_seconds(12, few) == 12  # 10 + 0.24 + 1.5, rounded up
    assert gpu_seconds(12, many) == 26
    assert gpu_seconds(200, few) > gpu_seconds(12, few)


def test_nothing_is_drawn_without_a_trained_gaze() -> None:
    assert overlay_of(PIXELS, UNTRAINED) is PIXELS
    assert (np.asarray(overlay_of(PIXELS, FOUND)) != 0).any()


def test_dwells_are_cuts_of_one_bar() -> None:
    path = Scanpath((Fixation(0.1, 0.1, 200.0), Fixation(0.5, 0.5, 300.0)), "model")
    bar = dwell_bar(path)
    assert re.findall(r'flex-grow: (\d+);.*?title="([^"]+)">(\d)</li>', bar) == [
        ("200", "Fixation 1: 200 ms", "1"), ("300", "Fixation 2: 300 ms", "2"),
    ]  # fmt: skip
    assert dwell_bar(Scanpath((*path.fixations, Fixation(0.4, 0.4)), "model")) == ""


def test_scores_are_read_where_there_are_any_and_broken_ones_are_refused(tmp_path: Path) -> None:
    assert read_scores(tmp_path) is None
    file = tmp_path / SCORES_FILE
    file.write_text('{"scored_on": "ten", "findings": {"edema": {"auroc": 0.9, "prevalence": 0.2}}}')
    assert read_scores(tmp_path) == CheckpointScores("ten", {"edema": FindingScore(0.9, 0.2)})
    for broken in ("{", "[]", '{"findings": {}}', '{"scored_on": "", "findings": {"edema": {"auc": 1}}}'):
        file.write_text(broken)
        with pytest.raises(ValueError, match="score the checkpoint again"):
            read_scores(tmp_path)
