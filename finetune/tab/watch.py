"""The part "Runs": the list, one run with its curves, figures and log, the buttons that act on it, and its adapter."""

import secrets
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

import gradio as gr
from gradio.blocks import Block

from finetune.jobs.job import RESUMABLE
from finetune.records import Measure, gain_words
from finetune.tab.before_after import FOR_REVIEWERS, NONE_YET, PairView
from finetune.tab.charts import drawn_measures, loss_chart, measure_chart
from finetune.tab.runs import ACTIVE, ENDED, OF_ADMINS, Run, base_name, better_words, progress_words, run_label
from finetune.tab.service import AdaptService, Overview
from web.formatting import UNKNOWN, counted, duration, score, when
from web.identity import Claim, NotAllowed
from web.markup import Cell, Table, note, status, table
from web.models import PLUS
from web.page import FIT_CHARTS, QUIET, Listen, Values, remembered, show_errors
from web.sign_in import Entry

REFRESH_S = 2.0
MOST_ROWS = 100
NO_RUNS = (
    "No adapter was trained here yet. A training makes one from what annotators click in Teach; here it is watched and "
    "scored, and then the adapter answers in Diagnose."
)
CHOSEN_FIRST = ("sequence score", "AUROC")
GAIN_NOTE = (
    "In brackets the interval of a change over held-out patients. The adapter is judged by changes from its base; a "
    "score that the base does not have is held against a floor."
)
DRAWN = "Each bar is where the true change probably lies; one that reaches over the middle shows no difference."
FLOORS_NOTE = "A floor knows less: a figure that does not beat it says nothing for the adapter."
NOT_LOADED = (
    "Its base, {base}, is not among the models of this page now; start the page with it to use the adapter in Diagnose."
)
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
PACK_WORDS = (
    "The adapter with its heads, card and provenance as a ZIP. Merged with its base, or on the Hub: "
    "`gazevlm adapter merge` and `gazevlm adapter push`."
)
PACKING, NOT_PACKED = "Packing the adapter...", "Nothing was packed."
PACKED, KEPT_S = "{name} is packed; it is kept for an hour.", 3600.0


class WatchView:
    """Components and handlers of the part."""

    def __init__(self, service: AdaptService, entry: Entry) -> None:
        self.service, self.entry = service, entry
        self.runs = gr.HTML(note(NO_RUNS), elem_id="adapt-runs", padding=False)
        with gr.Column(elem_id="adapt-run-body"):
            self._add_run()
            self.pair = PairView()
        self.seen, self.in_sight = remembered(), gr.Textbox(visible=False)
        self.timer = gr.Timer(REFRESH_S, active=False)
        self.shown: list[Any] = [
            self.runs, self.run, self.status, self.verdict, self.link, *self.buttons.values(), self.sure, self.losses,
            self.measure, self.curve, self.figures, self.log, self.seen, self.timer, *self.pair.shown,
        ]  # fmt: skip
        self._connect()

    def _add_run(self) -> None:
        self.run = gr.Dropdown([], label="Run", filterable=False, elem_id="adapt-run")
        self.status = gr.HTML(status(""), elem_id="adapt-run-status")
        self.verdict = gr.HTML(elem_id="adapt-verdict", padding=False)
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
        with gr.Accordion("Take the adapter with you", open=False, elem_id="adapt-take-fold"):
            gr.HTML(note(PACK_WORDS))
            self.pack = gr.Button("Pack it", size="sm", min_width=80, elem_id="adapt-take")
            self.pack_line = gr.HTML(status(""), elem_id="adapt-take-status")
            self.file = gr.File(label="Adapter", interactive=False, elem_id="adapt-take-file")
        with gr.Accordion("What it printed last", open=False, elem_id="adapt-log-fold"):
            self.log = gr.HTML(elem_id="adapt-log")

    def _connect(self) -> None:
        self.inputs: set[Block] = {self.entry.token, self.run, self.measure, self.seen}
        self.refresh_on(self.run.input)
        self.refresh_on(self.measure.input)
        self.timer.tick(
            self._tick, [self.entry.token, self.run, self.measure, self.seen, self.in_sight], self.shown, js=IN_SIGHT,
            queue=False, trigger_mode="once", **QUIET,
        )  # fmt: skip
        for chart in (self.losses, self.curve):
            chart.change(None, None, None, js=FIT_CHARTS, **QUIET)
        for name in ("pause", "cancel", "resume"):
            self._act_on(self.buttons[name], getattr(self.service, name))
        self.buttons["delete"].click(lambda: gr.Row(visible=True), None, self.sure, **QUIET)
        self.sure_buttons["keep"].click(lambda: gr.Row(visible=False), None, self.sure, **QUIET)
        self.deletions = [
            self._act_on(self.sure_buttons["delete-run"], self.service.delete),
            self._act_on(self.sure_buttons["delete-both"], partial(self.service.delete, adapter=True)),
        ]
        chosen = [self.entry.token, self.run, self.pair.choose]
        self.pair.choose.input(self._show_pair, chosen, self.pair.shown, **QUIET)
        packed = [self.pack_line, self.file]
        begun = self.pack.click(lambda: (status(PACKING), None), None, packed, queue=False, **QUIET)
        done = begun.then(self._pack, [self.entry.token, self.run], packed, concurrency_limit=1, **QUIET)
        done.failure(lambda: status(NOT_PACKED), None, self.pack_line, queue=False, **QUIET)
        self.run.change(lambda: (status(""), None), None, packed, queue=False, **QUIET)

    def refresh_on(self, event: Listen) -> None:
        """Show how the runs are now whenever an event happens."""
        event(self._refresh, self.inputs, self.shown, **QUIET)

    def _act_on(self, button: gr.Button, act: Callable[..., object]) -> Any:  # noqa: ANN401 (Gradio's dependency)
        """Let a button do something with the chosen run."""

        @show_errors
        def handler(values: Values, request: gr.Request) -> Values:
            claim = self.entry.claim(request, values[self.entry.token])
            act(claim, values[self.run])
            return {**self.refresh(claim, values), self.sure: gr.Row(visible=False)}

        return button.click(handler, self.inputs, self.shown, **QUIET)

    # ---- handlers ---------------------------------------------------------------------------------------------------
    @show_errors
    def _refresh(self, values: Values, request: gr.Request) -> Values:
        return self.refresh(self.entry.claim(request, values[self.entry.token]), values)

    @show_errors
    def _tick(
        self, token: str, run: object, measure: object, seen: object, in_sight: str, request: gr.Request
    ) -> Values:
        if not in_sight:
            return {self.timer: gr.Timer(active=False)}
        values = {self.run: run, self.measure: measure, self.seen: seen}
        try:
            return self.refresh(self.entry.claim(request, token), values)
        except NotAllowed:  # too often for this address: nobody clicked, so no error is shown; the next tick asks again
            return {}

    @show_errors
    def _show_pair(self, token: str, run: object, image: object, request: gr.Request) -> Values:
        return self.pair.show(self.service.pairs(self.entry.claim(request, token), run), image)

    @show_errors
    def _pack(self, token: str, run: object, request: gr.Request) -> Values:
        target = Path(self.file.GRADIO_CACHE) / f"adapter-{secrets.token_hex(24)}"  # 192 bits that nobody guesses
        path = self.service.pack(self.entry.claim(request, token), run, target)
        removal = threading.Timer(KEPT_S, shutil.rmtree, (target,), {"ignore_errors": True})
        removal.daemon = True
        removal.start()
        return {self.pack_line: status(PACKED.format(name=path.name)), self.file: str(path)}

    # ---- what is shown ----------------------------------------------------------------------------------------------
    def refresh(self, claim: Claim, values: Values, job_id: object = None) -> Values:
        """Return what changed about the runs since they were shown last.

        Args:
            claim: who asks.
            values: the chosen run and measure, and what was seen before.
            job_id: of the run to show; None for the chosen one.
        """
        found, measure = self.service.overview(claim, job_id or values.get(self.run)), values.get(self.measure)
        before = values.get(self.seen)
        before = before if isinstance(before, dict) else {}
        now: dict[str, Any] = {
            "list": [(run.job.job_id, run_label(run)) for run in found.runs],
            "rows": [(progress_words(run.job), run.job.cause) for run in found.runs],
            "run": found.chosen and (found.chosen.job.job_id, found.chosen.job.state, len(found.chosen.events)),
            "measure": measure,
            "admin": found.is_admin,
            "pictures": found.sees_images,
        }
        new = {key for key, value in now.items() if before.get(key, self) != value}
        other_run = (now["run"] and now["run"][:2]) != (before.get("run") and before["run"][:2])  # or another state
        log = f'<pre class="adapt-log" tabindex="0">{escape(found.log)}</pre>' if found.log else ""
        goes_on = any(run.job.state in ACTIVE for run in found.runs)
        shown: Values = {self.timer: gr.Timer(active=goes_on), self.seen: now, self.log: log, **self._state(found)}
        if new & {"list", "rows", "admin"}:
            rows = run_table(found.runs, causes=found.is_admin)
            shown[self.runs] = table(rows) if found.runs else note(NO_RUNS)
        if "list" in new or other_run:
            choices = [(run_label(run), run.job.job_id) for run in found.runs]
            chosen = found.chosen.job.job_id if found.chosen else None
            shown[self.run] = gr.Dropdown(choices, value=chosen, interactive=len(choices) > 1)
        if found.chosen is not None and new & {"run", "measure"}:
            shown |= self._charts(found.chosen, measure)
        if other_run or "pictures" in new:
            shown |= {**self._pairs(claim, found), self.sure: gr.Row(visible=False)}
        return shown

    def _state(self, found: Overview) -> Values:
        if found.chosen is None:
            return {self.status: status(""), self.verdict: "", self.link: ""}
        state = found.chosen.job.state
        allowed = {
            "pause": state in ACTIVE, "cancel": state in (*ACTIVE, "paused"), "resume": state in RESUMABLE,
            "delete": state in (*ENDED, "paused"),
        }  # fmt: skip
        return {
            self.status: status_html(found.chosen, causes=found.is_admin),
            self.verdict: verdict_html(found.chosen),
            self.link: link_html(found.chosen, self.service.bases),
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

    def _pairs(self, claim: Claim, found: Overview) -> Values:
        if found.chosen is None or not found.sees_images:
            return self.pair.show_nothing(NONE_YET if found.sees_images else FOR_REVIEWERS)
        try:
            return self.pair.show(self.service.pairs(claim, found.chosen.job.job_id))
        except ValueError as error:  # a file that cannot be read must not hide everything else of the run
            return self.pair.show_nothing(str(error))


def status_html(run: Run, *, causes: bool) -> str:
    """Return how a run is going and what came of it, as HTML.

    Args:
        run: any.
        causes: whether to say why it failed.
    """
    job = run.job
    words = [f"{job.name}: {progress_words(job)}."]
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


def verdict_html(run: Run) -> str:
    """Return the changes that the verdict goes by, each drawn with its interval around no change, and below them what
    the base does not have around its floor; "" before there is a verdict with intervals."""
    outcomes = run.verdict.scores if run.verdict is not None else {}
    known = [
        (one.gain.over_base, one.name, outcomes[one.name], one.gain.low, one.gain.value, one.gain.high,
         gain_words(one.gain))
        for one in run.measures
        if one.name in outcomes and one.gain is not None
        and one.gain.low is not None and one.gain.value is not None and one.gain.high is not None
    ]  # fmt: skip
    if not known:
        return ""
    reach = 1.1 * max(max(abs(low), abs(high)) for _, _, _, low, _, high, _ in known) or 1.0

    def place(value: float) -> float:
        """In percent of the line, with no change in its middle."""
        return 50 + 50 * value / reach

    rows = {True: "", False: ""}
    for over_base, name, outcome, low, value, high, words in known:
        rows[over_base] += (
            f'<div class="adapt-gain" data-outcome="{escape(outcome)}"><b>{escape(name)}</b>'
            f'<span class="adapt-line-of">'
            f'<i style="left: {place(low):.1f}%; width: {place(high) - place(low):.1f}%"></i>'
            f'<s style="left: {place(value):.1f}%"></s></span><span>{escape(words)}: {escape(outcome)}</span></div>'
        )
    drawn = ""
    for over_base, ends in ((True, ("worse", "no change", "better")), (False, ("below", "the floor", "above"))):
        words = "".join(f"<em>{word}</em>" for word in ends)
        if rows[over_base]:
            drawn += f'{rows[over_base]}<div class="adapt-gain adapt-ends"><b></b><span>{words}</span></div>'
    return f'<div class="adapt-gains">{drawn}{note(DRAWN)}</div>'


def link_html(run: Run, bases: Mapping[str, str]) -> str:
    """Return a link that opens Diagnose with the adapter, and a warning where it was not shown to be better; "" before
    there is an adapter.

    Args:
        run: any.
        bases: name of a loaded model -> where it was loaded from.
    """
    if run.job.state != "done" or run.job.adapter is None:
        return ""
    base = next((name for name, source in bases.items() if source == run.job.config.base), None)
    if base is None:
        return f'<p class="adapt-link">{escape(NOT_LOADED.format(base=base_name(run.job.config.base, bases)))}</p>'
    model = f"{base}{PLUS}{run.job.adapter.name}"
    warning = f' <span class="adapt-warning">Against its base: {escape(run.doubt)}.</span>' if run.doubt else ""
    address = escape("?" + urlencode({"model": model}))
    return f'<p class="adapt-link"><a href="{address}">Use {escape(model)} in Diagnose</a>{warning}</p>'


def run_table(runs: Sequence[Run], *, causes: bool) -> Table:
    """Return one row per run, the latest first.

    Args:
        runs: all of them.
        causes: whether to say why one failed, which may name what is on the machine.
    """
    heads = ("run", "state", "begun", "worked", "by")
    return Table("Runs", heads, [_run_row(run, causes=causes) for run in runs[:MOST_ROWS]])


def _run_row(run: Run, *, causes: bool) -> list[Cell]:
    job = run.job
    cause = job.cause if causes or job.state != "failed" else OF_ADMINS
    if job.state == "done" and run.verdict is not None:  # the cause may be an earlier version's verdict
        cause = run.verdict.why
    state = f"done: {run.doubt}" if run.doubt is not None else progress_words(job)
    begun, worked = when(job.begun_at_s or job.created_at_s), duration(job.worked_s) if job.worked_s else UNKNOWN
    return [job.name, (state, cause) if cause else (state,), begun, worked, job.creator]


def measure_table(run: Run) -> Table | None:
    """Return every measure beside its base and its floors; None before the first scoring."""
    if not run.measures:
        return None
    floors = list(dict.fromkeys(floor for measure in run.measures for floor in measure.floors))
    heads = ("held-out images", "adapter", "base", "change", *(f"floor: {floor}" for floor in floors))
    rows = [_measure_row(measure, floors) for measure in run.measures]
    intervals = any(measure.gain is not None and measure.gain.value is not None for measure in run.measures)
    images = f" on {counted(run.images[1], 'held-out image')}" if run.images else ""
    which = "" if run.job.state == "done" else ", so far"
    notes = [*([GAIN_NOTE] if intervals else []), *([FLOORS_NOTE] if floors else [])]
    return Table(f"Figures{images}{which}", heads, rows, notes)


def _measure_row(measure: Measure, floors: Sequence[str]) -> list[Cell]:
    change = None if measure.value is None or measure.base is None else measure.value - measure.base
    better = better_words(measure)
    return [
        (measure.name, f"{measure.unit}, {better}" if measure.unit else better), score(measure.value),
        score(measure.base), gain_words(measure.gain) or score(change, signed=True),
        *(score(measure.floors.get(floor)) for floor in floors),
    ]  # fmt: skip
