"""The components of one result, and what they show of it."""

from typing import Any

import gradio as gr
from gradio.components import Component

from diagnose import markup
from diagnose.chart import dwell_timeline, findings_chart
from diagnose.shown import ROLES, Result, Shown
from gazevlm_core.evaluation.checkpoint_scores import CheckpointScores
from gazevlm_core.records import Diagnosis
from web.viewer.component import PALETTES, ScanpathViewer
from web.viewer.payload import ViewerPayload

Values = dict[Any, Any]  # component -> its new value


class ResultPanel:
    """A column with one result: the first, or one to compare with it, which page.css hides until it has a title.

    A column that Gradio hides is not there at all, and the first values of one that just appears get lost.

    Args:
        number: 0 for the first, 1 for the other.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        end = "" if number == 0 else f"-{number + 1}"
        with gr.Column(min_width=240, elem_id=f"result{end}", elem_classes="gaze-result"):
            self.title = gr.HTML(elem_id=f"title{end}", elem_classes="gaze-result-title")
            self.warning = gr.HTML(elem_id=f"warning{end}")
            self.viewer = ScanpathViewer(elem_id=f"viewer{end}")
            self.answer = gr.Textbox(
                label="Answer", lines=3, max_lines=16, interactive=False, buttons=["copy"], elem_id=f"answer{end}"
            )
            self.claims = gr.HTML(elem_id=f"claims{end}")
            self.chart = gr.Plot(label="Findings: probability", elem_id=f"chart{end}")
            self.chart_note = gr.HTML(elem_id=f"chart-note{end}")
            self.timeline = gr.Plot(label="Dwell of each fixation", elem_id=f"timeline{end}", visible=False)
            self.zones = gr.HTML(elem_id=f"zones{end}")
            self.table = gr.HTML(elem_id=f"scanpath{end}")
        self.parts: list[Component] = [
            self.title, self.warning, self.viewer, self.answer, self.claims, self.chart, self.chart_note, self.timeline,
            self.zones, self.table,
        ]  # fmt: skip

    def blank(self, value: ViewerPayload | None = None, title: str | None = None) -> Values:
        """Nothing said yet.

        Args:
            value: of the viewer; None leaves it as it is.
            title: of a comparison; None where there is none, which hides the second panel.
        """
        values: Values = {
            self.title: "" if title is None else markup.title(title),
            self.warning: "",
            self.answer: "",
            self.claims: "",
            self.chart: None,
            self.chart_note: "",
            self.timeline: gr.Plot(None, visible=False),
            self.zones: "",
            self.table: "",
        }
        return values if value is None else {**values, self.viewer: value}

    def looked(self, shown: Shown, scores: CheckpointScores | None, *, revealed: bool) -> Values:
        """The path and the findings, before any word.

        Args:
            shown: with this panel's result.
            scores: of what answered.
            revealed: whether an example's truth is shown.
        """
        diagnosis = shown.results[self.number].diagnosis
        return {
            self.viewer: shown.payload(self.number, revealed=revealed, autoplay=not revealed),
            self.warning: markup.warning(diagnosis),
            self.chart: findings_chart(diagnosis.finding_probabilities, scores),
            self.chart_note: markup.chart_note(scores),
            self.timeline: self._timeline(diagnosis),
            self.zones: markup.zone_table(diagnosis),
            self.table: markup.fixation_table(diagnosis),
        }

    def wrote(self, result: Result) -> Values:
        """The words so far."""
        return {self.answer: result.diagnosis.answer}

    def told(self, result: Result) -> Values:
        """What is known with the last word: which findings it names, and what must be known of it."""
        diagnosis = result.diagnosis
        return {self.claims: markup.claims(diagnosis), self.warning: markup.warning(diagnosis)}

    def _timeline(self, diagnosis: Diagnosis) -> Any:  # noqa: ANN401 (an update of a component)
        palette = PALETTES[ROLES[self.number]]
        figure = dwell_timeline(diagnosis.scanpath, palette) if diagnosis.scanpath else None
        return gr.Plot(figure, visible=figure is not None)
