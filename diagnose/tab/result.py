"""One result on the page, and what the server remembers of a visitor's page between events."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from html import escape

import gradio as gr
from gradio.components import Component

from diagnose.record import VERDICT
from diagnose.service import example_reading
from diagnose.tab import answer, markup
from diagnose.tab.form import USUAL, Asking
from gazevlm_core.evaluation.checkpoint_scores import CheckpointScores
from gazevlm_core.path_style import STYLE
from gazevlm_core.records import Diagnosis, is_strange
from gazevlm_core.scanpath import Fixation
from gazevlm_core.words import CUT_SHORT, STOPPED_NOTE
from web.markup import note
from web.page import Values
from web.viewer.component import ScanpathViewer
from web.viewer.payload import Role, ViewerGrid, ViewerPath, ViewerPayload, ViewerSteering, viewer_path

ROLES: tuple[Role, Role] = ("model", "second model")
NAMES: dict[Role, str] = {"model": "Model", "second model": "Second model", "reader": "Simulated reader"}
MOST_EARLIER = 50  # questions about one image
ENDS = ("", "-2")  # of the ids of the first and of the second
BY_HAND = "Along a path that was changed by hand."
COMPARED = "compared"  # what the viewers of two results are linked by


@dataclass
class Visit:
    """How often a visitor chose an image and asked, and which change of a path is the latest: what works for an older
    turn ends, and what it made is dropped. And whether they look at what was drawn, which what is on its way has to
    show as well."""

    images: int = 0
    answers: int = 0
    revealed: bool = False
    changes: dict[int, int] = field(default_factory=dict)  # viewer -> its latest change

    def new_image(self) -> int:
        """Begin another image, which ends the answer about the last one; returns its number."""
        self.images, self.answers, self.revealed = self.images + 1, self.answers + 1, False
        return self.images

    def new_answer(self) -> int:
        """Begin another answer, or end the present one; returns its number."""
        self.answers += 1
        return self.answers

    def note_change(self, viewer: int, data: object) -> None:
        """Remember a change of a path as its event tells it; what is none is refused where it is answered."""
        turn = data.get("turn") if isinstance(data, dict) else None
        if isinstance(turn, int):
            self.changes[viewer] = turn

    def latest_change(self, viewer: int) -> int:
        """Return the number of the latest change; 0 where there was none."""
        return self.changes.get(viewer, 0)


@dataclass(frozen=True)
class Exchange:
    """A question about the image, and the first model's answer."""

    question: str
    answer: str
    model: str = ""  # that answered
    notes: tuple[str, ...] = ()  # where the answer is not complete, or not that of the model's own path
    strange: bool = False  # whether the image is unlike those that the model learnt from


@dataclass(frozen=True, eq=False)
class Result:
    """What one model answered, so far."""

    title: str  # what it is called beside another one, e.g. "gazevlm-nano, temperature 0.7".
    diagnosis: Diagnosis  # the latest record
    seconds: float  # since the question was asked
    asking: Asking = USUAL  # what was asked, and with which settings
    finished: bool = False  # whether the answer is complete
    scores: CheckpointScores | None = None  # of what answered
    own: "Result | None" = None  # of the model's own path, where this is of one that was changed by hand
    steering: ViewerSteering | None = None  # whether the path can be changed, and which change this is

    @property
    def changed_by_hand(self) -> tuple[Fixation, ...]:
        """The path, where it is not the model's own; else nothing."""
        path = self.diagnosis.scanpath
        return path.fixations if self.own is not None and path is not None else ()

    @property
    def so_far(self) -> Diagnosis:
        """The diagnosis, with a note where its words are not complete."""
        found = self.diagnosis
        return found if self.finished else replace(found, notes=(*found.notes, STOPPED_NOTE))

    def exchange(self, question: str) -> Exchange:
        """Return it as the answer to a question, to be kept once another one is asked."""
        found = self.so_far
        notes = (*([BY_HAND] if self.changed_by_hand else []), *(one for one in found.notes if one in CUT_SHORT))
        return Exchange(question, found.answer, self.title, notes, is_strange(found.ood_score))

    @property
    def remarks(self) -> tuple[str, ...]:
        """Notes on the places of a path that was changed by hand, for which the viewer has a line; of another path
        nothing."""
        before = None if self.own is None else {*self.own.diagnosis.notes, *CUT_SHORT}
        return () if before is None else tuple(one for one in self.diagnosis.notes if one not in before)


@dataclass(frozen=True, eq=False)
class Shown:
    """An image with all answers about it, as one visitor's page shows it."""

    value: ViewerPayload  # of a viewer that shows the image alone
    name: str  # of the image, for the record; never used as a path
    upload: str | None = None  # path of the uploaded file, or None
    example: int | None = None  # number of the example, or None
    turn: int = 0  # of `Visit.images`
    question: str = ""  # the latest, or ""
    results: tuple[Result, ...] = ()  # about the latest question; two where they are compared
    earlier: tuple[Exchange, ...] = ()  # the last MOST_EARLIER questions before the latest, oldest first

    def with_question(self, question: str, *, compared: bool = False) -> "Shown":
        """Return it with another question, and no result yet; the viewers of two that are compared keep step."""
        value = self.value.model_copy(update={"linked": COMPARED if compared else ""})
        earlier = self.exchanges()[-MOST_EARLIER:]
        return replace(self, value=value, question=question, results=(), earlier=earlier)

    def with_result(self, number: int, result: Result) -> "Shown":
        """Return it with the newest state of the first (0) or second (1) result; the other one stays."""
        return replace(self, results=(*self.results[:number], result, *self.results[number + 1 :]))

    def exchanges(self) -> tuple[Exchange, ...]:
        """Return all questions and answers about the image, the latest one too."""
        if not self.results:
            return self.earlier
        return (*self.earlier, self.results[0].exchange(self.question))

    def silent(self, number: int) -> frozenset[str]:
        """Return findings of a result that the page says nothing of, unless somebody looks for them."""
        if self.example is None:  # nobody knows what an upload is like
            return frozenset()
        result = self.results[number]
        return answer.silent_findings(result.diagnosis.finding_probabilities, result.scores, self.question)

    def payload(self, number: int, *, revealed: bool, autoplay: bool = False) -> ViewerPayload:
        """Return the value of one result's viewer.

        Args:
            number: 0 or 1; one without a result shows the image alone.
            revealed: whether the simulated reader's path of an example lies beside the model's.
            autoplay: replay at once.
        """
        paths: list[ViewerPath] = []
        grid, steering = None, None
        if number < len(self.results):
            diagnosis, steering = self.results[number].diagnosis, self.results[number].steering
            paths = _model_paths(diagnosis, ROLES[number])
            grid = ViewerGrid(rows=diagnosis.grid.rows, cols=diagnosis.grid.cols)
        if revealed and self.example is not None:
            paths.append(viewer_path(example_reading(self.example), NAMES["reader"], "reader"))
        return self.value.model_copy(
            update={"paths": paths, "grid": grid, "autoplay": autoplay, "steering": steering}
        )


def _model_paths(diagnosis: Diagnosis, role: Role) -> list[ViewerPath]:
    """Return the model's path with its heat maps; nothing where its gaze weights are untrained."""
    if diagnosis.scanpath is None:
        return []
    path = viewer_path(
        diagnosis.scanpath, NAMES[role], role, grid=diagnosis.grid, probabilities=diagnosis.fixation_probabilities,
        patch_probabilities=diagnosis.patch_probabilities, glimpses=diagnosis.glimpses,
    )  # fmt: skip
    return [path]


def history(exchanges: Sequence[Exchange]) -> str:
    """Return earlier questions about the image with their answers, the latest first; "" where there are none. An answer
    about an image unlike those of the training is folded under that verdict."""
    if not exchanges:
        return ""
    items = "".join(
        f"<li>{markup.asked(exchange.question, exchange.model)}{_earlier(exchange)}</li>"
        for exchange in reversed(exchanges)
    )
    return f'<ol class="gaze-history" aria-label="Asked before about this image">{items}</ol>'


def _earlier(exchange: Exchange) -> str:
    """Return an earlier answer, and what must be known of it."""
    words = f"<p>{escape(exchange.answer)}</p>{''.join(map(note, exchange.notes))}"
    return markup.folded(VERDICT, words) if exchange.strange else words


class ResultPanel:
    """One result: the first, or one to compare with it, which page.css hides until it has a title. Its figure and its
    words stand in different places of the page; what is known of all findings is in a `FindingsPanel`.

    A column that Gradio hides is not there at all, and the first values of one that just appears get lost.

    Args:
        number: 0 for the first, 1 for the other.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._end = ENDS[number]
        self.links = f"viewer{self._end}"

    def figure(self) -> None:
        """Make the image with the path."""
        with gr.Column(min_width=0, elem_id=f"result{self._end}", elem_classes="gaze-figure"):
            self.title = gr.HTML(elem_id=f"title{self._end}", elem_classes="gaze-result-title")
            self.viewer = ScanpathViewer(elem_id=self.links)

    def words(self) -> None:
        """Make what stands beside it: question, answer, and which findings it names."""
        end = self._end
        with gr.Column(min_width=0, elem_id=f"words{end}", elem_classes="gaze-words"):
            self.asked = gr.HTML(elem_id=f"asked{end}")
            self.warning = gr.HTML(elem_id=f"warning{end}")
            self.answer = gr.HTML(elem_id=f"answer{end}")
            self.claims = gr.HTML(elem_id=f"claims{end}")

    @property
    def parts(self) -> list[Component]:
        """Everything that a result is shown in."""
        return [self.title, self.viewer, self.asked, self.warning, self.answer, self.claims]

    def blank(self, value: ViewerPayload | None = None, title: str | None = None, asked: str = "") -> Values:
        """Return what is shown before there is an answer.

        Args:
            value: of the viewer; None leaves it as it is.
            title: of a comparison; None where there is none, which hides the second panel.
            asked: question and model, as HTML.
        """
        values: Values = {
            self.title: "" if title is None else markup.title(title),
            **dict.fromkeys((self.warning, self.answer, self.claims), ""),
            self.asked: asked,
        }
        return values if value is None else {**values, self.viewer: value}

    def path_values(self, shown: Shown, *, revealed: bool) -> Values:
        """Return the path, which comes before any word.

        Args:
            shown: with this panel's result.
            revealed: whether an example's truth is shown.
        """
        result = shown.results[self.number]
        autoplay = not revealed and result.own is None
        return {
            self.viewer: shown.payload(self.number, revealed=revealed, autoplay=autoplay),
            self.warning: markup.warning(result.diagnosis, result.remarks),
        }

    def answer_values(self, result: Result) -> Values:
        """Return the words so far; at the end, which findings they name, and what must be known of them."""
        diagnosis, own = result.diagnosis, result.own
        if not result.finished:
            return {self.answer: answer.answer(diagnosis, self.links)}
        before = own.diagnosis if own is not None and own.finished else None
        return {
            self.answer: answer.answer(diagnosis, self.links, before),
            self.claims: markup.claims(diagnosis),
            self.warning: markup.warning(diagnosis, result.remarks),
        }


class FindingsPanel:
    """The findings of one result, or of two in pairs, and below them all tables in one fold.

    Args:
        panels: of the results.
    """

    def __init__(self, panels: Sequence[ResultPanel]) -> None:
        self._links = [panel.links for panel in panels]
        with gr.Column(min_width=0, elem_id="findings", elem_classes="gaze-words"):
            self.chart = gr.HTML(elem_id="chart")
            self.note = gr.HTML(elem_id="chart-note")
            self.details = gr.HTML(elem_id="details")
        self.parts: list[Component] = [self.chart, self.note, self.details]

    def blank(self) -> Values:
        """Return what is shown before there is an answer."""
        return dict.fromkeys(self.parts, "")

    def values(self, shown: Shown) -> Values:
        """Return the bars of all results so far, which come before any word, and how to read them."""
        sides = [
            answer.Side(
                one.title, one.diagnosis, links, one.scores, one.own.diagnosis if one.own else None,
                shown.silent(number),
            )
            for number, (one, links) in enumerate(zip(shown.results, self._links, strict=False))
        ]  # fmt: skip
        chart = answer.findings(sides[0]) if len(sides) == 1 else answer.paired_findings(sides)
        return {self.chart: chart, self.note: markup.chart_note(sides), **self.tables(shown)}

    def tables(self, shown: Shown) -> Values:
        """Return the tables, which are complete once the answers are."""
        tables = [
            markup.tables(one.diagnosis, STYLE.roles[role].colors, f"scanpath{end}")
            for one, role, end in zip(shown.results, ROLES, ENDS, strict=False)
        ]
        titles = [one.title for one in shown.results] if len(tables) > 1 else [""]
        return {self.details: markup.details(titles, tables)}
