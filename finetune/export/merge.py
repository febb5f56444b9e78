"""A model that needs no adapter: the base out of its four bits, LoRA added to its weights, and the adapter's token row
and heads, as a checkpoint folder like any other; or as a plain model of the base's family.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoConfig
from transformers.utils import IMAGE_PROCESSOR_NAME

from finetune.base import Base, load_base
from finetune.card import CARD, merged_card
from finetune.config import DEVICE_PATTERN, ConfigError, FinetuneConfig
from finetune.export import WITH_GAZE, Storage
from finetune.export.files import BESIDE, MODEL_CONFIG, ExportError, adapter_files, new_folder
from finetune.records import read_provenance, write_json
from gazevlm_core.model.adapters import attach_adapter, read_base_name, sees_as_its_base
from gazevlm_core.model.checkpoint import find_checkpoint, intended_dtype, resolve_source
from gazevlm_core.model.modeling_gazevlm import HEADS, GazeVLM
from gazevlm_core.model.processing_gazevlm import GazeVLMProcessor
from gazevlm_core.model.remote_code import write_remote_code

OURS = ("model_type", "architectures", "auto_map", "gaze", "gaze_token_id")  # keys of the configuration
TOKENIZER_CONFIG = "tokenizer_config.json"


class Merged(NamedTuple):
    """Folder of a merged model, how its weights are stored, and the bytes of all its files."""

    folder: Path
    storage: Storage
    size: int


def merge_adapter(
    adapter: Path, out: Path, *, base: str = "", storage: Storage = Storage.AUTO, device: str = "cpu",
    form: str = WITH_GAZE,
) -> Merged:  # fmt: skip
    """Write an adapter and its base as one model.

    The base is held as it was in training, so four bits that the adapter was trained on are what it is merged into. The
    processor gets the pixel limits that the adapter was trained with. The reference of familiar images goes along
    unless the adapter changed the vision tower, whose features it is made of, or the size of images.

    Args:
        out: folder that is made, complete or not at all.
        base: a shipped checkpoint, a folder, or a Hub id; "" for the one that the adapter names.
        form: WITH_GAZE, or the `model_type` of the base's family for a plain model of it, which any server of that
            family loads, without gaze.

    Raises:
        AdapterError, CheckpointError, RecordError: adapter or base cannot be used.
        ExportError: the base is another one or of another family, `out` is there already, or no such device.
    """
    names = adapter_files(adapter)
    if re.fullmatch(DEVICE_PATTERN, device) is None:
        raise ExportError(f"there is no device {device}; give auto, cpu, cuda or cuda:N")
    with new_folder(out) as work:
        values = read_provenance(adapter)
        loaded = _load(adapter, values, base, device)
        own = loaded.engine.model.plain.config_class.model_type
        if form not in (WITH_GAZE, own):
            raise ExportError(f"{loaded.model_id} can be merged as {WITH_GAZE} or as {own}, not as {form}")
        intended = intended_dtype(AutoConfig.from_pretrained(find_checkpoint(loaded.source, loaded.revision)[0]))
        if storage is Storage.AUTO:
            storage = Storage.FLOAT16 if intended in (torch.float32, torch.float16) else Storage.BFLOAT16
        merged = merge_weights(loaded.engine.model, adapter, intended, getattr(torch, storage.value))
        if merged.config.gaze_config.pixel_limits:  # provenance, which tells them too, may be gone
            loaded.engine.processor.pixel_limits = merged.config.gaze_config.pixel_limits
        if form == WITH_GAZE:
            _save(merged, loaded, work, keep_reference=sees_as_its_base(adapter))
        else:
            save_plain(merged, loaded.engine.processor, work)
        _write_dtype(work, "float32" if intended == torch.float32 else storage.value)
        for name in BESIDE:
            if name in names and name != CARD:
                shutil.copyfile(adapter / name, work / name)
        family = "" if form == WITH_GAZE else merged.family
        text = merged_card(out.name, adapter.resolve().name, loaded.model_id, storage.value, values, plain=family)
        (work / CARD).write_text(text, encoding="utf-8")
    return Merged(out, storage, sum(path.stat().st_size for path in out.iterdir()))


def _load(adapter: Path, values: dict[str, Any] | None, base: str, device: str) -> Base:
    """Load the adapter's base as its training held it, known to be the same by its fingerprint.

    Raises:
        ExportError: it is another one, or not to be found.
    """
    name = adapter.resolve().name
    try:
        stored = values["config"] if values else {"annotations": ["none"]}
        trained_on = values["base"] if values else {"source": "", "revision": "", "fingerprint": ""}
        source = base or (trained_on["source"] if values else read_base_name(adapter) or "-")
        fingerprint = trained_on["fingerprint"]
        revision = trained_on["revision"] if source == trained_on["source"] else ""
        config = FinetuneConfig.from_values({**stored, "base": source, "device": device, "fsdp_storage": False})
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


def merge_weights(
    model: GazeVLM, adapter: Path, intended: torch.dtype | None, stored: torch.dtype
) -> GazeVLM:
    """Make an adapter part of a model's weights, in place.

    Args:
        model: without an adapter, quantised or not.
        intended: dtype of the base's arithmetic; in float32 the sum is rounded once.
        stored: dtype of the result; the heads stay in float32.

    Raises:
        AdapterError: it does not fit, or is not finite.
        ExportError: the sum does not fit the dtype.
    """
    work = torch.float32 if torch.float32 in (intended, stored) else stored
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


def _save(merged: GazeVLM, base: Base, folder: Path, *, keep_reference: bool) -> None:
    """Write model and processor, the code that reads them elsewhere, and the reference of familiar images."""
    merged.save_pretrained(folder)
    base.engine.processor.save_pretrained(folder)
    write_remote_code(folder)
    if base.engine.checkpoint.ood_reference is not None and keep_reference:
        base.engine.checkpoint.ood_reference.save(folder)


def save_plain(model: GazeVLM, processor: GazeVLMProcessor, folder: Path) -> None:
    """Write a model without its heads, and its processor, in the files of the family.

    The row of the gaze token stays, as one of the many that the family's embeddings have to spare.

    Args:
        model: without an adapter, in full precision.
    """
    values = {name: value for name, value in model.config.to_dict().items() if name not in OURS}
    with torch.device("meta"):
        plain = model.plain(model.plain.config_class(**values))
    words = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(HEADS)}
    plain.load_state_dict(words, assign=True)
    plain.tie_weights()
    plain.generation_config = model.generation_config
    plain.save_pretrained(folder)
    processor.image_processor.save_pretrained(folder)
    processor.tokenizer.chat_template = processor.chat_template
    processor.tokenizer.save_pretrained(folder)
    for name in (IMAGE_PROCESSOR_NAME, TOKENIZER_CONFIG):
        values = json.loads((folder / name).read_text(encoding="utf-8"))
        write_json(folder / name, {**values, "processor_class": model.plain_processor})


def _write_dtype(folder: Path, dtype: str) -> None:
    """Write the dtype that weights are loaded in: a base that computes in float32 goes on doing so however its weights
    are written."""
    path = folder / MODEL_CONFIG
    values = json.loads(path.read_text(encoding="utf-8"))
    for part in (values, values["text_config"], values["vision_config"]):
        part["dtype"] = dtype
    write_json(path, values)
