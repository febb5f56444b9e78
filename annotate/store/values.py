"""Small conversions between the tables and the values that the store gives: times, paths, checked text, numbers."""

import json
import unicodedata
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from annotate.store.schema import AuditRow, Counter, ImageRow, PersonRow, table_of
from annotate.store.types import StoredImage, StoreError
from gazevlm_core.scanpath import Fixation, Scanpath

NO_IMAGE = "The store has no such image; add it first."
ADDED = "image added"  # in the audit log
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
# What runs out later than it can, by more than this, was written before the clock was set back. Less is only the time
# that a transaction waited for its turn, or two replicas' clocks that differ.
CLOCK_SLACK_US = 600_000_000
COUNTERS = table_of(Counter)


def to_us(moment: datetime) -> int:
    """Microseconds since 1970."""
    return (moment - EPOCH) // MICROSECOND


def from_us(microseconds: int) -> datetime:
    """The moment, in UTC."""
    return EPOCH + microseconds * MICROSECOND


def path_to_text(path: Scanpath | None) -> str | None:
    """A path as JSON."""
    return None if path is None else json.dumps(asdict(path))


def path_from_text(text: str | None) -> Scanpath | None:
    """The path of `path_to_text`."""
    if text is None:
        return None
    values = json.loads(text)
    return Scanpath(tuple(Fixation(**fixation) for fixation in values["fixations"]), values["source"])


def checked_text(what: str, value: str, longest: int, *, empty: bool = False) -> str:
    """The text without blanks around it.

    Raises:
        StoreError: empty where it must not be, too long, or with characters that are no text.
    """
    value = value.strip()
    if not value and not empty:
        raise StoreError(f"{what} is empty; write something.")
    if len(value) > longest:
        raise StoreError(f"{what} is longer than {longest} characters; make it shorter.")
    if any(unicodedata.category(sign) == "Cs" or sign == "\0" for sign in value):
        raise StoreError(f"{what} holds characters that are no text; write it again.")
    return value


def shown_name(name: str, longest: int = 200) -> str:
    """A file's name as it may be shown: one line, not too long."""
    plain = "".join(sign for sign in name if unicodedata.category(sign)[0] != "C").strip()
    return plain[-longest:] or "image"


def image_of(row: ImageRow, *, with_gold: bool = True) -> StoredImage:
    """A row of images as a value."""
    return StoredImage(
        sha256=row.sha256,
        name=row.name,
        width_px=row.width_px,
        height_px=row.height_px,
        question=row.question,
        open=row.open,
        gold=path_from_text(row.gold) if with_gold else None,
        source=row.source if with_gold else "",
        quota=row.quota,
        gold_from=tuple(json.loads(row.gold_from)) if with_gold else (),
    )


# ---- locks are taken in this order, so that no two transactions wait for each other: person, images, counter --------
def locked_person(session: Session, pseudonym: str) -> PersonRow:
    """The annotator's row, until the end of the transaction nobody else's.

    Raises:
        StoreError: nobody has that pseudonym.
    """
    found = session.scalar(select(PersonRow).where(PersonRow.pseudonym == pseudonym).with_for_update())
    if found is None:
        raise StoreError("The store does not know this annotator; sign in again.")
    return found


def locked_image(session: Session, image_id: int) -> ImageRow:
    """The image's row as it is now, until the end of the transaction nobody else's."""
    query = select(ImageRow).where(ImageRow.id == image_id).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).one()


def image_id_of(session: Session, sha256: str) -> int:
    """Key of an image.

    Raises:
        StoreError: there is no such image.
    """
    found = session.scalar(select(ImageRow.id).where(ImageRow.sha256 == sha256))
    if found is None:
        raise StoreError(NO_IMAGE)
    return found


def next_number(session: Session, counter: str) -> int:
    """One more than ever before; call it last, since the counter stays locked until the commit."""
    session.flush()
    column = COUNTERS.c[counter]
    raised = update(COUNTERS).where(COUNTERS.c.id == 1).values({column: column + 1})
    return int(session.execute(raised.returning(column)).scalar_one())


def raise_counter(session: Session, at_least: int) -> None:
    """Give out no submission number up to `at_least` from now on."""
    session.flush()
    raised = update(COUNTERS).where(COUNTERS.c.id == 1, COUNTERS.c.submission < at_least)
    session.execute(raised.values(submission=at_least))


def write_audit(session: Session, now_us: int, who: str, action: str, subject: str, **details: object) -> None:
    """Add an entry to the audit log."""
    number = next_number(session, "audit")
    session.add(
        AuditRow(
            number=number, at_us=now_us, who=who, action=action, subject=subject, details=json.dumps(details)
        )
    )
