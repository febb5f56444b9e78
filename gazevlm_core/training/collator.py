"""From samples to a batch of tensors."""

from collections.abc import Sequence
from typing import Any

import torch

from gazevlm_core.geometry import PatchGrid
from gazevlm_core.model.configuration_gazevlm import GazeConfig
from gazevlm_core.model.losses import IGNORED, STOP
from gazevlm_core.model.processing_gazevlm import IGNORED_LABEL, GazeVLMProcessor, encode_prompts, render_prompt
from gazevlm_core.options import DEFAULT_QUESTION
from gazevlm_core.sample import Sample
from gazevlm_core.scanpath import Scanpath


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
    """Makes batches for `GazeVLM.forward`; parts that no sample has are left out.

    Args:
        processor: of the model.
        config: gaze configuration; the findings of its head are the columns of the labels.
        use_gaze: False leaves the scanpaths out (the twin without gaze supervision).
    """

    def __init__(self, processor: GazeVLMProcessor, config: GazeConfig, *, use_gaze: bool = True) -> None:
        self.processor, self.config, self.use_gaze = processor, config, use_gaze

    def __call__(self, samples: Sequence[Sample]) -> dict[str, Any]:
        """Return a batch: tokens and labels [B, L], pixels, gaze_targets [B, S, K], finding_labels [B, F]."""
        vision = self.vision(samples)
        return {**vision, **self.supervise(samples, self.processor.grids(vision["image_grid_thw"]))}

    def vision(self, samples: Sequence[Sample]) -> dict[str, torch.Tensor]:
        """Return the part of a batch that comes from pixels."""
        pixels = self.processor.image_processor(images=[sample.load() for sample in samples], return_tensors="pt")
        return {"pixel_values": pixels["pixel_values"], "image_grid_thw": pixels["image_grid_thw"]}

    def supervise(self, samples: Sequence[Sample], grids: Sequence[PatchGrid]) -> dict[str, Any]:
        """The part of a batch that does not need pixels: tokens, labels and targets."""
        steps = self.config.num_gaze_tokens
        encoded = encode_prompts(
            self.processor,
            [render_prompt(self.processor, sample.question or DEFAULT_QUESTION, steps) for sample in samples],
            grids,
            [sample.report or "" for sample in samples],
        )
        for row, sample in enumerate(samples):
            if sample.report is None:
                encoded["labels"][row] = IGNORED_LABEL
        unknown = float("nan")
        names = self.config.finding_names[: self.config.num_head_findings]  # a usual place is fitted, not trained
        batch: dict[str, Any] = {
            **encoded,
            "finding_labels": torch.tensor(
                [[sample.findings.get(name, unknown) for name in names] for sample in samples]
            ).view(len(samples), len(names)),
        }
        readers = max(len(sample.readings) for sample in samples)
        if self.use_gaze and readers:
            targets = torch.full((len(samples), readers, steps), IGNORED)
            durations = torch.full((len(samples), readers, steps), unknown)
            for row, (sample, grid) in enumerate(zip(samples, grids, strict=True)):
                if sample.readings:
                    indices, known = gaze_targets(sample.scanpaths, grid, steps)
                    targets[row, : len(indices)] = torch.tensor(indices)
                    durations[row, : len(known)] = torch.tensor(known)
            batch["gaze_targets"], batch["gaze_durations_ms"] = targets, durations
        return batch
