"""What memory fine-tuning takes, computed from a model's dimensions. Nothing here was measured on a GPU.

    weights      language linears in 4 bits (or as configured); embeddings, norms, vision tower at 2 bytes
    adapter      LoRA matrices, heads and the row of the gaze token, float32
    gradients    of the same, float32
    optimizer    two moments of the same: float32, or 8 bits with a float32 scale per 256
    activations  what autograd keeps, and the largest passing buffers; see `activation_bytes`

Not counted: what CUDA and its libraries take for themselves, gaps of the allocator, and images on their way.
Parameters are counted on a model on the meta device, which has shapes and no numbers.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from finetune.config import Optimizer
from gazevlm_core.options import Precision

FLOAT32, BFLOAT16 = 4, 2  # bytes
# NF4 with double quantisation: 4 bits, per 64 weights a scale of 8 bits, per 256 such scales one of 32.
NF4_BYTES = 4 / 8 + 1 / 64 + FLOAT32 / (64 * 256)
WEIGHT_BYTES = {Precision.NF4: NF4_BYTES, Precision.INT8: 1.0, Precision.BF16: BFLOAT16, Precision.FP32: FLOAT32}
OPTIMIZER_BYTES = {Optimizer.ADAMW: 2.0 * FLOAT32, Optimizer.PAGED_ADAMW_8BIT: 2 * (1 + FLOAT32 / 256)}
ANSWER_SHARE = 16  # one in so many tokens of a batch is of an answer, unless the caller knows
GATHERED_LAYERS = 2  # that a sharded model has whole at once: the one at work and the next
# Eager attention's scores in one layer, in 16 bits: product, masked sum, softmax in float32 and its cast, and as much
# again in gradients.
SCORE_BYTES = 2 * (2 + 2 + 4 + 2)
GIGA = 1e9


@dataclass(frozen=True)
class ModelSizes:
    """Dimensions and counts of parameters of a model."""

    layers: int  # of the language model
    attention_heads: int  # of a layer
    width: int  # D, of the hidden states
    query_width: int  # of all attention heads together
    key_width: int  # of all key (and of all value) heads together
    mlp_width: int  # of the feed-forward layers
    vocabulary: int  # rows of the embedding
    tied: bool  # whether the output layer is the embedding
    normed_heads: bool  # whether queries and keys are normed
    linears: tuple[tuple[int, int], ...]  # inputs and outputs of a layer's linear layers: held in 4 bits, with LoRA
    language_rest: int  # parameters of the language model but for `linears` and embedding: biases and norms
    vision: int  # parameters of the vision tower with its merger
    heads: int  # parameters of the gaze, dwell and finding heads
    image_token_width: int  # numbers that are kept of each image token
    token_pixels: int  # pixels of the resized image under an image token

    @property
    def language_linears(self) -> int:
        """Weights of the `linears` of all layers, without biases."""
        return self.layers * sum(inputs * outputs for inputs, outputs in self.linears)

    @property
    def embeddings(self) -> int:
        """Parameters of embedding and output layer; once where they are tied."""
        return self.vocabulary * self.width * (1 if self.tied else 2)

    @property
    def backbone(self) -> int:
        """Parameters of everything but the heads."""
        return self.language_linears + self.language_rest + self.embeddings + self.vision

    def lora(self, rank: int) -> int:
        """Return parameters of LoRA matrices of a rank on all `linears`."""
        return self.layers * rank * sum(inputs + outputs for inputs, outputs in self.linears)


def sizes_of(values: Mapping[str, Any]) -> ModelSizes:
    """Return the sizes of a checkpoint, by the values of its config.json, with or without gaze parts.

    Raises:
        ValueError: a configuration of no family of `backbones`, or one that cannot be.
    """
    return _sizes_of(json.dumps(dict(values), sort_keys=True, default=str))


def published_sizes(name: str) -> ModelSizes | None:
    """Return the sizes of a published base by its Hub id; None where it is not known."""
    from gazevlm_core.model.backbones import PUBLISHED

    return sizes_of(PUBLISHED[name].published[name]().to_dict()) if name in PUBLISHED else None


@lru_cache(maxsize=32)
def _sizes_of(values: str) -> ModelSizes:
    import torch
    from torch import nn

    from gazevlm_core.model.backbones import BY_TYPE, config_from

    try:
        config = config_from(json.loads(values))
        with torch.device("meta"):
            model = BY_TYPE[config.model_type](config)
    except Exception as error:  # whatever the library raises at numbers that make no model
        raise ValueError(f"config.json makes no model: {str(error).strip().partition(chr(10))[0]}") from error

    def count(module: nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    text, language = config.text_config, model.get_decoder()
    linears = [
        module for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and re.fullmatch(model.language_layers, name)
    ]  # fmt: skip
    head_width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    table, weights = text.vocab_size * text.hidden_size, sum(linear.weight.numel() for linear in linears)
    return ModelSizes(
        layers=text.num_hidden_layers,
        attention_heads=text.num_attention_heads,
        width=text.hidden_size,
        query_width=text.num_attention_heads * head_width,
        key_width=text.num_key_value_heads * head_width,
        mlp_width=text.intermediate_size,
        vocabulary=text.vocab_size,
        tied=config.tie_word_embeddings,
        normed_heads=model.normed_heads,
        linears=tuple((one.in_features, one.out_features) for one in linears[: len(linears) // text.num_hidden_layers]),
        language_rest=count(language) - weights - table,
        vision=count(model.get_encoder("image")),
        heads=count(model.gaze_heads),
        image_token_width=model.image_token_width,
        token_pixels=config.token_pixels,
    )


@dataclass(frozen=True)
class Memory:
    """Bytes on one device.

    Args:
        weights: of the base.
        adapter: everything that is trained.
        gradients: of it.
        optimizer: its states.
        activations: of one batch.
    """

    weights: int
    adapter: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.adapter + self.gradients + self.optimizer + self.activations


def memory_of(
    sizes: ModelSizes,
    *,
    rank: int,
    batch_tokens: int,
    optimizer: Optimizer,
    shards: int = 1,
    precision: Precision = Precision.NF4,
    width_bytes: int = BFLOAT16,
    checkpointing: bool = True,
    answer_tokens: int | None = None,
    scores: int = 0,
) -> Memory:
    """Return what one device needs.

    Args:
        rank: of the LoRA matrices.
        batch_tokens: patches, words and gaze tokens of all images that one device sees at once.
        optimizer: not AUTO: which one that is depends on the device.
        shards: devices that share everything but activations (FSDP's FULL_SHARD, ZeRO stage 3); 1 for one device, and
            for every device of DDP.
        precision: of the language model's linear layers; not AUTO.
        width_bytes: of a number in what is not quantised, and of an activation: 2 on CUDA, where autocast is on, and 4
            on a CPU.
        checkpointing: whether layers are computed again instead of being kept.
        answer_tokens: of the batch; None takes one token in 16.
        scores: of eager attention, pairs of tokens of all images and heads at once; the other kinds keep none.

    Raises:
        ValueError: a number below 1, or something left to AUTO.
    """
    if min(rank, batch_tokens, shards) < 1:
        raise ValueError("rank, batch_tokens and shards are at least 1")
    if optimizer is Optimizer.AUTO or precision is Precision.AUTO:
        raise ValueError("optimizer and precision must be given: what AUTO means depends on the device")
    linears = sizes.language_linears * WEIGHT_BYTES[precision]
    kept = (sizes.language_rest + sizes.embeddings + sizes.vision) * width_bytes
    weights = (linears + kept) / shards
    if shards > 1:  # what a device has whole while it is used; the embeddings, in the outermost part, all the time
        weights += sizes.embeddings * width_bytes + GATHERED_LAYERS * linears / sizes.layers
    trained = sizes.lora(rank) + sizes.heads + sizes.width  # one row, of <st>
    answers = -(-batch_tokens // ANSWER_SHARE) if answer_tokens is None else answer_tokens
    activations = activation_bytes(
        sizes, rank, batch_tokens, answers, width_bytes, checkpointing,
        dequantised=precision in (Precision.NF4, Precision.INT8),
    )  # fmt: skip
    return Memory(
        weights=round(weights),
        adapter=round(trained * FLOAT32 / shards),
        gradients=round(trained * FLOAT32 / shards),
        optimizer=round(trained * OPTIMIZER_BYTES[optimizer] / shards),
        activations=activations + round(scores * SCORE_BYTES * (1 if checkpointing else sizes.layers)),
    )


def layer_bytes(sizes: ModelSizes, rank: int, width_bytes: int) -> int:
    """Return what autograd keeps of one token in one layer of the language model.

    The norms' inputs in float32; queries, keys, values and what attention gives; the gate, its SiLU and the other
    branch; what goes into every LoRA pair, and between its matrices. In float32 inputs are shared; else PEFT makes a
    copy for each pair (but for 4-bit layers under CUDA's autocast, which take less than is counted here).
    """
    attention = 2 * (sizes.query_width + sizes.key_width)
    copies = sum(inputs for inputs, _ in sizes.linears)
    inputs = copies if width_bytes < FLOAT32 else 2 * sizes.width + sizes.mlp_width
    numbers = attention + 3 * sizes.mlp_width + inputs + len(sizes.linears) * rank
    normed = 2 * sizes.width + (sizes.query_width + sizes.key_width if sizes.normed_heads else 0)
    return FLOAT32 * normed + width_bytes * numbers


def activation_bytes(
    sizes: ModelSizes,
    rank: int,
    tokens: int,
    answers: int,
    width_bytes: int,
    checkpointing: bool,
    *,
    dequantised: bool,
) -> int:
    """Return what a batch takes at its fullest moment, in bytes. Attention keeps no scores (SDPA), a frozen tower
    nothing.

    With checkpointing, T tokens leave T x D numbers per layer, and the fullest moment is the larger of two:
    - in a layer that is computed again: T x `layer_bytes`, two float32 gradients T x mlp_width, and the largest weight
      after it was dequantised;
    - at the output layer: logits of the answers, once more in float32, with the gradients of both.
    Around them, 2 x T x D float32 numbers (the last norm, and the states that the heads read) and, under autocast, LoRA
    matrices in bfloat16. Without checkpointing every layer's T x `layer_bytes` is there until the end.
    """
    per_layer = tokens * layer_bytes(sizes, rank, width_bytes)
    largest = max(inputs * outputs for inputs, outputs in sizes.linears) * width_bytes if dequantised else 0
    in_layer = 2 * tokens * sizes.mlp_width * FLOAT32 + largest
    at_output = answers * sizes.vocabulary * 2 * (width_bytes + FLOAT32)
    around = 2 * tokens * sizes.width * FLOAT32 + (sizes.lora(rank) * width_bytes if width_bytes < FLOAT32 else 0)
    if not checkpointing:
        return sizes.layers * per_layer + max(in_layer, at_output) + around
    held = sizes.layers * tokens * sizes.width * width_bytes
    return held + max(per_layer + in_layer, at_output) + around
