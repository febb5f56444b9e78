"""What gaze alone tells of findings, and how much of it lies in its order: by two estimators, for people and phantoms.

A logistic regression guesses each finding from features of a reading; the same with the fixations shuffled knows the
places alone. What lies between is what order can add at most in this form. Both estimators see no image.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.intervals import RESAMPLES, Estimate, bootstrap_counts, estimate_of
from gazevlm_core.metrics.labels import MacroAuroc, macro_auroc

FINE, COARSE = PatchGrid(8, 8), PatchGrid(4, 4)
THIRDS, QUARTERS = 3, 4
STEP_EDGES = (0.0, 0.03, 0.06, 0.1, 0.2, 0.4, 2.0)  # of the histogram of step lengths, fractions of the side
FOLDS = 5
STRENGTH = 0.01  # C of the regression: many columns, few readings
FEWEST = 20  # readings with and without a finding for its AUROC


def merge_equal(cells: np.ndarray) -> np.ndarray:
    """Return the cells with consecutive equal ones merged into one step, int64 [M], M <= N."""
    return cells[np.concatenate(([True], cells[1:] != cells[:-1]))]


def returns_to_cells(cells: np.ndarray) -> np.ndarray:
    """Return for each cell of a path whether it was visited before, bool [N]."""
    first = np.zeros(len(cells), dtype=bool)
    first[np.unique(cells, return_index=True)[1]] = True
    return ~first


def _shares_by_part(cells: np.ndarray, parts: int, grid: PatchGrid) -> np.ndarray:
    table = np.zeros((parts, len(grid)))
    np.add.at(table, (np.arange(len(cells)) * parts // len(cells), cells), 1)
    return table.ravel() / len(cells)


def thirds_features(places: np.ndarray, order: np.random.Generator | None = None) -> np.ndarray:
    """Share of the steps in each 8x8 cell by third of the path, float64 [192].

    Args:
        places: float [N, 2], x and y as fractions of the image.
        order: shuffles the steps, after equal neighbours were merged; None keeps them.
    """
    steps = merge_equal(FINE.indices_of(places))
    return _shares_by_part(steps if order is None else order.permutation(steps), THIRDS, FINE)


def transition_features(places: np.ndarray, order: np.random.Generator | None = None) -> np.ndarray:
    """Return places by quarter of the path, transitions between 4x4 cells, step lengths and returns, float64 [D].

    Args:
        places: float [N, 2], x and y as fractions of the image; N >= 2.
        order: shuffles the fixations; None keeps them.
    """
    if order is not None:
        places = order.permutation(places)
    coarse, fine = COARSE.indices_of(places), FINE.indices_of(places)
    transitions = np.zeros((len(COARSE), len(COARSE)))
    np.add.at(transitions, (coarse[:-1], coarse[1:]), 1)
    lengths = np.hypot(*np.diff(places, axis=0).T)
    returns = returns_to_cells(fine)
    by_quarter = [
        [part.mean() if len(part) else 0.0 for part in np.array_split(values, QUARTERS)]
        for values in (lengths, returns)
    ]
    return np.concatenate([
        _shares_by_part(coarse, QUARTERS, COARSE),
        transitions.ravel() / len(lengths),
        np.histogram(lengths, STEP_EDGES)[0] / len(lengths),
        *by_quarter,
        [np.log(len(places)), len(np.unique(fine)), returns.mean()],
    ])  # fmt: skip


Features = Callable[[np.ndarray, np.random.Generator | None], np.ndarray]
ESTIMATORS: Mapping[str, Features] = {
    "cells by thirds": thirds_features,
    "transitions, steps, returns": transition_features,
}


def guess_findings(
    ordered: np.ndarray, shuffled: np.ndarray, labels: np.ndarray, names: Sequence[str], *, seed: int = 0
) -> tuple[MacroAuroc, MacroAuroc, Estimate] | None:  # fmt: skip
    """Return macro AUROC of findings guessed from features [N, D] in order and shuffled, cross-validated, and their
    difference in pairs; None where no finding has FEWEST readings with it and as many without.

    Args:
        labels: float [N, F], 1 where one of the F `names` is there.
        seed: of folds and intervals.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    often = np.minimum(labels.sum(axis=0), len(labels) - labels.sum(axis=0)) >= FEWEST
    if not often.any():
        return None
    kept = [name for name, enough in zip(names, often, strict=True) if enough]
    counts = bootstrap_counts(len(labels), RESAMPLES, seed)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=1000))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)

    def score(columns: np.ndarray) -> MacroAuroc:
        guesses = [cross_val_predict(model, columns, truth, cv=folds, method="decision_function")
                   for truth in labels[:, often].T]  # fmt: skip
        return macro_auroc(labels[:, often], np.stack(guesses, axis=1), kept, counts)

    first, second = score(ordered), score(shuffled)
    return first, second, estimate_of(first.macro.value - second.macro.value, first.samples - second.samples)


def order_information(
    places: Sequence[np.ndarray],
    labels: np.ndarray,
    names: Sequence[str],
    features: Features,
    *,
    steps: int | None = None,
) -> dict[str, Estimate]:
    """Return macro AUROC of findings guessed from gaze alone: "ordered", "shuffled", and their "difference" in pairs.

    Args:
        places: N readings, one of each image, float [L, 2] each.
        labels: float [N, F], 1 where a finding is there.
        names: F finding names; one with fewer than FEWEST readings of either kind is left out.
        features: one of ESTIMATORS.
        steps: of each reading the first so many fixations; None takes all.

    Raises:
        ValueError: no finding is left.
    """
    ordered, shuffled = (
        np.stack([features(one[:steps], np.random.default_rng(number) if shuffles else None)
                  for number, one in enumerate(places)])
        for shuffles in (False, True)
    )  # fmt: skip
    found = guess_findings(ordered, shuffled, labels, names)
    if found is None:
        raise ValueError(f"no finding has {FEWEST} readings with it and as many without")
    return {"ordered": found[0].macro, "shuffled": found[1].macro, "difference": found[2]}
