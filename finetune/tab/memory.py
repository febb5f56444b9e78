"""What a training takes in memory, in one sentence: computed from the base's dimensions, as `finetune.memory` says."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from finetune.config import FinetuneConfig
from finetune.memory import sizes_of
from finetune.room import BaseFacts, memory_for
from web.formatting import size

if TYPE_CHECKING:
    from gazevlm_core.inference import GazeEngine

SENTENCE = "Memory: about {total} on the {device}, {activations} of it for one batch (computed, not measured)."


def facts_of(engine: "GazeEngine") -> BaseFacts:
    """The facts of a loaded model."""
    return BaseFacts(
        sizes_of(engine.model.config.to_dict()), engine.checkpoint.precision, engine.model.device.type == "cuda",
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
    memory = memory_for(config, replace(facts, on_gpu=on_gpu))
    device = "GPU" if on_gpu else "CPU"
    return SENTENCE.format(total=size(memory.total), device=device, activations=size(memory.activations))
