"""How well a map for each step says where somebody looked then, on the cells of a patch grid.

A map is float [C] over C cells, fixations are cell numbers int [F], a cell once per fixation in it.

Sources: Peters et al. 2005 (NSS); Kummerer et al., PNAS 2015 (information gain). Variants pinned here: population
standard deviation; a constant map has NSS 0.
"""

import numpy as np

EPSILON = np.finfo(np.float64).eps  # as in the MIT benchmark's code


def fixation_map(cells: np.ndarray, rows: int, cols: int, sigma_cells: float = 0.0) -> np.ndarray:
    """Share of the fixations in each cell, float64 [rows * cols], summing to 1.

    Args:
        cells: int [F], at least one.
        rows, cols: of the grid.
        sigma_cells: standard deviation of a Gaussian blur, reflected at the border; 0 for none.

    Raises:
        ValueError: no fixation.
    """
    if not len(cells):
        raise ValueError("a map needs at least one fixation")
    counts = np.bincount(cells, minlength=rows * cols).astype(np.float64).reshape(rows, cols)
    if sigma_cells > 0:
        from scipy.ndimage import gaussian_filter  # late: importing this module must be quick

        counts = gaussian_filter(counts, sigma_cells, mode="reflect")
    return counts.ravel() / counts.sum()


def conditional_nss(step_maps: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Return the z-score of each step's map at that step's fixation, float64 [K].

    Args:
        step_maps: float [K, C], distribution over cells given the fixations before.
        cells: int [K], the fixation of each step.

    Raises:
        ValueError: numbers of steps that do not fit.
    """
    _check_steps(step_maps, cells)
    return _z_scores(step_maps)[np.arange(len(cells)), cells]


def conditional_information_gain(step_maps: np.ndarray, baseline: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Return bits that each step's map gains over a baseline at that step's fixation, float64 [K].

    Args:
        step_maps: float [K, C]; not divided by their sums, since a model may also stop.
        baseline: float [K, C] or [C], the same.
        cells: int [K].

    Raises:
        ValueError: numbers of steps that do not fit.
    """
    _check_steps(step_maps, cells)
    steps = np.arange(len(cells))
    known = np.broadcast_to(baseline, step_maps.shape)[steps, cells]
    return np.log2(EPSILON + step_maps[steps, cells]) - np.log2(EPSILON + known)


def _z_scores(maps: np.ndarray) -> np.ndarray:
    spread = maps.std(axis=-1, keepdims=True)
    return np.divide(maps - maps.mean(axis=-1, keepdims=True), spread, out=np.zeros_like(maps, float), where=spread > 0)


def _check_steps(step_maps: np.ndarray, cells: np.ndarray) -> None:
    if step_maps.ndim != 2 or len(step_maps) != len(cells):
        raise ValueError(f"{len(cells)} steps need as many maps, got shape {step_maps.shape}")
