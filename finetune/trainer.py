"""The Trainer of adapters: its arguments, two learning rates, and when it scores, keeps checkpoints and stops."""

import math
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import PartialState
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations import TensorBoardCallback

from finetune.config import ConfigError, FinetuneConfig, Optimizer, ReportTo
from finetune.records import COMPLETE, TENSORBOARD, Measure, sync_files
from finetune.run_log import RunLog
from finetune.stopping import Stopped
from gazevlm_core.model.adapters import HEADS_FILE, WEIGHTS_FILE, head_weights, save_adapter
from gazevlm_core.model.modeling_gazevlm import HEADS, GazeVLM
from gazevlm_core.training import LOSS_NAMES
from gazevlm_core.training.trainer import GazeTrainer

KEPT_CHECKPOINTS = 2  # one is complete while the next is written
OPTIMIZERS = {Optimizer.ADAMW: "adamw_torch_fused", Optimizer.PAGED_ADAMW_8BIT: "paged_adamw_8bit"}
ROUNDED = 8  # significant digits
# In float16 gradients are scaled by 65,536, and by half of what it was at each step that overflows, which is left out.
MOST_SCALED = 20  # in a row: by then the scale is far below 1
UNSCORED = "UNSCORED"  # in a checkpoint of a run that was asked to stop when it should have scored


class TrainingError(RuntimeError):
    """Training cannot go on; one sentence that says why and what to do."""


# ---- arguments ------------------------------------------------------------------------------------------------------
def total_steps(config: FinetuneConfig, images: int, processes: int) -> int:
    """Return the optimizer steps of a run."""
    if config.max_steps:
        return config.max_steps
    return max(1, math.ceil(config.epochs * images / (config.batch_size * config.accumulation * processes)))


def evenly_spaced(times: int, steps: int) -> frozenset[int]:
    """Return the steps after which something is done, evenly spaced, the last step among them."""
    return frozenset(max(1, round(steps * number / times)) for number in range(1, times + 1))


def training_arguments(
    config: FinetuneConfig, checkpoints: Path, steps: int, *, device: str, dtype: torch.dtype
) -> TrainingArguments:
    """Return the arguments of the Trainer. `RunCallback` decides what is logged, scored and kept, `reporters` where to.

    Args:
        steps: from `total_steps`.
        device: "cuda" or "cpu", where the model lies.
        dtype: of its arithmetic, which is that of autocast too; float32 takes none.

    Raises:
        ConfigError: an optimizer that wants CUDA, a reporter that is not installed, or a model that cannot be shared.
    """
    on_gpu = device == "cuda"
    if config.report_to is not ReportTo.NONE and find_spec(config.report_to.value) is None:
        name = config.report_to.value
        raise ConfigError(f"report_to: {name} is not installed; pip install {name}, or give none")
    chosen = config.optimizer
    if chosen is Optimizer.AUTO:
        chosen = Optimizer.PAGED_ADAMW_8BIT if on_gpu else Optimizer.ADAMW
    if chosen is Optimizer.PAGED_ADAMW_8BIT and not on_gpu:  # bitsandbytes would take a plain one instead
        raise ConfigError(f"optimizer: {chosen.value} needs CUDA; give adamw or auto")
    if config.fsdp_storage and on_gpu and dtype == torch.float16:
        raise ConfigError("fsdp_storage: gradients in float16 need a scale, which a shared model has not; leave it out")
    # Sharded, the heads stay in float32 only without a policy of dtypes.
    autocast = dtype if on_gpu and not config.fsdp_storage else torch.float32
    os.environ["ACCELERATE_MIXED_PRECISION"] = "no"  # the launcher's word would go before the model's own dtype
    saves_memory = on_gpu if config.gradient_checkpointing is None else config.gradient_checkpointing
    return TrainingArguments(
        **config.options_for("trainer"),
        output_dir=str(checkpoints),
        max_steps=steps,
        lr_scheduler_type="cosine",
        warmup_steps=round(config.warmup_share * steps),
        optim=OPTIMIZERS[chosen],
        gradient_checkpointing=saves_memory,
        gradient_checkpointing_kwargs={"use_reentrant": False} if saves_memory else None,
        bf16=autocast == torch.bfloat16,
        fp16=autocast == torch.float16,
        use_cpu=not on_gpu,
        logging_strategy="no",
        logging_nan_inf_filter=False,
        save_strategy="no",
        save_total_limit=KEPT_CHECKPOINTS,
        report_to=config.report_to.value if config.report_to is ReportTo.TRACKIO else "none",  # see `reporters`
        remove_unused_columns=False,
        train_sampling_strategy="sequential",  # the items are in the order that was drawn from the run's seed
        ddp_find_unused_parameters=True,  # a batch without scanpaths leaves the pointer out
        disable_tqdm=True,
        deepspeed=config.deepspeed or None,
    )


def reporters(config: FinetuneConfig, run: Path) -> list[TrainerCallback]:
    """Return what sends curves to TensorBoard; for the main process, after `training_arguments` found it installed.

    The Trainer would put TensorBoard's files among the checkpoints, with which they are deleted.
    """
    if config.report_to is not ReportTo.TENSORBOARD:
        return []
    from torch.utils.tensorboard import SummaryWriter

    return [TensorBoardCallback(SummaryWriter(str(run / TENSORBOARD)))]


# ---- the Trainer ----------------------------------------------------------------------------------------------------
class AdaptTrainer(GazeTrainer):
    """Trains a PEFT model around a `GazeVLM` with its heads, on items in the order that they are given.

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
    def unsharded(self) -> Iterator[None]:
        """Let the model be called by its inner name: FSDP gathers what lies outside of its layers by the outer one."""
        shared = isinstance(self.adapted, FSDPModule)
        if shared:
            self.adapted.unshard()
        try:
            yield
        finally:
            if shared:
                self.adapted.reshard()

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        """Return the library's optimizer on two groups of parameters, heads and all else."""
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
        """Save a checkpoint as `attach_adapter` reads it; the base class would leave out the heads."""
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
    """Load the weights of a saved adapter of the same shape into a model that is being trained.

    Raises:
        ValueError: they do not fit.
    """
    own = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    weights = {name: as_share(full, own.get(name)) for name, full in load_file(folder / WEIGHTS_FILE).items()}
    base = cast(GazeVLM, adapted.get_base_model())
    result: Any = set_peft_model_state_dict(adapted, {**weights, **head_weights(base.gaze_heads)})
    if result.unexpected_keys:
        raise ValueError(f"{folder.name}: {result.unexpected_keys[0]} has no counterpart in the model")
    heads = base.gaze_heads.state_dict()
    base.gaze_heads.load_state_dict(
        {name: as_share(full, heads.get(name)) for name, full in load_file(folder / HEADS_FILE).items()}
    )


def as_share(full: torch.Tensor, own: torch.Tensor | None) -> torch.Tensor:
    """Return a tensor as this process holds it: a part of it where FSDP shares it, else itself."""
    if isinstance(own, DTensor):
        return distribute_tensor(full.to(own.device), own.device_mesh, own.placements)
    return full


# ---- what happens at a step -----------------------------------------------------------------------------------------
class RunCallback(TrainerCallback):
    """Logs every step, scores on time, marks complete checkpoints, and stops on request.

    Args:
        log: of the run.
        score_at: steps after which the held-out images are scored.
        save_at: steps after which a checkpoint is kept.
        score: step -> measures; called by every process.
        should_stop: whether the run was asked to stop; called after every step.
        stops_early: gets measures and step, and decides whether to stop early.
    """

    def __init__(
        self, log: RunLog, score_at: frozenset[int], save_at: frozenset[int], score: Callable[[int], list[Measure]],
        should_stop: Callable[[], bool], stops_early: Callable[[list[Measure], int], bool],
    ) -> None:  # fmt: skip
        self._log, self._score_at, self._save_at = log, score_at, save_at
        self._score, self._should_stop, self._stops_early = score, should_stop, stops_early
        self.stopped = False
        self._scaled = 0  # steps in a row that float16 could not hold

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Decide on saving and stopping."""
        control.should_log = True
        control.should_save = state.global_step in self._save_at
        if self._should_stop() and state.global_step < state.max_steps:
            self.stopped = control.should_save = control.should_training_stop = True
        return control

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, float], **_: Any
    ) -> None:
        """Write a step down, and score on time.

        Raises:
            TrainingError: the loss is no number any more.
        """
        if "loss" not in logs:
            return
        step = state.global_step
        steep = not math.isfinite(logs.get("grad_norm", 0.0))
        self._scaled = self._scaled + 1 if steep and args.fp16 else 0
        if not math.isfinite(logs["loss"]) or (steep and not 0 < self._scaled <= MOST_SCALED):
            raise TrainingError(
                f"The loss is no number any more at step {step}; start again with a lower learning_rate and "
                "heads_learning_rate."
            )
        names = ("loss", *LOSS_NAMES, "learning_rate", "grad_norm")
        parts = {name: float(f"{logs[name]:.{ROUNDED}g}") for name in names if math.isfinite(logs.get(name, math.nan))}
        self._log.write("step", step=step, steps=state.max_steps, **parts)
        if step not in self._score_at or self.stopped:
            return
        try:
            over = self.score(step)
        except Stopped:  # in the middle of it: it is scored when the run is resumed
            over = self.stopped = True
        if over:
            control.should_save = control.should_training_stop = True

    def score(self, step: int) -> bool:
        """Score the held-out images; return whether to stop early."""
        found = self._score(step)
        self._log.write("held_out", step=step, measures=[asdict(one) for one in found])
        return self._stops_early(found, step)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Mark a checkpoint as complete; one without the mark is never resumed from."""
        PartialState().wait_for_everyone()  # each process keeps its own random state in it
        if args.should_save:
            folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
            if self.stopped and state.global_step in self._score_at:
                (folder / UNSCORED).write_text("", encoding="utf-8")
            sync_files(folder)
            (folder / COMPLETE).write_text("", encoding="utf-8")
            self._log.write("checkpoint", step=state.global_step)


def delete_others(folder: Path, kept: Path | None) -> None:
    """Delete all checkpoints but one: those that a kill has left half written, or half deleted."""
    for path in folder.glob("checkpoint-*"):
        if path != kept:
            (path / COMPLETE).unlink(missing_ok=True)
            shutil.rmtree(path)


def delete_incomplete(folder: Path) -> None:
    """Delete checkpoints that are not complete: what fills a disk may have been one of them."""
    for path in folder.glob("checkpoint-*"):
        if not (path / COMPLETE).exists():
            shutil.rmtree(path, ignore_errors=True)
