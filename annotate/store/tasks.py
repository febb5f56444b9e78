"""Who gets which image: leases, gold images, repeats, skips."""

import hashlib
import secrets
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, select, update

from annotate.store.base import CLOCK_SLACK_US, NO_PERSON, Store, add_to_person, lock_person, next_number
from annotate.store.database import advisory_lock, reads, writes
from annotate.store.model import (
    MAIN_PROJECT,
    Kind,
    Progress,
    Skip,
    StoredImage,
    StoreError,
    StoreSettings,
    Task,
    checked_text,
)
from annotate.store.projects import check_open, find_project
from annotate.store.queue import (
    QueueEntry,
    count_open,
    first_unseen,
    gold_band,
    lane_of,
    lock_image,
    next_image,
    save_entry,
)
from annotate.store.tables import IMAGE, IMAGES, IS_OPEN, LEASES, PEOPLE, SEEN, SKIPS, SUBMISSIONS, from_us, values_of

TASK_KEY = 7_215_002  # of PostgreSQL's advisory lock: tasks are given out one after the other
MOST_REAPED = 200  # expired leases that one call takes back
REPEAT_GAP = 5  # submissions between an image and its repeat
REPEATS_TRIED = 50
OPEN_IMAGES_SHOWN = 1_000
Touched = dict[int, QueueEntry]  # images that a transaction has locked and may have changed, by key


class Tasks(Store):
    """Tasks of a store."""

    def next_task(self, who: str, project: str = MAIN_PROJECT) -> Task | None:
        """Return the image that `who` is to annotate next, kept for them for `lease_s`; None where no image wants them.

        A task that was neither submitted nor skipped is given again, also after it expired, while the image wants it.

        Args:
            who: annotates.
            project: short name of the project that the image is of.

        Raises:
            StoreError: there is no such project, or it is closed.
        """
        now_us = self.now_us()
        if self.database.read(lambda connection: _expired(connection, now_us, self.settings)):
            self.database.write(lambda connection: _release_expired(connection, now_us, self.settings))
        return self._next_task(who, project, now_us)

    @writes
    def _next_task(self, connection: Connection, who: str, project: str, now_us: int) -> Task | None:
        advisory_lock(connection, TASK_KEY)
        check_open(find_project(connection, project))
        person, touched = lock_person(connection, who), Touched()
        found = _open_task(connection, person.id, project, touched)
        found = found or _new_task(connection, person, project, self.settings, touched)
        if found is not None:
            expires_us = now_us + _lease_us(self.settings)
            _change_lease(connection, found[0], expires_us=expires_us)
        for entry in touched.values():
            save_entry(connection, entry)
        if found is None:
            return None
        lease_id, image_id = found
        image = StoredImage(*connection.execute(select(*IMAGE).where(IMAGES.c.id == image_id)).one())
        return Task(lease_id, hidden(image), from_us(expires_us))

    @writes
    def skip(self, connection: Connection, lease_id: str, who: str, reason: str) -> None:
        """Give a task back; the image is not given to `who` again."""
        reason = checked_text("The reason for skipping", reason, 1_000)
        person = lock_person(connection, who)
        owned = (LEASES.c.id == lease_id) & (LEASES.c.person_id == person.id)
        image_id = connection.scalar(select(LEASES.c.image_id).where(owned))
        if image_id is None:
            raise StoreError("This task is not yours; ask for the next one.")
        image = lock_image(connection, image_id)
        lease = connection.execute(select(LEASES).where(owned)).one()
        if lease.state in ("skipped", "submitted"):
            return
        image.leased -= lease.holds
        _change_lease(connection, lease_id, holds=False, state="skipped")
        add_to_person(connection, person.id, skipped=1)
        save_entry(connection, image)
        skip = Skip(next_number(connection, "skip"), image.sha256, who, reason, from_us(self.now_us()))
        insert_skip(connection, skip, person.id, image.id)

    @reads
    def progress(self, connection: Connection, who: str, project: str = MAIN_PROJECT) -> Progress:
        """Return how far somebody is, and how many images of a project want them."""
        person = connection.execute(select(PEOPLE).where(PEOPLE.c.pseudonym == who)).first()
        if person is None:
            raise StoreError(NO_PERSON)
        lane = lane_of(connection, project)
        return Progress(person.done, person.skipped, count_open(connection, person.id, lane, OPEN_IMAGES_SHOWN))


def hidden(image: StoredImage) -> StoredImage:
    """Return an image as whoever annotates it may know it."""
    return replace(image, gold=None, source="", gold_from=(), patient_id="", metadata={})


def draw(seed: int, pseudonym: str, count: int) -> float:
    """Return a number in [0, 1) that decides whether a person's task number `count` is gold, a repeat or neither."""
    digest = hashlib.sha256(f"{seed}:{pseudonym}:{count}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64


def insert_skip(connection: Connection, skip: Skip, person_id: int, image_id: int) -> None:
    """Add a skip with its number."""
    connection.execute(SKIPS.insert().values(**values_of(SKIPS, skip), person_id=person_id, image_id=image_id))


def _lease_us(settings: StoreSettings) -> int:
    return round(settings.lease_s * 1e6)


def _change_lease(connection: Connection, lease_id: str, **values: object) -> None:
    connection.execute(update(LEASES).where(LEASES.c.id == lease_id).values(values))


def _expired(connection: Connection, now_us: int, settings: StoreSettings) -> list[tuple[int, str]]:
    """Return image and key of leases that hold a place and have expired, in the order in which images are locked.

    A lease that runs much longer than a new one would was given before the clock went back: it is taken for expired.
    """
    held = select(LEASES.c.image_id, LEASES.c.id).where(LEASES.c.holds).limit(MOST_REAPED)
    expired = held.where(LEASES.c.expires_us <= now_us).order_by(LEASES.c.expires_us)
    future = held.where(LEASES.c.expires_us > now_us + _lease_us(settings) + CLOCK_SLACK_US)
    return sorted((image_id, key) for query in (expired, future) for image_id, key in connection.execute(query))


def _release_expired(connection: Connection, now_us: int, settings: StoreSettings) -> None:
    """Free the places of expired leases: a transaction of its own, so that it locks images only before the counter."""
    advisory_lock(connection, TASK_KEY)
    touched = Touched()
    for image_id, lease_id in _expired(connection, now_us, settings):
        image = _locked(connection, image_id, touched)
        if connection.scalar(select(LEASES.c.holds).where(LEASES.c.id == lease_id)):  # as it is now, behind the lock
            image.leased -= 1
            _change_lease(connection, lease_id, holds=False)
    for image in touched.values():
        save_entry(connection, image)


def _locked(connection: Connection, image_id: int, touched: Touched) -> QueueEntry:
    if image_id not in touched:
        touched[image_id] = lock_image(connection, image_id)
    return touched[image_id]


def _open_task(connection: Connection, person_id: int, project: str, touched: Touched) -> tuple[str, int] | None:
    """Return lease and image of the task in a project that the person has not finished, if it may still be had."""
    query = select(LEASES).join(IMAGES, IMAGES.c.id == LEASES.c.image_id).order_by(LEASES.c.image_id)
    query = query.where(LEASES.c.person_id == person_id, IS_OPEN, IMAGES.c.project == project)
    lease = connection.execute(query).first()
    if lease is None:
        return None
    image = _locked(connection, lease.image_id, touched)
    if image.open and (lease.holds or lease.kind != "usual"):
        return lease.id, image.id
    if image.open and not image.is_gold and image.has_room():
        image.leased += 1
        _change_lease(connection, lease.id, holds=True)
        return lease.id, image.id
    image.leased -= lease.holds
    _change_lease(connection, lease.id, holds=False, state="lapsed")
    return None


def _new_task(
    connection: Connection, person: Row[Any], project: str, settings: StoreSettings, touched: Touched
) -> tuple[str, int] | None:
    """Return lease and image of a new task; None where no image of the project wants the person."""
    kind, image = _choose(connection, person, project, settings, touched)
    if image is None:
        return None
    image = touched.setdefault(image.id, image)
    lease_id, pair = secrets.token_hex(12), {"person_id": person.id, "image_id": image.id}
    connection.execute(
        LEASES.insert().values(id=lease_id, **pair, kind=kind, state="open", holds=kind == "usual", expires_us=0)
    )
    add_to_person(connection, person.id, given=1)
    image.leased += kind == "usual"
    if kind != "repeat":
        connection.execute(SEEN.insert().values(pair))
    return lease_id, image.id


def _choose(
    connection: Connection, person: Row[Any], project: str, settings: StoreSettings, touched: Touched
) -> tuple[Kind, QueueEntry | None]:
    lane = lane_of(connection, project)
    chance = draw(settings.seed, person.pseudonym, person.given)
    if chance < settings.gold_share:
        image = first_unseen(connection, person.id, gold_band(lane))
        if image is not None:
            return "gold", image
    elif chance < settings.gold_share + settings.repeat_share:
        image_id = _repeat(connection, person, project, settings.seed)
        if image_id is not None:
            return "repeat", _locked(connection, image_id, touched)
    return "usual", next_image(connection, person.id, lane)


def _repeat(connection: Connection, person: Row[Any], project: str, seed: int) -> int | None:
    """Return key of an image of a project that the person did some time ago, and never again since."""
    numbers = select(SUBMISSIONS.c.number).where(SUBMISSIONS.c.person_id == person.id)
    last = connection.scalar(numbers.order_by(SUBMISSIONS.c.number.desc()).offset(REPEAT_GAP).limit(1))
    first = connection.scalar(numbers.order_by(SUBMISSIONS.c.number).limit(1))
    if last is None or first is None:
        return None
    start = first + int(draw(seed, f"repeat of {person.pseudonym}", person.given) * (last - first + 1))
    for begin, end in ((start, last), (first, start - 1)):
        for image_id, repeated in _done_by(connection, person.id, project, begin, end):
            if not repeated:
                return image_id
    return None


def _done_by(
    connection: Connection, person_id: int, project: str, first: int, last: int
) -> list[tuple[int, bool]]:
    """Return images that a person did as usual tasks, by the submissions' numbers, and whether they were repeated."""
    one, earlier = SUBMISSIONS, SUBMISSIONS.alias()  # in an imported store there are no tasks of before
    again = select(LEASES.c.id).where(
        LEASES.c.person_id == person_id, LEASES.c.image_id == one.c.image_id, LEASES.c.kind == "repeat"
    )
    done = select(earlier.c.number).where(
        earlier.c.person_id == person_id, earlier.c.image_id == one.c.image_id, earlier.c.kind == "repeat"
    )
    query = select(one.c.image_id, again.exists() | done.exists()).join(IMAGES, IMAGES.c.id == one.c.image_id).where(
        one.c.person_id == person_id, one.c.kind == "usual", ~one.c.removed, one.c.number.between(first, last),
        IMAGES.c.open, IMAGES.c.gold.is_(None), IMAGES.c.project == project,
    )  # fmt: skip
    rows = connection.execute(query.order_by(one.c.number).limit(REPEATS_TRIED))
    return [(image_id, repeated) for image_id, repeated in rows]
