"""Projects: made, renamed, closed; how their images are looked at, what annotators read and are asked, the licence."""

from collections.abc import Sequence
from dataclasses import asdict, replace

import gradio as gr

from annotate.store.model import MAIN_PROJECT, StoreError
from annotate.store.project import (
    LONGEST_INSTRUCTION,
    LONGEST_LICENCE,
    LONGEST_PROJECT,
    LONGEST_QUESTION,
    MOST_LEAST_CLICKS,
    Project,
)
from annotate.store.store import AnnotationStore
from gazevlm_core.annotation import MODES
from gazevlm_core.findings import FINDING_NAMES, NO_FINDING
from web.identity import Claim, Gate
from web.markup import note, status
from web.page import Values
from web.sign_in import Entry
from web.training_data import ALL_PROJECTS

FREE = "each annotator chooses"
WHAT = (
    "It holds for every image of the project that is opened from now on; what is being annotated goes on as it was "
    "begun, though it needs the clicks that are wanted when it is submitted. Tasks that ask the project's question ask "
    "another one with it. To another licence everybody has to agree anew."
)
CLOSED, REOPENED = "Closed: it gives out no images; what was begun is still taken.", "Open again."
SAVED = "Saved: it holds for every image that is opened from now on."
WHOLE = "Clicks are whole numbers, blur and disc are numbers of px; change them."


class ProjectService:
    """For admins; NotAllowed for everybody else. `known` are the findings that can be asked for."""

    def __init__(self, store: AnnotationStore, gate: Gate, known: Sequence[str] = FINDING_NAMES) -> None:
        self.store, self.gate = store, gate
        self._known = tuple(name for name in known if name != NO_FINDING)

    @property
    def known(self) -> tuple[str, ...]:
        """Findings that can be asked for; everybody may know."""
        return self._known

    def project(self, claim: Claim, slug: str = MAIN_PROJECT) -> Project:
        """Return what holds in a project now; StoreError where there is none of that short name."""
        self.gate.admit(claim, "read", "admin")
        return self.store.project(slug)

    def projects(self, claim: Claim) -> list[Project]:
        """Return all projects."""
        self.gate.admit(claim, "read", "admin")
        return self.store.projects()

    def add(self, claim: Claim, name: str) -> Project:
        """Add a project; StoreError where another one has that name, or there are too many."""
        visitor = self.gate.admit(claim, "administer", "admin")
        return self.store.add_project(name, visitor.pseudonym)

    def change(self, claim: Claim, project: Project) -> None:
        """Let something else hold in a project, or give it another name, or close it.

        Raises:
            StoreError: a finding that the page does not know, a name that is taken, or no such project.
        """
        visitor = self.gate.admit(claim, "administer", "admin")
        before = self.store.project(project.slug)  # which may have been kept by a program that knew more findings
        if unknown := sorted(set(project.checklist) - set(self.known) - set(before.checklist)):
            raise StoreError(f"The page does not know {unknown[0][:40]!r}; choose findings from the list.")
        self.store.set_project(project, visitor.pseudonym)


class ProjectView:
    """A form with what holds now in the project that is chosen.

    Args:
        service: decides.
        entry: who asks.
        chosen: the list of projects above all parts of the administration.

    Attributes:
        changes: events after which all that is shown of projects is shown anew.
    """

    def __init__(self, service: ProjectService, entry: Entry, chosen: gr.Dropdown) -> None:
        self.service, self.chosen = service, chosen
        self._names()
        gr.HTML(note(WHAT))
        self.question = gr.Textbox(
            label="Question", info="Of its tasks, unless one asks something else.", max_length=LONGEST_QUESTION,
            max_lines=2, elem_id="dashboard-project-question",
        )  # fmt: skip
        self.instruction = gr.Textbox(
            label="Instruction", info="Shown before the first image and beside the usual three lines; empty for none.",
            lines=3, max_lines=6, max_length=LONGEST_INSTRUCTION, elem_id="dashboard-project-instruction",
        )  # fmt: skip
        self.checklist = gr.CheckboxGroup(
            list(service.known), label="Findings on the form", info='"no finding" is always there; none: all of them.',
            elem_id="dashboard-project-checklist",
        )  # fmt: skip
        with gr.Row():
            self.mode = gr.Dropdown(
                [(FREE, ""), *((mode, mode) for mode in MODES)], value="", label="Mode", min_width=180,
                elem_id="dashboard-project-mode",
            )  # fmt: skip
            self.least = gr.Number(
                1, label="Clicks at least", precision=0, minimum=1, maximum=MOST_LEAST_CLICKS, min_width=120,
                elem_id="dashboard-project-least",
            )  # fmt: skip
            self.sigma = gr.Number(
                40, label="Blur, px", info="Of an image of 600 px.", min_width=120, elem_id="dashboard-project-blur"
            )
            self.radius = gr.Number(
                32, label="Disc, px", info="Of an image of 600 px.", min_width=120, elem_id="dashboard-project-disc"
            )
            self.licence = gr.Textbox(
                label="Licence", info="Annotators agree to it.", max_length=LONGEST_LICENCE, max_lines=1, min_width=160,
                elem_id="dashboard-project-licence",
            )  # fmt: skip
        with gr.Row(elem_classes="dashboard-line"):
            self.save = gr.Button("Save", variant="primary", min_width=90, scale=0, elem_id="dashboard-project-save")
            self.status = gr.HTML(status(""), elem_id="dashboard-project-status")
        self.fields = {
            "instruction": self.instruction, "licence": self.licence, "mode": self.mode, "sigma_px": self.sigma,
            "radius_px": self.radius, "least_clicks": self.least, "checklist": self.checklist,
            "question": self.question,
        }  # fmt: skip
        self.shown = [chosen, *self.fields.values(), self.name, self.close, self.link, self.status]
        entry.on(self.save.click, self._save, [chosen, *self.fields.values()], self.shown)
        self.changes = [
            entry.on([self.rename.click, self.name.submit], self._rename, [chosen, self.name], self.status),
            entry.on(self.close.click, self._close, [chosen], self.status),
            entry.on([self.add.click, self.new.submit], self._add, [self.new], [chosen, self.new, self.status]),
        ]

    def _names(self) -> None:
        with gr.Row(elem_classes="dashboard-line"):
            self.name = gr.Textbox(
                label="Name", max_length=LONGEST_PROJECT, max_lines=1, min_width=180, elem_id="dashboard-project-name"
            )
            self.rename = gr.Button("Rename", min_width=90, scale=0, elem_id="dashboard-project-rename")
            self.close = gr.Button("Close it", min_width=90, scale=0, elem_id="dashboard-project-close")
            self.new = gr.Textbox(
                label="New project", placeholder="its name", max_length=LONGEST_PROJECT, max_lines=1, min_width=180,
                elem_id="dashboard-project-new",
            )  # fmt: skip
            self.add = gr.Button("Create", min_width=90, scale=0, elem_id="dashboard-project-add")
        self.link = gr.HTML(elem_id="dashboard-project-link")

    def first(self, claim: Claim, slug: str = MAIN_PROJECT) -> Values:
        """Show what holds now in a project."""
        project = self.service.project(claim, slug)
        values, known = asdict(project), set(self.service.known)
        values["checklist"] = [name for name in values["checklist"] if name in known]
        link = f"A link to the page that ends in ?project={project.slug} leads annotators to it."
        return {
            self.chosen: gr.Dropdown(choices_of(self.service.projects(claim)), value=slug),
            self.name: project.name, self.close: "Open it again" if project.closed else "Close it",
            self.link: note(link), **{box: values[name] for name, box in self.fields.items()},
        }  # fmt: skip

    def _rename(self, claim: Claim, slug: str, name: str | None) -> str:
        project = self.service.project(claim, slug)
        self.service.change(claim, replace(project, name=" ".join((name or "").split())))
        return status("Renamed; its links stay.")

    def _close(self, claim: Claim, slug: str) -> str:
        project = self.service.project(claim, slug)
        self.service.change(claim, replace(project, closed=not project.closed))
        return status(REOPENED if project.closed else CLOSED)

    def _add(self, claim: Claim, name: str | None) -> Values:
        project = self.service.add(claim, name or "")
        choices = gr.Dropdown(choices_of(self.service.projects(claim)), value=project.slug)
        return {self.chosen: choices, self.new: "", self.status: status("Created; decide below what holds in it.")}

    def _save(self, claim: Claim, slug: str, *values: object) -> Values:
        given = dict(zip(self.fields, values, strict=True))
        try:
            numbers = {name: float(str(given[name])) for name in ("sigma_px", "radius_px", "least_clicks")}
            least = int(numbers["least_clicks"])
        except (ValueError, OverflowError):
            raise StoreError(WHOLE) from None
        checklist = given["checklist"] if isinstance(given["checklist"], list) else []
        project = replace(
            self.service.project(claim, slug), question=str(given["question"] or "").strip(),
            instruction=str(given["instruction"] or "").strip(), licence=str(given["licence"] or "").strip(),
            mode=str(given["mode"] or ""), sigma_px=numbers["sigma_px"], radius_px=numbers["radius_px"],
            least_clicks=least, checklist=tuple(map(str, checklist)),
        )  # fmt: skip
        self.service.change(claim, project)
        return {**self.first(claim, slug), self.status: status(SAVED)}


def choices_of(projects: Sequence[Project]) -> list[tuple[str, str]]:
    """Return projects for a list: what is shown, and the short name."""
    return [(f"{one.name} (closed)" if one.closed else one.name, one.slug) for one in projects]


def project_filter(elem_id: str) -> gr.Dropdown:
    """Return the list by which reviewers look at the submissions of one project alone; `offered` fills it. Its value is
    a short name, "" for all."""
    return gr.Dropdown(
        [ALL_PROJECTS], value="", label="Project", filterable=False, visible=False, min_width=150, scale=1,
        elem_id=elem_id,
    )  # fmt: skip


def offered(store: AnnotationStore) -> gr.Dropdown:
    """Return what that list is to be: all projects, and each by itself; hidden where there is no choice. What is chosen
    stays."""
    projects = store.projects()
    return gr.Dropdown([ALL_PROJECTS, *choices_of(projects)], visible=len(projects) > 1)


def chosen(value: object) -> str:
    """Return a value that came from a browser; anything else than a text is all projects."""
    return value if isinstance(value, str) else ""
