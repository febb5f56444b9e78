"""What reviewers do to submissions: verdicts, removal and its undoing, each with an entry in the audit log."""

from collections.abc import Callable

from sqlalchemy import select
from sqlalchemy.orm import Session, load_only

from annotate.store.agreement import image_agreement
from annotate.store.schema import ImageRow, PersonRow, SubmissionRow
from annotate.store.submissions import check_verdicts, find_row, may_count
from annotate.store.types import StoreError, Verdict
from annotate.store.values import checked_text, locked_image, write_audit
from annotate.store.wanted import requeue

LONGEST_REASON = 2_000


Alter = Callable[[SubmissionRow, PersonRow], bool]


def change(session: Session, submission_id: str, alter: Alter) -> SubmissionRow | None:
    """Alter a submission and what follows from it: the counts, the agreement and the place of its image.

    Args:
        alter: changes verdict, reason or removal; returns whether anything changed.

    Returns:
        The submission, or None where nothing changed.

    Raises:
        StoreError: there is no such submission.
    """
    row = find_row(session, submission_id)
    if row is None:
        raise StoreError("The store has no such submission; check its id.")
    person = session.scalars(select(PersonRow).where(PersonRow.id == row.person_id).with_for_update()).one()
    image = locked_image(session, row.image_id)
    session.refresh(row)
    if not alter(row, person):
        return None
    row.revision += 1
    row.synced = False
    if _recount(session, person.id, image):
        session.flush()
        image.agreement = image_agreement(session.connection(), image.id)
    requeue(session, [image])
    return row


def _recount(session: Session, person_id: int, image: ImageRow) -> bool:
    """Let an annotator's first submission that may count stand for them in the quota of an image, and no other one.

    Returns:
        Whether another one counts now.
    """
    session.flush()
    parts = ("number", "kind", "verdict", "removed", "counted")  # records are long
    query = select(SubmissionRow).options(load_only(*(getattr(SubmissionRow, part) for part in parts)))
    query = query.where(SubmissionRow.person_id == person_id, SubmissionRow.image_id == image.id)
    rows = session.scalars(query.order_by(SubmissionRow.number)).all()
    first = next((row for row in rows if may_count(row.kind, row.verdict, row.removed)), None)
    changed = [row for row in rows if row.counted != (row is first)]
    for row in changed:
        row.counted = row is first
        image.done += 1 if row.counted else -1
    return bool(changed)


def review(session: Session, submission_id: str, verdict: Verdict, reason: str, by: str, now_us: int) -> None:
    """See `AnnotationStore.review`."""
    check_verdicts([verdict])
    reason = checked_text("The reason for rejecting", reason, LONGEST_REASON, empty=verdict != "rejected")

    def alter(row: SubmissionRow, _person: PersonRow) -> bool:
        changes = (row.verdict, row.reason) != (verdict, reason)
        row.verdict, row.reason = verdict, reason
        return changes

    if change(session, submission_id, alter) is not None:
        write_audit(session, now_us, by, verdict, submission_id, reason=reason)


def set_removed(session: Session, submission_id: str, removed: bool, reason: str, by: str, now_us: int) -> None:
    """See `AnnotationStore.remove` and `AnnotationStore.restore`."""
    reason = checked_text("The reason", reason, LONGEST_REASON)

    def alter(row: SubmissionRow, person: PersonRow) -> bool:
        if row.removed == removed:
            return False
        row.removed = removed
        person.done += -1 if removed else 1
        return True

    if change(session, submission_id, alter) is not None:
        write_audit(session, now_us, by, "removed" if removed else "restored", submission_id, reason=reason)
