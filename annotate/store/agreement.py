"""How far the annotators of one image agree: the mean sequence score of each two of their latest paths."""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, select

from annotate.store.schema import SubmissionRow, table_of
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.sequence import mean_pair_score
from gazevlm_core.scanpath import Scanpath

GRID = PatchGrid(8, 8)
LATEST = 12  # paths compared, so that a submission costs the same however many there are
LONGEST = 64  # fixations compared
SUBMISSIONS = table_of(SubmissionRow)
LATEST_PATHS = (
    select(SUBMISSIONS.c.patches)
    .where(SUBMISSIONS.c.image_id == bindparam("image_id"), SUBMISSIONS.c.counted)
    .order_by(SUBMISSIONS.c.number.desc())
    .limit(LATEST)
)


def patches_of(path: Scanpath) -> bytes:
    """Patch under each of the first fixations, one byte each."""
    return bytes(GRID.index_of(fixation) for fixation in path.fixations[:LONGEST])


def mean_agreement(paths: Sequence[bytes]) -> float | None:
    """Mean sequence score of each two paths, in [0, 1]; None for fewer than two.

    Args:
        paths: as from `patches_of`.
    """
    return mean_pair_score(paths) if len(paths) > 1 else None


def image_agreement(connection: Connection, image_id: int) -> float | None:
    """Agreement of an image's latest counted paths, one per annotator."""
    return mean_agreement(connection.scalars(LATEST_PATHS, {"image_id": image_id}).all())
