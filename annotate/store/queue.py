"""Which images want annotators, and in which order: the queue.

An image that wants annotators stands in a band, behind those that came to the band before it:

    -1        gold images, which are given by their own share
    0 to 7    low agreement (below 0.4, a little less than two viewers of one image reach with each other), in steps of
              0.05, the lowest first
    8 to 32   the others, those with the fewest annotations first

These are the bands of the highest priority; those of each lower one lie BANDS further on. They are those of the first
project, too: each project has a lane of LANE_BANDS of its own, so that nobody is led from one to another.

Everybody's way through a band is remembered by a cursor: all images up to it have been seen by that person. Who comes
into a band gets a new position at its end, so no cursor can have passed it, and finding the next image is a step in an
index however many annotations there are.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, false, func, or_, select, text, update

from annotate.store.base import next_number
from annotate.store.model import PRIORITIES, StoreError
from annotate.store.tables import CURSORS, IMAGES, PROJECTS, SEEN

LOW_AGREEMENT, STEP = 0.4, 0.05
LOW_BANDS = 8
MOST_BANDS = 24  # of the others
BANDS = LOW_BANDS + MOST_BANDS + 1  # of one priority
LANE_BANDS = BANDS * len(PRIORITIES) + 1  # of one project, with that of its gold images
PAGE = 64
BUDGET = 512  # images of a band tried before the next band
NO_IMAGE = "The store has no such image; add it first."
NO_PROJECT = "There is no such project; choose another one."


@dataclass(slots=True)
class QueueEntry:
    """The columns that decide an image's place in the queue; changed here, then written by `save_entry`."""

    id: int
    sha256: str
    width_px: int
    height_px: int
    open: bool
    is_gold: bool
    quota: int
    priority: int
    project: str
    lane: int
    done: int
    leased: int
    agreement: float | None
    band: int | None
    position: int

    def has_room(self) -> bool:
        """Return whether it wants one more annotator."""
        return self.done + self.leased < self.quota


LANE = select(PROJECTS.c.id).where(PROJECTS.c.slug == IMAGES.c.project).scalar_subquery()
QUEUE_ENTRY: Select[Any] = select(
    *IMAGES.c["id", "sha256", "width_px", "height_px", "open"], IMAGES.c.gold.is_not(None),
    *IMAGES.c["quota", "priority", "project"], LANE, *IMAGES.c["done", "leased", "agreement", "band", "position"],
)  # fmt: skip
LOCK_BY_DIGEST = QUEUE_ENTRY.where(IMAGES.c.sha256 == bindparam("sha256")).with_for_update()
LOCK_BY_KEY = QUEUE_ENTRY.where(IMAGES.c.id == bindparam("key")).with_for_update()
SAVE_ENTRY = update(IMAGES).where(IMAGES.c.id == bindparam("key"))
MOVE_CURSOR = text(
    "INSERT INTO cursors (person_id, band, position) VALUES (:person_id, :band, :position) "
    "ON CONFLICT (person_id, band) DO UPDATE SET position = :position"
)


def gold_band(lane: int) -> int:
    """Return the band of a project's gold images."""
    return lane * LANE_BANDS - 1


def bands_of(lane: int) -> range:
    """Return the bands of a project's other images."""
    return range(lane * LANE_BANDS, (lane + 1) * LANE_BANDS - 1)


def wanting(lanes: Collection[int]) -> ColumnElement[bool]:
    """Select the images of some projects that want annotators, gold ones aside."""
    return or_(false(), *(IMAGES.c.band.between(bands_of(lane)[0], bands_of(lane)[-1]) for lane in lanes))


def lane_of(connection: Connection, project: str) -> int:
    """Return the lane of a project.

    Raises:
        StoreError: there is no such project.
    """
    lane = connection.scalar(select(PROJECTS.c.id).where(PROJECTS.c.slug == project))
    if lane is None:
        raise StoreError(NO_PROJECT)
    return int(lane)


def band_of(image: QueueEntry) -> int | None:
    """Return the band of an image; None where it wants nobody."""
    if not image.open:
        return None
    if image.is_gold:
        return gold_band(image.lane)
    if not image.has_room():
        return None
    first = bands_of(image.lane)[(max(PRIORITIES) - image.priority) * BANDS]
    if image.agreement is not None and image.agreement < LOW_AGREEMENT:
        return first + min(int(image.agreement / STEP), LOW_BANDS - 1)
    return first + LOW_BANDS + min(image.done, MOST_BANDS)


def lock_image(connection: Connection, image: int | str) -> QueueEntry:
    """Return the queue entry of an image, locked until the end of the transaction.

    Args:
        connection: in a transaction that writes.
        image: key, or digest.

    Raises:
        StoreError: there is no such image.
    """
    lock, name = (LOCK_BY_KEY, "key") if isinstance(image, int) else (LOCK_BY_DIGEST, "sha256")
    found = connection.execute(lock, {name: image}).first()
    if found is None:
        raise StoreError(NO_IMAGE)
    return QueueEntry(*found)


def save_entry(connection: Connection, image: QueueEntry, position: int | None = None) -> None:
    """Write what changed of an image that `lock_image` gave; after all other locks of the transaction.

    Args:
        connection: that locked it.
        image: as it is now.
        position: where it comes to the end of another band; None for the next one, taken where it is needed.
    """
    changed: dict[str, object] = {"done": image.done, "leased": image.leased, "agreement": image.agreement}
    band = band_of(image)
    if band != image.band:
        changed |= {"band": band, "position": position or next_number(connection, "position")}
    connection.execute(SAVE_ENTRY, {"key": image.id, **changed})


def first_unseen(connection: Connection, person_id: int, band: int, budget: int | None = None) -> QueueEntry | None:
    """Return the first image of a band that the person has not been given, locked; moves the person's cursor.

    Args:
        connection: in a transaction that writes and holds the turn of the tasks.
        person_id: who.
        band: of the queue.
        budget: how many images are tried; None for all.
    """
    where = (CURSORS.c.person_id == person_id) & (CURSORS.c.band == band)
    start = cursor = connection.scalar(select(CURSORS.c.position).where(where)) or 0
    found, tried = None, 0
    seen = (SEEN.c.person_id == person_id) & (SEEN.c.image_id == IMAGES.c.id)
    query = select(IMAGES.c.id, IMAGES.c.position, SEEN.c.image_id.is_not(None)).outerjoin(SEEN, seen)
    query = query.where(IMAGES.c.band == band, IMAGES.c.position > bindparam("behind"))
    query = query.order_by(IMAGES.c.position).limit(PAGE)
    while found is None and (budget is None or tried < budget):
        page = connection.execute(query, {"behind": cursor}).all()
        for image_id, position, is_seen in page:
            if not is_seen:
                image = lock_image(connection, image_id)
                found = image if (image.band, image.position) == (band, position) else None
                break  # where it moved meanwhile, try again from the cursor
            cursor = position
        else:
            if len(page) < PAGE:
                break
        tried += max(1, len(page))
    if cursor != start:
        connection.execute(MOVE_CURSOR, {"person_id": person_id, "band": band, "position": cursor})
    return found


def next_image(connection: Connection, person_id: int, lane: int) -> QueueEntry | None:
    """Return the image of a project that most wants this person, locked; None where none does."""
    bands = bands_of(lane)
    for budget in (BUDGET, None):
        band: int | None = gold_band(lane)
        further = select(func.min(IMAGES.c.band)).where(IMAGES.c.band <= bands[-1])
        while (band := connection.scalar(further.where(IMAGES.c.band > band))) is not None:
            image = first_unseen(connection, person_id, band, budget)
            if image is not None:
                return image
    return None


def count_open(connection: Connection, person_id: int, lane: int, most: int) -> int:
    """Return how many images of a project want this person, counted up to `most`."""
    seen = select(SEEN.c.image_id).where(SEEN.c.person_id == person_id, SEEN.c.image_id == IMAGES.c.id).exists()
    wanted = select(IMAGES.c.id).where(wanting([lane]), ~seen).limit(most).subquery()
    return connection.scalar(select(func.count()).select_from(wanted)) or 0
