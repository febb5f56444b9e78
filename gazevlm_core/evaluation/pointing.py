"""The pointing game: do a model's path and heat map find what somebody has marked with boxes?

Source: Zhang et al., "Top-down neural attention by excitation backprop", ECCV 2016: a map hits where its highest place
lies in a box, with a margin. A path is scored by whether any fixation lies in a box, and by the share that does.
"""

from collections.abc import Sequence

import numpy as np

from gazevlm_core.evaluation.predict import Prediction
from gazevlm_core.evaluation.report import Floored, Pointing, floors_of
from gazevlm_core.metrics.intervals import Estimate, mean_estimate
from gazevlm_core.sample import Box
from gazevlm_core.scanpath import Scanpath

MARGIN = 0.03  # of the side, around a box
OTHERS = 8  # boxes of other images that are tried, for a floor
PEAK, ANY, SHARE = "heat map: its peak in a box", "path: a fixation in a box", "path: share of fixations in a box"
CENTRE, MEAN, EXCHANGED = "centre of the image", "mean path and map of other images", "boxes of other images"


def score_pointing(found: Sequence[Prediction], counts: np.ndarray) -> Pointing | None:
    """Return how often paths and maps find boxes of findings that are there; None without boxes or paths.

    Args:
        found: N.
        counts: [R, N] from `patient_counts`.
    """
    boxes = [[box for box in one.sample.boxes if one.sample.findings.get(box.name) == 1.0] for one in found]
    rows = [row for row, one in enumerate(found) if boxes[row] and one.scanpath is not None and one.heat is not None]
    if not rows:
        return None
    own = {row: (_peak(found[row]), _places(found[row].scanpath)) for row in rows}
    values: dict[str, dict[str, list[float]]] = {}

    def add(who: str, scores: Sequence[tuple[float, float, float]]) -> None:
        for name, value in zip((PEAK, ANY, SHARE), np.mean(scores, axis=0), strict=True):
            values.setdefault(name, {}).setdefault(who, []).append(float(value))

    middle = np.array([[0.5, 0.5]])
    for place, row in enumerate(rows):
        add("", [_hits(boxes[row], *own[row])])
        add(CENTRE, [_hits(boxes[row], middle, middle)])
        others = [one for one in found if one.sample.patient_id != found[row].sample.patient_id]
        add(MEAN, [_hits(boxes[row], _mean_peak(found[row], others), _mean_path(others))])
        shifted = [rows[(place + step) % len(rows)] for step in range(1, len(rows))]
        strangers = [other for other in shifted if found[other] in others][:OTHERS]
        add(EXCHANGED, [_hits(boxes[other], *own[row]) for other in strangers] or [(np.nan,) * 3])
    scores = {}
    for name, by_whom in values.items():
        estimates = {who: mean_estimate(np.array(one), counts[:, rows]) for who, one in by_whom.items()}
        mine: Estimate = estimates.pop("")
        scores[name] = Floored.of(mine, floors=floors_of(mine, estimates))
    return Pointing(images=len(rows), boxes=sum(len(boxes[row]) for row in rows), margin=MARGIN, scores=scores)


def _hits(boxes: Sequence[Box], peak: np.ndarray, places: np.ndarray) -> tuple[float, float, float]:
    """Return whether the peak [1, 2] lies in a box, whether any of the places [L, 2] does, and which share of them.

    NaN where there is no peak or no path, which are places of NaN.
    """
    (hit,), within = _inside(boxes, peak), _inside(boxes, places)
    return float(hit), float(within.max()), float(within.mean())


def _inside(boxes: Sequence[Box], places: np.ndarray) -> np.ndarray:
    """Return whether each place lies in any box, with the margin: float64 [L] of 1 and 0, NaN for a place of NaN."""
    low = np.array([(box.x, box.y) for box in boxes])[:, None] - MARGIN
    high = np.array([(box.x + box.width, box.y + box.height) for box in boxes])[:, None] + MARGIN
    within = np.logical_and(places >= low, places <= high).all(axis=2).any(axis=0)
    return np.where(np.isnan(places).any(axis=1), np.nan, within)


def _places(path: Scanpath | None) -> np.ndarray:
    return np.array([(fixation.x, fixation.y) for fixation in path or ()]).reshape(-1, 2)


def _peak(one: Prediction) -> np.ndarray:
    assert one.heat is not None
    return np.array([one.grid.center_of(int(np.argmax(one.heat)))])


def _mean_peak(one: Prediction, others: Sequence[Prediction]) -> np.ndarray:
    """Return the peak of the mean map of other images with the same grid; nowhere where there is none."""
    maps = [other.heat for other in others if other.heat is not None and other.grid == one.grid]
    return np.array([one.grid.center_of(int(np.argmax(np.mean(maps, axis=0))))]) if maps else np.full((1, 2), np.nan)


def _mean_path(others: Sequence[Prediction]) -> np.ndarray:
    """Return the mean place of each step of other images' paths, as far as half of them go: [L, 2]; nowhere where
    there are none."""
    paths = [_places(other.scanpath) for other in others if other.scanpath is not None]
    if not paths:
        return np.full((1, 2), np.nan)
    length = int(np.median([len(path) for path in paths]))
    return np.array([np.mean([path[step] for path in paths if len(path) > step], axis=0) for step in range(length)]
                    ).reshape(-1, 2)  # fmt: skip
