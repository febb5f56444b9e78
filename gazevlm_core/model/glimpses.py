"""Glimpses: places of a path, cut from the image at a finer resolution, as image tokens behind the gaze tokens.

    <st> x K, then for each glimpse <|vision_start|><|image_pad|> x T<|vision_end|>, then the answer

A glimpse is a window of `glimpse_patches` patches of the small image, resized to `glimpse_side` image tokens a side.
The vision tower encodes it as any image. Its rope positions are those of its place in the image (`GlimpsePositions`).
"""

from collections.abc import Sequence

import torch
from PIL import Image
from torch.nn.utils.rnn import pad_sequence

from gazevlm_core.geometry import PatchGrid, Window
from gazevlm_core.model.configuration_gazevlm import GazeConfig, GazeVLMConfig
from gazevlm_core.model.outputs import Glimpses
from gazevlm_core.scanpath import Fixation

UNKNOWN = float("nan")


def choose_steps(
    path: Sequence[Fixation], grid: PatchGrid, count: int, weights: Sequence[float] | None = None
) -> list[int]:
    """Choose the steps of a path to show closely: of the patches that weigh most, in the order of looking.

    A patch weighs what its fixations weigh together, and is shown at the one of them that weighs most.

    Args:
        path: fixations in order.
        grid: merged, of the small image.
        count: the most places, M.
        weights: of each fixation; None takes its dwell where that is known of all, else one for each.

    Returns:
        Positions in the path, at most one for each patch.
    """
    if weights is None:
        known = [fixation.duration_ms for fixation in path if fixation.duration_ms is not None]
        weights = known if len(known) == len(path) else [1.0] * len(path)
    sums: dict[int, float] = {}  # in the order of first visits
    best: dict[int, int] = {}
    for step, (fixation, weight) in enumerate(zip(path, weights, strict=True)):
        patch = grid.index_of(fixation)
        sums[patch] = sums.get(patch, 0.0) + weight
        if patch not in best or weight > weights[best[patch]]:
            best[patch] = step
    kept = set(sorted(sums, key=lambda patch: -sums[patch])[:count])
    return [best[patch] for patch in sums if patch in kept]


def windows_of(places: Sequence[Fixation], grid: PatchGrid, config: GazeConfig) -> list[Window]:
    """Return the windows that are cut from the image around some places."""
    return [grid.window_at(place.x, place.y, config.glimpse_patches) for place in places]


def fine_image(image: Image.Image, grid: PatchGrid, token_px: int, config: GazeConfig) -> Image.Image:
    """Return the image that glimpses are cut from: as it is or, where it is larger than they need, resized.

    Args:
        image: upright, RGB.
        grid: merged, of the small image.
        token_px: side of an image token in pixels of the resized image.
    """
    finer = config.glimpse_side / config.glimpse_patches
    width, height = round(grid.cols * token_px * finer), round(grid.rows * token_px * finer)
    if image.width <= width or image.height <= height:
        return image
    return image.resize((width, height), Image.Resampling.BICUBIC)


def crop_glimpse(fine: Image.Image, window: Window, side_px: int) -> Image.Image:
    """Return one glimpse, `side_px` wide and high."""
    box = (
        window.left * fine.width, window.upper * fine.height, window.right * fine.width, window.lower * fine.height,
    )  # fmt: skip
    return fine.resize((side_px, side_px), Image.Resampling.BICUBIC, box=box)


def pad_windows(windows: Sequence[Sequence[Window]]) -> torch.Tensor:
    """Return the windows of each row of a batch as float [B, M, 4], NaN where a row has fewer than the most of them."""
    most = max(map(len, windows), default=0)
    rows = [[*row, *[[UNKNOWN] * 4] * (most - len(row))] for row in windows]
    return torch.tensor(rows, dtype=torch.float32).view(len(windows), most, 4)


def glimpse_counts(windows: torch.Tensor) -> list[int]:
    """Return how many glimpses each row has, from [B, M, 4] windows."""
    return (~windows[..., 0].isnan()).sum(dim=-1).tolist()


def glimpse_ids(config: GazeVLMConfig, counts: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the token ids of each row's glimpses, int64 [B, L], padded on the left, and bool [B, L], True for what
    exists."""
    tokens = [config.image_token_id] * config.gaze_config.glimpse_side**2
    one, filler = [config.vision_start_token_id, *tokens, config.vision_end_token_id], config.vision_end_token_id
    rows = [torch.tensor(one * count, dtype=torch.int64) for count in counts]
    ids = pad_sequence(rows, batch_first=True, padding_value=filler, padding_side="left")
    lengths = torch.tensor([len(row) for row in rows])
    return ids, torch.arange(ids.shape[1] - 1, -1, -1) < lengths[:, None]


def small_image_mask(is_image: torch.Tensor, grids: Sequence[PatchGrid]) -> torch.Tensor:
    """Return which tokens are those of the small image, the first image tokens of each row.

    Args:
        is_image: bool [B, L].
        grids: merged, of each row's small image.
    """
    sizes = torch.tensor([len(grid) for grid in grids], device=is_image.device)
    return is_image & (is_image.cumsum(dim=-1) <= sizes[:, None])


def glimpse_columns(is_glimpse: torch.Tensor, tokens: int) -> torch.Tensor:
    """Return which glimpse each position belongs to: float32 [B, L, M], 1 at its own.

    Args:
        is_glimpse: bool [B, L].
        tokens: of each glimpse.
    """
    number = (is_glimpse.cumsum(dim=-1) - 1).div(tokens, rounding_mode="floor")
    most = int(is_glimpse.sum(dim=-1).max()) // tokens
    return ((number[..., None] == torch.arange(most, device=number.device)) & is_glimpse[..., None]).float()


def interleave(
    image_tokens: Sequence[torch.Tensor], glimpse_tokens: torch.Tensor, counts: Sequence[int]
) -> tuple[torch.Tensor, ...]:
    """Return image tokens in the order of a batch's prompts: of each row the small image, then its glimpses.

    Args:
        image_tokens: per row [P_b, W].
        glimpse_tokens: [N, T, W] of all rows' glimpses.
        counts: glimpses of each row; they add up to N.
    """
    found: list[torch.Tensor] = []
    for tokens, glimpses in zip(image_tokens, glimpse_tokens.split(list(counts)), strict=True):
        found += [tokens, *glimpses]
    return tuple(found)


def glimpse_states(hidden: torch.Tensor, is_glimpse: torch.Tensor, tokens: torch.Tensor) -> Glimpses:
    """Return what the heads read of the glimpses of a batch.

    Args:
        hidden: [B, L, D].
        is_glimpse: bool [B, L].
        tokens: [N, T, D], merged tokens of the vision tower of all rows' glimpses in order.
    """
    sizes = is_glimpse.sum(dim=-1)
    states = pad_sequence(hidden[is_glimpse].split(sizes.tolist()), batch_first=True)
    seen = pad_sequence(tokens.flatten(0, 1).split(sizes.tolist()), batch_first=True)
    return Glimpses(states, torch.arange(states.shape[1], device=hidden.device) < sizes[:, None], seen)


def at_true_places(
    position_ids: torch.Tensor,
    small: torch.Tensor,
    is_glimpse: torch.Tensor,
    windows: torch.Tensor,
    grids: Sequence[PatchGrid],
    side: int,
) -> torch.Tensor:
    """Return rope positions with the rows and columns of glimpses at their places among the small image's patches.

    Args:
        position_ids: int64 [3, B, L], sequential.
        small: bool [B, L], tokens of the small image.
        is_glimpse: bool [B, L].
        windows: float [B, M, 4].
        grids: merged, of the small images.
        side: image tokens along a side of a glimpse.

    Returns:
        float32 [3, B, L]; a place in the middle of a patch has that patch's own position.
    """
    placed = position_ids.float()
    steps = (torch.arange(side, device=windows.device) + 0.5) / side
    for row, grid in enumerate(grids):
        own = windows[row][~windows[row, :, 0].isnan()]  # [m, 4]
        if not len(own):
            continue
        first = position_ids[0, row][small[row]][0]  # the image's first token: row 0, column 0
        across = own[:, :1] + steps * (own[:, 2:3] - own[:, :1])  # [m, side]
        down = own[:, 1:2] + steps * (own[:, 3:] - own[:, 1:2])
        rows = (first + down * grid.rows - 0.5)[:, :, None].expand(-1, -1, side)
        cols = (first + across * grid.cols - 0.5)[:, None, :].expand(-1, side, -1)
        placed[1, row, is_glimpse[row]] = rows.flatten()
        placed[2, row, is_glimpse[row]] = cols.flatten()
    return placed
