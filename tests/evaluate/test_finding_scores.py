"""Truth for AUROC: subtle findings count over all severities and are left out of moderate or worse."""

import numpy as np

from evaluate.finding_scores import finding_labels, score_findings
from gazevlm_core.metrics.intervals import bootstrap_counts
from tests.evaluate.study_maker import case_of

CASES = (case_of(edema=(0.2, "both")), case_of(edema=(0.5, "both")), case_of(fracture=(0.9, "left")), case_of())


def test_labels() -> None:
    names = ("edema", "fracture")
    assert finding_labels(CASES, names, moderate=False).tolist() == [[1, 0], [1, 0], [0, 1], [0, 0]]
    moderate = finding_labels(CASES, names, moderate=True)
    assert np.isnan(moderate[0, 0])
    assert moderate[1:].tolist() == [[1, 0], [0, 1], [0, 0]]


def test_a_missed_subtle_finding_lowers_only_the_whole() -> None:
    scores = np.array([[-3.0], [2.0], [0.0], [-1.0]])
    result = score_findings(CASES, scores, ("edema",), bootstrap_counts(4, 50))
    assert result.all_severities.macro.value == 0.5  # 2 of 4 pairs
    assert result.moderate_or_worse.macro.value == 1.0
