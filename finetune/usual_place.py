"""Where an added finding lies, from where annotators clicked, and what its place looks like with and without it.

A finding that annotators look at in one place when it is there, and not otherwise, has a usual place; see
`gazevlm_core.model.places`. The head there is a logistic regression on the tower's tokens, which a few dozen images
are enough for; it is fitted, not trained step by step.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from gazevlm_core.findings import NO_FINDING
from gazevlm_core.model.places import UsualPlace
from gazevlm_core.sample import Sample

SIDE = 32  # cells of the map on which places are sought
REACH = 0.06  # of a click, as a fraction of the image's sides
SPREAD = 0.06
# How much more often a place is clicked where the finding is than where it is not, in shares of the images. Chosen on
# drawn phantoms: a hernia behind the heart reaches 0.3 to 0.6.
LEAST_CONTRAST = 0.25
LEAST_IMAGES = 4  # with the finding, and without
PENALTY = 1.0  # C of scikit-learn; on 30 phantoms of each kind, 0.1 to 1 were best


@dataclass(frozen=True, eq=False)
class Fitted:
    """The head of one finding with a usual place.

    Args:
        place: of the finding.
        weight: float32 [D].
        bias: of the logit.
    """

    place: UsualPlace
    weight: torch.Tensor
    bias: float


def added_findings(cases: Sequence[Sample], known: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return findings that the cases name and a base lacks: those that can be learned, and those that cannot, because
    fewer than LEAST_IMAGES images have them, or lack them."""
    labels: dict[str, list[float]] = {}
    for case in cases:
        for name, value in case.findings.items():
            labels.setdefault(name, []).append(value)
    new = sorted(set(labels) - set(known) - {NO_FINDING})
    enough = [name for name in new if min(labels[name].count(value) for value in (0.0, 1.0)) >= LEAST_IMAGES]
    return enough, [name for name in new if name not in enough]


def find_place(cases: Sequence[Sample], name: str) -> UsualPlace | None:
    """Return the place that is clicked more often where a finding is; None where no place stands out."""
    middles = (np.arange(SIDE) + 0.5) / SIDE
    maps: dict[float, list[np.ndarray]] = {0.0: [], 1.0: []}
    for case in cases:
        label = case.findings.get(name)
        for reading in case.readings if label in maps else ():
            near = np.zeros((SIDE, SIDE))
            for fixation in reading.scanpath:
                squared = (middles[None] - fixation.x) ** 2 + (middles[:, None] - fixation.y) ** 2
                near = np.maximum(near, np.exp(-squared / (2 * REACH**2)))
            maps[float(label or 0)].append(near)
    if min(map(len, maps.values())) < LEAST_IMAGES:
        return None
    contrast = np.mean(maps[1.0], axis=0) - np.mean(maps[0.0], axis=0)
    row, column = np.unravel_index(int(contrast.argmax()), contrast.shape)
    if contrast[row, column] < LEAST_CONTRAST:
        return None
    return UsualPlace(name, float(middles[column]), float(middles[row]), SPREAD)


def fit_place(place: UsualPlace, cases: Sequence[Sample], features: np.ndarray) -> Fitted:
    """Return the head of a finding, from the images whose label is known.

    Args:
        place: of the finding.
        cases: to learn from; both labels occur.
        features: float64 [N, D], what the vision tower says of the place on each image; see `pooled_tokens`.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    known = [index for index, case in enumerate(cases) if place.name in case.findings]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY, max_iter=1000))
    model.fit(features[known], [cases[index].findings[place.name] for index in known])
    scaler, regression = model[0], model[1]
    weight = regression.coef_[0] / scaler.scale_
    bias = regression.intercept_[0] - float(weight @ scaler.mean_)
    return Fitted(place, torch.tensor(weight, dtype=torch.float32), float(bias))
