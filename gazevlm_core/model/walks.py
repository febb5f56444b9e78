"""Walking the pointer: samples, the arg-max path, their medoid, and the distributions along a path.

Images with as many patches are walked together, and what was walked is copied from the device once. An image's walks
are those that it would have alone: each draws the same numbers from its seed, in whatever company.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from gazevlm_core.metrics.sequence import medoid_indices
from gazevlm_core.model.pointer import PointerField, stack_fields
from gazevlm_core.options import DEFAULT_PATH_TEMPERATURE, DEFAULT_WALKS, PathChoice


@dataclass(frozen=True)
class WalkedPath:
    """A chosen path.

    Args:
        patches: 1 to K patch indices.
        probabilities: float32 [K, P], row k given the patches before it; rows behind the path are zero.
        chosen: probability of each patch of the path.
        stop_probability: of stopping where the path stops; 1.0 when it is K long.
    """

    patches: tuple[int, ...]
    probabilities: np.ndarray
    chosen: tuple[float, ...]
    stop_probability: float


@torch.no_grad()
def sample_walks(
    field: PointerField, walks: int, *, temperature: float = 1.0, seed: int = 0, given: Sequence[int] = ()
) -> list[tuple[int, ...]]:
    """Independent walks, all at once: K small products of [N, d] with [d, P + 1].

    Args:
        field: pointer of one image.
        walks: N >= 1.
        temperature: divides the logits; 0 is the arg-max walk.
        seed: of the draws; the same seed gives the same walks on one machine.
        given: first patches of every walk.

    Returns:
        N paths of 1 to K patches, each beginning with `given`.

    Raises:
        ValueError: walks or temperature out of range, or given patches that do not fit.
    """
    (steps,), (lengths,) = _walk([field], walks, temperature, seed, [given])
    return [tuple(row[:length]) for row, length in zip(steps.tolist(), lengths.tolist(), strict=True)]


def _walk(
    fields: Sequence[PointerField], walks: int, temperature: float, seed: int, given: Sequence[Sequence[int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Walks of B images with P patches each.

    Returns:
        int64 [B, N, K], patches, and P from where a walk stopped; int64 [B, N], how many patches each walk has.
    """
    if walks < 1 or temperature < 0:
        raise ValueError(f"walks must be >= 1 and temperature >= 0, got {walks} and {temperature}")
    for field, first in zip(fields, given, strict=True):
        _check_given(field, first)
    together = stack_fields(fields)
    device, stop, begun = together.keys.device, together.num_patches, len(given[0])
    generator = torch.Generator(device=device).manual_seed(seed)
    steps = torch.full((len(fields), walks, together.num_steps), stop, device=device)
    steps[..., :begun] = torch.tensor(given, dtype=torch.int64, device=device).view(len(fields), 1, begun)
    previous = steps[..., max(begun - 1, 0)].clone()  # the stop stands for the start
    walking = torch.ones(len(fields), walks, dtype=torch.bool, device=device)
    for step in range(begun, together.num_steps):
        logits = together.logits(step, previous)
        if temperature == 0:
            choice = logits.argmax(dim=-1)
        else:  # as torch.multinomial draws one, without its look at the numbers, for which a GPU would have to be done
            draws = torch.empty(walks, stop + 1, device=device).exponential_(generator=generator)
            choice = ((logits / temperature).softmax(dim=-1) / draws).argmax(dim=-1)
        choice = torch.where(walking, choice, stop)
        steps[..., step] = choice
        walking &= choice != stop
        if device.type == "cpu" and not walking.any():  # to ask a GPU takes longer than to go on
            break
        previous = torch.where(walking, choice, previous)
    return steps.cpu().numpy(), (steps != stop).sum(dim=-1).cpu().numpy()


def choose_path(
    field: PointerField,
    choice: PathChoice = PathChoice.MEDOID,
    *,
    walks: int = DEFAULT_WALKS,
    temperature: float = DEFAULT_PATH_TEMPERATURE,
    seed: int = 0,
    given: Sequence[int] = (),
) -> WalkedPath:
    """The path to show; arguments as in `sample_walks`, `walks` counts for the medoid alone."""
    return choose_paths([field], choice, walks=walks, temperature=temperature, seed=seed, given=[given])[0]


def choose_paths(
    fields: Sequence[PointerField],
    choice: PathChoice = PathChoice.MEDOID,
    *,
    walks: int = DEFAULT_WALKS,
    temperature: float = DEFAULT_PATH_TEMPERATURE,
    seed: int = 0,
    given: Sequence[Sequence[int]] | None = None,
) -> list[WalkedPath]:
    """`choose_path` of several images, whose grids may differ.

    Args:
        fields: pointer of each image.
        choice, walks, temperature, seed: as in `choose_path`, for every image.
        given: first patches of each image's path, as many for every image; None for none.
    """
    firsts = given or [()] * len(fields)
    if choice is PathChoice.ARGMAX:
        walks, temperature = 1, 0.0
    elif choice is PathChoice.SAMPLE:
        walks = 1
    found: dict[int, WalkedPath] = {}
    for places in _alike(fields):
        alike = [fields[place] for place in places]
        steps, lengths = _walk(alike, walks, temperature, seed, [firsts[place] for place in places])
        best = medoid_indices(steps, lengths) if walks > 1 else np.zeros(len(alike), dtype=np.int64)
        images = np.arange(len(alike))
        found |= dict(zip(places, _follow(alike, steps[images, best], lengths[images, best]), strict=True))
    return [found[place] for place in range(len(fields))]


def _alike(fields: Sequence[PointerField]) -> list[list[int]]:
    """Positions of the fields by their number of patches."""
    places: dict[int, list[int]] = {}
    for place, field in enumerate(fields):
        places.setdefault(field.num_patches, []).append(place)
    return list(places.values())


def follow(field: PointerField, patches: Sequence[int]) -> WalkedPath:
    """The model's distributions along a given path, at temperature 1.

    Raises:
        ValueError: no patch, more than K, or one outside the grid; or a pointer whose numbers are not finite.
    """
    if not patches:
        raise ValueError("a path needs at least one patch")
    _check_given(field, patches)
    steps = np.full((1, field.num_steps), field.num_patches)
    steps[0, : len(patches)] = patches
    return _follow([field], steps, np.array([len(patches)]))[0]


@torch.no_grad()
def _follow(fields: Sequence[PointerField], steps: np.ndarray, lengths: np.ndarray) -> list[WalkedPath]:
    """`follow` for B images with P patches each: int64 [B, K], with P behind the lengths, int64 [B]."""
    together = stack_fields(fields)
    start = np.full((len(steps), 1), together.num_patches)
    previous = torch.from_numpy(np.concatenate([start, steps[:, :-1]], axis=1)).to(together.keys.device)
    table = together.along(previous).softmax(dim=-1).float().cpu().numpy()  # [B, K, P + 1]
    if not np.isfinite(table).all():
        raise ValueError("the pointer's numbers are not finite; load the model with another --precision, e.g. fp32")
    walked = []
    for rows, path, length in zip(table, steps, lengths.tolist(), strict=True):
        probabilities = rows[:, :-1].copy()
        probabilities[length:] = 0.0
        patches = path[:length]
        chosen = rows[np.arange(length), patches].tolist()
        stopped = float(rows[length, -1]) if length < len(rows) else 1.0
        walked.append(WalkedPath(tuple(patches.tolist()), probabilities, tuple(chosen), stopped))
    return walked


def _check_given(field: PointerField, patches: Sequence[int]) -> None:
    if len(patches) > field.num_steps:
        raise ValueError(f"a path of {len(patches)} fixations is longer than the model's {field.num_steps}")
    outside = [patch for patch in patches if not 0 <= patch < field.num_patches]
    if outside:
        raise ValueError(f"patches {outside} are outside a grid of {field.num_patches}")
