"""From examples to a batch of tensors."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch

from gazevlm_core.datasets.example import Example
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.model.configuration_gazevlm import GazeConfig
from gazevlm_core.model.losses import IGNORED, STOP
from gazevlm_core.model.processing_gazevlm import IGNORED_LABEL, GazeVLMProcessor, encode_prompts, render_prompt
from gazevlm_core.scanpath import Scanpath


class Taught(Protocol):
    """What is known about an image, without its pixels; an `Example` is one."""

    @property
    def question(self) -> str:
        """What is asked."""

    @property
    def answer(self) -> str | None:
        """What should be answered, or None."""

    @property
    def findings(self) -> Mapping[str, float]:
        """Finding name -> 1.0 present, 0.0 absent, or a probability between."""

    @property
    def scanpaths(self) -> tuple[Scanpath, ...]:
        """Any number of readings."""


def gaze_targets(
    scanpaths: Sequence[Scanpath], grid: PatchGrid, num_steps: int
) -> tuple[list[list[int]], list[list[float]]]:
    """Pointer targets and durations of several readings of one image.

    Args:
        scanpaths: S readings.
        grid: merged grid of the image.
        num_steps: K; fixations beyond it are cut.

    Returns:
        [S][K] patch indices, STOP after the last fixation, then IGNORED; [S][K] durations in ms, NaN where unknown.
    """
    targets, durations = [], []
    for path in scanpaths:
        indices = [grid.index_of(fixation) for fixation in path][:num_steps]
        known = [float("nan") if f.duration_ms is None else f.duration_ms for f in path][:num_steps]
        if len(indices) < num_steps:
            indices.append(STOP)
        targets.append(indices + [IGNORED] * (num_steps - len(indices)))
        durations.append(known + [float("nan")] * (num_steps - len(known)))
    return targets, durations


class GazeCollator:
    """Makes batches for `GazeVLM.forward`; parts that no example has are left out.

    Args:
        processor: of the model.
        config: gaze configuration; the findings of its head are the columns of the labels.
        use_gaze: False leaves the scanpaths out (the twin without gaze supervision).
    """

    def __init__(self, processor: GazeVLMProcessor, config: GazeConfig, *, use_gaze: bool = True) -> None:
        self.processor, self.config, self.use_gaze = processor, config, use_gaze

    def __call__(self, examples: Sequence[Example]) -> dict[str, Any]:
        """A batch: tokens and labels [B, L], pixels, gaze_targets [B, S, K], finding_labels [B, F]."""
        pixels = self.processor.image_processor(images=[example.image for example in examples], return_tensors="pt")
        return {
            "pixel_values": pixels["pixel_values"],
            "image_grid_thw": pixels["image_grid_thw"],
            **self.supervise(examples, self.processor.grids(pixels["image_grid_thw"])),
        }

    def supervise(self, examples: Sequence[Taught], grids: Sequence[PatchGrid]) -> dict[str, Any]:
        """The part of a batch that does not need pixels: tokens, labels and targets."""
        steps = self.config.num_gaze_tokens
        encoded = encode_prompts(
            self.processor,
            [render_prompt(self.processor, example.question, steps) for example in examples],
            grids,
            [example.answer or "" for example in examples],
        )
        for row, example in enumerate(examples):
            if example.answer is None:
                encoded["labels"][row] = IGNORED_LABEL
        unknown = float("nan")
        names = self.config.finding_names[: self.config.num_head_findings]  # a usual place is fitted, not trained
        batch: dict[str, Any] = {
            **encoded,
            "finding_labels": torch.tensor(
                [[example.findings.get(name, unknown) for name in names] for example in examples]
            ).view(len(examples), len(names)),
        }
        readers = max(len(example.scanpaths) for example in examples)
        if self.use_gaze and readers:
            targets = torch.full((len(examples), readers, steps), IGNORED)
            durations = torch.full((len(examples), readers, steps), unknown)
            for row, (example, grid) in enumerate(zip(examples, grids, strict=True)):
                if example.scanpaths:
                    indices, known = gaze_targets(example.scanpaths, grid, steps)
                    targets[row, : len(indices)] = torch.tensor(indices)
                    durations[row, : len(known)] = torch.tensor(known)
            batch["gaze_targets"], batch["gaze_durations_ms"] = targets, durations
        return batch
