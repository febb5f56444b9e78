"""What one model says about a study: finding logits, yes or no, reports, paths and dwell times."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
import torch
from transformers import LogitsProcessor, LogitsProcessorList

from evaluate.cases import Study, StudyCase
from evaluate.floors import on_grid
from evaluate.step_scores import StepLooks, look_along
from gazevlm_core.findings import FINDING_NAMES, REPORT_QUESTION, presence_question
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.inference import EncodedImage, GazeEngine
from gazevlm_core.model.modeling_gazevlm import PrefillOutput
from gazevlm_core.options import DiagnoseOptions
from gazevlm_core.scanpath import Scanpath

YES, NO = "Yes", "No"
ROWS_AT_ONCE = 192  # prompts in one pass of the backbone; bounds memory
REPORT_TOKENS = 128
GREEDY = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None, "repetition_penalty": 1.0}


@dataclass(eq=False)
class Predictions:
    """Answers of one model to N images, in the order of the study.

    Args:
        head_names: columns of the finding head; empty where it is untrained.
        gaze_trained: whether paths are shown.
        num_steps: K, the longest path.
        grids: N merged grids.
        head_logits: N rows [F] of the finding head.
        yes_margins: N rows [len(FINDING_NAMES)] of log P("Yes") - log P("No") as the first token of the answer.
        reports: N answers to the report question.
        scanpaths: N shown paths; empty where the gaze is untrained.
        paths: the same as patch indices.
        looks: N, the model's distributions along the readers' paths; empty where the gaze is untrained.
        dwells: N arrays [V, 2] of (predicted, true) duration in ms along the readers' paths; empty where untrained.
    """

    head_names: tuple[str, ...]
    gaze_trained: bool
    num_steps: int
    grids: list[PatchGrid] = field(default_factory=list)
    head_logits: list[np.ndarray] = field(default_factory=list)
    yes_margins: list[np.ndarray] = field(default_factory=list)
    reports: list[str] = field(default_factory=list)
    scanpaths: list[Scanpath] = field(default_factory=list)
    paths: list[tuple[int, ...]] = field(default_factory=list)
    looks: list[StepLooks] = field(default_factory=list)
    dwells: list[np.ndarray] = field(default_factory=list)


    def extend(self, others: "Predictions") -> None:
        """Append the answers to further images by the same model."""
        for name in PER_IMAGE:
            getattr(self, name).extend(getattr(others, name))


PER_IMAGE = tuple(entry.name for entry in fields(Predictions) if entry.default_factory is list)


class _FirstLogits(LogitsProcessor):
    """Keeps the logits of the first generated token, as the model gave them."""

    def __init__(self) -> None:
        self.logits: torch.Tensor | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if self.logits is None:
            self.logits = scores.float()
        return scores


def predict(
    engine: GazeEngine,
    study: Study,
    *,
    batch_size: int = 64,
    presence: bool = True,
    reports: bool = True,
    predicted: Callable[[int], None] = lambda count: None,
) -> Predictions:
    """Ask a model everything about every image, batch by batch.

    Args:
        engine: the model, with its adapter if it has one.
        study: the images.
        batch_size: images at once.
        presence: whether it is asked about each finding in words, which takes a pass per finding.
        reports: whether it writes reports, which takes longer still.
        predicted: called with the number of images of each finished batch.
    """
    config = engine.gaze_config
    names = config.finding_names if config.findings_trained else ()
    result = Predictions(names, config.gaze_trained, config.num_gaze_tokens)
    for first in range(0, len(study.cases), batch_size):
        cases = study.cases[first : first + batch_size]
        encoded = engine.encode_images([study.pixels.image(first + row) for row in range(len(cases))])
        result.grids += [image.grid for image in encoded]
        if presence:
            result.yes_margins += list(presence_margins(engine, encoded))
        _report(engine, encoded, cases, result, reports=reports)
        predicted(len(cases))
    return result


@torch.no_grad()
def presence_margins(
    engine: GazeEngine, images: Sequence[EncodedImage], names: Sequence[str] = FINDING_NAMES
) -> np.ndarray:
    """log P("Yes") - log P("No") as the first answer token to each finding's presence question, float32 [B, F].

    The vision tower is not run again: all questions share an image's tokens.

    Raises:
        ValueError: the tokenizer begins both words alike.
    """
    yes, no = (engine.processor.tokenizer.encode(word, add_special_tokens=False)[0] for word in (YES, NO))
    if yes == no:
        raise ValueError(f"the tokenizer begins {YES!r} and {NO!r} with the same token; no answer can be told apart")
    questions = [presence_question(name) for name in names]
    per_pass = max(1, ROWS_AT_ONCE // len(questions))
    margins = []
    for first in range(0, len(images), per_pass):
        chunk = images[first : first + per_pass]
        prefilled = engine.prefill([image for image in chunk for _ in questions], questions * len(chunk))
        logits = first_answer_logits(engine, prefilled)
        margins.append((logits[:, yes] - logits[:, no]).view(len(chunk), len(questions)).cpu().numpy())
    return np.concatenate(margins)


def first_answer_logits(engine: GazeEngine, prefilled: PrefillOutput) -> torch.Tensor:
    """Logits [B, vocabulary] of the first answer token; uses up the pass. Works with and without gaze tokens."""
    recorder = _FirstLogits()
    engine.model.continue_text(
        prefilled, max_new_tokens=1, logits_processor=LogitsProcessorList([recorder]), **GREEDY
    )
    if recorder.logits is None:
        raise RuntimeError("generation ended before its first token")
    return recorder.logits


@torch.no_grad()
def _report(
    engine: GazeEngine,
    encoded: Sequence[EncodedImage],
    cases: Sequence[StudyCase],
    result: Predictions,
    *,
    reports: bool,
) -> None:
    """Findings, path, dwell times and (with `reports`) the report of a batch, all from one pass and its cache."""
    prefilled = engine.prefill(encoded, [REPORT_QUESTION] * len(encoded))
    if prefilled.gaze_hidden is not None and result.head_names:
        result.head_logits += list(engine.model.finding_logits(prefilled).cpu().numpy())
    described = engine.describe(prefilled, encoded, DiagnoseOptions())
    for row, (image, case, record) in enumerate(zip(encoded, cases, described, strict=True)):
        shown = record.scanpath
        if shown is not None:
            result.scanpaths.append(shown)
            result.paths.append(on_grid(shown, image.grid))
            readings = [on_grid(path, image.grid) for reader in case.readings for path in reader]
            result.looks.append(look_along(engine.model.pointer_field(prefilled, row), readings))
        if engine.gaze_config.dwell_trained:
            result.dwells.append(_dwells(engine, prefilled, row, image.grid, case))
    if not reports:
        return
    ids = engine.model.continue_text(prefilled, max_new_tokens=REPORT_TOKENS, **GREEDY)
    texts = engine.processor.tokenizer.batch_decode(ids, skip_special_tokens=True)
    result.reports += [text.strip() for text in texts]


def _dwells(engine: GazeEngine, prefilled: PrefillOutput, row: int, grid: PatchGrid, case: StudyCase) -> np.ndarray:
    """(predicted, true) durations in ms at the readers' own fixations, float64 [V, 2]; unknown ones are left out."""
    if prefilled.gaze_hidden is None:
        raise ValueError("a trained dwell head needs gaze tokens in the prompt")
    gaze_hidden, patch_hidden = prefilled.gaze_hidden[row], prefilled.patch_hidden[row]
    looks = [
        (step, grid.index_of(fixation), fixation.duration_ms)
        for reader in case.readings
        for path in reader
        for step, fixation in enumerate(path.fixations[: len(gaze_hidden)])
        if fixation.duration_ms is not None
    ]
    steps, patches = [look[0] for look in looks], [look[1] for look in looks]
    predicted_ms = engine.model.gaze_heads.log_durations(gaze_hidden[steps], patch_hidden[patches]).exp()
    return np.stack([predicted_ms.cpu().double().numpy(), np.array([look[2] for look in looks])], axis=1)
