"""Write a look-alike of a published base with random weights: true widths, head counts, vocabulary, special-token ids.

    python scripts/make_large_checkpoint.py OUT [--base Qwen/Qwen3-VL-4B-Instruct] [--text-layers 2] [--untied]

Only the number of layers is cut. The folder is laid out as on the Hub: a plain configuration, sharded safetensors, an
embedding with more rows than the tokenizer has tokens, and no gaze parts. Sizes are those of `backbones`.
"""

from pathlib import Path
from typing import Annotated

import typer

FIRST_SPECIAL_ID = 151_643
SPECIAL_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
    "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>", "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>",
    "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>",
)  # fmt: skip
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|im_start|>system\n"
    "You are a helpful assistant.<|im_end|>\n{% endif %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in part %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_tokenizer(folder: Path) -> None:
    """A byte-level tokenizer with as many tokens as Qwen2.5's; its merges are made up, its special ids are real."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(alphabet)}
    vocabulary |= {f"unused {index}": index for index in range(len(alphabet), FIRST_SPECIAL_ID)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)


def main(
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    base: Annotated[str, typer.Option(help="Which published base.")] = "Qwen/Qwen2.5-VL-3B-Instruct",
    text_layers: Annotated[int, typer.Option(help="Layers of the language model.")] = 2,
    vision_layers: Annotated[int, typer.Option(help="Layers of the vision tower.")] = 2,
    untied: Annotated[bool, typer.Option(help="Give lm_head its own rows, as the larger ones have.")] = False,
    shard: Annotated[str, typer.Option(help="Largest shard.")] = "300MB",
) -> None:
    """Write the checkpoint in bfloat16, sharded."""
    import torch
    from transformers import Qwen2VLImageProcessorPil

    from gazevlm_core.model.backbones import PUBLISHED

    out.mkdir(parents=True, exist_ok=True)
    write_tokenizer(out)
    backbone = PUBLISHED[base]
    Qwen2VLImageProcessorPil(**backbone.preprocessing).save_pretrained(out)
    config = backbone.published[base](text_layers=text_layers, vision_layers=vision_layers)
    config.tie_word_embeddings = config.tie_word_embeddings and not untied
    torch.manual_seed(0)
    backbone.plain(config).to(torch.bfloat16).save_pretrained(out, max_shard_size=shard)


if __name__ == "__main__":
    typer.run(main)
