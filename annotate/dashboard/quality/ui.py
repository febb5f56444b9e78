"""The survey on the page: a button that computes it, tables, and the chart of annotators."""

from collections.abc import Callable, Sequence

import gradio as gr
from gradio.blocks import Block

from annotate.dashboard.quality.chart import annotator_chart
from annotate.dashboard.quality.part import Quality
from annotate.dashboard.quality.tables import agreement_table, annotator_table, image_table
from annotate.dashboard.service import DashboardService
from annotate.dashboard.words import brief, score, shown_name, when
from annotate.quality.scores import SEQUENCE
from web.identity import Claim
from web.markup import note, status, table
from web.page import QUIET, Values, told
from web.sign_in import Entry

NOT_YET = "Nothing is computed yet. It compares every two annotators of every image, which may take a while."
COMPUTING = "Comparing annotators…"
FAILED = "That did not work; the message says why."
CHART_NOTE = (
    "Each dot is an annotator, the larger the more submissions. Quick and low is worth a look; so is anybody at or "
    "below the dashed line, which paths reach that know nothing of the image or of the order."
)
MOST_LISTED = 300


class QualityView:
    """Components and handlers.

    Args:
        service: of the tab.
        entry: who asks.
    """

    def __init__(self, service: DashboardService, entry: Entry) -> None:
        self.part, self.entry = service.quality, entry
        with gr.Row(elem_classes="dashboard-line"):
            self.compute = gr.Button("Compare the annotators now", min_width=220, scale=0, elem_id="dashboard-compute")
            self.status = gr.HTML(status(NOT_YET), elem_id="dashboard-quality-status")
        with gr.Column(elem_id="dashboard-quality-body"):
            self.agreement = gr.HTML(elem_id="dashboard-agreement")
            self.chart = gr.Plot(show_label=False, elem_id="dashboard-chart")
            self.annotators = gr.HTML(elem_id="dashboard-annotators")
            self.images = gr.HTML(elem_id="dashboard-images-by-agreement")
            self.image = gr.Dropdown(label="See one of these images", elem_id="dashboard-image-by-agreement")
        self.shown = [self.status, self.agreement, self.chart, self.annotators, self.images, self.image]
        begun = self.compute.click(
            lambda: (status(COMPUTING), gr.Button(interactive=False)), None, [self.status, self.compute], queue=False,
            **QUIET,
        )  # fmt: skip
        done = begun.then(self._compute, entry.token, self.shown, concurrency_limit=1, **QUIET)
        free = (lambda: gr.Button(interactive=True), None, self.compute)
        done.success(*free, queue=False, **QUIET)
        failed = (lambda: (status(FAILED), gr.Button(interactive=True)), None, [self.status, self.compute])
        done.failure(*failed, queue=False, **QUIET)

    def first(self, claim: Claim) -> Values:
        """The latest survey, if there is one; for reviewers."""
        quality = self.part.latest(claim)
        return {self.status: status(NOT_YET)} if quality is None else self._showing(quality)

    def on_image(self, work: Callable[..., Values], outputs: Sequence[Block]) -> None:
        """Let an image that is chosen here be opened there; `work` is a handler of (token, digest, request)."""
        self.image.input(work, [self.entry.token, self.image], outputs, **QUIET)

    @told
    def _compute(self, token: str, request: gr.Request) -> Values:
        return self._showing(self.part.compute(self.entry.claim(request, token)))

    def _showing(self, quality: Quality) -> Values:
        age = "" if quality.current else " Something has changed since then."
        images = quality.images()[:MOST_LISTED]
        choices = [
            (f"{score(one.levels[SEQUENCE].value)}  {shown_name(quality.names.get(one.image_sha256, ''))}  "
             f"{brief(one.image_sha256)}", one.image_sha256)
            for one in images
        ]  # fmt: skip
        chart = annotator_chart(quality.survey)
        return {
            self.status: status(f"Computed {when(quality.made_at)}.{age}"),
            self.agreement: table(agreement_table(quality)),
            self.chart: chart,
            self.annotators: (note(CHART_NOTE) if chart else "") + table(annotator_table(quality)),
            self.images: table(image_table(quality)),
            self.image: gr.Dropdown(choices, value=None),
        }
