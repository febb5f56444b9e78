"""What admins decide about all images: how they are looked at, what annotators are told and asked, the licence."""

from collections.abc import Sequence
from dataclasses import asdict

import gradio as gr

from annotate.store.model import StoreError
from annotate.store.project import LONGEST_INSTRUCTION, LONGEST_LICENCE, MOST_LEAST_CLICKS, Project
from annotate.store.store import AnnotationStore
from gazevlm_core.annotation import MODES
from gazevlm_core.findings import FINDING_NAMES, NO_FINDING
from web.identity import Claim, Gate
from web.markup import note, status
from web.page import Values
from web.sign_in import Entry

FREE = "each annotator chooses"
WHAT = (
    "It holds for every image that is opened from now on; what is being annotated goes on as it was begun, though it "
    "needs the clicks that are wanted when it is submitted. To another licence everybody has to agree anew."
)
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

    def project(self, claim: Claim) -> Project:
        """Return what holds now."""
        self.gate.admit(claim, "read", "admin")
        return self.store.project()

    def change(self, claim: Claim, project: Project) -> None:
        """Let another one hold.

        Raises:
            StoreError: a finding that the page does not know.
        """
        visitor = self.gate.admit(claim, "administer", "admin")
        if unknown := sorted(set(project.checklist) - set(self.known)):
            raise StoreError(f"The page does not know {unknown[0][:40]!r}; choose findings from the list.")
        self.store.set_project(project, visitor.pseudonym)


class ProjectView:
    """A form with what holds now."""

    def __init__(self, service: ProjectService, entry: Entry) -> None:
        self.service = service
        gr.HTML(note(WHAT))
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
        }  # fmt: skip
        self.shown = [*self.fields.values(), self.status]
        entry.on(self.save.click, self._save, list(self.fields.values()), self.shown)

    def first(self, claim: Claim) -> Values:
        """Show what holds now."""
        values = asdict(self.service.project(claim))
        known = set(self.service.known)
        values["checklist"] = [name for name in values["checklist"] if name in known]
        return {self.fields[name]: value for name, value in values.items()}

    def _save(self, claim: Claim, *values: object) -> Values:
        given = dict(zip(self.fields, values, strict=True))
        try:
            numbers = {name: float(str(given[name])) for name in ("sigma_px", "radius_px", "least_clicks")}
            least = int(numbers["least_clicks"])
        except (ValueError, OverflowError):
            raise StoreError(WHOLE) from None
        checklist = given["checklist"] if isinstance(given["checklist"], list) else []
        project = Project(
            instruction=str(given["instruction"] or "").strip(), licence=str(given["licence"] or "").strip(),
            mode=str(given["mode"] or ""), sigma_px=numbers["sigma_px"], radius_px=numbers["radius_px"],
            least_clicks=least, checklist=tuple(map(str, checklist)),
        )  # fmt: skip
        self.service.change(claim, project)
        return {**self.first(claim), self.status: status(SAVED)}
