"""Scores of findings on a real data set: AUROC, AUPRC, F1 at a threshold from other images, calibration, floors."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evaluate.datasets.ask import Answer
from evaluate.finding_scores import CHANCE
from evaluate.results import estimate_values
from gazevlm_core.metrics.classification import (
    average_precision,
    best_threshold,
    calibration_error,
    f1_at,
    micro_auroc,
)
from gazevlm_core.metrics.labels import macro_auroc

Values = dict[str, Any]
HEAD, TEXT = "finding_head", "answer_text"


def label_tables(answers: Sequence[Answer], source: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Findings that both the data set and the model know: names [F], labels [N, F], scores [N, F].

    Args:
        answers: N.
        source: HEAD or TEXT.

    Returns:
        Labels are NaN where unknown; scores are logits (differences of log probabilities for TEXT), 0 there.
    """
    known = {name for answer in answers for name in answer.labels}
    names = sorted(known & {name for answer in answers for name in _scores(answer, source)})
    labels = np.array([[answer.labels.get(name, np.nan) for name in names] for answer in answers])
    scores = np.array([[_scores(answer, source).get(name, 0.0) for name in names] for answer in answers])
    return names, labels.reshape(len(answers), -1), scores.reshape(len(answers), -1)


def score_labels(
    answers: Sequence[Answer], validation: Sequence[Answer], source: str, counts: np.ndarray
) -> Values | None:
    """Every score of one source; None where it knows no finding of the data set.

    Args:
        answers: N that are scored.
        validation: others, from which the thresholds of F1 are taken; none leaves F1 out.
        source: HEAD or TEXT.
        counts: [R, N] from `patient_counts`.
    """
    names, labels, scores = label_tables(answers, source)
    if not names:
        return None
    auroc = macro_auroc(labels, scores, names, counts)
    findings = {}
    for column, name in enumerate(names):
        truth, logits = labels[:, column], scores[:, column]
        known = ~np.isnan(truth)
        if not known.any():
            continue
        prevalence = float(truth[known].mean())
        area = auroc.per_finding.get(name)
        findings[name] = {
            "images": int(known.sum()),
            "positive": int(truth[known].sum()),
            "auroc": {**(estimate_values(area) or {"value": None, "interval": None}), "floor": CHANCE},
            "auprc": {**(estimate_values(average_precision(truth, logits, counts)) or {}), "floor": prevalence},
            "f1": _f1(name, truth, logits, validation, source, counts, prevalence),
            "calibration_error": estimate_values(calibration_error(truth, _probabilities(logits), counts)),
        }
    return {
        "macro_auroc": {**(estimate_values(auroc.macro) or {}), "floor": CHANCE},
        "micro_auroc": {**(estimate_values(micro_auroc(labels, scores, counts)) or {}), "floor": CHANCE},
        "findings": findings,
        "one_class_only": list(auroc.skipped),
    }


def _f1(
    name: str,
    truth: np.ndarray,
    logits: np.ndarray,
    validation: Sequence[Answer],
    source: str,
    counts: np.ndarray,
    prevalence: float,
) -> Values | None:
    """F1 at the threshold that is best on the validation images; None where they have no such finding."""
    others = [a for a in validation if name in a.labels and name in _scores(a, source)]
    labels = np.array([answer.labels[name] for answer in others])
    if not (labels == 1).any():
        return None
    threshold = best_threshold(labels, np.array([_scores(answer, source)[name] for answer in others]))
    always = 2 * prevalence / (1 + prevalence)  # of saying "present" always
    return {**(estimate_values(f1_at(threshold, truth, logits, counts)) or {}), "floor": always, "threshold": threshold}


def _scores(answer: Answer, source: str) -> Mapping[str, float]:
    return answer.head if source == HEAD else answer.margins


def _probabilities(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(logits, -60, 60)))
