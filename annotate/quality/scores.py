"""Scores of annotators' paths against each other, beside floors: the project's scores, on the default grid."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from gazevlm_core.metrics.paths import PathBatch, Size, pack_paths
from gazevlm_core.metrics.registry import DEFAULT_GRID, SHUFFLES, PathMetric, path_metrics, shuffle
from gazevlm_core.scanpath import Scanpath

SEQUENCE, SCANMATCH, JACCARD = "sequence score", "ScanMatch", "Jaccard"
AGREEMENT_SCORES = (SEQUENCE, SCANMATCH, JACCARD)
SHUFFLED, OTHER_IMAGE, UNIFORM, CENTRE = "shuffled", "another image's path", "uniform", "centre"
MOST_ANNOTATORS, MOST_FIXATIONS = 24, 64  # that are compared with each other: scores grow with the square of both
FLOORS = (SHUFFLED, OTHER_IMAGE, UNIFORM, CENTRE)


@dataclass(frozen=True)
class Level:
    """A mean score and what would be reached without knowing the image, or the order.

    Args:
        value: mean over the pairs; None where there is no pair.
        floors: name -> mean score of paths that know less; None where there is none, such as with one image.
        order: "sensitive" or "blind", as the score sees the order.
    """

    value: float | None
    floors: dict[str, float | None]
    order: str

    @property
    def best_floor(self) -> float | None:
        """The highest floor."""
        return max((floor for floor in self.floors.values() if floor is not None), default=None)


@cache
def metric(name: str) -> PathMetric:
    """One of the project's scores, on the default grid."""
    return path_metrics(DEFAULT_GRID)[name]


def pair_scores(name: str, first: Sequence[Scanpath], second: Sequence[Scanpath], size: Size) -> np.ndarray:
    """Score of each pair of paths on one image, of their first MOST_FIXATIONS fixations, float64 [P]."""
    if not first:
        return np.empty(0)
    return metric(name).scores(_packed(first, size), _packed(second, size))


def _packed(paths: Sequence[Scanpath], size: Size) -> PathBatch:
    return pack_paths([Scanpath(path.fixations[:MOST_FIXATIONS], path.source) for path in paths], size)


def level(
    name: str,
    truths: Sequence[Scanpath],
    paths: Sequence[Scanpath],
    size: Size,
    *,
    elsewhere: Sequence[Scanpath] = (),
    seed: int = 0,
) -> Level:
    """Mean score of P pairs, of their first MOST_FIXATIONS fixations, beside floors, which take the place of `paths`.

    Args:
        name: of the score.
        truths: P paths.
        paths: P paths, compared with the truths one by one.
        size: of the image.
        elsewhere: paths on other images.
        seed: of the shuffled and the uniform floor.
    """
    score = metric(name)
    if not truths:
        return Level(None, dict.fromkeys(FLOORS), score.order)
    truth, packed = _packed(truths, size), _packed(paths, size)
    turns = range(SHUFFLES)
    truths_of_turns = _joined([truth] * SHUFFLES)  # all at once: a score takes its steps per fixation, not per pair
    shuffled = score.scores(truths_of_turns, _joined([shuffle(packed, seed, turn) for turn in turns])).mean()
    floors: dict[str, float | None] = {SHUFFLED: float(shuffled), OTHER_IMAGE: None}
    if elsewhere:
        taken = [elsewhere[row % len(elsewhere)] for row in range(len(truths))]
        floors[OTHER_IMAGE] = float(score.scores(truth, _packed(taken, size)).mean())
    uniform = _joined([_moved(packed, _uniform(seed, turn)) for turn in turns])
    floors[UNIFORM] = float(score.scores(truths_of_turns, uniform).mean())
    floors[CENTRE] = float(score.scores(truth, _moved(packed, _centre)).mean())
    return Level(float(score.scores(truth, packed).mean()), floors, score.order)


def _joined(batches: Sequence[PathBatch]) -> PathBatch:
    """Batches of one padded length as one."""
    names = ("xy", "durations_ms", "lengths", "sizes")
    return PathBatch(*(np.concatenate([getattr(batch, name) for batch in batches]) for name in names))


def _moved(batch: PathBatch, places: Callable[[tuple[int, ...]], np.ndarray]) -> PathBatch:
    """Paths of the same lengths and durations whose fixations lie elsewhere.

    Args:
        places: shape -> positions as fractions of the image, float64 of that shape.
    """
    return PathBatch(places(batch.xy.shape) * batch.sizes[:, None, :], batch.durations_ms, batch.lengths, batch.sizes)


def _uniform(seed: int, turn: int) -> Callable[[tuple[int, ...]], np.ndarray]:
    return lambda shape: np.random.default_rng([seed, 2, turn]).random(shape)


def _centre(shape: tuple[int, ...]) -> np.ndarray:
    return np.full(shape, 0.5)
