"""Images into the store: three sources, a table of how far each import is, and the thread that does them."""

import logging
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from annotate.dashboard.image_table import ImageTableView
from annotate.store.archives import check_directory
from annotate.store.image_table import Described, describe_images
from annotate.store.imports import run_next_import, shown_place
from annotate.store.model import LARGEST_NUMBER, MAIN_PROJECT, ImportKind, ImportStatus, StoreError
from annotate.store.store import AnnotationStore
from gazevlm_core.images import MAX_BYTES
from gazevlm_core.options import DEFAULT_QUESTION
from web.formatting import UNKNOWN, short_name, when
from web.identity import Claim, Gate
from web.markup import Cell, Table, note, status, table
from web.page import Values
from web.sign_in import Entry

FOLDER = "imports"
PERIOD_S = 60.0  # another worker's import may have been left behind
ORPHAN_S = 3600.0  # an archive that no import names: its upload was cut off
STOP_S = 10.0
log = logging.getLogger(__name__)
NOT_KEPT = "The archive could not be kept ({reason}); free some space on the server's disk and try again."
NO_UPLOAD = "Choose a zip archive first."
NO_TABLE = "Choose a table first: a file with the ending .csv, .tsv or .txt."
REFRESH_S = 3.0
MOST_SHOWN = 30
UPLOAD_MB = MAX_BYTES // 2**20
WHAT = (
    "Each image's pixels and file name are stored, nothing else of the file; annotators get it as a task. "
    "Unusable files are counted with the reason, the rest is imported, and nothing is stored twice."
)
NONE_YET = "No import yet."
GOES_ON = ("queued", "running")
RUNNING = "dashboard-running"
ON_CANCEL = """element.addEventListener("click", event => {
  const button = event.target.closest("[data-cancel]");
  if (!button) return;
  button.setAttribute("aria-busy", "true");
  trigger("click");
});
// other imports may stand where that one was: Gradio keeps the elements
watch("value", () => element.querySelectorAll("[aria-busy]").forEach(one => one.removeAttribute("aria-busy")));"""
# The last input of the event becomes the number of the import whose button was pressed last.
CANCELLED = f"""(...given) => {{
  const pressed = [...document.querySelectorAll("#{RUNNING} [aria-busy]")];
  pressed.forEach(one => one.removeAttribute("aria-busy"));
  return [...given.slice(0, -1), Number(pressed.at(-1)?.dataset.cancel ?? 0)];
}}"""
KINDS = {"zip": "archive", "folder": "folder", "hub": "data set"}


class ImportWorker:
    """One thread. Several processes may each have one: an import is done by one of them.

    Args:
        store: takes the images.
        folder: data folder; each archive lies in a folder of "imports" there until their import has ended.
        period_s: between two searches for imports of other processes.
    """

    def __init__(self, store: AnnotationStore, folder: Path, *, period_s: float = PERIOD_S) -> None:
        self._store, self.folder, self._period_s = store, folder / FOLDER, period_s
        self._wake, self._ended = threading.Event(), threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Search for imports now; starts the thread where it does not run."""
        self.start()
        self._wake.set()

    def start(self) -> None:
        """Go on with what was left behind, then wait."""
        with self._starting:
            if self._thread is None and not self._ended.is_set():
                self._thread = threading.Thread(target=self._run, name="imports", daemon=True)
                self._thread.start()

    def stop(self) -> bool:
        """End the thread; False where an import takes longer. It is gone on with at the next start."""
        self._ended.set()
        self._wake.set()
        if self._thread is None:
            return True
        self._thread.join(STOP_S)
        return not self._thread.is_alive()

    def work(self) -> None:
        """Do all imports that wait, and clear away what ended; on a failure of the database, later again."""
        try:
            while not self._ended.is_set() and run_next_import(self._store) is not None:
                self.clear()
            self.clear()
        except (StoreError, OSError) as error:
            log.warning("An import waits: %s", error)
        except Exception:  # the thread goes on: other imports may succeed
            log.exception("An import waits")

    def clear(self) -> None:
        """Remove the archives whose imports have ended."""
        if not self.folder.is_dir():
            return
        states = {one.where: one.state for one in self._store.imports() if one.kind == "zip"}
        for folder in self.folder.iterdir():
            found = {states[str(path)] for path in folder.iterdir() if str(path) in states}
            forgotten = not found and time.time() - folder.stat().st_mtime > ORPHAN_S
            if forgotten or (found and found <= {"done", "failed", "cancelled"}):
                shutil.rmtree(folder, ignore_errors=True)

    def _run(self) -> None:
        while not self._ended.is_set():
            self.work()
            self._wake.wait(self._period_s)
            self._wake.clear()


class ImportsService:
    """For admins; NotAllowed for everybody else. Importing returns the import's number; StoreError where there is no
    such source, no question, or a quota that is none."""

    def __init__(self, store: AnnotationStore, gate: Gate, worker: ImportWorker) -> None:
        self.store, self.gate, self._worker = store, gate, worker

    def folder(
        self, claim: Claim, where: str, question: str, quota: float | None, project: str = MAIN_PROJECT
    ) -> int:
        """Import a folder of the server into a project."""
        visitor = self.gate.admit(claim, "administer", "admin")
        where = where.strip()
        if not where or not os.path.isdir(where):  # which is False where no path can be that long
            raise StoreError("There is no such folder on the server; check the path.")
        return self._queue("folder", where, visitor.pseudonym, question, quota, project)

    def hub(
        self, claim: Claim, where: str, question: str, quota: float | None, project: str = MAIN_PROJECT
    ) -> int:
        """Import a data set of the Hub into a project, "owner/name" or "owner/name:split"."""
        visitor = self.gate.admit(claim, "administer", "admin")
        where = where.strip()
        if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?(:[\w.\-\[\]%:+]+)?", where):
            raise StoreError("This is no name of a data set; write owner/name, or owner/name:split.")
        return self._queue("hub", where, visitor.pseudonym, question, quota, project)

    def archive(
        self, claim: Claim, upload: Path | None, question: str, quota: float | None, project: str = MAIN_PROJECT
    ) -> int:
        """Import an uploaded zip archive, of which a copy is kept until that has ended.

        Args:
            claim: who asks.
            upload: the file; it stays where it is.
            question: what annotators are asked.
            quota: annotators that each image wants; None for the store's.
            project: that the images come into.

        Raises:
            StoreError: no archive, no room for it, no question, or a quota that is none.
        """
        visitor = self.gate.admit(claim, "upload", "admin")
        if upload is None or not upload.is_file():
            raise StoreError(NO_UPLOAD)
        check_directory(upload)
        folder = self._worker.folder / secrets.token_hex(8)
        kept = folder / _plain(upload.name)
        try:
            folder.mkdir(parents=True)
            shutil.copyfile(upload, kept)
            return self._queue("zip", str(kept), visitor.pseudonym, question, quota, project)
        except (OSError, StoreError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, StoreError):
                raise
            raise StoreError(NOT_KEPT.format(reason=error.strerror)) from None

    def describe(self, claim: Claim, upload: Path | None, replace_known: bool = False) -> Described:
        """Take a table of patients and metadata of images that are here; rows that cannot be taken are named.

        Args:
            claim: who asks.
            upload: the table.
            replace_known: whether what is known already gives way.

        Raises:
            StoreError: no table, or one that cannot be read as one; nothing is changed then.
        """
        visitor = self.gate.admit(claim, "upload", "admin")
        if upload is None or not upload.is_file():
            raise StoreError(NO_TABLE)
        return describe_images(self.store, upload, visitor.pseudonym, replace_known=bool(replace_known))

    def cancel(self, claim: Claim, number: float | None) -> int:
        """End an import; what it has added stays. Returns its number.

        Raises:
            StoreError: no number, or no such import that goes on.
        """
        visitor = self.gate.admit(claim, "administer", "admin")
        exact = isinstance(number, int) or (isinstance(number, float) and number.is_integer())
        if number is None or not exact or not 0 < number < LARGEST_NUMBER:
            raise StoreError("There is no such import; press Cancel beside one that goes on.")
        self.store.cancel_import(int(number), visitor.pseudonym)
        return int(number)

    def history(self, claim: Claim) -> list[ImportStatus]:
        """Return all imports and how far they are, the latest first."""
        self.gate.admit(claim, "read", "admin")
        return self.store.imports()

    def _queue(
        self, kind: ImportKind, where: str, by: str, question: str, quota: float | None, project: str
    ) -> int:
        exact = quota is None or isinstance(quota, int) or (isinstance(quota, float) and quota.is_integer())
        if not exact:
            raise StoreError("How many annotators an image wants is a whole number; change it.")
        number = self.store.queue_import(kind, where, by, question, None if quota is None else int(quota), project)
        self._worker.wake()
        return number


def _plain(name: str) -> str:
    """Return a file's name in letters, digits, dots and hyphens, ending in .zip."""
    stem = re.sub(r"[^\w.-]+", "_", Path(name).stem, flags=re.ASCII)[:60]
    return f"{stem or 'archive'}.zip"


class ImportsView:
    """Three sources of images, those imports that go on, and a table of all of them."""

    def __init__(self, service: ImportsService, entry: Entry, chosen: gr.Dropdown) -> None:
        self.service, self.chosen = service, chosen
        gr.HTML(note(WHAT))
        with gr.Row():
            self.question = gr.Textbox(
                DEFAULT_QUESTION, label="What annotators are asked", max_length=2000, scale=3, min_width=260,
                elem_id="dashboard-import-question",
            )  # fmt: skip
            self.quota = gr.Number(
                service.store.settings.quota, label="Annotators per image", precision=None, scale=1,
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
        self.running = gr.HTML(js_on_load=ON_CANCEL, elem_id=RUNNING, padding=False)
        self.table = gr.HTML(elem_id="dashboard-imports")
        self.sent = gr.Number(visible=False)  # what CANCELLED brings along
        self.refresh = gr.Button("Refresh the imports", min_width=130, scale=0, elem_id="dashboard-import-refresh")
        self.table_of_images = ImageTableView(service.describe, entry)
        self.timer = gr.Timer(REFRESH_S, active=False)
        self._connect(entry)

    def _connect(self, entry: Entry) -> None:
        self.shown = [self.running, self.table, self.timer]
        for button, source, work in (
            (self.use_zip, self.upload, self._zip),
            (self.use_folder, self.folder, self._folder),
            (self.use_hub, self.hub, self._hub),
        ):
            outputs = [self.status, *self.shown, source]
            entry.on(button.click, work, [source, self.question, self.quota, self.chosen], outputs)
        entry.on(self.running.click, self._cancel, [self.sent], [self.status, *self.shown], js=CANCELLED)
        self.changes = [entry.on(event, self.first, [], self.shown) for event in (self.refresh.click, self.timer.tick)]

    def first(self, claim: Claim) -> Values:
        """Show the imports so far."""
        imports = self.service.history(claim)
        goes_on = [one for one in imports if one.state in GOES_ON]
        tables = [import_table(imports), *refused_tables(imports)] if imports else []
        shown = "".join(map(table, tables)) or note(NONE_YET)
        return {self.running: running_html(goes_on), self.table: shown, self.timer: gr.Timer(active=bool(goes_on))}

    # ---- handlers ---------------------------------------------------------------------------------------------------
    def _zip(self, claim: Claim, upload: str | None, *options: Any) -> Values:
        path = Path(upload) if upload else None
        values = self._queued(claim, self.service.archive(claim, path, *options))
        if path is not None:
            path.unlink(missing_ok=True)  # it was copied
        return {**values, self.upload: None}

    def _folder(self, claim: Claim, where: str, *options: Any) -> Values:
        return {**self._queued(claim, self.service.folder(claim, where, *options)), self.folder: ""}

    def _hub(self, claim: Claim, where: str, *options: Any) -> Values:
        return {**self._queued(claim, self.service.hub(claim, where, *options)), self.hub: ""}

    def _cancel(self, claim: Claim, number: float | None) -> Values:
        ended = self.service.cancel(claim, number)
        return {**self.first(claim), self.status: status(f"Import {ended} is cancelled; what it has added stays.")}

    def _queued(self, claim: Claim, number: int) -> Values:
        return {**self.first(claim), self.status: status(f"Import {number} goes on in the background.")}


def running_html(imports: Sequence[ImportStatus]) -> str:
    """Return each import that goes on, with how far it is and a button that ends it; "" where none does."""
    if not imports:
        return ""
    rows = "".join(map(_running_row, imports[:MOST_SHOWN]))
    return f'<ul class="dashboard-running" aria-label="Imports that go on">{rows}</ul>'


def _running_row(one: ImportStatus) -> str:
    name = escape(f"{one.number}: {short_name(shown_place(one.kind, one.where))}")
    share = f'value="{one.looked_at}" max="{one.total}"' if one.total else ""
    bar = f'<progress {share} aria-label="How far import {one.number} is"></progress>' if one.state == "running" else ""
    state = progress_of(one) or one.state
    button = f'<button type="button" data-cancel="{one.number}" aria-label="Cancel import {name}">Cancel</button>'
    return f"<li><b>{name}</b>{bar}<span>{state}</span>{button}</li>"


def import_table(imports: list[ImportStatus]) -> Table:
    """Return one row per import, the latest first."""
    heads = ("import", "state", "new", "known", "refused", "why files were refused", "asked for")
    return Table("Imports", heads, [_row(one) for one in imports[:MOST_SHOWN]])


def refused_tables(imports: list[ImportStatus]) -> list[Table]:
    """Return a folded table of the refused files for each import that has some, the latest first."""
    return [
        Table(f"Refused files of import {one.number}, the first {len(one.refused_files)}", ("file", "why"),
              [[file, reason] for file, reason in one.refused_files], folded=True)
        for one in imports[:MOST_SHOWN] if one.refused_files
    ]  # fmt: skip


def progress_of(one: ImportStatus) -> str:
    """Return how far an import is, in words; "" where it has not begun."""
    if one.total is None:
        return f"{one.looked_at:,} files" if one.looked_at else ""
    share = f", {one.looked_at / one.total:.0%}" if one.total else ""
    return f"{one.looked_at:,} of {one.total:,} files{share}"


def _row(one: ImportStatus) -> list[Cell]:
    reasons = tuple(f"{count}: {reason}" for reason, count in one.reasons.items()) or (UNKNOWN,)
    name = short_name(shown_place(one.kind, one.where))
    state = tuple(part for part in (one.state, progress_of(one), one.error) if part)
    return [
        (f"{one.number}: {name}", KINDS[one.kind], f"into {one.project}"), state,
        f"{one.added:,}", f"{one.known:,}", f"{one.refused:,}",
        reasons, when(one.at),
    ]  # fmt: skip
