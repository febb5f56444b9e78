"""What goes between the backbone, the heads and the losses: records of one pass, and of what supervises it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any, NamedTuple

import torch
from PIL import Image
from transformers import Cache, GenerationMixin
from transformers.utils import ModelOutput

from gazevlm_core.geometry import PatchGrid, Window

# The argument of a cache in the library's models: it was renamed in transformers 5.24.
CACHE = "cache" if "cache" in signature(GenerationMixin.prepare_inputs_for_generation).parameters else "past_key_values"
KEPT_GLIMPSES = 128  # of an image: a path that is steered shows most of its places again
GIVEN: Any = None  # of a field that is always given: the library wants a default of every one


class Glimpses(NamedTuple):
    """What the heads read of glimpses, each [B, G, ...] over the tokens of a row's glimpses in order, padded.

    Args:
        hidden: [B, G, D], last hidden states.
        mask: bool [B, G], True for tokens that exist.
        tokens: [B, G, D], merged tokens of the vision tower, which know nothing but the glimpse.
    """

    hidden: torch.Tensor
    mask: torch.Tensor
    tokens: torch.Tensor


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """An image after the vision tower; reusable for any number of questions.

    Args:
        tokens: [P, W], from `GazeVLM.encode_images`.
        grid_thw: int64 [3], as the image processor counts patches.
        grid: of the tokens.
        fine: what glimpses are cut from; None for a model without glimpses.
        glimpses: what the vision tower made of glimpses of it so far, at most KEPT_GLIMPSES.
    """

    tokens: torch.Tensor
    grid_thw: torch.Tensor
    grid: PatchGrid
    fine: Image.Image | None = None
    glimpses: dict[Window, torch.Tensor] = field(default_factory=dict)


@dataclass
class PrefillOutput(ModelOutput):
    """What one pass of the backbone over prompts and gaze tokens gives.

    Args:
        input_ids: int64 [B, L], left-padded.
        attention_mask: int64 [B, L].
        position_ids: int64 [3, B, L], kept here because the backbone would share its own between users.
        cache: keys and values of all L positions; the answer goes on from it.
        gaze_hidden: [B, K, D], or None when the prompts hold no gaze token.
        patch_hidden: per image [P_b, D]; see `GazeVLM.patch_states`.
        image_tokens: per image [P_b, D], merged tokens of the vision tower.
        grids: of each image's tokens.
        glimpse_hidden, glimpse_mask, glimpse_tokens: as in `Glimpses`; None before `add_glimpses`.
    """

    input_ids: torch.Tensor = GIVEN
    attention_mask: torch.Tensor = GIVEN
    position_ids: torch.Tensor = GIVEN
    cache: Cache = GIVEN
    gaze_hidden: torch.Tensor | None = None
    patch_hidden: tuple[torch.Tensor, ...] = GIVEN
    image_tokens: tuple[torch.Tensor, ...] = GIVEN
    grids: tuple[PatchGrid, ...] = GIVEN
    glimpse_hidden: torch.Tensor | None = None
    glimpse_mask: torch.Tensor | None = None
    glimpse_tokens: torch.Tensor | None = None

    def rewind(self) -> bool:
        """Take what came behind this pass out of its cache; whether the cache then holds exactly the pass: not so after
        an error between two layers."""
        lengths = {layer.get_seq_length() for layer in self.cache.layers}
        behind = max(lengths) - self.input_ids.shape[1]
        if len(lengths) > 1 or behind < 0:
            return False
        if behind:
            self.cache.crop(-behind)
        return True

    @property
    def glimpses(self) -> Glimpses | None:
        """What the heads read of the glimpses; None before `add_glimpses`."""
        parts = (self.glimpse_hidden, self.glimpse_mask, self.glimpse_tokens)
        return Glimpses(*parts) if all(part is not None for part in parts) else None  # type: ignore[arg-type]


@dataclass
class GazeLosses(ModelOutput):
    """The weighted loss and its parts, all scalars; the parts are `LOSS_NAMES`."""

    loss: torch.Tensor | None = None
    gaze_loss: torch.Tensor | None = None
    text_loss: torch.Tensor | None = None
    finding_loss: torch.Tensor | None = None
    dwell_loss: torch.Tensor | None = None
    offset_loss: torch.Tensor | None = None
    local_loss: torch.Tensor | None = None
    patch_finding_loss: torch.Tensor | None = None


class States(NamedTuple):
    """What the heads read of one pass over prompts and answers.

    Args:
        hidden: last hidden states [B, L, D].
        gaze_hidden: [B, K, D].
        patches: per image [P_b, D]; see `GazeVLM.patch_states`.
        grids: merged, of the small images.
        glimpses: None without.
        glimpse_tokens: [N, T, D], merged tokens of the vision tower of all rows' glimpses.
        image_tokens: per image [P_b, D], those of the small images; None where nothing needs them.
    """

    hidden: torch.Tensor
    gaze_hidden: torch.Tensor
    patches: tuple[torch.Tensor, ...]
    grids: tuple[PatchGrid, ...]
    glimpses: Glimpses | None = None
    glimpse_tokens: torch.Tensor | None = None
    image_tokens: Sequence[torch.Tensor] | None = None


class Supervision(NamedTuple):
    """What is known about a batch, for the losses.

    Args:
        labels: int64 [B, L], -100 outside the answer.
        targets: int64 [B, S, K] of patch index, STOP or IGNORED, for S readers per image.
        durations_ms: float [B, S, K], NaN where unknown.
        offsets: float [B, S, K, 2], where in its patch each fixation lies, NaN where unknown.
        findings: float [B, F] of the finding head's findings, NaN where unknown.
        contents: float [N, F], whether each finding lies in each glimpse of all rows in order, NaN where unknown.
        patch_contents: float [sum of P_b, F], whether each finding lies in each patch of the images in order, NaN
            where unknown.
    """

    labels: torch.Tensor | None
    targets: torch.Tensor | None
    durations_ms: torch.Tensor | None
    offsets: torch.Tensor | None
    findings: torch.Tensor | None
    contents: torch.Tensor | None
    patch_contents: torch.Tensor | None = None
