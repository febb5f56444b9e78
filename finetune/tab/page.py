"""The Adapt tab: train an adapter, watch it, compare it with others, take it to Diagnose.

Nothing is computed before somebody opens it. What a role may not use is hidden by styles, for tidiness alone: every
method of `AdaptService` asks the gate by itself.
"""

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from finetune.tab.compare import CompareView
from finetune.tab.service import NO_TRAINING, AdaptService
from finetune.tab.start import BEGINNING, FAILED, StartView
from finetune.tab.watch import WatchView
from web.identity import Gate
from web.markup import status
from web.page import QUIET, Listen, Tab, Values, run_busily, show_errors
from web.sign_in import Entry, EntryWords

HEAD = f"<style>{Path(__file__).with_name('adapt.css').read_text(encoding='utf-8')}</style>"
ONLY_ADMINS_TRAIN = " You may look here; to train, an admin is needed"
BEGUN = "{name} is in the list of runs: {state}."


class AdaptPage:
    """The three parts of the tab, inside the page that holds it."""

    def __init__(self, service: AdaptService, page: gr.Blocks) -> None:
        self.service = service
        self.entry = Entry(service.gate, "adapt", _words(service.gate), page)
        if service.zero_gpu:
            gr.HTML(f'<p class="adapt-notice" role="note">{escape(NO_TRAINING)}</p>', elem_id="adapt-zero")
        with gr.Tabs(elem_id="adapt-parts") as self.parts:
            with gr.Tab("Runs", id="runs", elem_id="adapt-part-runs", render_children=True) as runs:
                self.watch = WatchView(service, self.entry)
            with gr.Tab("Train", id="train", elem_id="adapt-part-train", render_children=True):
                self.start = StartView(service, self.entry)
            with gr.Tab("Compare", id="compare", elem_id="adapt-part-compare", render_children=True) as compare:
                self.compare = CompareView(service, self.entry)
        self.watch.refresh_on(runs.select)  # out of sight, its timer stopped
        inputs = {*self.watch.inputs, self.compare.chosen}
        compare.select(self._open_compare, inputs, self.compare.shown, **QUIET)
        for deleted in self.watch.deletions:
            deleted.success(self._open_compare, inputs, self.compare.shown, **QUIET)
        line = self.start.status
        run_busily(
            self.start.start.click, [self.start.start], line, BEGINNING, self._start,
            {*self.start.form, *self.watch.inputs}, [line, self.start.name, self.parts, *self.watch.shown],
            failed=FAILED, concurrency_limit=1,
        )  # fmt: skip

    def connect(self, opened: Listen) -> None:
        """Fill the tab in when it is opened, and again when somebody else signs in."""
        form = [one for one in self.start.form if one is not self.entry.token]
        self.inputs = [
            self.entry.name, self.entry.typed, self.watch.run, self.watch.measure, self.watch.seen, self.compare.chosen,
            *form,
        ]  # fmt: skip
        name, _, *rest = self.inputs
        outputs = [self.entry.who, self.parts, *self.watch.shown, *self.start.opening, *self.compare.shown]
        opened(self._enter, [name, self.entry.token, *rest], outputs, **QUIET)
        self.entry.begin_with(self._enter, rest, outputs)

    # ---- handlers ---------------------------------------------------------------------------------------------------
    @show_errors
    def _enter(self, request: gr.Request, *given: Any) -> Values:
        """Show everything that this person may see now."""
        values = dict(zip(self.inputs, given, strict=True))
        claim = self.entry.claim(request, values[self.entry.typed])
        welcome = self.service.welcome(claim)
        is_admin = "admin" in welcome.roles
        shown = {
            self.entry.who: self.entry.shown(welcome),
            **self.watch.refresh(claim, {**values, self.watch.seen: None}),  # all of it: a reload lost what was seen
            **self.start.open(claim, values, is_admin=is_admin),
            **self.compare.open(claim, values[self.compare.chosen]),
        }
        if not is_admin and not self.service.zero_gpu:
            shown[self.parts] = gr.Tabs(selected="runs")  # what is hidden now might be open
        return shown

    @show_errors
    def _start(self, values: Values, request: gr.Request) -> Values:
        claim = self.entry.claim(request, values[self.entry.token])
        job = self.service.start(claim, self.start.read(values))
        return {
            **self.watch.refresh(claim, values, job.job_id),
            self.start.status: status(BEGUN.format(name=job.name, state=job.state)),
            self.start.name: self.service.suggest(claim, values.get(self.start.base)),
            self.parts: gr.Tabs(selected="runs"),
        }

    @show_errors
    def _open_compare(self, values: Values, request: gr.Request) -> Values:
        claim = self.entry.claim(request, values[self.entry.token])
        return self.compare.open(claim, values[self.compare.chosen])


def _words(gate: Gate) -> EntryWords:
    less = ONLY_ADMINS_TRAIN + (", whose token goes above." if gate.asks_name else "; ask whoever runs this Space.")
    return EntryWords(token="Token of an admin", info="Not needed to look.", full="admin", nobody=less, less=less)


def adapt_tab(service: AdaptService) -> Tab:
    """Return the tab around the trainings and the annotations to learn from."""
    pages: list[AdaptPage] = []
    return Tab(
        "Adapt", "adapt-tab", lambda page: pages.append(AdaptPage(service, page)),
        lambda opened: pages[-1].connect(opened), HEAD,
    )  # fmt: skip
