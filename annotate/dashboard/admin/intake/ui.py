"""Imports on the page: three sources, one question and quota for all, and a table of how far they are."""

from collections.abc import Callable
from pathlib import Path

import gradio as gr

from annotate.dashboard.service import DashboardService
from annotate.dashboard.words import shown_name, when
from annotate.store.imports import shown_place
from annotate.store.types import ImportStatus
from gazevlm_core.images import DEFAULT_LIMITS
from gazevlm_core.options import DEFAULT_QUESTION
from web.identity import Claim
from web.markup import Cell, Table, note, status, table
from web.page import QUIET, Values, told
from web.sign_in import Entry

LOOK_S = 3.0
MOST_SHOWN = 30
UPLOAD_MB = DEFAULT_LIMITS.max_bytes // 2**20
WHAT = (
    "Of each image its pixels and its file's name are stored, no other metadata; it is given to annotators as a task. "
    "Files that cannot be used are counted with the reason, the rest goes on, and nothing is stored twice."
)
NONE_YET = "There was no import yet."
KINDS = {"zip": "archive", "folder": "folder", "hub": "data set"}


class IntakeView:
    """Components and handlers.

    Args:
        service: of the tab.
        entry: who asks.
    """

    def __init__(self, service: DashboardService, entry: Entry) -> None:
        self.part, self.entry = service.intake, entry
        gr.HTML(note(WHAT))
        with gr.Row():
            self.question = gr.Textbox(
                DEFAULT_QUESTION, label="What annotators are asked", max_length=2000, scale=3, min_width=260,
                elem_id="dashboard-import-question",
            )  # fmt: skip
            self.quota = gr.Number(
                service.intake.store.settings.quota, label="Annotators per image", precision=None, scale=1,
                min_width=160, elem_id="dashboard-import-quota",
            )  # fmt: skip
        with gr.Row():
            with gr.Column(min_width=250):
                self.upload = gr.File(
                    label=f"Zip archive, up to {UPLOAD_MB} MB", file_types=[".zip"], height=140,
                    elem_id="dashboard-import-zip",
                )  # fmt: skip
                self.use_zip = gr.Button("Import the archive", elem_id="dashboard-import-zip-go")
            with gr.Column(min_width=250):
                self.folder = gr.Textbox(
                    label="Folder on the server", placeholder="/data/radiographs", max_lines=1,
                    info="With the folders in it; for what is too large to upload.", elem_id="dashboard-import-folder",
                )  # fmt: skip
                self.use_folder = gr.Button("Import the folder", elem_id="dashboard-import-folder-go")
            with gr.Column(min_width=250):
                self.hub = gr.Textbox(
                    label="Data set of the Hub", placeholder="owner/name or owner/name:split", max_lines=1,
                    elem_id="dashboard-import-hub", info="Its first column of images.",
                )  # fmt: skip
                self.use_hub = gr.Button("Import the data set", elem_id="dashboard-import-hub-go")
        self.status = gr.HTML(elem_id="dashboard-import-status")
        self.table = gr.HTML(elem_id="dashboard-imports")
        self.look = gr.Button("Refresh the imports", size="sm", elem_id="dashboard-import-refresh")
        self.timer = gr.Timer(LOOK_S, active=False)
        self._connect()

    def _connect(self) -> None:
        token, more = self.entry.token, [self.question, self.quota]
        shown = [self.status, self.table, self.timer]
        self.use_zip.click(self._zip, [token, self.upload, *more], [*shown, self.upload], **QUIET)
        self.use_folder.click(self._folder, [token, self.folder, *more], [*shown, self.folder], **QUIET)
        self.use_hub.click(self._hub, [token, self.hub, *more], [*shown, self.hub], **QUIET)
        self.changes = [
            event(self._refresh, token, [self.table, self.timer], **QUIET)
            for event in (self.look.click, self.timer.tick)
        ]

    def first(self, claim: Claim) -> Values:
        """The imports so far; for admins."""
        return self._imports(claim)

    # ---- handlers ---------------------------------------------------------------------------------------------------
    @told
    def _zip(self, token: str, upload: str | None, question: str, quota: float | None, request: gr.Request) -> Values:
        path = Path(upload) if upload else None
        values = self._queued(token, request, lambda claim: self.part.archive(claim, path, question, quota))
        if path is not None:
            path.unlink(missing_ok=True)  # it was copied
        return {**values, self.upload: None}

    @told
    def _folder(self, token: str, where: str, question: str, quota: float | None, request: gr.Request) -> Values:
        values = self._queued(token, request, lambda claim: self.part.folder(claim, where, question, quota))
        return {**values, self.folder: ""}

    @told
    def _hub(self, token: str, where: str, question: str, quota: float | None, request: gr.Request) -> Values:
        values = self._queued(token, request, lambda claim: self.part.hub(claim, where, question, quota))
        return {**values, self.hub: ""}

    @told
    def _refresh(self, token: str, request: gr.Request) -> Values:
        return self._imports(self.entry.claim(request, token))

    def _queued(self, token: str, request: gr.Request, queue: Callable[[Claim], int]) -> Values:
        claim = self.entry.claim(request, token)
        number = queue(claim)
        return {**self._imports(claim), self.status: status(f"Import {number} goes on in the background.")}

    def _imports(self, claim: Claim) -> Values:
        imports = self.part.imports(claim)
        goes_on = any(one.state in ("queued", "running") for one in imports)
        shown = table(import_table(imports)) if imports else note(NONE_YET)
        return {self.table: shown, self.timer: gr.Timer(active=goes_on)}


def import_table(imports: list[ImportStatus]) -> Table:
    """One row per import, the latest first."""
    heads = ("import", "state", "new", "known", "refused", "why files were refused", "asked for")
    return Table("Imports", heads, [_row(one) for one in imports[:MOST_SHOWN]])


def _row(one: ImportStatus) -> list[Cell]:
    reasons = tuple(f"{count}: {reason}" for reason, count in one.reasons.items()) or ("-",)
    name = shown_name(shown_place(one.kind, one.where))
    state = (one.state, one.error) if one.error else one.state
    return [
        (f"{one.number}: {name}", KINDS[one.kind]), state, f"{one.added:,}", f"{one.known:,}", f"{one.refused:,}",
        reasons, when(one.at),
    ]  # fmt: skip
