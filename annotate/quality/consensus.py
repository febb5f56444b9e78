"""What the annotators of an image have in common: the consensus path, and the map of where they looked."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from annotate.quality.scores import MOST_ANNOTATORS, MOST_FIXATIONS
from annotate.store.model import Stored
from annotate.votes import first_of_each
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.registry import DEFAULT_GRID
from gazevlm_core.metrics.saliency import fixation_map
from gazevlm_core.metrics.sequence import medoid_index, sequence_scores
from gazevlm_core.scanpath import Scanpath

HEAT_CELLS = 48  # along the longer side
HEAT_SIGMA = 1.5  # cells


@dataclass(frozen=True)
class Consensus:
    """The path of one annotator that stands for all: it is a real path, never an average that nobody walked.

    Args:
        scanpath: the medoid.
        submission_id: whose it is.
        score: its mean sequence score with the others; None where there is no other.
        among: pseudonyms of the annotators from whose paths it was chosen, by number of their submissions.
    """

    scanpath: Scanpath
    submission_id: str
    score: float | None
    among: tuple[str, ...]

    @property
    def annotators(self) -> int:
        """Among how many it was chosen."""
        return len(self.among)

    @property
    def how(self) -> str:
        """How it was chosen, in words."""
        if self.score is None:
            return "the only path there is"
        return (
            f"the medoid: of {self.annotators} annotators' paths the one with the highest mean sequence score with the "
            f"others ({self.score:.3f}) on a grid of {DEFAULT_GRID.rows} x {DEFAULT_GRID.cols}; the earliest on a tie"
        )


def consensus(stored: Sequence[Stored]) -> Consensus | None:
    """The consensus path of one image: the medoid of the first path of each of the first MOST_ANNOTATORS annotators.

    None where all are rejected.

    Args:
        stored: submissions on the image.
    """
    firsts = first_of_each(stored)[:MOST_ANNOTATORS]
    if not firsts:
        return None
    paths = [one.annotation.scanpath.fixations[:MOST_FIXATIONS] for one in firsts]
    strings = [[DEFAULT_GRID.index_of(fixation) for fixation in path] for path in paths]
    best = medoid_index(strings)
    others = [string for row, string in enumerate(strings) if row != best]
    score = float(sequence_scores([strings[best]] * len(others), others).mean()) if others else None
    annotation = firsts[best].annotation
    among = tuple(one.annotation.annotator for one in firsts)
    return Consensus(annotation.scanpath, annotation.submission_id, score, among)


def heat_map(stored: Sequence[Stored], *, cells: int = HEAT_CELLS, sigma_cells: float = HEAT_SIGMA) -> np.ndarray:
    """Share of the fixations around each place, float64 [rows, cols], summing to 1; all zeros where all are rejected.

    Every fixation counts once: clicks have no durations.

    Args:
        stored: submissions on one image; each annotator's first one that is not rejected counts.
        cells: along the image's longer side.
        sigma_cells: of the Gaussian blur.
    """
    firsts = first_of_each(stored)
    if not firsts:
        return np.zeros((cells, cells))
    width, height = firsts[0].annotation.image_width_px, firsts[0].annotation.image_height_px
    unit = max(width, height) / cells
    grid = PatchGrid(max(1, round(height / unit)), max(1, round(width / unit)))
    positions = np.array([(fixation.x, fixation.y) for one in firsts for fixation in one.annotation.scanpath])
    return fixation_map(grid.indices_of(positions), grid.rows, grid.cols, sigma_cells).reshape(grid.rows, grid.cols)
