"""What everybody may know and see: counts, what is safe where, receipts; limited by address where nobody is named."""

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import gradio as gr

from annotate.export.verify import receipt_sentence
from annotate.store.lookup import count_annotators
from annotate.store.model import Counts
from annotate.store.store import AnnotationStore
from annotate.sync.worker import SyncState
from web.formatting import when
from web.identity import Claim, Gate
from web.markup import status
from web.page import QUIET, Values, told
from web.sign_in import Entry
from web.welcome import Welcome, look_on, welcome

if TYPE_CHECKING:
    from gradio.events import Dependency

LONGEST_RECEIPT = 40  # typed with hyphens and blanks
NOT_SYNCED = "This store is not synced anywhere; its disk holds the only copy, beside exports."


@dataclass(frozen=True)
class Totals:
    """How much there is, and where it is safe.

    Args:
        counts: of the store.
        annotators: people with a submission.
        sync: of the repository; None where the store is not synced anywhere.
    """

    counts: Counts
    annotators: int
    sync: SyncState | None


class OverviewService:
    """For everybody, with or without a name.

    Args:
        store: that is shown and changed.
        gate: who asks, and whether they may.
        sync_state: what is synced; None where nothing is.
    """

    def __init__(self, store: AnnotationStore, gate: Gate, sync_state: Callable[[], SyncState | None]) -> None:
        self.store, self.gate = store, gate
        self._sync_state = sync_state

    def totals(self, claim: Claim) -> Totals:
        """How much there is, and where it is safe.

        Raises:
            NotAllowed: too many requests.
        """
        look_on(self.gate, claim)
        return Totals(self.store.counts(), count_annotators(self.store), self._sync_state())

    def receipt(self, claim: Claim, text: str) -> str:
        """Whether the store holds the submission of a receipt.

        Raises:
            NotAllowed: too many requests.
            ValueError: nothing was typed.
        """
        look_on(self.gate, claim)
        if not text.strip():
            raise ValueError("Type the ten characters of a receipt first.")
        return receipt_sentence(self.store, text[:LONGEST_RECEIPT])

    def welcome(self, claim: Claim) -> Welcome:
        """Who asks; a name without a token is an annotator.

        Raises:
            NotAllowed: a wrong token, a name that cannot be used, or too many requests.
        """
        return welcome(self.gate, claim)


class OverviewView:
    """Components and handlers.

    Args:
        service: does everything.
        entry: who asks.
    """

    def __init__(self, service: OverviewService, entry: Entry) -> None:
        self.service, self.entry = service, entry
        self.totals = gr.HTML(elem_id="dashboard-totals", padding=False)
        with gr.Row(elem_classes="dashboard-line"):
            self.receipt = gr.Textbox(
                label="Is a receipt kept here?", placeholder="ten characters, such as 7K3M9QW2XC", max_length=40,
                max_lines=1, min_width=200, elem_id="dashboard-receipt",
            )  # fmt: skip
            self.check = gr.Button("Check", min_width=90, scale=0, elem_id="dashboard-check")
            self.refresh = gr.Button("Refresh", min_width=110, scale=0, elem_id="dashboard-refresh")
        self.answer = gr.HTML(elem_id="dashboard-answer")
        for event in (self.check.click, self.receipt.submit):
            event(self._check, [entry.token, self.receipt], self.answer, **QUIET)
        self.refresh.click(self._refresh, entry.token, self.totals, **QUIET)

    def refresh_after(self, event: "Dependency") -> None:
        """Count again when something has changed."""
        event.success(self._refresh, self.entry.token, self.totals, **QUIET)

    def first(self, totals: Totals) -> Values:
        """What is there to begin with."""
        return {self.totals: totals_html(totals)}

    @told
    def _refresh(self, token: str, request: gr.Request) -> str:
        return totals_html(self.service.totals(self.entry.claim(request, token)))

    @told
    def _check(self, token: str, text: str, request: gr.Request) -> str:
        return status(self.service.receipt(self.entry.claim(request, token), text))


def totals_html(totals: Totals) -> str:
    """Counts as tiles, and a line each on what is saved here and what is synced."""
    counts = totals.counts
    tiles = [
        ("images", counts.images, f"{counts.open_images:,} still want annotators"),
        ("annotations", counts.annotations, f"{counts.pending:,} pending, {counts.accepted:,} accepted, "
         f"{counts.rejected:,} rejected"),
        ("annotators", totals.annotators, f"{counts.skips:,} tasks skipped"),
    ]  # fmt: skip
    inner = "".join(
        f'<div class="dashboard-tile"><b>{count:,}</b> <span>{name}</span><small>{words}</small></div>'
        for name, count, words in tiles
    )
    return f'<div class="dashboard-tiles">{inner}{_safe(totals)}</div>'


def _safe(totals: Totals) -> str:
    sync = totals.sync
    saved = totals.counts.annotations + totals.counts.removed
    here = f"<p><b>Saved here:</b> {saved if sync is None else sync.saved:,} submissions.</p>"
    if sync is None:
        return f'<div class="dashboard-safe">{here}<p>{NOT_SYNCED}</p></div>'
    last = f", last {when(sync.last_success_at)}" if sync.last_success_at else ""
    waits = f"; {sync.backlog:,} wait" if sync.backlog else "; nothing waits"
    there = f"<p><b>Synced:</b> {sync.synced:,}{waits}{last}.</p>"
    error = f'<p class="dashboard-trouble">{escape(sync.last_error)}</p>' if sync.last_error else ""
    return f'<div class="dashboard-safe">{here}{there}{error}</div>'
