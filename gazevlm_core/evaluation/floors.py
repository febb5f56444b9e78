"""Floors: predictors of paths that know less than a model, asked for paths as a model is.

GRID_FLOORS give patch strings on the model's own grids, several for each image; they know readings of other images.
PAIR_FLOORS give positions, one path for each pair of a reading and a predicted path, several times over.
A floor is one entry, and stands in every report of its kind.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gazevlm_core.evaluation.findings import GradedSample
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.paths import PathBatch, reverse, shuffle
from gazevlm_core.metrics.sequence import median_path_of
from gazevlm_core.sample import Reading
from gazevlm_core.scanpath import Fixation, Scanpath

Path = tuple[int, ...]
Alternatives = list[list[Path]]  # per image

SHUFFLES = 8
RANDOM_PATHS = 8
OTHER_IMAGES = 8
SMOOTHING = 1.0  # fixations that a histogram adds to every patch of a step

BEST_CONSTANT = "best constant path"
OTHER_PATH = "the model's path on another image with the same leading finding"
OTHER_READING = "a reading of another image with the same leading finding"
OWN_SHUFFLED = "its own path shuffled"
OWN_REVERSED = "its own path reversed"
UNIFORM_PATCHES = "uniform random patches"
STARING = "staring at the centre"
UNIFORM, CENTRE = "uniform random", "everything at the centre"
SHUFFLED, REVERSED = "own path shuffled", "own path reversed"


def on_grid(scanpath: Scanpath, grid: PatchGrid) -> Path:
    """Return a scanpath as a string of patch indices."""
    return tuple(grid.index_of(fixation) for fixation in scanpath)


def moved(path: Sequence[int], source: PatchGrid, target: PatchGrid) -> Path:
    """Return a path of one grid on another, by the centres of its patches."""
    return tuple(target.index_of(Fixation(*source.center_of(patch))) for patch in path)


def by_reader(readings: Sequence[Reading]) -> list[list[Scanpath]]:
    """Return the paths of each reader, readers in the order in which they come."""
    paths: dict[str, list[Scanpath]] = {}
    for reading in readings:
        paths.setdefault(reading.reader, []).append(reading.scanpath)
    return list(paths.values())


# ---- on the model's own grids ---------------------------------------------------------------------------------------
class ConstantPaths:
    """What can be known without the image, from readings of other images.

    Args:
        readings: of images that are not scored.
        num_steps: longest path; None leaves them as they are.
    """

    def __init__(self, readings: Sequence[Scanpath], num_steps: int | None = None) -> None:
        self.readings = readings
        self._num_steps = num_steps
        self._best: dict[PatchGrid, Path] = {}
        self._modes: dict[PatchGrid, Path] = {}

    def best_length(self, within: int) -> int:
        """Return the length that most of the readings, cut at the longest path, have within some fixations; the
        middle one of several. Where most readings are cut, their median is right less often than one a little shorter.
        """
        lengths = np.array([len(path.fixations[: self._num_steps]) for path in self.readings])
        right = (np.abs(lengths - np.arange(lengths.max() + 1)[:, None]) <= within).sum(axis=1)
        best = np.flatnonzero(right == right.max())
        return int(best[len(best) // 2])

    def best(self, grid: PatchGrid) -> Path:
        """Return the path with the best mean sequence score to the readings that can be found; it need not be one."""
        if grid not in self._best:
            self._best[grid] = median_path_of(self._on(grid))
        return self._best[grid]

    def modes(self, grid: PatchGrid) -> Path:
        """Return the most frequent patch of each step, as far as any reading goes."""
        if grid not in self._modes:
            paths = self._on(grid)
            steps = range(max(len(path) for path in paths))
            votes = [Counter(path[step] for path in paths if len(path) > step) for step in steps]
            self._modes[grid] = tuple(min(vote, key=lambda patch: (-vote[patch], patch)) for vote in votes)
        return self._modes[grid]

    def histogram(self, grid: PatchGrid, num_steps: int) -> np.ndarray:
        """Return the share of fixations on each patch by step, float64 [K, P], smoothed so that no patch has none."""
        counts = np.full((num_steps, len(grid)), SMOOTHING)
        for reading in self.readings:
            places = np.array([(fixation.x, fixation.y) for fixation in reading.fixations[:num_steps]])
            np.add.at(counts, (np.arange(len(places)), grid.indices_of(places)), 1)
        return counts / counts.sum(axis=1, keepdims=True)

    def _on(self, grid: PatchGrid) -> list[Path]:
        return [on_grid(reading, grid)[: self._num_steps] for reading in self.readings]


@dataclass(frozen=True, eq=False)
class GridTask:
    """N images of which a predictor gives paths, and what it may know.

    Args:
        samples: N, with their readings.
        grids: N, the model's grid on each.
        paths: N, the model's.
        constants: from readings of other images.
        seed: of the random floors.
    """

    samples: Sequence[GradedSample]
    grids: Sequence[PatchGrid]
    paths: Sequence[Path]
    constants: ConstantPaths
    seed: int

    @cached_property
    def partners(self) -> list[list[int]]:
        """For each image, up to OTHER_IMAGES others with the same leading finding: those that follow it."""
        groups: dict[str, list[int]] = {}
        for index, sample in enumerate(self.samples):
            groups.setdefault(sample.leading, []).append(index)
        partners: list[list[int]] = [[] for _ in self.samples]
        for group in groups.values():
            others = range(1, min(OTHER_IMAGES, len(group) - 1) + 1)
            for place, index in enumerate(group):
                partners[index] = [group[(place + step) % len(group)] for step in others]
        return partners


def _best_constant(task: GridTask) -> Alternatives:
    return [[task.constants.best(grid)] for grid in task.grids]


def _paths_of_partners(task: GridTask) -> Alternatives:
    """Paths of other images come over as positions, because grids differ with the aspect ratio."""
    return [
        [moved(task.paths[other], task.grids[other], grid) for other in others]
        for grid, others in zip(task.grids, task.partners, strict=True)
    ]


def _readings_of_partners(task: GridTask) -> Alternatives:
    """Return first readings, by the readers in turn."""
    readers = [by_reader(sample.readings) for sample in task.samples]
    return [
        [on_grid(readers[other][(index + place) % len(readers[other])][0], task.grids[index])
         for place, other in enumerate(others)]
        for index, others in enumerate(task.partners)
    ]  # fmt: skip


def _own_shuffled(task: GridTask) -> Alternatives:
    """Return the same patches, so only the order is lost."""
    rng = np.random.default_rng([task.seed, 1])
    return [[shuffled_path(path, rng) for _ in range(SHUFFLES)] for path in task.paths]


def shuffled_path(path: Path, rng: np.random.Generator) -> Path:
    """Return a path in a random order."""
    return tuple(int(patch) for patch in rng.permutation(path))


def _uniform_patches(task: GridTask) -> Alternatives:
    rng = np.random.default_rng([task.seed, 2])
    return [
        [tuple(int(patch) for patch in rng.integers(len(grid), size=len(path))) for _ in range(RANDOM_PATHS)]
        for path, grid in zip(task.paths, task.grids, strict=True)
    ]


def _staring(task: GridTask) -> Alternatives:
    middle = Fixation(0.5, 0.5)
    return [[(grid.index_of(middle),) * len(path)] for path, grid in zip(task.paths, task.grids, strict=True)]


GRID_FLOORS: Mapping[str, Callable[[GridTask], Alternatives]] = {
    BEST_CONSTANT: _best_constant,
    OTHER_PATH: _paths_of_partners,
    OTHER_READING: _readings_of_partners,
    OWN_SHUFFLED: _own_shuffled,
    OWN_REVERSED: lambda task: [[path[::-1]] for path in task.paths],
    UNIFORM_PATCHES: _uniform_patches,
    STARING: _staring,
}


# ---- as positions, for each pair ------------------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class Pairs:
    """P pairs of a reading and a predicted path of the same image.

    Args:
        truth: P readings.
        predicted: Q paths.
        rows: int [P], the predicted path of each pair.
        seed: of the random floors.
    """

    truth: PathBatch
    predicted: PathBatch
    rows: np.ndarray
    seed: int

    @property
    def own(self) -> PathBatch:
        """The predicted path of each pair."""
        return self.predicted[self.rows]

    def elsewhere(self, fractions: np.ndarray) -> PathBatch:
        """Return paths of the same lengths and durations whose fixations lie elsewhere, as fractions [P, L, 2]."""
        own = self.own
        return PathBatch(fractions * own.sizes[:, None, :], own.durations_ms, own.lengths, own.sizes)


@dataclass(frozen=True)
class PairFloor:
    """A predictor of one path for each pair.

    Args:
        predict: pairs and number of the repeat -> P paths.
        random: whether several repeats are averaged.
    """

    predict: Callable[[Pairs, int], PathBatch]
    random: bool = False


def _uniform(pairs: Pairs, repeat: int) -> PathBatch:
    return pairs.elsewhere(np.random.default_rng([pairs.seed, 2, repeat]).random(pairs.own.xy.shape))


PAIR_FLOORS: Mapping[str, PairFloor] = {
    SHUFFLED: PairFloor(lambda pairs, repeat: shuffle(pairs.predicted, pairs.seed, repeat)[pairs.rows], random=True),
    REVERSED: PairFloor(lambda pairs, repeat: reverse(pairs.predicted)[pairs.rows]),
    UNIFORM: PairFloor(_uniform, random=True),
    CENTRE: PairFloor(lambda pairs, repeat: pairs.elsewhere(np.full(pairs.own.xy.shape, 0.5))),
}
