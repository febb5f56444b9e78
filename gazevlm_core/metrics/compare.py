"""Every score of one path against another on one image, beside what chance and other readers would get there."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.paths import Size, pack_paths
from gazevlm_core.metrics.registry import Order, path_metrics
from gazevlm_core.scanpath import Fixation, Scanpath

UNIFORM, CENTRE = "uniform random", "everything at the centre"
SHUFFLED, REVERSED = "own path shuffled", "own path reversed"
TURNS = 32  # random orders and random paths; one image has no others to average over
FLOORS = (SHUFFLED, REVERSED, UNIFORM, CENTRE)


@dataclass(frozen=True)
class Compared:
    """One score on one image; NaN where it is not defined.

    Args:
        name: of the score.
        order: what it sees of the order of fixations.
        higher_is_better: False for distances.
        value: of the model's path against the reader's.
        order_gain: `value` less the mean of the path shuffled, with the sign turned for distances.
        floors: name -> mean score of paths that know less, in the order of FLOORS.
        ceiling: mean score of the other readers' paths of the image.
    """

    name: str
    order: Order
    higher_is_better: bool
    value: float
    order_gain: float
    floors: dict[str, float]
    ceiling: float


def compare_paths(
    model: Scanpath, reader: Scanpath, others: Sequence[Scanpath], size: Size, grid: PatchGrid, seed: int = 0
) -> list[Compared]:
    """Every score of `path_metrics`.

    Args:
        model: the path that is scored.
        reader: the path that it is scored against.
        others: paths of other readers of the image, for the ceiling.
        size: width and height of the image in px.
        grid: of the scores on patches.
        seed: of the random floors.
    """
    groups = {"own": [model], **_floor_paths(model, seed), "others": list(others)}
    owners = np.array([name for name, paths in groups.items() for _ in paths])
    batch = pack_paths([path for paths in groups.values() for path in paths], size)
    truth = pack_paths([reader] * len(batch), size)
    compared = []
    for metric in path_metrics(grid).values():
        scores = metric.scores(truth, batch)
        means = {name: _mean(scores[owners == name]) for name in groups}
        gain = means["own"] - means[SHUFFLED]
        compared.append(
            Compared(
                metric.name,
                metric.order,
                metric.higher_is_better,
                means["own"],
                gain if metric.higher_is_better else -gain,
                {name: means[name] for name in FLOORS},
                means["others"],
            )
        )
    return compared


def _floor_paths(path: Scanpath, seed: int) -> dict[str, list[Scanpath]]:
    """Paths that know less than a path; each with its number of fixations and its durations."""
    rng = np.random.default_rng(seed)
    fixations = [Fixation(fixation.x, fixation.y, fixation.duration_ms) for fixation in path]  # onsets have an order

    def path_of(chosen: Sequence[Fixation]) -> Scanpath:
        return Scanpath(tuple(chosen), path.source)

    orders = [rng.permutation(len(fixations)) for _ in range(TURNS)]
    places = rng.random((TURNS, len(fixations), 2))
    return {
        SHUFFLED: [path_of([fixations[k] for k in order]) for order in orders],
        REVERSED: [path_of(fixations[::-1])],
        UNIFORM: [
            path_of([replace(one, x=float(x), y=float(y)) for one, (x, y) in zip(fixations, turn, strict=True)])
            for turn in places
        ],
        CENTRE: [path_of([replace(fixation, x=0.5, y=0.5) for fixation in fixations])],
    }


def _mean(scores: np.ndarray) -> float:
    known = scores[~np.isnan(scores)]
    return float(known.mean()) if len(known) else float("nan")
