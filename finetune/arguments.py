"""A configuration in the words of `transformers.Trainer`."""

import math
import os
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import TrainerCallback, TrainingArguments
from transformers.integrations import TensorBoardCallback

from finetune.config import ConfigError, FinetuneConfig, Optimizer, ReportTo
from finetune.records import TENSORBOARD

KEPT_CHECKPOINTS = 2  # one is whole while the next is written
OPTIMIZERS = {Optimizer.ADAMW: "adamw_torch_fused", Optimizer.PAGED_ADAMW_8BIT: "paged_adamw_8bit"}


def total_steps(config: FinetuneConfig, images: int, processes: int) -> int:
    """Optimizer steps of a run."""
    if config.max_steps:
        return config.max_steps
    return max(1, math.ceil(config.epochs * images / (config.batch_size * config.accumulation * processes)))


def spaced(times: int, steps: int) -> frozenset[int]:
    """Steps after which something is done, evenly spaced; the last step is always one of them."""
    return frozenset(max(1, round(steps * number / times)) for number in range(1, times + 1))


def training_arguments(
    config: FinetuneConfig, checkpoints: Path, steps: int, *, device: str, dtype: torch.dtype
) -> TrainingArguments:
    """Arguments of the Trainer; what is logged, scored and kept is decided by `RunCallback`, by `reporters` where to.

    Args:
        config: of the run.
        checkpoints: folder.
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
        output_dir=str(checkpoints),
        max_steps=steps,
        per_device_train_batch_size=config.batch_size,
        gradient_accumulation_steps=config.accumulation,
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=round(config.warmup_share * steps),
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        optim=OPTIMIZERS[chosen],
        gradient_checkpointing=saves_memory,
        gradient_checkpointing_kwargs={"use_reentrant": False} if saves_memory else None,
        bf16=autocast == torch.bfloat16,
        fp16=autocast == torch.float16,
        use_cpu=not on_gpu,
        seed=config.seed,
        logging_strategy="no",
        logging_nan_inf_filter=False,
        save_strategy="no",
        save_total_limit=KEPT_CHECKPOINTS,
        report_to=config.report_to.value if config.report_to is ReportTo.TRACKIO else "none",  # see `reporters`
        remove_unused_columns=False,
        dataloader_num_workers=config.workers,
        ddp_find_unused_parameters=True,  # a batch without scanpaths leaves the pointer out
        disable_tqdm=True,
        deepspeed=config.deepspeed or None,
    )


def reporters(config: FinetuneConfig, run: Path) -> list[TrainerCallback]:
    """What sends curves elsewhere; for the main process, after `training_arguments` found it installed.

    The Trainer would put TensorBoard's files among the checkpoints, with which they are deleted.
    """
    if config.report_to is not ReportTo.TENSORBOARD:
        return []
    from torch.utils.tensorboard import SummaryWriter

    return [TensorBoardCallback(SummaryWriter(str(run / TENSORBOARD)))]
