"""A run of two steps, to look at what an option has changed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from finetune.config import FinetuneConfig
from finetune.run import Training
from tests.finetune.run_maker import events, go, losses

STEPS = {"max_steps": 2, "evaluations": 1, "checkpoints": 1, "lora_dropout": 0.0}
SAME = 1e-5  # relative difference of losses that are the same but for rounding


@dataclass(frozen=True)
class Done:
    """A run of two steps.

    Args:
        training: as it was when it ended.
        adapter, run: its folders.
    """

    training: Training
    adapter: Path
    run: Path

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        """LoRA matrices and the rest of PEFT's file."""
        return load_file(self.adapter / "adapter_model.safetensors")

    @property
    def heads(self) -> dict[str, torch.Tensor]:
        """The heads."""
        return load_file(self.adapter / "gaze_heads.safetensors")

    @property
    def peft(self) -> Any:
        """PEFT's configuration."""
        return self.training.adapted.peft_config["default"]

    def loss(self, name: str = "loss", step: int = 1) -> float:
        """Of a step."""
        return losses(self.run)[step][name]


Run = Callable[..., Done]


def two_steps(config: FinetuneConfig, place: Path) -> Done:
    """Run a configuration with STEPS, and check that it ended well."""
    kept: list[Training] = []
    train = Training.train

    def watched(training: Training) -> Any:
        kept.append(training)
        return train(training)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "train", watched)
        ending = go(config, place / "adapter", place / "run")
    assert ending.outcome == "done", ending.cause
    assert len(events(place / "run", "step")) == 2
    return Done(kept[-1], place / "adapter", place / "run")
