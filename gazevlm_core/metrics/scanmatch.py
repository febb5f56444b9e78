"""ScanMatch: alignment of scanpaths as strings of grid cells, where near cells match almost as well as equal ones.

Source: Cristino, Mathot, Theeuwes and Gilchrist, "ScanMatch: a novel method for comparing fixation sequences", Behavior
Research Methods 2010, and its toolbox. Variant pinned here: the toolbox's defaults (12 x 8 cells, threshold 3.5 cells,
gap 0), where two cells at a distance of d cells gain `threshold - d`, and the alignment's score is divided by threshold
times the longer string. With durations, a fixation is repeated once per `bin_ms`, rounded, and at least once.
"""

from dataclasses import dataclass

import numpy as np

from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.alignment import chunks, needleman_wunsch
from gazevlm_core.metrics.paths import PathBatch, check_pairs, patch_strings


@dataclass(frozen=True)
class ScanMatch:
    """Settings of the score.

    Args:
        cols, rows: of the grid.
        threshold: distance in cells at which two fixations neither match nor mismatch.
        gap: gain of a fixation without partner.
        bin_ms: length of a repeat; None leaves durations out.

    Raises:
        ValueError: a threshold or bin that is not positive.
    """

    cols: int = 12
    rows: int = 8
    threshold: float = 3.5
    gap: float = 0.0
    bin_ms: float | None = None

    def __post_init__(self) -> None:
        if self.threshold <= 0 or (self.bin_ms is not None and self.bin_ms <= 0):
            raise ValueError("threshold and bin must be positive")

    def substitution(self) -> np.ndarray:
        """Return the gain of every cell with every cell, float64 [cells, cells]."""
        row, col = np.divmod(np.arange(self.rows * self.cols), self.cols)
        return self.threshold - np.hypot(row[:, None] - row, col[:, None] - col)

    def scores(self, first: PathBatch, second: PathBatch) -> np.ndarray:
        """Score of each pair, float64 [P]; 1 for equal strings. NaN where durations are asked for and unknown.

        Raises:
            ValueError: batches that cannot be paired.
        """
        check_pairs(first, second)
        grid, gains = PatchGrid(self.rows, self.cols), self.substitution()
        a, a_lengths = self._strings(first, grid)
        b, b_lengths = self._strings(second, grid)
        known = (a_lengths > 0) & (b_lengths > 0)
        result = np.full(len(first), np.nan)
        (rows,) = np.nonzero(known)
        for part in chunks(len(rows), a.shape[1] * b.shape[1]):
            some = rows[part]
            table = gains[a[some][:, :, None], b[some][:, None, :]]
            score = needleman_wunsch(table, a_lengths[some], b_lengths[some], self.gap)
            result[some] = score / (self.threshold * np.maximum(a_lengths[some], b_lengths[some]))
        return result

    def _strings(self, batch: PathBatch, grid: PatchGrid) -> tuple[np.ndarray, np.ndarray]:
        """Cells [P, L'] (0 beyond the end) and lengths [P]; 0 where a duration is unknown."""
        cells = np.maximum(patch_strings(batch, grid), 0)
        if self.bin_ms is None:
            return cells, batch.lengths
        unknown = (np.isnan(batch.durations_ms) & batch.inside).any(axis=1)
        repeats = np.maximum(np.rint(np.nan_to_num(batch.durations_ms) / self.bin_ms), 1).astype(np.int64)
        repeats[~batch.inside | unknown[:, None]] = 0
        lengths = repeats.sum(axis=1)
        table = np.zeros((len(batch), max(1, int(lengths.max(initial=1)))), dtype=np.int64)
        table[np.arange(table.shape[1]) < lengths[:, None]] = np.repeat(cells.ravel(), repeats.ravel())
        return table, lengths
