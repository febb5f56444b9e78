"""The Trainer of adapters: two rates of learning, checkpoints that hold the heads too, and an order that is given."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils.data import Dataset, Sampler, SequentialSampler

from gazevlm_core.model.adapters import HEADS_FILE, WEIGHTS_FILE, head_weights, save_adapter
from gazevlm_core.model.modeling_gazevlm import HEADS, GazeVLM
from gazevlm_core.training.trainer import GazeTrainer


class AdaptTrainer(GazeTrainer):
    """Trains a PEFT model around a `GazeVLM` with its heads.

    Args:
        heads_learning_rate: of the heads; the other rate is the arguments' own.
        args, kwargs: as in `transformers.Trainer`.
    """

    def __init__(self, *args: Any, heads_learning_rate: float, **kwargs: Any) -> None:
        self._heads_learning_rate = heads_learning_rate
        self.optimizer: torch.optim.Optimizer | None = None
        super().__init__(*args, **kwargs)

    @property
    def adapted(self) -> PeftModel:
        """The model without what processes are wrapped in."""
        return cast(PeftModel, self.accelerator.unwrap_model(self.model))

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 (the base class's)
        """As the base class; for FSDP, embedding and output layer stay with the outermost module.

        accelerate would shard them apart, and asks whether they are tied by comparing weights. Around the gaze token's
        row PEFT gives a weight that is made anew at each look, so that tied ones would be sharded twice.
        """
        if not self.is_fsdp_enabled:
            return super()._prepare_for_training(*args, **kwargs)
        hidden: Any = self.adapted
        hidden.get_input_embeddings = hidden.get_output_embeddings = lambda: None
        try:
            return super()._prepare_for_training(*args, **kwargs)
        finally:
            del hidden.get_input_embeddings, hidden.get_output_embeddings

    @contextmanager
    def whole(self) -> Iterator[None]:
        """While the model is asked by its inner name: FSDP gathers what lies outside of its layers by the outer one."""
        shared = isinstance(self.adapted, FSDPModule)
        if shared:
            self.adapted.unshard()
        try:
            yield
        finally:
            if shared:
                self.adapted.reshard()

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler:
        """The items' own order: it is drawn from the run's seed already."""
        return SequentialSampler(cast(Any, train_dataset or self.train_dataset))

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        """The library's optimizer on two groups of parameters, heads and all else."""
        if self.optimizer is None:
            trained = [(name, p) for name, p in (model or self.model).named_parameters() if p.requires_grad]
            kind, options = self.get_optimizer_cls_and_kwargs(self.args, model or self.model)
            groups: list[dict[str, Any]] = [
                {"params": [p for name, p in trained if HEADS not in name]},
                {"params": [p for name, p in trained if HEADS in name], "lr": self._heads_learning_rate},
            ]
            for group in groups:
                group["weight_decay"] = self.args.weight_decay
            self.optimizer = kind([group for group in groups if group["params"]], **options)
        return self.optimizer

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        """A checkpoint is an adapter as `attach_adapter` reads it; the base class would leave out the heads."""
        if self.args.should_save:
            folder = Path(output_dir or cast(str, self.args.output_dir))
            folder.mkdir(parents=True, exist_ok=True)
            save_adapter(self.adapted, folder, state_dict)

    def save_to(self, folder: Path) -> None:
        """Write the adapter as it is now. Every process calls it, the main one writes."""
        state = None
        if self.is_deepspeed_enabled or self.is_fsdp_enabled:  # each process holds a share: gather them
            state = self.accelerator.get_state_dict(self.model_wrapped if self.is_deepspeed_enabled else self.model)
        self._save(str(folder), state)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        load_weights(self.adapted, Path(resume_from_checkpoint))


def load_weights(adapted: PeftModel, folder: Path) -> None:
    """Put the weights of a saved adapter of the same shape into a model that is being trained.

    Raises:
        ValueError: they do not fit.
    """
    own = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    weights = {name: as_share(whole, own.get(name)) for name, whole in load_file(folder / WEIGHTS_FILE).items()}
    base = cast(GazeVLM, adapted.get_base_model())
    result: Any = set_peft_model_state_dict(adapted, {**weights, **head_weights(base.gaze_heads)})
    if result.unexpected_keys:
        raise ValueError(f"{folder.name}: {result.unexpected_keys[0]} has no counterpart in the model")
    heads = base.gaze_heads.state_dict()
    base.gaze_heads.load_state_dict(
        {name: as_share(whole, heads.get(name)) for name, whole in load_file(folder / HEADS_FILE).items()}
    )


def as_share(whole: torch.Tensor, own: torch.Tensor | None) -> torch.Tensor:
    """A tensor as this process holds it: a part of it where FSDP shares it, else itself."""
    if isinstance(own, DTensor):
        return distribute_tensor(whole.to(own.device), own.device_mesh, own.placements)
    return whole
