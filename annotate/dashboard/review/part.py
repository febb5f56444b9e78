"""What reviewers do: go from one submission to the next, see it among the others of its image, and judge it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from annotate.dashboard.part import Part
from annotate.dashboard.quality.part import SurveyCache
from annotate.dashboard.review.detail import Detail, detail_of
from annotate.store.lookup import Waiting, next_submission, pending_numbers, submission_of, submission_on
from annotate.store.store import AnnotationStore
from annotate.store.types import Counts, Stored, StoreError, Verdict
from web.identity import Claim, Gate

Queue = Literal["pending", "flagged", "accepted", "rejected", "removed"]
QUEUES: tuple[Queue, ...] = get_args(Queue)
SHORTEST_DIGEST, RECEIPT = 6, 10  # characters
MOVED = "Somebody else changed this submission meanwhile; look at it again, then decide."


@dataclass(frozen=True)
class Next:
    """What comes next in a queue.

    Args:
        submission_id: to be looked at; None where the queue is empty.
        left: how many the queue holds.
        again: whether the queue began again from its start.
    """

    submission_id: str | None
    left: int
    again: bool = False


@dataclass(frozen=True)
class Seen:
    """What a reviewer has before their eyes: a verdict on anything else is refused.

    Args:
        submission_id: of the submission.
        revision: of it.
        number: of it.
    """

    submission_id: str
    revision: int
    number: int


class ReviewPart(Part):
    """For reviewers.

    Args:
        store, gate: as in `Part`.
        surveys: tell what is flagged.
    """

    def __init__(self, store: AnnotationStore, gate: Gate, surveys: SurveyCache) -> None:
        super().__init__(store, gate)
        self._surveys = surveys

    # ---- what to look at --------------------------------------------------------------------------------------------
    def next(self, claim: Claim, queue: Queue, after: int = 0) -> Next:
        """The next submission of a queue behind a number; from the queue's start where none is behind it.

        Raises:
            NotAllowed: not a reviewer.
            StoreError: no such queue, or more flagged ones than a page surveys.
        """
        self.gate.admit(claim, "read", "reviewer")
        if queue == "flagged":
            return self._next_flagged(after)
        found, again = next_submission(self.store, queue, after), False
        if found is None and after:
            found, again = next_submission(self.store, queue, 0), True
        return Next(found, _size(queue, self.store.counts()), again)

    def _next_flagged(self, after: int) -> Next:
        """Flagged by the latest survey, and still pending."""
        quality = self._surveys.latest() or self._surveys.compute()
        pending = pending_numbers(self.store)
        odd = (row for row in quality.survey.submissions if row.flags or row.outliers)
        rows = sorted((row.number, row.submission_id) for row in odd if row.number in pending)
        if not rows:
            return Next(None, 0)
        number, submission_id = next((row for row in rows if row[0] > after), rows[0])
        return Next(submission_id, len(rows), again=number <= after)

    def find(self, claim: Claim, text: str) -> str:
        """Id of a submission by its number, its receipt, its id, or the beginning of its image's digest.

        Raises:
            NotAllowed: not a reviewer.
            StoreError: there is none.
        """
        self.gate.admit(claim, "read", "reviewer")
        text = text.strip()[:200]
        ways: list[Callable[[], str | None]] = [lambda: text if self.store.find(text) else None]
        if len(text) == RECEIPT:
            ways.append(lambda: _id_of(self.store.find_receipt(text)))
        if text.isascii() and text.isdigit() and len(text) < RECEIPT:
            ways.append(lambda: submission_of(self.store, int(text)))
        if len(text) >= SHORTEST_DIGEST and not set(text.lower()) - set("0123456789abcdef"):
            ways.append(lambda: submission_on(self.store, text.lower()))
        for way in ways if text else []:
            if (found := way()) is not None:
                return found
        raise StoreError(
            "Nothing is found; give a submission's number, a receipt, or the first six or more digits of an image."
        )

    def detail(self, claim: Claim, submission_id: str) -> Detail:
        """A submission among the others of its image.

        Raises:
            NotAllowed: not a reviewer.
            StoreError: there is no such submission.
        """
        self.gate.admit(claim, "read", "reviewer")
        return detail_of(self.store, submission_id, self._surveys.latest())

    # ---- verdicts ---------------------------------------------------------------------------------------------------
    def accept(self, claim: Claim, seen: Seen | None, reason: str = "") -> None:
        """Accept what was seen.

        Raises:
            NotAllowed: not a reviewer.
            StoreError: nothing was seen, or it changed meanwhile.
        """
        self._judge(claim, seen, "accepted", reason)

    def reject(self, claim: Claim, seen: Seen | None, reason: str) -> None:
        """Reject what was seen; the reason is needed.

        Raises:
            NotAllowed: not a reviewer.
            StoreError: no reason, nothing was seen, or it changed meanwhile.
        """
        self._judge(claim, seen, "rejected", reason)

    def reopen(self, claim: Claim, seen: Seen | None, reason: str = "") -> None:
        """Take a verdict back: the submission is pending again.

        Raises:
            NotAllowed: not a reviewer.
            StoreError: nothing was seen, or it changed meanwhile.
        """
        self._judge(claim, seen, "pending", reason)

    def _judge(self, claim: Claim, seen: Seen | None, verdict: Verdict, reason: str) -> None:
        visitor = self.gate.admit(claim, "review", "reviewer")
        one = self._unchanged(seen)
        if one.removed:
            raise StoreError("This submission was removed; restore it first.")
        self.store.review(one.annotation.submission_id, verdict, reason, visitor.pseudonym)

    def remove(self, claim: Claim, seen: Seen | None, reason: str) -> None:
        """Take out of sight what was seen; the reason is needed, and it can be restored.

        Raises:
            NotAllowed: not a reviewer.
            StoreError: no reason, nothing was seen, or it changed meanwhile.
        """
        visitor = self.gate.admit(claim, "review", "reviewer")
        self.store.remove(self._unchanged(seen).annotation.submission_id, reason, visitor.pseudonym)

    def restore(self, claim: Claim, seen: Seen | None, reason: str) -> None:
        """Undo `remove`; the reason is needed.

        Raises:
            NotAllowed: not a reviewer.
            StoreError: no reason, nothing was seen, or it changed meanwhile.
        """
        visitor = self.gate.admit(claim, "review", "reviewer")
        self.store.restore(self._unchanged(seen).annotation.submission_id, reason, visitor.pseudonym)

    def _unchanged(self, seen: Seen | None) -> Stored:
        found = None if seen is None else self.store.find(seen.submission_id)
        if seen is None or found is None:
            raise StoreError("Choose a submission first.")
        if found.revision != seen.revision:
            raise StoreError(MOVED)
        return found


def _size(queue: Waiting, counts: Counts) -> int:
    return {
        "pending": counts.pending, "accepted": counts.accepted, "rejected": counts.rejected, "removed": counts.removed,
    }[queue]  # fmt: skip


def _id_of(found: Stored | None) -> str | None:
    return None if found is None else found.annotation.submission_id
