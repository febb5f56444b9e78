"""Runs as they go: the list, one of them with its curves and log, and the buttons that act on it."""

from collections.abc import Callable
from functools import partial
from html import escape
from typing import Any, Literal

import gradio as gr
from gradio.blocks import Block

from finetune.jobs.job import RESUMABLE
from finetune.tab.charts import drawn_measures, loss_chart, measure_chart
from finetune.tab.link import link_html
from finetune.tab.looking import Look
from finetune.tab.runs import ACTIVE, ENDED, Run, progress
from finetune.tab.service import AdaptService
from finetune.tab.tables import OF_ADMINS, measure_table, run_label, run_table
from finetune.tab.take.ui import TakeView
from finetune.tab.watch.pair.ui import FOR_REVIEWERS, NONE_YET, PairView
from web.formatting import duration
from web.identity import Claim, NotAllowed
from web.markup import note, status, table
from web.page import FIT_CHARTS, QUIET, Listen, Values, remembered, told
from web.sign_in import Entry

LOOK_S = 2.0
NO_RUNS = "Nothing was trained yet."
CHOSEN_FIRST = ("sequence score", "AUROC")
SURE: tuple[tuple[str, str, Literal["stop", "secondary"]], ...] = (
    ("delete-run", "Delete the run, keep its adapter", "stop"),
    ("delete-both", "Delete the run and its adapter", "stop"),
    ("keep", "Keep both", "secondary"),
)  # fmt: skip
# Whether it is in sight goes with each tick, so that nothing is asked for once another tab or part is open.
IN_SIGHT = (
    "(...values) => { values[values.length - 1] = document.getElementById('adapt-runs').offsetParent ? 'yes' : '';"
    " return values; }"
)


class WatchView:
    """Components and handlers.

    Args:
        service: of the tab.
        entry: who asks.
    """

    def __init__(self, service: AdaptService, entry: Entry) -> None:
        self.service, self.entry = service, entry
        self.runs = gr.HTML(note(NO_RUNS), elem_id="adapt-runs", padding=False)
        with gr.Column(elem_id="adapt-run-body"):
            self._one_run()
            self.pair = PairView()
        self.seen, self.in_sight = remembered(), gr.Textbox(visible=False)
        self.timer = gr.Timer(LOOK_S, active=False)
        self.shown: list[Any] = [
            self.runs, self.run, self.status, self.link, *self.buttons.values(), self.sure, self.losses, self.measure,
            self.curve, self.figures, self.log, self.seen, self.timer, *self.pair.shown,
        ]  # fmt: skip
        self._connect()

    def _one_run(self) -> None:
        self.run = gr.Dropdown([], label="Run", filterable=False, elem_id="adapt-run")
        self.status = gr.HTML(status(""), elem_id="adapt-run-status")
        self.link = gr.HTML(elem_id="adapt-use-it", padding=False)
        with gr.Row(elem_id="adapt-actions", elem_classes="adapt-line"):
            self.buttons = {
                action: gr.Button(action.capitalize(), size="sm", min_width=80, scale=0, elem_id=f"adapt-{action}")
                for action in ("pause", "cancel", "resume", "delete")
            }
        with gr.Row(visible=False, elem_id="adapt-sure", elem_classes="adapt-line") as self.sure:
            self.sure_buttons = {
                action: gr.Button(words, variant=variant, size="sm", min_width=80, scale=0, elem_id=f"adapt-{action}")
                for action, words, variant in SURE
            }
        with gr.Row():
            with gr.Column(min_width=280):
                self.losses = gr.Plot(show_label=False, elem_id="adapt-losses", elem_classes="adapt-chart")
            with gr.Column(min_width=280):
                self.curve = gr.Plot(show_label=False, elem_id="adapt-curve", elem_classes="adapt-chart")
                self.measure = gr.Dropdown([], label="Measure", filterable=False, elem_id="adapt-measure")
        self.figures = gr.HTML(elem_id="adapt-figures")
        self.take = TakeView(self.service, self.entry, self.run)
        with gr.Accordion("What it printed last", open=False, elem_id="adapt-log-fold"):
            self.log = gr.HTML(elem_id="adapt-log")

    def _connect(self) -> None:
        inputs: set[Block] = {self.entry.token, self.run, self.measure, self.seen}
        self.look_when(self.run.input)
        self.look_when(self.measure.input)
        self.timer.tick(
            self._tick, [self.entry.token, self.run, self.measure, self.seen, self.in_sight], self.shown, js=IN_SIGHT,
            queue=False, trigger_mode="once", **QUIET,
        )  # fmt: skip
        for chart in (self.losses, self.curve):
            chart.change(None, None, None, js=FIT_CHARTS, **QUIET)
        acts: dict[str, Callable[..., object]] = {
            "pause": self.service.pause, "cancel": self.service.cancel, "resume": self.service.resume,
        }  # fmt: skip
        for action, act in acts.items():
            self.buttons[action].click(self._acting(act), inputs, self.shown, **QUIET)
        self.buttons["delete"].click(lambda: gr.Row(visible=True), None, self.sure, **QUIET)
        self.sure_buttons["keep"].click(lambda: gr.Row(visible=False), None, self.sure, **QUIET)
        self.changes = [
            self.sure_buttons[action].click(self._acting(act), inputs, self.shown, **QUIET)
            for action, act in (
                ("delete-run", self.service.delete),
                ("delete-both", partial(self.service.delete, adapter=True)),
            )
        ]
        self.pair.choose.input(self._pair, [self.entry.token, self.run, self.pair.choose], self.pair.shown, **QUIET)

    def look_when(self, event: Listen) -> None:
        """Show how the runs are now whenever it happens."""
        event(self._look, {self.entry.token, self.run, self.measure, self.seen}, self.shown, **QUIET)

    # ---- handlers ---------------------------------------------------------------------------------------------------
    @told
    def _look(self, values: Values, request: gr.Request) -> Values:
        return self.at(self.entry.claim(request, values[self.entry.token]), values)

    @told
    def _tick(
        self, token: str, run: object, measure: object, seen: object, in_sight: str, request: gr.Request
    ) -> Values:
        if not in_sight:
            return {self.timer: gr.Timer(active=False)}
        values = {self.run: run, self.measure: measure, self.seen: seen}
        try:
            return self.at(self.entry.claim(request, token), values)
        except NotAllowed:  # too often for this address: nobody clicked, so nobody is told; the next tick asks again
            return {}

    def _acting(self, act: Callable[..., object]) -> Callable[..., Values]:
        @told
        def handler(values: Values, request: gr.Request) -> Values:
            claim = self.entry.claim(request, values[self.entry.token])
            act(claim, values[self.run])
            return {**self.at(claim, values), self.sure: gr.Row(visible=False)}

        return handler

    @told
    def _pair(self, token: str, run: object, image: object, request: gr.Request) -> Values:
        return self.pair.showing(self.service.pairs(self.entry.claim(request, token), run), image)

    # ---- what is shown ----------------------------------------------------------------------------------------------
    def at(self, claim: Claim, values: Values, job_id: object = None) -> Values:
        """Everything about the runs as they are now; what has not changed since is left as it is.

        Args:
            claim: who asks.
            values: the chosen run and measure, and what was seen before.
            job_id: of the run to show; None for the chosen one.
        """
        look = self.service.look(claim, job_id or values.get(self.run))
        goes_on = any(run.job.state in ACTIVE for run in look.runs)
        shown: Values = {self.timer: gr.Timer(active=goes_on)}
        before = values.get(self.seen)
        before = before if isinstance(before, dict) else {}
        now = {
            "list": [(run.job.job_id, run_label(run)) for run in look.runs],
            "rows": [(progress(run.job), run.job.cause) for run in look.runs],
            "run": look.chosen and (look.chosen.job.job_id, look.chosen.job.state, len(look.chosen.events)),
            "measure": values.get(self.measure),
            "admin": look.is_admin,
            "pictures": look.sees_pictures,
        }
        new = {key for key, value in now.items() if before.get(key, self) != value}
        shown |= {self.seen: now, **self._line(look), **self._log(look)}
        if new & {"list", "rows", "admin"}:
            shown[self.runs] = _table(look)
        if "list" in new or _id(now) != _id(before):
            shown |= self._list(look)
        if look.chosen is not None and new & {"run", "measure"}:
            shown |= self._charts(look.chosen, values.get(self.measure))
        if _id(now) != _id(before) or "pictures" in new:
            shown |= {**self._pictures(claim, look), self.sure: gr.Row(visible=False)}
        return shown

    def _pictures(self, claim: Claim, look: Look) -> Values:
        if look.chosen is None or not look.sees_pictures:
            return self.pair.nothing(NONE_YET if look.sees_pictures else FOR_REVIEWERS)
        try:
            return self.pair.showing(self.service.pairs(claim, look.chosen.job.job_id))
        except ValueError as error:  # a file that cannot be read must not hide everything else of the run
            return self.pair.nothing(str(error))

    def _list(self, look: Look) -> Values:
        choices = [(run_label(run), run.job.job_id) for run in look.runs]
        chosen = look.chosen.job.job_id if look.chosen else None
        return {self.run: gr.Dropdown(choices, value=chosen, interactive=len(choices) > 1)}

    def _line(self, look: Look) -> Values:
        if look.chosen is None:
            return {self.status: status(""), self.link: ""}
        state = look.chosen.job.state
        allowed = {
            "pause": state in ACTIVE, "cancel": state in (*ACTIVE, "paused"), "resume": state in RESUMABLE,
            "delete": state in (*ENDED, "paused"),
        }  # fmt: skip
        return {
            self.status: status_html(look.chosen, causes=look.is_admin),
            self.link: link_html(look.chosen, self.service.bases),
            **{button: gr.Button(interactive=allowed[action]) for action, button in self.buttons.items()},
        }

    def _charts(self, run: Run, measure: object) -> Values:
        names = drawn_measures(run)
        usual = next((name for name in (*CHOSEN_FIRST, *names) if name in names), None)
        name = measure if isinstance(measure, str) and measure in names else usual
        choices, figures = [(words, key) for key, words in names.items()], measure_table(run)
        return {
            self.losses: loss_chart(run),
            self.curve: measure_chart(run, name) if name else None,
            self.measure: gr.Dropdown(choices, value=name, interactive=len(names) > 1),
            self.figures: "" if figures is None else table(figures),
        }

    def _log(self, look: Look) -> Values:
        return {self.log: f'<pre class="adapt-log" tabindex="0">{escape(look.log)}</pre>' if look.log else ""}


def _id(seen: dict[str, Any]) -> object:
    """Which run was seen, and in which state."""
    run = seen.get("run")
    return run and run[:2]


def _table(look: Look) -> str:
    return table(run_table(look.runs, causes=look.is_admin)) if look.runs else note(NO_RUNS)


def status_html(run: Run, *, causes: bool) -> str:
    """How a run is going, and what came of it, as HTML.

    Args:
        run: any.
        causes: whether to say why it failed.
    """
    job = run.job
    words = [f"{job.name}: {progress(job)}."]
    if job.cause and (run.verdict is None or job.state != "done"):
        words.append(job.cause if causes or job.state != "failed" else OF_ADMINS)
    if job.state == "running":
        if run.phase:
            words.append(f"{run.phase}.")
        if job.eta_s is not None:
            words.append(f"About {duration(job.eta_s)} left.")
    if run.verdict is not None:
        words.append(run.verdict.why)
    part = job.step / job.steps if job.steps else 0.0
    part = 1.0 if job.state == "done" else min(1.0, part)
    bar = f'<progress value="{part:.4f}" max="1" aria-label="Steps done">{part:.0%}</progress>' if job.steps else ""
    return bar + status(" ".join(words))
