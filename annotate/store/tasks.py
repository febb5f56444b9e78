"""Who gets which image: leases, gold images, repeats, skips."""

import hashlib
import secrets

from sqlalchemy import select, text
from sqlalchemy.orm import Session, aliased

from annotate.store.engine import take_turn
from annotate.store.schema import ImageRow, LeaseRow, PersonRow, SeenRow, SkipRow, SubmissionRow
from annotate.store.types import Kind, Progress, StoreError, StoreSettings, Task
from annotate.store.values import (
    CLOCK_SLACK_US,
    checked_text,
    from_us,
    image_of,
    locked_image,
    locked_person,
    next_number,
)
from annotate.store.wanted import GOLD_BAND, count_wanted, first_unseen, next_wanted, requeue

TASK_KEY = 7_215_002  # of PostgreSQL's advisory lock: tasks are given out one after the other
MOST_REAPED = 200  # expired leases that one call takes back
REPEAT_GAP = 5  # submissions between an image and its repeat
REPEATS_TRIED = 50
OPEN_IMAGES_SHOWN = 1_000


def draw(seed: int, pseudonym: str, count: int) -> float:
    """A number in [0, 1) that decides whether a person's task number `count` is gold, a repeat or neither."""
    digest = hashlib.sha256(f"{seed}:{pseudonym}:{count}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64


def next_task(session: Session, who: str, now_us: int, settings: StoreSettings) -> Task | None:
    """See `AnnotationStore.next_task`; after `take_back`."""
    take_turn(session, TASK_KEY)
    person = locked_person(session, who)
    touched: dict[int, ImageRow] = {}
    lease, image = _given_again(session, person, touched) or _given_new(session, person, settings, touched)
    expires_us = now_us + _lease_us(settings)
    if lease is not None:
        lease.expires_us = expires_us
    requeue(session, touched.values())
    if lease is None or image is None:
        return None
    return Task(lease.id, image_of(image, with_gold=False), from_us(expires_us))


def _lease_us(settings: StoreSettings) -> int:
    return round(settings.lease_s * 1e6)


def find_expired(session: Session, now_us: int, settings: StoreSettings) -> list[tuple[int, str]]:
    """Image and key of leases that hold a place and have expired, in the order in which images are locked.

    A lease that runs much longer than a new one would was given before the clock went back: it is taken for expired.
    """
    held = select(LeaseRow.image_id, LeaseRow.id).where(LeaseRow.holds).limit(MOST_REAPED)
    expired = held.where(LeaseRow.expires_us <= now_us).order_by(LeaseRow.expires_us)
    future = held.where(LeaseRow.expires_us > now_us + _lease_us(settings) + CLOCK_SLACK_US)
    found = (*session.execute(expired), *session.execute(future))
    return sorted((image_id, lease_id) for image_id, lease_id in found)


def take_back(session: Session, now_us: int, settings: StoreSettings) -> None:
    """Free the places of expired leases: a transaction of its own, so that it locks images only before the counter."""
    take_turn(session, TASK_KEY)
    touched: list[ImageRow] = []
    for image_id, lease_id in find_expired(session, now_us, settings):
        image = locked_image(session, image_id)
        release(session.get_one(LeaseRow, lease_id, populate_existing=True), image)
        touched.append(image)
    requeue(session, touched)


def release(lease: LeaseRow, image: ImageRow) -> None:
    """Give up the place that a lease holds, if it holds one."""
    if lease.holds:
        lease.holds = False
        image.leased -= 1


def _given_again(
    session: Session, person: PersonRow, touched: dict[int, ImageRow]
) -> tuple[LeaseRow, ImageRow] | None:
    """The task that the person has not finished, if the image may still be had."""
    is_open = text("state = 'open'")
    lease = session.scalar(select(LeaseRow).where(LeaseRow.person_id == person.id, is_open))
    if lease is None:
        return None
    image = touched.get(lease.image_id) or locked_image(session, lease.image_id)
    touched[image.id] = image
    if image.open and (lease.holds or lease.kind != "usual"):
        return lease, image
    if image.open and image.gold is None and image.done + image.leased < image.quota:
        lease.holds = True
        image.leased += 1
        return lease, image
    release(lease, image)
    lease.state = "lapsed"
    session.flush()
    return None


def _given_new(
    session: Session, person: PersonRow, settings: StoreSettings, touched: dict[int, ImageRow]
) -> tuple[LeaseRow | None, ImageRow | None]:
    kind, image = _choose(session, person, settings)
    if image is None:
        return None, None
    lease = LeaseRow(
        id=secrets.token_hex(12), person_id=person.id, image_id=image.id, kind=kind, state="open",
        holds=kind == "usual", expires_us=0,
    )  # fmt: skip
    session.add(lease)
    person.given += 1
    if kind == "usual":
        image.leased += 1
    if kind != "repeat":
        session.add(SeenRow(person_id=person.id, image_id=image.id))
    touched[image.id] = image
    return lease, image


def _choose(session: Session, person: PersonRow, settings: StoreSettings) -> tuple[Kind, ImageRow | None]:
    chance = draw(settings.seed, person.pseudonym, person.given)
    if chance < settings.gold_share:
        image = first_unseen(session, person.id, GOLD_BAND)
        if image is not None:
            return "gold", image
    elif chance < settings.gold_share + settings.repeat_share:
        image = _repeat(session, person, settings.seed)
        if image is not None:
            return "repeat", image
    return "usual", next_wanted(session, person.id)


def _repeat(session: Session, person: PersonRow, seed: int) -> ImageRow | None:
    """An image that the person did some time ago, and never again since."""
    numbers = select(SubmissionRow.number).where(SubmissionRow.person_id == person.id)
    last = session.scalar(numbers.order_by(SubmissionRow.number.desc()).offset(REPEAT_GAP).limit(1))
    first = session.scalar(numbers.order_by(SubmissionRow.number).limit(1))
    if last is None or first is None:
        return None
    start = first + int(draw(seed, f"repeat of {person.pseudonym}", person.given) * (last - first + 1))
    for begin, end in ((start, last), (first, start - 1)):
        for image_id, repeated in _done_by(session, person.id, begin, end):
            if not repeated:
                return locked_image(session, image_id)
    return None


def _done_by(session: Session, person_id: int, first: int, last: int) -> list[tuple[int, bool]]:
    """Images that a person did as usual tasks, by the submissions' numbers, and whether they were repeated already."""
    again = select(LeaseRow.id).where(
        LeaseRow.person_id == person_id, LeaseRow.image_id == SubmissionRow.image_id, LeaseRow.kind == "repeat"
    )
    earlier = aliased(SubmissionRow)  # in an imported store there are no tasks of before
    done = select(earlier.number).where(
        earlier.person_id == person_id, earlier.image_id == SubmissionRow.image_id, earlier.kind == "repeat"
    )
    query = select(SubmissionRow.image_id, again.exists() | done.exists())
    query = query.join(ImageRow, ImageRow.id == SubmissionRow.image_id).where(
        SubmissionRow.person_id == person_id, SubmissionRow.kind == "usual", ~SubmissionRow.removed,
        SubmissionRow.number.between(first, last), ImageRow.open, ImageRow.gold.is_(None),
    )  # fmt: skip
    rows = session.execute(query.order_by(SubmissionRow.number).limit(REPEATS_TRIED))
    return [(image_id, repeated) for image_id, repeated in rows]


def skip(session: Session, lease_id: str, who: str, reason: str, now_us: int) -> None:
    """See `AnnotationStore.skip`."""
    reason = checked_text("The reason for skipping", reason, 1_000)
    person = locked_person(session, who)
    image_id = session.scalar(
        select(LeaseRow.image_id).where(LeaseRow.id == lease_id, LeaseRow.person_id == person.id)
    )
    if image_id is None:
        raise StoreError("This task is not yours; ask for the next one.")
    image = locked_image(session, image_id)
    lease = session.get_one(LeaseRow, lease_id, populate_existing=True)
    if lease.state in ("skipped", "submitted"):
        return
    release(lease, image)
    lease.state = "skipped"
    person.skipped += 1
    requeue(session, [image])
    number = next_number(session, "skip")
    session.add(SkipRow(number=number, image_id=image.id, person_id=person.id, reason=reason, at_us=now_us))


def progress(session: Session, who: str) -> Progress:
    """See `AnnotationStore.progress`."""
    person = session.scalar(select(PersonRow).where(PersonRow.pseudonym == who))
    if person is None:
        raise StoreError("The store does not know this annotator; sign in again.")
    return Progress(person.done, person.skipped, count_wanted(session, person.id, OPEN_IMAGES_SHOWN))

