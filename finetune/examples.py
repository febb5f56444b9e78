"""What a run is asked at each step: which image, which question, and what is true of it. All of it is drawn before the
first step from the seed, so a resumed run sees what an uninterrupted one would have seen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from finetune.cases import Case
from finetune.config import FinetuneConfig
from finetune.features import FeatureStore
from gazevlm_core.findings import NO_FINDING, presence_question
from gazevlm_core.model.processing_gazevlm import GazeVLMProcessor
from gazevlm_core.options import DEFAULT_QUESTION
from gazevlm_core.scanpath import Scanpath
from gazevlm_core.training.collator import GazeCollator
from gazevlm_core.training.gaze_order import GazeOrder, ordered_paths

PRESENCE_SHARE = 0.5  # of the questions, where an image has both a report and findings
YES, NO = "Yes, {name}.", "No."
LENGTH_POOL = 16  # batches among which images of similar length are sought


@dataclass(frozen=True)
class Draw:
    """One question about one training image.

    Args:
        case: position among the training cases.
        question: asked.
        answer: taught; None where nobody wrote one.
    """

    case: int
    question: str
    answer: str | None


@dataclass(frozen=True, eq=False)
class Item:
    """A draw with all that is known about its image; see `gazevlm_core.training.collator.Taught`."""

    case: Case
    question: str
    answer: str | None
    findings: Mapping[str, float]
    scanpaths: tuple[Scanpath, ...]


def draw_epochs(cases: Sequence[Case], config: FinetuneConfig, number: int) -> list[Draw]:
    """`number` draws: every image once an epoch in a new order, or as often as the shares of the data sets say.

    Args:
        cases: to learn from.
        config: seed and shares.
        number: how many.
    """
    rng = np.random.default_rng([config.seed, 1])
    draws: list[Draw] = []
    while len(draws) < number:
        draws += [_draw(index, cases[index], rng) for index in _epoch(cases, config, rng)]
    return draws[:number]


def _epoch(cases: Sequence[Case], config: FinetuneConfig, rng: np.random.Generator) -> list[int]:
    if not config.shares:
        return [int(index) for index in rng.permutation(len(cases))]
    members = [[i for i, case in enumerate(cases) if case.dataset == number] for number in range(len(config.shares))]
    chances = np.array([share if own else 0.0 for share, own in zip(config.shares, members, strict=True)])
    chosen = rng.choice(len(members), size=len(cases), p=chances / chances.sum())
    return [members[number][int(rng.integers(len(members[number])))] for number in chosen.tolist()]


def taught_questions(case: Case) -> list[str]:
    """Every question about an image that a draw may ask with an answer to it."""
    names = sorted(name for name, value in case.record.findings.items() if name != NO_FINDING and value in (0.0, 1.0))
    return [*([report_question(case)] if case.record.report else []), *map(presence_question, names)]


def report_question(case: Case) -> str:
    """What an image's report answers."""
    return case.record.question or DEFAULT_QUESTION


def _draw(index: int, case: Case, rng: np.random.Generator) -> Draw:
    """A report, or whether one finding is there (present or absent alike often); else the path alone."""
    report = case.record.report
    findings = {name: value for name, value in case.record.findings.items() if name != NO_FINDING}
    known = {value: sorted(name for name in findings if findings[name] == value) for value in (1.0, 0.0)}
    if (known[1.0] or known[0.0]) and (not report or rng.random() < PRESENCE_SHARE):
        wanted = 1.0 if known[1.0] and (not known[0.0] or rng.random() < 0.5) else 0.0
        name = known[wanted][int(rng.integers(len(known[wanted])))]
        return Draw(index, presence_question(name), YES.format(name=name) if wanted else NO)
    return Draw(index, report_question(case), report)


def grouped(
    draws: list[Draw], cases: Sequence[Case], config: FinetuneConfig, processor: GazeVLMProcessor
) -> list[Draw]:
    """Draws of about as many tokens side by side, within pools of a few batches, so that the order stays random.

    Where the configuration does not ask for it, they are left as they are.

    Args:
        draws: see `draw_epochs`.
        cases: to learn from.
        config: seed, batch size and whether to group.
        processor: tells how many tokens an image and words take.
    """
    if not config.group_by_length:
        return draws
    lengths = {draw: token_count(draw, cases[draw.case], processor) for draw in set(draws)}
    pool = LENGTH_POOL * config.batch_size
    rng = np.random.default_rng([config.seed, 2])
    ordered: list[Draw] = []
    for first in range(0, len(draws), pool):
        some = sorted(draws[first : first + pool], key=lambda draw: lengths[draw])
        batches = [some[i : i + config.batch_size] for i in range(0, len(some), config.batch_size)]
        short = [batches.pop()] if len(batches[-1]) < config.batch_size else []  # a part of a batch stays the last
        ordered += [draw for number in rng.permutation(len(batches)) for draw in batches[int(number)]]
        ordered += [draw for batch in short for draw in batch]
    return ordered


def token_count(draw: Draw, case: Case, processor: GazeVLMProcessor) -> int:
    """Tokens of a draw that others may not have: merged patches, and the words of question and answer."""
    words = processor.tokenizer([draw.question, draw.answer or ""])["input_ids"]
    return processor.count_image_tokens(*case.size_px) + sum(map(len, words))


def ordered_cases(cases: Sequence[Case], config: FinetuneConfig) -> list[Case]:
    """The cases with the scanpaths that a run is taught, see `ordered_paths`: a control learns from no others."""
    ordered = []
    for index, case in enumerate(cases):
        readings = case.record.readings
        paths = ordered_paths([reading.scanpath for reading in readings], config.gaze_order, (config.seed, index))
        kept = tuple(replace(reading, scanpath=path) for reading, path in zip(readings, paths, strict=False))  # or none
        ordered.append(replace(case, record=replace(case.record, readings=kept)))
    return ordered


class TrainingItems(Dataset):
    """Draws as items.

    Args:
        cases: to learn from.
        draws: see `draw_epochs`.
        config: gaze order, seed and how far the base's probabilities count.
        believed: finding name -> probability by the base, per case; empty where the base knows none.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        draws: Sequence[Draw],
        config: FinetuneConfig,
        believed: Sequence[Mapping[str, float]],
    ) -> None:
        self.draws = draws
        self._cases = ordered_cases(cases, config)
        self._findings = [
            mixed_findings(case.record.findings, known, config.retain)
            for case, known in zip(cases, believed, strict=True)
        ]

    def __len__(self) -> int:
        return len(self.draws)

    def __getitem__(self, index: int) -> Item:
        draw = self.draws[index]
        case = self._cases[draw.case]
        paths = tuple(reading.scanpath for reading in case.record.readings)
        return Item(case, draw.question, draw.answer, self._findings[draw.case], paths)


def held_out_item(case: Case) -> Item:
    """A held-out image with the question that its report answers."""
    paths = tuple(reading.scanpath for reading in case.record.readings)
    return Item(case, report_question(case), case.record.report, case.record.findings, paths)


def mixed_findings(labels: Mapping[str, float], believed: Mapping[str, float], retain: float) -> dict[str, float]:
    """Targets of the finding head. Cross-entropy is linear in its target, so a mix of labels and the base's own
    probabilities costs what both costs would, weighted: a base keeps what it knows without its old images.

    Args:
        labels: finding -> 1.0 or 0.0.
        believed: finding -> probability by the base.
        retain: weight of the base, where both are known.
    """
    mixed = {name: retain * believed[name] + (1 - retain) * labels.get(name, believed[name]) for name in believed}
    return {**labels, **mixed}


class AdaptCollator(GazeCollator):
    """Batches of items, with pixels or with what the frozen vision tower said of them.

    Args:
        processor, config, use_gaze: as in `GazeCollator`.
        store: image tokens; None computes them anew from the pixels, at each step.
    """

    def __init__(self, *args: Any, store: FeatureStore | None, use_gaze: bool = True) -> None:
        super().__init__(*args, use_gaze=use_gaze)
        self.store = store

    def __call__(self, items: Sequence[Any]) -> dict[str, Any]:
        """As in `GazeCollator`, with `image_tokens` in the place of `pixel_values` where there is a store."""
        if self.store is None:
            images = [item.case.load() for item in items]
            pixels = self.processor.image_processor(images=images, return_tensors="pt")
            vision, grid_thw = {"pixel_values": pixels["pixel_values"]}, pixels["image_grid_thw"]
        else:
            kept = [self.store.read(item.case.digest) for item in items]
            tokens = [found[0] for found in kept if found is not None]
            if len(tokens) < len(items):
                raise KeyError(f"image features are gone from {self.store.folder}")
            vision = {"image_tokens": torch.cat(tokens)}
            grid_thw = torch.stack([found[1] for found in kept if found is not None])
        return {**vision, "image_grid_thw": grid_thw, **self.supervise(items, self.processor.grids(grid_thw))}


def supervises_gaze(order: GazeOrder, cases: Sequence[Case]) -> bool:
    """Whether any scanpath is taught."""
    return order is not GazeOrder.NONE and any(case.record.readings for case in cases)
