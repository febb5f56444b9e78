"""ScanMatch: alignment of scanpaths as strings of grid cells, where near cells match almost as well as equal ones.

Source: Cristino, Mathot, Theeuwes and Gilchrist, "ScanMatch: a novel method for comparing fixation sequences", Behavior
Research Methods 2010, and its toolbox. Variant pinned here: the toolbox's defaults (12 x 8 cells, threshold 3.5 cells,
gap 0), where two cells at a distance of d cells gain `threshold - d`, and the alignment's score is divided by threshold
times the longer string. With durations, a fixation is repeated once per `bin_ms`, rounded, and at least once.
"""

import numpy as np

from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.alignment import chunks, needleman_wunsch
from gazevlm_core.metrics.paths import PathBatch, check_pairs, patch_strings

GRID = PatchGrid(rows=8, cols=12)
THRESHOLD = 3.5  # distance in cells at which two fixations neither match nor mismatch


def substitution() -> np.ndarray:
    """Return the gain of every cell with every cell, float64 [cells, cells]."""
    row, col = np.divmod(np.arange(len(GRID)), GRID.cols)
    return THRESHOLD - np.hypot(row[:, None] - row, col[:, None] - col)


def scanmatch_scores(first: PathBatch, second: PathBatch, bin_ms: float | None = None) -> np.ndarray:
    """Score of each pair, float64 [P]; 1 for equal strings. NaN where durations are asked for and unknown.

    Args:
        bin_ms: length of a repeat, positive; None leaves durations out.

    Raises:
        ValueError: batches that cannot be paired.
    """
    check_pairs(first, second)
    gains = substitution()
    a, a_lengths = _strings(first, bin_ms)
    b, b_lengths = _strings(second, bin_ms)
    known = (a_lengths > 0) & (b_lengths > 0)
    result = np.full(len(first), np.nan)
    (rows,) = np.nonzero(known)
    for part in chunks(len(rows), a.shape[1] * b.shape[1]):
        some = rows[part]
        table = gains[a[some][:, :, None], b[some][:, None, :]]
        score = needleman_wunsch(table, a_lengths[some], b_lengths[some])
        result[some] = score / (THRESHOLD * np.maximum(a_lengths[some], b_lengths[some]))
    return result


def _strings(batch: PathBatch, bin_ms: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Cells [P, L'] (0 beyond the end) and lengths [P]; 0 where a duration is unknown."""
    cells = np.maximum(patch_strings(batch, GRID), 0)
    if bin_ms is None:
        return cells, batch.lengths
    unknown = (np.isnan(batch.durations_ms) & batch.inside).any(axis=1)
    repeats = np.maximum(np.rint(np.nan_to_num(batch.durations_ms) / bin_ms), 1).astype(np.int64)
    repeats[~batch.inside | unknown[:, None]] = 0
    lengths = repeats.sum(axis=1)
    table = np.zeros((len(batch), max(1, int(lengths.max(initial=1)))), dtype=np.int64)
    table[np.arange(table.shape[1]) < lengths[:, None]] = np.repeat(cells.ravel(), repeats.ravel())
    return table, lengths
