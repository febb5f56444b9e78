"""Qwen2.5-VL of true width with random weights, made in 4 bits on the device itself: nothing is loaded or fetched.

The model is laid out on the meta device; then each weight is drawn where it will lie, and each linear layer of the
language model is quantised as soon as it is drawn. So a 7B takes no more memory to make than to hold.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import Qwen2_5_VLConfig, Qwen2VLImageProcessorPil
from transformers.integrations.bitsandbytes import replace_with_bnb_linear

from gazevlm_core.findings import FINDING_NAMES
from gazevlm_core.inference import GazeEngine
from gazevlm_core.model.checkpoint import Checkpoint
from gazevlm_core.model.configuration_gazevlm import GazeConfig, GazeVLMConfig
from gazevlm_core.model.modeling_gazevlm import GazeVLM
from gazevlm_core.model.processing_gazevlm import GazeVLMProcessor
from gazevlm_core.model.quantise import KEPT_FULL, compute_dtype, quantization_config, settle_four_bit_model
from gazevlm_core.options import Precision
from scripts.make_large_checkpoint import write_tokenizer

WEIGHT_STD = 0.02


@dataclass(frozen=True)
class Width:
    """Dimensions as published for a size, or tiny ones.

    Args:
        hidden, layers, heads, key_heads, mlp, vocabulary: of the language model.
        tied: whether the output layer is the embedding.
        vision_hidden, vision_layers, vision_mlp, vision_heads: of the vision tower.
        patches: merged, of the largest image.
        gaze_tokens: K.
    """

    hidden: int
    layers: int
    heads: int
    key_heads: int
    mlp: int
    vocabulary: int
    tied: bool
    vision_hidden: int = 1280
    vision_layers: int = 32
    vision_mlp: int = 3420
    vision_heads: int = 16
    patches: int = 1024
    gaze_tokens: int = 48


WIDTHS = {
    "3b": Width(2048, 36, 16, 2, 11_008, 151_936, tied=True),
    "7b": Width(3584, 28, 28, 4, 18_944, 152_064, tied=False),
    "small": Width(
        64, 2, 2, 1, 128, 151_936, tied=True, vision_hidden=32, vision_layers=2, vision_mlp=64, vision_heads=2,
        patches=16, gaze_tokens=4,
    ),
}  # fmt: skip


def base_config(width: Width) -> Qwen2_5_VLConfig:
    """As in the config.json that is published for a size."""
    head = width.hidden // width.heads
    sections = [head // 8, head * 3 // 16, head * 3 // 16]  # 16, 24, 24 of the 128 of the published ones
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": width.vocabulary, "hidden_size": width.hidden, "intermediate_size": width.mlp,
            "num_hidden_layers": width.layers, "num_attention_heads": width.heads,
            "num_key_value_heads": width.key_heads, "max_position_embeddings": 128_000, "rms_norm_eps": 1e-6,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0, "mrope_section": sections},
        },
        vision_config={
            "depth": width.vision_layers, "hidden_size": width.vision_hidden, "intermediate_size": width.vision_mlp,
            "num_heads": width.vision_heads, "out_hidden_size": width.hidden, "window_size": 112,
            "fullatt_block_indexes": list(range(width.vision_layers // 4 - 1, width.vision_layers, 8)) or [1],
            "tokens_per_second": 2,
        },
        tie_word_embeddings=width.tied,
    )  # fmt: skip


def random_processor(folder: Path, width: Width) -> GazeVLMProcessor:
    """A processor with a byte-level tokenizer and Qwen's special ids."""
    from transformers import AutoTokenizer

    write_tokenizer(folder)
    side = 28 * 28 * width.patches
    images = Qwen2VLImageProcessorPil(size={"shortest_edge": min(56 * 56, side), "longest_edge": side})
    return GazeVLMProcessor(images, AutoTokenizer.from_pretrained(folder))


def random_engine(folder: Path, width: Width, device: torch.device, *, seed: int = 0) -> GazeEngine:
    """An engine on a random model in NF4 whose gaze counts as trained.

    Args:
        folder: empty; for the tokenizer's files.
        width: dimensions.
        device: where it is made.
        seed: of the weights.
    """
    torch.manual_seed(seed)
    processor, dtype = random_processor(folder, width), compute_dtype(device)
    gaze = GazeConfig(
        num_gaze_tokens=width.gaze_tokens, finding_names=FINDING_NAMES, gaze_trained=True, findings_trained=True,
        trained_on="nothing",
    )  # fmt: skip
    config = GazeVLMConfig.from_base(base_config(width), gaze, processor.gaze_token_id)
    with torch.device("meta"):
        model = GazeVLM(config)
    quantised = quantization_config(Precision.NF4, dtype)
    model = replace_with_bnb_linear(model, modules_to_not_convert=list(KEPT_FULL), quantization_config=quantised)
    model.is_loaded_in_4bit = True  # PEFT asks
    materialise(model, device, dtype)
    settle_four_bit_model(model, dtype)
    model.gaze_heads.float()
    return GazeEngine(Checkpoint(model.eval(), processor, "random", Precision.NF4))


@torch.no_grad()
def materialise(model: GazeVLM, device: torch.device, dtype: torch.dtype) -> None:
    """Give every weight and buffer of a model on the meta device numbers on a device, random ones for the weights.

    Args:
        model: with its linear layers replaced by 4-bit ones already.
        device: where.
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
