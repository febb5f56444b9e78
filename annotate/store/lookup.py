"""What the dashboard asks of a store beside its facade: what comes next, the latest of the log, images by state."""

import json
from dataclasses import dataclass
from typing import Literal, get_args

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from annotate.store.schema import AuditRow, ImageRow, PersonRow, SubmissionRow
from annotate.store.store import AnnotationStore
from annotate.store.types import VERDICTS, AuditEntry, StoredImage, StoreError
from annotate.store.values import from_us, image_of

Waiting = Literal["pending", "accepted", "rejected", "removed"]
ImageState = Literal["own", "open", "closed", "gold"]
IMAGE_STATES: tuple[ImageState, ...] = get_args(ImageState)


@dataclass(frozen=True)
class ListedImage:
    """An image as an admin lists it.

    Args:
        image: without its pixels.
        offered: whether it ever was a task; False for an annotator's own image.
        submissions: how many it has, without removed ones.
    """

    image: StoredImage
    offered: bool
    submissions: int


def _is(waiting: Waiting) -> tuple[ColumnElement[bool], ...]:
    if waiting == "removed":
        return (SubmissionRow.verdict.in_(VERDICTS), SubmissionRow.removed.is_(True))  # the verdicts lead to the index
    if waiting not in VERDICTS:
        raise StoreError(f"Submissions are {', '.join(VERDICTS)} or removed; {str(waiting)[:40]!r} is none of these.")
    return (SubmissionRow.verdict == waiting, ~SubmissionRow.removed)


def next_submission(store: AnnotationStore, waiting: Waiting, after: int) -> str | None:
    """Id of the first submission in this state behind a number; None where there is none.

    Raises:
        StoreError: there is no such state.
    """
    query = select(SubmissionRow.submission_id).where(*_is(waiting), SubmissionRow.number > after)
    return store.database.read(lambda session: session.scalar(query.order_by(SubmissionRow.number).limit(1)))


def pending_numbers(store: AnnotationStore) -> set[int]:
    """Numbers of all submissions that wait for a verdict."""
    query = select(SubmissionRow.number).where(*_is("pending"))
    return store.database.read(lambda session: set(session.scalars(query)))


def submission_of(store: AnnotationStore, number: int) -> str | None:
    """Id of the submission of a number, removed or not."""
    query = select(SubmissionRow.submission_id).where(SubmissionRow.number == number)
    return store.database.read(lambda session: session.scalar(query))


def submission_on(store: AnnotationStore, digest: str) -> str | None:
    """Id of the first submission on the image whose digest begins so; one that was removed only where all were."""
    query = select(SubmissionRow.submission_id).join(ImageRow, ImageRow.id == SubmissionRow.image_id)
    query = query.where(ImageRow.sha256.startswith(digest, autoescape=True))
    query = query.order_by(SubmissionRow.removed, ImageRow.sha256, SubmissionRow.number).limit(1)
    return store.database.read(lambda session: session.scalar(query))


def count_annotators(store: AnnotationStore) -> int:
    """People with at least one submission that was not removed."""
    query = select(func.count()).select_from(PersonRow).where(PersonRow.done > 0)
    return store.database.read(lambda session: session.scalar(query)) or 0


def latest_audit(
    store: AnnotationStore, limit: int, *, before: int | None = None, subject: str = ""
) -> list[AuditEntry]:
    """The audit log, the latest entry first.

    Args:
        store: to be asked.
        limit: most entries.
        before: only those with a smaller number.
        subject: only those about this submission, image or import; "" for all.
    """
    query = select(AuditRow).order_by(AuditRow.number.desc()).limit(limit)
    query = query if before is None else query.where(AuditRow.number < before)
    query = query.where(AuditRow.subject == subject) if subject else query

    def read(session: Session) -> list[AuditEntry]:
        return [
            AuditEntry(row.number, from_us(row.at_us), row.who, row.action, row.subject, json.loads(row.details))
            for row in session.scalars(query)
        ]

    return store.database.read(read)


def listed_images(store: AnnotationStore, state: ImageState, after: str, limit: int) -> list[ListedImage]:
    """Images in a state, by digest, behind one.

    Args:
        store: to be asked.
        state: "own": never offered as a task; "open": given out; "closed": no longer; "gold": with a known path.
        after: digest; "" from the beginning.
        limit: most images.

    Raises:
        StoreError: there is no such state.
    """
    wanted: dict[ImageState, ColumnElement[bool]] = {
        "own": ~ImageRow.offered,
        "open": ImageRow.offered & ImageRow.open,
        "closed": ImageRow.offered & ~ImageRow.open,
        "gold": ImageRow.gold.is_not(None),
    }
    if state not in wanted:
        raise StoreError(f"Images are {', '.join(IMAGE_STATES)}; {str(state)[:40]!r} is none of these.")
    query = select(ImageRow).where(wanted[state], ImageRow.sha256 > after).order_by(ImageRow.sha256).limit(limit)

    def read(session: Session) -> list[ListedImage]:
        return [_listed(session, row) for row in session.scalars(query)]

    return store.database.read(read)


def listed_image(store: AnnotationStore, sha256: str) -> ListedImage:
    """One image.

    Raises:
        StoreError: there is no such image.
    """

    def read(session: Session) -> ListedImage:
        row = session.scalar(select(ImageRow).where(ImageRow.sha256 == sha256))
        if row is None:
            raise StoreError("The store has no such image; choose another one.")
        return _listed(session, row)

    return store.database.read(read)


def _listed(session: Session, row: ImageRow) -> ListedImage:
    kept = select(func.count()).where(SubmissionRow.image_id == row.id, ~SubmissionRow.removed)
    return ListedImage(image_of(row), row.offered, session.scalar(kept) or 0)
