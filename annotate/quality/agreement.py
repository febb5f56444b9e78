"""Agreement of an image's annotators beside floors; the consensus path; the map of where they looked."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from annotate.quality.scores import (
    AGREEMENT_SCORES,
    MOST_ANNOTATORS,
    MOST_FIXATIONS,
    SEQUENCE,
    Level,
    level,
    pair_scores,
)
from annotate.store.model import Stored
from annotate.votes import first_of_each, usable
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.paths import Size
from gazevlm_core.metrics.registry import DEFAULT_GRID
from gazevlm_core.metrics.saliency import fixation_map
from gazevlm_core.metrics.sequence import medoid_index, sequence_scores
from gazevlm_core.scanpath import Scanpath

HEAT_CELLS, HEAT_SIGMA = 48, 1.5  # cells along the longer side; of the Gaussian, in cells


@dataclass(frozen=True)
class ImageAgreement:
    """How well the annotators of one image agree.

    Args:
        levels: score -> its mean over the pairs, and floors; "sequence score" and "ScanMatch" see the order, "Jaccard"
            does not.
    """

    image_sha256: str  # of the image
    annotators: int  # whose first path, unless rejected, was compared: the first MOST_ANNOTATORS
    pairs: int  # of annotators
    levels: dict[str, Level]


def agreement(stored: Sequence[Stored], *, elsewhere: Sequence[Scanpath] = (), seed: int = 0) -> ImageAgreement:
    """Return the agreement on one image.

    Args:
        stored: its submissions, at least one.
        elsewhere: paths on other images, for a floor.
        seed: of the random floors.

    Raises:
        ValueError: no submission, or submissions on several images.
    """
    size, firsts = image_size(stored), first_of_each(stored)[:MOST_ANNOTATORS]
    left, right = _pairs(firsts)
    levels = {name: level(name, left, right, size, elsewhere=elsewhere, seed=seed) for name in AGREEMENT_SCORES}
    return ImageAgreement(stored[0].image_sha256, len(firsts), len(left), levels)


def scores_with_others(stored: Sequence[Stored]) -> dict[int, float]:
    """Return mean sequence score of every submission with the first path of each other annotator, by number.

    The others are the first MOST_ANNOTATORS. Without another annotator there is no score.

    Args:
        stored: submissions on one image; removed and rejected ones take no part.
    """
    kept = usable(stored)
    firsts = first_of_each(kept)[:MOST_ANNOTATORS]
    pairs = [
        (one, other)
        for one in kept
        for other in firsts
        if other.annotation.annotator != one.annotation.annotator
    ]
    if not pairs:
        return {}
    left, right = ([pair[side].annotation.scanpath for pair in pairs] for side in (0, 1))
    found: dict[int, list[float]] = defaultdict(list)
    for (one, _), score in zip(pairs, pair_scores(SEQUENCE, left, right, image_size(kept)).tolist(), strict=True):
        found[one.number].append(score)
    return {number: fmean(scores) for number, scores in found.items()}


def image_size(stored: Sequence[Stored]) -> Size:
    """Return width and height in pixels of the one image that all these submissions are of.

    Raises:
        ValueError: none, or several images.
    """
    if len({one.image_sha256 for one in stored}) != 1:
        raise ValueError("agreement is between submissions on one image")
    annotation = stored[0].annotation
    return float(annotation.image_width_px), float(annotation.image_height_px)


def _pairs(firsts: Sequence[Stored]) -> tuple[list[Scanpath], list[Scanpath]]:
    paths = [one.annotation.scanpath for one in firsts]
    rows, cols = np.triu_indices(len(paths), k=1)
    return [paths[row] for row in rows.tolist()], [paths[col] for col in cols.tolist()]


# ---- consensus ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Consensus:
    """The path of one annotator that stands for all: a real path, never an average.

    Args:
        among: pseudonyms of the annotators from whose paths it was chosen, by number of their submissions.
    """

    scanpath: Scanpath  # the medoid
    submission_id: str  # whose it is
    score: float | None  # its mean sequence score with the others; None where there is no other
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
            f"of {self.annotators} annotators' paths the one that is most like the others (mean sequence score "
            f"{self.score:.3f} on a grid of {DEFAULT_GRID.rows} x {DEFAULT_GRID.cols}); the earliest on a tie"
        )


def consensus(stored: Sequence[Stored]) -> Consensus | None:
    """Return the consensus path of one image: the medoid of the first path of each of the first MOST_ANNOTATORS
    annotators.

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


def heat_map(stored: Sequence[Stored], *, sigma_cells: float = HEAT_SIGMA) -> np.ndarray:
    """Share of the fixations around each place, float64 [rows, cols], summing to 1; all zeros where all are rejected.

    Every fixation counts once: clicks have no durations.

    Args:
        stored: submissions on one image; each annotator's first one that is not rejected counts.
        sigma_cells: of the Gaussian blur.
    """
    firsts = first_of_each(stored)
    if not firsts:
        return np.zeros((HEAT_CELLS, HEAT_CELLS))
    width, height = firsts[0].annotation.image_width_px, firsts[0].annotation.image_height_px
    unit = max(width, height) / HEAT_CELLS
    grid = PatchGrid(max(1, round(height / unit)), max(1, round(width / unit)))
    positions = np.array([(fixation.x, fixation.y) for one in firsts for fixation in one.annotation.scanpath])
    return fixation_map(grid.indices_of(positions), grid.rows, grid.cols, sigma_cells).reshape(grid.rows, grid.cols)
