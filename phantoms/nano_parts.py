"""The embedded model from nothing: its tokenizer, processor and untrained weights."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from torch.nn import functional
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLConfig, Qwen2VLImageProcessorPil
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VLVisionAttention,
    apply_rotary_pos_emb_vision,
)

from gazevlm_core.model.backbones.qwen2_5_vl import GazeQwen2_5_VL, GazeQwen2_5_VLConfig
from gazevlm_core.model.configuration_gazevlm import GazeConfig
from gazevlm_core.model.modeling_gazevlm import GazeVLM
from gazevlm_core.model.processing_gazevlm import (
    END_OF_TEXT_TOKEN,
    GAZE_TOKEN,
    IMAGE_TOKEN,
    TURN_END_TOKEN,
    TURN_START_TOKEN,
    VIDEO_TOKEN,
    VISION_END_TOKEN,
    VISION_START_TOKEN,
    GazeVLMProcessor,
    token_id,
)

VOCABULARY_SIZE = 1024
IMAGE_SIDE_PX = 224  # 8 x 8 merged patches of 28 px on a square image
# A little more than the square of the side: the processor rounds down, and 224 / 28 may come out as 7.9999.
IMAGE_PIXELS = 228 * 228
SMALLEST_IMAGE_PIXELS = 200 * 200
HEAD_DIM = 32
TEXT_WIDTH, VISION_WIDTH, DEPTH = 192, 160, 4
INITIALIZER_RANGE = 0.05  # about 1 / sqrt(width), as the usual 0.02 is at a width of 2,048

# Qwen2.5's turns without its default system message, which would only cost this model tokens.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer with Qwen2.5-VL's special-token names; any text can be encoded.

    Args:
        texts: reports, questions and answers.
    """
    specials = [
        END_OF_TEXT_TOKEN, TURN_START_TOKEN, TURN_END_TOKEN, VISION_START_TOKEN, VISION_END_TOKEN,
        IMAGE_TOKEN, VIDEO_TOKEN, GAZE_TOKEN,
    ]  # fmt: skip
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=TURN_END_TOKEN,
        pad_token=END_OF_TEXT_TOKEN,
        extra_special_tokens=[token for token in specials if token not in (END_OF_TEXT_TOKEN, TURN_END_TOKEN)],
    )


def nano_processor(tokenizer: PreTrainedTokenizerFast, *, finer: int = 1) -> GazeVLMProcessor:
    """Return a processor whose images keep their aspect ratio within IMAGE_PIXELS, or so many times as fine."""
    size = {"shortest_edge": finer**2 * SMALLEST_IMAGE_PIXELS, "longest_edge": finer**2 * IMAGE_PIXELS}
    image_processor = Qwen2VLImageProcessorPil(size=size)
    return GazeVLMProcessor(image_processor, tokenizer, CHAT_TEMPLATE)


def in_full_precision(model: GazeVLM) -> GazeVLM:
    """Return a model, quantised or not, with weights in float32 that can be trained, in place."""
    if getattr(model, "hf_quantizer", None) is not None:
        model.dequantize(dtype=torch.float32)
    return model.float().requires_grad_(True)


@torch.no_grad()
def mix_weights(model: GazeVLM, start: GazeVLM, share: float) -> None:
    """Move the weights of a model towards those that it was trained from, in place.

    What lies between the two can be better than either on images unlike the training's: Wortsman et al., "Robust
    fine-tuning of zero-shot models" (CVPR 2022).

    Args:
        model, start: of one architecture, in float32.
        share: of the start's weights, from 0 to 1.
    """
    for weights, before in zip(model.parameters(), start.parameters(), strict=True):  # tied ones are there once
        weights.lerp_(before, share)


class WholeKernelConv3d(nn.Conv3d):
    """A convolution whose kernel covers its whole input, as in a patch embedding, computed as one product.

    The same numbers and the same state dict; its backward pass on a CPU takes a fifth of the time.
    """

    @classmethod
    def sharing(cls, convolution: nn.Conv3d) -> "WholeKernelConv3d":
        """Return one that shares the weights of `convolution`."""
        depth, height, width = convolution.kernel_size
        size = (depth, height, width)
        same = cls(convolution.in_channels, convolution.out_channels, size, stride=size, bias=False, device="meta")
        same.weight, same.bias = convolution.weight, convolution.bias
        return same

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """[N, C, *kernel_size] to [N, D, 1, 1, 1].

        Raises:
            RuntimeError: an input of another size than the kernel.
        """
        return functional.linear(input.flatten(1), self.weight.flatten(1), self.bias)[..., None, None, None]


class GroupedVisionAttention(Qwen2_5_VLVisionAttention):
    """The vision tower's attention, of images as large as their neighbours in one product instead of one each.

    The same numbers and the same state dict; a step with six glimpses an image has over a hundred images.
    """

    def forward(
        self, hidden_states: torch.Tensor, cu_seqlens: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor], **_: Any,
    ) -> torch.Tensor:  # fmt: skip
        """[N, D] to [N, D], the patches of all images in a row, which end at `cu_seqlens`."""
        query, key, value = self.qkv(hidden_states).unflatten(1, (3, self.num_heads, -1)).unbind(1)
        query, key = apply_rotary_pos_emb_vision(query, key, *position_embeddings)
        seen, start = [], 0
        for length, alike in groupby(cu_seqlens.diff().tolist()):
            count = len(list(alike))
            here = slice(start, start + count * length)
            q, k, v = (one[here].unflatten(0, (count, length)).transpose(1, 2) for one in (query, key, value))
            found = functional.scaled_dot_product_attention(q, k, v, scale=self.scaling)
            seen.append(found.transpose(1, 2).flatten(0, 1))
            start = here.stop
        return self.proj(torch.cat(seen).flatten(1))


def quick_vision(model: GazeVLM) -> None:
    """Compute a model's vision tower in fewer products from here on; what is saved stays the same."""
    for module in list(model.get_encoder("image").modules()):
        if type(module) is Qwen2_5_VLVisionAttention and module.config._attn_implementation == "sdpa":
            module.__class__ = GroupedVisionAttention
        for name, child in module.named_children():
            if type(child) is nn.Conv3d:
                setattr(module, name, WholeKernelConv3d.sharing(child))


@contextmanager
def quick_products() -> Iterator[None]:
    """Within, fp32 products are of bf16 with fp32 sums where the CPU has such, else as ever.

    The setting belongs to the process: left behind, whatever it computes next would come out with other bits.
    """
    kept = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(kept)


class MuonAdamW(torch.optim.AdamW):
    """Muon for the matrices of the layers, AdamW for everything else: the same loss in about 0.6 of AdamW's steps.

    Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/; scaled as in arXiv 2502.16982) steps along the
    orthogonal matrix nearest to the momentum. `torch.optim.Muon` finds that in bfloat16, which takes seconds a step on
    a CPU without it.

    Args:
        model: whose trained parameters are taken; `matrices` are those in layers and blocks.
        lr, weight_decay, beta2: of AdamW; no decay of vectors.
        muon_lr: of the matrices.
    """

    MOMENTUM, ROUNDS = 0.95, 5
    POLYNOMIAL = (3.4445, -4.7750, 2.0315)

    def __init__(self, model: nn.Module, *, lr: float, muon_lr: float, weight_decay: float, beta2: float) -> None:
        trained = {name: one for name, one in model.named_parameters() if one.requires_grad}
        matrices = {name for name, one in trained.items() if one.ndim == 2 and _IN_LAYERS.search(name)}
        decayed = {name for name, one in trained.items() if one.ndim > 1} - matrices

        def group(names: set[str], **options: Any) -> dict[str, Any]:
            return {"params": [one for name, one in trained.items() if name in names], **options}

        groups = [
            group(matrices, lr=muon_lr, orthogonal=True), group(decayed, orthogonal=False),
            group(set(trained) - matrices - decayed, weight_decay=0.0, orthogonal=False),
        ]  # fmt: skip
        super().__init__(groups, lr=lr, betas=(0.9, beta2), weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # noqa: ANN401
        """Take a step; gradients of matrices are used up."""
        for group in self.param_groups:
            for one in group["params"] if group["orthogonal"] else ():
                if one.grad is not None:
                    self._turn(one, one.grad, group["lr"], group["weight_decay"])
                    one.grad = None  # so that AdamW leaves it
        super().step(closure)

    def _turn(self, matrix: nn.Parameter, grad: torch.Tensor, lr: float, weight_decay: float) -> None:
        state = self.state[matrix]
        if not state:
            state["step"] = torch.zeros(())  # AdamW looks for it where it reads a checkpoint
            state["momentum"] = torch.zeros_like(matrix)
        state["momentum"].lerp_(grad, 1 - self.MOMENTUM)
        direction = orthogonal(grad.lerp(state["momentum"], self.MOMENTUM), self.ROUNDS, self.POLYNOMIAL)
        matrix.mul_(1 - lr * weight_decay)
        matrix.add_(direction, alpha=-lr * 0.2 * max(matrix.shape) ** 0.5)  # as large as AdamW's steps


_IN_LAYERS = re.compile(r"\b(?:layers|blocks|merger)\b")


def orthogonal(matrix: torch.Tensor, rounds: int, polynomial: tuple[float, float, float]) -> torch.Tensor:
    """Return about the nearest orthogonal matrix, by Newton and Schulz's iteration: singular values from 0.7 to 1.2."""
    first, second, third = polynomial
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.mT
    found = wide / wide.norm().clamp(min=1e-7)
    for _ in range(rounds):
        square = found @ found.mT
        found = torch.addmm(found, torch.addmm(square, square, square, beta=second, alpha=third), found, beta=first)
    return found if wide is matrix else found.mT


def nano_model(processor: GazeVLMProcessor, gaze: GazeConfig) -> GazeVLM:
    """Return an untrained Qwen2.5-VL of about four million parameters."""
    tokenizer = processor.tokenizer
    rope = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [4, 6, 6]}
    base = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": VOCABULARY_SIZE,
            "hidden_size": TEXT_WIDTH,
            "intermediate_size": 3 * TEXT_WIDTH,
            "num_hidden_layers": DEPTH,
            "num_attention_heads": TEXT_WIDTH // HEAD_DIM,
            "num_key_value_heads": TEXT_WIDTH // HEAD_DIM,
            "max_position_embeddings": 4096,
            "rope_parameters": rope,
            "initializer_range": INITIALIZER_RANGE,
            "bos_token_id": None,
            "eos_token_id": token_id(tokenizer, TURN_END_TOKEN),
            "pad_token_id": token_id(tokenizer, END_OF_TEXT_TOKEN),
        },
        vision_config={
            "depth": DEPTH,
            "hidden_size": VISION_WIDTH,
            "intermediate_size": 3 * VISION_WIDTH,
            "num_heads": VISION_WIDTH // HEAD_DIM,
            "out_hidden_size": TEXT_WIDTH,
            "initializer_range": INITIALIZER_RANGE,
            "window_size": IMAGE_SIDE_PX,
            "fullatt_block_indexes": list(range(DEPTH)),
        },
        image_token_id=processor.image_token_id,
        video_token_id=token_id(tokenizer, VIDEO_TOKEN),
        vision_start_token_id=token_id(tokenizer, VISION_START_TOKEN),
        vision_end_token_id=token_id(tokenizer, VISION_END_TOKEN),
        tie_word_embeddings=True,
    )
    model = GazeQwen2_5_VL(GazeQwen2_5_VLConfig.from_base(base, gaze, processor.gaze_token_id))
    model.generation_config.eos_token_id = token_id(tokenizer, TURN_END_TOKEN)
    model.generation_config.pad_token_id = token_id(tokenizer, END_OF_TEXT_TOKEN)
    return model
