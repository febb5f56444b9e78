"""The samples of each training step: which image, which question, and its answer. All of them are drawn from the seed
before the first step, so a resumed run sees what an uninterrupted one would have seen.
"""

import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from finetune.config import FinetuneConfig
from finetune.features import FeatureStore
from gazevlm_core.findings import NO_FINDING, presence_answer, presence_question
from gazevlm_core.geometry import Window
from gazevlm_core.model.processing_gazevlm import GazeVLMProcessor
from gazevlm_core.options import DEFAULT_QUESTION
from gazevlm_core.sample import Sample
from gazevlm_core.training.collator import GazeCollator, GlimpseCut
from gazevlm_core.training.gaze_order import GazeOrder, in_order

PRESENCE_SHARE = 0.5  # of the questions, where an image has both a report and findings
MOST_KEPT_BYTES = 2**28  # of glimpses' tokens
SHARING = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED")  # set by `accelerate launch`
LENGTH_POOL = 16  # batches among which images of similar length are sought


class Draw(NamedTuple):
    """One question about one training image.

    Args:
        case: position among the training cases.
        question: of the sample.
        answer: to learn; None where nobody wrote one.
    """

    case: int
    question: str
    answer: str | None


def draw_epochs(cases: Sequence[Sample], config: FinetuneConfig, number: int) -> list[Draw]:
    """Return `number` draws: every image once an epoch in a new order, or as often as the shares of the data sets say;
    several questions about an image stand side by side where the configuration asks for them, and take as many epochs.

    Args:
        config: seed and shares.
        number: how many.
    """
    rng = np.random.default_rng([config.seed, 1])
    draws: list[Draw] = []
    while len(draws) < number:
        order = _epoch(cases, config, rng)
        draws += [_draw(index, cases[index], rng) for index in order for _ in range(config.questions_per_image)]
    return draws[:number]


def _epoch(cases: Sequence[Sample], config: FinetuneConfig, rng: np.random.Generator) -> list[int]:
    if not config.shares:
        return [int(index) for index in rng.permutation(len(cases))]
    members = [[i for i, case in enumerate(cases) if case.part == number] for number in range(len(config.shares))]
    chances = np.array([share if own else 0.0 for share, own in zip(config.shares, members, strict=True)])
    chosen = rng.choice(len(members), size=len(cases), p=chances / chances.sum())
    return [members[number][int(rng.integers(len(members[number])))] for number in chosen.tolist()]


def trainable_questions(case: Sample) -> list[str]:
    """Return every question about an image that a draw may ask with an answer to it."""
    names = sorted(name for name, value in case.findings.items() if name != NO_FINDING and value in (0.0, 1.0))
    return [*([report_question(case)] if case.report else []), *map(presence_question, names)]


def report_question(case: Sample) -> str:
    """Return the question that an image's report answers."""
    return case.question or DEFAULT_QUESTION


def _draw(index: int, case: Sample, rng: np.random.Generator) -> Draw:
    """Draw a report, or whether one finding is there (present or absent alike often); else the path alone."""
    report = case.report
    findings = {name: value for name, value in case.findings.items() if name != NO_FINDING}
    known = {value: sorted(name for name in findings if findings[name] == value) for value in (1.0, 0.0)}
    if (known[1.0] or known[0.0]) and (not report or rng.random() < PRESENCE_SHARE):
        wanted = 1.0 if known[1.0] and (not known[0.0] or rng.random() < 0.5) else 0.0
        name = known[wanted][int(rng.integers(len(known[wanted])))]
        return Draw(index, presence_question(name), presence_answer(name if wanted else ""))
    return Draw(index, report_question(case), report)


def grouped(
    draws: list[Draw], cases: Sequence[Sample], config: FinetuneConfig, processor: GazeVLMProcessor
) -> list[Draw]:
    """Return draws of about as many tokens side by side, within pools of a few batches, so that the order stays random.

    Where the configuration does not ask for it, they are left as they are.

    Args:
        draws: see `draw_epochs`.
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


def token_count(draw: Draw, case: Sample, processor: GazeVLMProcessor) -> int:
    """Count the tokens of a draw that others may not have: merged patches, and the words of question and answer."""
    assert case.size_px is not None  # `read_cases` sees to it
    words = processor.tokenizer([draw.question, draw.answer or ""])["input_ids"]
    return processor.count_image_tokens(*case.size_px) + sum(map(len, words))


def ordered_cases(cases: Sequence[Sample], config: FinetuneConfig) -> list[Sample]:
    """Return the cases with the scanpaths that a run learns from, see `in_order`: a control learns from no others."""
    return [in_order(case, config.gaze_order, (config.seed, index)) for index, case in enumerate(cases)]


class TrainingItems(Dataset):
    """Draws as samples to learn from.

    Args:
        cases: to learn from.
        draws: see `draw_epochs`.
        config: gaze order, seed and how far the base's probabilities count.
        base_probabilities: finding name -> probability by the base, per case; empty where the base knows none.
    """

    def __init__(
        self,
        cases: Sequence[Sample],
        draws: Sequence[Draw],
        config: FinetuneConfig,
        base_probabilities: Sequence[Mapping[str, float]],
    ) -> None:
        self.draws = draws
        self._cases = [
            replace(case, findings=mixed_findings(case.findings, known, config.retain))
            for case, known in zip(ordered_cases(cases, config), base_probabilities, strict=True)
        ]

    def __len__(self) -> int:
        return len(self.draws)

    def __getitem__(self, index: int) -> Sample:
        draw = self.draws[index]
        return replace(self._cases[draw.case], question=draw.question, report=draw.answer)


def mixed_findings(labels: Mapping[str, float], of_base: Mapping[str, float], retain: float) -> dict[str, float]:
    """Mix targets of the finding head. Cross-entropy is linear in its target, so a mix of labels and the base's own
    probabilities costs what both costs would, weighted: a base keeps what it knows without its old images.

    Args:
        labels: finding -> 1.0 or 0.0.
        of_base: finding -> probability by the base.
        retain: weight of the base, where both are known.
    """
    mixed = {name: retain * of_base[name] + (1 - retain) * labels.get(name, of_base[name]) for name in of_base}
    return {**labels, **mixed}


class AdaptCollator(GazeCollator):
    """Batches of samples, with pixels or with what the frozen vision tower made of them.

    Args:
        processor, config: as in `GazeCollator`, and so are `options`.
        store: image tokens; None computes them anew from the pixels, at each step.
    """

    def __init__(self, *args: Any, store: FeatureStore | None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.store = store
        self._kept: OrderedDict[tuple[str, Window], torch.Tensor] = OrderedDict()  # tokens of glimpses, oldest first

    def vision(self, samples: Sequence[Sample]) -> dict[str, torch.Tensor]:
        """Return it as `GazeCollator` does, with `image_tokens` in the place of `pixel_values` where there is a
        store."""
        if self.store is None:
            return super().vision(samples)
        kept = [self.store.tokens(sample) for sample in samples]
        return {
            "image_tokens": torch.cat([tokens for tokens, _ in kept]),
            "image_grid_thw": torch.stack([grid_thw for _, grid_thw in kept]),
        }

    def glimpse_vision(self, cuts: Sequence[GlimpseCut]) -> dict[str, torch.Tensor]:
        """Return it as `GazeCollator` does; with a store, what the tower makes of each is kept by picture and place.

        One by one, as the store's features are: computed together, their last bits would depend on their company.
        """
        if self.store is None or self.model is None:
            return super().glimpse_vision(cuts)
        found = []
        for sample, window, image in cuts:
            tokens = self._kept.pop((sample.digest, window), None)
            if tokens is None:
                pixels = self.processor.glimpse_pixels([image]).to(self.model.device)
                with torch.no_grad():
                    tokens = self.model.encode_glimpses(pixels)[0].cpu()
            self._kept[sample.digest, window] = tokens
            found.append(tokens)
        while len(self._kept) * found[0].nbytes > MOST_KEPT_BYTES:
            self._kept.popitem(last=False)
        return {"glimpse_tokens": torch.stack(found)}


def asks_model(config: FinetuneConfig) -> bool:
    """Return whether batches may ask the model where it looks: worker processes have a copy that learns nothing, and
    parts of a model that lies on several processes would wait for each other."""
    shared = any(os.environ.get(name, "").lower() == "true" for name in SHARING)
    return not (config.workers or config.fsdp_storage or config.deepspeed or shared)


def supervises_gaze(order: GazeOrder, cases: Sequence[Sample]) -> bool:
    """Return whether any scanpath is learned."""
    return order is not GazeOrder.NONE and any(case.readings for case in cases)
