"""AUROC of findings, from the finding head and from the first word of answers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluate.cases import StudyCase
from gazevlm_core.findings import SUBTLE_BELOW
from gazevlm_core.metrics.labels import MacroAuroc, macro_auroc

CHANCE = 0.5


@dataclass(frozen=True, eq=False)
class FindingScores:
    """AUROC over all severities, and on moderate or worse."""

    all_severities: MacroAuroc
    moderate_or_worse: MacroAuroc


def finding_labels(cases: Sequence[StudyCase], names: Sequence[str], *, moderate: bool) -> np.ndarray:
    """Truth, float64 [N, F] of 1 and 0.

    Args:
        cases: N cases.
        names: F findings.
        moderate: whether a subtle finding counts as unknown (NaN): the image is left out for that finding.
    """
    labels = np.zeros((len(cases), len(names)))
    for row, case in enumerate(cases):
        for column, name in enumerate(names):
            severity = case.severities.get(name)
            if severity is not None:
                labels[row, column] = np.nan if moderate and severity < SUBTLE_BELOW else 1.0
    return labels


def score_findings(
    cases: Sequence[StudyCase], scores: np.ndarray, names: Sequence[str], counts: np.ndarray
) -> FindingScores:
    """AUROC of scores [N, F] with intervals; counts from `bootstrap_counts`."""
    whole, moderate = (
        macro_auroc(finding_labels(cases, names, moderate=restricted), scores, names, counts)
        for restricted in (False, True)
    )
    return FindingScores(whole, moderate)
