"""Prompts as tensors, for images whose grids are known and, in training, with the answers."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from gazevlm_core.geometry import PatchGrid
from gazevlm_core.model.processing_gazevlm import GazeVLMProcessor, clean_text
from gazevlm_core.tokens import IMAGE_TOKEN, TURN_END_TOKEN, token_id

IGNORED_LABEL = -100


@dataclass(frozen=True)
class EncodedPrompts:
    """A batch of prompts as tensors, one image per row.

    Args:
        input_ids: int64 [B, L].
        attention_mask: int64 [B, L], 0 at padding.
        mm_token_type_ids: int64 [B, L], 1 at image tokens; without it positions silently become one-dimensional.
        labels: int64 [B, L], -100 outside the answers; None without answers.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    mm_token_type_ids: torch.Tensor
    labels: torch.Tensor | None


def encode_prompts(
    processor: GazeVLMProcessor,
    prompts: Sequence[str],
    grids: Sequence[PatchGrid],
    answers: Sequence[str] | None = None,
) -> EncodedPrompts:
    """Tokens of a batch: padded on the left for generation, on the right with answers for training.

    Args:
        processor: its tokenizer is used.
        prompts: from `render_prompt`.
        grids: the merged grid of each row's image.
        answers: what the assistant should say; closed with the turn end.

    Raises:
        ValueError: a prompt that does not hold exactly one image.
    """
    rows, label_rows = [], []
    for index, (prompt, grid) in enumerate(zip(prompts, grids, strict=True)):
        if prompt.count(IMAGE_TOKEN) != 1:
            raise ValueError(f"prompt {index} must hold exactly one image, got {prompt.count(IMAGE_TOKEN)}")
        ids = processor.tokenizer.encode(
            prompt.replace(IMAGE_TOKEN, IMAGE_TOKEN * len(grid)), add_special_tokens=False
        )
        labels = [IGNORED_LABEL] * len(ids)
        if answers is not None:
            spoken = processor.tokenizer.encode(clean_text(processor, answers[index]), add_special_tokens=False)
            spoken = [*spoken, token_id(processor.tokenizer, TURN_END_TOKEN)]
            ids, labels = ids + spoken, labels + spoken
        rows.append(ids)
        label_rows.append(labels)
    side = "left" if answers is None else "right"
    input_ids, attention_mask = _pad(rows, processor.tokenizer.pad_token_id, side)
    labels_tensor = _pad(label_rows, IGNORED_LABEL, side)[0] if answers is not None else None
    return EncodedPrompts(input_ids, attention_mask, (input_ids == processor.image_token_id).long(), labels_tensor)


def _pad(rows: Sequence[Sequence[int]], fill: int, side: str) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(len(row) for row in rows)
    table = torch.full((len(rows), longest), fill, dtype=torch.long)
    mask = torch.zeros_like(table)
    for index, row in enumerate(rows):
        where = slice(longest - len(row), longest) if side == "left" else slice(0, len(row))
        table[index, where] = torch.tensor(row)
        mask[index, where] = 1
    return table, mask
