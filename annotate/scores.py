"""How a submitted path compares with a model's and with other readers', each score beside its floors."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.compare import FLOORS, Compared, compare_paths
from gazevlm_core.metrics.paths import Size
from gazevlm_core.scanpath import Scanpath

SHOWN = ("sequence score", "ScanMatch", "DTW distance", "Jaccard", "MultiMatch position")
LONGEST_COMPARED = 60  # fixations; a longer path is compared up to there, since alignments grow with the square


@dataclass(frozen=True)
class Against:
    """A path's scores against one or more others; means over them.

    Args:
        name: whose path it was compared with.
        rows: of SHOWN.
    """

    name: str
    rows: tuple[Compared, ...]


def compare(name: str, own: Scanpath, others: Sequence[Scanpath], size: Size, grid: PatchGrid) -> Against:
    """Scores of one path against others, and of paths in its place that know less.

    Args:
        name: whose paths `others` are.
        own: that is scored.
        others: at least one.
        size: of the image in px.
        grid: of the scores on patches.
    """
    each = [compare_paths(_bounded(own), _bounded(other), [], size, grid) for other in others]
    rows = []
    for same in zip(*each, strict=True):
        first = same[0]
        if first.name not in SHOWN:
            continue
        floors = {floor: _mean([one.floors[floor] for one in same]) for floor in FLOORS}
        value, gain = _mean([one.value for one in same]), _mean([one.order_gain for one in same])
        rows.append(Compared(first.name, first.order, first.higher_is_better, value, gain, floors, float("nan")))
    return Against(name, tuple(sorted(rows, key=lambda row: SHOWN.index(row.name))))


def _bounded(path: Scanpath) -> Scanpath:
    return Scanpath(path.fixations[:LONGEST_COMPARED], path.source)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
