"""What an export or the published data set brings back beside submissions: images, people, skips, the audit log.

Each is taken in as it was, without an entry in the audit log, since the log itself comes back; what is there already
stays as it is. Submissions: `AnnotationStore.take_in`.
"""

import json
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from annotate.store.outbox import take_in
from annotate.store.people import known_by_pseudonym
from annotate.store.pictures import Offer, Picture, encode_picture
from annotate.store.schema import AuditRow, Counter, ImageRow, PersonRow, PixelRow, SeenRow, SkipRow, SubmissionRow
from annotate.store.store import AnnotationStore
from annotate.store.submissions import Record, check_stored
from annotate.store.types import AuditEntry, Person, Skip, Stored, StoredImage, StoreError
from annotate.store.values import ADDED, image_id_of, locked_image, next_number, path_to_text, shown_name, to_us
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
    store: AnnotationStore,
    values: Sequence[tuple[Value, bytes]],
    *,
    shard: str = "",
    by: str = "import",
    merge: bool = False,
) -> list[bool]:
    """Take in some things in their order, all of them or none, in one transaction.

    Args:
        store: that takes them.
        values: each with the file of its picture, b"" where it is no image.
        shard: published file that submissions come from; "" for none.
        by: who imports.
        merge: whether a skip or an entry of the audit log whose number is taken here gets the next one, and images with
            which nobody has done anything yet become what is said of them. The published copy of this very store never
            needs it.

    Returns:
        For each, False where the store has it already.

    Raises:
        StoreError: the store has something else in the place of one of them.
    """
    checked = [_checked(value, file) for value, file in values]  # before the transaction, which others wait for
    now_us = store.now_us()

    def put(session: Session) -> list[bool]:
        return [
            _put(session, value, prepared, shard, by, now_us, merge)
            for (value, _), prepared in zip(values, checked, strict=True)
        ]

    return store.database.write(put)


def _checked(value: Value, file: bytes) -> Picture | Record | None:
    """What is computed from a value: an image's picture, a submission's record."""
    if isinstance(value, StoredImage):
        return checked_picture(value, file)
    return check_stored(value) if isinstance(value, Stored) else None


def _put(
    session: Session, value: Value, prepared: Picture | Record | None, shard: str, by: str, now_us: int, merge: bool
) -> bool:
    if isinstance(value, StoredImage):
        assert isinstance(prepared, Picture)
        return _put_image(session, value, prepared, merge)
    if isinstance(value, Stored):
        assert isinstance(prepared, Record)
        return take_in(session, value, prepared, shard, by, now_us)
    if isinstance(value, Skip):
        return _put_skip(session, value, merge)
    return _put_audit(session, value, merge) if isinstance(value, AuditEntry) else _put_person(session, value)


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


def _put_image(session: Session, image: StoredImage, picture: Picture, merge: bool) -> bool:
    known = session.scalar(select(ImageRow).where(ImageRow.sha256 == image.sha256).with_for_update())
    if known is not None:
        if merge and _untouched(session, known):
            for name, value in _said_of(image).items():
                setattr(known, name, value)
            requeue(session, [known])
        return False
    row = ImageRow(
        sha256=image.sha256, width_px=picture.width_px, height_px=picture.height_px, **_said_of(image), done=0,
        leased=0, agreement=None, band=None, position=0,
    )  # fmt: skip
    session.add(row)
    session.flush()
    session.add(PixelRow(image_id=row.id, png=picture.png))
    requeue(session, [row])
    return True


def _said_of(image: StoredImage) -> dict[str, Any]:
    """The columns that somebody decides on."""
    return {
        "name": shown_name(image.name), "question": image.question, "offered": image.open, "open": image.open,
        "gold": path_to_text(image.gold), "gold_from": json.dumps(list(image.gold_from)), "source": image.source,
        "quota": image.quota,
    }  # fmt: skip


def _untouched(session: Session, row: ImageRow) -> bool:
    """Whether nobody has annotated, skipped or been given an image, and nobody decided anything since it was added."""
    seen = select(SeenRow.image_id).where(SeenRow.image_id == row.id)
    skipped = select(SkipRow.number).where(SkipRow.image_id == row.id)
    decided = select(AuditRow.number).where(AuditRow.subject == row.sha256, AuditRow.action != ADDED)
    return not row.leased and not any(session.scalar(one.limit(1)) is not None for one in (seen, skipped, decided))


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


def _put_skip(session: Session, skip: Skip, merge: bool) -> bool:
    """A skip; its annotator is not given that image again."""
    person = known_by_pseudonym(session, skip.annotator)
    image = locked_image(session, image_id_of(session, skip.image_sha256))
    number, what = skip.number, (person.id, image.id, to_us(skip.at))
    known = session.get(SkipRow, number)
    if known is not None and (known.person_id, known.image_id, known.at_us) == what:
        return False
    if merge:  # it may have come before, and got another number
        same = SkipRow.person_id == what[0], SkipRow.image_id == what[1], SkipRow.at_us == what[2]
        if session.scalar(select(SkipRow.number).where(*same).limit(1)) is not None:
            return False
    if known is not None:
        if not merge:
            raise StoreError(f"The store has another skip {number}; import into an empty store.")
        number = next_number(session, "skip")
    if session.get(SeenRow, (person.id, image.id)) is None:
        session.add(SeenRow(person_id=person.id, image_id=image.id))
    person.skipped += 1
    session.add(
        SkipRow(number=number, image_id=image.id, person_id=person.id, reason=skip.reason, at_us=to_us(skip.at))
    )
    _raise_counter(session, "skip", number)
    return True


def _put_audit(session: Session, entry: AuditEntry, merge: bool) -> bool:
    number, at_us = entry.number, to_us(entry.at)

    def is_it(row: AuditRow | None) -> bool:
        what = (at_us, entry.who, entry.action, entry.subject, entry.details)
        return row is not None and (row.at_us, row.who, row.action, row.subject, json.loads(row.details)) == what

    known = session.get(AuditRow, number)
    if is_it(known):
        return False
    if merge:  # it may have come before, and got another number
        same = select(AuditRow).where(AuditRow.at_us == at_us)
        if any(map(is_it, session.scalars(same))):
            return False
    if known is not None:
        if not merge:
            raise StoreError(f"The store has another audit entry {number}; import into an empty store.")
        number = next_number(session, "audit")
    session.add(
        AuditRow(
            number=number, at_us=at_us, who=entry.who, action=entry.action, subject=entry.subject,
            details=json.dumps(entry.details),
        )
    )  # fmt: skip
    _raise_counter(session, "audit", number)
    return True


def _raise_counter(session: Session, name: str, at_least: int) -> None:
    """Give out no number of this kind up to `at_least` from now on."""
    session.flush()
    column = Counter.skip if name == "skip" else Counter.audit
    session.execute(update(Counter).where(column < at_least).values({name: at_least}))
