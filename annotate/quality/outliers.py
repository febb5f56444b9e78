"""Submissions that stand apart from the image's others: beyond 3 interquartile ranges (Tukey 1977, "far out")."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from annotate.quality.agreement import image_size, pair_table
from annotate.quality.checks import seconds_taken
from annotate.quality.scores import MOST_ANNOTATORS, SEQUENCE, pair_scores
from annotate.store.model import Stored
from annotate.votes import first_of_each

FENCE = 3.0
LEAST_OTHERS = 4  # quartiles of fewer say nothing
DURATION, FIXATIONS, SCORE = "duration_s", "fixations", "sequence score"


@dataclass(frozen=True)
class Outlier:
    """A quantity of one submission that lies far from those of the image's others.

    Args:
        submission_id: of the submission.
        annotator: pseudonym.
        quantity: "duration_s", "fixations" or "sequence score" (mean to the others; only a low one counts).
        value: of the submission.
        low, high: the fences, 3 IQR below the others' first and above their third quartile.
    """

    submission_id: str
    annotator: str
    quantity: str
    value: float
    low: float
    high: float


def fences(others: Sequence[float]) -> tuple[float, float] | None:
    """3 IQR beyond the quartiles; None for fewer than four values, or where the quartiles coincide."""
    if len(others) < LEAST_OTHERS:
        return None
    lower, upper = np.quantile(np.asarray(others, np.float64), [0.25, 0.75])
    spread = upper - lower
    return None if spread == 0 else (float(lower - FENCE * spread), float(upper + FENCE * spread))


def outliers(stored: Sequence[Stored]) -> list[Outlier]:
    """Outliers of one image.

    Args:
        stored: its submissions; each annotator's first one that is not rejected is compared.
    """
    firsts = first_of_each(stored)
    found = []
    for quantity, values in _quantities(firsts).items():
        for row, one in enumerate(firsts):
            bounds = fences([value for other, value in enumerate(values) if other != row])
            if bounds is None:
                continue
            low, high = bounds
            if values[row] < low or (values[row] > high and quantity != SCORE):
                annotation = one.annotation
                found.append(
                    Outlier(annotation.submission_id, annotation.annotator, quantity, values[row], low, high)
                )
    return found


def _quantities(firsts: Sequence[Stored]) -> Mapping[str, list[float]]:
    quantities = {
        DURATION: [seconds_taken(one.annotation) for one in firsts],
        FIXATIONS: [float(len(one.annotation.scanpath)) for one in firsts],
    }
    if len(firsts) > 1:
        quantities[SCORE] = mean_to_others(firsts)
    return quantities


def mean_to_others(firsts: Sequence[Stored], name: str = SEQUENCE) -> list[float]:
    """Mean score of each path with the others, of at least two paths on one image.

    The others are the first MOST_ANNOTATORS.
    """
    few = firsts[:MOST_ANNOTATORS]
    table = pair_table(name, few)
    means = [float(value) for value in (table.sum(axis=1) / max(1, len(few) - 1))]
    for one in firsts[MOST_ANNOTATORS:]:
        path = one.annotation.scanpath
        scores = pair_scores(name, [other.annotation.scanpath for other in few], [path] * len(few), image_size(firsts))
        means.append(float(scores.mean()))
    return means
