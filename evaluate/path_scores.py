"""Scores of shown scanpaths: order against readers, ceiling and floors; when to stop; how long to dwell."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from evaluate import floors
from evaluate.cases import Study, StudyCase
from evaluate.floors import Alternatives, ConstantPaths, Path, on_grid
from evaluate.predictions import Predictions
from evaluate.step_scores import StepScores, score_steps
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.intervals import (
    Estimate,
    correlation_estimate,
    mean_estimate,
    median_estimate,
    ratio_estimate,
)
from gazevlm_core.metrics.sequence import sequence_scores

STOP_WITHIN = 2  # fixations
_PAIRS_AT_ONCE = 20_000

BEST_CONSTANT = "best constant path"
OTHER_PATH = "the model's path on another image with the same leading finding"
OTHER_READING = "a reading of another image with the same leading finding"
SHUFFLED = "its own path shuffled"
REVERSED = "its own path reversed"
UNIFORM = "uniform random patches"
CENTRE = "staring at the centre"
FLOORS = (BEST_CONSTANT, OTHER_PATH, OTHER_READING, SHUFFLED, REVERSED, UNIFORM, CENTRE)


@dataclass(frozen=True, eq=False)
class PathScores:
    """Sequence scores of the shown paths.

    Args:
        score: against all readings of the same image, averaged over readers.
        per_image: float64 [N], what `score` is the mean of.
        ceiling: a second reading of the same image by the same reader.
        other_reader: a reading of the same image by another reader.
        share_of_ceiling: score / ceiling, on the same resamples.
        floors: name -> score of paths that know less.
        without_partner: images whose leading finding no other image has; left out of the floors that need one.
        order_gain: score less that of the shuffled path, in pairs.
        stop_within: share of readings whose length the path meets within STOP_WITHIN fixations.
        stop_floor: the same, if every path had the usual length of other phantoms' readings.
        length_difference: median of the path's length less the reading's, in fixations.
        step_mode_hits: how often the most frequent patch of a step (on other phantoms) is the one fixated.
        step_model_hits: how often the model's patch at a step is.
        steps: what the model's distributions know of a reader's next fixation.
        dwell_ratio: median of predicted to true durations at the readers' fixations; None where untrained.
        dwell_correlation: of log durations, there; None where untrained.
    """

    score: Estimate
    per_image: np.ndarray
    ceiling: Estimate
    other_reader: Estimate
    share_of_ceiling: Estimate
    floors: dict[str, Estimate]
    without_partner: int
    order_gain: Estimate
    stop_within: Estimate
    stop_floor: Estimate
    length_difference: Estimate
    step_mode_hits: Estimate
    step_model_hits: Estimate
    steps: StepScores
    dwell_ratio: Estimate | None
    dwell_correlation: Estimate | None


def mean_scores(alternatives: Sequence[Sequence[Path]], targets: Sequence[Sequence[Path]]) -> np.ndarray:
    """Mean sequence score of all pairs (alternative, target) of each image, float64 [N]; NaN where there is none."""
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


def ceilings(cases: Sequence[StudyCase], grids: Sequence[PatchGrid]) -> tuple[np.ndarray, np.ndarray]:
    """Per image, float64 [N] each: a reader against their own second reading, and against the other readers."""
    same, other = np.zeros(len(cases)), np.zeros(len(cases))
    for index, (case, grid) in enumerate(zip(cases, grids, strict=True)):
        first, second = ([on_grid(reader[number], grid) for reader in case.readings] for number in (0, 1))
        same[index] = sequence_scores(first, second).mean()
        pairs = list(permutations(range(len(first)), 2))
        other[index] = sequence_scores([first[a] for a, _ in pairs], [second[b] for _, b in pairs]).mean()
    return same, other


def score_paths(study: Study, predictions: Predictions, counts: np.ndarray, seed: int) -> PathScores:
    """All scores of a model whose gaze is trained.

    Args:
        study: truth.
        predictions: of the model.
        counts: [R, N] from `bootstrap_counts`.
        seed: of the shuffled and random floors.

    Raises:
        ValueError: the model shows no paths.
    """
    if not predictions.gaze_trained:
        raise ValueError("a model without trained gaze shows no paths; there is nothing to score")
    cases, grids, paths = study.cases, predictions.grids, predictions.paths
    constants = ConstantPaths(study.others, predictions.num_steps)
    targets = [
        [on_grid(path, grid) for reader in case.readings for path in reader]
        for case, grid in zip(cases, grids, strict=True)
    ]
    per_image = mean_scores([[path] for path in paths], targets)
    partners = floors.same_finding_partners(cases)
    alternatives = floor_paths(cases, grids, paths, constants, partners, seed)
    by_floor = {name: mean_scores(chosen, targets) for name, chosen in alternatives.items()}
    same_reader, other_reader = ceilings(cases, grids)
    lengths = [np.array([min(len(path), predictions.num_steps) for path in readings]) for readings in targets]
    own = [np.full(len(row), len(path)) for path, row in zip(paths, lengths, strict=True)]
    usual = [np.full(len(row), constants.usual_length) for row in lengths]
    dwell_ratio, dwell_correlation = _dwell_scores(predictions, counts)
    return PathScores(
        score=mean_estimate(per_image, counts),
        per_image=per_image,
        ceiling=mean_estimate(same_reader, counts),
        other_reader=mean_estimate(other_reader, counts),
        share_of_ceiling=ratio_estimate(per_image, same_reader, counts),
        floors={name: mean_estimate(scores, counts) for name, scores in by_floor.items()},
        without_partner=sum(not others for others in partners),
        order_gain=mean_estimate(per_image - by_floor[SHUFFLED], counts),
        stop_within=mean_estimate(_within(own, lengths), counts),
        stop_floor=mean_estimate(_within(usual, lengths), counts),
        length_difference=median_estimate(
            np.concatenate([a - b for a, b in zip(own, lengths, strict=True)]), _image_numbers(lengths), counts
        ),
        step_mode_hits=step_hits([constants.modes(grid) for grid in grids], targets, counts),
        step_model_hits=step_hits(paths, targets, counts),
        steps=score_steps(predictions.looks, grids, constants.readings, predictions.num_steps, counts),
        dwell_ratio=dwell_ratio,
        dwell_correlation=dwell_correlation,
    )


def floor_paths(
    cases: Sequence[StudyCase],
    grids: Sequence[PatchGrid],
    paths: Sequence[Path],
    constants: ConstantPaths,
    partners: Sequence[Sequence[int]],
    seed: int,
) -> dict[str, Alternatives]:
    """Name of each floor -> its paths for each image."""
    return {
        BEST_CONSTANT: [[constants.best(grid)] for grid in grids],
        OTHER_PATH: floors.model_paths_of_partners(paths, grids, partners),
        OTHER_READING: floors.readings_of_partners(cases, grids, partners),
        SHUFFLED: floors.shuffled(paths, seed),
        REVERSED: [[path[::-1]] for path in paths],
        UNIFORM: floors.uniform(paths, grids, seed),
        CENTRE: floors.centre(paths, grids),
    }


def step_hits(paths: Sequence[Path], targets: Sequence[Sequence[Path]], counts: np.ndarray) -> Estimate:
    """Share of the readings' fixations whose patch is that of the path at the same step; beyond its end, a miss."""
    hits = [
        sum(patch == guess for other in others for patch, guess in zip(other, path, strict=False))
        for path, others in zip(paths, targets, strict=True)
    ]
    fixations = [sum(len(other) for other in others) for others in targets]
    return ratio_estimate(np.array(hits), np.array(fixations), counts)


def _within(own: Sequence[np.ndarray], readings: Sequence[np.ndarray]) -> np.ndarray:
    return np.array([(np.abs(a - b) <= STOP_WITHIN).mean() for a, b in zip(own, readings, strict=True)])


def _image_numbers(rows: Sequence[np.ndarray]) -> np.ndarray:
    return np.repeat(np.arange(len(rows)), [len(row) for row in rows])


def _dwell_scores(predictions: Predictions, counts: np.ndarray) -> tuple[Estimate | None, Estimate | None]:
    if not predictions.dwells:
        return None, None
    images = _image_numbers(predictions.dwells)
    predicted_ms, true_ms = np.concatenate(predictions.dwells).T
    positive = true_ms > 0
    images, predicted_ms, true_ms = images[positive], predicted_ms[positive], true_ms[positive]
    ratio = median_estimate(predicted_ms / true_ms, images, counts)
    return ratio, correlation_estimate(np.log(predicted_ms), np.log(true_ms), images, counts)
