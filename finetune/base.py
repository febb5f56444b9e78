"""The base of a run: loaded as the configuration says, on this process's device, and known by its contents."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from finetune.config import ConfigError, FinetuneConfig
from finetune.room import BaseFacts, facts_of
from gazevlm_core.datasets.trained_on import TrainedOn
from gazevlm_core.inference import GazeEngine, what_is_known
from gazevlm_core.model.checkpoint import (
    CheckpointError,
    find_checkpoint,
    held_as,
    load_checkpoint,
    load_config,
    load_processor,
    pick_device,
)
from gazevlm_core.model.ood_score import OOD_REFERENCE_FILE
from gazevlm_core.model.processing_gazevlm import GazeVLMProcessor
from gazevlm_core.options import resolve_source

# Beside the weights. Loading asks for each of them, so that a cache holds the same ones however it was filled.
IDENTIFYING = (
    "config.json", "preprocessor_config.json", "processor_config.json", "tokenizer.json", "chat_template.jinja",
    "chat_template.json", OOD_REFERENCE_FILE,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Base:
    """What is adapted.

    Args:
        engine: holds the model, which training changes in place.
        source: as in the configuration.
        revision: commit of the Hub; "" for a folder.
        fingerprint: from `folder_digest`: the same for a commit of the Hub and a copy of it in a folder.
        trained_on: of a merged model, whom and what its adapters were trained on; see `read_all_trained_on`.
    """

    engine: GazeEngine
    source: str
    revision: str
    fingerprint: str
    trained_on: tuple[TrainedOn | None, ...] = ()

    @property
    def model_id(self) -> str:
        """Hub id or folder name."""
        return self.engine.checkpoint.model_id

    @property
    def pixel_limits(self) -> tuple[int, int]:
        """Smallest and largest image in pixels after resizing."""
        return self.engine.processor.pixel_limits


def load_base(config: FinetuneConfig, revision: str = "") -> Base:
    """Load the base, with the pixel limits of the configuration.

    Args:
        revision: of a base on the Hub; "" for its newest.

    Raises:
        CheckpointError: it cannot be loaded, or its provenance cannot be read.
        ConfigError: pixel limits that leave no size.
    """
    folder, commit = find_checkpoint(config.base, revision)
    trained_on = tuple(what_is_known(None, config.base, commit))
    checkpoint = load_checkpoint(
        config.base, precision=config.precision, device=own_device(config.device), shardable=config.fsdp_storage,
        revision=commit, attn=config.attn,
    )  # fmt: skip
    limit_pixels(checkpoint.processor, config)
    return Base(GazeEngine(checkpoint), config.base, commit, folder_digest(folder), trained_on)


def facts_before(config: FinetuneConfig, revision: str = "") -> tuple[BaseFacts, GazeVLMProcessor]:
    """Return what decides how much room a base will take, from its small files alone, and the processor that resizes
    images.

    Args:
        revision: as in `load_base`.

    Raises:
        CheckpointError: it cannot be read.
        ConfigError: pixel limits that leave no size.
    """
    _, commit = find_checkpoint(config.base, revision)
    where, pinned = resolve_source(config.base), {"revision": commit} if commit else {}
    processor = load_processor(where, config.base, **pinned)
    values = load_config(where, config.base, processor, **pinned)
    limit_pixels(processor, config)
    on_gpu = pick_device(own_device(config.device)).type == "cuda"
    return facts_of(values, processor, held_as(values, config.precision), on_gpu=on_gpu), processor


def limit_pixels(processor: GazeVLMProcessor, config: FinetuneConfig) -> None:
    """Set the processor's pixel limits to those of the configuration.

    Raises:
        ConfigError: limits that leave no size.
    """
    size = processor.image_processor.size
    size["longest_edge"] = config.max_pixels or size["longest_edge"]
    size["shortest_edge"] = config.min_pixels or min(size["shortest_edge"], size["longest_edge"])
    if size["shortest_edge"] > size["longest_edge"]:
        raise ConfigError(
            f"min_pixels: {config.min_pixels} is above the largest image of {config.base}, {size['longest_edge']}; "
            "give a higher max_pixels too"
        )


def is_same_base(config: FinetuneConfig, recorded: Mapping[str, Any]) -> bool:
    """Return whether a base is the recorded one of the same name. Nothing is loaded.

    Args:
        recorded: `base` of the provenance.

    Raises:
        CheckpointError: the folder is not there any more.
    """
    if recorded.get("revision"):  # a commit of the Hub never changes
        return True
    return folder_digest(find_checkpoint(config.base)[0]) == recorded.get("fingerprint")


def own_device(device: str) -> str:
    """Return the device of this process: of several on one machine, each has its own GPU."""
    rank = os.environ.get("LOCAL_RANK")
    if device in ("auto", "cuda") and rank is not None:
        import torch

        if torch.cuda.is_available():
            return f"cuda:{rank}"
    return device


def folder_digest(folder: Path) -> str:
    """Return SHA-256 of the files that decide a checkpoint's answers; other files in the folder do not count.

    Raises:
        CheckpointError: its weights are not all there.
    """
    digest = hashlib.sha256()
    for path in sorted({*_weights(folder), *(folder / name for name in IDENTIFYING if (folder / name).is_file())}):
        with path.open("rb") as stream:
            digest.update(f"{path.name} {hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def _weights(folder: Path) -> Iterator[Path]:
    """Yield the files that weights are loaded from."""
    names = {SAFE_WEIGHTS_NAME}
    if not (folder / SAFE_WEIGHTS_NAME).is_file() and (folder / SAFE_WEIGHTS_INDEX_NAME).is_file():
        index = json.loads((folder / SAFE_WEIGHTS_INDEX_NAME).read_text(encoding="utf-8"))
        names = set(index["weight_map"].values())
    for name in names:
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} holds no {name}; give a base whose weights are safetensors, and all there")
        yield folder / name
