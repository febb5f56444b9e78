"""Submissions: stored once, with a receipt, and read back."""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select, text, update
from sqlalchemy import insert as insert_into
from sqlalchemy.orm import Session

from annotate.store.agreement import SUBMISSIONS, image_agreement, patches_of
from annotate.store.schema import LeaseRow, PersonRow, SubmissionRow, table_of
from annotate.store.types import VERDICTS, Kind, Receipt, Stored, StoreError, Verdict
from annotate.store.values import COUNTERS, checked_text, image_id_of
from annotate.store.wanted import Standing, locked_standing, put_standing
from gazevlm_core.annotation import Annotation, canonical_json, from_values, joined_json, text_digest, to_values

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
RECEIPT_LENGTH = 10
MOST_RECORD_BYTES = 8 * 2**20  # an hour of pointer samples
MOST_ROWS = 10_000
SERVER_PARTS = (  # so a second sending may differ in them
    "started_at", "submitted_at", "image_id", "question", "findings_asked",
)  # fmt: skip
CONTENT_VERSION = 2  # of what a page sends beside these, whatever version its record has

# What a submission does, without the session, and made once: it is what many wait for at a time.
PEOPLE, LEASES = table_of(PersonRow), table_of(LeaseRow)
KNOWN = select(*SUBMISSIONS.c["number", "content", "digest", "receipt_id"]).where(
    SUBMISSIONS.c.submission_id == bindparam("submission_id")
)
COUNT_PERSON = (
    update(PEOPLE).where(PEOPLE.c.pseudonym == bindparam("of")).values(done=PEOPLE.c.done + 1).returning(PEOPLE.c.id)
)
LEASE = select(LEASES).where(LEASES.c.id == bindparam("lease_id"))
END_LEASE = update(LEASES).where(LEASES.c.id == bindparam("lease_id")).values(state="submitted", holds=False)
ADD_SEEN = text("INSERT INTO seen (person_id, image_id) VALUES (:person_id, :image_id) ON CONFLICT DO NOTHING")
COUNTED = (
    select(SUBMISSIONS.c.number)
    .where(SUBMISSIONS.c.person_id == bindparam("person_id"), SUBMISSIONS.c.image_id == bindparam("image_id"))
    .where(SUBMISSIONS.c.counted)
    .limit(1)
)
NEXT_NUMBERS = (
    update(COUNTERS)
    .where(COUNTERS.c.id == 1)
    .values(submission=COUNTERS.c.submission + bindparam("submissions"), position=COUNTERS.c.position + 1)
    .returning(COUNTERS.c.submission, COUNTERS.c.position)
)
ADD = insert_into(SUBMISSIONS)


def receipt_id_of(digest: str) -> str:
    """The first 50 bits of a digest of 64 hex digits, in Crockford's base 32."""
    bits = int(digest, 16) >> (256 - 5 * RECEIPT_LENGTH)
    return "".join(CROCKFORD[bits >> 5 * place & 31] for place in reversed(range(RECEIPT_LENGTH)))


def receipt_key(text: str) -> str:
    """A receipt id as somebody typed it: any case, with hyphens or blanks, O for 0, I or L for 1."""
    plain = "".join(sign for sign in text.upper() if sign.isalnum())
    return plain.translate(str.maketrans("OIL", "011"))


@dataclass(frozen=True)
class Record:
    """A submission, ready to be stored.

    Args:
        annotation: with both times of the server.
        text: its canonical JSON.
        digest: `record_digest` of it.
        content: digest of what the client sent.
        patches: the path on the grid of the agreement.
    """

    annotation: Annotation
    text: str
    digest: str
    content: str
    patches: bytes


def record_of(annotation: Annotation) -> Record:
    """The public record of an annotation; made before the transaction, to keep that short.

    Raises:
        StoreError: it is too large, or its text is no text.
    """
    checked_text("The submission's id", annotation.submission_id, 200)
    parts = {name: canonical_json(value) for name, value in to_values(annotation).items()}
    sent = {name: parts[name] for name in parts if name not in SERVER_PARTS}
    sent["schema_version"] = canonical_json(CONTENT_VERSION)
    record = joined_json(parts)
    try:
        digest, content = text_digest(record), text_digest(joined_json(sent))
    except UnicodeEncodeError:
        raise StoreError("The annotation holds characters that are no text; remove them and submit again.") from None
    if len(record) > MOST_RECORD_BYTES:
        raise StoreError(f"The annotation is larger than {MOST_RECORD_BYTES >> 20} MiB; submit a shorter one.")
    return Record(annotation, record, digest, content, patches_of(annotation.scanpath))


def submit(connection: Connection, record: Record, lease_id: str | None) -> Receipt:
    """See `AnnotationStore.submit`.

    Where one submission comes twice at the same time, the unique index stops the second transaction, and that finds
    the first one's row when it is run again.
    """
    annotation = record.annotation
    known = connection.execute(KNOWN, {"submission_id": annotation.submission_id}).first()
    if known is not None:
        if known.content != record.content:
            raise StoreError("Another annotation is stored under this submission's id; reload the page, then submit.")
        return Receipt(known.receipt_id, known.digest, annotation.submission_id, known.number)
    person_id = connection.scalar(COUNT_PERSON, {"of": annotation.annotator})
    if person_id is None:
        raise StoreError("The store does not know this annotator; sign in again.")
    image = locked_standing(connection, annotation.image_sha256)
    if (image.width_px, image.height_px) != (annotation.image_width_px, annotation.image_height_px):
        raise StoreError("The annotation is of an image of another size; reload the page, then annotate again.")
    kind = _finish(connection, lease_id, person_id, image)
    number = insert(connection, record, person_id, image, kind)
    return Receipt(receipt_id_of(record.digest), record.digest, annotation.submission_id, number)


def _finish(connection: Connection, lease_id: str | None, person_id: int, image: Standing) -> Kind:
    """End the task that a submission belongs to; how the annotator came to the image.

    Late or unknown tasks never cost an annotation: one that no task explains is the annotator's own.
    """
    lease = None if lease_id is None else connection.execute(LEASE, {"lease_id": lease_id}).first()
    if lease is None:
        return "own"
    if (lease.person_id, lease.image_id) != (person_id, image.id):
        raise StoreError("The task belongs to somebody else or to another image; reload the page, then submit.")
    if lease.state not in ("open", "lapsed"):
        return "own"
    image.leased -= lease.holds
    connection.execute(END_LEASE, {"lease_id": lease_id})
    kind: Kind = lease.kind
    return kind


def insert(
    connection: Connection, record: Record, person_id: int, image: Standing, kind: Kind, *,
    verdict: Verdict = "pending", reason: str = "", removed: bool = False, revision: int = 0, shard: str | None = None,
    number: int | None = None,
) -> int:  # fmt: skip
    """Add a submission, count it for its image, and put that where it belongs now.

    Args:
        connection: in a transaction that holds the person and the image.
        record: what is submitted.
        person_id: of the annotator, for whom it is counted by the caller.
        image: as it is locked.
        kind, verdict, reason, removed, revision: as in `Stored`.
        shard: where it is published already.
        number: kept from an export; None for the next one.

    Returns:
        The number.
    """
    pair = {"person_id": person_id, "image_id": image.id}
    connection.execute(ADD_SEEN, pair)
    counted = may_count(kind, verdict, removed) and connection.scalar(COUNTED, pair) is None
    next_one, position = connection.execute(NEXT_NUMBERS, {"submissions": int(number is None)}).one()
    number = next_one if number is None else number
    connection.execute(
        ADD,
        {
            **pair, "number": number, "submission_id": record.annotation.submission_id, "kind": kind,
            "record": record.text, "digest": record.digest, "receipt_id": receipt_id_of(record.digest),
            "content": record.content, "patches": record.patches, "counted": counted, "verdict": verdict,
            "reason": reason, "removed": removed, "revision": revision, "synced": shard is not None, "shard": shard,
        },
    )  # fmt: skip
    if counted:
        image.done += 1
        image.agreement = image_agreement(connection, image.id)
    if counted or kind == "usual":  # no other task holds a place
        put_standing(connection, image, position)
    return number


def may_count(kind: str, verdict: str, removed: bool) -> bool:
    """Whether a submission may stand for its annotator in the quota and the agreement of its image."""
    return kind != "repeat" and verdict != "rejected" and not removed


def receipt_of(row: SubmissionRow) -> Receipt:
    """The receipt of a submission, always the same."""
    return Receipt(row.receipt_id, row.digest, row.submission_id, row.number)


def find_row(session: Session, submission_id: str) -> SubmissionRow | None:
    """A submission by the client's id."""
    return session.scalar(select(SubmissionRow).where(SubmissionRow.submission_id == submission_id))


def stored_of(row: SubmissionRow) -> Stored:
    """A row as a value."""
    annotation = from_values(json.loads(row.record))
    return Stored(
        number=row.number, annotation=annotation, kind=row.kind, verdict=row.verdict,  # type: ignore[arg-type]
        reason=row.reason, receipt=receipt_of(row), image_sha256=annotation.image_sha256, synced=row.synced,
        removed=row.removed, revision=row.revision,
    )  # fmt: skip


def find_receipt(session: Session, receipt_id: str) -> Stored | None:
    """A submission by its receipt, as somebody typed it."""
    query = select(SubmissionRow).where(SubmissionRow.receipt_id == receipt_key(receipt_id))
    row = session.scalar(query.order_by(SubmissionRow.number).limit(1))
    return None if row is None else stored_of(row)


def list_stored(
    session: Session, after: int, limit: int, sha256: str | None, annotator: str | None,
    verdicts: Collection[Verdict] | None, include_removed: bool,
) -> list[Stored]:  # fmt: skip
    """See `AnnotationStore.stored`."""
    query = select(SubmissionRow).where(SubmissionRow.number > after)
    if sha256 is not None:
        query = query.where(SubmissionRow.image_id == image_id_of(session, sha256))
    if annotator is not None:
        of_annotator = select(PersonRow.id).where(PersonRow.pseudonym == annotator).scalar_subquery()
        query = query.where(SubmissionRow.person_id == of_annotator)
    if verdicts is not None:
        check_verdicts(verdicts)
        query = query.where(SubmissionRow.verdict.in_(verdicts))
    if not include_removed:
        query = query.where(~SubmissionRow.removed)
    query = query.order_by(SubmissionRow.number).limit(min(limit, MOST_ROWS))
    return [stored_of(row) for row in session.scalars(query)]


def check_verdicts(verdicts: Iterable[str]) -> None:
    """Refuse what is no verdict.

    Raises:
        StoreError: an unknown word.
    """
    unknown = sorted(set(verdicts) - set(VERDICTS))
    if unknown:
        raise StoreError(f"There is no verdict {unknown[0][:40]!r}; use {', '.join(VERDICTS)}.")


def check_stored(stored: Stored) -> Record:
    """The record of an export, if its receipt is that of its content.

    Raises:
        StoreError: it is not.
    """
    record, receipt = record_of(stored.annotation), stored.receipt
    if (record.digest, receipt_id_of(record.digest)) != (receipt.digest, receipt.receipt_id):
        raise StoreError(f"Record {receipt.receipt_id} was changed since its receipt was given; restore the original.")
    return record
