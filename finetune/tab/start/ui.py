"""The part that begins a training: submissions, base, name, settings, what it will take."""

from html import escape
from typing import Any

import gradio as gr

from finetune.tab.asked import EXPORT, Asked, is_suggested
from finetune.tab.form import FormError
from finetune.tab.service import AdaptService
from finetune.tab.start.settings.ui import SettingsForm
from finetune.tab.tables import count_tables
from web.identity import Claim
from web.markup import note, status, table
from web.page import QUIET, Values, remembered, told
from web.sign_in import Entry
from web.training_data import DataCount

WHAT = "Rejected and removed submissions are never learned from. A part of the images is held out to score the adapter."
NO_BASE = "No loaded model can be adapted: start the page with one that comes from a folder or the Hub."
BEGINNING, FAILED = "Writing the training data…", "It did not begin; the message says why."
HERE = "Say what you would train, and copy the command."
EXPORT_WORDS = "Export “training set” with “{which}” in the Annotations tab, unpack it as “{folder}”, then:"


class StartView:
    """Components and handlers.

    Args:
        service: of the tab.
        entry: who asks.
    """

    def __init__(self, service: AdaptService, entry: Entry) -> None:
        self.service, self.entry = service, entry
        if service.zero_gpu:
            gr.HTML(note(HERE))
        with gr.Row():
            with gr.Column(scale=2, min_width=280, elem_id="adapt-data"):
                self._data()
            with gr.Column(scale=3, min_width=280, elem_id="adapt-settings"):
                self._settings()
        self.count = remembered()
        self.form = {
            entry.token, self.name, self.base, self.accepted, self.annotators, self.agreement,
            *self.settings.fields.values(),
        }  # fmt: skip
        self._connect()

    def _data(self) -> None:
        gr.HTML(f'<h3 class="gaze-heading">What to learn from</h3>{note(WHAT)}')
        self.accepted = gr.Checkbox(False, label="Accepted submissions only", elem_id="adapt-accepted")
        self.annotators = gr.Dropdown(
            [], value=[], multiselect=True, label="Annotators", info="Nobody chosen: everybody.",
            elem_id="adapt-annotators",
        )  # fmt: skip
        self.agreement = gr.Slider(
            0, 1, value=0, step=0.05, label="Least agreement", elem_id="adapt-agreement",
            info="Mean sequence score with the other annotators of the image; those who were alone on it pass.",
            visible=not self.service.zero_gpu,  # an export is not chosen by it
        )  # fmt: skip
        self.counts = gr.HTML(elem_id="adapt-counts")

    def _settings(self) -> None:
        gr.HTML('<h3 class="gaze-heading">How to learn it</h3>')
        bases = list(self.service.bases)
        with gr.Row():
            self.base = gr.Dropdown(
                bases, value=bases[0] if bases else None, label="Base", filterable=False, min_width=160,
                info=None if bases else NO_BASE, elem_id="adapt-base",
            )  # fmt: skip
            self.name = gr.Textbox(label="Name of the adapter", max_lines=1, min_width=160, elem_id="adapt-adapter")
        self.settings = SettingsForm()
        self.estimate = gr.HTML(elem_id="adapt-estimate")
        fits = not self.service.zero_gpu
        self.start = gr.Button("Start training", variant="primary", visible=fits, elem_id="adapt-start")
        self.status = gr.HTML(status(""), elem_id="adapt-start-status")

    def _connect(self) -> None:
        latest: dict[str, Any] = {"trigger_mode": "always_last", **QUIET}  # nobody waits for a value that has gone by
        chosen = [self.accepted.input, self.annotators.input, self.agreement.release]
        counted = gr.on(
            chosen, self._count, {*self.form}, [self.counts, self.count], concurrency_limit=1, **latest
        )
        counted.success(self._estimate, {*self.form, self.count}, self.estimate, **QUIET)
        based = self.base.input(self._suggest, {*self.form}, self.name, **QUIET)
        based.then(self._estimate, {*self.form, self.count}, self.estimate, **QUIET)
        typed = [field.input for field in (*self.settings.fields.values(), self.name)]  # type: ignore[attr-defined]
        gr.on(typed, self._estimate, {*self.form, self.count}, self.estimate, **latest)

    # ---- what others ask of it --------------------------------------------------------------------------------------
    @property
    def opening(self) -> list[Any]:
        """What `first` may change."""
        return [self.name, self.counts, self.count, self.annotators, self.held_out_annotators, self.estimate]

    @property
    def held_out_annotators(self) -> gr.Dropdown:
        """Chosen among the same people."""
        return self.settings.fields["held_out_annotators"]  # type: ignore[return-value]

    def first(self, claim: Claim, values: Values, *, is_admin: bool) -> Values:
        """What there is when the tab is opened; what was chosen stays.

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
            return {self.name: name, self.estimate: self._what_it_takes(claim, values, None)}
        everybody, asked = self.service.count(claim, Asked()), self.asked(values)
        people = list(everybody.annotators)
        count = everybody if asked.choice() == Asked().choice() else self.service.count(claim, asked)
        return {
            self.name: name,
            self.annotators: gr.Dropdown(people),
            self.held_out_annotators: gr.Dropdown(people),
            self.counts: "".join(map(table, count_tables(count))),
            self.count: count,
            self.estimate: self._what_it_takes(claim, values, count),
        }

    def asked(self, values: Values) -> Asked:
        """The form as it was sent."""
        return Asked(
            values.get(self.name), values.get(self.base), values.get(self.accepted), values.get(self.annotators) or (),
            values.get(self.agreement), self.settings.settings(values),
        )  # fmt: skip

    # ---- handlers ---------------------------------------------------------------------------------------------------
    @told
    def _count(self, values: Values, request: gr.Request) -> Values:
        count = self.service.count(self.entry.claim(request, values[self.entry.token]), self.asked(values))
        return {self.counts: "".join(map(table, count_tables(count))), self.count: count}

    @told
    def _suggest(self, values: Values, request: gr.Request) -> str:
        return self._name(self.entry.claim(request, values[self.entry.token]), values)

    @told
    def _estimate(self, values: Values, request: gr.Request) -> str:
        claim = self.entry.claim(request, values[self.entry.token])
        return self._what_it_takes(claim, values, values.get(self.count))

    def _name(self, claim: Claim, values: Values) -> str:
        name = values.get(self.name)
        return self.service.suggest(claim, values.get(self.base)) if is_suggested(name) else str(name)

    def _what_it_takes(self, claim: Claim, values: Values, count: DataCount | None) -> str:
        """Time and memory, or the command where training does not fit; what is wrong with the form, if anything is."""
        asked = self.asked(values)
        try:
            if self.service.zero_gpu:
                command = self.service.command(claim, asked)
                which = "accepted submissions" if asked.choice().accepted_only else "everything"
                words = note(EXPORT_WORDS.format(which=which, folder=EXPORT))
                return f'{words}<pre class="adapt-command" tabindex="0"><code>{escape(command)}</code></pre>'
            estimate, memory = self.service.estimate(claim, asked, count.images if count else 0)
            asked.checked_name()
        except FormError as error:
            return status(str(error))
        return status(" ".join(filter(None, (estimate.sentence(), memory))))
