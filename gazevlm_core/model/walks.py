"""Walking the pointer: samples, the arg-max path, their medoid, and the distributions along a path."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from gazevlm_core.metrics.sequence import medoid_index
from gazevlm_core.model.pointer import PointerField
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
    if walks < 1 or temperature < 0:
        raise ValueError(f"walks must be >= 1 and temperature >= 0, got {walks} and {temperature}")
    _check_given(field, given)
    generator = torch.Generator(device=field.keys.device).manual_seed(seed)
    stop = field.num_patches
    steps = torch.full((walks, field.num_steps), stop, device=field.keys.device)
    if given:
        steps[:, : len(given)] = torch.tensor(given, device=steps.device)
    previous = steps[:, len(given) - 1] if given else torch.full((walks,), stop, device=steps.device)
    walking = torch.ones(walks, dtype=torch.bool, device=steps.device)
    for step in range(len(given), field.num_steps):
        logits = field.logits(step, previous)
        if temperature == 0:
            choice = logits.argmax(dim=-1)
        else:
            choice = torch.multinomial((logits / temperature).softmax(dim=-1), 1, generator=generator).squeeze(1)
        choice = torch.where(walking, choice, torch.full_like(choice, stop))
        steps[:, step] = choice
        walking &= choice != stop
        if not walking.any():
            break
        previous = torch.where(walking, choice, previous)
    return [tuple(patch for patch in row if patch != stop) for row in steps.tolist()]


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
    if choice is PathChoice.ARGMAX:
        patches = sample_walks(field, 1, temperature=0.0, given=given)[0]
    elif choice is PathChoice.SAMPLE:
        patches = sample_walks(field, 1, temperature=temperature, seed=seed, given=given)[0]
    else:
        candidates = sample_walks(field, walks, temperature=temperature, seed=seed, given=given)
        patches = candidates[medoid_index(candidates)]
    return follow(field, patches)


@torch.no_grad()
def follow(field: PointerField, patches: Sequence[int]) -> WalkedPath:
    """The model's distributions along a given path, at temperature 1.

    Raises:
        ValueError: no patch, more than K, or one outside the grid.
    """
    if not patches:
        raise ValueError("a path needs at least one patch")
    _check_given(field, patches)
    count = min(len(patches) + 1, field.num_steps)
    previous = [field.num_patches, *patches]
    rows = [
        field.logits(step, torch.tensor([previous[step]], device=field.keys.device)).softmax(dim=-1)[0]
        for step in range(count)
    ]
    table = torch.stack(rows).float().cpu().numpy()  # [count, P + 1]
    probabilities = np.zeros((field.num_steps, field.num_patches), dtype=np.float32)
    probabilities[: len(patches)] = table[: len(patches), :-1]
    chosen = tuple(float(table[step, patch]) for step, patch in enumerate(patches))
    stop_probability = float(table[len(patches), -1]) if count > len(patches) else 1.0
    return WalkedPath(tuple(int(patch) for patch in patches), probabilities, chosen, stop_probability)


def _check_given(field: PointerField, patches: Sequence[int]) -> None:
    if len(patches) > field.num_steps:
        raise ValueError(f"a path of {len(patches)} fixations is longer than the model's {field.num_steps}")
    outside = [patch for patch in patches if not 0 <= patch < field.num_patches]
    if outside:
        raise ValueError(f"patches {outside} are outside a grid of {field.num_patches}")
