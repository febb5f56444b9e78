"""Scanpaths that know less than the model: constant ones, another image's, and the model's own out of order.

Every floor gives each image some alternative paths on that image's own grid; their scores are averaged. Paths of other
images come over as positions, because grids differ with the aspect ratio.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from evaluate.cases import StudyCase
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.sequence import medoid_index
from gazevlm_core.scanpath import Fixation, Scanpath

Path = tuple[int, ...]
Alternatives = list[list[Path]]  # per image

SHUFFLES = 8
RANDOM_PATHS = 8
OTHER_IMAGES = 8


def on_grid(scanpath: Scanpath, grid: PatchGrid) -> Path:
    """A scanpath as a string of patch indices."""
    return tuple(grid.index_of(fixation) for fixation in scanpath)


def moved(path: Sequence[int], source: PatchGrid, target: PatchGrid) -> Path:
    """A path of one grid on another, by the centres of its patches."""
    return tuple(target.index_of(Fixation(*source.center_of(patch))) for patch in path)


class ConstantPaths:
    """What can be known without the image, from one reading by each reader of other phantoms.

    Args:
        others: phantoms that are not scored.
        num_steps: longest path.

    `readings` holds those readings.
    """

    def __init__(self, others: Sequence[StudyCase], num_steps: int) -> None:
        self.readings = [reader[0] for case in others for reader in case.readings]
        self._num_steps = num_steps
        self._best: dict[PatchGrid, Path] = {}
        self._modes: dict[PatchGrid, Path] = {}

    @property
    def usual_length(self) -> int:
        """Median length of the readings, cut at the longest path."""
        return int(np.median([min(len(path), self._num_steps) for path in self.readings]))

    def best(self, grid: PatchGrid) -> Path:
        """The reading with the best mean sequence score against all the others."""
        if grid not in self._best:
            paths = self._on(grid)
            self._best[grid] = paths[medoid_index(paths)]
        return self._best[grid]

    def modes(self, grid: PatchGrid) -> Path:
        """The most frequent patch of each step, as far as any reading goes."""
        if grid not in self._modes:
            paths = self._on(grid)
            steps = range(max(len(path) for path in paths))
            votes = [Counter(path[step] for path in paths if len(path) > step) for step in steps]
            self._modes[grid] = tuple(min(vote, key=lambda patch: (-vote[patch], patch)) for vote in votes)
        return self._modes[grid]

    def _on(self, grid: PatchGrid) -> list[Path]:
        return [on_grid(reading, grid)[: self._num_steps] for reading in self.readings]


def shuffled(paths: Sequence[Path], seed: int) -> Alternatives:
    """Each path in random orders; the same patches, so only the order is lost."""
    rng = np.random.default_rng([seed, 1])
    return [[tuple(int(patch) for patch in rng.permutation(path)) for _ in range(SHUFFLES)] for path in paths]


def uniform(paths: Sequence[Path], grids: Sequence[PatchGrid], seed: int) -> Alternatives:
    """Random patches, as many as the model's path has."""
    rng = np.random.default_rng([seed, 2])
    return [
        [tuple(int(patch) for patch in rng.integers(len(grid), size=len(path))) for _ in range(RANDOM_PATHS)]
        for path, grid in zip(paths, grids, strict=True)
    ]


def centre(paths: Sequence[Path], grids: Sequence[PatchGrid]) -> Alternatives:
    """Staring at the centre for as many fixations as the model's path has."""
    middle = Fixation(0.5, 0.5)
    return [[(grid.index_of(middle),) * len(path)] for path, grid in zip(paths, grids, strict=True)]


def same_finding_partners(cases: Sequence[StudyCase]) -> list[list[int]]:
    """For each image, up to OTHER_IMAGES others with the same leading finding: those that follow it in the study."""
    groups: dict[str, list[int]] = {}
    for index, case in enumerate(cases):
        groups.setdefault(case.leading, []).append(index)
    partners: list[list[int]] = [[] for _ in cases]
    for group in groups.values():
        for place, index in enumerate(group):
            partners[index] = [
                group[(place + step) % len(group)] for step in range(1, min(OTHER_IMAGES, len(group) - 1) + 1)
            ]
    return partners


def model_paths_of_partners(
    paths: Sequence[Path], grids: Sequence[PatchGrid], partners: Sequence[Sequence[int]]
) -> Alternatives:
    """The model's own paths on other images; none where an image has no partner."""
    return [
        [moved(paths[other], grids[other], grids[index]) for other in others] for index, others in enumerate(partners)
    ]


def readings_of_partners(
    cases: Sequence[StudyCase], grids: Sequence[PatchGrid], partners: Sequence[Sequence[int]]
) -> Alternatives:
    """Readings of other images, by the readers in turn; none where an image has no partner."""
    return [
        [
            on_grid(cases[other].readings[(index + place) % len(cases[other].readings)][0], grids[index])
            for place, other in enumerate(others)
        ]
        for index, others in enumerate(partners)
    ]
