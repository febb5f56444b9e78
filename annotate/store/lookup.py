"""Counts and logs of a store, and what the dashboard asks: what comes next, the latest of the log, images by state."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sqlalchemy import ColumnElement, Connection, Select, func, or_, select

from annotate.store.base import Store
from annotate.store.database import reads
from annotate.store.exchange import count_unsynced
from annotate.store.images import GOLD_GONE, GOLD_SET
from annotate.store.model import MAIN_PROJECT, VERDICTS, AuditEntry, Counts, Skip, Stored, StoredImage, StoreError
from annotate.store.queue import wanting
from annotate.store.reviews import REMOVED
from annotate.store.tables import AUDIT, ENTRY, IMAGE, IMAGES, PEOPLE, PROJECTS, SKIPS, STORED, SUBMISSIONS

Waiting = Literal["pending", "accepted", "rejected", "removed"]
ImageState = Literal["own", "open", "closed", "gold"]
IMAGE_STATES: tuple[ImageState, ...] = get_args(ImageState)


class Lookup(Store):
    """Counts and logs of a store."""

    @reads
    def counts(self, connection: Connection) -> Counts:
        """Return how much there is of everything."""

        def number(*where: ColumnElement[bool]) -> int:
            return connection.scalar(select(func.count()).select_from(IMAGES).where(*where)) or 0

        kept = select(SUBMISSIONS.c.verdict, SUBMISSIONS.c.removed, func.count())
        groups = connection.execute(kept.group_by(SUBMISSIONS.c.verdict, SUBMISSIONS.c.removed)).all()
        verdicts = {verdict: count for verdict, removed, count in groups if not removed}
        lanes = connection.scalars(select(PROJECTS.c.id).where(~PROJECTS.c.closed)).all()
        return Counts(
            images=number(),
            open_images=number(wanting(lanes)),
            gold_images=number(IMAGES.c.gold.is_not(None)),
            people=connection.scalar(select(func.count()).select_from(PEOPLE)) or 0,
            annotations=sum(verdicts.values()),
            **{verdict: verdicts.get(verdict, 0) for verdict in VERDICTS},
            removed=sum(count for _verdict, removed, count in groups if removed),
            skips=connection.scalar(select(func.count()).select_from(SKIPS)) or 0,
            backlog=count_unsynced(connection),
        )

    @reads
    def skips(self, connection: Connection, after: int = 0, limit: int = 1000) -> list[Skip]:
        """Return skipped tasks by number."""
        query = select(SKIPS.c.number, IMAGES.c.sha256, PEOPLE.c.pseudonym, SKIPS.c.reason, SKIPS.c.at)
        query = query.join(IMAGES, IMAGES.c.id == SKIPS.c.image_id).join(PEOPLE, PEOPLE.c.id == SKIPS.c.person_id)
        rows = connection.execute(query.where(SKIPS.c.number > after).order_by(SKIPS.c.number).limit(limit))
        return [Skip(*row) for row in rows]

    @reads
    def audit(self, connection: Connection, after: int = 0, limit: int = 1000) -> list[AuditEntry]:
        """Return the audit log by number; nothing in it is ever changed."""
        return _entries(connection, select(*ENTRY).where(AUDIT.c.number > after).order_by(AUDIT.c.number).limit(limit))


def _entries(connection: Connection, query: Select[Any]) -> list[AuditEntry]:
    return [AuditEntry(*row) for row in connection.execute(query)]


# ---- for the dashboard -----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class ListedImage:
    """An image as an admin lists it.

    Args:
        image: without its pixels.
        offered: whether it ever was a task; False for an annotator's own image.
        submissions: how many it has, without removed ones.
        done: how many annotators count toward its quota: rejected ones and repeats do not.
        wanted: whether it still wants annotators.
    """

    image: StoredImage
    offered: bool
    submissions: int
    done: int
    wanted: bool


def _is(waiting: Waiting) -> tuple[ColumnElement[bool], ...]:
    verdict, removed = SUBMISSIONS.c.verdict, SUBMISSIONS.c.removed
    if waiting == "removed":
        return (verdict.in_(VERDICTS), removed.is_(True))  # the verdicts lead to the index
    if waiting not in VERDICTS:
        raise StoreError(f"Submissions are {', '.join(VERDICTS)} or removed; {str(waiting)[:40]!r} is none of these.")
    return (verdict == waiting, ~removed)


def _in(project: str) -> tuple[ColumnElement[bool], ...]:
    """Return what is so of the submissions that were made in a project; nothing for ""."""
    return (SUBMISSIONS.c.project == project,) if project else ()


def next_submission(store: Store, waiting: Waiting, after: int, project: str = "") -> str | None:
    """Return the id of the first submission in this state behind a number; None where there is none.

    Args:
        store: to be asked.
        waiting: the state.
        after: the number.
        project: only what was made in it, by its short name; "" for all.

    Raises:
        StoreError: there is no such state.
    """
    query = select(SUBMISSIONS.c.submission_id).where(*_is(waiting), *_in(project), SUBMISSIONS.c.number > after)
    return store.database.read(lambda connection: connection.scalar(query.order_by(SUBMISSIONS.c.number).limit(1)))


def count_submissions(store: Store, waiting: Waiting, project: str = "") -> int:
    """Return how many submissions are in a state; `project` as in `next_submission`."""
    query = select(func.count()).select_from(SUBMISSIONS).where(*_is(waiting), *_in(project))
    return store.database.read(lambda connection: connection.scalar(query)) or 0


@dataclass(frozen=True)
class PendingOne:
    """A submission that waits for a verdict.

    Args:
        submission_id: of the client.
        revision: of the submission.
    """

    submission_id: str
    revision: int


def pending_submissions(
    store: Store, annotator: str | None = None, sha256: str | None = None, project: str = ""
) -> list[PendingOne]:
    """Return submissions that wait for a verdict, by number.

    Args:
        store: to be asked.
        annotator: only those of this pseudonym; None for everybody's.
        sha256: only those on this image; None for all.
        project: as in `next_submission`.
    """
    query = select(SUBMISSIONS.c.submission_id, SUBMISSIONS.c.revision).where(*_is("pending"), *_in(project))
    if annotator is not None:
        query = query.join(PEOPLE, PEOPLE.c.id == SUBMISSIONS.c.person_id).where(PEOPLE.c.pseudonym == annotator)
    if sha256 is not None:
        query = query.join(IMAGES, IMAGES.c.id == SUBMISSIONS.c.image_id).where(IMAGES.c.sha256 == sha256)
    query = query.order_by(SUBMISSIONS.c.number)
    return store.database.read(lambda connection: [PendingOne(*row) for row in connection.execute(query)])


def submission_of(store: Store, number: int) -> str | None:
    """Return the id of the submission of a number, removed or not."""
    query = select(SUBMISSIONS.c.submission_id).where(SUBMISSIONS.c.number == number)
    return store.database.read(lambda connection: connection.scalar(query))


def submission_on(store: Store, digest: str) -> str | None:
    """Return the id of the first submission on the image whose digest begins so; a removed one only where all are."""
    query = select(SUBMISSIONS.c.submission_id).join(IMAGES, IMAGES.c.id == SUBMISSIONS.c.image_id)
    query = query.where(IMAGES.c.sha256.startswith(digest, autoescape=True))
    query = query.order_by(SUBMISSIONS.c.removed, IMAGES.c.sha256, SUBMISSIONS.c.number).limit(1)
    return store.database.read(lambda connection: connection.scalar(query))


def latest_submissions(store: Store, who: str, limit: int) -> list[Stored]:
    """Return the latest submissions of an annotator, the latest first, removed ones too."""
    query = select(*STORED).join(PEOPLE, PEOPLE.c.id == SUBMISSIONS.c.person_id).where(PEOPLE.c.pseudonym == who)
    query = query.order_by(SUBMISSIONS.c.number.desc()).limit(limit)
    return store.database.read(lambda connection: [Stored(*row) for row in connection.execute(query)])


def removal_reasons(store: Store, submission_ids: Sequence[str]) -> dict[str, str]:
    """Return why submissions were last removed, where the audit log says; their own reason is that of the verdict."""
    query = select(AUDIT.c.subject, AUDIT.c.details).where(AUDIT.c.action == REMOVED).order_by(AUDIT.c.number)
    query = query.where(AUDIT.c.subject.in_(submission_ids))
    entries = store.database.read(lambda connection: connection.execute(query).all()) if submission_ids else []
    return {entry.subject: str(entry.details.get("reason", "")) for entry in entries}


def gold_gone(store: Store, sha256: str) -> str:
    """Return why an image lost its gold path without anybody's asking; "" where it did not, or was decided on since."""
    query = select(AUDIT.c.details).where(AUDIT.c.subject == sha256, AUDIT.c.action.in_((GOLD_SET, GOLD_GONE)))
    query = query.order_by(AUDIT.c.number.desc()).limit(1)
    details = store.database.read(lambda connection: connection.scalar(query)) or {}
    return str(details.get("reason", ""))


def count_annotators(store: Store) -> int:
    """Return people with at least one submission that was not removed."""
    query = select(func.count()).select_from(PEOPLE).where(PEOPLE.c.done > 0)
    return store.database.read(lambda connection: connection.scalar(query)) or 0


def latest_audit(store: Store, limit: int, *, before: int | None = None, subject: str = "") -> list[AuditEntry]:
    """Return the audit log, the latest entry first.

    Args:
        store: to be asked.
        limit: most entries.
        before: only those with a smaller number.
        subject: only those about this submission, image or import; "" for all.
    """
    query = select(*ENTRY).order_by(AUDIT.c.number.desc()).limit(limit)
    query = query if before is None else query.where(AUDIT.c.number < before)
    query = query.where(AUDIT.c.subject == subject) if subject else query
    return store.database.read(lambda connection: _entries(connection, query))


def listed_images(
    store: Store, state: ImageState, limit: int, *, skip: int = 0, search: str = "", project: str = MAIN_PROJECT
) -> tuple[list[ListedImage], int]:
    """Return images in a state, and how many there are: those that annotators get next first, then by digest.

    Args:
        store: to be asked.
        state: "own": never offered as a task; "open": given out; "closed": no longer; "gold": with a known path.
        limit: most images.
        skip: how many come before.
        search: part of the name or of the patient, or what the digest begins with; "" for all.
        project: that they are in.

    Raises:
        StoreError: there is no such state.
    """
    wanted: dict[ImageState, ColumnElement[bool]] = {
        "own": ~IMAGES.c.offered,
        "open": IMAGES.c.offered & IMAGES.c.open,
        "closed": IMAGES.c.offered & ~IMAGES.c.open,
        "gold": IMAGES.c.gold.is_not(None),
    }
    if state not in wanted:
        raise StoreError(f"Images are {', '.join(IMAGE_STATES)}; {str(state)[:40]!r} is none of these.")
    where = wanted[state] & (IMAGES.c.project == project)
    if search:
        named = (column.icontains(search, autoescape=True) for column in (IMAGES.c.name, IMAGES.c.patient_id))
        where &= or_(IMAGES.c.sha256.startswith(search.lower(), autoescape=True), *named)
    count = select(func.count()).select_from(IMAGES).where(where)
    total = store.database.read(lambda connection: connection.scalar(count)) or 0
    return _listed(store, where, limit=limit, skip=skip), total


def listed_image(store: Store, sha256: str) -> ListedImage:
    """Return one image.

    Raises:
        StoreError: there is no such image.
    """
    for listed in _listed(store, IMAGES.c.sha256 == sha256, limit=1):
        return listed
    raise StoreError("The store has no such image; choose another one.")


def _listed(store: Store, where: ColumnElement[bool], *, limit: int, skip: int = 0) -> list[ListedImage]:
    kept = select(func.count()).where(SUBMISSIONS.c.image_id == IMAGES.c.id, ~SUBMISSIONS.c.removed).scalar_subquery()
    own = (IMAGES.c.offered, kept, IMAGES.c.done, IMAGES.c.band.is_not(None))
    order = (IMAGES.c.band.is_(None), IMAGES.c.band, IMAGES.c.position, IMAGES.c.sha256)
    query = select(*IMAGE, *own).where(where).order_by(*order).offset(skip).limit(limit)

    def read(connection: Connection) -> list[ListedImage]:
        return [ListedImage(StoredImage(*row[: -len(own)]), *row[-len(own) :]) for row in connection.execute(query)]

    return store.database.read(read)
