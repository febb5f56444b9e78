"""What the Diagnose tab does with a question and with a path that was changed by hand: the steps of an answer."""

import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from diagnose.service import Picture, Step, answer_steps, choose_picture
from diagnose.tab import markup
from diagnose.tab.form import Asking, asking_of
from diagnose.tab.result import Result, ResultPanel, Shown, Visit, history
from diagnose.tab.steering import changed_result, result_of, steering_of
from gazevlm_core.scanpath import Fixation
from gazevlm_core.words import UnknownQuestionError, check_question
from web.markup import status as status_line
from web.page import FAILED, Values, page_error
from web.viewer.payload import ViewerPayload, ViewerSteering, changed_path

if TYPE_CHECKING:
    from diagnose.tab.page import DiagnosePage

UNANSWERED = "Not answered: this model does not know the question."
STEP_S = 0.05  # between two steps of an answer: each takes the server and the browser longer than a small model a word
WAITING, PREDICTING, WRITING, STOPPED = "Waiting for the model…", "Looking…", "Writing…", "Stopped."
# Until another image is here the button would ask about the last one; in the browser, since a click may be quicker.
LOADING_LINE = status_line("Loading the image…")

# Why an answer ended before its end, and what the status line then says; None leaves it.
STOP, REPLACED, STEERED = "stop", "replaced", "steered"
ENDINGS: dict[str, str | None] = {STOP: STOPPED, REPLACED: None, STEERED: None}


class Answering:
    """Handlers of the questions and of changed paths.

    Args:
        page: whose components they fill.
    """

    def __init__(self, page: "DiagnosePage") -> None:
        self.catalogue, self.ask = page.catalogue, page.ask
        self.panels, self.findings = page.panels, page.findings
        self.shown, self.status, self.history, self.files = page.shown, page.status, page.history, page.files
        self.controls = [page.status, page.start, page.stop]

    def answer(
        self, sending: float, shown: Shown | None, visit: Visit, question: str, *settings: Any
    ) -> Generator[Values, None, None]:
        """Yield the path, then the words; then the same of what is compared. Nothing about an image that another
        one is about to replace, and nothing more once another image was chosen or the answer was stopped."""
        if sending or (shown is not None and shown.turn != visit.images):
            yield {self.status: LOADING_LINE}
            return
        turn = visit.new_answer()
        try:
            picture = choose_picture(shown.upload if shown else None, shown.example if shown else None)
            asking = asking_of(None, question, settings)
            second = asking.second()
            ways = [asking] if second is None else [asking, second]
            titles = self._titles(ways)
            assert shown is not None  # or there would be no picture
            shown = shown.with_question(check_question(asking.question), compared=second is not None)
            declined = self._declined(ways)
            yield {
                self.shown: shown,
                self.status: status_line(PREDICTING),
                self.history: history(shown.earlier),
                self.files: gr.File(None, visible=False),
                **self.findings.blank(),
                **self.panels[0].blank(
                    shown.payload(0, revealed=False), titles[0] if second else None,
                    markup.asked(shown.question, titles[0]),
                ),
                **self.panels[1].blank(
                    shown.value if second else ViewerPayload(), titles[1] if second else None,
                    markup.asked(shown.question, titles[1]) if second else "",
                ),
            }  # fmt: skip
            if declined:
                yield {self.status: status_line(UNANSWERED), **declined}
                return
            for number, (way, title) in enumerate(zip(ways, titles, strict=True)):
                for step in self._steps(number, title, way, picture, shown, visit):
                    if turn != visit.answers:
                        return
                    shown = step[self.shown]
                    yield step
        except ValueError as error:
            raise page_error(error) from error

    def _declined(self, ways: list[Asking]) -> Values:
        """Return what the panels say where a model was not trained on the question; nothing where all of them were."""
        values: Values = {}
        for panel, way in zip(self.panels, ways, strict=False):
            try:
                self.catalogue.find(way.model).recognise(way.question)
            except UnknownQuestionError as error:
                values[panel.warning] = markup.alert([str(error)])
        return values

    def _steps(
        self, number: int, title: str, way: Asking, picture: Picture, shown: Shown, visit: Visit
    ) -> Generator[Values, None, None]:
        """Answer into one panel; every step has the new `shown`. Words wait for the next step of the
        page."""
        choice, panel, next_s = self.catalogue.find(way.model), self.panels[number], 0.0
        steering = steering_of(choice.gaze, choice.name)
        with closing(answer_steps(self.ask, way.model, picture.image, way.question, way.options())) as steps:
            for count, step in enumerate(steps):
                if not step.finished and time.monotonic() < next_s:
                    continue
                result = Result(
                    title, step.diagnosis, step.seconds, way, step.finished, choice.scores, steering=steering
                )
                shown = shown.with_result(number, result)
                values = {
                    self.shown: shown,
                    self.status: status_line(f"Done in {step.seconds:.1f} s." if step.finished else WRITING),
                    **panel.answer_values(result),
                }
                yield {**values, **self._around(panel, shown, first=not count, revealed=visit.revealed)}
                next_s = time.monotonic() + STEP_S

    def steer(
        self, panel: ResultPanel, shown: Shown | None, visit: Visit, data: object
    ) -> Generator[Values, None, None]:
        """Yield what follows from a path that was changed by hand; nothing any more once it was changed again, or
        another image chosen."""
        try:
            turn, path = changed_path(data)
            result = result_of(shown, panel.number)
            assert shown is not None  # or there would be no result
            own = result.own or result
            yield self._controlling(WAITING, busy=True)
            for step in self._steps_along(path, own, shown):
                if visit.latest_change(panel.number) > turn or shown.turn != visit.images:
                    return
                changed = changed_result(own, step, path, turn)
                first = shown.results[panel.number].steering != changed.steering
                shown = shown.with_result(panel.number, changed)
                done = f"Done in {step.seconds:.1f} s." if step.finished else WRITING
                values: Values = {self.shown: shown, **self._controlling(done, busy=not step.finished)}
                if first:
                    values |= {self.files: gr.File(None, visible=False)}
                values |= self._around(panel, shown, first=first, revealed=visit.revealed)
                yield {**values, **panel.answer_values(changed)}
        except ValueError as error:
            raise page_error(error) from error

    def _steps_along(
        self, path: tuple[Fixation, ...] | None, own: Result, shown: Shown
    ) -> Generator[Step, None, None]:
        """Yield steps of the answer along a path; those of the model's own are known where it had been complete."""
        if path is None and own.finished:
            yield Step(own.diagnosis, own.seconds, finished=True)
            return
        picture = choose_picture(shown.upload, shown.example)
        options = replace(own.asking.options(), look_at=path or ())
        yield from answer_steps(self.ask, own.asking.model, picture.image, own.asking.question, options)

    def _around(self, panel: ResultPanel, shown: Shown, *, first: bool, revealed: bool) -> Values:
        """Return what stands around the words of a result: path and bars come with the first step, and the last one
        completes the tables."""
        values = {**panel.path_values(shown, revealed=revealed), **self.findings.values(shown)} if first else {}
        return {**values, **(self.findings.tables(shown) if shown.results[panel.number].finished else {})}

    def _controlling(self, text: str, *, busy: bool) -> Values:
        return dict(zip(self.controls, controls_at(text, busy=busy), strict=True))

    def give_up(self, panel: ResultPanel, shown: Shown | None, visit: Visit, ending: str) -> Values:
        """Return the path as it was before a change that came to nothing, or the changed one, whose words alone ended
        before their time; nothing where another question or image ended it."""
        if ending not in (STEERED, STOP):
            return {self.status: gr.skip()}
        values = self._controlling(FAILED if ending == STEERED else STOPPED, busy=False)
        if shown is None or panel.number >= len(shown.results):
            return values
        payload = shown.payload(panel.number, revealed=visit.revealed)
        steering, latest = payload.steering or ViewerSteering(), visit.latest_change(panel.number)
        if steering.turn != latest:
            steering = steering.model_copy(update={"turn": latest, "failed": True, "kept": steering.turn})
        return {**values, panel.viewer: payload.model_copy(update={"steering": steering})}

    def _titles(self, ways: list[Asking]) -> list[str]:
        """Return what the results are called beside each other; errors as `Catalogue.find`."""
        names = [self.catalogue.find(way.model).name for way in ways]
        if len({way.path_temperature for way in ways}) == 1:
            return names
        return [f"{name}, temperature {way.path_temperature:g}" for name, way in zip(names, ways, strict=True)]


def freed(shown: Shown | None, visit: Visit) -> tuple[Any, ...]:
    """Return status line and buttons after an image or an answer; nothing while another image is on its way."""
    if shown is not None and shown.turn != visit.images:
        return gr.skip(), gr.skip(), gr.skip()
    return controls_at(None, busy=False)


def stopped(visit: Visit) -> tuple[Any, ...]:
    """End the present answer; returns why, then status line and buttons."""
    visit.new_answer()
    return STOP, *controls_at(STOPPED, busy=False)


def ended(ending: str) -> list[Any]:
    """Return what the status line and the two buttons become when an answer ended before its time. Where another image
    ended it, Diagnose stays off until that is there."""
    line, start, stop = controls_at(ENDINGS.get(ending, FAILED), busy=False)
    return [line, gr.skip() if ending == REPLACED else start, stop]


def controls_at(text: str | None, *, busy: bool) -> tuple[Any, ...]:
    """Return status line (None leaves it), Diagnose button and Stop button."""
    line = gr.skip() if text is None else status_line(text)
    return line, gr.Button(interactive=not busy), gr.Button(interactive=busy)
