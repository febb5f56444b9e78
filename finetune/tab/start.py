"""The part "Train": submissions, base, name and settings, what they will take, and the button that begins."""

from collections.abc import Mapping
from dataclasses import replace
from html import escape
from typing import Any

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from finetune.tab.form import EXPORT, FormError, FormField, TrainingForm, form_fields, is_suggested
from finetune.tab.service import AdaptService
from web.formatting import counted
from web.identity import Claim
from web.markup import Table, heading, note, status, table
from web.page import QUIET, Values, remembered, show_errors
from web.sign_in import Entry
from web.training_data import ALL_PROJECTS, DataCount

WHAT = "Rejected and removed submissions are never learned from. A part of the images is held out to score the adapter."
NO_BASE = "No loaded model can be adapted: start the page with one that comes from a folder or the Hub."
BASE_WORDS = "The model that is taught; it stays as it is, and what it learns becomes an adapter beside it."
USUAL = "Changed most"
GROUP_WORDS = {
    USUAL: "Changed most: how long and how fast it learns", "Data": "Data: what is held out, and how paths are read",
    "Base": "Base: precision, device, size of images", "Adapter": "Adapter: its size",
    "Losses": "Losses: what counts how much", "Optimisation": "Optimisation: batches, rates, stopping",
    "Run": "Run: scoring, checkpoints, seed",
}  # fmt: skip
BEGINNING, FAILED = "Writing the training data…", "It did not begin; the message says why."
HERE = "Say what you would train, and copy the command."
EXPORT_WORDS = "Export “training set” with “{which}” in the Annotations tab, unpack it as “{folder}”, then:"
EVERYTHING, ACCEPTED, OF_PROJECT = "everything", "accepted submissions", "those of the project that is chosen above"
CHOOSE = "Choose the project “{project}” there first; of one project, accepted submissions alone are exported."
MOST_ROWS = 100
OTHER_SENSE = ("precision",)  # settings whose label is a term of the glossary in another sense


class StartView:
    """Components and handlers of the part; `settings` are components by the configuration's field."""

    def __init__(self, service: AdaptService, entry: Entry) -> None:
        self.service, self.entry = service, entry
        if service.zero_gpu:
            gr.HTML(note(HERE))
        with gr.Row():
            with gr.Column(min_width=280, elem_id="adapt-data"):
                self._add_data()
            with gr.Column(min_width=280, elem_id="adapt-settings"):
                self._add_base()
        self._add_settings()
        with gr.Row(elem_id="adapt-go"):
            self._add_start()
        self.count = remembered()
        self.form: set[Block] = {
            entry.token, self.name, self.base, self.project, self.accepted, self.annotators, self.agreement,
            *self.settings.values(),
        }  # fmt: skip
        self.held_out_annotators = self.settings["held_out_annotators"]
        # what `open` may change
        self.opening = [
            self.name, self.project, self.counts, self.count, self.annotators, self.held_out_annotators, self.estimate
        ]  # fmt: skip
        self._connect()

    def _add_data(self) -> None:
        gr.HTML(heading("1. What to learn from") + note(WHAT))
        self.project = gr.Dropdown(
            [ALL_PROJECTS], value="", label="Project", filterable=False, visible=False, elem_id="adapt-project",
            info="What was made in it, wherever its images went later.",
        )  # fmt: skip
        self.accepted = gr.Checkbox(False, label="Accepted submissions only", elem_id="adapt-accepted")
        with gr.Accordion("Choose among them", open=False, elem_id="adapt-choose"):
            self.annotators = gr.Dropdown(
                [], value=[], multiselect=True, label="Annotators", info="Nobody chosen: everybody.",
                elem_id="adapt-annotators",
            )  # fmt: skip
            self.agreement = gr.Slider(
                0, 1, value=0, step=0.05, label="Least agreement", elem_id="adapt-agreement",
                info="How alike a path is to the others' on its image, from 0 to 1; who was alone on it passes.",
                visible=not self.service.zero_gpu,  # an export is not chosen by it
            )  # fmt: skip
        self.counts = gr.HTML(elem_id="adapt-counts")

    def _add_base(self) -> None:
        gr.HTML(heading("2. What to begin with") + note(BASE_WORDS))
        bases = list(self.service.bases)
        with gr.Row():
            self.base = gr.Dropdown(
                bases, value=bases[0] if bases else None, label="Base", filterable=False, min_width=160,
                info=None if bases else NO_BASE, elem_id="adapt-base",
            )  # fmt: skip
            self.name = gr.Textbox(label="Name of the adapter", max_lines=1, min_width=160, elem_id="adapt-adapter")

    def _add_settings(self) -> None:
        """Add all settings, in folds: their usual values suit most trainings."""
        folds: dict[str, list[FormField]] = {}
        for one in form_fields().values():
            folds.setdefault(USUAL if one.in_sight else one.group, []).append(one)
        self.settings: dict[str, Component] = {}
        for title, fields in folds.items():
            name = f"adapt-fold-{title.split()[0].lower()}"
            words = GROUP_WORDS.get(title, title)
            classes = ["adapt-fold", *(["gaze-as-said"] if any(one in words for one in OTHER_SENSE) else [])]
            with (
                gr.Accordion(words, open=False, elem_id=name, elem_classes=classes),
                gr.Row(elem_classes="adapt-fields"),
            ):
                self.settings |= {one.name: component_of(one) for one in fields}

    def _add_start(self) -> None:
        """Add what it takes and the button, which stay in sight."""
        with gr.Column(scale=4, min_width=200):
            self.estimate = gr.HTML(elem_id="adapt-estimate")
            self.status = gr.HTML(status(""), elem_id="adapt-start-status")
        fits = not self.service.zero_gpu
        self.start = gr.Button(
            "3. Start training", variant="primary", visible=fits, scale=0, min_width=180, elem_id="adapt-start"
        )

    def _connect(self) -> None:
        latest: dict[str, Any] = {"trigger_mode": "always_last", **QUIET}  # nobody waits for a value that has gone by
        held_out: Any = self.held_out_annotators  # who are held out are among the chosen
        chosen = [
            self.project.input, self.accepted.input, self.annotators.input, held_out.input, self.agreement.release
        ]  # fmt: skip
        counted_once = gr.on(chosen, self._count, self.form, [self.counts, self.count], concurrency_limit=1, **latest)
        counted_once.success(self._estimate, {*self.form, self.count}, self.estimate, **QUIET)
        based = self.base.input(self._suggest, self.form, self.name, **QUIET)
        based.then(self._estimate, {*self.form, self.count}, self.estimate, **QUIET)
        typed = [field.input for field in (*self.settings.values(), self.name)]  # type: ignore[attr-defined]
        gr.on(typed, self._estimate, {*self.form, self.count}, self.estimate, **latest)

    def open(self, claim: Claim, values: Values, *, is_admin: bool) -> Values:
        """Show what there is to learn from when the tab is opened; what was chosen stays.

        Args:
            claim: who asks.
            values: of the form.
            is_admin: whether they may train.
        """
        if not is_admin and not self.service.zero_gpu:
            return {}
        name = self._name(claim, values)
        values = {**values, self.name: name}
        if not is_admin:
            return {self.name: name, self.estimate: self._requirements(claim, values, None)}
        everybody, form = self.service.count(claim, TrainingForm()), self.read(values)
        projects = self.service.projects(claim)
        people = list(everybody.annotators)
        count = everybody if form.choice() == TrainingForm().choice() else self.service.count(claim, form)
        return {
            self.name: name,
            self.project: gr.Dropdown(
                [ALL_PROJECTS, *((name, slug) for slug, name in projects.items())],
                visible=len(projects) > 1,
            ),
            self.annotators: gr.Dropdown(people),
            self.held_out_annotators: gr.Dropdown(people),
            self.counts: counts_html(count),
            self.count: count,
            self.estimate: self._requirements(claim, values, count),
        }

    def read(self, values: Values) -> TrainingForm:
        """Return the form as it was sent."""
        project, accepted = values.get(self.project), values.get(self.accepted)
        if self.service.zero_gpu and project:
            accepted = True  # an export of one project has no others
        return TrainingForm(
            values.get(self.name), values.get(self.base), accepted, values.get(self.annotators) or (),
            values.get(self.agreement), {name: values.get(field) for name, field in self.settings.items()}, project,
        )  # fmt: skip

    # ---- handlers ---------------------------------------------------------------------------------------------------
    @show_errors
    def _count(self, values: Values, request: gr.Request) -> Values:
        count = self.service.count(self.entry.claim(request, values[self.entry.token]), self.read(values))
        return {self.counts: counts_html(count), self.count: count}

    @show_errors
    def _suggest(self, values: Values, request: gr.Request) -> str:
        return self._name(self.entry.claim(request, values[self.entry.token]), values)

    @show_errors
    def _estimate(self, values: Values, request: gr.Request) -> str:
        claim = self.entry.claim(request, values[self.entry.token])
        return self._requirements(claim, values, values.get(self.count))

    def _name(self, claim: Claim, values: Values) -> str:
        name = values.get(self.name)
        return self.service.suggest(claim, values.get(self.base)) if is_suggested(name) else str(name)

    def _requirements(self, claim: Claim, values: Values, count: DataCount | None) -> str:
        """Return time and memory, or the command where training does not fit, or what is wrong with the form."""
        form = self.read(values)
        try:
            if self.service.zero_gpu:
                command = self.service.command(claim, form)
                words = note(self._export_words(claim, form))
                return f'{words}<pre class="adapt-command" tabindex="0"><code>{escape(command)}</code></pre>'
            estimate = self.service.estimate(claim, form, count.images if count else 0)
            form.adapter_name()
            return status(estimate)
        except FormError as error:
            return status(str(error))

    def _export_words(self, claim: Claim, form: TrainingForm) -> str:
        """Return which export the command is for."""
        choice = form.choice()
        which = OF_PROJECT if choice.project else ACCEPTED if choice.accepted_only else EVERYTHING
        words = EXPORT_WORDS.format(which=which, folder=EXPORT)
        if not choice.project:
            return words
        name = self.service.projects(claim).get(choice.project, choice.project)
        return f"{words} {CHOOSE.format(project=name)}"


def component_of(field: FormField) -> Component:
    """Return what a setting is filled in with."""
    shared: dict[str, Any] = {
        "label": field.label, "info": field.help, "elem_id": f"adapt-{field.name.replace('_', '-')}", "min_width": 160,
        "elem_classes": "gaze-as-said" if field.name in OTHER_SENSE else None,
    }  # fmt: skip
    if field.kind == "flag":
        return gr.Checkbox(field.default, **shared)
    if field.kind in ("choice", "optional flag"):
        return gr.Dropdown(list(field.choices), value=field.default, filterable=False, **shared)
    if field.kind == "names":
        return gr.Dropdown([], value=field.default, multiselect=True, **shared)
    if field.kind == "text":
        return gr.Textbox(field.default, max_lines=1, **shared)
    if field.optional:  # an empty field for numbers would say 0
        return gr.Textbox("", max_lines=1, placeholder="as usual", **shared)
    # what is typed is checked by the server, which says what is wrong; a precision would round it silently
    return gr.Number(field.default, step=1 if field.kind == "integer" else 0.0001, **shared)


def counts_html(count: DataCount) -> str:
    """Return what a choice of submissions holds in a sentence, and all of it in tables that are folded."""
    words = f"Chosen: {counted(count.scanpaths, 'scanpath')} on {counted(count.images, 'image')}"
    words += f" by {counted(len(count.annotators), 'person', 'people')}" if count.annotators else ""
    out = ", ".join(f"{number:,} {why}" for why, number in count.left_out.items())
    words += f". Left out: {out}." if out else "."
    return status(words) + "".join(map(table, count_tables(count)))


def count_tables(count: DataCount) -> list[Table]:
    """Return what a choice of submissions holds, and what is left out and why."""
    tables = [Table("Who drew them", ("annotator", "scanpaths"), _most_first(count.annotators) or [["nobody", "0"]])]
    if count.findings:
        tables.append(Table("Findings by majority", ("finding", "images"), _most_first(count.findings)))
    if count.left_out:
        tables.append(Table("Left out, and why", ("why", "submissions"), _most_first(count.left_out)))
    return [replace(one, folded=True) for one in tables]


def _most_first(counts: Mapping[str, int]) -> list[list[str]]:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_ROWS]
    return [[name, f"{number:,}"] for name, number in ordered]
