"""All scores of one model on a study, and what quantisation cost it."""

from dataclasses import dataclass

import numpy as np

from evaluate.cases import Study
from evaluate.finding_scores import FindingScores, score_findings
from evaluate.path_scores import PathScores, score_paths
from evaluate.predictions import Predictions
from evaluate.text_scores import TextScores, score_reports
from gazevlm_core.findings import FINDING_NAMES
from gazevlm_core.metrics.intervals import Estimate, estimate_of, mean_estimate


class OtherModelError(ValueError):
    """A full-precision reference that is not the same model."""


@dataclass(frozen=True, eq=False)
class ModelScores:
    """Everything about one model.

    Args:
        head: from the finding head; None where it is untrained.
        yes_no: from P("Yes") against P("No") as the first word of the answer to each presence question.
        text: of the reports.
        paths: of the scanpaths; None where the gaze is untrained.
    """

    head: FindingScores | None
    yes_no: FindingScores
    text: TextScores
    paths: PathScores | None


@dataclass(frozen=True)
class QuantisationCost:
    """What the quantised model loses against its full-precision form on the same images, with paired intervals.

    Args:
        head_auroc: fp32 less quantised macro AUROC of the finding head, all severities; None where it is untrained.
        yes_no_auroc: the same from the answer text.
        sequence_score: the same for the scanpath; None where the gaze is untrained.
    """

    head_auroc: Estimate | None
    yes_no_auroc: Estimate
    sequence_score: Estimate | None


def score_model(study: Study, predictions: Predictions, counts: np.ndarray, seed: int) -> ModelScores:
    """Score a model's predictions.

    Args:
        study: the truth.
        predictions: of the model, in the order of the study.
        counts: [R, N] from `bootstrap_counts`, the same for all models, so that they compare in pairs.
        seed: of random floors.
    """
    cases = study.cases
    head = None
    if predictions.head_names:
        head = score_findings(cases, np.stack(predictions.head_logits), predictions.head_names, counts)
    return ModelScores(
        head=head,
        yes_no=score_findings(cases, np.stack(predictions.yes_margins), FINDING_NAMES, counts),
        text=score_reports(cases, study.others, predictions.reports, counts),
        paths=score_paths(study, predictions, counts, seed) if predictions.gaze_trained else None,
    )


def quantisation_cost(quantised: ModelScores, full: ModelScores, counts: np.ndarray) -> QuantisationCost:
    """Losses of a quantised model against its reference, both scored on the same study with the same counts.

    Raises:
        OtherModelError: the two were not trained for the same outputs.
    """
    if (quantised.head is None) != (full.head is None) or (quantised.paths is None) != (full.paths is None):
        raise OtherModelError("the reference is another model: the finding head or gaze of only one of them is trained")
    head = _auroc_loss(quantised.head, full.head) if quantised.head and full.head else None
    path = None
    if quantised.paths is not None and full.paths is not None:
        path = mean_estimate(full.paths.per_image - quantised.paths.per_image, counts)
    return QuantisationCost(head, _auroc_loss(quantised.yes_no, full.yes_no), path)


def _auroc_loss(quantised: FindingScores, full: FindingScores) -> Estimate:
    a, b = full.all_severities, quantised.all_severities
    if set(a.per_finding) != set(b.per_finding):
        raise OtherModelError("the reference is another model: its findings are not the same")
    return estimate_of(a.macro.value - b.macro.value, a.samples - b.samples)
