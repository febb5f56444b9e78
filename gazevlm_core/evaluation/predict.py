"""Ask a model everything about every image, once: findings, yes or no, report, path, dwell, maps along readings.

Images are loaded batch by batch and never held together in memory.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from transformers import LogitsProcessor, LogitsProcessorList

from gazevlm_core.datasets.trained_on import TrainedOn
from gazevlm_core.evaluation.floors import on_grid
from gazevlm_core.evaluation.path_scores import StepScores
from gazevlm_core.evaluation.plain_baseline import thumbnail
from gazevlm_core.findings import FINDING_NAMES, NO, REPORT_QUESTION, YES, presence_question
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.inference import EncodedImage, GazeEngine
from gazevlm_core.metrics.paths import Size
from gazevlm_core.metrics.registry import MAP_METRICS, map_scores
from gazevlm_core.model.outputs import PrefillOutput
from gazevlm_core.model.path_sampling import follow
from gazevlm_core.model.pointer import PointerField
from gazevlm_core.model.shared_prefix import Prefix
from gazevlm_core.options import DiagnoseOptions
from gazevlm_core.ranks import ALONE, Ranks, in_turns
from gazevlm_core.sample import DatasetError, Sample
from gazevlm_core.scanpath import Scanpath

ROWS_AT_ONCE = 192  # prompts in one pass of the backbone; bounds memory
REPORT_TOKENS = 128
GREEDY = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None, "repetition_penalty": 1.0}
UNREADABLE = "image that cannot be read"
SampleType = TypeVar("SampleType", bound=Sample)
TRAINED_PICTURE = "picture that the model was trained on"


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of one image.

    Args:
        sample: what is known of it, without its pixels; its readings are in the steps of the model, see `in_steps`.
        size: width and height of the image in px.
        grid: the model's, on this image.
        finding_logits: finding -> logit of the finding head; empty where it is untrained.
        yes_margins: finding -> log P("Yes") - log P("No") as the first word of the answer, where it was asked.
        report: the answer to the report question, or None.
        scanpath: the shown path; None where the gaze is untrained.
        steps: the model's maps along the readings; None where the gaze is untrained or there is none.
        dwells: float64 [V, 2], (predicted, true) duration in ms along the readings; None where untrained or unknown.
        heat: float [P], the share of its path that the model gives each patch; None where the gaze is untrained.
        pixels: from `thumbnail`, for the plain baseline.
        repeats: whether consecutive fixations in one patch are steps of their own to the model.
    """

    sample: Sample
    size: Size
    grid: PatchGrid
    finding_logits: Mapping[str, float]
    yes_margins: Mapping[str, float]
    report: str | None
    scanpath: Scanpath | None
    steps: StepScores | None
    dwells: np.ndarray | None
    heat: np.ndarray | None = None
    pixels: np.ndarray | None = None
    repeats: bool = True

    def in_steps(self, sample: SampleType) -> SampleType:
        """Return a sample with its readings in the steps of the model, on this image's grid."""
        return in_steps(sample, self.grid, repeats=self.repeats)


@dataclass
class Predictions:
    """Predictions of all images, what was left out, and why images cannot be read, in a sentence for each."""

    found: list[Prediction] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)


def predict(
    engine: GazeEngine,
    samples: Iterable[Sample],
    *,
    batch_size: int = 16,
    questions: Sequence[str] | None = None,
    reports: bool = False,
    options: DiagnoseOptions | None = None,
    progress: Callable[[int], object] = lambda count: None,
    ranks: Ranks = ALONE,
    trained: Sequence[TrainedOn] = (),
) -> Predictions:
    """Ask a model about every image; every process returns the predictions of all.

    An image that cannot be read is counted, named and left out; so is a picture that the model was trained on.

    Args:
        engine: the model, with its adapter if it has one.
        samples: walked once.
        batch_size: images at once.
        questions: findings whose presence is asked for in words, which takes a pass each; None: those that are known.
        reports: whether it writes reports, which takes longer still.
        options: how its paths are chosen; None as on the page.
        progress: called with the number of images of each finished batch.
        ranks: the processes that share the images.
        trained: what the model and its adapter were trained on.
    """
    own: list[Predictions] = []
    for batch in ranks.batches(samples, batch_size):
        result = Predictions()
        loaded = list(_loaded(batch, result, trained))
        if loaded:
            result.found = _predict_batch(engine, loaded, questions, options, reports=reports)
        own.append(result)
        progress(len(batch))
    together = Predictions()
    for result in in_turns(ranks.gather(own)):
        together.found += result.found
        together.dropped += result.dropped
        together.unreadable += result.unreadable
    return together


def _loaded(
    batch: Sequence[Sample], result: Predictions, trained: Sequence[TrainedOn]
) -> Iterator[tuple[Sample, Image.Image]]:
    for sample in batch:
        try:
            image = sample.load()
        except DatasetError as error:
            result.dropped[UNREADABLE] += 1
            result.unreadable.append(str(error))
            continue
        if any(one.has_picture(image) for one in trained):
            result.dropped[TRAINED_PICTURE] += 1
            continue
        yield replace(sample, image=None), image


@torch.no_grad()
def _predict_batch(
    engine: GazeEngine, loaded: Sequence[tuple[Sample, Image.Image]], questions: Sequence[str] | None,
    options: DiagnoseOptions | None, *, reports: bool,
) -> list[Prediction]:  # fmt: skip
    """Predict a batch: findings, paths, dwell times and reports come from one pass and its cache."""
    config = engine.gaze_config
    samples, images = [sample for sample, _ in loaded], [image for _, image in loaded]
    encoded = engine.encode_images(images)
    names = questions
    if names is None:
        names = answered(engine, {name for sample in samples for name in sample.findings})
    prefix, margins = None, np.zeros((len(samples), 0))
    if names:  # all questions go on from one pass over the images
        prefix = engine.prefix(encoded)
        margins = presence_margins(engine, encoded, names, prefix)
    prefilled, paths = engine.prefill_with_paths(encoded, [REPORT_QUESTION] * len(encoded), options, prefix=prefix)
    heads: list[dict[str, float]] = [{} for _ in samples]
    if prefilled.gaze_hidden is not None and config.findings_trained:
        heads = [dict(zip(config.finding_names, one, strict=True))
                 for one in engine.model.finding_logits(prefilled).tolist()]  # fmt: skip
    found = []
    for row, (given, image, picture) in enumerate(zip(samples, encoded, images, strict=True)):
        sample = in_steps(given, image.grid, repeats=config.repeats)
        shown, patch_path = (paths[row].scanpath, paths[row].patch_path) if row in paths else (None, None)
        readings = [on_grid(path, image.grid) for path in sample.scanpaths]
        yes = dict(zip(names, margins[row].tolist(), strict=True))
        steps = None
        if shown is not None and readings:
            steps = score_along(engine.model.pointer_field(prefilled, row), readings)
        found.append(Prediction(
            sample, (float(picture.width), float(picture.height)), image.grid, heads[row],
            yes if questions is not None else {name: yes[name] for name in sample.findings if name in yes},
            None, shown, steps, _dwells(engine, prefilled, row, image.grid, sample) if config.dwell_trained else None,
            None if patch_path is None else patch_path.probabilities.mean(axis=0), thumbnail(picture),
            config.repeats,
        ))  # fmt: skip
    if not reports:
        return found
    return [replace(one, report=text) for one, text in zip(found, written_reports(engine, prefilled), strict=True)]


def written_reports(engine: GazeEngine, prefilled: PrefillOutput) -> list[str]:
    """Return the most probable answers after a pass, which is used up."""
    ids = engine.model.continue_text(prefilled, max_new_tokens=REPORT_TOKENS, **GREEDY)
    return [text.strip() for text in engine.processor.tokenizer.batch_decode(ids, skip_special_tokens=True)]


def answered(engine: GazeEngine, names: Iterable[str]) -> list[str]:
    """Return the findings whose presence a model can be asked for: all, or those whose question it knows."""
    known = engine.gaze_config.known_questions
    return sorted(name for name in names if not known or presence_question(name) in known)


# ---- yes or no ------------------------------------------------------------------------------------------------------
class _FirstLogits(LogitsProcessor):
    """Keeps the logits of the first generated token, as the model gave them."""

    def __init__(self) -> None:
        self.logits: torch.Tensor | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if self.logits is None:
            self.logits = scores.float()
        return scores


@torch.no_grad()
def presence_margins(
    engine: GazeEngine, images: Sequence[EncodedImage], names: Sequence[str] = FINDING_NAMES,
    prefix: Prefix | None = None,
) -> np.ndarray:  # fmt: skip
    """Return log P("Yes") - log P("No") as the first answer token to each presence question, float32 [B, F].

    The vision tower is not run again: all questions share an image's tokens.

    Args:
        prefix: of the images, where it was computed before.

    Raises:
        ValueError: as in `first_answer_margins`.
    """
    questions = [presence_question(name) for name in names]
    per_pass = max(1, ROWS_AT_ONCE // len(questions))
    margins = []
    for first in range(0, len(images), per_pass):
        chunk = images[first : first + per_pass]
        prefilled, _ = engine.prefill_with_paths(
            [image for image in chunk for _ in questions], questions * len(chunk), rows=(), prefix=prefix
        )
        margins.append(first_answer_margins(engine, prefilled).view(len(chunk), len(questions)).cpu().numpy())
    return np.concatenate(margins)


def first_answer_margins(engine: GazeEngine, prefilled: PrefillOutput) -> torch.Tensor:
    """Return log P("Yes") - log P("No") as the first answer token, float32 [B]; uses up the pass.

    Raises:
        ValueError: the tokenizer begins both words alike.
    """
    yes, no = (engine.processor.tokenizer.encode(word, add_special_tokens=False)[0] for word in (YES, NO))
    if yes == no:
        raise ValueError(f"the tokenizer begins {YES!r} and {NO!r} with the same token, so answers cannot differ")
    logits = first_answer_logits(engine, prefilled)
    return logits[:, yes] - logits[:, no]


def first_answer_logits(engine: GazeEngine, prefilled: PrefillOutput) -> torch.Tensor:
    """Return the logits [B, vocabulary] of the first answer token; uses up the pass, with or without gaze tokens."""
    recorder = _FirstLogits()
    engine.model.continue_text(
        prefilled, max_new_tokens=1, logits_processor=LogitsProcessorList([recorder]), **GREEDY
    )
    if recorder.logits is None:
        raise RuntimeError("generation ended before its first token")
    return recorder.logits


def in_steps(sample: SampleType, grid: PatchGrid, *, repeats: bool) -> SampleType:
    """Return a sample whose readings are in the steps of a model: where it takes no repeats, consecutive fixations in
    one patch of its grid are one. A path is scored against what the model was trained to predict."""
    if repeats or not sample.readings:
        return sample
    merged = (replace(one, scanpath=grid.merge_repeats(one.scanpath)) for one in sample.readings)
    return replace(sample, readings=tuple(merged))


# ---- along readings -------------------------------------------------------------------------------------------------
@torch.no_grad()
def score_along(pointer: PointerField, readings: Sequence[Sequence[int]]) -> StepScores:
    """Return the scores of a model's maps along readers' paths.

    Args:
        readings: patch indices of each; what lies behind the K-th fixation is left out.
    """
    steps, patches = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    scores: dict[str, list[np.ndarray]] = {metric.key: [np.zeros(0)] for metric in MAP_METRICS}
    for reading in readings:
        cells = np.array(reading[: pointer.num_steps], dtype=np.int64)
        maps = follow(pointer, cells.tolist()).probabilities[: len(cells)].astype(np.float64)
        maps /= maps.sum(axis=1, keepdims=True)
        steps.append(np.arange(len(cells)))
        patches.append(cells)
        for key, values in map_scores(maps, cells).items():
            scores[key].append(values)
    return StepScores(
        np.concatenate(steps), np.concatenate(patches), {key: np.concatenate(rows) for key, rows in scores.items()}
    )


def _dwells(
    engine: GazeEngine, prefilled: PrefillOutput, row: int, grid: PatchGrid, sample: Sample
) -> np.ndarray | None:
    """Return (predicted, true) durations in ms at the readers' own fixations, float64 [V, 2]; unknown ones left out."""
    if prefilled.gaze_hidden is None:
        raise ValueError("a trained dwell head needs gaze tokens in the prompt")
    gaze_hidden, patch_hidden = prefilled.gaze_hidden[row], prefilled.patch_hidden[row]
    known = [
        (step, grid.index_of(fixation), fixation.duration_ms)
        for path in sample.scanpaths
        for step, fixation in enumerate(path.fixations[: len(gaze_hidden)])
        if fixation.duration_ms is not None
    ]
    if not known:
        return None
    steps, patches, true_ms = (list(column) for column in zip(*known, strict=True))
    predicted_ms = engine.model.gaze_heads.log_durations(gaze_hidden[steps], patch_hidden[patches]).exp()
    return np.stack([predicted_ms.cpu().double().numpy(), np.array(true_ms)], axis=1)
