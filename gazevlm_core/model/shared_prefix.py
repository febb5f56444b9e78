"""Several questions about one image: its tokens are computed once, and each question goes on from them.

The image comes first in every prompt, so what a causal backbone says of it does not depend on the question. A prompt is
a prefix, up to and with the image, and a segment: question, gaze tokens, glimpses, answer. Positions of every segment
begin right behind the prefix, as if it were alone.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import Cache, DynamicCache

from gazevlm_core.model.outputs import EncodedImage, PrefillOutput
from gazevlm_core.model.processing_gazevlm import IMAGE_TOKEN, GazeVLMProcessor, encode_prompts

if TYPE_CHECKING:
    from gazevlm_core.model.modeling_gazevlm import GazeVLM


def prefill_prompts(
    model: "GazeVLM", processor: GazeVLMProcessor, prompts: Sequence[str], images: Sequence[EncodedImage]
) -> PrefillOutput:
    """One pass over prompts; where images are there several times, one over these and one over the segments.

    Args:
        model: the backbone.
        processor: of the model.
        prompts: from `render_prompt`.
        images: of each prompt; the same object for the same image.
    """
    distinct, device = list({id(image): image for image in images}.values()), model.device
    shared = len(distinct) < len(images)
    heads = [split_prompt(prompts[0])[0]] * len(distinct) if shared else prompts
    prefix = model.prefill(
        **encode_prompts(processor, heads, [image.grid for image in distinct]).to(device),
        image_grid_thw=torch.stack([image.grid_thw for image in distinct]).to(device),
        image_tokens=tuple(image.tokens.to(device) for image in distinct),  # kept features lie on the CPU
    )
    if not shared:
        return prefix
    numbers = {id(image): number for number, image in enumerate(distinct)}
    segments = [
        torch.tensor(processor.tokenizer.encode(split_prompt(prompt)[1], add_special_tokens=False))
        for prompt in prompts
    ]
    return prefill_segments(model, prefix, [numbers[id(image)] for image in images], segments)


def split_prompt(prompt: str) -> tuple[str, str]:
    """Return prefix and segment of a prompt of `render_prompt`."""
    head, image, segment = prompt.partition(IMAGE_TOKEN)
    return head + image, segment


@torch.no_grad()
def prefill_segments(
    model: "GazeVLM", prefix: PrefillOutput, rows: Sequence[int], segments: Sequence[torch.Tensor]
) -> PrefillOutput:
    """One pass over segments behind the cache of their images, which is left as it is.

    Args:
        model: the backbone.
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
        input_ids=input_ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
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
