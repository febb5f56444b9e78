"""The Adapt tab: train an adapter, watch it, compare it with others, take it to Diagnose.

Nothing is computed before somebody opens it. What a role may not use is hidden by styles, for tidiness alone: every
handler asks the gate by itself.
"""

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from finetune.tab.history.ui import HistoryView
from finetune.tab.service import NO_TRAINING, AdaptService
from finetune.tab.start.ui import BEGINNING, FAILED, StartView
from finetune.tab.watch.ui import WatchView
from web.identity import Gate
from web.markup import status
from web.page import QUIET, Listen, Tab, Values, run_busily, told
from web.sign_in import Entry, EntryWords

HEAD = f"<style>{Path(__file__).with_name('adapt.css').read_text(encoding='utf-8')}</style>"
LOOK = " You may look here; to train, an admin is needed"
BEGUN = "{name} is in the list of runs: {state}."


class AdaptPage:
    """All parts of the tab.

    Args:
        service: does everything.
        page: that holds the tab.
    """

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
                self.history = HistoryView(service, self.entry)
        opened = {self.entry.token, self.history.chosen, *self._watched()}
        self.watch.look_when(runs.select)  # out of sight, its timer stopped
        compare.select(self._finished, opened, self.history.shown, **QUIET)
        for change in self.watch.changes:
            change.success(self._finished, opened, self.history.shown, **QUIET)
        self._connect_start()

    def _watched(self) -> set[Any]:
        return {self.watch.run, self.watch.measure, self.watch.seen}

    def connect(self, opened: Listen) -> None:
        """Begin when the tab is opened, and again as somebody else.

        Args:
            opened: event.
        """
        inputs = [
            self.entry.name, self.entry.typed, self.watch.run, self.watch.measure, self.watch.seen, self.history.chosen,
            *(component for component in self._form()),
        ]  # fmt: skip
        self.inputs = inputs
        outputs = [
            self.entry.who, self.parts, *self.watch.shown, *self.start.opening, *self.history.shown,
        ]  # fmt: skip
        opened(self._enter, [inputs[0], self.entry.token, *inputs[2:]], outputs, **QUIET)
        self.entry.begin_with(self._enter, inputs[2:], outputs)

    def _form(self) -> list[Any]:
        return [one for one in self.start.form if one is not self.entry.token]

    def _connect_start(self) -> None:
        line = self.start.status
        run_busily(
            self.start.start.click, [self.start.start], line, BEGINNING, self._start,
            {*self.start.form, *self._watched()}, [line, self.start.name, self.parts, *self.watch.shown],
            failed=FAILED, concurrency_limit=1,
        )  # fmt: skip

    # ---- handlers ---------------------------------------------------------------------------------------------------
    @told
    def _enter(self, request: gr.Request, *given: Any) -> Values:
        """Everything that this person may see now."""
        values = dict(zip(self.inputs, given, strict=True))
        claim = self.entry.claim(request, values[self.entry.typed])
        welcome = self.service.welcome(claim)
        is_admin = "admin" in welcome.roles
        shown = {
            self.entry.who: self.entry.shown(welcome),
            **self.watch.at(claim, {**values, self.watch.seen: None}),  # all of it: a reload has lost what was seen
            **self.start.first(claim, values, is_admin=is_admin),
            **self.history.first(claim, values[self.history.chosen]),
        }
        if not is_admin and not self.service.zero_gpu:
            shown[self.parts] = gr.Tabs(selected="runs")  # what is hidden now might be open
        return shown

    @told
    def _start(self, values: Values, request: gr.Request) -> Values:
        claim = self.entry.claim(request, values[self.entry.token])
        job = self.service.start(claim, self.start.asked(values))
        return {
            **self.watch.at(claim, values, job.job_id),
            self.start.status: status(BEGUN.format(name=job.name, state=job.state)),
            self.start.name: self.service.suggest(claim, values.get(self.start.base)),
            self.parts: gr.Tabs(selected="runs"),
        }

    @told
    def _finished(self, values: Values, request: gr.Request) -> Values:
        claim = self.entry.claim(request, values[self.entry.token])
        return self.history.first(claim, values[self.history.chosen])


def _words(gate: Gate) -> EntryWords:
    less = LOOK + (", whose token goes above." if gate.asks_name else "; ask whoever runs this Space.")
    return EntryWords(token="Token of an admin", info="Not needed to look.", full="admin", nobody=less, less=less)


def adapt_tab(service: AdaptService) -> Tab:
    """The tab around the jobs and what there is to learn from.

    Args:
        service: does everything.
    """
    pages: list[AdaptPage] = []
    return Tab(
        "Adapt", "adapt-tab", lambda page: pages.append(AdaptPage(service, page)),
        lambda opened: pages[-1].connect(opened), HEAD,
    )  # fmt: skip
