"""Submissions: stored once, with a receipt, read back; and how far those on one image agree.

Agreement is the mean sequence score of each two of the latest paths, one per annotator.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, select, text, update

from annotate.store.base import NO_PERSON, Store
from annotate.store.database import reads
from annotate.store.model import VERDICTS, Kind, Receipt, Stored, StoreError, Verdict, checked_text
from annotate.store.queue import NO_IMAGE, QueueEntry, lock_image, save_entry
from annotate.store.tables import COUNTERS, IMAGES, LEASES, PEOPLE, STORED, SUBMISSIONS
from gazevlm_core.annotation import Annotation, canonical_json, joined_json, text_digest, to_values
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.sequence import mean_pair_score
from gazevlm_core.scanpath import Scanpath

GRID = PatchGrid(8, 8)
LATEST = 12  # paths compared, so that a submission costs the same however many there are
LONGEST = 64  # fixations compared
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
RECEIPT_LENGTH = 10
MOST_RECORD_BYTES = 8 * 2**20  # an hour of pointer samples
MOST_ROWS = 10_000
SERVER_PARTS = (  # so a second sending may differ in them
    "started_at", "submitted_at", "image_id", "question", "findings_asked",
)  # fmt: skip
CONTENT_VERSION = 2  # of what a page sends beside these, whatever version its record has

# The statements of a submission, made once: it is what many wait for at a time.
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
ADD = SUBMISSIONS.insert()
LATEST_PATHS = (
    select(SUBMISSIONS.c.patches)
    .where(SUBMISSIONS.c.image_id == bindparam("image_id"), SUBMISSIONS.c.counted)
    .order_by(SUBMISSIONS.c.number.desc())
    .limit(LATEST)
)


class Submissions(Store):
    """Submissions of a store."""

    def submit(self, annotation: Annotation, lease_id: str | None = None, project: str = "") -> Receipt:
        """Store an annotation; it is durable when this returns.

        Args:
            annotation: its annotator is a pseudonym of this store; `submitted_at` is set here, never before
                `started_at`. The same submission id with the same content stores once; times, the image's name
                and the question are the server's, and no part of that content.
            lease_id: of the task; a task that expired meanwhile still counts.
            project: in which it was made; "" for the one that the image is in now.
        """
        stored_at = max(self.clock(), annotation.started_at)
        annotation = replace(annotation, submitted_at=stored_at)
        record = record_of(annotation)
        rest = annotation, record, lease_id, project
        return self.database.write_together(lambda connection: submit(connection, *rest))

    @reads
    def stored(
        self,
        connection: Connection,
        *,
        after: int = 0,
        limit: int = 1000,
        sha256: str | None = None,
        annotator: str | None = None,
        verdicts: Collection[Verdict] | None = None,
        include_removed: bool = False,
    ) -> list[Stored]:
        """Return submissions by number, from the one behind `after`, at most 10,000; who reads on misses none."""
        where: list[ColumnElement[bool]] = [SUBMISSIONS.c.number > after]
        if sha256 is not None:
            image_id = connection.scalar(select(IMAGES.c.id).where(IMAGES.c.sha256 == sha256))
            if image_id is None:
                raise StoreError(NO_IMAGE)
            where.append(SUBMISSIONS.c.image_id == image_id)
        if annotator is not None:
            person = select(PEOPLE.c.id).where(PEOPLE.c.pseudonym == annotator).scalar_subquery()
            where.append(SUBMISSIONS.c.person_id == person)
        if verdicts is not None:
            check_verdicts(verdicts)
            where.append(SUBMISSIONS.c.verdict.in_(verdicts))
        if not include_removed:
            where.append(~SUBMISSIONS.c.removed)
        return list_stored(connection, *where, limit=min(limit, MOST_ROWS))

    @reads
    def find(self, connection: Connection, submission_id: str) -> Stored | None:
        """Return a submission by the client's id, removed or not."""
        return next(iter(list_stored(connection, SUBMISSIONS.c.submission_id == submission_id)), None)

    @reads
    def find_receipt(self, connection: Connection, receipt_id: str) -> Stored | None:
        """Return a submission by its receipt, as somebody typed it, removed or not."""
        return next(iter(list_stored(connection, SUBMISSIONS.c.receipt_id == receipt_key(receipt_id))), None)


def list_stored(connection: Connection, *where: ColumnElement[bool], limit: int = 1) -> list[Stored]:
    """Return submissions by number."""
    query = select(*STORED).where(*where).order_by(SUBMISSIONS.c.number).limit(limit)
    return [Stored(*row) for row in connection.execute(query)]


# ---- agreement -------------------------------------------------------------------------------------------------------
def patches_of(path: Scanpath) -> bytes:
    """Return patch under each of the first fixations, one byte each."""
    return bytes(GRID.index_of(fixation) for fixation in path.fixations[:LONGEST])


def mean_agreement(paths: Sequence[bytes]) -> float | None:
    """Return mean sequence score of each two paths, in [0, 1]; None for fewer than two.

    Args:
        paths: as from `patches_of`.
    """
    return mean_pair_score(paths) if len(paths) > 1 else None


def image_agreement(connection: Connection, image_id: int) -> float | None:
    """Return agreement of an image's latest counted paths, one per annotator."""
    return mean_agreement(connection.scalars(LATEST_PATHS, {"image_id": image_id}).all())


# ---- receipts and records --------------------------------------------------------------------------------------------
def receipt_id_of(digest: str) -> str:
    """Return the first 50 bits of a digest of 64 hex digits, in Crockford's base 32."""
    bits = int(digest, 16) >> (256 - 5 * RECEIPT_LENGTH)
    return "".join(CROCKFORD[bits >> 5 * place & 31] for place in reversed(range(RECEIPT_LENGTH)))


def receipt_key(text: str) -> str:
    """Return a receipt id as somebody typed it: any case, with hyphens or blanks, O for 0, I or L for 1."""
    plain = "".join(sign for sign in text.upper() if sign.isalnum())
    return plain.translate(str.maketrans("OIL", "011"))


@dataclass(frozen=True)
class Record:
    """The columns of a submission that follow from its annotation.

    Args:
        submission_id: of the client.
        annotation: its canonical JSON, with both times of the server.
        digest, receipt_id: of that.
        content: digest of what the client sent.
        patches: the path on the grid of the agreement.
    """

    submission_id: str
    annotation: str
    digest: str
    receipt_id: str
    content: str
    patches: bytes


def record_of(annotation: Annotation) -> Record:
    """Return the public record of an annotation; made before the transaction, to keep that short.

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
    patches = patches_of(annotation.scanpath)
    return Record(annotation.submission_id, record, digest, receipt_id_of(digest), content, patches)


# ---- storing ---------------------------------------------------------------------------------------------------------
def submit(
    connection: Connection, annotation: Annotation, record: Record, lease_id: str | None, project: str
) -> Receipt:
    """Store a record, or find it, see `Submissions.submit`.

    Where one submission comes twice at the same time, the unique index stops the second transaction, and that finds
    the first one's row when it is run again.
    """
    known = connection.execute(KNOWN, {"submission_id": record.submission_id}).first()
    if known is not None:
        if known.content != record.content:
            raise StoreError("Another annotation is stored under this submission's id; reload the page, then submit.")
        return Receipt(known.receipt_id, known.digest, record.submission_id, known.number)
    person_id = connection.scalar(COUNT_PERSON, {"of": annotation.annotator})
    if person_id is None:
        raise StoreError(NO_PERSON)
    image = lock_image(connection, annotation.image_sha256)
    if (image.width_px, image.height_px) != (annotation.image_width_px, annotation.image_height_px):
        raise StoreError("The annotation is of an image of another size; reload the page, then annotate again.")
    kind = _finish(connection, lease_id, person_id, image)
    number = insert(connection, record, person_id, image, kind, project=project or image.project)
    return Receipt(record.receipt_id, record.digest, record.submission_id, number)


def _finish(connection: Connection, lease_id: str | None, person_id: int, image: QueueEntry) -> Kind:
    """End the task that a submission belongs to; return how the annotator came to the image.

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
    connection: Connection, record: Record, person_id: int, image: QueueEntry, kind: Kind, *, number: int | None = None,
    shard: str | None = None, **columns: Any,
) -> int:  # fmt: skip
    """Add a submission, count it for its image, and put that where it belongs now.

    Args:
        connection: in a transaction that holds the person and the image.
        record: what is submitted.
        person_id: of the annotator, for whom it is counted by the caller.
        image: as it is locked.
        kind: how the annotator came to the image.
        number: kept from an export; None for the next one.
        shard: where it is published already.
        columns: verdict and whatever else an export says of it, as in `Stored`.

    Returns:
        The number.
    """
    pair = {"person_id": person_id, "image_id": image.id}
    row = {"verdict": "pending", "reason": "", "removed": False, "revision": 0, **columns}
    connection.execute(ADD_SEEN, pair)
    counted = may_count(kind, row["verdict"], row["removed"]) and connection.scalar(COUNTED, pair) is None
    next_one, position = connection.execute(NEXT_NUMBERS, {"submissions": int(number is None)}).one()
    number = next_one if number is None else number
    row |= {
        **pair, **vars(record), "number": number, "kind": kind, "counted": counted, "synced": shard is not None,
        "shard": shard,
    }  # fmt: skip
    connection.execute(ADD, row)
    if counted:
        image.done += 1
        image.agreement = image_agreement(connection, image.id)
    if counted or kind == "usual":  # no other task holds a place
        save_entry(connection, image, position)
    return number


def may_count(kind: str, verdict: str, removed: bool) -> bool:
    """Return whether a submission may stand for its annotator in the quota and the agreement of its image."""
    return kind != "repeat" and verdict != "rejected" and not removed


def check_verdicts(verdicts: Iterable[str]) -> None:
    """Refuse what is no verdict.

    Raises:
        StoreError: an unknown word.
    """
    unknown = sorted(set(verdicts) - set(VERDICTS))
    if unknown:
        raise StoreError(f"There is no verdict {unknown[0][:40]!r}; use {', '.join(VERDICTS)}.")


def checked_record(stored: Stored) -> Record:
    """Return the record of an export, if its receipt is that of its content.

    Raises:
        StoreError: it is not.
    """
    record = record_of(stored.annotation)
    if (record.digest, record.receipt_id) != (stored.digest, stored.receipt_id):
        raise StoreError(f"Record {stored.receipt_id} was changed since its receipt was given; restore the original.")
    return record
