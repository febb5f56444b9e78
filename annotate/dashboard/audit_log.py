"""The audit log by pages, the latest entry first; and the sync, at once."""

import json
from collections.abc import Callable

import gradio as gr

from annotate.store.lookup import latest_audit
from annotate.store.model import AuditEntry, StoreError
from annotate.store.store import AnnotationStore
from annotate.sync.worker import SyncState
from web.formatting import when
from web.identity import Claim, Gate
from web.markup import Cell, Table, status, table
from web.page import QUIET, Values, remembered, told
from web.sign_in import Entry

PAGE = 50
LONGEST_DETAILS, LONGEST_SUBJECT = 300, 24
SYNCING = "The sync has begun; the counts on top tell how far it is."


class AuditLogService:
    """For admins.

    Args:
        store: that is shown and changed.
        gate: who asks, and whether they may.
        sync_state: what is synced; None where nothing is.
        wake_sync: syncs in the background.
    """

    def __init__(
        self,
        store: AnnotationStore,
        gate: Gate,
        sync_state: Callable[[], SyncState | None],
        wake_sync: Callable[[], None],
    ) -> None:
        self.store, self.gate = store, gate
        self._sync_state, self._wake_sync = sync_state, wake_sync

    def page(self, claim: Claim, before: int | None = None) -> list[AuditEntry]:
        """PAGE entries of the audit log, the latest first.

        Args:
            claim: who asks.
            before: only those with a smaller number; None for the latest.

        Raises:
            NotAllowed: not an admin.
        """
        self.gate.admit(claim, "read", "admin")
        return latest_audit(self.store, PAGE, before=before)

    def sync_now(self, claim: Claim) -> None:
        """Begin to sync, in the background.

        Raises:
            NotAllowed: not an admin.
            StoreError: this store is not synced anywhere.
        """
        self.gate.admit(claim, "administer", "admin")
        if self._sync_state() is None:
            raise StoreError("This store is not synced anywhere; set GAZEVLM_SYNC_REPO and start again.")
        self._wake_sync()


class AuditLogView:
    """Components and handlers.

    Args:
        service: does everything.
        entry: who asks.
    """

    def __init__(self, service: AuditLogService, entry: Entry) -> None:
        self.service, self.entry = service, entry
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
        self.service.sync_now(self.entry.claim(request, token))
        return status(SYNCING)

    def _page(self, claim: Claim, before: int | None) -> Values:
        entries = self.service.page(claim, before)
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
