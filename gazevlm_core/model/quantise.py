"""How weights are held and in which dtype they are multiplied."""

import torch
from transformers import BitsAndBytesConfig

from gazevlm_core.model.gaze_model import GazeVLM
from gazevlm_core.options import Precision

FIRST_WITH_BFLOAT16 = (8, 0)  # compute capability: Ampere
# A custom list replaces the library's default, so lm_head is named again; a bare "visual" would skip nothing.
KEPT_FULL = ("model.visual", "lm_head", "gaze_heads")


def compute_dtype(device: torch.device) -> torch.dtype:
    """Dtype of the arithmetic for a checkpoint that is not float32 itself: of its weights, of its 4-bit layers, and of
    a training's autocast.

    bfloat16 where the hardware multiplies it natively; else float16 on CUDA (a T4 or V100 would emulate bfloat16), and
    float32 on a CPU. On an AVX2 CPU bfloat16 is emulated and 50 to 100 times slower than float32, so only CPUs with AMX
    tiles take it.
    """
    if device.type == "cuda":
        native = bool(torch.version.hip) or torch.cuda.get_device_capability(device) >= FIRST_WITH_BFLOAT16
        return torch.bfloat16 if native else torch.float16
    return torch.bfloat16 if torch.cpu._is_amx_tile_supported() else torch.float32


def quantization_config(precision: Precision, dtype: torch.dtype, *, shardable: bool = False) -> BitsAndBytesConfig:
    """bitsandbytes settings: NF4 with double quantisation, or 8 bit; vision tower and heads stay as they are.

    Args:
        precision: NF4 or INT8.
        dtype: of the arithmetic.
        shardable: keep the 4-bit weights in tensors of `dtype`, which FSDP can shard together with the others.
    """
    if precision is Precision.INT8:
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=list(KEPT_FULL))
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_quant_storage=dtype if shardable else torch.uint8,
        llm_int8_skip_modules=list(KEPT_FULL),
    )


def settle_four_bit_model(model: GazeVLM, dtype: torch.dtype) -> None:
    """Compute in this machine's dtype, and keep bitsandbytes from repacking weights on CPUs with AVX512-BF16.

    What a 4-bit checkpoint keeps in full arrives in the dtype of the file; the heads stay in float32. The repacked form
    rounds the scales to bfloat16, has no autograd, and comes back changed whenever a state dict is taken (as PEFT
    does): answers would depend on the host, and an adapter would leave a trace.
    """
    from bitsandbytes.nn import Linear4bit

    heads = set(model.gaze_heads.modules())
    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False
            module.compute_dtype, module.compute_type_is_set = dtype, True
        elif module not in heads:
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)
