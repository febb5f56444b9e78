"""What an export or the published data set brings back beside submissions: images, people, skips, the audit log.

Each is taken in as it was, without an entry in the audit log, since the log itself comes back; what is there already
stays as it is. Submissions: `AnnotationStore.take_in`.
"""

import json
from collections.abc import Collection, Sequence

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from annotate.store.outbox import take_in
from annotate.store.people import known_by_pseudonym
from annotate.store.pictures import Offer, Picture, encode_picture
from annotate.store.schema import AuditRow, Counter, ImageRow, PersonRow, PixelRow, SeenRow, SkipRow, SubmissionRow
from annotate.store.store import AnnotationStore
from annotate.store.submissions import Record, check_stored
from annotate.store.types import AuditEntry, Person, Skip, Stored, StoredImage, StoreError
from annotate.store.values import image_id_of, locked_image, path_to_text, shown_name, to_us
from annotate.store.wanted import requeue
from gazevlm_core.images import ImageError, open_image


def published(store: AnnotationStore, numbers: Collection[int]) -> set[int]:
    """Which of these submissions lie in a shard, as they are now or as they were."""
    query = select(SubmissionRow.number).where(SubmissionRow.number.in_(numbers), SubmissionRow.shard.is_not(None))
    return store.database.read(lambda session: set(session.scalars(query)))


def has_image(store: AnnotationStore, sha256: str) -> bool:
    """Whether the store has an image."""
    query = select(ImageRow.id).where(ImageRow.sha256 == sha256)
    return store.database.read(lambda session: session.scalar(query)) is not None


Value = StoredImage | Person | Stored | Skip | AuditEntry


def take_in_all(
    store: AnnotationStore, values: Sequence[tuple[Value, bytes]], *, shard: str = "", by: str = "import"
) -> list[bool]:
    """Take in some things in their order, all of them or none, in one transaction.

    Args:
        store: that takes them.
        values: each with the file of its picture, b"" where it is no image.
        shard: published file that submissions come from; "" for none.
        by: who imports.

    Returns:
        For each, False where the store has it already.

    Raises:
        StoreError: the store has something else in the place of one of them.
    """
    checked = [_checked(value, file) for value, file in values]  # before the transaction, which others wait for
    now_us = store.now_us()

    def put(session: Session) -> list[bool]:
        return [
            _put(session, value, prepared, shard, by, now_us)
            for (value, _), prepared in zip(values, checked, strict=True)
        ]

    return store.database.write(put)


def _checked(value: Value, file: bytes) -> Picture | Record | None:
    """What is computed from a value: an image's picture, a submission's record."""
    if isinstance(value, StoredImage):
        return checked_picture(value, file)
    return check_stored(value) if isinstance(value, Stored) else None


def _put(
    session: Session, value: Value, prepared: Picture | Record | None, shard: str, by: str, now_us: int
) -> bool:
    if isinstance(value, StoredImage):
        assert isinstance(prepared, Picture)
        return _put_image(session, value, prepared)
    if isinstance(value, Stored):
        assert isinstance(prepared, Record)
        return take_in(session, value, prepared, shard, by, now_us)
    if isinstance(value, Skip):
        return _put_skip(session, value)
    return _put_audit(session, value) if isinstance(value, AuditEntry) else _put_person(session, value)


def take_in_image(store: AnnotationStore, image: StoredImage, file: bytes) -> bool:
    """Take in an image as it was: its name, question, gold path and quota, and whether it is given out.

    Returns:
        False where the store has it already.

    Raises:
        StoreError: the picture is another one, or what is said about it cannot be.
    """
    return take_in_all(store, [(image, file)])[0]


def checked_picture(image: StoredImage, file: bytes) -> Picture:
    """The picture of an image, ready to be stored.

    Raises:
        StoreError: it is no picture, or another one, or what is said about it cannot be.
    """
    Offer(image.name, image.question, image.gold, image.quota, image.source, image.open)  # checks them
    try:
        with open_image(file, name="image.png") as loaded:
            picture = encode_picture(loaded.image)
    except ImageError as error:
        raise StoreError(str(error)) from None
    size = picture.width_px, picture.height_px
    if picture.sha256 != image.sha256 or size != (image.width_px, image.height_px):
        raise StoreError(f"The picture of image {image.sha256[:12]} is another one; restore the original.")
    return picture


def _put_image(session: Session, image: StoredImage, picture: Picture) -> bool:
    if session.scalar(select(ImageRow.id).where(ImageRow.sha256 == image.sha256)) is not None:
        return False
    row = ImageRow(
        sha256=image.sha256, name=shown_name(image.name), width_px=picture.width_px, height_px=picture.height_px,
        question=image.question, offered=image.open, open=image.open, gold=path_to_text(image.gold),
        source=image.source, quota=image.quota, done=0, leased=0, agreement=None, band=None, position=0,
    )  # fmt: skip
    session.add(row)
    session.flush()
    session.add(PixelRow(image_id=row.id, png=picture.png))
    requeue(session, [row])
    return True


def _put_person(session: Session, person: Person) -> bool:
    """A pseudonym, and the name where the export has one and the store has not."""
    is_new = session.scalar(select(PersonRow.id).where(PersonRow.pseudonym == person.pseudonym)) is None
    row = known_by_pseudonym(session, person.pseudonym)
    if person.name is None or row.name is not None:
        return is_new
    if session.scalar(select(PersonRow.id).where(PersonRow.name == person.name)) is not None:
        raise StoreError(f"Somebody else here has the name of {person.pseudonym}; import without names.")
    row.name = person.name
    return True


def _put_skip(session: Session, skip: Skip) -> bool:
    """A skip; its annotator is not given that image again."""
    person = known_by_pseudonym(session, skip.annotator)
    image = locked_image(session, image_id_of(session, skip.image_sha256))
    known = session.get(SkipRow, skip.number)
    if known is not None:
        if (known.person_id, known.image_id, known.at_us) != (person.id, image.id, to_us(skip.at)):
            raise StoreError(f"The store has another skip {skip.number}; import into an empty store.")
        return False
    if session.get(SeenRow, (person.id, image.id)) is None:
        session.add(SeenRow(person_id=person.id, image_id=image.id))
    person.skipped += 1
    session.add(
        SkipRow(number=skip.number, image_id=image.id, person_id=person.id, reason=skip.reason, at_us=to_us(skip.at))
    )
    _raise_counter(session, "skip", skip.number)
    return True


def _put_audit(session: Session, entry: AuditEntry) -> bool:
    known = session.get(AuditRow, entry.number)
    if known is not None:
        there = (known.at_us, known.who, known.action, known.subject, json.loads(known.details))
        if there != (to_us(entry.at), entry.who, entry.action, entry.subject, entry.details):
            raise StoreError(f"The store has another audit entry {entry.number}; import into an empty store.")
        return False
    session.add(
        AuditRow(
            number=entry.number, at_us=to_us(entry.at), who=entry.who, action=entry.action, subject=entry.subject,
            details=json.dumps(entry.details),
        )
    )  # fmt: skip
    _raise_counter(session, "audit", entry.number)
    return True


def audit_conflict(store: AnnotationStore, entry: AuditEntry) -> bool:
    """Whether the store has another entry of that number."""
    there = store.audit(after=entry.number - 1, limit=1)
    return bool(there) and there[0].number == entry.number and there[0] != entry


def skip_conflict(store: AnnotationStore, skip: Skip) -> bool:
    """Whether the store has another skip of that number."""
    there = store.skips(after=skip.number - 1, limit=1)
    return bool(there) and there[0].number == skip.number and there[0] != skip


def _raise_counter(session: Session, name: str, at_least: int) -> None:
    """Give out no number of this kind up to `at_least` from now on."""
    session.flush()
    column = Counter.skip if name == "skip" else Counter.audit
    session.execute(update(Counter).where(column < at_least).values({name: at_least}))
