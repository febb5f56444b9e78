"""What knows nothing but the training images, beside which held-out scores are shown; it is made once for a run."""

from collections.abc import Sequence

import numpy as np

from finetune.cases import Case
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.sequence import medoid_index
from gazevlm_core.scanpath import Scanpath

MOST_PATHS = 200  # all pairs of these are compared, on every grid that occurs
Path = tuple[int, ...]


def on_grid(path: Scanpath, grid: PatchGrid) -> Path:
    """A scanpath as patch indices."""
    return tuple(grid.index_of(fixation) for fixation in path)


class Floors:
    """Floors from the training images.

    Args:
        train: the cases; none for no such floors.
        seed: draws MOST_PATHS of their scanpaths, where there are more.
    """

    def __init__(self, train: Sequence[Case], seed: int) -> None:
        paths = [reading.scanpath for case in train for reading in case.record.readings]
        if len(paths) > MOST_PATHS:
            chosen = np.random.default_rng([seed, 3]).choice(len(paths), MOST_PATHS, replace=False)
            paths = [paths[index] for index in sorted(chosen.tolist())]
        self._paths = paths
        self._constant: dict[PatchGrid, Path] = {}

    def constant_path(self, grid: PatchGrid) -> Path | None:
        """The path that is most like the others; the same for every image of a grid. None where nobody looked."""
        if not self._paths:
            return None
        if grid not in self._constant:
            paths = [on_grid(path, grid) for path in self._paths]
            self._constant[grid] = paths[medoid_index(paths)]
        return self._constant[grid]
