"""One result on the page, and what the server remembers of a visitor's page between events."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape

import gradio as gr
from gradio.components import Component

from diagnose.service import example_reading
from diagnose.tab import markup
from gazevlm_core.evaluation.checkpoint_scores import CheckpointScores
from gazevlm_core.path_style import STYLE
from gazevlm_core.records import Diagnosis
from web.page import Values
from web.viewer.component import ScanpathViewer
from web.viewer.payload import Role, ViewerGrid, ViewerPath, ViewerPayload, viewer_path

ROLES: tuple[Role, Role] = ("model", "second model")
NAMES: dict[Role, str] = {"model": "Model", "second model": "Second model", "reader": "Simulated reader"}
MOST_EARLIER = 50  # questions about one image


@dataclass(frozen=True)
class Exchange:
    """A question about the image, and the first model's answer."""

    question: str
    answer: str


@dataclass(frozen=True, eq=False)
class Result:
    """What one model answered, so far."""

    title: str  # what it is called beside another one, e.g. "gazevlm-nano, temperature 0.7".
    diagnosis: Diagnosis  # the latest record
    seconds: float  # since the question was asked


@dataclass(frozen=True, eq=False)
class Shown:
    """An image with all answers about it, as one visitor's page shows it."""

    value: ViewerPayload  # of a viewer that shows the image alone
    name: str  # of the image, for the record; never used as a path
    upload: str | None = None  # path of the uploaded file, or None
    example: int | None = None  # number of the example, or None
    question: str = ""  # the latest, or ""
    results: tuple[Result, ...] = ()  # about the latest question; two where they are compared
    earlier: tuple[Exchange, ...] = ()  # the last MOST_EARLIER questions before the latest, oldest first

    def with_question(self, question: str) -> "Shown":
        """With another question, and no result yet."""
        return replace(self, question=question, results=(), earlier=self.exchanges()[-MOST_EARLIER:])

    def with_result(self, number: int, result: Result) -> "Shown":
        """With the newest state of the first (0) or second (1) result."""
        return replace(self, results=(*self.results[:number], result))

    def exchanges(self) -> tuple[Exchange, ...]:
        """All questions and answers about the image, the latest one too."""
        if not self.results:
            return self.earlier
        return (*self.earlier, Exchange(self.question, self.results[0].diagnosis.answer))

    def payload(self, number: int, *, revealed: bool, autoplay: bool = False) -> ViewerPayload:
        """Value of one result's viewer.

        Args:
            number: 0 or 1; one without a result shows the image alone.
            revealed: whether the simulated reader's path of an example lies beside the model's.
            autoplay: replay at once.
        """
        paths: list[ViewerPath] = []
        grid = None
        if number < len(self.results):
            diagnosis = self.results[number].diagnosis
            paths = _model_paths(diagnosis, ROLES[number])
            grid = ViewerGrid(rows=diagnosis.grid.rows, cols=diagnosis.grid.cols)
        if revealed and self.example is not None:
            paths.append(viewer_path(example_reading(self.example), NAMES["reader"], "reader"))
        return self.value.model_copy(update={"paths": paths, "grid": grid, "autoplay": autoplay})


def _model_paths(diagnosis: Diagnosis, role: Role) -> list[ViewerPath]:
    """The model's path with its heat maps; nothing where its gaze weights are untrained."""
    if diagnosis.scanpath is None:
        return []
    path = viewer_path(
        diagnosis.scanpath, NAMES[role], role, grid=diagnosis.grid, probabilities=diagnosis.fixation_probabilities,
        patch_probabilities=diagnosis.patch_probabilities,
    )  # fmt: skip
    return [path]


def history(exchanges: Sequence[Exchange]) -> str:
    """Return earlier questions about the image with their answers, the latest first; "" where there are none."""
    if not exchanges:
        return ""
    items = "".join(
        f"<li><b>{escape(exchange.question)}</b> {escape(exchange.answer)}</li>" for exchange in reversed(exchanges)
    )
    return (
        f'<details class="gaze-history"><summary>Asked before about this image ({len(exchanges)})</summary>'
        f"<ul>{items}</ul></details>"
    )


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
            self.evidence = gr.HTML(elem_id=f"evidence{end}")
            self.table = gr.HTML(elem_id=f"scanpath{end}")
        self.parts: list[Component] = [
            self.title, self.warning, self.viewer, self.answer, self.claims, self.chart, self.chart_note, self.timeline,
            self.zones, self.evidence, self.table,
        ]  # fmt: skip

    def blank(self, value: ViewerPayload | None = None, title: str | None = None) -> Values:
        """No answer yet.

        Args:
            value: of the viewer; None leaves it as it is.
            title: of a comparison; None where there is none, which hides the second panel.
        """
        texts = (self.warning, self.answer, self.claims, self.chart_note, self.zones, self.evidence, self.table)
        values: Values = {
            self.title: "" if title is None else markup.title(title),
            self.chart: None,
            self.timeline: gr.Plot(None, visible=False),
            **dict.fromkeys(texts, ""),
        }
        return values if value is None else {**values, self.viewer: value}

    def path_values(self, shown: Shown, scores: CheckpointScores | None, *, revealed: bool) -> Values:
        """The path and the findings, which come before any word.

        Args:
            shown: with this panel's result.
            scores: of what answered.
            revealed: whether an example's truth is shown.
        """
        diagnosis = shown.results[self.number].diagnosis
        colors = STYLE.roles[ROLES[self.number]].colors
        timeline = markup.dwell_timeline(diagnosis.scanpath, colors) if diagnosis.scanpath else None
        return {
            self.viewer: shown.payload(self.number, revealed=revealed, autoplay=not revealed),
            self.warning: markup.warning(diagnosis),
            self.chart: markup.findings_chart(diagnosis.finding_probabilities, scores),
            self.chart_note: markup.chart_note(scores),
            self.timeline: gr.Plot(timeline, visible=timeline is not None),
            self.zones: markup.zone_table(diagnosis),
            self.evidence: markup.evidence(diagnosis),
            self.table: markup.fixation_table(diagnosis),
        }

    def answer_values(self, result: Result, *, finished: bool) -> Values:
        """The words so far; at the end, which findings they name, and what must be known of them."""
        diagnosis = result.diagnosis
        if not finished:
            return {self.answer: diagnosis.answer}
        claims, warning = markup.claims(diagnosis), markup.warning(diagnosis)
        evidence = markup.evidence(diagnosis)
        return {self.answer: diagnosis.answer, self.claims: claims, self.warning: warning, self.evidence: evidence}
