"""Whether a run fits: the memory and the disk that it will take, beside what is free. Computed, never measured."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.config import ConfigError, FinetuneConfig, Optimizer
from finetune.memory import FLOAT32, GIGA, OPTIMIZER_BYTES, Memory, ModelSizes, memory_of, sizes_of
from gazevlm_core.options import Attention, Precision

if TYPE_CHECKING:
    from gazevlm_core.model.configuration_gazevlm import GazeVLMConfig
    from gazevlm_core.model.processing_gazevlm import GazeVLMProcessor

WORDS = 128  # of one image: question and answer
GLIMPSE_TOKENS = 11  # of one glimpse of the usual size
CUDA_ITSELF = 1_000_000_000  # bytes for CUDA, its libraries, and gaps of the allocator; 1 to 2 GB
KEPT_AT_ONCE = 3  # checkpoints: two that are whole, and one that is being written
LEAST_SHOWN_BYTES = 50_000_000  # bytes: a tenth of a gigabyte, rounded
CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class BaseFacts:
    """What decides how much a base takes.

    Args:
        sizes: of it.
        precision: it is loaded in; not AUTO.
        on_gpu: where it lies.
        most_pixels: of an image after resizing.
        gaze_tokens: K.
        glimpse_tokens: of all glimpses of an image, as many as the base takes.
    """

    sizes: ModelSizes
    precision: Precision
    on_gpu: bool
    most_pixels: int
    gaze_tokens: int
    glimpse_tokens: int = 0


def facts_of(
    config: "GazeVLMConfig", processor: "GazeVLMProcessor", precision: Precision, *, on_gpu: bool
) -> BaseFacts:
    """Return the facts about a base, loaded or not yet."""
    gaze, (_, most_pixels) = config.gaze_config, processor.pixel_limits
    return BaseFacts(
        sizes_of(config.to_dict()), precision, on_gpu, most_pixels, gaze.num_gaze_tokens, gaze.num_glimpse_tokens
    )


@dataclass(frozen=True)
class Disk:
    """Bytes that a run leaves on the disk.

    Args:
        features: of the images, from the frozen vision tower.
        checkpoints: adapters with the optimizer's states, and the finished one.
    """

    features: int
    checkpoints: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.features + self.checkpoints


def memory_for(config: FinetuneConfig, facts: BaseFacts, *, shards: int = 1) -> Memory:
    """Return what a training takes on one device.

    Args:
        facts: of the base, and where it lies.
        shards: devices that share the model.
    """
    image = -(-(config.max_pixels or facts.most_pixels) // facts.sizes.token_pixels)
    glimpses = facts.glimpse_tokens if config.num_glimpses is None else config.num_glimpses * GLIMPSE_TOKENS
    tokens = image + WORDS + (config.num_gaze_tokens or facts.gaze_tokens) + glimpses
    pairs = config.batch_size * facts.sizes.attention_heads * tokens**2
    return memory_of(
        facts.sizes,
        rank=config.lora_rank,
        batch_tokens=config.batch_size * tokens,
        optimizer=_optimizer(config, on_gpu=facts.on_gpu),
        shards=shards,
        precision=facts.precision if config.precision is Precision.AUTO else config.precision,
        width_bytes=2 if facts.on_gpu else 4,
        checkpointing=facts.on_gpu if config.gradient_checkpointing is None else config.gradient_checkpointing,
        scores=pairs if config.attn is Attention.EAGER else 0,
    )


def disk_for(config: FinetuneConfig, facts: BaseFacts, tokens: int) -> Disk:
    """Return what a run leaves on the disk.

    Args:
        tokens: image tokens of all pictures.
    """
    keeps = config.cache_features and config.freeze_vision is not False
    features = tokens * facts.sizes.image_token_width * (2 if facts.on_gpu else FLOAT32) if keeps else 0
    trained = facts.sizes.lora(config.lora_rank) + facts.sizes.heads + facts.sizes.width
    states = OPTIMIZER_BYTES[_optimizer(config, on_gpu=facts.on_gpu)]
    copies = 2 if config.patience else 1  # the finished adapter, and the best one so far
    return Disk(features, round(trained * (KEPT_AT_ONCE * (FLOAT32 + states) + copies * FLOAT32)))


def _optimizer(config: FinetuneConfig, *, on_gpu: bool) -> Optimizer:
    usual = Optimizer.PAGED_ADAMW_8BIT if on_gpu else Optimizer.ADAMW
    return usual if config.optimizer is Optimizer.AUTO else config.optimizer


def check_room(
    config: FinetuneConfig, facts: BaseFacts, tokens: int, run: Path, free_memory: int, *, processes: int = 1,
    done: int = 0,
) -> str:  # fmt: skip
    """Return the sentence on what a run will take.

    Args:
        tokens: image tokens of all pictures, each once.
        free_memory: bytes, of the device.
        processes: of the run, which share the model where FSDP is asked for. Those that share the memory of a machine
            without a GPU are counted by the launcher.
        done: bytes that an earlier try has left in the run's folder already.

    Raises:
        ConfigError: it does not fit, and the configuration does not say to go on anyway.
    """
    shards = processes if config.fsdp_storage else 1
    memory = memory_for(config, facts, shards=shards)
    whole = memory_for(config, facts).weights  # each process loads it before it is shared
    needed = max(memory.total, whole) + (CUDA_ITSELF if facts.on_gpu else 0)
    if not facts.on_gpu:
        needed *= int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    disk, free_disk = disk_for(config, facts, tokens), shutil.disk_usage(run).free
    device, here = ("the GPU", "GPU") if facts.on_gpu else ("memory", "machine")
    free = f"{_gb(free_disk)} are free" + (f", {_gb(done)} are there already" if done >= LEAST_SHOWN_BYTES else "")
    problem = ""
    if needed > free_memory:
        lower = "batch_size (and raise accumulation), then max_pixels, then lora_rank"
        if memory.weights > free_memory:
            lower = "the size of the base, or take it in nf4"
        problem = f"memory: about {_gb(needed)} are needed and {_gb(free_memory)} are free on this {here}; lower "
        problem += lower
    elif disk.total > free_disk + done:
        lower = "checkpoints need less with a lower lora_rank"
        if disk.features > disk.checkpoints:
            lower = "lower max_pixels, or keep no features with --no-cache-features"
        problem = f"disk: about {_gb(disk.total)} are needed and {free}; make room, {lower}"
    if problem and config.check_room:
        raise ConfigError(f"{problem}, or go on anyway with --no-check-room")
    return (
        f"This will take about {_gb(needed)} of {device} ({_gb(free_memory)} are free) and {_gb(disk.total)} of the "
        f"disk (features {_gb(disk.features)}, checkpoints {_gb(disk.checkpoints)}; {free}); computed, not measured."
    )


def free_ram(cgroup: Path = CGROUP) -> int:
    """Return bytes that this process may still take: what the machine has free, or less in a container with a limit."""
    import psutil

    free = int(psutil.virtual_memory().available)
    try:
        limit, used = ((cgroup / name).read_text().strip() for name in ("memory.max", "memory.current"))
        statistics = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
        if limit == "max":
            return free
        return min(free, int(limit) - int(used) + int(statistics.get("inactive_file", 0)))  # kept pages give way
    except (OSError, ValueError):
        return free  # no such limit, or of another kind


def _gb(count: float) -> str:
    return f"{count / GIGA:.1f} GB"
