"""What everybody sees: how much there is, what is safe where, and whether a receipt is kept."""

from html import escape
from typing import TYPE_CHECKING

import gradio as gr

from annotate.dashboard.open.part import Totals
from annotate.dashboard.service import DashboardService
from annotate.dashboard.words import when
from web.markup import status
from web.page import QUIET, Values, told
from web.sign_in import Entry

if TYPE_CHECKING:
    from gradio.events import Dependency

NOT_SYNCED = "This store is not synced anywhere; its disk holds the only copy, beside exports."


class OpenView:
    """Components and handlers.

    Args:
        service: of the tab.
        entry: who asks.
    """

    def __init__(self, service: DashboardService, entry: Entry) -> None:
        self.part, self.entry = service.open, entry
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
        return totals_html(self.part.totals(self.entry.claim(request, token)))

    @told
    def _check(self, token: str, text: str, request: gr.Request) -> str:
        return status(self.part.receipt(self.entry.claim(request, token), text).sentence)


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
