"""The audit log on the page, by pages, and a button that syncs at once."""

import json

import gradio as gr

from annotate.dashboard.admin.log.part import PAGE
from annotate.dashboard.service import DashboardService
from annotate.dashboard.words import when
from annotate.store.types import AuditEntry
from web.identity import Claim
from web.markup import Cell, Table, status, table
from web.page import QUIET, Values, remembered, told
from web.sign_in import Entry

LONGEST_DETAILS, LONGEST_SUBJECT = 300, 24
SYNCING = "The sync has begun; the counts on top tell how far it is."


class LogView:
    """Components and handlers.

    Args:
        service: of the tab.
        entry: who asks.
    """

    def __init__(self, service: DashboardService, entry: Entry) -> None:
        self.part, self.entry = service.log, entry
        with gr.Row(elem_classes="dashboard-line"):
            self.latest = gr.Button("The latest", min_width=110, scale=0, elem_id="dashboard-log-latest")
            self.older = gr.Button("Older ones", min_width=110, scale=0, elem_id="dashboard-log-older")
            self.sync = gr.Button("Sync now", min_width=110, scale=0, elem_id="dashboard-sync")
            self.status = gr.HTML(status(""), elem_id="dashboard-log-status")
        self.table = gr.HTML(elem_id="dashboard-log")
        self.before = remembered()  # number of the last entry that is shown
        shown = [self.table, self.before, self.status]
        self.latest.click(self._latest, entry.token, shown, **QUIET)
        self.older.click(self._older, [entry.token, self.before], shown, **QUIET)
        self.sync.click(self._sync, entry.token, self.status, **QUIET)

    def first(self, claim: Claim) -> Values:
        """The latest entries; for admins."""
        return self._page(claim, None)

    @told
    def _latest(self, token: str, request: gr.Request) -> Values:
        return self._page(self.entry.claim(request, token), None)

    @told
    def _older(self, token: str, before: int | None, request: gr.Request) -> Values:
        return self._page(self.entry.claim(request, token), before)

    @told
    def _sync(self, token: str, request: gr.Request) -> str:
        self.part.sync_now(self.entry.claim(request, token))
        return status(SYNCING)

    def _page(self, claim: Claim, before: int | None) -> Values:
        entries = self.part.page(claim, before)
        if not entries:
            return {self.status: status("There are no older entries." if before else "Nothing was done yet.")}
        words = f"Entries {entries[0].number:,} to {entries[-1].number:,}, {PAGE} at a time."
        return {self.table: table(log_table(entries)), self.before: entries[-1].number, self.status: status(words)}


def log_table(entries: list[AuditEntry]) -> Table:
    """One row per entry."""
    rows: list[list[Cell]] = [
        [
            (str(one.number), when(one.at)), one.who, one.action, one.subject[:LONGEST_SUBJECT],
            json.dumps(one.details, ensure_ascii=False)[:LONGEST_DETAILS] if one.details else "-",
        ]
        for one in entries
    ]  # fmt: skip
    return Table("What was done, the latest first", ("entry", "who", "what", "to what", "details"), rows)
