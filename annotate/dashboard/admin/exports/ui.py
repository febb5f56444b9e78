"""Export and its import on the page. The archive is fetched from a place whose name nobody can guess."""

import secrets
import shutil
import threading
from pathlib import Path
from typing import Any

import gradio as gr

from annotate.dashboard.service import DashboardService
from annotate.export.folder import FORMATS
from annotate.export.intake import Imported
from gazevlm_core.images import DEFAULT_LIMITS
from web.markup import note, status
from web.page import QUIET, Values, told
from web.sign_in import Entry

KEPT_S = 3600.0  # after that the archive is removed from the server
FORMAT_WORDS = {
    "jsonl": "JSON lines", "parquet": "parquet (datasets)", "coco": "COCO keypoints", "csv": "CSV",
    "gaze": "training set",
}  # fmt: skip
WHICH = [("everything: a full copy, also of what was rejected or removed", "all"),
         ("accepted submissions: for publishing", "accepted")]  # fmt: skip
NAMES = "Write people's names beside their pseudonyms. Not for publishing."
UPLOAD_MB = DEFAULT_LIMITS.max_bytes // 2**20
WHAT = (
    "Annotators are pseudonyms, unless names are asked for. The archive can be fetched for an hour under a link that "
    "only you are given; whoever has the link can fetch it too."
)
BACK = (
    "Takes in the archive of an export, all of it or nothing: images, submissions with their receipts and verdicts, "
    "skips and the audit log. What is there already stays as it is."
)
BUILDING, READING = "Writing the archive…", "Checking the archive…"
FAILED = "That did not work; the message says why."


class ExportsView:
    """Components and handlers.

    Args:
        service: of the tab.
        entry: who asks.
    """

    def __init__(self, service: DashboardService, entry: Entry) -> None:
        self.part, self.entry = service.exports, entry
        with gr.Row():
            with gr.Column(min_width=300):
                self._out()
            with gr.Column(min_width=300):
                self._back()
        self._connect()

    def _out(self) -> None:
        gr.HTML('<h3 class="gaze-heading">Export</h3>' + note(WHAT))
        self.which = gr.Radio(WHICH, value="all", label="What", elem_id="dashboard-export-which")
        formats = [(words, name) for name, words in FORMAT_WORDS.items() if name in FORMATS]
        self.formats = gr.CheckboxGroup(
            formats, value=list(FORMATS), label="Formats", elem_id="dashboard-export-formats",
            info="Only with JSON lines or parquet can it be imported again.",
        )  # fmt: skip
        self.licence = gr.Textbox(
            label="Licence", placeholder="such as cc-by-4.0; empty: none is named", max_length=60, max_lines=1,
            elem_id="dashboard-export-licence",
        )  # fmt: skip
        self.names = gr.Checkbox(label=NAMES, elem_id="dashboard-export-names")
        self.build = gr.Button("Write the archive", variant="primary", elem_id="dashboard-export-go")
        self.out_status = gr.HTML(status(""), elem_id="dashboard-export-status")
        self.file = gr.File(label="Archive", interactive=False, elem_id="dashboard-export-file")

    def _back(self) -> None:
        gr.HTML('<h3 class="gaze-heading">Import an export</h3>' + note(BACK))
        self.upload = gr.File(
            label=f"Zip archive of an export, up to {UPLOAD_MB} MB; larger: gazevlm annotations import",
            file_types=[".zip"], height=140, elem_id="dashboard-back-file",
        )  # fmt: skip
        self.take = gr.Button("Import it", elem_id="dashboard-back-go")
        self.back_status = gr.HTML(status(""), elem_id="dashboard-back-status")

    def _connect(self) -> None:
        token = self.entry.token
        choices = [token, self.which, self.formats, self.licence, self.names]
        self._run(self.build, self.out_status, BUILDING, self._export, choices, [self.out_status, self.file])
        self._run(
            self.take, self.back_status, READING, self._take_back, [token, self.upload], [self.back_status, self.upload]
        )

    def _run(
        self, button: gr.Button, line: gr.HTML, words: str, work: Any, inputs: list[Any], outputs: list[Any]  # noqa: ANN401
    ) -> None:
        """Say what is done, do it, one at a time, and free the button again whatever came of it."""
        both = [line, button]
        begun = button.click(
            lambda: (status(words), gr.Button(interactive=False)), None, both, queue=False, **QUIET
        )
        done = begun.then(work, inputs, outputs, concurrency_limit=1, **QUIET)
        done.success(lambda: gr.Button(interactive=True), None, button, queue=False, **QUIET)
        done.failure(lambda: (status(FAILED), gr.Button(interactive=True)), None, both, queue=False, **QUIET)

    # ---- handlers ---------------------------------------------------------------------------------------------------
    @told
    def _export(
        self, token: str, which: Any, formats: list[str], licence: str, names: bool, request: gr.Request  # noqa: ANN401
    ) -> Values:
        target = Path(self.file.GRADIO_CACHE) / f"export-{secrets.token_hex(24)}"  # 192 bits that nobody guesses
        done = self.part.export(
            self.entry.claim(request, token), target, which=which, formats=formats, licence=licence, names=names
        )
        removal = threading.Timer(KEPT_S, shutil.rmtree, (target,), {"ignore_errors": True})
        removal.daemon = True
        removal.start()
        counts = done.counts
        words = f"{counts['submissions']:,} submissions on {counts['images']:,} images."
        return {self.out_status: status(words), self.file: str(done.path)}

    @told
    def _take_back(self, token: str, upload: str | None, request: gr.Request) -> Values:
        path = Path(upload) if upload else None
        done = self.part.take_back(self.entry.claim(request, token), path)
        if path is not None:
            path.unlink(missing_ok=True)
        return {self.back_status: status(_told(done)), self.upload: None}


def _told(done: Imported) -> str:
    kinds = sorted(done.added | done.known)
    parts = [f"{done.added[kind]:,} new and {done.known[kind]:,} known {kind}" for kind in kinds]
    return f"Imported: {'; '.join(parts)}." if parts else "There was nothing in it."
