"""Out of the store and back: what is not yet published, records taken in from an export, and the counts."""

import json
from collections.abc import Sequence

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from annotate.store.people import known_by_pseudonym
from annotate.store.reviews import change
from annotate.store.schema import AuditRow, ImageRow, PersonRow, SkipRow, SubmissionRow
from annotate.store.submissions import Record, check_verdicts, find_row, insert, stored_of
from annotate.store.types import KINDS, AuditEntry, Counts, Skip, Stored, StoreError
from annotate.store.values import from_us, raise_counter, write_audit
from annotate.store.wanted import GOLD_BAND, locked_standing


def _unsynced() -> tuple[ColumnElement[bool], ...]:
    """What is to be published: new and changed submissions, but none that was removed before anybody saw it."""
    return ~SubmissionRow.synced, ~SubmissionRow.removed | SubmissionRow.shard.is_not(None)


def list_unsynced(session: Session, limit: int) -> list[Stored]:
    """See `AnnotationStore.unsynced`."""
    query = select(SubmissionRow).where(*_unsynced()).order_by(SubmissionRow.number).limit(limit)
    return [stored_of(row) for row in session.scalars(query)]


def count_unsynced(session: Session) -> int:
    """How many submissions are to be published."""
    return session.scalar(select(func.count()).select_from(SubmissionRow).where(*_unsynced())) or 0


def mark_synced(session: Session, published: Sequence[int | Stored], shard: str) -> None:
    """See `AnnotationStore.mark_synced`."""
    for one in published:
        statement = update(SubmissionRow).where(SubmissionRow.number == (one if isinstance(one, int) else one.number))
        session.execute(statement.values(shard=shard))
        if isinstance(one, Stored):
            statement = statement.where(SubmissionRow.revision == one.revision)
        session.execute(statement.values(synced=True))


def take_in(session: Session, stored: Stored, record: Record, shard: str, by: str, now_us: int) -> bool:
    """See `AnnotationStore.take_in`; the record is from `check_stored`."""
    check_verdicts([stored.verdict])
    if stored.kind not in KINDS:
        raise StoreError(f"There is no kind {str(stored.kind)[:40]!r} of annotation; use {', '.join(KINDS)}.")
    person = known_by_pseudonym(session, stored.annotation.annotator)
    known = find_row(session, stored.annotation.submission_id)
    if known is not None:
        return _take_changes(session, known, stored, record.digest, shard, by, now_us)
    person.done += not stored.removed
    number, connection = _free_number(session, stored.number), session.connection()
    image = locked_standing(connection, stored.annotation.image_sha256)
    insert(
        connection, record, person.id, image, stored.kind, verdict=stored.verdict, reason=stored.reason,
        removed=stored.removed, revision=stored.revision, shard=shard or None, number=number,
    )  # fmt: skip
    return True


def _free_number(session: Session, number: int) -> int | None:
    """The number of an exported record, if it is still free here; it will not be given out again."""
    if number < 1 or session.get(SubmissionRow, number) is not None:
        return None
    raise_counter(session, number)
    return number


def _take_changes(
    session: Session, known: SubmissionRow, stored: Stored, digest: str, shard: str, by: str, now_us: int
) -> bool:
    """Take over the later verdict of a record that is there."""
    if known.digest != digest:
        raise StoreError(
            f"Another annotation is stored here under the id of record {stored.receipt.receipt_id}; remove one of them."
        )
    if stored.revision <= known.revision:
        return False

    def alter(row: SubmissionRow, person: PersonRow) -> bool:
        person.done += int(row.removed) - int(stored.removed)
        row.verdict, row.reason, row.removed = stored.verdict, stored.reason, stored.removed
        row.revision = stored.revision - 1  # `change` adds one
        return True

    row = change(session, stored.annotation.submission_id, alter)
    if row is not None and shard:
        row.synced, row.shard = True, shard
    write_audit(session, now_us, by, "verdict imported", stored.annotation.submission_id, verdict=stored.verdict)
    return True


def list_skips(session: Session, after: int, limit: int) -> list[Skip]:
    """Skipped tasks by number."""
    query = select(SkipRow, ImageRow.sha256, PersonRow.pseudonym)
    query = query.join(ImageRow, ImageRow.id == SkipRow.image_id).join(PersonRow, PersonRow.id == SkipRow.person_id)
    rows = session.execute(query.where(SkipRow.number > after).order_by(SkipRow.number).limit(limit))
    return [Skip(row.number, sha256, who, row.reason, from_us(row.at_us)) for row, sha256, who in rows]


def list_audit(session: Session, after: int, limit: int) -> list[AuditEntry]:
    """The audit log by number."""
    query = select(AuditRow).where(AuditRow.number > after).order_by(AuditRow.number).limit(limit)
    return [
        AuditEntry(row.number, from_us(row.at_us), row.who, row.action, row.subject, json.loads(row.details))
        for row in session.scalars(query)
    ]


def count_all(session: Session) -> Counts:
    """How much there is of everything."""

    def number(*where: ColumnElement[bool]) -> int:
        return session.scalar(select(func.count()).where(*where)) or 0

    kept = select(SubmissionRow.verdict, SubmissionRow.removed, func.count())
    groups = session.execute(kept.group_by(SubmissionRow.verdict, SubmissionRow.removed)).all()
    verdicts = {verdict: count for verdict, removed, count in groups if not removed}
    return Counts(
        images=session.scalar(select(func.count()).select_from(ImageRow)) or 0,
        open_images=number(ImageRow.band > GOLD_BAND),
        gold_images=number(ImageRow.gold.is_not(None)),
        people=session.scalar(select(func.count()).select_from(PersonRow)) or 0,
        annotations=sum(verdicts.values()),
        pending=verdicts.get("pending", 0),
        accepted=verdicts.get("accepted", 0),
        rejected=verdicts.get("rejected", 0),
        removed=sum(count for _verdict, removed, count in groups if removed),
        skips=session.scalar(select(func.count()).select_from(SkipRow)) or 0,
        backlog=count_unsynced(session),
    )
