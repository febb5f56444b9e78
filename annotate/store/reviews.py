"""What reviewers do to submissions: verdicts, removal and its undoing, each with an entry in the audit log.

A gold path that rests on a submission goes with it, for good: who takes it back wants no more of it shown or compared.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, select, update

from annotate.store.base import Store, add_to_person, write_audit
from annotate.store.database import writes
from annotate.store.images import write_gold
from annotate.store.model import StoreError, Verdict, checked_text, gold_is_of
from annotate.store.queue import QueueEntry, lock_image, save_entry
from annotate.store.submissions import check_verdicts, image_agreement, may_count
from annotate.store.tables import IMAGES, PEOPLE, SUBMISSIONS

LONGEST_REASON = 2_000
REMOVED, TAKEN_BACK = "removed", "withdrawn"  # in the audit log
WITHDRAWN = "withdrawn by its annotator"
GOLD_RESTED = "its path rested on submission {number}, which was {what}"
NOT_BACK = "Its annotator withdrew this submission; it cannot be judged or restored."
STATE = SUBMISSIONS.c[
    "number", "submission_id", "person_id", "image_id", "digest", "verdict", "reason", "removed", "revision"
]


class Reviews(Store):
    """Reviews of a store's submissions."""

    @writes
    def review(self, connection: Connection, submission_id: str, verdict: Verdict, reason: str, by: str) -> bool:
        """Judge a submission; a rejected one needs a reason, and no longer counts for its image.

        Returns:
            Whether the gold path of its image went with it.
        """
        reason = _checked_reason(verdict, reason)
        row, image = lock_submission(connection, submission_id)
        if row.removed and row.reason == WITHDRAWN:  # its reason is what keeps it from being restored
            raise StoreError(NOT_BACK)
        return self._judge(connection, row, image, verdict, reason, by)

    @writes
    def review_unchanged(
        self, connection: Connection, submission_id: str, revision: int, verdict: Verdict, reason: str, by: str
    ) -> bool | None:
        """Judge a submission as `review` does, where it is as it was at a revision; return None where it was not."""
        reason = _checked_reason(verdict, reason)
        row, image = lock_submission(connection, submission_id)
        if row.revision != revision or row.removed:
            return None
        return self._judge(connection, row, image, verdict, reason, by)

    def _judge(
        self, connection: Connection, row: Row[Any], image: QueueEntry, verdict: Verdict, reason: str, by: str
    ) -> bool:
        if (row.verdict, row.reason) == (verdict, reason):
            return False
        values = {"verdict": verdict, "reason": reason}
        return change(connection, row, image, values, self.now_us(), by, verdict, reason=reason)

    def remove(self, submission_id: str, reason: str, by: str) -> bool:
        """Take a submission out of sight; it is kept, and can be restored. Returns whether its image's gold went."""
        return self._set_removed(submission_id, True, reason, by)

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
            values = {"removed": True, "reason": WITHDRAWN}
            change(connection, row, image, values, self.now_us(), who, TAKEN_BACK)

    def drop_stale_gold(self, by: str) -> int:
        """Take away gold paths that rest on what is rejected or removed, and return how many there were.

        There are some in stores, exports and published copies from before gold went with what it rests on.
        """

        def drop(connection: Connection) -> int:
            stale = _stale_gold(connection)
            for image_id, row in stale.items():
                image, state = lock_image(connection, image_id), (row.verdict, row.removed, row.reason)
                _drop_gold(connection, image, row.number, self.now_us(), by, *state)
            return len(stale)

        return self.database.write(drop) if self.database.read(_stale_gold) else 0  # most stores have none

    @writes
    def _set_removed(self, connection: Connection, submission_id: str, removed: bool, reason: str, by: str) -> bool:
        reason = checked_text("The reason", reason, LONGEST_REASON)
        row, image = lock_submission(connection, submission_id)
        if not removed and row.removed and row.reason == WITHDRAWN:
            raise StoreError(NOT_BACK)
        if row.removed == removed:
            return False
        action = REMOVED if removed else "restored"
        return change(connection, row, image, {"removed": removed}, self.now_us(), by, action, reason=reason)


def _checked_reason(verdict: Verdict, reason: str) -> str:
    """Return the reason of a verdict, checked."""
    check_verdicts([verdict])
    return checked_text("The reason for rejecting", reason, LONGEST_REASON, empty=verdict != "rejected")


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


def change(
    connection: Connection, row: Row[Any], image: QueueEntry, changed: Mapping[str, Any], now_us: int, by: str,
    action: str, **details: object,
) -> bool:  # fmt: skip
    """Change a submission and what follows from it: the counts, the agreement, the place and the gold of its image.

    Args:
        connection: that locked both.
        row, image: as from `lock_submission`.
        changed: columns; what is changed is one revision on and not synced, unless they say otherwise.
        now_us: the store's time.
        by: who decides.
        action, details: for the audit log.

    Returns:
        Whether the gold path of its image went with it.
    """
    verdict, removed = (changed.get(name, getattr(row, name)) for name in ("verdict", "removed"))
    gold_goes = image.is_gold and (removed or verdict == "rejected") and _carries_gold(connection, row, image.id)
    values = {"revision": row.revision + 1, "synced": False, **changed}
    connection.execute(update(SUBMISSIONS).where(SUBMISSIONS.c.number == row.number).values(values))
    add_to_person(connection, row.person_id, done=row.removed - values.get("removed", row.removed))
    if _recount(connection, row.person_id, image):
        image.agreement = image_agreement(connection, image.id)
    save_entry(connection, image)
    write_audit(connection, now_us, by, action, row.submission_id, **details)
    if gold_goes:
        reason = changed.get("reason", row.reason)
        _drop_gold(connection, image, row.number, now_us, by, verdict, removed, reason)
    return gold_goes


def _drop_gold(
    connection: Connection, image: QueueEntry, number: int, now_us: int, by: str, verdict: str, removed: bool,
    reason: str,
) -> None:  # fmt: skip
    """Take the gold path of an image away because of what became of a submission that it rested on."""
    what = (TAKEN_BACK if reason == WITHDRAWN else REMOVED) if removed else verdict
    write_gold(connection, image, None, (), now_us, by, reason=GOLD_RESTED.format(number=number, what=what))


def _carries_gold(connection: Connection, row: Row[Any], image_id: int) -> bool:
    """Return whether the gold path of its image is that of a submission, or was chosen from it and others.

    Of an annotator with several submissions the first usable one took part in a consensus.
    """
    gold, gold_from = connection.execute(select(*IMAGES.c["gold", "gold_from"]).where(IMAGES.c.id == image_id)).one()
    number = SUBMISSIONS.c.number
    annotation = connection.execute(select(SUBMISSIONS.c.annotation).where(number == row.number)).scalar_one()
    if gold_is_of(gold, gold_from, annotation):
        return True
    if annotation.annotator not in gold_from or len(gold_from) == 1:
        return False
    earlier = select(number).where(SUBMISSIONS.c.person_id == row.person_id, SUBMISSIONS.c.image_id == image_id)
    earlier = earlier.where(number < row.number, SUBMISSIONS.c.verdict != "rejected", ~SUBMISSIONS.c.removed)
    return connection.scalar(earlier.limit(1)) is None


def _stale_gold(connection: Connection) -> dict[int, Any]:
    """Return images whose gold path is that of a submission that counts no more, or was chosen from those of somebody
    who has none left that counts: key -> row of the first such submission."""
    gone = SUBMISSIONS.c.removed | (SUBMISSIONS.c.verdict == "rejected")
    query = select(*STATE, SUBMISSIONS.c.annotation, *IMAGES.c["gold", "gold_from"])
    query = query.join(IMAGES, IMAGES.c.id == SUBMISSIONS.c.image_id).where(gone, IMAGES.c.gold.is_not(None))
    stale: dict[int, Any] = {}
    for row in connection.execute(query.order_by(SUBMISSIONS.c.number)).all():
        left = select(SUBMISSIONS.c.number).where(SUBMISSIONS.c.person_id == row.person_id, ~gone)
        left = left.where(SUBMISSIONS.c.image_id == row.image_id).limit(1)
        took_part = row.annotation.annotator in row.gold_from and connection.scalar(left) is None
        if took_part or gold_is_of(row.gold, row.gold_from, row.annotation):
            stale.setdefault(row.image_id, row)
    return stale


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
