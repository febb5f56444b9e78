"""A backbone of true width with random weights, made in 4 bits on the device itself: nothing is loaded or fetched.

The model is laid out on the meta device; then each weight is drawn where it will lie, and each linear layer of the
language model is quantised as soon as it is drawn. So a 7B takes no more memory to make than to hold.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoTokenizer, PretrainedConfig, Qwen2VLImageProcessorPil
from transformers.integrations.bitsandbytes import replace_with_bnb_linear

from gazevlm_core.findings import FINDING_NAMES
from gazevlm_core.inference import GazeEngine
from gazevlm_core.model.backbones import BY_PLAIN_TYPE, PUBLISHED
from gazevlm_core.model.checkpoint import Checkpoint
from gazevlm_core.model.configuration_gazevlm import GazeConfig
from gazevlm_core.model.modeling_gazevlm import GazeVLM
from gazevlm_core.model.processing_gazevlm import GazeVLMProcessor
from gazevlm_core.model.quantise import compute_dtype, kept_full, prepare_four_bit_model, quantization_config
from gazevlm_core.options import Precision
from scripts.make_large_checkpoint import write_tokenizer

WEIGHT_STD = 0.02


def base_config(size: str) -> PretrainedConfig:
    """Configuration of a published Qwen2.5-VL, "3b" or "7b"; "small" is a tiny one."""
    name = f"Qwen/Qwen2.5-VL-{size.upper()}-Instruct"
    return PUBLISHED["Qwen/Qwen2.5-VL-3B-Instruct"].tiny() if size == "small" else PUBLISHED[name].published[name]()


def random_engine(
    folder: Path, base: PretrainedConfig, device: torch.device, *, patches: int = 1024, gaze_tokens: int = 48,
    seed: int = 0,
) -> GazeEngine:  # fmt: skip
    """An engine on a random model in NF4 whose gaze counts as trained.

    Args:
        folder: empty; for the files of a byte-level tokenizer with Qwen's special ids.
        base: configuration of a plain backbone.
        patches: image tokens of the largest image.
        gaze_tokens: K.
    """
    torch.manual_seed(seed)
    backbone, dtype = BY_PLAIN_TYPE[base.model_type], compute_dtype(device)
    write_tokenizer(folder)
    gaze = GazeConfig(
        num_gaze_tokens=gaze_tokens, finding_names=FINDING_NAMES, gaze_trained=True, findings_trained=True,
        trained_on="nothing",
    )  # fmt: skip
    images = Qwen2VLImageProcessorPil(**backbone.preprocessing)
    processor = GazeVLMProcessor(images, AutoTokenizer.from_pretrained(folder))
    config = backbone.config_class.from_base(base, gaze, processor.gaze_token_id)
    most = config.token_pixels * patches
    images.size = {"shortest_edge": min(images.size["shortest_edge"], most), "longest_edge": most}
    with torch.device("meta"):
        model = backbone(config)
    quantised, kept = quantization_config(Precision.NF4, dtype, backbone.vision_name), kept_full(backbone.vision_name)
    model = replace_with_bnb_linear(model, modules_to_not_convert=kept, quantization_config=quantised)
    model.is_loaded_in_4bit = True  # PEFT asks
    materialise(model, device, dtype)
    prepare_four_bit_model(model, dtype)
    model.gaze_heads.float()
    return GazeEngine(Checkpoint(model.eval(), processor, "random", Precision.NF4))


@torch.no_grad()
def materialise(model: GazeVLM, device: torch.device, dtype: torch.dtype) -> None:
    """Give every weight and buffer of a model on the meta device numbers on a device, random ones for the weights.

    Args:
        model: with its linear layers replaced by 4-bit ones already.
        dtype: of what is not quantised; the heads stay in float32.
    """
    from bitsandbytes.nn import Linear4bit, Params4bit

    heads = set(model.gaze_heads.modules())
    for module in model.modules():
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, torch.empty(buffer.shape, dtype=buffer.dtype, device=device))
        for name, parameter in list(module.named_parameters(recurse=False)):
            own = torch.float32 if module in heads else dtype
            if isinstance(module, Linear4bit) and name == "weight":
                drawn = torch.randn(module.out_features, module.in_features, dtype=own, device=device) * WEIGHT_STD
                made: Any = Params4bit  # whose annotations are those of a plain tensor
                weight = made(drawn, requires_grad=False, quant_type="nf4", compress_statistics=True, module=module)
                weight = weight.to(device)  # quantises
                weight._is_hf_initialized = True
                module.weight, module.quant_state = weight, weight.quant_state
            else:
                setattr(module, name, nn.Parameter(torch.empty(parameter.shape, dtype=own, device=device)))
    model.initialize_weights()
    model.tie_weights()
