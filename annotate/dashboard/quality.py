"""The survey of a store for reviewers: computed when one asks, kept until something changes, and how it is shown."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from html import escape
from math import sqrt
from typing import Any

import gradio as gr
import plotly.graph_objects as go

from annotate.dashboard.project import chosen, offered, project_filter
from annotate.export.folder import images_with_submissions
from annotate.quality.agreement import ImageAgreement
from annotate.quality.scores import AGREEMENT_SCORES, FLOORS, SEQUENCE, Level
from annotate.quality.survey import AnnotatorQuality, Survey, survey
from annotate.store.lookup import latest_audit
from annotate.store.model import Counts, Stored, StoredImage, StoreError
from annotate.store.store import AnnotationStore
from web.formatting import UNKNOWN, score, short_digest, short_name, when
from web.identity import Claim, Gate
from web.markup import Cell, Table, note, status, table
from web.page import Values, run_busily
from web.plot_style import AXIS, FLOOR, OWN, PLAIN, TEXT
from web.sign_in import Entry

MOST_SURVEYED = 20_000  # annotations; a survey of more takes longer than anybody waits for a page
State = tuple[Counts, int]  # what the survey stands on: the counts, and the latest entry of the audit log
MOST_IMAGES = 200
ORDER = {"sensitive": "sees the order", "blind": "does not see the order"}
LEVEL_HEADS = ("score", "annotators", *(f"floor: {floor}" for floor in FLOORS))
FLOOR_NOTE = (
    "A floor is what paths reach that know less: the same fixations shuffled, a path on another image, uniform places, "
    "the image's centre. A score no higher than its floors shows no agreement. Shuffling cannot change a score that "
    "does not see the order."
)
HEIGHT_PX = 340
FLAGGED = "#d9822b"
LARGEST_PX, SMALLEST_PX = 26, 9
NOT_YET = "Nothing is computed yet. Every two annotators of every image are compared, which may take a while."
COMPUTING = "Comparing annotators…"
CHART_NOTE = (
    "Each dot is an annotator, the larger the more submissions. Check who is quick and low, and anybody at or "
    "below the dashed line, which paths reach that know nothing of the image or of the order."
)
MOST_LISTED = 300


@dataclass(frozen=True)
class Quality:
    """A survey, and when it was made."""

    survey: Survey  # of the whole store, or of a project
    names: dict[str, str]  # image_sha256 -> name
    made_at: datetime  # when
    state: State  # of the store then
    current: bool = True  # whether nothing has changed since

    def images(self) -> list[ImageAgreement]:
        """Return images by agreement, the lowest first; those with a single annotator last."""

        def key(image: ImageAgreement) -> tuple[bool, float, str]:
            value = image.levels[SEQUENCE].value
            return value is None, value or 0.0, image.image_sha256

        return sorted(self.survey.images, key=key)

    def name(self, image: ImageAgreement) -> str:
        """Return an image's name, cut for a list."""
        return short_name(self.names.get(image.image_sha256, ""))


class SurveyCache:
    """The latest survey of a store, shared by all reviewers. It checks no role: its users do."""

    def __init__(self, store: AnnotationStore) -> None:
        self._store = store
        self._latest: dict[str, Quality] = {}  # of each project by its short name; "": of all
        self._computing = threading.Lock()  # one at a time; who waited gets what the other has made

    def latest(self, project: str = "") -> Quality | None:
        """Return the latest survey of a project, which may be out of date; None before the first."""
        latest = self._latest.get(project)
        if latest is None or self._state() == latest.state:
            return latest
        return replace(latest, current=False)

    def compute(self, project: str = "") -> Quality:
        """Survey what was made in a project, or all, as it is now; StoreError where there is too much for a page."""
        with self._computing:
            state = self._state()
            if (latest := self._latest.get(project)) is not None and latest.state == state:
                return latest
            if state[0].annotations > MOST_SURVEYED:
                raise StoreError(
                    f"There are {state[0].annotations:,} annotations, and a page surveys at most {MOST_SURVEYED:,}; "
                    "run `gazevlm annotations stats` on the server instead."
                )
            names: dict[str, str] = {}

            def pairs() -> Iterator[tuple[StoredImage, list[Stored]]]:
                for image, stored in images_with_submissions(self._store):
                    names[image.sha256] = image.name
                    yield image, [one for one in stored if not one.removed and project in ("", one.project)]

            made = self._latest[project] = Quality(survey(pairs()), names, datetime.now(UTC), state)
            return made

    def _state(self) -> State:
        log = latest_audit(self._store, 1)
        return self._store.counts(), log[0].number if log else 0


class QualityService:
    """For reviewers, who see pseudonyms alone; NotAllowed for everybody else."""

    def __init__(self, store: AnnotationStore, gate: Gate, surveys: SurveyCache) -> None:
        self.store, self.gate, self._surveys = store, gate, surveys

    def latest(self, claim: Claim, project: str = "") -> Quality | None:
        """Return the survey of a project, "" for all, that was made last, at no cost; None before the first."""
        self.gate.admit(claim, "read", "reviewer")
        return self._surveys.latest(project)

    def compute(self, claim: Claim, project: str = "") -> Quality:
        """Survey a project, "" for all, as it is now; it may take a while.

        Raises:
            StoreError: there is no such project, or too much for a page.
        """
        self.gate.admit(claim, "review", "reviewer")
        if project:
            self.store.project(project)
        return self._surveys.compute(project)


def level_row(name: str, level: Level) -> list[Cell]:
    """Return a score with its floors as a table row."""
    return [(name, ORDER[level.order]), score(level.value), *(score(level.floors[floor]) for floor in FLOORS)]


def agreement_table(quality: Quality) -> Table:
    """Return the store's mean agreement beside floors."""
    levels, images = quality.survey.levels, sum(image.pairs > 0 for image in quality.survey.images)
    rows = [level_row(name, levels[name]) for name in AGREEMENT_SCORES] if images else []
    counted = f"Mean over {images:,} images with at least two annotators, all pairs of their first paths."
    return Table("Agreement beside floors", LEVEL_HEADS, rows, [counted, FLOOR_NOTE])


def finding_table(quality: Quality) -> Table:
    """Return the agreement on each finding beside that on paths."""
    rows: list[list[Cell]] = [
        [one.name, f"{one.images:,}", f"{one.votes:,}", f"{one.yes / one.votes:.0%}", score(one.alpha),
         (score(one.kappa), f"{one.pairs} pairs")]
        for one in quality.survey.findings
    ]  # fmt: skip
    notes = [
        "One vote each on a finding of an image; who was not asked has none. Alpha (Krippendorff) is over all votes at "
        "once, kappa (Cohen) the mean over pairs of annotators who share five images: 1 is agreement, 0 what chance "
        "gives. A dash: everybody says the same, or there is nothing to compare.",
    ]
    heads = ("finding", "images", "votes", "yes", "Krippendorff's alpha", "Cohen's kappa")
    nothing: list[list[Cell]] = [["nothing that two were asked for", "0", "0", UNKNOWN, UNKNOWN, UNKNOWN]]
    return Table("Agreement on findings", heads, rows or nothing, notes)


def annotator_table(quality: Quality) -> Table:
    """Return one row per annotator."""
    heads = (
        "annotator", "submissions", "accepted", "rejected", "median time", "median fixations", "agreement with others",
        "gold score", "best gold floor", "self-consistency", "flagged", "outliers",
    )  # fmt: skip
    notes = [
        "All three scores are the sequence score, which sees the order. Gold: with the known paths of gold images. "
        "Self-consistency: of a repeat with the first time. A dash: nothing to compare with.",
    ]
    return Table("Annotators compared", heads, [_annotator(one) for one in quality.survey.annotators], notes)


def _annotator(one: AnnotatorQuality) -> list[Cell]:
    flags = tuple(f"{name}: {count}" for name, count in one.flags.items()) or (UNKNOWN,)
    return [
        one.annotator, f"{one.submissions:,}", str(one.accepted), str(one.rejected), f"{one.median_s:.1f} s",
        f"{one.median_fixations:g}", score(one.agreement), score(one.gold_score), score(one.best_gold_floor),
        score(one.self_consistency), flags, str(one.outliers),
    ]  # fmt: skip


def image_table(quality: Quality) -> Table:
    """Return images by agreement, the lowest first."""
    images = quality.images()
    heads = ("image", "annotators", *AGREEMENT_SCORES, "best floor of the sequence score")
    rows = [_image(quality, image) for image in images[:MOST_IMAGES]]
    notes = ["To see one, choose it in the list below."]
    if len(images) > MOST_IMAGES:
        notes.append(f"The lowest {MOST_IMAGES} of {len(images):,}.")
    return Table("Images by agreement, the lowest first", heads, rows, notes)


def _image(quality: Quality, image: ImageAgreement) -> list[Cell]:
    levels = image.levels
    return [
        (quality.name(image), short_digest(image.image_sha256)), str(image.annotators),
        *(score(level.value) for level in levels.values()), score(levels[SEQUENCE].best_floor),
    ]  # fmt: skip


def annotator_chart(found: Survey) -> go.Figure | None:
    """Plot a dot per annotator whose paths were compared with others'; None where nobody's were."""
    known = [one for one in found.annotators if one.agreement is not None]
    if not known:
        return None
    figure, most = go.Figure(), max(one.submissions for one in known)
    floor = found.levels[SEQUENCE].best_floor
    groups = (("no flags", OWN, False), ("some submissions flagged", FLAGGED, True))
    for words, color, flagged in groups:
        group = [one for one in known if bool(one.flags) == flagged]
        if group:
            figure.add_scatter(**_dots(group, words, color, most, floor))
    if floor is not None:
        label = {"text": f"best floor {floor:.2f}", "yanchor": "bottom", "font": {"color": TEXT}}
        figure.add_hline(y=floor, line={"color": FLOOR, "dash": "dash"}, annotation=label)
    values = [one.agreement or 0.0 for one in known] + ([floor] if floor is not None else [])
    top, longest = max(values) or 1.0, max(one.median_s for one in known)
    figure.update_layout(
        **PLAIN,
        height=HEIGHT_PX,
        xaxis={**AXIS, "title": "median time per image, seconds", "range": [0, max(1.0, 1.15 * longest)]},
        yaxis={**AXIS, "title": "agreement with others", "tickformat": ".2f", "range": [-0.08 * top, 1.2 * top]},
    )
    return figure


def _dots(
    group: list[AnnotatorQuality], words: str, color: str, most: int, floor: float | None
) -> dict[str, Any]:
    """Return one trace; annotators who are flagged or no better than the floor are named."""
    odd = [bool(one.flags) or (floor is not None and (one.agreement or 0.0) <= floor) for one in group]
    sizes = [max(SMALLEST_PX, LARGEST_PX * sqrt(one.submissions / most)) for one in group]
    return {
        "x": [one.median_s for one in group],
        "y": [one.agreement for one in group],
        "name": words,
        "mode": "markers+text",
        "text": [escape(one.annotator) if named else "" for one, named in zip(group, odd, strict=True)],
        "textposition": "middle right",
        "textfont": {"size": 10},
        "marker": {"size": sizes, "color": color, "opacity": 0.85},
        "customdata": [(escape(one.annotator), one.submissions) for one in group],
        "hovertemplate": "%{customdata[0]}<br>%{customdata[1]} submissions, %{x:.1f} s, agreement %{y:.3f}"
        "<extra></extra>",
    }


class QualityView:
    """A button that surveys the store, and tables and a chart of what it found."""

    def __init__(self, service: QualityService, entry: Entry) -> None:
        self.service = service
        with gr.Row(elem_classes="dashboard-line"):
            self.project = project_filter("dashboard-quality-project")
            self.compute = gr.Button("Compare the annotators now", min_width=220, scale=0, elem_id="dashboard-compute")
            self.status = gr.HTML(status(NOT_YET), elem_id="dashboard-quality-status")
        with gr.Column(elem_id="dashboard-quality-body"):
            self.agreement = gr.HTML(elem_id="dashboard-agreement")
            self.chart = gr.Plot(show_label=False, elem_id="dashboard-chart")
            self.annotators = gr.HTML(elem_id="dashboard-annotators")
            self.images = gr.HTML(elem_id="dashboard-images-by-agreement")
            self.image = gr.Dropdown(label="See one of these images", elem_id="dashboard-image-by-agreement")
        self.shown = [self.project, self.status, self.agreement, self.chart, self.annotators, self.images, self.image]
        run_busily(
            self.compute.click, [self.compute], self.status, COMPUTING, entry.handler(self._compute),
            [entry.token, self.project], self.shown, concurrency_limit=1,
        )  # fmt: skip
        entry.on(self.project.input, self._latest, [self.project], self.shown)

    def first(self, claim: Claim) -> Values:
        """Show the latest survey, if there is one."""
        return {self.project: offered(self.service.store), **self._latest(claim, "")}

    def _latest(self, claim: Claim, project: Any) -> Values:  # noqa: ANN401
        quality = self.service.latest(claim, chosen(project))
        return self._nothing() if quality is None else self._showing(quality)

    def _compute(self, claim: Claim, project: Any) -> Values:  # noqa: ANN401
        return self._showing(self.service.compute(claim, chosen(project)))

    def _nothing(self) -> Values:
        tables = dict.fromkeys((self.agreement, self.annotators, self.images), "")
        return {
            self.status: status(NOT_YET), **tables, self.chart: None, self.image: gr.Dropdown([], value=None)
        }  # fmt: skip

    def _showing(self, quality: Quality) -> Values:
        age = "" if quality.current else " Something has changed since then."
        choices = [
            (f"{score(one.levels[SEQUENCE].value)}  {quality.name(one)}  {short_digest(one.image_sha256)}",
             one.image_sha256)
            for one in quality.images()[:MOST_LISTED]
        ]  # fmt: skip
        chart = annotator_chart(quality.survey)
        return {
            self.status: status(f"Computed {when(quality.made_at)}.{age}"),
            self.agreement: table(agreement_table(quality)) + table(finding_table(quality)),
            self.chart: chart,
            self.annotators: (note(CHART_NOTE) if chart else "") + table(annotator_table(quality)),
            self.images: table(image_table(quality)),
            self.image: gr.Dropdown(choices, value=None),
        }
