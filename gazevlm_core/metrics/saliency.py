"""How well a map says where somebody looked, on the cells of a patch grid.

A map is float [C] over C cells, fixations are cell numbers int [F], a cell once per fixation in it. Blind to order, but
for the conditional scores, which take one map per step.

Sources: Peters et al. 2005 (NSS); Judd et al. 2009 and Bylinskii et al., "What do different evaluation metrics tell us
about saliency models?", TPAMI 2019 (AUC-Judd, CC, KL, with their constants); Kummerer et al., PNAS 2015 (information
gain). Variants pinned here: population standard deviation; a constant map has NSS 0 and no CC (NaN); AUC-Judd without
random jitter, equal values counting as reached together, and each fixated cell once.
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


def nss(saliency: np.ndarray, cells: np.ndarray) -> float:
    """Return the normalised scanpath saliency: mean z-score of the map at the fixations; 0 is chance.

    Raises:
        ValueError: no fixation, or a map that is not finite.
    """
    _check(saliency, cells)
    return float(_z_scores(saliency[None])[0, cells].mean())


def auc_judd(saliency: np.ndarray, cells: np.ndarray) -> float:
    """Return the area under the curve of fixations reached against cells reached, over the map's values at the
    fixations.

    NaN where every cell is fixated. Errors as in `nss`.
    """
    _check(saliency, cells)
    fixated = np.unique(cells)
    others = len(saliency) - len(fixated)
    if not others:
        return float("nan")
    values = saliency[fixated]
    thresholds = np.unique(values)[::-1]
    hits = (values[None] >= thresholds[:, None]).sum(axis=1)
    reached = (saliency[None] >= thresholds[:, None]).sum(axis=1)
    true_rate = np.concatenate([[0.0], hits / len(fixated), [1.0]])
    false_rate = np.concatenate([[0.0], (reached - hits) / others, [1.0]])
    return float(np.trapezoid(true_rate, false_rate))


def correlation(saliency: np.ndarray, truth: np.ndarray) -> float:
    """Return the Pearson correlation of two maps (CC); NaN where one is constant."""
    a, b = saliency - saliency.mean(), truth - truth.mean()
    spread = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / spread) if spread > 0 else float("nan")


def kl_divergence(saliency: np.ndarray, truth: np.ndarray) -> float:
    """Return the KL divergence of the map from the truth in nats; 0 is equal. Both are divided by their sums."""
    predicted, real = saliency / saliency.sum(), truth / truth.sum()
    return float((real * np.log(EPSILON + real / (predicted + EPSILON))).sum())


def information_gain(saliency: np.ndarray, baseline: np.ndarray, cells: np.ndarray) -> float:
    """Return bits per fixation that a map gains over a baseline map, e.g. the centre's or the training set's.

    Both are divided by their sums. Errors as in `nss`.
    """
    _check(saliency, cells)
    _check(baseline, cells)
    predicted, known = saliency / saliency.sum(), baseline / baseline.sum()
    return float((np.log2(EPSILON + predicted[cells]) - np.log2(EPSILON + known[cells])).mean())


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


def _check(saliency: np.ndarray, cells: np.ndarray) -> None:
    if saliency.ndim != 1 or not np.isfinite(saliency).all():
        raise ValueError(f"a map is one finite number per cell, got shape {saliency.shape}")
    if not len(cells):
        raise ValueError("a score needs at least one fixation")


def _check_steps(step_maps: np.ndarray, cells: np.ndarray) -> None:
    if step_maps.ndim != 2 or len(step_maps) != len(cells):
        raise ValueError(f"{len(cells)} steps need as many maps, got shape {step_maps.shape}")
