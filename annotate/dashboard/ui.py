"""The Annotations tab: counts and receipts for everybody, review for reviewers, administration for admins.

What a role may not use is hidden by styles, for tidiness alone: every handler asks the gate by itself.
"""

from pathlib import Path
from typing import Any

import gradio as gr

from annotate.dashboard.admin.exports.ui import ExportsView
from annotate.dashboard.admin.images.ui import ImagesView
from annotate.dashboard.admin.intake.ui import IntakeView
from annotate.dashboard.admin.log.ui import LogView
from annotate.dashboard.open.ui import OpenView
from annotate.dashboard.quality.ui import QualityView
from annotate.dashboard.review.ui import ReviewView
from annotate.dashboard.service import DashboardService
from web.identity import Gate
from web.page import QUIET, Tab, Values, told
from web.sign_in import Entry, EntryWords

HEAD = f"<style>{Path(__file__).with_name('dashboard.css').read_text(encoding='utf-8')}</style>"
WITH_TOKEN = " With the token of a reviewer or admin you can do more here."
ASK = " To review, ask whoever runs this Space to add your name to its reviewers."


class Dashboard:
    """All parts of the tab.

    Args:
        service: does everything.
        page: that holds the tab.
    """

    def __init__(self, service: DashboardService, page: gr.Blocks) -> None:
        self.service = service
        self.entry = Entry(service.gate, "dashboard", _words(service.gate), page)
        self.open = OpenView(service, self.entry)
        with gr.Tabs(elem_id="dashboard-parts") as self.parts:
            with gr.Tab("Review", id="review", elem_id="dashboard-review", render_children=True):
                self.review = ReviewView(service, self.entry)
            with gr.Tab("Quality", id="quality", elem_id="dashboard-quality", render_children=True):
                self.quality = QualityView(service, self.entry)
            with gr.Tab("Administration", id="admins", elem_id="dashboard-admins", render_children=True):
                self._admin_parts()
        for event in (*self.review.changes, *self.intake.changes):
            self.open.refresh_after(event)
        inputs, outputs = [self.entry.name, self.entry.typed], self._outputs()
        page.load(self._enter, inputs, outputs, queue=False, **QUIET)  # a crowd that opens it must not fill the queue
        self.entry.begin_with(self._enter, [], outputs)
        self.quality.on_image(self._see, [self.parts, *self.review.shown])

    def _admin_parts(self) -> None:
        with gr.Tabs(elem_id="dashboard-admin-parts"):
            with gr.Tab("Import images", elem_id="dashboard-intake", render_children=True):
                self.intake = IntakeView(self.service, self.entry)
            with gr.Tab("Tasks and gold", elem_id="dashboard-images", render_children=True):
                self.images = ImagesView(self.service, self.entry)
            with gr.Tab("Export", elem_id="dashboard-exports", render_children=True):
                self.exports = ExportsView(self.service, self.entry)
            with gr.Tab("Audit log", elem_id="dashboard-audit", render_children=True):
                self.log = LogView(self.service, self.entry)

    def _outputs(self) -> list[Any]:
        images, log, intake = self.images, self.log, self.intake
        return [
            self.entry.who, self.open.totals, self.parts, *self.review.shown, *self.quality.shown,
            intake.table, intake.timer, images.image, images.more, images.last, images.status, images.picture,
            images.path, log.table, log.before, log.status,
        ]  # fmt: skip

    @told
    def _see(self, token: str, digest: str, request: gr.Request) -> Values:
        """Open an image of the quality page in the review."""
        return {**self.review.go_to(token, digest, request), self.parts: gr.Tabs(selected="review")}

    @told
    def _enter(self, _name: str, token: str, request: gr.Request) -> Values:
        """Everything that this person may see to begin with."""
        claim = self.entry.claim(request, token)
        welcome = self.service.open.welcome(claim)
        values = {self.entry.who: self.entry.shown(welcome), **self.open.first(self.service.open.totals(claim))}
        if "reviewer" in welcome.roles:
            values |= {**self.review.first(claim), **self.quality.first(claim)}
        if "admin" in welcome.roles:
            values |= {**self.intake.first(claim), **self.images.first(claim), **self.log.first(claim)}
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
    """The tab around a store, and a way to know who asks.

    Args:
        service: does everything; start its `worker`, so that imports go on.
    """
    return Tab("Annotations", "dashboard-tab", lambda page: _fill(service, page))


def _fill(service: DashboardService, page: gr.Blocks) -> None:
    Dashboard(service, page)
