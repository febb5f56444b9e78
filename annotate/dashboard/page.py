"""The Annotations tab: counts and receipts for everybody, review for reviewers, administration for admins.

`DashboardService` is what it can do, `dashboard_tab` the page on it. What a role may not use is hidden by styles, for
tidiness alone: every method of the service asks the gate by itself.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import gradio as gr

from annotate.dashboard.bulk import BulkService
from annotate.dashboard.exports import ExportsService, ExportsView
from annotate.dashboard.images import ImagesService, ImagesView
from annotate.dashboard.imports import ImportsService, ImportsView, ImportWorker
from annotate.dashboard.overview import AuditLogService, AuditLogView, OverviewService, OverviewView
from annotate.dashboard.project import ProjectService, ProjectView, offered
from annotate.dashboard.quality import QualityService, QualityView, SurveyCache
from annotate.dashboard.review import ReviewService, ReviewView
from annotate.store.model import MAIN_PROJECT
from annotate.store.store import AnnotationStore
from annotate.sync.worker import SyncState
from gazevlm_core.findings import FINDING_NAMES
from web.identity import Claim, Gate
from web.page import QUIET, Listen, Tab, Values, show_errors
from web.sign_in import Entry, EntryWords

STYLE, SCRIPT = (Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("dashboard.css", "review.js"))
HEAD = f"<style>{STYLE}</style><script>{SCRIPT}</script>"
WITH_TOKEN = " With the token of a reviewer or admin you can do more here."
ASK = " To review, ask whoever runs this Space to add your name to its reviewers."


class DashboardService:
    """The logic of the tab. Every method of every part takes a claim and checks it; a refusal is one sentence.

    Args:
        store: everything is in it.
        gate: who asks, and whether they may.
        sync_state: what is synced; returns None where the store is not synced anywhere.
        wake_sync: syncs at once, in the background.
        folder: data folder, for uploaded archives and for work on exports.
        findings: that annotators can be asked for.

    Attributes:
        overview: for everybody.
        quality, review, bulk: for reviewers.
        project, imports, images, exports, audit_log: for admins.
        worker: does the imports; `start` it once, so that those that were left behind go on.
    """

    def __init__(
        self,
        store: AnnotationStore,
        gate: Gate,
        sync_state: Callable[[], SyncState | None],
        wake_sync: Callable[[], None],
        folder: Path,
        findings: Sequence[str] = FINDING_NAMES,
    ) -> None:
        self.gate = gate
        self.worker = ImportWorker(store, folder)
        surveys = SurveyCache(store)
        self.overview = OverviewService(store, gate, sync_state)
        self.quality = QualityService(store, gate, surveys)
        self.review = ReviewService(store, gate, surveys)
        self.bulk = BulkService(store, gate, surveys)
        self.project = ProjectService(store, gate, findings)
        self.imports = ImportsService(store, gate, self.worker)
        self.images = ImagesService(store, gate)
        self.exports = ExportsService(store, gate, folder)
        self.audit_log = AuditLogService(store, gate, sync_state, wake_sync)


class Dashboard:
    """All parts of the tab, inside the page that holds it."""

    def __init__(self, service: DashboardService, page: gr.Blocks) -> None:
        self.service = service
        self.entry = entry = Entry(service.gate, "dashboard", _words(service.gate), page)
        self.overview = OverviewView(service.overview, entry)
        with gr.Tabs(elem_id="dashboard-parts") as self.parts:
            with gr.Tab("Review", id="review", elem_id="dashboard-review", render_children=True):
                self.review = ReviewView(service.review, service.bulk, entry)
            with gr.Tab("Quality", id="quality", elem_id="dashboard-quality", render_children=True):
                self.quality = QualityView(service.quality, entry)
            with gr.Tab("Administration", id="admins", elem_id="dashboard-admins", render_children=True):
                self._admin_parts()
        for event in (*self.review.changes, *self.imports.changes):
            event.success(entry.handler(self.overview.counted), entry.token, self.overview.totals, **QUIET)
        entry.on(self.quality.image.input, self._open_image, [self.quality.image], [self.parts, *self.review.shown])
        parts = (self.review, self.quality, self.imports, self.images, self.project, self.audit_log)
        outputs = [entry.who, self.overview.totals, self.parts, *(one for part in parts for one in part.shown)]
        outputs.append(self.imports.question)
        # A crowd that opens the page must not fill the queue.
        page.load(self._enter, [entry.name, entry.typed], outputs, queue=False, **QUIET)
        entry.begin_with(self._enter, [], outputs)

    def _admin_parts(self) -> None:
        service, entry = self.service, self.entry
        chosen = self.chosen = gr.Dropdown(
            [("Main", MAIN_PROJECT)], value=MAIN_PROJECT, label="Project", filterable=False,
            info="Imports, tasks and settings below are those of this project.", elem_id="dashboard-chosen",
        )  # fmt: skip
        with gr.Tabs(elem_id="dashboard-admin-parts"):
            with gr.Tab("Import images", elem_id="dashboard-intake", render_children=True):
                self.imports = ImportsView(service.imports, entry, chosen)
            with gr.Tab("Tasks and gold", elem_id="dashboard-images", render_children=True):
                self.images = ImagesView(service.images, entry, chosen)
            with gr.Tab("Project", elem_id="dashboard-project", render_children=True):
                self.project = ProjectView(service.project, entry, chosen)
            with gr.Tab("Export", elem_id="dashboard-exports", render_children=True):
                self.exports = ExportsView(service.exports, entry, chosen)
            with gr.Tab("Audit log", elem_id="dashboard-audit", render_children=True):
                self.audit_log = AuditLogView(service.audit_log, entry)
        self.filters = [self.review.project, self.quality.project]
        outputs = [*self.project.shown, *self.images.shown, self.imports.question, *self.filters]
        entry.on(chosen.input, self._choose, [chosen], outputs)
        for event in self.project.changes:
            event.success(entry.handler(self._choose), [entry.token, chosen], outputs, **QUIET)

    def _choose(self, claim: Claim, slug: str) -> Values:
        """Show another project in all parts."""
        question = {self.imports.question: self.service.project.project(claim, slug).question}
        filters = {one: offered(self.service.project.store) for one in self.filters}  # one may be new
        return {**self.project.first(claim, slug), **self.images.first(claim, slug), **question, **filters}

    def refresh_on(self, listen: Listen) -> None:
        """Show counts, imports and the log as they are now whenever the tab is opened; what is under review stays."""
        entry = self.entry
        outputs = [entry.who, entry.name, self.overview.totals, *self.imports.shown, *self.audit_log.shown]
        listen(entry.handler(self._again), [entry.token, entry.name], outputs, queue=False, **QUIET)

    def _again(self, claim: Claim, name: str) -> Values:
        welcome = self.service.gate.welcome(claim)
        values: Values = self.overview.counted(claim)
        # Another name may have been chosen in Teach. The same one is not sent again: an answer that comes late must
        # not take back what was entered meanwhile.
        if self.service.gate.asks_name and claim.name != name:
            values |= {self.entry.who: self.entry.shown(welcome), self.entry.name: claim.name}
        if "admin" in welcome.roles:
            values |= {**self.imports.first(claim), **self.audit_log.first(claim)}
        return values

    def _open_image(self, claim: Claim, digest: str) -> Values:
        """Open an image of the quality page in the review."""
        return {**self.review.go_to(claim, digest), self.parts: gr.Tabs(selected="review")}

    @show_errors
    def _enter(self, _name: str, token: str, request: gr.Request) -> Values:
        """Return everything that this person may see to begin with."""
        claim = self.entry.claim(request, token)
        welcome = self.service.gate.welcome(claim)
        values = {self.entry.who: self.entry.shown(welcome), **self.overview.counted(claim)}
        if "reviewer" in welcome.roles:
            values |= {**self.review.first(claim), **self.quality.first(claim)}
        if "admin" in welcome.roles:
            values |= self._choose(claim, MAIN_PROJECT)
            for part in (self.imports, self.audit_log):
                values |= part.first(claim)
        else:
            values[self.parts] = gr.Tabs(selected="review")  # what is hidden now might be open
        return values


def _words(gate: Gate) -> EntryWords:
    return EntryWords(
        token="Token of a reviewer or admin",
        info="Not needed to look at the counts.",
        full="reviewer",
        nobody=" What everybody may see is below.",
        less=WITH_TOKEN if gate.asks_name else ASK,
    )


def dashboard_tab(service: DashboardService) -> Tab:
    """Return the tab around a store and whoever asks; start the service's `worker`, so that imports go on."""

    made: list[Dashboard] = []

    def fill(page: gr.Blocks) -> None:
        made.append(Dashboard(service, page))

    def connect(listen: Listen) -> None:
        made[-1].refresh_on(listen)

    return Tab("Annotations", "dashboard-tab", fill, connect, head=HEAD)
