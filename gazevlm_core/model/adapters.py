"""Adapters: a PEFT folder with LoRA weights and new-token rows, and beside them the heads and their configuration.

    adapter_config.json  adapter_model.safetensors  gaze_config.json  gaze_heads.safetensors

Safetensors only. Attaching keeps what it replaces, detaching puts it back: a swap leaves no trace on the base.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftConfig, PeftModel, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from gazevlm_core.model.config import GAZE_CONFIG_FILE, GazeConfig
from gazevlm_core.model.gaze_model import GazeVLM
from gazevlm_core.model.pointer import GazeHeads

HEADS_FILE = "gaze_heads.safetensors"
WEIGHTS_FILE = "adapter_model.safetensors"
PEFT_CONFIG_FILE = "adapter_config.json"
HEADS = "gaze_heads."
ADAPTER_FILES = (PEFT_CONFIG_FILE, WEIGHTS_FILE, HEADS_FILE, GAZE_CONFIG_FILE)
PICKLE_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"})


class AdapterError(ValueError):
    """An adapter that cannot be used; the message says why and what to do."""


def save_adapter(adapted: PeftModel, folder: Path, state_dict: Mapping[str, torch.Tensor] | None = None) -> None:
    """Write LoRA weights, new-token rows, heads and gaze configuration; the last one makes the folder an adapter.

    Args:
        adapted: a PEFT model around a `GazeVLM`.
        folder: made if missing.
        state_dict: of `adapted`, where its own tensors are but shares of the whole; None takes its own.

    Raises:
        KeyError: the state holds no heads.
    """
    base = cast(GazeVLM, adapted.get_base_model())
    whole = None if state_dict is None else dict(state_dict)
    adapted.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False, state_dict=whole)
    heads = base.gaze_heads.state_dict()
    if whole is not None:
        given = {name.partition(HEADS)[2]: tensor for name, tensor in whole.items() if HEADS in name}
        heads = {name: given[name] for name in heads}
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in heads.items()}, folder / HEADS_FILE)
    config = json.dumps(base.config.gaze_config.to_dict(), indent=2)
    (folder / GAZE_CONFIG_FILE).write_text(config + "\n", encoding="utf-8")


def read_gaze_config(folder: Path) -> GazeConfig:
    """The gaze configuration of an adapter folder, after checking that the folder is whole and holds no pickle.

    Raises:
        AdapterError: missing or unreadable files, or any pickle.
    """
    if not folder.is_dir():
        raise AdapterError(f"adapter {folder.name!r} is not a folder; give the folder that holds {HEADS_FILE}")
    pickles = sorted(path.name for path in folder.rglob("*") if path.suffix.lower() in PICKLE_SUFFIXES)
    if pickles:
        raise AdapterError(f"adapter {folder.name!r} holds pickle files ({pickles[0]}); save it as safetensors")
    for name in ADAPTER_FILES:
        if not (folder / name).is_file():
            raise AdapterError(f"adapter {folder.name!r} lacks {name}; save it with gazevlm_core.model.adapters")
    try:
        return GazeConfig.from_dict(json.loads((folder / GAZE_CONFIG_FILE).read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise AdapterError(f"adapter {folder.name!r}: {GAZE_CONFIG_FILE} is not usable: {error}") from error


def read_base_name(folder: Path) -> str:
    """Last part of the name of the model that an adapter was trained on, e.g. "gazevlm-nano"; "" where it is not said.

    Raises:
        AdapterError: as `read_gaze_config`.
    """
    read_gaze_config(folder)
    try:
        values = json.loads((folder / PEFT_CONFIG_FILE).read_text(encoding="utf-8"))
        return Path(values.get("base_model_name_or_path") or "").name
    except (ValueError, AttributeError, TypeError) as error:
        raise AdapterError(f"adapter {folder.name!r}: {PEFT_CONFIG_FILE} is not usable: {error}") from error


def adapter_stamp(folder: Path) -> tuple[object, ...]:
    """Equal for the same adapter, and another one once its files are written anew."""
    files = (folder / name for name in ADAPTER_FILES)
    states = (path.stat() for path in files if path.is_file())
    return (str(folder.resolve()), *((state.st_mtime_ns, state.st_size) for state in states))


@dataclass(frozen=True)
class AttachedAdapter:
    """An adapter that sits on a model, with what it replaced.

    Args:
        name: of the adapter's folder.
        stamp: from `adapter_stamp`.
    """

    name: str
    stamp: tuple[object, ...]
    _peft: PeftModel
    _bare_heads: GazeHeads
    _bare_gaze: dict | None

    def detach(self) -> None:
        """Take the adapter off; the model answers as if it had never been there."""
        bare = self._peft.unload()
        bare.gaze_heads, bare.config.gaze = self._bare_heads, self._bare_gaze

    def merge(self) -> None:
        """Make the adapter part of the model's weights, from which it cannot be taken off again.

        In the dtype of the weights; a quantised model should be dequantised first, or it is quantised anew.

        Raises:
            AdapterError: it holds numbers that are not finite.
        """
        try:
            self._peft.merge_and_unload(safe_merge=True)
        except ValueError as error:
            raise AdapterError(f"adapter {self.name!r} cannot be merged: {_first_line(error)}") from error


def attach_adapter(model: GazeVLM, folder: Path) -> AttachedAdapter:
    """Put an adapter on a bare model, in place: LoRA layers, new-token rows and the adapter's heads.

    Args:
        model: without an adapter; left bare when the adapter does not fit.
        folder: from `save_adapter`.

    Raises:
        AdapterError: the folder is not usable, or does not fit this model.
    """
    gaze, stamp = read_gaze_config(folder), adapter_stamp(folder)
    try:
        heads = GazeHeads(model.config.text_config.hidden_size, gaze)
        heads.load_state_dict(load_file(folder / HEADS_FILE))
        weights = load_file(folder / WEIGHTS_FILE)
        adapted = PeftModel(model, PeftConfig.from_pretrained(str(folder), inference_mode=True))
    except (RuntimeError, SafetensorError, OSError, ValueError, TypeError) as error:
        raise AdapterError(f"adapter {folder.name!r} does not fit this model: {_first_line(error)}") from error
    try:
        result: Any = set_peft_model_state_dict(adapted, weights)  # what load_state_dict returns
        missing = [key for key in result.missing_keys if _is_adapters(key, tied=model.config.tie_word_embeddings)]
        if missing or result.unexpected_keys:
            stray = (missing or result.unexpected_keys)[0]
            raise AdapterError(f"adapter {folder.name!r} does not fit this model: {stray} has no counterpart")
    except (RuntimeError, KeyError, ValueError) as error:
        adapted.unload()
        if isinstance(error, AdapterError):
            raise
        raise AdapterError(f"adapter {folder.name!r} does not fit this model: {_first_line(error)}") from error
    adapted.train(model.training)  # new layers begin in training mode, in which dropout would blur every answer
    attached = AttachedAdapter(folder.name, stamp, adapted, model.gaze_heads, model.config.gaze)
    model.gaze_heads = heads.to(model.device).eval()
    model.config.gaze = gaze.to_dict()
    return attached


def _is_adapters(key: str, *, tied: bool) -> bool:
    """Whether a weight must come from the adapter; a tied head shares its rows with the embedding."""
    if "trainable_tokens_delta" in key:
        return not (tied and ".lm_head." in key)
    return "lora_" in key


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
