"""The embedded model from nothing: its tokenizer, processor and untrained weights."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from torch.nn import functional
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLConfig, Qwen2VLImageProcessorPil

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
    """A byte-level BPE tokenizer with Qwen2.5-VL's special-token names; any text can be encoded.

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
    """Processor whose images keep their aspect ratio within IMAGE_PIXELS, or so many times as fine."""
    size = {"shortest_edge": finer**2 * SMALLEST_IMAGE_PIXELS, "longest_edge": finer**2 * IMAGE_PIXELS}
    image_processor = Qwen2VLImageProcessorPil(size=size)
    return GazeVLMProcessor(image_processor, tokenizer, CHAT_TEMPLATE)


class WholeKernelConv3d(nn.Conv3d):
    """A convolution whose kernel covers its whole input, as in a patch embedding, computed as one product.

    The same numbers and the same state dict; its backward pass on a CPU takes a fifth of the time.
    """

    @classmethod
    def sharing(cls, convolution: nn.Conv3d) -> "WholeKernelConv3d":
        """One that shares the weights of `convolution`."""
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


def quick_patch_embedding(model: GazeVLM) -> None:
    """Compute a model's patch embedding as a product from here on; what is saved stays the same."""
    for module in list(model.get_encoder("image").modules()):
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


def nano_model(processor: GazeVLMProcessor, gaze: GazeConfig) -> GazeVLM:
    """An untrained Qwen2.5-VL of about four million parameters."""
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
