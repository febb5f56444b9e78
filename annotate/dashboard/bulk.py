"""Many verdicts at once, and annotators from whom nothing is taken any more."""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import gradio as gr

from annotate.dashboard.project import chosen
from annotate.dashboard.quality import SurveyCache
from annotate.store.lookup import PendingOne, pending_submissions
from annotate.store.model import StoreError, Verdict
from annotate.store.store import AnnotationStore
from web.formatting import counted, short_digest
from web.identity import Claim, Gate
from web.markup import note, status
from web.page import QUIET, Values, remembered
from web.sign_in import Entry

Odd = Literal["all", "flagged", "not flagged"]
ODD: tuple[Odd, ...] = get_args(Odd)
MOST_AT_ONCE = 500
WHAT = (
    f"Pending submissions alone, at most {MOST_AT_ONCE} at once. Count them first: the verdict is for those that were "
    "counted, and leaves out what changed since."
)
COUNT_FIRST = "Count the submissions first."
OTHERS_SEEN = "Nothing was done: what was counted is {whose}, and another submission is shown now. Count again."
NOTHING_SEEN = "Choose a submission first."


@dataclass(frozen=True)
class Seen:
    """The submission that a reviewer sees: a verdict on anything else is refused."""

    submission_id: str
    revision: int
    number: int


@dataclass(frozen=True)
class Counted:
    """What a verdict will be for.

    Args:
        ones: by number.
        more: how many match beside these.
        unchecked: how many came after the latest comparison, where it is asked what that says.
        annotator, image: pseudonym and digest of those that they were counted for; None for all.
        project: short name of the one that they were counted in; "" for all.
    """

    ones: tuple[PendingOne, ...]
    more: int
    unchecked: int = 0
    annotator: str | None = None
    image: str | None = None
    project: str = ""

    @property
    def whose(self) -> str:
        """Of whom, on which image and in which project they are, in words; "" for all."""
        parts = (
            self.annotator and f"of {self.annotator}", self.image and f"on image {short_digest(self.image)}",
            self.project and f"in project {self.project}",
        )  # fmt: skip
        return " ".join(part for part in parts if part)


@dataclass(frozen=True)
class Judged:
    """What a verdict on many did.

    Args:
        done: how many submissions were judged.
        left: how many were left, since they had changed.
        gold_gone: from how many images it took the gold path, which had rested on one of them.
    """

    done: int
    left: int
    gold_gone: int

    def in_words(self, verdict: Verdict, found: Counted | None) -> str:
        """Say it: a verdict on what had been counted."""
        whose = f" {found.whose}" if found and found.whose else ""
        parts = [f"{counted(self.done, 'submission')}{whose} {'is' if self.done == 1 else 'are'} {verdict}."]
        parts += [f"{self.left:,} had changed meanwhile and were left."] if self.left else []
        gone = counted(self.gold_gone, "image is", "images are")
        parts += [f"{gone} no longer gold: the known path rested on what was {verdict}."] if self.gold_gone else []
        return " ".join(parts)


class OthersSeenError(StoreError):
    """What was counted is of another annotator, or on another image, than what is seen by now."""


class BulkService:
    """For reviewers; NotAllowed for everybody else. `surveys` tell what is flagged."""

    def __init__(self, store: AnnotationStore, gate: Gate, surveys: SurveyCache) -> None:
        self.store, self.gate, self._surveys = store, gate, surveys

    def count(
        self, claim: Claim, seen: Seen | None, same_annotator: bool = False, same_image: bool = False,
        odd: Odd = "all", project: str = "",
    ) -> Counted:  # fmt: skip
        """Return the pending submissions that match.

        Args:
            claim: who asks.
            seen: the submission that the reviewer sees.
            same_annotator, same_image: only those of its annotator, and on its image.
            odd: what the checks of the comparison say of them.
            project: only what was made in it, by its short name; "" for all.

        Raises:
            StoreError: nothing is seen, or an unknown filter.
        """
        self.gate.admit(claim, "read", "reviewer")
        if odd not in ODD:
            raise StoreError(f"Choose one of {', '.join(ODD)}.")
        shown = None if seen is None else self.store.find(seen.submission_id)
        if shown is None and (same_annotator or same_image):
            raise StoreError(NOTHING_SEEN)
        annotator = shown.annotation.annotator if shown and same_annotator else None
        image = shown.image_sha256 if shown and same_image else None
        ones = pending_submissions(self.store, annotator, image, project)
        unchecked = 0
        if odd != "all":
            rows = (self._surveys.latest() or self._surveys.compute()).survey.submissions
            flagged = {row.submission_id: bool(row.flags or row.outliers) for row in rows}
            unchecked = sum(one.submission_id not in flagged for one in ones)  # nobody knows what these are
            ones = [one for one in ones if flagged.get(one.submission_id) is (odd == "flagged")]
        more = max(0, len(ones) - MOST_AT_ONCE)
        return Counted(tuple(ones[:MOST_AT_ONCE]), more, unchecked, annotator, image, project)

    def decide(
        self, claim: Claim, verdict: Verdict, counted: Counted | None, seen: Seen | None, reason: str = ""
    ) -> "Judged":
        """Judge what was counted; rejecting needs a reason.

        Args:
            claim: who asks.
            verdict: on all of them.
            counted: by `count`.
            seen: the submission that the reviewer sees now.
            reason: for the verdict.

        Raises:
            OthersSeenError: it was counted for another annotator or image than what is seen.
            StoreError: nothing was counted, or no reason.
        """
        visitor = self.gate.admit(claim, "review", "reviewer")
        if counted is None or not counted.ones:
            raise StoreError(COUNT_FIRST)
        shown = None if seen is None else self.store.find(seen.submission_id)
        now = (shown.annotation.annotator, shown.image_sha256) if shown else ("", "")
        if any(then not in (None, this) for then, this in zip((counted.annotator, counted.image), now, strict=True)):
            raise OthersSeenError(OTHERS_SEEN.format(whose=counted.whose))
        if verdict == "rejected" and not reason.strip():
            raise StoreError("The reason for rejecting is empty; write something.")
        went = [
            self.store.review_unchanged(one.submission_id, one.revision, verdict, reason, visitor.pseudonym)
            for one in counted.ones
        ]
        return Judged(len(went) - went.count(None), went.count(None), went.count(True))

    def block(self, claim: Claim, seen: Seen | None, blocked: bool, reason: str) -> str:
        """Take nothing more from the annotator of what is seen, or let them go on; returns their pseudonym.

        Raises:
            StoreError: nothing is seen, or no reason.
        """
        visitor = self.gate.admit(claim, "review", "reviewer")
        shown = None if seen is None else self.store.find(seen.submission_id)
        if shown is None:
            raise StoreError(NOTHING_SEEN)
        self.store.set_blocked(shown.annotation.annotator, blocked, reason, visitor.pseudonym)
        return shown.annotation.annotator


class BulkView:
    """A fold below the review: filters, a count, two verdicts, and the annotator."""

    def __init__(self, service: BulkService, entry: Entry, seen: gr.State, project: gr.Dropdown) -> None:
        self.service = service
        with gr.Accordion("Many at once; this annotator", open=False, elem_id="dashboard-bulk"):
            gr.HTML(note(WHAT))
            with gr.Row(elem_classes="dashboard-line"):
                self.annotator = gr.Checkbox(True, label="Only this annotator", elem_id="dashboard-bulk-annotator")
                self.image = gr.Checkbox(label="Only this image", elem_id="dashboard-bulk-image")
                self.odd = gr.Radio(list(ODD), value="all", label="Checks", elem_id="dashboard-bulk-odd", min_width=240)
                self.count = gr.Button("Count", min_width=90, scale=0, elem_id="dashboard-bulk-count")
            self.reason = gr.Textbox(
                label="Reason", info="Needed to reject and to block; annotators read it beside what is rejected.",
                max_lines=2, max_length=2000, elem_id="dashboard-bulk-reason",
            )  # fmt: skip
            with gr.Row(elem_classes="dashboard-verdicts"):
                self.accept = gr.Button("Accept these", variant="primary", elem_id="dashboard-accept-these")
                self.reject = gr.Button("Reject these", variant="stop", elem_id="dashboard-reject-these")
                self.block = gr.Button("Block this annotator", min_width=150, elem_id="dashboard-block")
                self.let_in = gr.Button("Let in again", min_width=110, elem_id="dashboard-let-in")
            self.status = gr.HTML(status(""), elem_id="dashboard-bulk-status")
        self.counted = remembered()
        filters = [seen, self.annotator, self.image, self.odd, project]
        entry.on(self.count.click, self._count, filters, [self.counted, self.status])
        for choice in (self.annotator, self.image, self.odd, project):  # what was counted is not what stands there now
            choice.input(lambda: (None, status("")), None, [self.counted, self.status], queue=False, **QUIET)
        verdicts: tuple[tuple[gr.Button, Verdict], ...] = ((self.accept, "accepted"), (self.reject, "rejected"))
        self.changes = [
            entry.on(
                button.click, partial(self._judge, verdict=verdict), [self.counted, seen, self.reason],
                [self.counted, self.status],
            )
            for button, verdict in verdicts
        ]
        for button, blocked in ((self.block, True), (self.let_in, False)):
            entry.on(button.click, partial(self._block, blocked=blocked), [seen, self.reason], self.status)

    def _count(
        self, claim: Claim, seen: Seen | None, annotator: bool, image: bool, odd: Any, project: Any  # noqa: ANN401
    ) -> Values:
        found = self.service.count(claim, seen, bool(annotator), bool(image), odd, chosen(project))
        more = f" {found.more:,} more match; do these first." if found.more else ""
        new = f" {found.unchecked:,} came after the latest comparison and are left out." if found.unchecked else ""
        whose = found.whose and f" {found.whose}"
        many = counted(len(found.ones), "pending submission")
        words = f"{many}{whose} {'is' if len(found.ones) == 1 else 'are'} counted.{more}{new}"
        return {self.counted: found, self.status: status(words)}

    def _judge(
        self, claim: Claim, found: Counted | None, seen: Seen | None, reason: str, *, verdict: Verdict
    ) -> Values:
        try:
            judged = self.service.decide(claim, verdict, found, seen, reason)
        except OthersSeenError as error:
            return {self.counted: None, self.status: status(str(error))}
        return {self.counted: None, self.status: status(judged.in_words(verdict, found))}

    def _block(self, claim: Claim, seen: Seen | None, reason: str, *, blocked: bool) -> str:
        who = self.service.block(claim, seen, blocked, reason)
        return status(f"Nothing more is taken from {who}." if blocked else f"{who} may go on.")
