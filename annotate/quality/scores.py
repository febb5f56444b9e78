"""Scores of annotators' paths against each other, beside floors: the project's scores, on the default grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from gazevlm_core.evaluation import floors as known
from gazevlm_core.evaluation.comparison import floor_paths, joined
from gazevlm_core.evaluation.floors import PAIR_FLOORS, SHUFFLES, Pairs
from gazevlm_core.metrics.paths import PathBatch, Size, pack_paths
from gazevlm_core.metrics.registry import JACCARD, SCANMATCH, SEQUENCE, PathMetric, path_metrics
from gazevlm_core.scanpath import Scanpath

AGREEMENT_SCORES = (SEQUENCE, SCANMATCH, JACCARD)
SHUFFLED, OTHER_IMAGE, UNIFORM, CENTRE = "shuffled", "another image's path", "uniform", "centre"
FLOORS = (SHUFFLED, OTHER_IMAGE, UNIFORM, CENTRE)  # as exports have always called them
PREDICTORS = {SHUFFLED: known.SHUFFLED, UNIFORM: known.UNIFORM, CENTRE: known.CENTRE}
MOST_ANNOTATORS, MOST_FIXATIONS = 24, 64  # that are compared with each other: scores grow with the square of both


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
    """Return one of the project's scores, on the default grid."""
    return path_metrics()[name]


def pair_scores(name: str, first: Sequence[Scanpath], second: Sequence[Scanpath], size: Size) -> np.ndarray:
    """Return the score of each pair of paths on one image, of their first MOST_FIXATIONS fixations, float64 [P]."""
    return metric(name).scores(_packed(first, size), _packed(second, size)) if first else np.empty(0)


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
    """Return the mean score of P pairs, of their first MOST_FIXATIONS fixations, beside floors in place of `paths`.

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
    pairs = Pairs(_packed(truths, size), _packed(paths, size), np.arange(len(truths)), seed)

    def mean(batches: Sequence[PathBatch]) -> float:
        return float(score.scores(joined([pairs.truth] * len(batches)), joined(batches)).mean())

    floors: dict[str, float | None] = dict.fromkeys(FLOORS)
    for floor, predictor in PREDICTORS.items():
        floors[floor] = mean(floor_paths(PAIR_FLOORS[predictor], pairs, SHUFFLES))
    if elsewhere:
        floors[OTHER_IMAGE] = mean([_packed([elsewhere[row % len(elsewhere)] for row in range(len(truths))], size)])
    return Level(mean([pairs.own]), floors, score.order)
