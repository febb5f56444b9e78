"""A few held-out images as the base and the adapter see them, for people to look at side by side."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from finetune.cases import go_on
from finetune.features import at_rest
from finetune.records import BEFORE_AFTER, PAIRS_FILE, write_json
from gazevlm_core.inference import GazeEngine
from gazevlm_core.options import DEFAULT_QUESTION, DiagnoseOptions
from gazevlm_core.records import Diagnosis
from gazevlm_core.sample import Sample
from gazevlm_core.scanpath import Scanpath

MOST_SHOWN = 6
LONGEST_SIDE_PX = 1024
MOST_TOKENS = 64


def shown_cases(held_out: Sequence[Sample]) -> list[Sample]:
    """Return the first images with a scanpath, then others."""
    return sorted(held_out, key=lambda case: not case.readings)[:MOST_SHOWN]


def answers(engine: GazeEngine, cases: Sequence[Sample], check: Callable[[], None] = go_on) -> list[Diagnosis]:
    """Return path and words of a model as it is now, one image at a time: grids may differ, and memory is short.

    Args:
        check: called before each image; may raise to end.
    """
    options = DiagnoseOptions(max_new_tokens=MOST_TOKENS)
    found = []
    engine.forget_images()  # training has changed the model since, maybe its vision tower
    with at_rest(engine):
        for case in cases:
            check()
            found.append(engine.diagnose(case.load(), DEFAULT_QUESTION, options))
    return found


def write_before_after(
    run: Path, cases: Sequence[Sample], before: Sequence[Diagnosis], after: Sequence[Diagnosis]
) -> None:
    """Leave the pictures, and what both said of them.

    Args:
        cases: from `shown_cases`.
        before, after: from `answers`, of the base and of the adapter.
    """
    folder = run / BEFORE_AFTER
    folder.mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    for number, (case, first, second) in enumerate(zip(cases, before, after, strict=True)):
        name = f"{number}.png"
        image = case.load()
        image.thumbnail((LONGEST_SIDE_PX, LONGEST_SIDE_PX))
        image.save(folder / name, "PNG")
        readings = case.readings
        images.append({
            "image_id": case.image_id, "file": name, "question": DEFAULT_QUESTION,
            "answer_before": first.answer, "answer_after": second.answer,
            "before": _points(first.scanpath), "after": _points(second.scanpath),
            "taught": _points(readings[0].scanpath) if readings else None,
        })  # fmt: skip
    write_json(folder / PAIRS_FILE, {"images": images})


def _points(path: Scanpath | None) -> list[list[float]] | None:
    return None if path is None else [[fixation.x, fixation.y] for fixation in path]
