"""Gaze with its order kept, lost, or replaced by chance: controls of the experiment, and an option of fine-tuning."""

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

import numpy as np

from gazevlm_core.sample import Sample
from gazevlm_core.scanpath import Fixation, Scanpath


class GazeOrder(StrEnum):
    """What supervises the gaze tokens."""

    ORIGINAL = "original"
    SHUFFLED = "shuffled"  # the same fixations in a random order
    RANDOM = "random"  # as many places anywhere on the image
    NONE = "none"


def ordered_paths(paths: Sequence[Scanpath], order: GazeOrder, seed: Sequence[int]) -> tuple[Scanpath, ...]:
    """Return the scanpaths that a model learns from.

    Each path is changed once and stays so: the same seed gives the same result, epoch after epoch. Onsets no longer fit
    and are dropped; durations stay with their fixations.

    Args:
        paths: of one image.
        order: what becomes of them; none is left for NONE.
        seed: numbers that tell the image and the run, e.g. (run, image).
    """
    if order is GazeOrder.NONE:
        return ()
    if order is GazeOrder.ORIGINAL:
        return tuple(paths)
    rng = np.random.default_rng([*seed, list(GazeOrder).index(order)])
    return tuple(_changed(path, order, rng) for path in paths)


def in_order(sample: Sample, order: GazeOrder, seed: Sequence[int]) -> Sample:
    """Return a sample with the readings that a model learns from; see `ordered_paths`."""
    paths = ordered_paths(sample.scanpaths, order, seed)
    kept = zip(sample.readings, paths, strict=False)  # none where there are no paths
    return replace(sample, readings=tuple(replace(reading, scanpath=path) for reading, path in kept))


def _changed(path: Scanpath, order: GazeOrder, rng: np.random.Generator) -> Scanpath:
    untimed = [replace(fixation, onset_ms=None) for fixation in path]
    if order is GazeOrder.SHUFFLED:
        return Scanpath(tuple(untimed[place] for place in rng.permutation(len(untimed))), path.source)
    places = rng.random((len(untimed), 2))
    moved = [Fixation(float(x), float(y), f.duration_ms) for (x, y), f in zip(places, untimed, strict=True)]
    return Scanpath(tuple(moved), path.source)
