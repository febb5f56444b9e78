"""How weights are held and in which dtype they are multiplied."""

from collections.abc import Mapping
from os import PathLike
from typing import Any

import torch
from torch import nn
from transformers import BitsAndBytesConfig, PretrainedConfig
from transformers.utils import is_bitsandbytes_available

from gazevlm_core.options import Precision

WHERE = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder", "token")  # in the Hub
FIRST_WITH_BFLOAT16 = (8, 0)  # compute capability: Ampere
KEPT_AS_THEY_ARE = ("gaze_heads", "lora_", "trainable_tokens")  # in the names of modules


def compute_dtype(device: torch.device) -> torch.dtype:
    """Return the dtype of the arithmetic for a checkpoint that is not float32 itself: of its weights, of its 4-bit
    layers, and of a training's autocast.

    bfloat16 where the hardware multiplies it natively; else float16 on CUDA (a T4 or V100 would emulate bfloat16), and
    float32 on a CPU. On an AVX2 CPU bfloat16 is emulated and 50 to 100 times slower than float32, so only CPUs with AMX
    tiles take it.
    """
    if device.type == "cuda":
        native = bool(torch.version.hip) or torch.cuda.get_device_capability(device) >= FIRST_WITH_BFLOAT16
        return torch.bfloat16 if native else torch.float16
    return torch.bfloat16 if torch.cpu._is_amx_tile_supported() else torch.float32


def saved_for(source: str | PathLike, options: Mapping[str, Any]) -> torch.dtype | None:
    """Return the dtype of the arithmetic that a checkpoint was saved in four bits for; None where it was not.

    Args:
        source: folder or Hub id.
        options: of `from_pretrained`, where the configuration may be given, or the place in the Hub.
    """
    config = options.get("config")
    if isinstance(config, PretrainedConfig):
        saved = getattr(config, "quantization_config", None)
    else:
        where = {name: options[name] for name in WHERE if name in options}
        try:
            saved = PretrainedConfig.get_config_dict(source, **where)[0].get("quantization_config")
        except OSError:  # the library says what is missing
            return None
    stored = (saved or {}).get("bnb_4bit_compute_dtype") if (saved or {}).get("load_in_4bit") else None
    return getattr(torch, stored) if isinstance(stored, str) else stored


def kept_full(vision_name: str) -> list[str]:
    """Return modules that are never quantised, as bitsandbytes wants them: by their full names, and the output layer
    too, for a list of one's own replaces the library's."""
    return [vision_name, "lm_head", "gaze_heads"]


def quantization_config(
    precision: Precision, dtype: torch.dtype, vision_name: str, *, shardable: bool = False
) -> BitsAndBytesConfig:
    """Return bitsandbytes settings: NF4 with double quantisation, or 8 bit; vision tower and heads stay as they are.

    Args:
        precision: NF4 or INT8.
        vision_name: as the model's class names it.
        shardable: keep the 4-bit weights in tensors of `dtype`, which FSDP can shard together with the others.
    """
    if precision is Precision.INT8:
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=kept_full(vision_name))
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_quant_storage=dtype if shardable else torch.uint8,
        llm_int8_skip_modules=kept_full(vision_name),
    )


def prepare_four_bit_model(model: nn.Module, dtype: torch.dtype) -> None:
    """Compute in one dtype, and keep bitsandbytes from repacking weights on CPUs with AVX512-BF16.

    What a 4-bit checkpoint keeps in full arrives in the dtype of the file; heads and adapters stay as they are. The
    repacked form rounds the scales to bfloat16, has no autograd, and comes back changed whenever a state dict is taken
    (as PEFT does): answers would depend on the host, and an adapter would leave a trace.
    """
    if is_bitsandbytes_available():  # or there would be no such model; the library asks so before it reads such code
        from bitsandbytes.nn import Linear4bit

    for name, module in model.named_modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False
            module.compute_dtype, module.compute_type_is_set = dtype, True
        elif not any(part in name for part in KEPT_AS_THEY_ARE):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)
