"""How well a model's distribution of each step knows where a reader looks next, given where they looked before.

Conditional NSS and information gain along the readers' own paths (`gazevlm_core.metrics.saliency`). Both look at where
a reader goes, given that they go on: the probability of stopping is left out, and the rest sums to 1. Beside them
stands what a histogram of other readings at the same step knows, which has not seen the image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.intervals import Estimate, ratio_estimate
from gazevlm_core.metrics.saliency import conditional_information_gain, conditional_nss
from gazevlm_core.model.path_sampling import follow
from gazevlm_core.model.pointer import PointerField
from gazevlm_core.scanpath import Scanpath

SMOOTHING = 1.0  # looks that a histogram adds to every patch of a step


@dataclass(frozen=True, eq=False)
class StepLooks:
    """Fixations of one image's readings, as far as the model's paths go.

    Args:
        steps, patches: int64 [V], which step each fixation is, and its patch.
        nss: float64 [V], z-score of the model's map at the fixation.
        bits: float64 [V], what the model's map gains there over a uniform one.
    """

    steps: np.ndarray
    patches: np.ndarray
    nss: np.ndarray
    bits: np.ndarray


@dataclass(frozen=True)
class StepScores:
    """Means over fixations.

    Args:
        nss: conditional NSS; 0 is chance.
        bits: conditional information gain over uniform, in bits per fixation; 0 is chance.
        histogram_nss, histogram_bits: the same of a histogram of other readings at each step.
    """

    nss: Estimate
    bits: Estimate
    histogram_nss: Estimate
    histogram_bits: Estimate


@torch.no_grad()
def look_along(field: PointerField, readings: Sequence[Sequence[int]]) -> StepLooks:
    """A model's distributions along readers' paths.

    Args:
        field: pointer of the image.
        readings: patch indices of each; what lies behind the K-th fixation is left out.
    """
    steps, patches, scores, bits = [], [], [], []
    for reading in readings:
        cells = np.array(reading[: field.num_steps], dtype=np.int64)
        maps = follow(field, cells.tolist()).probabilities[: len(cells)].astype(np.float64)
        maps /= maps.sum(axis=1, keepdims=True)
        steps.append(np.arange(len(cells)))
        patches.append(cells)
        scores.append(conditional_nss(maps, cells))
        bits.append(conditional_information_gain(maps, np.full(field.num_patches, 1 / field.num_patches), cells))
    nothing = np.zeros(0)
    return StepLooks(
        np.concatenate([nothing.astype(np.int64), *steps]),
        np.concatenate([nothing.astype(np.int64), *patches]),
        np.concatenate([nothing, *scores]),
        np.concatenate([nothing, *bits]),
    )


def step_histogram(readings: Sequence[Scanpath], grid: PatchGrid, num_steps: int) -> np.ndarray:
    """Share of looks at each patch by step, float64 [K, P], smoothed so that no patch has none.

    Args:
        readings: of other images.
        grid: of the image that is scored.
        num_steps: K.
    """
    counts = np.full((num_steps, len(grid)), SMOOTHING)
    for reading in readings:
        places = np.array([(fixation.x, fixation.y) for fixation in reading.fixations[:num_steps]])
        np.add.at(counts, (np.arange(len(places)), grid.indices_of(places)), 1)
    return counts / counts.sum(axis=1, keepdims=True)


def score_steps(
    looks: Sequence[StepLooks],
    grids: Sequence[PatchGrid],
    others: Sequence[Scanpath],
    num_steps: int,
    counts: np.ndarray,
) -> StepScores:
    """Means with intervals.

    Args:
        looks: of each of N images.
        grids: N, the model's grid on each.
        others: readings of images that are not scored.
        num_steps: K.
        counts: [R, N] from `bootstrap_counts` or `patient_counts`.
    """
    histograms: dict[PatchGrid, np.ndarray] = {}
    sums = np.zeros((len(looks), 4))
    for row, (look, grid) in enumerate(zip(looks, grids, strict=True)):
        if grid not in histograms:
            histograms[grid] = step_histogram(others, grid, num_steps)
        maps = histograms[grid][look.steps]
        known = conditional_nss(maps, look.patches)
        gained = conditional_information_gain(maps, np.full(len(grid), 1 / len(grid)), look.patches)
        sums[row] = [look.nss.sum(), look.bits.sum(), known.sum(), gained.sum()]
    numbers = np.array([len(look.steps) for look in looks], dtype=np.float64)
    return StepScores(*(ratio_estimate(column, numbers, counts) for column in sums.T))
