"""`transformers.Trainer` that also logs the parts of the gaze loss."""

from collections import defaultdict
from typing import Any

import torch
from transformers import Trainer

from gazevlm_core.model.gaze_model import GazeLosses, GazeVLM


class GazeTrainer(Trainer):
    """Trains a `GazeVLM` (or a PEFT model around one) on batches of `GazeCollator`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._parts: dict[str, list[torch.Tensor]] = defaultdict(list)

    def compute_loss(
        self, model: torch.nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **_: Any
    ) -> torch.Tensor | tuple[torch.Tensor, GazeLosses]:
        """The model's own weighted loss; its parts are kept for the next log."""
        outputs = model(**inputs)
        for name, value in outputs.items():
            if name != "loss":
                self._parts[name].append(value.detach())
        return (outputs.loss, outputs) if return_outputs else outputs.loss

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        """Resume a bare `GazeVLM` through its own loader.

        The base class copies the file's tensors by name and passes over names that it does not know; a Qwen2.5-VL is
        stored under other names than it is built with, so nothing would be resumed, without a word.
        """
        target = self.model if model is None else model
        if not isinstance(target, GazeVLM):
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        saved = GazeVLM.from_pretrained(resume_from_checkpoint, dtype=target.dtype)
        target.load_state_dict(saved.state_dict())

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Adds the mean of each part since the last log."""
        means = {name: float(torch.stack(values).mean()) for name, values in self._parts.items()}
        self._parts.clear()
        super().log({**logs, **means}, *args, **kwargs)
