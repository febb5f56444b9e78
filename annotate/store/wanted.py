"""Which images want annotators, and in which order: the queue.

An image that wants annotators stands in a band, behind those that came to the band before it:

    -1        gold images, which are given by their own share
    0 to 7    low agreement (below 0.4, a little less than two viewers of one image reach with each other), in steps of
              0.05, the lowest first
    8 to 32   the others, those with the fewest annotations first

Everybody's way through a band is remembered by a cursor: all images up to it have been seen by that person. Who comes
into a band gets a new position at its end, so no cursor can have passed it, and finding the next image is a step in an
index however many annotations there are.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields

from sqlalchemy import Connection, bindparam, func, select, update
from sqlalchemy.orm import Session

from annotate.store.schema import CursorRow, ImageRow, SeenRow, table_of
from annotate.store.types import StoreError
from annotate.store.values import NO_IMAGE, locked_image, next_number

GOLD_BAND = -1
LOW_AGREEMENT, STEP = 0.4, 0.05
LOW_BANDS = 8
MOST_BANDS = 24  # of the others
PAGE = 64
BUDGET = 512  # images of a band looked at before the next band is tried


@dataclass(slots=True)
class Standing:
    """What decides where an image stands, as in the columns of `ImageRow` of these names; for what must be quick."""

    id: int
    width_px: int
    height_px: int
    open: bool
    gold: str | None
    quota: int
    done: int
    leased: int
    agreement: float | None
    band: int | None


IMAGES = table_of(ImageRow)
LOCK_STANDING = (
    select(*(IMAGES.c[field.name] for field in fields(Standing)))
    .where(IMAGES.c.sha256 == bindparam("sha256"))
    .with_for_update()
)
PUT_STANDING = update(IMAGES).where(IMAGES.c.id == bindparam("of"))


def band_of(image: ImageRow | Standing) -> int | None:
    """Where an image stands; None where it wants nobody."""
    if not image.open:
        return None
    if image.gold is not None:
        return GOLD_BAND
    if image.done + image.leased >= image.quota:
        return None
    if image.agreement is not None and image.agreement < LOW_AGREEMENT:
        return min(int(image.agreement / STEP), LOW_BANDS - 1)
    return LOW_BANDS + min(image.done, MOST_BANDS)


def locked_standing(connection: Connection, sha256: str) -> Standing:
    """Where an image stands, until the end of the transaction nobody else's.

    Raises:
        StoreError: there is no such image.
    """
    found = connection.execute(LOCK_STANDING, {"sha256": sha256}).first()
    if found is None:
        raise StoreError(NO_IMAGE)
    return Standing(*found)


def put_standing(connection: Connection, image: Standing, position: int) -> None:
    """Write what changed of an image that `locked_standing` gave.

    Args:
        position: where it comes to the end of another band.
    """
    changed: dict[str, object] = {"done": image.done, "leased": image.leased, "agreement": image.agreement}
    band = band_of(image)
    if band != image.band:
        changed |= {"band": band, "position": position}
    connection.execute(PUT_STANDING, {"of": image.id, **changed})


def requeue(session: Session, images: Iterable[ImageRow]) -> None:
    """Put images where they belong now; after all other locks of the transaction."""
    for image in images:
        band = band_of(image)
        if band != image.band:
            image.band = band
            image.position = next_number(session, "position")


def first_unseen(session: Session, person_id: int, band: int, budget: int | None = None) -> ImageRow | None:
    """The first image of a band that the person has not been given, locked; moves the person's cursor.

    Args:
        session: in a write transaction that holds the turn of the tasks.
        person_id: who.
        band: of the queue.
        budget: how many images are looked at; None for all.
    """
    cursor = session.get(CursorRow, (person_id, band))
    if cursor is None:
        cursor = CursorRow(person_id=person_id, band=band, position=0)
        session.add(cursor)
    looked = 0
    seen = (SeenRow.person_id == person_id) & (SeenRow.image_id == ImageRow.id)
    while budget is None or looked < budget:
        query = select(ImageRow.id, ImageRow.position, SeenRow.image_id.is_not(None)).outerjoin(SeenRow, seen)
        query = query.where(ImageRow.band == band, ImageRow.position > cursor.position)
        page = session.execute(query.order_by(ImageRow.position).limit(PAGE)).all()
        for image_id, position, is_seen in page:
            if not is_seen:
                image = locked_image(session, image_id)
                if image.band == band and image.position == position:
                    return image
                break  # it moved meanwhile: look again from the cursor
            cursor.position = position
        else:
            if len(page) < PAGE:
                return None
        looked += max(1, len(page))
    return None


def next_wanted(session: Session, person_id: int) -> ImageRow | None:
    """The image that most wants this person, locked; None where none does."""
    for budget in (BUDGET, None):
        band: int | None = GOLD_BAND
        while (band := session.scalar(select(func.min(ImageRow.band)).where(ImageRow.band > band))) is not None:
            image = first_unseen(session, person_id, band, budget)
            if image is not None:
                return image
    return None


def count_wanted(session: Session, person_id: int, most: int) -> int:
    """How many images want this person, counted up to `most`."""
    seen = select(SeenRow.image_id).where(SeenRow.person_id == person_id, SeenRow.image_id == ImageRow.id).exists()
    wanted = select(ImageRow.id).where(ImageRow.band > GOLD_BAND, ~seen).limit(most).subquery()
    return session.scalar(select(func.count()).select_from(wanted)) or 0
