"""MultiMatch: similarity of two scanpaths in shape, direction, length, position and duration. Weak on order.

Source: Dewhurst et al., "It depends on how you look at it: scanpath comparison in multiple dimensions with MultiMatch",
Behavior Research Methods 2012, as published in `multimatch-gaze` (Wagner et al., JOSS 2019). Variant pinned here: that
implementation without simplification ("grouping"); medians over the aligned saccades; paths under three fixations give
NaN. Saccades are aligned along the cheapest way through the table of their vector differences, where ways of equal cost
are decided as SciPy's Dijkstra does.

Warning: these scores hardly see order, and staring at the centre beats a real reader on shape and position.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from gazevlm_core.metrics.alignment import chunks
from gazevlm_core.metrics.paths import PathBatch, check_pairs

LEAST_FIXATIONS = 3
_START, _LEFT, _ABOVE, _CORNER = -1, 0, 1, 2  # where a cell of the alignment is entered from


class MultiMatch(NamedTuple):
    """Similarities of P pairs, float64 [P] each; 1 is equal. `duration` is NaN where a duration is unknown."""

    shape: np.ndarray
    direction: np.ndarray
    length: np.ndarray
    position: np.ndarray
    duration: np.ndarray


def multimatch(first: PathBatch, second: PathBatch) -> MultiMatch:
    """Return the five similarities of each pair.

    Raises:
        ValueError: batches that cannot be paired.
    """
    check_pairs(first, second)
    table = np.full((5, len(first)), np.nan)
    (rows,) = np.nonzero((first.lengths >= LEAST_FIXATIONS) & (second.lengths >= LEAST_FIXATIONS))
    for part in chunks(len(rows), first.xy.shape[1] * second.xy.shape[1]):
        some = rows[part]
        table[:, some] = _compare(first[some], second[some])
    return MultiMatch(*table)


def _compare(first: PathBatch, second: PathBatch) -> np.ndarray:
    vectors = [np.diff(batch.xy, axis=1) for batch in (first, second)]  # [P, A, 2]
    apart = np.sqrt(((vectors[0][:, :, None] - vectors[1][:, None]) ** 2).sum(axis=-1))  # [P, A, B]
    steps_a, steps_b = _alignment(apart, first.lengths - 1, second.lengths - 1)  # [P, S], -1 beyond the end
    pair = np.arange(len(first))[:, None]
    real = steps_a >= 0

    def median(values: np.ndarray) -> np.ndarray:
        return _masked_median(values, real)

    chosen = [vector[pair, steps] for vector, steps in zip(vectors, (steps_a, steps_b), strict=True)]
    angles = [np.arctan2(vector[..., 1], vector[..., 0]) % (2 * np.pi) for vector in chosen]
    turn = np.abs(angles[0] - angles[1])
    lengths = [np.sqrt((vector**2).sum(axis=-1)) for vector in chosen]
    starts = [batch.xy[pair, steps] for batch, steps in zip((first, second), (steps_a, steps_b), strict=True)]
    durations = [
        batch.durations_ms[pair, steps] for batch, steps in zip((first, second), (steps_a, steps_b), strict=True)
    ]
    with np.errstate(invalid="ignore", divide="ignore"):  # two durations of 0 are as little defined as unknown ones
        longer = np.abs(durations[0] - durations[1]) / np.maximum(*durations)
    diagonal = first.diagonals
    return np.stack(
        [
            1 - median(apart[pair, steps_a, steps_b]) / (2 * diagonal),
            1 - median(np.where(turn > np.pi, 2 * np.pi - turn, turn)) / np.pi,
            1 - median(np.abs(lengths[0] - lengths[1])) / diagonal,
            1 - median(np.sqrt(((starts[0] - starts[1]) ** 2).sum(axis=-1))) / diagonal,
            1 - median(longer),
        ]
    )


def _alignment(
    cost: np.ndarray, first_lengths: np.ndarray, second_lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Cheapest way through each table [P, A, B]: rows and columns, int64 [P, S], from last cell to first; then -1.

    The first cell is free, every other one costs what it holds. Cells of one antidiagonal are independent.
    """
    pairs, rows, cols = cost.shape
    costs = np.ascontiguousarray(cost.transpose(1, 2, 0))  # pairs last: every step below is over whole rows of them
    total = np.full((rows + 1, cols + 1, pairs), np.inf)
    total[1, 1] = 0.0
    origin = np.full((rows, cols, pairs), _START, dtype=np.int8)
    tied = np.zeros((rows, cols, pairs), dtype=bool)
    for diagonal in range(1, rows + cols - 1):
        row = np.arange(max(0, diagonal - cols + 1), min(rows, diagonal + 1))
        col = diagonal - row
        left, above, corner = total[row + 1, col], total[row, col + 1], total[row, col]
        least = np.minimum(np.minimum(left, above), corner)
        is_left, is_above, is_corner = left == least, above == least, corner == least
        origin[row, col] = np.where(is_left, _LEFT, np.where(is_above, _ABOVE, _CORNER))
        tied[row, col] = (is_left & is_above) | (is_left & is_corner) | (is_above & is_corner)
        total[row + 1, col + 1] = least + costs[row, col]
    return _walk_back(cost, origin, tied, first_lengths, second_lengths)


def _walk_back(
    cost: np.ndarray, origin: np.ndarray, tied: np.ndarray, first_lengths: np.ndarray, second_lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    pairs, rows, cols = cost.shape
    every = np.arange(pairs)
    row, col = first_lengths - 1, second_lengths - 1
    ways = np.full((2, rows + cols - 1, pairs), -1)
    undecided = np.zeros(pairs, dtype=bool)
    going = np.ones(pairs, dtype=bool)
    for step in range(rows + cols - 1):
        ways[0, step], ways[1, step] = np.where(going, row, -1), np.where(going, col, -1)
        undecided |= going & tied[row, col, every]
        source = origin[row, col, every]
        going = going & (source != _START)
        row = row - (going & (source != _LEFT))
        col = col - (going & (source != _ABOVE))
    for number in np.flatnonzero(undecided).tolist():
        way = _dijkstra_way(cost[number, : first_lengths[number], : second_lengths[number]])
        ways[:, :, number] = -1
        ways[:, : len(way), number] = np.divmod(way, int(second_lengths[number]))
    return ways[0].T, ways[1].T


@lru_cache(maxsize=1024)
def _moves(rows: int, cols: int) -> tuple[np.ndarray, np.ndarray]:
    """Return targets of every cell's moves right, down and to the corner, and where each cell's begin; the last cell
    stays."""
    targets, starts = [], [0]
    for cell in range(rows * cols):
        right, down = cell % cols < cols - 1, cell // cols < rows - 1
        steps = [cell + 1] * right + [cell + cols] * down + [cell + cols + 1] * (right and down)
        targets += steps or [cell]
        starts.append(len(targets))
    return np.array(targets, dtype=np.int32), np.array(starts, dtype=np.int32)


def _dijkstra_way(cost: np.ndarray) -> np.ndarray:
    """Cells, row-major, of the way that SciPy's Dijkstra finds, from the last cell back to the first."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import dijkstra

    targets, starts = _moves(*cost.shape)
    weights = cost.ravel()[targets]
    weights[-1] = 0.0  # the last cell's move to itself
    graph = csr_array((weights, targets, starts), shape=(cost.size, cost.size))
    _, predecessors = dijkstra(graph, directed=True, indices=0, return_predecessors=True)
    way = [cost.size - 1]
    while predecessors[way[-1]] >= 0:
        way.append(int(predecessors[way[-1]]))
    return np.array(way)


def _masked_median(values: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Return the median over the real entries of each row; NaN where one of them is NaN."""
    counts = real.sum(axis=1)
    ranked = np.sort(np.where(real, values, np.inf), axis=1)  # NaN goes behind infinity
    rows = np.arange(len(values))
    middle = (ranked[rows, (counts - 1) // 2] + ranked[rows, counts // 2]) / 2
    return np.where((np.isnan(values) & real).any(axis=1), np.nan, middle)
