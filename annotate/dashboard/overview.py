"""Counts, what is safe where, and receipts for everybody; the audit log and the sync for admins."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from html import escape

import gradio as gr

from annotate.export.verify import receipt_sentence
from annotate.store.lookup import count_annotators, latest_audit
from annotate.store.model import AuditEntry, Counts, StoreError
from annotate.store.store import AnnotationStore
from annotate.sync.worker import SyncState
from web.formatting import UNKNOWN, when
from web.identity import Claim, Gate
from web.markup import Cell, Table, status, table
from web.page import Values, remembered
from web.sign_in import Entry

LONGEST_RECEIPT = 40  # typed with hyphens and blanks
LOG_PAGE, LONGEST_DETAILS, LONGEST_SUBJECT = 50, 300, 24
NOT_SYNCED = "This store is not synced anywhere; its disk holds the only copy, beside exports."
SYNCING = "The sync has begun; the counts at the top show how far it is."


@dataclass(frozen=True)
class Totals:
    """How much there is, and where it is safe."""

    counts: Counts  # of the store
    annotators: int  # people with a submission
    sync: SyncState | None  # of the repository; None where the store is not synced anywhere


class OverviewService:
    """For everybody, with or without a name; limited by address where nobody is named (NotAllowed)."""

    def __init__(self, store: AnnotationStore, gate: Gate, sync_state: Callable[[], SyncState | None]) -> None:
        self.store, self.gate, self._sync_state = store, gate, sync_state

    def totals(self, claim: Claim) -> Totals:
        """Return how much there is, and where it is safe."""
        self.gate.admit_anyone(claim)
        return Totals(self.store.counts(), count_annotators(self.store), self._sync_state())

    def receipt(self, claim: Claim, text: str) -> str:
        """Say whether the store holds the submission of a receipt; ValueError where nothing was typed."""
        self.gate.admit_anyone(claim)
        if not text.strip():
            raise ValueError("Type the ten characters of a receipt first.")
        return receipt_sentence(self.store, text[:LONGEST_RECEIPT])


class OverviewView:
    """Tiles with counts, and a box for a receipt."""

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
        entry.on([self.check.click, self.receipt.submit], self._check, [self.receipt], self.answer)
        entry.on([self.refresh.click], self.counted, [], self.totals)

    def counted(self, claim: Claim) -> Values:
        """Count anew."""
        return {self.totals: totals_html(self.service.totals(claim))}

    def _check(self, claim: Claim, text: str) -> str:
        return status(self.service.receipt(claim, text))


def totals_html(totals: Totals) -> str:
    """Return counts as tiles, and a line each on what is saved here and what is synced."""
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
    return f'<div class="dashboard-tiles">{inner}{_safe_html(totals)}</div>'


def _safe_html(totals: Totals) -> str:
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


# ---- the audit log --------------------------------------------------------------------------------------------------
class AuditLogService:
    """For admins; NotAllowed for everybody else.

    Args:
        store, gate: as everywhere in the tab.
        sync_state: what is synced; None where nothing is.
        wake_sync: syncs in the background.
    """

    def __init__(
        self, store: AnnotationStore, gate: Gate, sync_state: Callable[[], SyncState | None],
        wake_sync: Callable[[], None],
    ) -> None:  # fmt: skip
        self.store, self.gate, self._sync_state, self._wake_sync = store, gate, sync_state, wake_sync

    def page(self, claim: Claim, before: int | None = None) -> list[AuditEntry]:
        """Return LOG_PAGE entries, the latest first: those with a number below `before`; None for the latest of all."""
        self.gate.admit(claim, "read", "admin")
        return latest_audit(self.store, LOG_PAGE, before=before)

    def sync_now(self, claim: Claim) -> None:
        """Begin to sync, in the background; StoreError where this store is not synced anywhere."""
        self.gate.admit(claim, "administer", "admin")
        if self._sync_state() is None:
            raise StoreError("This store is not synced anywhere; set GAZEVLM_SYNC_REPO and start again.")
        self._wake_sync()


class AuditLogView:
    """The log by pages, and a button to sync."""

    def __init__(self, service: AuditLogService, entry: Entry) -> None:
        self.service = service
        with gr.Row(elem_classes="dashboard-line"):
            self.latest = gr.Button("The latest", min_width=110, scale=0, elem_id="dashboard-log-latest")
            self.older = gr.Button("Older ones", min_width=110, scale=0, elem_id="dashboard-log-older")
            self.sync = gr.Button("Sync now", min_width=110, scale=0, elem_id="dashboard-sync")
            self.status = gr.HTML(status(""), elem_id="dashboard-log-status")
        self.table = gr.HTML(elem_id="dashboard-log")
        self.before = remembered()  # number of the last entry that is shown
        self.shown = [self.table, self.before, self.status]
        entry.on(self.latest.click, self.first, [], self.shown)
        entry.on(self.older.click, self._page, [self.before], self.shown)
        entry.on(self.sync.click, self._sync, [], self.status)

    def first(self, claim: Claim) -> Values:
        """Show the latest entries."""
        return self._page(claim, None)

    def _sync(self, claim: Claim) -> str:
        self.service.sync_now(claim)
        return status(SYNCING)

    def _page(self, claim: Claim, before: int | None) -> Values:
        entries = self.service.page(claim, before)
        if not entries:
            return {self.status: status("There are no older entries." if before else "Nothing was done yet.")}
        words = f"Entries {entries[0].number:,} to {entries[-1].number:,}, {LOG_PAGE} at a time."
        return {self.table: table(log_table(entries)), self.before: entries[-1].number, self.status: status(words)}


def log_table(entries: list[AuditEntry]) -> Table:
    """Return one row per entry."""
    rows: list[list[Cell]] = [
        [
            (str(one.number), when(one.at)), one.who, one.action, one.subject[:LONGEST_SUBJECT],
            json.dumps(one.details, ensure_ascii=False)[:LONGEST_DETAILS] if one.details else UNKNOWN,
        ]
        for one in entries
    ]  # fmt: skip
    return Table("What was done, the latest first", ("entry", "who", "what", "to what", "details"), rows)
