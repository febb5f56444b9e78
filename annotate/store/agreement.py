"""How far the annotators of one image agree: the mean sequence score of each two of their latest paths."""

from collections.abc import Sequence

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotate.store.schema import SubmissionRow
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.sequence import sequence_scores
from gazevlm_core.scanpath import Scanpath

GRID = PatchGrid(8, 8)
LATEST = 12  # paths compared, so that a submission costs the same however many there are
LONGEST = 64  # fixations compared


def patches_of(path: Scanpath) -> bytes:
    """Patch under each of the first fixations, one byte each."""
    return bytes(GRID.index_of(fixation) for fixation in path.fixations[:LONGEST])


def mean_agreement(paths: Sequence[bytes]) -> float | None:
    """Mean sequence score of each two paths, in [0, 1]; None for fewer than two.

    Args:
        paths: as from `patches_of`.
    """
    if len(paths) < 2:
        return None
    left, right = np.triu_indices(len(paths), k=1)
    scores = sequence_scores([list(paths[i]) for i in left.tolist()], [list(paths[j]) for j in right.tolist()])
    return float(scores.mean())


def image_agreement(session: Session, image_id: int) -> float | None:
    """Agreement of an image's latest counted paths, one per annotator."""
    session.flush()
    query = select(SubmissionRow.patches).where(SubmissionRow.image_id == image_id, SubmissionRow.counted)
    return mean_agreement(session.scalars(query.order_by(SubmissionRow.number.desc()).limit(LATEST)).all())
