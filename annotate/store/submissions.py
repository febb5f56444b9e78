"""Submissions: stored once, with a receipt, and read back."""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotate.store.agreement import image_agreement, patches_of
from annotate.store.schema import ImageRow, LeaseRow, PersonRow, SeenRow, SubmissionRow
from annotate.store.tasks import release
from annotate.store.types import VERDICTS, Kind, Receipt, Stored, StoreError, Verdict
from annotate.store.values import (
    checked_text,
    image_id_of,
    locked_image,
    locked_person,
    next_number,
)
from annotate.store.wanted import requeue
from gazevlm_core.annotation import Annotation, canonical_json, from_values, record_digest, to_values

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
RECEIPT_LENGTH = 10
MOST_RECORD_BYTES = 8 * 2**20  # an hour of pointer samples
MOST_ROWS = 10_000
SERVER_PARTS = (  # so a second sending may differ in them
    "started_at", "submitted_at", "image_id", "question", "findings_asked",
)  # fmt: skip
CONTENT_VERSION = 2  # of what a page sends beside these, whatever version its record has


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
    values = to_values(annotation)
    try:
        record, digest = canonical_json(values), record_digest(values)
    except UnicodeEncodeError:
        raise StoreError("The annotation holds characters that are no text; remove them and submit again.") from None
    if len(record) > MOST_RECORD_BYTES:
        raise StoreError(f"The annotation is larger than {MOST_RECORD_BYTES >> 20} MiB; submit a shorter one.")
    sent = {name: values[name] for name in values if name not in SERVER_PARTS}
    content = record_digest({**sent, "schema_version": CONTENT_VERSION})
    return Record(annotation, record, digest, content, patches_of(annotation.scanpath))


def submit(session: Session, record: Record, lease_id: str | None) -> Receipt:
    """See `AnnotationStore.submit`."""
    annotation = record.annotation
    person = locked_person(session, annotation.annotator)
    known = find_row(session, annotation.submission_id)
    if known is not None:
        if known.content != record.content:
            raise StoreError("Another annotation is stored under this submission's id; reload the page, then submit.")
        return receipt_of(known)
    image = locked_image(session, image_id_of(session, annotation.image_sha256))
    if (image.width_px, image.height_px) != (annotation.image_width_px, annotation.image_height_px):
        raise StoreError("The annotation is of an image of another size; reload the page, then annotate again.")
    row = SubmissionRow(
        **columns_of(record), image_id=image.id, person_id=person.id, kind=_finish(session, lease_id, person, image),
        verdict="pending", reason="", removed=False, revision=0, synced=False,
    )  # fmt: skip
    insert(session, row, person, image)
    return receipt_of(row)


def columns_of(record: Record) -> dict[str, Any]:
    """What a record says about its row."""
    return {
        "submission_id": record.annotation.submission_id, "record": record.text, "digest": record.digest,
        "receipt_id": receipt_id_of(record.digest), "content": record.content, "patches": record.patches,
        "counted": False,
    }  # fmt: skip


def _finish(session: Session, lease_id: str | None, person: PersonRow, image: ImageRow) -> Kind:
    """End the task that a submission belongs to; how the annotator came to the image.

    Late or unknown tasks never cost an annotation: one that no task explains is the annotator's own.
    """
    lease = None if lease_id is None else session.get(LeaseRow, lease_id, populate_existing=True)
    if lease is None:
        return "own"
    if lease.person_id != person.id or lease.image_id != image.id:
        raise StoreError("The task belongs to somebody else or to another image; reload the page, then submit.")
    if lease.state not in ("open", "lapsed"):
        return "own"
    release(lease, image)
    lease.state = "submitted"
    kind: Kind = lease.kind  # type: ignore[assignment]
    return kind


def insert(session: Session, row: SubmissionRow, person: PersonRow, image: ImageRow, number: int | None = None) -> None:
    """Add a submission, count it, and put its image where it belongs now.

    Args:
        number: kept from an export; None for the next one.
    """
    if session.get(SeenRow, (person.id, image.id)) is None:
        session.add(SeenRow(person_id=person.id, image_id=image.id))
    person.done += not row.removed
    others = select(SubmissionRow.number).where(
        SubmissionRow.person_id == person.id, SubmissionRow.image_id == image.id, SubmissionRow.counted
    )
    row.counted = may_count(row) and session.scalar(others.limit(1)) is None
    image.done += row.counted
    row.number = next_number(session, "submission") if number is None else number
    session.add(row)
    if row.counted:
        image.agreement = image_agreement(session, image.id)
    requeue(session, [image])


def may_count(row: SubmissionRow) -> bool:
    """Whether a submission may stand for its annotator in the quota and the agreement of its image."""
    return row.kind != "repeat" and row.verdict != "rejected" and not row.removed


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
