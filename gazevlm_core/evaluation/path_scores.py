"""Scores of shown paths on the model's own grids: order against readers, ceilings, floors, stopping, dwell, maps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from gazevlm_core.evaluation.findings import GradedSample
from gazevlm_core.evaluation.floors import (
    GRID_FLOORS,
    OWN_SHUFFLED,
    ConstantPaths,
    GridTask,
    Path,
    by_reader,
    on_grid,
)
from gazevlm_core.evaluation.report import (
    Dwell,
    Floored,
    Paths,
    SequenceScores,
    StepOnly,
    Stop,
    floors_of,
    score_of,
)
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.intervals import (
    Estimate,
    correlation_estimate,
    mean_estimate,
    median_estimate,
    ratio_estimate,
)
from gazevlm_core.metrics.registry import MAP_METRICS, map_scores
from gazevlm_core.metrics.sequence import sequence_scores

STOP_WITHIN = 2  # fixations
HISTOGRAM = "histogram"  # of other readings at each step
STEP_HISTOGRAM = "most frequent patches of each step, other images"
BEST_LENGTH = "the best constant length"
_PAIRS_AT_ONCE = 20_000


@dataclass(frozen=True, eq=False)
class StepScores:
    """The model's maps along the readings of one image, as far as the model's paths go.

    Args:
        steps, patches: int64 [V], which step each fixation is, and its patch.
        scores: key of each map metric -> float64 [V].
    """

    steps: np.ndarray
    patches: np.ndarray
    scores: Mapping[str, np.ndarray]


def mean_scores(alternatives: Sequence[Sequence[Path]], targets: Sequence[Sequence[Path]]) -> np.ndarray:
    """Return the mean sequence score of all pairs (alternative, target) per image, float64 [N]; NaN without a pair."""
    pairs = [
        (image, first, second)
        for image, (paths, others) in enumerate(zip(alternatives, targets, strict=True))
        for first in paths
        for second in others
    ]
    sums, numbers = np.zeros(len(targets)), np.zeros(len(targets))
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):
        images, firsts, seconds = zip(*pairs[start : start + _PAIRS_AT_ONCE], strict=True)
        sums += np.bincount(images, sequence_scores(firsts, seconds), len(targets))
        numbers += np.bincount(images, minlength=len(targets))
    return np.divide(sums, numbers, out=np.full(len(targets), np.nan), where=numbers > 0)


def ceilings(samples: Sequence[GradedSample], grids: Sequence[PatchGrid]) -> tuple[np.ndarray, np.ndarray]:
    """Return a reader against their own second reading, and against the other readers, per image, float64 [N] each."""
    same, other = np.zeros(len(samples)), np.zeros(len(samples))
    for index, (sample, grid) in enumerate(zip(samples, grids, strict=True)):
        readers = by_reader(sample.readings)
        first, second = ([on_grid(paths[number], grid) for paths in readers] for number in (0, 1))
        same[index] = sequence_scores(first, second).mean()
        pairs = list(permutations(range(len(first)), 2))
        other[index] = sequence_scores([first[a] for a, _ in pairs], [second[b] for _, b in pairs]).mean()
    return same, other


def score_paths(
    task: GridTask, steps: Sequence[StepScores], dwells: Sequence[np.ndarray], num_steps: int, counts: np.ndarray
) -> tuple[Paths, np.ndarray]:
    """Return all scores of a model's paths but `metrics`, and the sequence score of each image, float64 [N].

    Args:
        task: the images with their readings, and the model's paths.
        steps: of each image.
        dwells: of each image, float64 [V, 2] of (predicted, true) duration in ms; empty where untrained.
        num_steps: K, the longest path.
        counts: [R, N] from `bootstrap_counts`.
    """
    samples, grids, paths = task.samples, task.grids, task.paths
    targets = [
        [on_grid(path, grid) for path in sample.scanpaths] for sample, grid in zip(samples, grids, strict=True)
    ]
    per_image = mean_scores([[path] for path in paths], targets)
    by_floor = {name: mean_scores(predict(task), targets) for name, predict in GRID_FLOORS.items()}
    same_reader, other_reader = ceilings(samples, grids)
    own = mean_estimate(per_image, counts)
    sequence = SequenceScores.of(
        own,
        ceiling_same_reader=score_of(mean_estimate(same_reader, counts)),
        other_reader=score_of(mean_estimate(other_reader, counts)),
        share_of_ceiling=score_of(ratio_estimate(per_image, same_reader, counts)),
        floors=floors_of(own, {name: mean_estimate(scores, counts) for name, scores in by_floor.items()}),
        order_gain=score_of(mean_estimate(per_image - by_floor[OWN_SHUFFLED], counts)),
        images_without_same_finding_partner=sum(not others for others in task.partners),
    )
    modes = [task.constants.modes(grid) for grid in grids]
    scores = Paths(
        sequence_score=sequence,
        stop=_stop(task, targets, num_steps, counts),
        step_only=StepOnly(
            modal_patch_hits=score_of(step_hits(modes, targets, counts)),
            model_path_hits=score_of(step_hits(paths, targets, counts)),
        ),
        conditional=_conditional(score_steps(steps, grids, task.constants, num_steps, counts)),
        dwell=_dwell(dwells, counts),
    )
    return scores, per_image


def step_hits(paths: Sequence[Path], targets: Sequence[Sequence[Path]], counts: np.ndarray) -> Estimate:
    """Return the share of the readings' fixations on the path's patch of the same step; beyond its end, a miss."""
    hits = [
        sum(patch == guess for other in others for patch, guess in zip(other, path, strict=False))
        for path, others in zip(paths, targets, strict=True)
    ]
    fixations = [sum(len(other) for other in others) for others in targets]
    return ratio_estimate(np.array(hits), np.array(fixations), counts)


def _stop(task: GridTask, targets: Sequence[Sequence[Path]], num_steps: int, counts: np.ndarray) -> Stop:
    """Return how often a path is as long as a reading within STOP_WITHIN, and how much longer it is."""
    lengths = [np.array([min(len(path), num_steps) for path in readings]) for readings in targets]
    longer = [len(path) - row for path, row in zip(task.paths, lengths, strict=True)]
    constant = [task.constants.best_length(STOP_WITHIN) - row for row in lengths]
    same, other = list[np.ndarray](), list[np.ndarray]()
    for sample in task.samples:
        twice = np.array([[min(len(path), num_steps) for path in paths[:2]] for paths in by_reader(sample.readings)])
        between = twice[:, :1] - twice[:, 1]  # of each reader's first reading and each reader's second
        same.append(np.diag(between))
        other.append(between[~np.eye(len(twice), dtype=bool)])
    within, floor, same_reader, other_reader = (
        mean_estimate(np.array([(np.abs(row) <= STOP_WITHIN).mean() for row in rows]), counts)
        for rows in (longer, constant, same, other)
    )
    difference = median_estimate(np.concatenate(longer), _image_numbers(lengths), counts)
    return Stop(
        within_2_fixations=Floored.of(within, floors=floors_of(within, {BEST_LENGTH: floor})),
        median_length_difference=score_of(difference),
        same_reader=score_of(same_reader), other_reader=score_of(other_reader),
    )  # fmt: skip


def _image_numbers(rows: Sequence[np.ndarray]) -> np.ndarray:
    return np.repeat(np.arange(len(rows)), [len(row) for row in rows])


def _dwell(dwells: Sequence[np.ndarray], counts: np.ndarray) -> Dwell:
    if not dwells:
        return Dwell(median_ratio=None, log_correlation=None)
    images = _image_numbers(dwells)
    predicted_ms, true_ms = np.concatenate(dwells).T
    positive = true_ms > 0
    images, predicted_ms, true_ms = images[positive], predicted_ms[positive], true_ms[positive]
    return Dwell(
        median_ratio=score_of(median_estimate(predicted_ms / true_ms, images, counts)),
        log_correlation=score_of(correlation_estimate(np.log(predicted_ms), np.log(true_ms), images, counts)),
    )


# ---- maps behind each fixation --------------------------------------------------------------------------------------
def score_steps(
    steps: Sequence[StepScores],
    grids: Sequence[PatchGrid],
    constants: ConstantPaths,
    num_steps: int,
    counts: np.ndarray,
) -> dict[str, Estimate]:
    """Return means over fixations: each map metric by its key, and with "histogram_" before it the histogram's.

    How well a model's map of each step knows where a reader looks next, given where they looked before. The probability
    of stopping is left out, and the rest sums to 1. A histogram of other readings at each step has not seen the image.

    Args:
        steps: of each of N images.
        grids: N, the model's grid on each.
        constants: from readings of images that are not scored.
        num_steps: K.
        counts: [R, N] from `bootstrap_counts` or `patient_counts`.
    """
    histograms: dict[PatchGrid, np.ndarray] = {}
    keys = [metric.key for metric in MAP_METRICS]
    sums: dict[str, list[float]] = {key: [] for key in (*keys, *(f"{HISTOGRAM}_{key}" for key in keys))}
    for one, grid in zip(steps, grids, strict=True):
        if grid not in histograms:
            histograms[grid] = constants.histogram(grid, num_steps)
        known = map_scores(histograms[grid][one.steps], one.patches)
        for key in keys:
            sums[key].append(one.scores[key].sum())
            sums[f"{HISTOGRAM}_{key}"].append(known[key].sum())
    numbers = np.array([len(one.steps) for one in steps], dtype=np.float64)
    return {key: ratio_estimate(np.array(column), numbers, counts) for key, column in sums.items()}


def _conditional(estimates: Mapping[str, Estimate]) -> dict[str, Floored]:
    found = {}
    for metric in MAP_METRICS:
        own, floor = estimates[metric.key], estimates[f"{HISTOGRAM}_{metric.key}"]
        found[metric.phantom_key] = Floored.of(own, floors=floors_of(own, {STEP_HISTOGRAM: floor}))
    return found
