"""How a submitted path compares with a model's and with other readers', each score beside its floors."""

from collections.abc import Sequence
from dataclasses import dataclass

from gazevlm_core.evaluation.comparison import Compared, compare_paths
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.paths import Size
from gazevlm_core.metrics.registry import JACCARD, SCANMATCH, SEQUENCE
from gazevlm_core.scanpath import Scanpath

SHOWN = (SEQUENCE, SCANMATCH, "DTW distance", JACCARD, "MultiMatch position")
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
    """Return the scores of one path against others, and of paths in its place that know less.

    Args:
        name: whose paths `others` are.
        own: that is scored.
        others: at least one.
        size: of the image in px.
        grid: of the scores on patches.
    """
    path, *readings = (Scanpath(one.fixations[:LONGEST_COMPARED], one.source) for one in (own, *others))
    return Against(name, tuple(compare_paths(path, readings, [], size, grid, names=SHOWN)))
