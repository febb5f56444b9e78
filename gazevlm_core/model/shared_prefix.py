"""Several questions about one image: its tokens are computed once, and each question goes on from them.

The image comes first in every prompt, so what a causal backbone says of it does not depend on the question. A prompt is
a prefix, up to and with the image, and a segment: question, gaze tokens, glimpses, answer. Positions of every segment
begin right behind the prefix, as if it were alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import Cache, DynamicCache

from gazevlm_core.model.outputs import CACHE, EncodedImage, PrefillOutput
from gazevlm_core.model.processing_gazevlm import IMAGE_TOKEN, GazeVLMProcessor, encode_prompts

if TYPE_CHECKING:
    from gazevlm_core.model.modeling_gazevlm import GazeVLM


class Prefix(NamedTuple):
    """One pass over images alone, from which any questions about them go on.

    Args:
        images: distinct.
        prefilled: a row for each.
    """

    images: tuple[EncodedImage, ...]
    prefilled: PrefillOutput


def prefill_images(
    model: "GazeVLM", processor: GazeVLMProcessor, prompt: str, images: Sequence[EncodedImage]
) -> Prefix:
    """Return one pass over the prefixes of images.

    Args:
        model, processor, images: as in `prefill_prompts`.
        prompt: any, from `render_prompt`.
    """
    distinct = tuple({id(image): image for image in images}.values())
    return Prefix(distinct, _prefill(model, processor, [split_prompt(prompt)[0]] * len(distinct), distinct))


def prefill_prompts(
    model: "GazeVLM", processor: GazeVLMProcessor, prompts: Sequence[str], images: Sequence[EncodedImage],
    prefix: Prefix | None = None,
) -> PrefillOutput:  # fmt: skip
    """Return one pass over prompts; where images are there several times, one over these and one over the segments.

    Args:
        prompts: from `render_prompt`.
        images: of each prompt; the same object for the same image.
        prefix: of these images, and of others perhaps, where they were computed before; it is left as it is.
    """
    if prefix is None and len({id(image) for image in images}) == len(images):
        return _prefill(model, processor, prompts, images)
    known = prefix or prefill_images(model, processor, prompts[0], images)
    numbers = {id(image): number for number, image in enumerate(known.images)}
    segments = [
        torch.tensor(processor.tokenizer.encode(split_prompt(prompt)[1], add_special_tokens=False))
        for prompt in prompts
    ]
    return prefill_segments(model, known.prefilled, [numbers[id(image)] for image in images], segments)


def _prefill(
    model: "GazeVLM", processor: GazeVLMProcessor, prompts: Sequence[str], images: Sequence[EncodedImage]
) -> PrefillOutput:
    return model.prefill(
        **encode_prompts(processor, prompts, [image.grid for image in images]).to(model.device),
        image_grid_thw=torch.stack([image.grid_thw for image in images]).to(model.device),
        image_tokens=tuple(image.tokens.to(model.device) for image in images),  # kept features lie on the CPU
    )


def split_prompt(prompt: str) -> tuple[str, str]:
    """Return prefix and segment of a prompt of `render_prompt`."""
    head, image, segment = prompt.partition(IMAGE_TOKEN)
    return head + image, segment


@torch.no_grad()
def prefill_segments(
    model: "GazeVLM", prefix: PrefillOutput, rows: Sequence[int], segments: Sequence[torch.Tensor]
) -> PrefillOutput:
    """Return one pass over segments behind the cache of their images, which is left as it is.

    Args:
        prefix: `GazeVLM.prefill` of the prefixes.
        rows: of the prefix, that each segment goes on from.
        segments: token ids, int64 [L_r] each.

    Returns:
        As `GazeVLM.prefill` of the prompts, but for where the padding lies: on the left of prefixes and of segments.
    """
    chosen = torch.tensor(rows, device=model.device)
    input_ids, new = (
        pad_sequence(list(tensors), batch_first=True, padding_side="left").to(model.device)
        for tensors in (segments, [torch.ones_like(ids) for ids in segments])
    )
    mask = torch.cat([prefix.attention_mask[chosen], new], dim=1)
    positions = ((prefix.position_ids.amax(dim=(0, 2))[chosen, None] + new.cumsum(dim=1)) * new).expand(3, -1, -1)
    cache = selected_rows(prefix.cache, chosen)
    hidden = model.model(
        input_ids=input_ids, attention_mask=mask, position_ids=positions, use_cache=True, **{CACHE: cache}
    ).last_hidden_state
    return replace(
        prefix,
        input_ids=torch.cat([prefix.input_ids[chosen], input_ids], dim=1),
        attention_mask=mask,
        position_ids=torch.cat([prefix.position_ids[:, chosen], positions], dim=2),
        cache=cache,
        gaze_hidden=model.gaze_states(hidden, input_ids),
        patch_hidden=tuple(prefix.patch_hidden[row] for row in rows),
        image_tokens=tuple(prefix.image_tokens[row] for row in rows),
        grids=tuple(prefix.grids[row] for row in rows),
    )


def selected_rows(cache: Cache, rows: torch.Tensor) -> DynamicCache:
    """Return a cache of some rows of another, int64 [R], as often as they are named."""
    chosen = DynamicCache()
    for number, layer in enumerate(cache.layers):
        chosen.update(layer.keys[rows], layer.values[rows], number)
    return chosen


# ---- in training ----------------------------------------------------------------------------------------------------
class PackedRows(NamedTuple):
    """Rows of one image in one sequence: its prefix once, then each row's segment.

    Args:
        sources: int64 [B, N], the position in the flattened rows that each token comes from; any at padding.
        places: int64 [R, L], where in the flattened sequences each row's token is computed; any at padding.
        segments: int64 [B, N], 0 in the prefix, the number of the row from 1 on behind it, -1 at padding.
    """

    sources: torch.Tensor
    places: torch.Tensor
    segments: torch.Tensor

    def pack(self, backbone: Mapping[str, Any]) -> dict[str, Any]:
        """Return arguments of the backbone for these sequences, of those for the rows."""
        return {
            **backbone, "input_ids": backbone["input_ids"].flatten()[self.sources], "attention_mask": self.mask(),
            "position_ids": backbone["position_ids"].flatten(1)[:, self.sources], "mm_token_type_ids": None,
        }  # fmt: skip

    def unpack(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return states of the rows, [R, L, D], of those of the sequences, [B, N, D]."""
        return hidden.flatten(0, 1)[self.places]

    def mask(self) -> torch.Tensor:
        """Return which tokens each token attends to, bool [B, 1, N, N]: those before it in its prefix and in its
        segment."""
        own, other = self.segments[:, :, None], self.segments[:, None, :]
        return (((other == 0) & (own >= 0)) | (own == other)).tril()[:, None]


def pack_rows(exists: torch.Tensor, is_small: torch.Tensor, rows_per_image: Sequence[int]) -> PackedRows:
    """Pack rows that share images.

    Args:
        exists: bool [R, L], False at padding.
        is_small: bool [R, L], tokens of the image that is shared.
        rows_per_image: how many rows, one behind another, each image has.
    """
    width, device, row = exists.shape[1], exists.device, 0
    last = (is_small * torch.arange(width, device=device)).amax(dim=-1).tolist()
    tokens = [one.nonzero()[:, 0] for one in exists.cpu()]
    places = torch.zeros(exists.shape, dtype=torch.int64)
    sequences, segments = [], []
    for number in rows_per_image:
        prefix = tokens[row][tokens[row] <= last[row]]
        sequence, segment, length = [row * width + prefix], [torch.zeros_like(prefix)], len(prefix)
        for own in range(row, row + number):
            tail = tokens[own][tokens[own] > last[own]]
            places[own, tokens[own][: len(prefix)]] = torch.arange(len(prefix))
            places[own, tail] = torch.arange(length, length + len(tail))
            sequence.append(own * width + tail)
            segment.append(torch.full_like(tail, own - row + 1))
            length += len(tail)
        sequences.append(torch.cat(sequence))
        segments.append(torch.cat(segment))
        row += number
    sources = pad_sequence(sequences, batch_first=True)
    images = torch.arange(len(sequences)).repeat_interleave(torch.tensor(rows_per_image))
    places += images[:, None] * sources.shape[1]
    kinds = pad_sequence(segments, batch_first=True, padding_value=-1)
    return PackedRows(sources.to(device), places.to(device), kinds.to(device))
