"""Writes a Qwen2.5-VL-3B look-alike with random weights: true widths, head counts, vocabulary and special-token ids.

    python scripts/make_large_checkpoint.py OUT [--text-layers 2] [--vision-layers 2] [--untied]

Only the number of layers is cut. The folder is laid out as on the Hub: a plain `qwen2_5_vl` config, sharded
safetensors, a padded vocabulary (151,936 rows for 151,665 tokens) and no gaze parts. Sizes and ids: the published
configuration of Qwen/Qwen2.5-VL-3B-Instruct; with --untied the head has rows of its own, as in the 7B.
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
EMBEDDING_ROWS = 151_936
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
    text_layers: Annotated[int, typer.Option(help="Layers of the language model (the real 3B has 36).")] = 2,
    vision_layers: Annotated[int, typer.Option(help="Layers of the vision tower (the real one has 32).")] = 2,
    untied: Annotated[bool, typer.Option(help="Give lm_head its own rows.")] = False,
    shard: Annotated[str, typer.Option(help="Largest shard.")] = "300MB",
) -> None:
    """Write the checkpoint in bfloat16, sharded."""
    import torch
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2VLImageProcessorPil

    out.mkdir(parents=True, exist_ok=True)
    write_tokenizer(out)
    Qwen2VLImageProcessorPil(size={"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 1280}).save_pretrained(out)
    rope = {"rope_type": "default", "rope_theta": 1_000_000.0, "mrope_section": [16, 24, 24]}
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": EMBEDDING_ROWS, "hidden_size": 2048, "intermediate_size": 11_008,
            "num_hidden_layers": text_layers, "num_attention_heads": 16, "num_key_value_heads": 2,
            "max_position_embeddings": 128_000, "rms_norm_eps": 1e-6, "rope_parameters": rope,
        },
        vision_config={
            "depth": vision_layers, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16,
            "out_hidden_size": 2048, "window_size": 112, "fullatt_block_indexes": [vision_layers - 1],
            "tokens_per_second": 2,
        },
        tie_word_embeddings=not untied,
    )  # fmt: skip
    torch.manual_seed(0)
    model = Qwen2_5_VLForConditionalGeneration(config).to(torch.bfloat16)
    model.save_pretrained(out, max_shard_size=shard)


if __name__ == "__main__":
    typer.run(main)
