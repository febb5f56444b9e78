"""Paths from the pointer: samples, the arg-max path, their consensus and medoid, and the distributions along a path.

Images with as many patches are sampled together, and the paths are copied from the device once. An image's paths do not
depend on its batch: each draws the same numbers from its seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.sequence import median_path, medoid_indices
from gazevlm_core.model.configuration_gazevlm import GazeConfig
from gazevlm_core.model.glimpses import choose_steps
from gazevlm_core.model.pointer import GazeHeads, PointerField, stack_fields
from gazevlm_core.options import DEFAULT_NUM_PATHS, DEFAULT_PATH_TEMPERATURE, PathChoice
from gazevlm_core.scanpath import Fixation, Scanpath

UNFOLLOWED_NOTE = (
    "The answer and the probabilities do not follow the places that were given: this model takes no glimpses of them."
)
MERGED_NOTE = "Places next to each other in one patch are one step: {places} became {steps}."
UNSEEN_NOTE = "Of the places that were given, the model sees {seen} closely, and no more."


@dataclass(frozen=True)
class ChosenPath:
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


class DecodedPath(NamedTuple):
    """The path of one image: its fixations, the patches that the model chose, which steps are glimpsed, and what the
    user must know of places that were given."""

    scanpath: Scanpath
    patch_path: ChosenPath
    glimpsed: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def glimpsed_places(self) -> list[Fixation]:
        """Where the glimpses lie, in the order of looking."""
        return [self.scanpath.fixations[step] for step in self.glimpsed]


def given_steps(places: Sequence[Fixation], grid: PatchGrid, config: GazeConfig) -> tuple[Fixation, ...]:
    """Return the steps of a path that given places are: those next to each other in one patch are one, at their mean,
    for a model without repeats.

    Raises:
        ValueError: more steps than a path of the model has.
    """
    merged = places and not config.repeats
    steps = grid.merge_repeats(Scanpath(tuple(places), "model")).fixations if merged else tuple(places)
    if len(steps) > config.num_gaze_tokens:
        raise ValueError(
            f"{len(steps)} places are more than the {config.num_gaze_tokens} steps of this model's path; give at most "
            f"{config.num_gaze_tokens}"
        )
    return steps


def decode_path(
    heads: GazeHeads,
    config: GazeConfig,
    states: tuple[torch.Tensor, torch.Tensor],
    path: ChosenPath,
    grid: PatchGrid,
    given: Sequence[Fixation] = (),
) -> DecodedPath:
    """Return a chosen path with its fixations and the steps that are glimpsed: the given ones without a dwell first.

    Args:
        states: of the gaze tokens and the patches, as in `place_fixations`.
        given: its first steps, which stay where they are; one with a dwell weighs as a step of the model's own, by its
            probability where the model tells no dwell to compare with.
    """
    placed = place_fixations(heads, config, *states, path.patches, grid)
    scanpath = Scanpath((*given, *placed[len(given) :]), "model")
    if not config.num_prompt_glimpses:
        return DecodedPath(scanpath, path, (), (UNFOLLOWED_NOTE,) if given else ())
    own = [fixation.duration_ms or 0.0 for fixation in placed] if config.dwell_trained else path.chosen
    comparable = config.dwell_trained or len(given) == len(path.patches)
    weights: list[float | None] = [*own]
    for step, fixation in enumerate(given):
        if fixation.duration_ms is None or comparable:
            weights[step] = fixation.duration_ms
    most = 1.0 + sum(weight or 0.0 for weight in weights)
    weighed = [most if weight is None else weight for weight in weights]
    steps = choose_steps(scanpath.fixations, grid, config.num_prompt_glimpses, weighed)
    asked = {patch for patch, weight in zip(path.patches, weights, strict=True) if weight is None}
    seen = len(asked & {path.patches[step] for step in steps})
    unseen = seen < len(asked)
    return DecodedPath(scanpath, path, tuple(steps), (UNSEEN_NOTE.format(seen=seen),) if unseen else ())


@torch.no_grad()
def place_fixations(
    heads: GazeHeads,
    config: GazeConfig,
    gaze_hidden: torch.Tensor,
    patch_hidden: torch.Tensor,
    patches: Sequence[int],
    grid: PatchGrid,
) -> list[Fixation]:
    """Return the fixations of a path: in the middle of their patches or where the offset head puts them, with dwells
    where those are trained.

    Args:
        gaze_hidden: [K, D] of one image.
        patch_hidden: [P, D] of the same.
        patches: 1 to K indices.
        grid: merged, of the image.
    """
    states, fixated = gaze_hidden[: len(patches)], patch_hidden[list(patches)]
    durations: list[float | None] = [None] * len(patches)
    if config.dwell_trained:
        durations = list(heads.log_durations(states, fixated).exp().tolist())
    inside = [(0.5, 0.5)] * len(patches)
    if config.use_offsets:
        # rounding may not carry a fixation into the next patch
        inside = heads.offsets(states, fixated).clamp(1e-3, 1 - 1e-3).tolist()
    found = []
    for patch, duration_ms, (across, down) in zip(patches, durations, inside, strict=True):
        row, col = divmod(patch, grid.cols)
        found.append(Fixation((col + across) / grid.cols, (row + down) / grid.rows, duration_ms))
    return found


@torch.no_grad()
def sample_paths(
    field: PointerField, num_paths: int, temperature: float, seed: int, given: Sequence[Sequence[int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Sample independent paths of B images, all at once and on the CPU: each step is a look into two small tables.

    Args:
        field: of B images, from `stack_fields`.
        num_paths: N >= 1, of each image.
        temperature: divides the logits; 0 is the arg-max path.
        seed: of the draws; the same seed gives the same paths.
        given: first patches of every path of each image.

    Returns:
        int64 [B, N, K], patches, and P from where a path stopped; int64 [B, N], how many patches each path has.

    Raises:
        ValueError: num_paths or temperature out of range, or given patches that do not fit.
    """
    if num_paths < 1 or temperature < 0:
        raise ValueError(f"num_paths must be >= 1 and temperature >= 0, got {num_paths} and {temperature}")
    for first in given:
        _check_given(field, first)
    stop, begun = field.num_patches, len(given[0])
    by_step, by_previous = (table.float().cpu().numpy() for table in field.logit_tables)
    found = np.full((len(given), num_paths, field.num_steps), stop)
    found[..., :begun] = np.array(given, dtype=np.int64).reshape(len(given), 1, begun)
    previous = found[..., max(begun - 1, 0)]  # the stop stands for the start
    images = np.arange(len(given))[:, None]
    log_waits = _log_waits((field.num_steps - begun, num_paths, stop + 1), temperature, seed)
    for step, waits in enumerate(log_waits, start=begun):
        previous = (by_previous[images, previous] + by_step[:, step, None] - waits).argmax(axis=-1)
        found[..., step] = previous
    stopped = np.logical_or.accumulate(found == stop, axis=-1)
    found[stopped] = stop  # sampling on behind a stop costs less than checking for it at every step
    return found, (~stopped).sum(axis=-1)


@lru_cache(maxsize=4)  # drawing them takes longer than the sampling, and most images are sampled from the same seed
def _log_waits(shape: tuple[int, ...], temperature: float, seed: int) -> np.ndarray:
    """Draw as torch.multinomial does: the choice with the shortest exponential wait at the rate of its probability.

    Returns:
        float32, the logarithms of waits at rate 1, times the temperature.
    """
    draws = torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return (temperature * draws.neg_().log1p_().neg_().log_()).float().numpy()


def choose_path(
    field: PointerField,
    choice: PathChoice = PathChoice.CONSENSUS,
    *,
    num_paths: int = DEFAULT_NUM_PATHS,
    temperature: float = DEFAULT_PATH_TEMPERATURE,
    seed: int = 0,
    given: Sequence[int] = (),
) -> ChosenPath:
    """Return the path to show; arguments as in `sample_paths`, `num_paths` counts for consensus and medoid alone."""
    return choose_paths([field], choice, num_paths=num_paths, temperature=temperature, seed=seed, given=[given])[0]


def choose_paths(
    fields: Sequence[PointerField],
    choice: PathChoice = PathChoice.CONSENSUS,
    *,
    num_paths: int = DEFAULT_NUM_PATHS,
    temperature: float = DEFAULT_PATH_TEMPERATURE,
    seed: int = 0,
    given: Sequence[Sequence[int]] | None = None,
) -> list[ChosenPath]:
    """Return the paths to show, as `choose_path`, of several images, whose grids may differ.

    Args:
        choice, num_paths, temperature, seed: as in `choose_path`, for every image.
        given: first patches of each image's path; None for none.
    """
    firsts = given or [()] * len(fields)
    if choice is PathChoice.ARGMAX:
        num_paths, temperature = 1, 0.0
    elif choice is PathChoice.SAMPLE:
        num_paths = 1
    found: dict[int, ChosenPath] = {}
    for places in _alike(fields, firsts):
        alike = stack_fields([fields[place] for place in places])
        steps, lengths = sample_paths(alike, num_paths, temperature, seed, [firsts[place] for place in places])
        best = medoid_indices(steps, lengths) if num_paths > 1 else np.zeros(len(places), dtype=np.int64)
        images = np.arange(len(places))
        chosen, ends = steps[images, best], lengths[images, best]
        if choice is PathChoice.CONSENSUS:
            for row, place in enumerate(places):
                path = median_path(
                    steps[row], lengths[row], chosen[row, : ends[row]].tolist(), alike.num_steps, len(firsts[place])
                )
                chosen[row], ends[row] = alike.num_patches, len(path)
                chosen[row, : len(path)] = path
        found |= dict(zip(places, _follow(alike, chosen, ends), strict=True))
    return [found[place] for place in range(len(fields))]


def _alike(fields: Sequence[PointerField], firsts: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return positions of the fields with as many patches, and as many of them given."""
    places: dict[tuple[int, int], list[int]] = {}
    for place, (field, first) in enumerate(zip(fields, firsts, strict=True)):
        places.setdefault((field.num_patches, len(first)), []).append(place)
    return list(places.values())


def follow(field: PointerField, patches: Sequence[int]) -> ChosenPath:
    """Return the model's distributions along a given path, at temperature 1.

    Raises:
        ValueError: no patch, more than K, or one outside the grid; or a pointer whose numbers are not finite.
    """
    if not patches:
        raise ValueError("a path needs at least one patch")
    _check_given(field, patches)
    steps = np.full((1, field.num_steps), field.num_patches)
    steps[0, : len(patches)] = patches
    return _follow(stack_fields([field]), steps, np.array([len(patches)]))[0]


@torch.no_grad()
def _follow(field: PointerField, steps: np.ndarray, lengths: np.ndarray) -> list[ChosenPath]:
    """`follow` for the B images of a stacked field: int64 [B, K], with P behind the lengths, int64 [B]."""
    start = np.full((len(steps), 1), field.num_patches)
    previous = torch.from_numpy(np.concatenate([start, steps[:, :-1]], axis=1)).to(field.keys.device)
    table = field.along(previous).softmax(dim=-1).float().cpu().numpy()  # [B, K, P + 1]
    if not np.isfinite(table).all():
        raise ValueError("the pointer's numbers are not finite; load the model with another --precision, e.g. fp32")
    found = []
    for rows, path, length in zip(table, steps, lengths.tolist(), strict=True):
        probabilities = rows[:, :-1].copy()
        probabilities[length:] = 0.0
        patches = path[:length]
        chosen = rows[np.arange(length), patches].tolist()
        stopped = float(rows[length, -1]) if length < len(rows) else 1.0
        found.append(ChosenPath(tuple(patches.tolist()), probabilities, tuple(chosen), stopped))
    return found


def _check_given(field: PointerField, patches: Sequence[int]) -> None:
    if len(patches) > field.num_steps:
        raise ValueError(f"a path of {len(patches)} fixations is longer than the model's {field.num_steps}")
    outside = [patch for patch in patches if not 0 <= patch < field.num_patches]
    if outside:
        raise ValueError(f"patches {outside} are outside a grid of {field.num_patches}")
