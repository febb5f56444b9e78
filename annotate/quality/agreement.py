"""Do annotators agree on an image: mean score over all pairs of them, with the order and without, beside floors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from annotate.quality.scores import AGREEMENT_SCORES, MOST_ANNOTATORS, SEQUENCE, Level, level, pair_scores
from annotate.store.model import Stored
from annotate.votes import first_of_each
from gazevlm_core.metrics.paths import Size
from gazevlm_core.scanpath import Scanpath


@dataclass(frozen=True)
class ImageAgreement:
    """How well the annotators of one image agree.

    Args:
        image_sha256: of the image.
        annotators: whose first path, unless rejected, was compared: the first MOST_ANNOTATORS.
        pairs: of annotators.
        levels: score -> its mean over the pairs, and floors; "sequence score" and "ScanMatch" see the order, "Jaccard"
            does not.
    """

    image_sha256: str
    annotators: int
    pairs: int
    levels: dict[str, Level]


def agreement(stored: Sequence[Stored], *, elsewhere: Sequence[Scanpath] = (), seed: int = 0) -> ImageAgreement:
    """Agreement on one image.

    Args:
        stored: its submissions, at least one.
        elsewhere: paths on other images, for a floor.
        seed: of the random floors.

    Raises:
        ValueError: no submission, or submissions on several images.
    """
    size, firsts = image_size(stored), first_of_each(stored)[:MOST_ANNOTATORS]
    left, right = _pairs(firsts)
    levels = {
        name: level(name, left, right, size, elsewhere=elsewhere, seed=seed) for name in AGREEMENT_SCORES
    }  # fmt: skip
    return ImageAgreement(stored[0].image_sha256, len(firsts), len(left), levels)


def pair_table(name: str, firsts: Sequence[Stored]) -> np.ndarray:
    """Score of every path with every other on one image, float64 [A, A], symmetric, 0 on the diagonal."""
    table = np.zeros((len(firsts), len(firsts)))
    left, right = _pairs(firsts)
    if left:
        rows, cols = np.triu_indices(len(firsts), k=1)
        table[rows, cols] = pair_scores(name, left, right, image_size(firsts))
    return table + table.T


def sequence_agreement(stored: Sequence[Stored]) -> float | None:
    """Mean sequence score over the pairs of annotators; None for fewer than two. Cheap: no floors."""
    table = pair_table(SEQUENCE, first_of_each(stored)[:MOST_ANNOTATORS])
    pairs = len(table) * (len(table) - 1)
    return float(table.sum() / pairs) if pairs else None


def image_size(stored: Sequence[Stored]) -> Size:
    """Width and height in pixels of the one image that all these submissions are of.

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
