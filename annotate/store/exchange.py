"""What is not yet published, and the import of what an export or the published data set brings back.

What comes back is stored as it was. Images, people, skips and entries of the audit log leave no entry in that log,
since it comes back itself; what is there already stays as it is. Projects come back by that log, and so does what is
known of people: what they agreed to, their experience, a block.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select, update

from annotate.store import people, projects
from annotate.store.base import (
    Store,
    add_to_person,
    find_or_add_person,
    insert_audit,
    next_number,
    raise_counter,
)
from annotate.store.database import reads, writes
from annotate.store.images import ADDED, check_image, encode_picture, insert_image, shown_name, update_image
from annotate.store.model import KINDS, AuditEntry, Person, Skip, Stored, StoredImage, StoreError, Value
from annotate.store.projects import ensure_project
from annotate.store.queue import lock_image
from annotate.store.reviews import change, lock_submission
from annotate.store.submissions import ADD_SEEN, Record, check_verdicts, checked_record, insert, list_stored
from annotate.store.tables import AUDIT, ENTRY, IMAGES, PEOPLE, SEEN, SKIPS, SUBMISSIONS, values_of
from annotate.store.tasks import insert_skip
from gazevlm_core.images import ImageError, open_image

COMPUTED = {"number", "kind", "annotation", "digest", "receipt_id", "synced"}  # not said of a submission, but its own


class Exchange(Store):
    """Publishing and import of a store."""

    @reads
    def unsynced(self, connection: Connection, limit: int = 1000) -> list[Stored]:
        """Return submissions that are not published as they are now: new ones, and those whose verdict changed since.

        One that was removed after it was published comes again, with `removed` set; one removed before never comes.
        """
        return list_stored(connection, *_unsynced(), limit=limit)

    @writes
    def mark_synced(self, connection: Connection, published: Sequence[Stored], shard: str) -> None:
        """Note that submissions are published in a shard.

        Args:
            connection: given by the store.
            published: what `unsynced` gave; what changed since then stays unsynced.
            shard: name of the file.
        """
        for one in published:
            statement = update(SUBMISSIONS).where(SUBMISSIONS.c.number == one.number)
            connection.execute(statement.values(shard=shard))
            connection.execute(statement.where(SUBMISSIONS.c.revision == one.revision).values(synced=True))

    @reads
    def published(self, connection: Connection, numbers: Collection[int]) -> set[int]:
        """Return which of these submissions lie in a shard, as they are now or as they were."""
        number = SUBMISSIONS.c.number
        return set(connection.scalars(select(number).where(number.in_(numbers), SUBMISSIONS.c.shard.is_not(None))))

    @reads
    def has_image(self, connection: Connection, sha256: str) -> bool:
        """Return whether the store has an image."""
        return connection.scalar(select(IMAGES.c.id).where(IMAGES.c.sha256 == sha256)) is not None

    def ingest(
        self, values: Sequence[tuple[Value, bytes]], *, shard: str = "", by: str = "import", merge: bool = False
    ) -> list[bool]:
        """Import values in their order as they are, all of them or none, in one transaction.

        A submission keeps its number (where it is free), receipt, verdict, reason and kind.

        Args:
            values: each with the file of its picture, b"" where it is no image.
            shard: published file that submissions come from: they count as synced; "" for an export that is not
                published.
            by: who imports.
            merge: whether a skip or an entry of the audit log whose number is taken here gets the next one, and images
                with which nobody has done anything yet become what is said of them. The published copy of this very
                store never needs it.

        Returns:
            For each, False where the store has it already.

        Raises:
            StoreError: the content of one does not fit its receipt, its image is not there, the picture of an image is
                another one, or the store has something else in its place.
        """
        prepared = [_prepared(value, file) for value, file in values]  # before the transaction, which others wait for
        now_us = self.now_us()

        def put(connection: Connection, value: Value, ready: bytes | Record | None) -> bool:
            if isinstance(value, Stored) and isinstance(ready, Record):
                return _put_submission(connection, value, ready, shard, by, now_us)
            if isinstance(value, StoredImage) and isinstance(ready, bytes):
                return _put_image(connection, value, ready, merge)
            if isinstance(value, Skip):
                return _put_skip(connection, value, merge)
            if isinstance(value, AuditEntry):
                return _put_audit(connection, value, merge)
            assert isinstance(value, Person)
            return _put_person(connection, value)

        return self.database.write(
            lambda connection: [
                put(connection, value, ready) for (value, _), ready in zip(values, prepared, strict=True)
            ]
        )


def _unsynced() -> tuple[ColumnElement[bool], ...]:
    """Select what is to be published: new and changed submissions, but none that was removed before anybody saw it."""
    return ~SUBMISSIONS.c.synced, ~SUBMISSIONS.c.removed | SUBMISSIONS.c.shard.is_not(None)


def count_unsynced(connection: Connection) -> int:
    """Return how many submissions are to be published."""
    return connection.scalar(select(func.count()).select_from(SUBMISSIONS).where(*_unsynced())) or 0


def _prepared(value: Value, file: bytes) -> bytes | Record | None:
    """Compute what is stored with a value: an image's picture, a submission's record."""
    if isinstance(value, StoredImage):
        return checked_picture(value, file)
    return checked_record(value) if isinstance(value, Stored) else None


def checked_picture(image: StoredImage, file: bytes) -> bytes:
    """Return the picture of an image, as PNG.

    Raises:
        StoreError: it is no picture, or another one, or what is said about it cannot be.
    """
    check_image(image)
    try:
        with open_image(file, name="image.png") as loaded:
            sha256, png = encode_picture(loaded.image)
            size = loaded.image.size
    except ImageError as error:
        raise StoreError(str(error)) from None
    if (sha256, *size) != (image.sha256, image.width_px, image.height_px):
        raise StoreError(f"The picture of image {image.sha256[:12]} is another one; restore the original.")
    return png


def _put_submission(
    connection: Connection, stored: Stored, record: Record, shard: str, by: str, now_us: int
) -> bool:
    check_verdicts([stored.verdict])
    if stored.kind not in KINDS:
        raise StoreError(f"There is no kind {str(stored.kind)[:40]!r} of annotation; use {', '.join(KINDS)}.")
    person_id = find_or_add_person(connection, stored.annotation.annotator)
    known = select(SUBMISSIONS.c.number).where(SUBMISSIONS.c.submission_id == stored.submission_id)
    if connection.scalar(known) is not None:
        return _put_changes(connection, stored, shard, by, now_us)
    add_to_person(connection, person_id, done=int(not stored.removed))
    number = stored.number
    taken = select(SUBMISSIONS.c.number).where(SUBMISSIONS.c.number == number)
    is_free = number >= 1 and connection.scalar(taken) is None
    image = lock_image(connection, stored.image_sha256)
    if is_free:
        raise_counter(connection, "submission", number)
    columns = {name: value for name, value in values_of(SUBMISSIONS, stored).items() if name not in COMPUTED}
    insert(
        connection, record, person_id, image, stored.kind, number=number if is_free else None, shard=shard or None,
        **columns,
    )  # fmt: skip
    return True


def _put_changes(connection: Connection, stored: Stored, shard: str, by: str, now_us: int) -> bool:
    """Take over the later verdict of a record that is there."""
    row, image = lock_submission(connection, stored.submission_id)
    if row.digest != stored.digest:
        record = stored.receipt_id
        raise StoreError(f"Another annotation is stored here under the id of record {record}; remove one of them.")
    if stored.revision <= row.revision:
        return False
    published: dict[str, Any] = {"synced": True, "shard": shard} if shard else {}
    state = {name: getattr(stored, name) for name in ("verdict", "reason", "removed", "revision")}
    change(connection, row, image, {**state, **published}, now_us, by, "verdict imported", verdict=stored.verdict)
    return True


def _put_image(connection: Connection, image: StoredImage, png: bytes, merge: bool) -> bool:
    image = replace(image, name=shown_name(image.name))
    query = select(IMAGES.c.id, IMAGES.c.leased).where(IMAGES.c.sha256 == image.sha256).with_for_update()
    known = connection.execute(query).first()
    ensure_project(connection, image.project)
    if known is None:
        insert_image(connection, image, png)
        return True
    if merge and not known.leased and _is_untouched(connection, known.id, image.sha256):
        update_image(connection, image, offered=image.open)
    return False


def _is_untouched(connection: Connection, image_id: int, sha256: str) -> bool:
    """Return whether nobody has annotated, skipped or been given an image, and nobody decided anything about it."""
    seen = select(SEEN.c.image_id).where(SEEN.c.image_id == image_id)
    skipped = select(SKIPS.c.number).where(SKIPS.c.image_id == image_id)
    decided = select(AUDIT.c.number).where(AUDIT.c.subject == sha256, AUDIT.c.action != ADDED)
    return not any(connection.scalar(one.limit(1)) is not None for one in (seen, skipped, decided))


def _put_person(connection: Connection, person: Person) -> bool:
    """Return whether anything of somebody is new: the pseudonym, or what the store does not know of them yet."""
    of_person = PEOPLE.c.pseudonym == person.pseudonym
    is_new = connection.scalar(select(PEOPLE.c.id).where(of_person)) is None
    key = find_or_add_person(connection, person.pseudonym)
    values = {"experience": person.experience, "agreed": person.agreed, "blocked": person.blocked}
    unknown = of_person & (PEOPLE.c.experience == "") & (PEOPLE.c.agreed == "") & ~PEOPLE.c.blocked
    if any(values.values()):
        is_new |= connection.execute(update(PEOPLE).where(unknown).values(values)).rowcount > 0
    if person.name is None or connection.scalar(select(PEOPLE.c.name).where(PEOPLE.c.id == key)) is not None:
        return is_new
    if connection.scalar(select(PEOPLE.c.id).where(PEOPLE.c.name == person.name)) is not None:
        raise StoreError(f"Somebody else here has the name of {person.pseudonym}; import without names.")
    connection.execute(update(PEOPLE).where(of_person).values(name=person.name))
    return True


def _put_skip(connection: Connection, skip: Skip, merge: bool) -> bool:
    """Return a skip; its annotator is not given that image again."""
    person_id = find_or_add_person(connection, skip.annotator)
    image_id = lock_image(connection, skip.image_sha256).id
    same = (SKIPS.c.person_id == person_id) & (SKIPS.c.image_id == image_id) & (SKIPS.c.at == skip.at)
    if not merge:
        same &= SKIPS.c.number == skip.number
    if connection.scalar(select(SKIPS.c.number).where(same).limit(1)) is not None:
        return False  # where it is merged it may have come before, and got another number
    number = _number_for(connection, "skip", skip.number, merge)
    pair = {"person_id": person_id, "image_id": image_id}
    connection.execute(ADD_SEEN, pair)
    add_to_person(connection, person_id, skipped=1)
    insert_skip(connection, replace(skip, number=number), person_id, image_id)
    return True


def _put_audit(connection: Connection, entry: AuditEntry, merge: bool) -> bool:
    same = AUDIT.c.at == entry.at if merge else AUDIT.c.number == entry.number
    for row in connection.execute(select(*ENTRY).where(same)):
        if replace(AuditEntry(*row), number=entry.number) == entry:
            return False
    insert_audit(connection, replace(entry, number=_number_for(connection, "audit", entry.number, merge)))
    people.follow_log(connection, entry)
    projects.follow_log(connection, entry)
    return True


def _number_for(connection: Connection, counter: str, number: int, merge: bool) -> int:
    """Return the number of what comes back; where it is taken here and things are merged, the next one."""
    table = SKIPS if counter == "skip" else AUDIT
    if connection.scalar(select(table.c.number).where(table.c.number == number)) is None:
        raise_counter(connection, counter, number)
        return number
    if not merge:
        what = "skip" if counter == "skip" else "audit entry"
        raise StoreError(f"The store has another {what} {number}; import into an empty store.")
    return next_number(connection, counter)
