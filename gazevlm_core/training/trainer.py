"""`transformers.Trainer` for the gaze losses, on one process or several."""

from collections.abc import Iterator
from typing import Any

import torch
from transformers import Trainer

from gazevlm_core.model.losses import LossCounts, count_supervision
from gazevlm_core.model.modeling_gazevlm import GazeVLM
from gazevlm_core.model.outputs import GazeLosses
from gazevlm_core.training import LOSS_NAMES


class GazeTrainer(Trainer):
    """Trains a `GazeVLM` (or a PEFT model around one) on batches of `GazeCollator`.

    A step of training costs the same however it is spread: every batch of an accumulated step, on every process, takes
    its share of the means over all of them (`LossCounts`). The base class would average the batches' own means, in
    which a fixation beside few others weighs more than one beside many.
    """

    loss_is_scaled_for_ga = True  # shares add up; dividing them by the number of batches would be wrong

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        shape = (2, len(LOSS_NAMES))
        self._sums = torch.zeros(shape, device=self.args.device)  # of each part, and how often it was there
        self._steps = torch.zeros(len(LOSS_NAMES), device=self.args.device)  # in which something of it was supervised

    def get_batch_samples(
        self, epoch_iterator: Iterator[dict[str, Any]], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Any]], Any]:
        """Return the batches of one step, and what all of them, on all processes, know: the losses' denominators."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        stops = self.accelerator.unwrap_model(self.model).config.gaze_config.stops
        counts = torch.zeros(len(LossCounts._fields), device=device)
        for batch in batches:
            counts += torch.stack([torch.as_tensor(c).to(device) for c in count_supervision(batch, stops=stops)])
        counts = self.accelerator.reduce(counts, reduction="sum")
        self._steps += counts > 0
        return batches, LossCounts(*counts)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: LossCounts | None = None,
        **_: Any,
    ) -> torch.Tensor | tuple[torch.Tensor, GazeLosses]:
        """Return the model's own weighted loss; its parts are kept for the next log.

        Args:
            num_items_in_batch: from `get_batch_samples`; None outside training, where a batch stands for itself.
        """
        outputs = model(**inputs, loss_counts=num_items_in_batch)
        loss = outputs.loss
        if num_items_in_batch is not None:
            for column, name in enumerate(LOSS_NAMES):
                value = getattr(outputs, name)
                if value is not None:
                    self._sums[:, column] += torch.stack([value.detach(), torch.ones_like(value)])
            loss = loss * self.accelerator.num_processes  # gradients are averaged over processes, shares add up
        return (loss, outputs) if return_outputs else loss

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        """Resume a bare `GazeVLM` through its own loader.

        The base class copies the file's tensors by name and passes over names that it does not know; some families are
        stored under other names than they are built with, so nothing would be resumed, without a word.
        """
        target = self.model if model is None else model
        if not isinstance(target, GazeVLM):
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        saved = type(target).from_pretrained(resume_from_checkpoint, dtype=target.dtype)
        target.load_state_dict(saved.state_dict())

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Add the mean of each part over the steps since the last log in which something of it was supervised; none of
        the others. Only the main process logs, all add up."""
        means: dict[str, float] = {}
        known = self._steps.tolist()  # the same on all processes
        if any(known):
            sums, times = self.accelerator.reduce(self._sums, reduction="sum").tolist()
            parts = zip(LOSS_NAMES, sums, times, known, strict=True)
            means = {name: value / steps for name, value, there, steps in parts if there and steps}
            self._sums.zero_()
            self._steps.zero_()
        super().log({**logs, **means}, *args, **kwargs)
