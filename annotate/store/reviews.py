"""What reviewers do to submissions: verdicts, removal and its undoing, each with an entry in the audit log."""

from typing import Any

from sqlalchemy import Connection, Row, select, update

from annotate.store.base import Store, add_to_person, write_audit
from annotate.store.database import writes
from annotate.store.model import StoreError, Verdict, checked_text
from annotate.store.queue import QueueEntry, lock_image, save_entry
from annotate.store.submissions import check_verdicts, image_agreement, may_count
from annotate.store.tables import PEOPLE, SUBMISSIONS

LONGEST_REASON = 2_000
REMOVED = "removed"  # in the audit log
WITHDRAWN = "withdrawn by its annotator"
NOT_BACK = "Its annotator withdrew this submission; it cannot be judged or restored."
STATE = SUBMISSIONS.c["number", "person_id", "image_id", "digest", "verdict", "reason", "removed", "revision"]


class Reviews(Store):
    """Reviews of a store's submissions."""

    @writes
    def review(self, connection: Connection, submission_id: str, verdict: Verdict, reason: str, by: str) -> None:
        """Judge a submission; a rejected one needs a reason, and no longer counts for its image."""
        check_verdicts([verdict])
        reason = checked_text("The reason for rejecting", reason, LONGEST_REASON, empty=verdict != "rejected")
        row, image = lock_submission(connection, submission_id)
        if row.removed and row.reason == WITHDRAWN:  # its reason is what keeps it from being restored
            raise StoreError(NOT_BACK)
        if (row.verdict, row.reason) != (verdict, reason):
            change(connection, row, image, verdict=verdict, reason=reason)
            write_audit(connection, self.now_us(), by, verdict, submission_id, reason=reason)

    @writes
    def review_unchanged(
        self, connection: Connection, submission_id: str, revision: int, verdict: Verdict, reason: str, by: str
    ) -> bool:
        """Judge a submission as `review` does, where it is as it was at a revision; return whether it was."""
        check_verdicts([verdict])
        reason = checked_text("The reason for rejecting", reason, LONGEST_REASON, empty=verdict != "rejected")
        row, image = lock_submission(connection, submission_id)
        if row.revision != revision or row.removed:
            return False
        if (row.verdict, row.reason) != (verdict, reason):
            change(connection, row, image, verdict=verdict, reason=reason)
            write_audit(connection, self.now_us(), by, verdict, submission_id, reason=reason)
        return True

    def remove(self, submission_id: str, reason: str, by: str) -> None:
        """Take a submission out of sight; it is kept, and can be restored."""
        self._set_removed(submission_id, True, reason, by)

    def restore(self, submission_id: str, reason: str, by: str) -> None:
        """Undo `remove`."""
        self._set_removed(submission_id, False, reason, by)

    @writes
    def withdraw(self, connection: Connection, submission_id: str, who: str) -> None:
        """Take a submission of one's own out of sight, for good; what is published already is published as removed.

        Raises:
            StoreError: it is somebody else's.
        """
        row, image = lock_submission(connection, submission_id)
        if connection.scalar(select(PEOPLE.c.id).where(PEOPLE.c.pseudonym == who)) != row.person_id:
            raise StoreError("The store has no such submission; check its id.")
        if (row.removed, row.reason) != (True, WITHDRAWN):
            change(connection, row, image, removed=True, reason=WITHDRAWN)
            write_audit(connection, self.now_us(), who, "withdrawn", submission_id)

    @writes
    def _set_removed(self, connection: Connection, submission_id: str, removed: bool, reason: str, by: str) -> None:
        reason = checked_text("The reason", reason, LONGEST_REASON)
        row, image = lock_submission(connection, submission_id)
        if not removed and row.removed and row.reason == WITHDRAWN:
            raise StoreError(NOT_BACK)
        if row.removed != removed:
            change(connection, row, image, removed=removed)
            action = REMOVED if removed else "restored"
            write_audit(connection, self.now_us(), by, action, submission_id, reason=reason)


def lock_submission(connection: Connection, submission_id: str) -> tuple[Row[Any], QueueEntry]:
    """Return the `STATE` of a submission and where its image stands; its person and image are locked until the end.

    Raises:
        StoreError: there is no such submission.
    """
    query = select(*STATE).where(SUBMISSIONS.c.submission_id == submission_id)
    found = connection.execute(query).first()
    if found is None:
        raise StoreError("The store has no such submission; check its id.")
    connection.execute(select(PEOPLE.c.id).where(PEOPLE.c.id == found.person_id).with_for_update())
    image = lock_image(connection, found.image_id)
    return connection.execute(query).one(), image


def change(connection: Connection, row: Row[Any], image: QueueEntry, **values: Any) -> None:
    """Change a submission and what follows from it: the counts, the agreement and the place of its image.

    Args:
        connection: that locked both.
        row, image: as from `lock_submission`.
        values: columns; what is changed is one revision on and not synced, unless they say otherwise.
    """
    values = {"revision": row.revision + 1, "synced": False, **values}
    connection.execute(update(SUBMISSIONS).where(SUBMISSIONS.c.number == row.number).values(values))
    add_to_person(connection, row.person_id, done=row.removed - values.get("removed", row.removed))
    if _recount(connection, row.person_id, image):
        image.agreement = image_agreement(connection, image.id)
    save_entry(connection, image)


def _recount(connection: Connection, person_id: int, image: QueueEntry) -> bool:
    """Let an annotator's first submission that may count stand for them in the quota of an image, and no other one.

    Returns:
        Whether another one counts now.
    """
    query = select(*SUBMISSIONS.c["number", "kind", "verdict", "removed", "counted"])  # records are long
    query = query.where(SUBMISSIONS.c.person_id == person_id, SUBMISSIONS.c.image_id == image.id)
    rows = connection.execute(query.order_by(SUBMISSIONS.c.number)).all()
    first = next((row.number for row in rows if may_count(row.kind, row.verdict, row.removed)), None)
    changed = [row.number for row in rows if row.counted != (row.number == first)]
    for number in changed:
        counts = number == first
        connection.execute(update(SUBMISSIONS).where(SUBMISSIONS.c.number == number).values(counted=counts))
        image.done += 1 if counts else -1
    return bool(changed)
