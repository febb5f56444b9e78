"""Review: the next submission, its path beside the consensus, a verdict, and on to the one after."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import gradio as gr

from annotate.dashboard import review_detail
from annotate.dashboard.bulk import NOTHING_SEEN, BulkService, BulkView, Seen
from annotate.dashboard.project import chosen, offered, project_filter
from annotate.dashboard.quality import SurveyCache
from annotate.dashboard.review_detail import Detail
from annotate.store.lookup import count_submissions, next_submission, pending_submissions, submission_of, submission_on
from annotate.store.model import Stored, StoreError, Verdict
from annotate.store.store import AnnotationStore
from web.identity import Claim, Gate
from web.markup import heading, note, status, table
from web.page import QUIET, Values, remembered
from web.sign_in import Entry
from web.viewer.component import ScanpathViewer
from web.viewer.payload import ViewerPayload

Queue = Literal["pending", "flagged", "accepted", "rejected", "removed"]
QUEUES: tuple[Queue, ...] = get_args(Queue)
SHORTEST_DIGEST, RECEIPT = 6, 10  # characters
MOVED = "Somebody else changed this submission meanwhile; check it again, then decide."
GOLD_WENT = "Its image is no longer gold: the path rested on it. "
EMPTY = "Choose what to look through, then “Next”."
NOTHING = "Nothing here is {queue}. Choose another list."
MAP_NOTE = "Where the annotators looked: each one's first path that was not rejected, every fixation once."
Decision = Literal["accept", "reject", "reopen", "remove", "restore"]
BUTTONS: tuple[tuple[str, Decision, Literal["primary", "stop", "secondary"]], ...] = (
    ("Accept (A)", "accept", "primary"),
    ("Reject (R)", "reject", "stop"),
    ("Back to pending (U)", "reopen", "secondary"),
    ("Remove", "remove", "secondary"),
    ("Restore", "restore", "secondary"),
)
VERDICT_OF: dict[Decision, Verdict] = {"accept": "accepted", "reject": "rejected", "reopen": "pending"}
DONE = {
    "accept": "accepted", "reject": "rejected", "reopen": "pending again", "remove": "removed", "restore": "restored",
}  # fmt: skip
MOVES_ON = ("accept", "reject", "remove")
# The image is what a reviewer needs next; on a phone it lies above the buttons.
SHOW_IMAGE = (
    "() => { if (innerWidth < 700) "
    "document.getElementById('dashboard-review-status').scrollIntoView({behavior: 'smooth'}); }"
)


@dataclass(frozen=True)
class Next:
    """What comes next in a queue."""

    submission_id: str | None  # to be reviewed; None where the queue is empty
    left: int  # how many the queue holds
    again: bool = False  # whether the queue began again from its start


class ReviewService:
    """For reviewers; NotAllowed for everybody else. `surveys` tell what is flagged."""

    def __init__(self, store: AnnotationStore, gate: Gate, surveys: SurveyCache) -> None:
        self.store, self.gate, self._surveys = store, gate, surveys

    # ---- what to review ---------------------------------------------------------------------------------------------
    def next(self, claim: Claim, queue: Queue, after: int = 0, project: str = "") -> Next:
        """Return the next submission of a queue behind a number; from the queue's start where none is behind it.

        Args:
            claim: who asks.
            queue: of all submissions.
            after: the number.
            project: only what was made in it, by its short name; "" for all.

        Raises:
            StoreError: no such queue, or more flagged ones than a page surveys.
        """
        self.gate.admit(claim, "read", "reviewer")
        if queue == "flagged":
            return self._next_flagged(after, project)
        found, again = next_submission(self.store, queue, after, project), False
        if found is None and after:
            found, again = next_submission(self.store, queue, 0, project), True
        return Next(found, count_submissions(self.store, queue, project), again)

    def _next_flagged(self, after: int, project: str) -> Next:
        """Flagged by the latest survey, and still pending."""
        quality = self._surveys.latest() or self._surveys.compute()
        pending = {one.submission_id for one in pending_submissions(self.store, project=project)}
        odd = (row for row in quality.survey.submissions if row.flags or row.outliers)
        rows = sorted((row.number, row.submission_id) for row in odd if row.submission_id in pending)
        if not rows:
            return Next(None, 0)
        number, submission_id = next((row for row in rows if row[0] > after), rows[0])
        return Next(submission_id, len(rows), again=number <= after)

    def find(self, claim: Claim, text: str) -> str:
        """Find a submission's id by number, receipt, id, or the start of its image's digest; StoreError for none."""
        self.gate.admit(claim, "read", "reviewer")
        text = text.strip()[:200]
        ways: list[Callable[[], str | None]] = [lambda: text if self.store.find(text) else None]
        if len(text) == RECEIPT:
            ways.append(lambda: self._with_receipt(text))
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

    def _with_receipt(self, text: str) -> str | None:
        found = self.store.find_receipt(text)
        return None if found is None else found.annotation.submission_id

    def detail(self, claim: Claim, submission_id: str) -> Detail:
        """Return a submission among the others of its image; StoreError where there is none."""
        self.gate.admit(claim, "read", "reviewer")
        return review_detail.detail_of(self.store, submission_id, self._surveys.latest())

    # ---- verdicts ---------------------------------------------------------------------------------------------------
    def decide(self, claim: Claim, decision: Decision, seen: Seen | None, reason: str = "") -> bool:
        """Accept, reject, reopen, remove or restore what was seen; rejecting, removing and restoring need a reason.

        Returns:
            Whether the gold path of its image went with it.

        Raises:
            StoreError: a reason is missing, nothing was seen, or it changed meanwhile.
        """
        visitor = self.gate.admit(claim, "review", "reviewer")
        one = self._unchanged(seen)
        submission_id = one.annotation.submission_id
        if decision == "remove":
            return self.store.remove(submission_id, reason, visitor.pseudonym)
        if decision == "restore":
            self.store.restore(submission_id, reason, visitor.pseudonym)
            return False
        if one.removed:
            raise StoreError("This submission was removed; restore it first.")
        return self.store.review(submission_id, VERDICT_OF[decision], reason, visitor.pseudonym)

    def _unchanged(self, seen: Seen | None) -> Stored:
        found = None if seen is None else self.store.find(seen.submission_id)
        if seen is None or found is None:
            raise StoreError(NOTHING_SEEN)
        if found.revision != seen.revision:
            raise StoreError(MOVED)
        return found


class ReviewView:
    """A queue of submissions, one of them in the viewer beside the consensus, and buttons for a verdict."""

    def __init__(self, service: ReviewService, bulk: BulkService, entry: Entry) -> None:
        self.service = service
        with gr.Row(elem_classes="dashboard-line"):
            self.project = project_filter("dashboard-review-project")
            self.queue = gr.Radio(
                list(QUEUES), value="pending", label="Look through", elem_id="dashboard-queue", min_width=280, scale=3,
                info="Flagged: pending, and odd to the checks of the comparison.",
            )  # fmt: skip
            self.next = gr.Button("Next (N)", variant="primary", min_width=90, scale=0, elem_id="dashboard-next")
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
                    gr.HTML(heading("Map of fixations"))
                    self.heat = gr.Plot(show_label=False, elem_id="dashboard-heat")
                    gr.HTML(note(MAP_NOTE))
        self.seen = remembered()
        self.bulk = BulkView(bulk, entry, self.seen, self.project)
        self.shown = [
            self.project, self.seen, self.status, self.submission, self.viewer, self.answer, self.table,
            self.agreement, self.heat, *self.buttons.values(), self.reason, self.text,
        ]  # fmt: skip
        self._connect(entry)

    def _form(self) -> None:
        self.submission = gr.Dropdown(
            label="Submission on this image", filterable=False, elem_id="dashboard-submission"
        )
        self.everybody = gr.Checkbox(label="Show all annotators' paths", elem_id="dashboard-everybody")
        self.answer = gr.HTML(elem_id="dashboard-said")
        self.reason = gr.Textbox(
            label="Reason", info="Needed to reject, remove and restore; the annotator reads it, except of a restoring.",
            lines=2, max_length=2000, elem_id="dashboard-reason",
        )  # fmt: skip
        self.buttons: dict[Decision, gr.Button] = {}
        sizes: tuple[Literal["md", "sm"], ...] = ("md", "sm")
        for size, row in zip(sizes, (BUTTONS[:2], BUTTONS[2:]), strict=True):
            with gr.Row(elem_classes="dashboard-verdicts"):
                for words, name, variant in row:
                    self.buttons[name] = gr.Button(
                        words, variant=variant, min_width=80, interactive=False, size=size,
                        elem_id=f"dashboard-{name}",
                    )  # fmt: skip
        self.moves_on = gr.Checkbox(
            True, label="Then show the next one of the list", elem_id="dashboard-moves-on"
        )

    def _connect(self, entry: Entry) -> None:
        everybody, project = self.everybody, self.project
        moved = entry.on(self.next.click, self._next, [self.queue, everybody, project, self.seen], self.shown)
        entry.on([self.queue.input, project.input], self._next, [self.queue, everybody, project], self.shown)
        entry.on([self.go.click, self.text.submit], self.go_to, [self.text, everybody], self.shown)
        entry.on(self.submission.input, self._open, [self.submission, everybody], self.shown)
        entry.on(everybody.input, self._paths, [self.seen, everybody], self.viewer)
        values = [self.seen, self.reason, self.queue, self.moves_on, everybody, project]
        self.changes = [
            entry.on(button.click, partial(self._decide, decision=name), values, self.shown)
            for name, button in self.buttons.items()
        ]
        for event in (moved, *self.changes):
            event.success(None, None, None, js=SHOW_IMAGE, **QUIET)
        self.changes += self.bulk.changes

    def first(self, claim: Claim) -> Values:
        """Show the first pending submission."""
        return {self.project: offered(self.service.store), **self._next(claim, "pending", False, "")}

    # ---- handlers ---------------------------------------------------------------------------------------------------
    def go_to(self, claim: Claim, text: str | None, everybody: bool = False) -> Values:
        """Open what a text names."""
        return self._open(claim, self.service.find(claim, text or ""), everybody)

    def _next(self, claim: Claim, queue: Any, everybody: bool, project: Any, seen: Seen | None = None) -> Values:  # noqa: ANN401
        return self._after(claim, queue, chosen(project), seen.number if seen else 0, everybody=everybody)

    def _open(self, claim: Claim, submission_id: str | None, everybody: bool) -> Values:
        return self._showing(self.service.detail(claim, submission_id or ""), everybody=everybody)

    def _paths(self, claim: Claim, seen: Seen | None, everybody: bool) -> Any:  # noqa: ANN401
        if seen is None:
            return gr.skip()
        return self._payload(self.service.detail(claim, seen.submission_id), everybody=everybody)

    def _decide(
        self, claim: Claim, seen: Seen | None, reason: str, queue: Any, moves_on: bool, everybody: bool,  # noqa: ANN401
        project: Any, *, decision: Decision,  # noqa: ANN401
    ) -> Values:  # fmt: skip
        gold_went = self.service.decide(claim, decision, seen, reason)
        assert seen is not None  # or it was refused
        done = f"Submission {seen.number} is {DONE[decision]}. " + (GOLD_WENT if gold_went else "")
        if moves_on and decision in MOVES_ON:
            values = self._after(claim, queue, chosen(project), seen.number, everybody=everybody, done=done)
        else:
            values = self._showing(self.service.detail(claim, seen.submission_id), everybody=everybody, done=done)
        return {**values, self.reason: ""}

    # ---- what is shown ----------------------------------------------------------------------------------------------
    def _after(
        self, claim: Claim, queue: Any, project: str, number: int, *, everybody: bool, done: str = ""  # noqa: ANN401
    ) -> Values:
        after = self.service.next(claim, queue, number, project)
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
        possible: dict[Decision, bool] = {
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
