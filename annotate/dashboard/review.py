"""Review: the next submission, its path beside the consensus, a verdict, and on to the one after."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import gradio as gr

from annotate.dashboard import review_detail
from annotate.dashboard.quality import SurveyCache
from annotate.dashboard.review_detail import Detail
from annotate.store.lookup import Waiting, next_submission, pending_numbers, submission_of, submission_on
from annotate.store.model import Counts, Stored, StoreError, Verdict
from annotate.store.store import AnnotationStore
from web.identity import Claim, Gate
from web.markup import note, status, table
from web.page import QUIET, Values, remembered, told
from web.sign_in import Entry
from web.viewer.component import ScanpathViewer
from web.viewer.payload import ViewerPayload

Queue = Literal["pending", "flagged", "accepted", "rejected", "removed"]
QUEUES: tuple[Queue, ...] = get_args(Queue)
SHORTEST_DIGEST, RECEIPT = 6, 10  # characters
MOVED = "Somebody else changed this submission meanwhile; look at it again, then decide."
EMPTY = "Choose what to look through, then “Next”."
NOTHING = "Nothing here is {queue}. Choose another list."
MAP_NOTE = "Where the annotators looked: each one's first path that was not rejected, every fixation once."
VERDICTS: tuple[tuple[str, str, Literal["primary", "stop", "secondary"]], ...] = (
    ("Accept", "accept", "primary"),
    ("Reject", "reject", "stop"),
    ("Back to pending", "reopen", "secondary"),
    ("Remove", "remove", "secondary"),
    ("Restore", "restore", "secondary"),
)
DONE = {
    "accept": "accepted", "reject": "rejected", "reopen": "pending again", "remove": "removed", "restore": "restored",
}  # fmt: skip
MOVES_ON = ("accept", "reject", "remove")
# The image is what a reviewer looks at next; on a phone it lies above the buttons.
SHOW_IMAGE = (
    "() => { if (innerWidth < 700) "
    "document.getElementById('dashboard-review-status').scrollIntoView({behavior: 'smooth'}); }"
)


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


class ReviewService:
    """For reviewers.

    Args:
        store: that is shown and changed.
        gate: who asks, and whether they may.
        surveys: tell what is flagged.
    """

    def __init__(self, store: AnnotationStore, gate: Gate, surveys: SurveyCache) -> None:
        self.store, self.gate = store, gate
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
        return review_detail.detail_of(self.store, submission_id, self._surveys.latest())

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


class ReviewView:
    """Components and handlers.

    Args:
        service: does everything.
        entry: who asks.
    """

    def __init__(self, service: ReviewService, entry: Entry) -> None:
        self.service, self.entry = service, entry
        with gr.Row(elem_classes="dashboard-line"):
            self.queue = gr.Radio(
                list(QUEUES), value="pending", label="Look through", elem_id="dashboard-queue", min_width=280, scale=3,
                info="Flagged: pending, and odd to the checks of the comparison.",
            )  # fmt: skip
            self.next = gr.Button("Next", variant="primary", min_width=90, scale=0, elem_id="dashboard-next")
            self.text = gr.Textbox(
                label="Or go to", placeholder="number, receipt, image digest", max_length=200, max_lines=1,
                min_width=200, scale=2, elem_id="dashboard-go-to",
            )  # fmt: skip
            self.go = gr.Button("Go", min_width=70, scale=0, elem_id="dashboard-go")
        self.status = gr.HTML(status(EMPTY), elem_id="dashboard-review-status")
        with gr.Column(elem_id="dashboard-review-body"):
            with gr.Row():
                with gr.Column(scale=3, min_width=300):
                    self.viewer = ScanpathViewer(elem_id="dashboard-viewer")
                with gr.Column(scale=2, min_width=280):
                    self._form()
            self.table = gr.HTML(elem_id="dashboard-submissions")
            with gr.Row():
                with gr.Column(scale=3, min_width=300):
                    self.agreement = gr.HTML(elem_id="dashboard-image-agreement")
                with gr.Column(scale=2, min_width=280):
                    gr.HTML('<h3 class="gaze-heading">Map of fixations</h3>')
                    self.heat = gr.Plot(show_label=False, elem_id="dashboard-heat")
                    gr.HTML(note(MAP_NOTE))
        self.seen = remembered()
        self.shown = [
            self.seen, self.status, self.submission, self.viewer, self.answer, self.table, self.agreement, self.heat,
            *self.buttons.values(), self.reason, self.text,
        ]  # fmt: skip
        self._connect()

    def _form(self) -> None:
        self.submission = gr.Dropdown(
            label="Submission on this image", filterable=False, elem_id="dashboard-submission"
        )
        self.everybody = gr.Checkbox(label="Show all annotators' paths", elem_id="dashboard-everybody")
        self.answer = gr.HTML(elem_id="dashboard-said")
        self.reason = gr.Textbox(
            label="Reason", info="Needed to reject, remove and restore.", lines=2, max_length=2000,
            elem_id="dashboard-reason",
        )  # fmt: skip
        self.buttons: dict[str, gr.Button] = {}
        for part in (VERDICTS[:2], VERDICTS[2:]):
            with gr.Row(elem_classes="dashboard-verdicts"):
                for words, name, variant in part:
                    self.buttons[name] = gr.Button(
                        words, variant=variant, min_width=80, interactive=False, elem_id=f"dashboard-{name}",
                        size="md" if part == VERDICTS[:2] else "sm",
                    )  # fmt: skip
        self.moves_on = gr.Checkbox(
            True, label="Then show the next one of the list", elem_id="dashboard-moves-on"
        )

    def _connect(self) -> None:
        token, everybody = self.entry.token, self.everybody
        found = self.next.click(self._next, [token, self.queue, self.seen, everybody], self.shown, **QUIET)
        found.success(None, None, None, js=SHOW_IMAGE, **QUIET)
        self.queue.input(self._begin, [token, self.queue, everybody], self.shown, **QUIET)
        for event in (self.go.click, self.text.submit):
            event(self._go, [token, self.text, everybody], self.shown, **QUIET)
        self.submission.input(self._open, [token, self.submission, everybody], self.shown, **QUIET)
        everybody.input(self._paths, [token, self.seen, everybody], self.viewer, **QUIET)
        self.changes = []
        for name, button in self.buttons.items():
            values = [token, self.seen, self.reason, self.queue, self.moves_on, everybody]
            judged = button.click(self._judging(name), values, self.shown, **QUIET)
            judged.success(None, None, None, js=SHOW_IMAGE, **QUIET)
            self.changes.append(judged)

    def first(self, claim: Claim) -> Values:
        """The first pending submission; for reviewers."""
        return self._after(claim, self.service.next(claim, "pending"), "pending", everybody=False)

    @told
    def go_to(self, token: str, text: str | None, request: gr.Request) -> Values:
        """Open what a text names; a handler for other parts of the page."""
        return self._go(token, text or "", False, request)

    # ---- handlers ---------------------------------------------------------------------------------------------------
    @told
    def _next(self, token: str, queue: Any, seen: Seen | None, everybody: bool, request: gr.Request) -> Values:  # noqa: ANN401
        claim = self.entry.claim(request, token)
        after = self.service.next(claim, queue, seen.number if seen else 0)
        return self._after(claim, after, queue, everybody=everybody)

    @told
    def _begin(self, token: str, queue: Any, everybody: bool, request: gr.Request) -> Values:  # noqa: ANN401
        claim = self.entry.claim(request, token)
        return self._after(claim, self.service.next(claim, queue), queue, everybody=everybody)

    @told
    def _go(self, token: str, text: str, everybody: bool, request: gr.Request) -> Values:
        claim = self.entry.claim(request, token)
        return self._showing(self.service.detail(claim, self.service.find(claim, text)), everybody=everybody)

    @told
    def _open(self, token: str, submission_id: str | None, everybody: bool, request: gr.Request) -> Values:
        detail = self.service.detail(self.entry.claim(request, token), submission_id or "")
        return self._showing(detail, everybody=everybody)

    @told
    def _paths(self, token: str, seen: Seen | None, everybody: bool, request: gr.Request) -> Any:  # noqa: ANN401
        if seen is None:
            return gr.skip()
        detail = self.service.detail(self.entry.claim(request, token), seen.submission_id)
        return self._payload(detail, everybody=everybody)

    def _judging(self, name: str) -> Callable[..., Values]:
        act = getattr(self.service, name)

        @told
        def judge(
            token: str, seen: Seen | None, reason: str, queue: Any, moves_on: bool, everybody: bool,  # noqa: ANN401
            request: gr.Request,
        ) -> Values:  # fmt: skip
            claim = self.entry.claim(request, token)
            act(claim, seen, reason)
            assert seen is not None
            done = f"Submission {seen.number} is {DONE[name]}. "
            if moves_on and name in MOVES_ON:
                after = self.service.next(claim, queue, seen.number)
                values = self._after(claim, after, queue, everybody=everybody, done=done)
            else:
                detail = self.service.detail(claim, seen.submission_id)
                values = self._showing(detail, everybody=everybody, done=done)
            return {**values, self.reason: ""}

        return judge

    # ---- what is shown ----------------------------------------------------------------------------------------------
    def _after(self, claim: Claim, after: Next, queue: str, *, everybody: bool, done: str = "") -> Values:
        if after.submission_id is None:
            return {**self._nothing(), self.status: status(done + NOTHING.format(queue=queue))}
        left = f"{after.left:,} {queue}. " + ("Again from the start. " if after.again else "")
        return self._showing(self.service.detail(claim, after.submission_id), everybody=everybody, done=done + left)

    def _nothing(self) -> Values:
        return {
            self.seen: None, self.submission: gr.Dropdown([], value=None), self.viewer: ViewerPayload(),
            self.answer: "", self.table: "", self.agreement: "", self.heat: None,
            **{button: gr.Button(interactive=False) for button in self.buttons.values()},
        }  # fmt: skip

    def _showing(self, detail: Detail, *, everybody: bool, done: str = "") -> Values:
        one = detail.chosen
        choices = [review_detail.choice_of(stored) for stored in detail.stored]
        possible = {
            "accept": not one.removed and one.verdict != "accepted", "reject": not one.removed,
            "reopen": not one.removed and one.verdict != "pending", "remove": not one.removed, "restore": one.removed,
        }  # fmt: skip
        return {
            self.seen: Seen(one.annotation.submission_id, one.revision, one.number),
            self.status: status(done + review_detail.headline(detail)),
            self.submission: gr.Dropdown(choices, value=one.annotation.submission_id),
            self.viewer: self._payload(detail, everybody=everybody),
            self.answer: table(review_detail.answer_table(detail)),
            self.table: table(review_detail.submission_table(detail)),
            self.agreement: table(review_detail.agreement_table(detail)),
            self.heat: review_detail.heat_figure(detail),
            **{self.buttons[name]: gr.Button(interactive=can) for name, can in possible.items()},
        }

    def _payload(self, detail: Detail, *, everybody: bool) -> ViewerPayload:
        paths = review_detail.paths_of(detail, everybody=bool(everybody))
        return self.viewer.show(detail.pixels, paths, description=f"Image {detail.image.sha256[:10]}", in_step=True)
