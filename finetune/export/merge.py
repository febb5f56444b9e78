"""A model that needs no adapter: the base out of its four bits, LoRA added to its weights, and the adapter's token row
and heads, as a checkpoint folder like any other; or as a plain model of the base's family.
"""

import json
import re
import shutil
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from finetune.base import Base, load_base
from finetune.config import DEVICE_PATTERN, ConfigError, FinetuneConfig
from finetune.export.card import merged_card
from finetune.export.files import BESIDE, MODEL_CONFIG, ExportError, adapter_files, made_whole
from finetune.export.plain import save_plain
from finetune.provenance import CARD
from finetune.records import read_provenance, write_json
from gazevlm_core.model.adapters import attach_adapter, read_base_name, sees_as_its_base
from gazevlm_core.model.checkpoint import find_checkpoint, intended_dtype, resolve_source
from gazevlm_core.model.modeling_gazevlm import HEADS, GazeVLM
from gazevlm_core.model.remote_code import write_remote_code

WITH_GAZE = "gazevlm"


class Storage(StrEnum):
    """How the weights of a merged model are written; AUTO is 16 bits, float16 where the base computes in float32 (its
    rounding is finer) and else the base's own."""

    AUTO = "auto"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    FLOAT32 = "float32"


@dataclass(frozen=True)
class Merged:
    """What was written.

    Args:
        folder: of the model.
        storage: of its weights.
        size: bytes of all files.
    """

    folder: Path
    storage: Storage
    size: int


def merge_adapter(
    adapter: Path, out: Path, *, base: str = "", storage: Storage = Storage.AUTO, device: str = "cpu",
    form: str = WITH_GAZE,
) -> Merged:  # fmt: skip
    """Write an adapter and its base as one model.

    The base is held as it was in training, so four bits that the adapter was trained on are what it is merged into. The
    processor keeps the pixel limits of the training. The reference of familiar images goes along unless the adapter
    changed the vision tower, whose features it is made of, or the size of images.

    Args:
        adapter: folder.
        out: folder that is made, whole or not at all.
        base: a shipped checkpoint, a folder, or a Hub id; "" for the one that the adapter names.
        storage: of the weights.
        device: to compute on.
        form: WITH_GAZE, or the `model_type` of the base's family for a plain model of it, which any server of that
            family loads, without gaze.

    Raises:
        AdapterError, CheckpointError, RecordError: adapter or base cannot be used.
        ExportError: the base is another one or of another family, `out` is there already, or no such device.
    """
    names = adapter_files(adapter)
    if re.fullmatch(DEVICE_PATTERN, device) is None:
        raise ExportError(f"there is no device {device}; give auto, cpu, cuda or cuda:N")
    with made_whole(out) as work:
        values = read_provenance(adapter)
        loaded = _load(adapter, values, base, device)
        own = loaded.engine.model.plain.config_class.model_type
        if form not in (WITH_GAZE, own):
            raise ExportError(f"{loaded.model_id} can be merged as {WITH_GAZE} or as {own}, not as {form}")
        intended = intended_dtype(AutoConfig.from_pretrained(find_checkpoint(loaded.source, loaded.revision)[0]))
        stored = _storage(storage, intended)
        merged = merge_weights(loaded.engine.model, adapter, intended, getattr(torch, stored))
        _save(form, loaded, merged, work, familiar=sees_as_its_base(adapter))
        _say_dtype(work, "float32" if intended == torch.float32 else stored.value)
        for name in BESIDE:
            if name in names and name != CARD:
                shutil.copyfile(adapter / name, work / name)
        text = merged_card(
            out.name, adapter.resolve().name, loaded.model_id, stored.value, values,
            plain="" if form == WITH_GAZE else merged.family,
        )  # fmt: skip
        (work / CARD).write_text(text, encoding="utf-8")
    return Merged(out, stored, sum(path.stat().st_size for path in out.iterdir()))


def _save(form: str, base: Base, merged: GazeVLM, folder: Path, *, familiar: bool) -> None:
    """Write model and processor, and what goes with them."""
    if form != WITH_GAZE:
        save_plain(merged, base.engine.processor, folder)
        return
    merged.save_pretrained(folder)
    base.engine.processor.save_pretrained(folder)
    write_remote_code(folder)
    if base.engine.checkpoint.ood_reference is not None and familiar:
        base.engine.checkpoint.ood_reference.save(folder)


def merge_weights(
    model: GazeVLM, adapter: Path, intended: torch.dtype | None, stored: torch.dtype
) -> GazeVLM:
    """Make an adapter part of a model's weights, in place.

    Args:
        model: without an adapter, quantised or not.
        adapter: folder.
        intended: dtype of the base's arithmetic; in float32 the sum is rounded once.
        stored: dtype of the result; the heads stay in float32.

    Raises:
        AdapterError: it does not fit, or is not finite.
        ExportError: the sum does not fit the dtype.
    """
    exact = torch.float32 in (intended, stored)
    work = torch.float32 if exact else stored
    if getattr(model, "hf_quantizer", None) is not None:
        model.dequantize(dtype=work)
    _cast(model, work)
    attach_adapter(model, adapter).merge()
    _cast(model, stored)
    if not all(bool(parameter.isfinite().all()) for parameter in model.parameters()):
        raise ExportError(f"the merged weights do not fit {str(stored).removeprefix('torch.')}; give --dtype bfloat16")
    return model.eval()


def _cast(model: GazeVLM, dtype: torch.dtype) -> None:
    for name, parameter in model.named_parameters():
        if not name.startswith(HEADS):
            parameter.data = parameter.data.to(dtype)


def _storage(storage: Storage, intended: torch.dtype | None) -> Storage:
    if storage is not Storage.AUTO:
        return storage
    return Storage.FLOAT16 if intended in (torch.float32, torch.float16) else Storage.BFLOAT16


def _say_dtype(folder: Path, dtype: str) -> None:
    """A base that computes in float32 goes on doing so, whatever its weights are written in: the configuration says in
    which dtype they are loaded."""
    path = folder / MODEL_CONFIG
    values = json.loads(path.read_text(encoding="utf-8"))
    for part in (values, values["text_config"], values["vision_config"]):
        part["dtype"] = dtype
    write_json(path, values)


def _load(adapter: Path, values: dict[str, Any] | None, base: str, device: str) -> Base:
    """The adapter's base as its training held it, known to be the same by its fingerprint.

    Raises:
        ExportError: it is another one, or not to be found.
    """
    name = adapter.resolve().name
    try:
        said = {**values["config"], "base": base or values["base"]["source"]} if values else {
            "annotations": ["none"], "base": base or read_base_name(adapter) or "-",
        }  # fmt: skip
        trained_on = values["base"] if values else {"source": "", "revision": "", "fingerprint": ""}
        fingerprint = trained_on["fingerprint"]
        revision = trained_on["revision"] if said["base"] == trained_on["source"] else ""
        config = FinetuneConfig.from_values({**said, "device": device, "fsdp_storage": False})
    except (ConfigError, KeyError, TypeError) as error:
        raise ExportError(f"provenance of {name} is not as a training writes it: {error}") from None
    if "/" not in config.base and not Path(resolve_source(config.base)).is_dir():
        raise ExportError(f"{name} was trained on {config.base}, which is not here; give its folder as --base")
    try:
        loaded = load_base(config, revision)
    except ConfigError as error:
        raise ExportError(f"{config.base} is not the base that {name} was trained on: {error}") from None
    if fingerprint and loaded.fingerprint != fingerprint:
        raise ExportError(
            f"{config.base} is not the base that {name} was trained on: their fingerprints differ; give that one as "
            "--base"
        )
    return loaded
