"""One model on images of which everything is known, such as drawn phantoms: scores, cost of quantisation, bars."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gazevlm_core.datasets.scanpath_files import FiledPath, ScanpathFile
from gazevlm_core.evaluation.comparison import score_files
from gazevlm_core.evaluation.findings import GradedSample, graded_labels, score_graded, score_reports
from gazevlm_core.evaluation.floors import GRID_FLOORS, ConstantPaths, GridTask, by_reader, on_grid
from gazevlm_core.evaluation.path_scores import score_paths
from gazevlm_core.evaluation.predict import Prediction
from gazevlm_core.evaluation.report import Bar, Floor, Metric, ModelScores, Paths, Quantisation, Score, score_of
from gazevlm_core.findings import FILM_FINDING_NAMES, FINDING_NAMES
from gazevlm_core.metrics.intervals import estimate_of, mean_estimate
from gazevlm_core.metrics.labels import MacroAuroc, macro_auroc
from gazevlm_core.metrics.paths import UNIT_SQUARE, Size

Relation = Literal[">=", "<="]
QUANTISATION_AUROC_LOSS = 0.01
# What the embedded checkpoint is held to: words, the score (None where it was not measured), relation and limit.
LIMITS: tuple[tuple[str, Callable[[ModelScores], Score | None], Relation, float], ...] = (
    ("macro AUROC of the finding head, all severities",
     lambda scores: scores.finding_head.all_severities.macro if scores.finding_head else None, ">=", 0.97),
    ("macro AUROC of the finding head, moderate or worse",
     lambda scores: scores.finding_head.moderate_or_worse.macro if scores.finding_head else None, ">=", 0.97),
    ("AUROC of the finding head, lung lesion", lambda scores: _of_finding(scores, "lung lesion"), ">=", 0.92),
    ("AUROC of the finding head, fracture", lambda scores: _of_finding(scores, "fracture"), ">=", 0.90),
    ("macro AUROC of the answer text, all severities",
     lambda scores: scores.answer_text.all_severities.macro if scores.answer_text else None, ">=", 0.95),
    ("micro F1 of findings named, moderate or worse", lambda scores: scores.report.moderate_or_worse.f1, ">=", 0.80),
    ("right sides among those named", lambda scores: scores.report.sides, ">=", 0.90),
    ("sequence score as a share of the ceiling",
     lambda scores: scores.paths.sequence_score.share_of_ceiling if scores.paths else None, ">=", 0.85),
    ("paths that stop within 2 fixations",
     lambda scores: scores.paths.stop.within_2_fixations if scores.paths else None, ">=", 0.75),
)  # fmt: skip


FAINT_BELOW = 0.4  # severity of a finding that is hard to see on the small image
FAINT_GAIN = 0.03  # of a model with glimpses over the same without


class OtherModelError(ValueError):
    """A full-precision reference that is not the same model."""


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of one model, and what comparisons in pairs need of them.

    Args:
        scores: for the report.
        head: AUROC of the finding head, all severities; None where it is untrained.
        faint: the same of findings of a severity below FAINT_BELOW.
        text: AUROC of the answers in words; None where they were not asked for.
        per_image: float64 [N], sequence score of each image; None where the gaze is untrained.
    """

    scores: ModelScores
    head: MacroAuroc | None
    faint: MacroAuroc | None
    text: MacroAuroc | None
    per_image: np.ndarray | None


def _of_finding(scores: ModelScores, name: str) -> Score | None:
    return scores.finding_head.all_severities.per_finding.get(name) if scores.finding_head else None


def score_model(
    predictions: Sequence[Prediction],
    samples: Sequence[GradedSample],
    others: Sequence[GradedSample],
    num_steps: int,
    counts: np.ndarray,
    seed: int,
) -> Scored:
    """Return all scores of a model that was asked everything.

    Args:
        predictions: of N images.
        samples: of the same images, in the same order.
        others: of images that are not scored, behind constant floors.
        num_steps: K, the longest path.
        counts: [R, N] from `bootstrap_counts`, the same for all models, so that they compare in pairs.
    """
    # of what is never drawn nobody knows whether a phantom has it
    names = [name for name in predictions[0].finding_logits if name not in FILM_FINDING_NAMES]
    source, head, faint = None, None, None
    if names:
        logits = [one.finding_logits for one in predictions]
        source, head = score_graded(samples, logits, names, counts)
        values = np.array([[image[name] for name in names] for image in logits])
        faint = macro_auroc(graded_labels(samples, names, below=FAINT_BELOW), values, names, counts)
    words, text = score_graded(samples, [one.yes_margins for one in predictions], FINDING_NAMES, counts)
    paths, per_image = graded_paths(predictions, samples, others, num_steps, counts, seed)
    reports = [one.report or "" for one in predictions]
    scores = ModelScores(
        finding_head=source,
        answer_text=words,
        report=score_reports(samples, others, reports, counts),
        scanpath="untrained" if paths is None else paths,
    )
    return Scored(scores, head, faint, text, per_image)


def graded_paths(
    predictions: Sequence[Prediction],
    samples: Sequence[GradedSample],
    others: Sequence[GradedSample],
    num_steps: int,
    counts: np.ndarray,
    seed: int,
) -> tuple[Paths | None, np.ndarray | None]:
    """Return the scores of the shown paths and the sequence score of each image; None for a model that shows none."""
    shown = [one.scanpath for one in predictions if one.scanpath is not None]
    if len(shown) < len(predictions):
        return None, None
    grids = [one.grid for one in predictions]
    samples = [one.in_steps(sample) for one, sample in zip(predictions, samples, strict=True)]
    others = [predictions[0].in_steps(other) for other in others]  # on a grid like theirs, which was not made
    constants = ConstantPaths([paths[0] for other in others for paths in by_reader(other.readings)], num_steps)
    paths = [on_grid(path, grid) for path, grid in zip(shown, grids, strict=True)]
    task = GridTask(samples, grids, paths, constants, seed)
    steps = [one.steps for one in predictions if one.steps is not None]
    dwells = [one.dwells for one in predictions if one.dwells is not None]
    scores, per_image = score_paths(task, steps, dwells, num_steps, counts)
    metrics = every_metric(predictions, samples, others, seed)
    return scores.model_copy(update={"metrics": metrics}), per_image


def every_metric(
    predictions: Sequence[Prediction], samples: Sequence[GradedSample], others: Sequence[GradedSample], seed: int
) -> dict[str, Metric]:
    """Return every path metric of the shown paths against one reading by each reader, as for any data set."""
    truth = [path for sample, one in zip(samples, predictions, strict=True) for path in _filed(sample, one.size)]
    shown = [
        FiledPath("", one.scanpath, image_id=sample.image_id, size=one.size)
        for sample, one in zip(samples, predictions, strict=True)
        if one.scanpath is not None
    ]
    training = ScanpathFile([path for other in others for path in _filed(other, UNIT_SQUARE)])
    return score_files(ScanpathFile(truth), ScanpathFile(shown), training=training, seed=seed).metrics


def _filed(sample: GradedSample, size: Size) -> list[FiledPath]:
    return [
        FiledPath(f"reader {reader}", paths[0], image_id=sample.image_id, size=size, finding=sample.leading)
        for reader, paths in enumerate(by_reader(sample.readings))
    ]


def quantisation_cost(quantised: Scored, full: Scored, counts: np.ndarray) -> Quantisation:
    """Return what a quantised model loses against its reference, both scored on the same images with the same counts.

    Raises:
        OtherModelError: the two were not trained for the same outputs.
    """
    if (quantised.head is None) != (full.head is None) or (quantised.per_image is None) != (full.per_image is None):
        raise OtherModelError("the reference is another model: the finding head or gaze of only one of them is trained")
    path = None
    if quantised.per_image is not None and full.per_image is not None:
        path = mean_estimate(full.per_image - quantised.per_image, counts)
    return Quantisation(
        head_auroc_loss=_auroc_loss(quantised.head, full.head),
        answer_text_auroc_loss=_auroc_loss(quantised.text, full.text),
        sequence_score_loss=score_of(path),
    )


def _auroc_loss(quantised: MacroAuroc | None, full: MacroAuroc | None) -> Score | None:
    if quantised is None or full is None:
        return None
    if set(full.per_finding) != set(quantised.per_finding):
        raise OtherModelError("the reference is another model: its findings are not the same")
    return Score.of(estimate_of(full.macro.value - quantised.macro.value, full.samples - quantised.samples))


# ---- bars -----------------------------------------------------------------------------------------------------------
def against(words: str, score: Score | None, relation: Relation, limit: float) -> Bar:
    """Return how a score compares with a limit: the value decides, the interval is shown beside it.

    None is not measured. A score without value is a miss: it was asked for, and the model gave nothing to judge (it
    named no side, say). One without interval comes of too few images to tell.
    """
    bar = f"{words} {relation} {limit:g}"
    if score is None:
        return Bar(bar=bar, met=None)
    if score.value is not None and score.interval is None:
        return Bar(bar=bar, value=score.value, met=None)
    met = score.value is not None and (score.value >= limit if relation == ">=" else score.value <= limit)
    return Bar(bar=bar, value=score.value, interval=score.interval, met=met)


def above_floor(words: str, score: Score | None, floor: Floor | None) -> Bar:
    """Return whether a score lies above a floor: higher, and the intervals do not touch. An undefined floor: None."""
    if score is None or floor is None or floor.value is None:
        return Bar(bar=words, met=None)
    if score.value is not None and None in (score.interval, floor.interval):
        return Bar(bar=words, value=score.value, interval=score.interval, met=None)
    met = score.value is not None and score.value > floor.value and not floor.interval_touches_the_models
    return Bar(bar=words, value=score.value, interval=score.interval, met=met)


def faint_bar(glimpsing: Scored | None, without: Scored | None) -> Bar:
    """Return whether glimpses help with faint findings: a model against its twin without, trained alike, in pairs."""
    gain = None
    if glimpsing and without and glimpsing.faint and without.faint:
        gain = _auroc_loss(without.faint, glimpsing.faint)
    bar = against("AUROC of faint findings above the twin without glimpses", gain, ">=", FAINT_GAIN)
    return bar.model_copy(update={"met": bar.met and bar.interval is not None and bar.interval[0] > 0})


def all_bars(scores: ModelScores, cost: Quantisation | None) -> list[Bar]:
    """Return every bar that the embedded checkpoint is held to, met or not."""
    *bars, stop = (against(words, score(scores), relation, limit) for words, score, relation, limit in LIMITS)
    sequence = scores.paths.sequence_score if scores.paths else None
    floors = sequence.floors if sequence else {}
    return [
        *bars,
        *(above_floor(f"sequence score above the floor: {name}", sequence, floors.get(name)) for name in GRID_FLOORS),
        stop,
        against("AUROC lost by quantisation", cost.head_auroc_loss if cost else None, "<=", QUANTISATION_AUROC_LOSS),
    ]
