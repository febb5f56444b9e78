"""What a training takes in memory, in one sentence: computed from the base's dimensions, as `finetune.memory` says."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetune.config import FinetuneConfig, Optimizer
from finetune.memory import memory_of
from finetune.sizes import sizes_of
from finetune.tab.words import size
from gazevlm_core.options import Precision

if TYPE_CHECKING:
    from gazevlm_core.inference import GazeEngine

PATCH_PIXELS = 28 * 28  # of the resized image, for one token
WORDS = 128  # of one image: question and answer
SENTENCE = "Memory: about {total} on the {device}, {activations} of it for one batch (computed, not measured)."


@dataclass(frozen=True)
class BaseFacts:
    """What decides how much memory a base takes.

    Args:
        values: of its config.json.
        precision: it is loaded in; not AUTO.
        on_gpu: where it lies.
        most_pixels: of an image after resizing.
        gaze_tokens: K.
    """

    values: Mapping[str, Any]
    precision: Precision
    on_gpu: bool
    most_pixels: int
    gaze_tokens: int


def facts_of(engine: "GazeEngine") -> BaseFacts:
    """The facts of a loaded model."""
    return BaseFacts(
        engine.model.config.to_dict(), engine.checkpoint.precision, engine.model.device.type == "cuda",
        int(engine.processor.image_processor.size["longest_edge"]), engine.gaze_config.num_gaze_tokens,
    )  # fmt: skip


def memory_of_bases(facts: Mapping[str, BaseFacts]) -> Callable[[FinetuneConfig], str]:
    """What says it for any configuration.

    Args:
        facts: where a base was loaded from -> its facts.
    """
    return lambda config: memory_sentence(config, facts[config.base]) if config.base in facts else ""


def memory_sentence(config: FinetuneConfig, facts: BaseFacts) -> str:
    """What a training takes on one device."""
    on_gpu = facts.on_gpu if config.device == "auto" else config.device != "cpu"
    precision = facts.precision if config.precision is Precision.AUTO else config.precision
    usual = Optimizer.PAGED_ADAMW_8BIT if on_gpu else Optimizer.ADAMW
    image = -(-(config.max_pixels or facts.most_pixels) // PATCH_PIXELS)
    tokens = config.batch_size * (image + WORDS + (config.num_gaze_tokens or facts.gaze_tokens))
    memory = memory_of(
        sizes_of(facts.values),
        rank=config.lora_rank,
        batch_tokens=tokens,
        optimizer=usual if config.optimizer is Optimizer.AUTO else config.optimizer,
        precision=precision,
        width_bytes=2 if on_gpu else 4,
        checkpointing=on_gpu if config.gradient_checkpointing is None else config.gradient_checkpointing,
    )
    device = "GPU" if on_gpu else "CPU"
    return SENTENCE.format(total=size(memory.total), device=device, activations=size(memory.activations))
