"""How much the order of readers' fixations tells about findings, without any image or model.

A logistic regression guesses each finding from where readers looked in the beginning, middle and end of their paths;
the same with the fixations shuffled knows the places alone. What lies between the two is what order can add at most in
this form; where it is nothing, no model can be expected to gain much from order.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from evaluate.results import estimate_values
from gazevlm_core.findings import FINDING_NAMES
from gazevlm_core.metrics.intervals import RESAMPLES, bootstrap_counts, estimate_of
from gazevlm_core.metrics.labels import macro_auroc
from gazevlm_core.metrics.registry import DEFAULT_GRID
from gazevlm_core.training.gaze_order import GazeOrder, ordered_paths
from phantoms.dataset import PhantomCase

PARTS, FOLDS = 3, 5
STRENGTH = 0.01  # C of the regression: many columns, few images


def looks_by_part(case: PhantomCase, order: GazeOrder, seed: int) -> np.ndarray:
    """Share of the fixations in each cell of DEFAULT_GRID by part of the path, float64 [PARTS * cells]."""
    paths = ordered_paths([path for reader in case.readings for path in reader], order, (seed, case.seed))
    table = np.zeros((PARTS, len(DEFAULT_GRID)))
    for path in paths:
        places = np.array([(fixation.x, fixation.y) for fixation in path])
        parts = np.arange(len(places)) * PARTS // len(places)
        np.add.at(table, (parts, DEFAULT_GRID.indices_of(places)), 1)
    return table.ravel() / max(1.0, table.sum())


def order_information(cases: Sequence[PhantomCase], seed: int = 0) -> dict[str, Any]:
    """Macro AUROC of findings guessed from gaze alone, cross-validated: original, shuffled, and their difference.

    Args:
        cases: N phantoms with readings.
        seed: of shuffles, folds and intervals.

    Returns:
        JSON values; None for a score where no finding has FOLDS images with it and as many without.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    labels = np.array([[float(name in case.finding_names) for name in FINDING_NAMES] for case in cases])
    often = np.minimum(labels.sum(axis=0), len(cases) - labels.sum(axis=0)) >= FOLDS
    names = [name for name, enough in zip(FINDING_NAMES, often, strict=True) if enough]
    counts = bootstrap_counts(len(cases), RESAMPLES, seed)
    if not names:
        return {"images": len(cases), "original": None, "shuffled": None, "difference": None, "per_finding": {}}
    scores = {}
    for order in (GazeOrder.ORIGINAL, GazeOrder.SHUFFLED):
        columns = np.stack([looks_by_part(case, order, seed) for case in cases])
        model = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=1000))
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
        guesses = np.stack(
            [cross_val_predict(model, columns, truth, cv=folds, method="decision_function")
             for truth in labels[:, often].T], axis=1,
        )  # fmt: skip
        scores[order] = macro_auroc(labels[:, often], guesses, names, counts)
    original, shuffled = scores[GazeOrder.ORIGINAL], scores[GazeOrder.SHUFFLED]
    gain = estimate_of(original.macro.value - shuffled.macro.value, original.samples - shuffled.samples)
    return {
        "images": len(cases),
        "original": estimate_values(original.macro),
        "shuffled": estimate_values(shuffled.macro),
        "difference": estimate_values(gain),
        "per_finding": {
            name: {order.value: round(scores[order].per_finding[name].value, 5) for order in scores} for name in names
        },
    }
