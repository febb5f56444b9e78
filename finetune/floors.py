"""Floors: figures of what knows less than a model, beside which held-out scores are shown."""

import math
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np

from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.sequence import medoid_index
from gazevlm_core.sample import Sample
from gazevlm_core.scanpath import Scanpath

LEAST_P = 1e-7  # of a probability that float32 rounded to 0
MOST_PATHS = 200  # all pairs of these are compared, on every grid that occurs
Path = tuple[int, ...]


def on_grid(path: Scanpath, grid: PatchGrid) -> Path:
    """A scanpath as patch indices."""
    return tuple(grid.index_of(fixation) for fixation in path)


@dataclass(frozen=True)
class Aims:
    """What gaze losses are of; those of two models compare where it is the same.

    Args:
        steps: K; fixations beyond it are not asked for.
        stops: whether the end of a path is a step of its own.
        sigma_patches: width of the targets.
    """

    steps: int
    stops: bool
    sigma_patches: float


class Floors:
    """Floors of what knows nothing but the training images; made once for a run.

    Args:
        train: the cases; none for no such floors.
        seed: draws MOST_PATHS of their scanpaths, where there are more.
    """

    def __init__(self, train: Sequence[Sample], seed: int) -> None:
        paths = [reading.scanpath for case in train for reading in case.readings]
        if len(paths) > MOST_PATHS:
            chosen = np.random.default_rng([seed, 3]).choice(len(paths), MOST_PATHS, replace=False)
            paths = [paths[index] for index in sorted(chosen.tolist())]
        self._paths, self._train = paths, train
        known = [duration for case in train for duration in _durations_ms(case, None)]
        self._usual_log = float(np.median(np.log(known))) if known else None
        self._constant: dict[PatchGrid, Path] = {}

    def constant_path(self, grid: PatchGrid) -> Path | None:
        """The path that is most like the others; the same for every image of a grid. None where nobody looked."""
        if not self._paths:
            return None
        if grid not in self._constant:
            paths = [on_grid(path, grid) for path in self._paths]
            self._constant[grid] = paths[medoid_index(paths)]
        return self._constant[grid]

    def prevalences(self, names: Collection[str]) -> dict[str, float]:
        """Finding -> share of the training images that have it, with one more that has it and one that lacks it: what
        never occurred is not impossible."""
        said = {name: [case.findings[name] for case in self._train if name in case.findings]
                for name in names}  # fmt: skip
        return {name: (sum(values) + 1) / (len(values) + 2) for name, values in said.items()}

    def dwell_loss(self, cases: Sequence[Sample], steps: int) -> float | None:
        """Smooth-L1 distance of the logarithms of durations to their median in training; None where one is unknown."""
        durations = [duration for case in cases for duration in _durations_ms(case, steps)]
        if not durations or self._usual_log is None:
            return None
        apart = np.abs(np.log(durations) - self._usual_log)
        return float(np.where(apart < 1, apart**2 / 2, apart - 0.5).mean())


def _durations_ms(case: Sample, steps: int | None) -> list[float]:
    """Known durations of the first fixations of all readings."""
    fixations = [fixation for reading in case.readings for fixation in reading.scanpath.fixations[:steps]]
    return [fixation.duration_ms for fixation in fixations if fixation.duration_ms]


def uniform_loss(cases: Sequence[Sample], grids: Sequence[PatchGrid], aims: Aims) -> float | None:
    """The pointer's loss where every patch, and the end, are as likely; None where nobody looked."""
    logs: list[float] = []
    for case, grid in zip(cases, grids, strict=True):
        for reading in case.readings:
            steps = min(len(reading.scanpath) + aims.stops, aims.steps)
            logs += [math.log(len(grid)), *[math.log(len(grid) + aims.stops)] * (steps - 1)]  # no path ends at once
    return float(np.mean(logs)) if logs else None


def finding_loss(
    cases: Sequence[Sample], probabilities: Sequence[Mapping[str, float]], names: AbstractSet[str]
) -> float:
    """Mean cross-entropy in nats of the labels under probabilities.

    Args:
        cases: with their labels, of which there is one at least.
        probabilities: finding -> probability, per case.
        names: of the findings.
    """
    losses = []
    for case, said in zip(cases, probabilities, strict=True):
        for name in names & case.findings.keys():
            p = min(max(said[name], LEAST_P), 1 - LEAST_P)
            losses.append(-math.log(p if case.findings[name] else 1 - p))
    return float(np.mean(losses))
