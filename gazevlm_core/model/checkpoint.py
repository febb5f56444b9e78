"""Loading and saving: a checkpoint of any family of `backbones` by Hub id or folder, plain or with gaze parts."""

import json
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForImageTextToText, PretrainedConfig
from transformers.utils import cached_file

from gazevlm_core.model.backbones import BY_TYPE, config_from
from gazevlm_core.model.configuration_gazevlm import GazeConfig, GazeVLMConfig
from gazevlm_core.model.modeling_gazevlm import HEADS, GazeVLM
from gazevlm_core.model.ood_score import OOD_REFERENCE_FILE, OodReference, OodReferenceError, read_ood_reference
from gazevlm_core.model.processing_gazevlm import GazeVLMProcessor
from gazevlm_core.model.quantise import compute_dtype, quantization_config
from gazevlm_core.options import NANO, Attention, Precision, resolve_source


class CheckpointError(ValueError):
    """A model that cannot be loaded; the message says why and what to do."""


@dataclass(frozen=True)
class Checkpoint:
    """A loaded model with its processor.

    Args:
        model: in evaluation mode.
        processor: of the same checkpoint.
        model_id: Hub id or folder name.
        precision: how the weights are held.
        ood_reference: where the features of its training images lie; None where that was not stored.
    """

    model: GazeVLM
    processor: GazeVLMProcessor
    model_id: str
    precision: Precision
    ood_reference: OodReference | None = None

    @property
    def dtype(self) -> torch.dtype:
        """Of the arithmetic, but for that of the heads, which is float32."""
        return self.model.get_encoder("image").dtype


@dataclass(frozen=True)
class CheckpointFacts:
    """What the files of a checkpoint of ours say before its weights are read.

    Args:
        model_id: Hub id or folder name.
        precision: how its weights will be held.
        device: "cpu" or "cuda".
        gaze_config: of the gaze parts.
    """

    model_id: str
    precision: Precision
    device: str
    gaze_config: GazeConfig


def describe_checkpoint(source: str) -> CheckpointFacts:
    """Read what is known of a checkpoint of ours without its weights.

    Args:
        source: name of a shipped checkpoint, or a folder.

    Raises:
        CheckpointError: it is none.
    """
    try:
        values = json.loads((Path(_known_place(source)) / "config.json").read_text(encoding="utf-8"))
        config = config_from(values, values["gaze_token_id"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"cannot read what {source} is: {first_line(error)}") from error
    return CheckpointFacts(_model_id(source), held_as(config, Precision.AUTO), pick_device().type, config.gaze_config)


def pick_device(device: str = "auto") -> torch.device:
    """Return CUDA where there is one, else the CPU; a name is taken at its word.

    Raises:
        CheckpointError: CUDA is asked for and absent.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        seen = os.environ.get("CUDA_VISIBLE_DEVICES")
        among = "" if seen is None else f" with CUDA_VISIBLE_DEVICES={seen}"
        raise CheckpointError(f"no CUDA device was found{among}; use --device cpu or auto")
    return torch.device(device)


def find_checkpoint(source: str, revision: str = "") -> tuple[Path, str]:
    """Return where the files of a checkpoint lie, in the cache for a Hub id, and the commit of the Hub that they are
    of.

    Of a Hub id, config.json alone is sure to be there before it was loaded.

    Args:
        source: as in `load_checkpoint`.
        revision: commit, branch or tag of a Hub id; "" for its newest, or offline the one that the cache calls so.

    Returns:
        Folder, and commit; "" for a folder that was given.

    Raises:
        CheckpointError: not found.
    """
    where = _known_place(source)
    if Path(where).is_dir():
        return Path(where), ""
    try:
        folder = Path(str(cached_file(where, "config.json", revision=revision or None))).parent
    except (OSError, ValueError) as error:
        place = f"{source}, revision {revision}" if revision else source
        raise CheckpointError(f"cannot find a model at {place}: {first_line(error)}") from error
    return folder, folder.name


def find_beside(source: str, name: str, revision: str = "") -> Path | None:
    """Return a file that may lie beside the weights of a checkpoint; None where there is none.

    Args:
        source: as in `load_checkpoint`.
        revision: as in `find_checkpoint`.

    Raises:
        CheckpointError: there is no such checkpoint, or the Hub cannot be reached.
    """
    where = _known_place(source)
    try:
        path = cached_file(where, name, revision=revision or None, _raise_exceptions_for_missing_entries=False)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot look for {name} of {source}: {first_line(error)}") from error
    return None if path is None else Path(path)


def _known_place(source: str) -> str:
    """Return a folder that is there, or what may be a Hub id.

    Raises:
        CheckpointError: neither.
    """
    where = resolve_source(source)
    if "/" not in source and not Path(where).is_dir():
        raise CheckpointError(f"there is no model {source}; give a shipped name, a folder, or a Hub id (owner/name)")
    return where


def load_checkpoint(
    source: str = NANO, *, precision: Precision = Precision.AUTO, device: str = "auto", shardable: bool = False,
    revision: str = "", attn: Attention = Attention.SDPA,
) -> Checkpoint:  # fmt: skip
    """Load a model with its processor.

    Args:
        source: name of a shipped checkpoint, a folder, or a Hub id of a family of `backbones`.
        precision: how to hold the weights; a checkpoint that was saved quantised stays as it is.
        device: "auto", "cpu", "cuda" or "cuda:N".
        shardable: store 4-bit weights in the dtype of the others, so that FSDP can shard them together.
        revision: of a Hub id, as in `find_checkpoint`.
        attn: how attention is computed.

    Raises:
        CheckpointError: not found, not of the family, not readable, or a precision, storage or attention that does not
            apply.
    """
    where, place = _known_place(source), pick_device(device)
    pinned = {"revision": revision} if revision else {}
    processor = load_processor(where, source, **pinned)
    config = load_config(where, source, processor, **pinned)
    saved = getattr(config, "quantization_config", None)
    dtype = torch.float32 if intended_dtype(config) == torch.float32 else compute_dtype(place)
    options: dict[str, Any] = {"config": config, "device_map": {"": place}, "attn_implementation": attn.value, **pinned}
    held = held_as(config, precision)
    if saved is not None:
        if precision is not Precision.AUTO:
            raise CheckpointError(f"{source} was saved quantised; load it with precision auto")
        if shardable:
            raise CheckpointError(f"{source} was saved quantised, and keeps its storage; take its 16-bit form for FSDP")
    else:
        if held in (Precision.NF4, Precision.INT8):
            tower = BY_TYPE[config.model_type].vision_name
            options["quantization_config"] = quantization_config(held, dtype, tower, shardable=shardable)
        elif precision is not Precision.AUTO:
            if held is Precision.BF16 and dtype == torch.float16:
                raise CheckpointError(f"{place} would only emulate bfloat16; give precision auto, nf4, int8 or fp32")
            dtype = torch.bfloat16 if held is Precision.BF16 else torch.float32
    options["dtype"] = dtype
    if attn is Attention.FLASH_2:
        _check_flash(place, dtype)
    try:
        model, report = AutoModelForImageTextToText.from_pretrained(
            where, **options, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise CheckpointError(f"cannot load {source}: {first_line(error)}") from error
    _check_complete(source, report, model)
    model.gaze_heads.float()  # fresh heads of a base without gaze come in the dtype of its weights
    return Checkpoint(model.eval(), processor, _model_id(source), held, _ood_reference(source, revision))


def _check_flash(place: torch.device, dtype: torch.dtype) -> None:
    """Raise CheckpointError before the library falls back, fetches a kernel, or fails at the first image."""
    if place.type != "cuda" or dtype == torch.float32:
        raise CheckpointError("flash_attention_2 works in 16 bits on CUDA alone; give --attn sdpa")
    if find_spec("flash_attn") is None:
        raise CheckpointError("flash_attention_2 needs the package flash-attn: pip install flash-attn, or --attn sdpa")


def _ood_reference(source: str, revision: str) -> OodReference | None:
    path = find_beside(source, OOD_REFERENCE_FILE, revision)
    try:
        return None if path is None else read_ood_reference(path)
    except OodReferenceError as error:
        raise CheckpointError(f"cannot load {source}: {error}") from error


def _check_complete(source: str, report: dict[str, Any], model: GazeVLM) -> None:
    """Raise CheckpointError for missing weights, which the library makes up; only untrained gaze heads may be
    missing."""
    gaze = model.config.gaze_config
    trained = gaze.gaze_trained or gaze.findings_trained
    missing = sorted(key for key in report["missing_keys"] if trained or not key.startswith(HEADS))
    wrong = missing + sorted(str(key) for key in report["mismatched_keys"]) + sorted(report["unexpected_keys"])
    if wrong:
        raise CheckpointError(
            f"{source} is not a complete {model.family}: {len(wrong)} weights do not fit: {wrong[0]} ..."
        )


def load_processor(where: str, source: str, **pinned: str) -> GazeVLMProcessor:
    """Return the processor of a checkpoint folder or Hub id, of which `revision` may be given.

    Raises:
        CheckpointError: files missing, or no tokenizer of the families.
    """
    try:
        return GazeVLMProcessor.from_pretrained(where, **pinned)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"cannot read the processor of {source}: {first_line(error)}") from error


def intended_dtype(config: PretrainedConfig) -> torch.dtype | None:
    """Return the dtype of the arithmetic that a checkpoint was saved for: of its 4-bit layers, else of its weights.

    Args:
        config: as it lies beside the weights.
    """
    quantised = getattr(config, "quantization_config", None) or {}
    stored = quantised.get("bnb_4bit_compute_dtype") or config.dtype or config.text_config.dtype
    return getattr(torch, stored) if isinstance(stored, str) else stored


def save_quantised(source: Path, target: Path) -> None:
    """Write a full-precision checkpoint folder again, with its processor: NF4 layers in the language model, the vision
    tower and embeddings in float16 (but computed in float32).

    Args:
        source: folder of a full-precision checkpoint.
    """
    tower = BY_TYPE[AutoConfig.from_pretrained(source).model_type].vision_name
    model = AutoModelForImageTextToText.from_pretrained(
        source,
        dtype=torch.float32,
        device_map={"": "cpu"},
        quantization_config=quantization_config(Precision.NF4, torch.float32, tower),
        use_safetensors=True,
    )
    model.get_encoder("image").half()
    model.get_input_embeddings().half()
    model.save_pretrained(target)
    load_processor(str(source), source.name).save_pretrained(target)


def load_config(where: str, source: str, processor: GazeVLMProcessor, **pinned: str) -> GazeVLMConfig:
    """Return the configuration of a checkpoint folder or Hub id, with gaze parts.

    Raises:
        CheckpointError: missing, or of no family of `backbones`.
    """
    try:
        path = cached_file(where, "config.json", **pinned)
        values = json.loads(Path(str(path)).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot find a model at {source}: {first_line(error)}") from error
    try:
        config = config_from(values, processor.gaze_token_id)
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"cannot load {source}: {first_line(error)}") from error
    rows = config.text_config.vocab_size
    if processor.gaze_token_id >= rows:
        raise CheckpointError(f"{source} has {rows} embedding rows and no room for the gaze token")
    return config


def held_as(config: GazeVLMConfig, precision: Precision) -> Precision:
    """Return how a checkpoint's weights are held once it is loaded.

    Args:
        config: as it lies beside the weights.
        precision: the one requested.
    """
    saved = getattr(config, "quantization_config", None)
    if saved is not None:
        return Precision.NF4 if saved.get("load_in_4bit") else Precision.INT8
    if precision is not Precision.AUTO:
        return precision
    if config.text_config.hidden_size >= 2048:  # the real family; small ones gain nothing
        return Precision.NF4
    return Precision.FP32 if intended_dtype(config) == torch.float32 else Precision.BF16


def _model_id(source: str) -> str:
    return Path(source).name if Path(source).is_dir() else source


def first_line(error: Exception) -> str:
    """Return the first line of a library's error, or its kind where it says nothing."""
    return str(error).strip().split("\n")[0] or type(error).__name__

