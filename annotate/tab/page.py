"""The Teach tab: an annotation canvas as a Gradio component, with the endpoints that its scripts call.

The endpoints are requests of their own and no queue events, so that a browser can repeat them; every one of them is
public, checks what it gets and who asks, and answers {"ok": ...} or {"error": one sentence}; with "later": True where
the same may be asked again, since it was not for what was sent that it was refused.
"""

import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr
from gradio.data_classes import FileData
from gradio.processing_utils import save_bytes_to_cache
from gradio.route_utils import API_PREFIX
from gradio.utils import get_upload_folder

from annotate.feedback import Against, Done, Feedback
from annotate.payload import (
    LONGEST_QUESTION,
    LONGEST_REPORT,
    Agree,
    Begin,
    Compare,
    GridRequest,
    Next,
    Nothing,
    Own,
    Practise,
    Reopen,
    SkipTask,
    Strict,
    Submission,
    Withdraw,
    checked,
)
from annotate.practice import practice, practice_feedback
from annotate.store.model import StoreError, StoreTrouble
from annotate.store.people import EXPERIENCES
from annotate.store.project import Project
from annotate.tab.service import AnnotationService, Opened
from gazevlm_core.annotation import MODES
from gazevlm_core.evaluation.floors import PAIR_FLOORS
from gazevlm_core.findings import NO_FINDING
from gazevlm_core.scanpath import Scanpath
from web.error_log import UNEXPECTED, log_error
from web.identity import NotAllowed, Visitor
from web.markup import notice
from web.page import Tab
from web.uploads import uploaders
from web.viewer.component import page_head
from web.viewer.payload import ViewerPath, viewer_path

Answer = dict[str, Any]
STATIC = Path(__file__).parent.with_name("static")
SCRIPTS = ("path", "keep", "wire", "blur", "surface", "keys", "form", "start", "result", "desk", "teach")
MOUNT = "GazeTeach.mount(element, props, server, upload);"
SHOWN = "teach-image.png"  # name of the files that the page fetches
LIKELY = 0.5  # probability from which a finding of the model is named
SHARE_DIGITS = 4
NOT_UPLOADED = "The upload is not there any more: choose the file again."


def annotate_tab(service: AnnotationService) -> Tab:
    """Return the tab around a store, the loaded models, and whoever annotates. No handler of it is a queue event."""

    def fill(page: gr.Blocks) -> None:
        usual = next(iter(service.models.choices().values()))
        gr.HTML(notice(usual.gaze.trained_on), elem_id="teach-notice", elem_classes="gaze-notice-line")
        if not service.gate.asks_name:
            gr.LoginButton(elem_id="teach-login")
        AnnotationCanvas(service, elem_id="teach-canvas")

    return Tab("Teach", "teach-tab", fill)


def canvas_head() -> str:
    """Return scripts and styles of the viewer and the canvas, for `<head>`."""
    scripts = "".join(STATIC.joinpath(f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    styles = STATIC.joinpath("teach.css").read_text(encoding="utf-8")
    return f"{page_head()}<style>{styles}</style><script>{scripts}</script>"


class AnnotationCanvas(gr.HTML):
    """Everything from choosing a name to the receipt. It has no value; what is done goes to the service."""

    def __init__(self, service: AnnotationService, **kwargs: Any) -> None:
        self.endpoints = Endpoints(service, Path(get_upload_folder()))
        super().__init__(
            html_template='<div class="gaze-teach"></div>',
            js_on_load=MOUNT,
            head=canvas_head(),
            apply_default_css=False,
            server_functions=self.endpoints.functions(),
            **kwargs,
        )


# ---- endpoints ------------------------------------------------------------------------------------------------------
class Endpoints:
    """What the scripts of the page call.

    Args:
        service: does it.
        folder: where uploads and shown images lie; nothing outside it is ever opened.
    """

    def __init__(self, service: AnnotationService, folder: Path) -> None:
        self.service, self.folder = service, folder

    def functions(self) -> list[Callable[..., Answer]]:
        """Return the handlers as Gradio takes them; their names are those in the scripts."""
        acts: dict[str, tuple[type[Strict], Callable[..., Any]]] = {
            "teach_begin": (Begin, self._begin), "teach_agree": (Agree, self._agree),
            "teach_practise": (Next, self._practise), "teach_practised": (Practise, self._practised),
            "teach_history": (Nothing, self._history), "teach_withdraw": (Withdraw, self._withdraw),
            "teach_next": (Next, self._next), "teach_own": (Own, self._own),
            "teach_reopen": (Reopen, self._reopen), "teach_submit": (Submission, self._submit),
            "teach_skip": (SkipTask, self._skip), "teach_look": (GridRequest, self._grid),
            "teach_compare": (Compare, self._compare),
        }  # fmt: skip
        return [answering(name, form, act) for name, (form, act) in acts.items()]

    def _begin(self, sent: Begin, request: gr.Request) -> Answer:
        try:
            return greeting(self.service, self.service.who(request, "read"), "", sent.project)
        except NotAllowed as error:  # somebody unknown learns what to do
            return greeting(self.service, None, str(error), sent.project)

    def _agree(self, sent: Agree, request: gr.Request) -> bool:
        person = self.service.who(request, "draft")
        self.service.agree(person, self.service.project(sent.project), sent.terms, sent.experience)
        return True

    def _practise(self, sent: Next, request: gr.Request) -> Answer:
        person = self.service.who(request, "draft")
        return self._opened(self.service.practise(person, self.service.project(sent.project)))

    def _practised(self, sent: Practise, request: gr.Request) -> Answer:
        self.service.who(request, "draft")
        return practised_answer(self.service.practice_scanpath(self.service.project(sent.project), sent), sent.findings)

    def _history(self, _sent: Nothing, request: gr.Request) -> list[Answer]:
        return [done_answer(one) for one in self.service.history(self.service.who(request, "draft"))]

    def _withdraw(self, sent: Withdraw, request: gr.Request) -> bool:
        self.service.withdraw(self.service.who(request, "submit"), sent.submission_id)
        return True

    def _next(self, sent: Next, request: gr.Request) -> Answer | bool:
        person, project = self.service.who(request, "draft"), self.service.project(sent.project)
        opened = self.service.next_task(self.service.agreed(person, project), project)
        return False if opened is None else self._opened(opened)

    def _own(self, sent: Own, request: gr.Request) -> Answer:
        person, project = self.service.who(request, "upload"), self.service.project(sent.project)
        self.service.agreed(person, project)
        path = self._uploaded(sent.path, request)
        try:
            return self._opened(self.service.open_own(person, project, path, sent.question))
        finally:
            uploaders.delete(path, request)  # only the pixels are kept, and in the store

    def _reopen(self, sent: Reopen, request: gr.Request) -> Answer:
        return self._opened(self.service.reopen(self.service.who(request, "read"), sent.sha256, sent.shown_at))

    def _submit(self, sent: Submission, request: gr.Request) -> Answer:
        receipt = self.service.submit(self.service.who(request, "submit"), sent)
        return {"receipt_id": receipt.receipt_id, "digest": receipt.digest, "number": receipt.number}

    def _skip(self, sent: SkipTask, request: gr.Request) -> bool:
        self.service.skip(self.service.who(request, "draft"), sent.lease_id, sent.reason)
        return True

    def _grid(self, sent: GridRequest, request: gr.Request) -> Answer:
        self.service.who(request, "predict")
        grid = self.service.grid(sent.sha256, sent.model)
        return {"grid": {"rows": grid.rows, "cols": grid.cols}}

    def _compare(self, sent: Compare, request: gr.Request) -> Answer:
        person = self.service.who(request, "predict")
        return feedback_answer(self.service.feedback(person, sent.submission_id, sent.model))

    def _uploaded(self, text: str, request: gr.Request) -> Path:
        """Return a file that the caller uploaded; any other is not touched, and whether it exists is not disclosed.

        Raises:
            ValueError: no such upload.
        """
        try:
            path, folder = Path(text).resolve(strict=True), self.folder.resolve(strict=True)
        except (OSError, ValueError, RuntimeError):
            raise ValueError(NOT_UPLOADED) from None
        if not path.is_relative_to(folder) or not path.is_file() or not uploaders.owns(path, request):
            raise ValueError(NOT_UPLOADED)
        return path

    def _opened(self, opened: Opened) -> Answer:
        """Return an image for the page, without its name, which may tell what is on it."""
        image, blurred = opened.image, opened.blurred
        facts = ("sha256", "width_px", "height_px", "question")
        return {
            "image": {name: getattr(image, name) for name in facts},
            "lease_id": opened.lease_id,
            "shown_at": opened.shown,
            "picture": self._file(opened.png),
            "blurred": {**self._file(blurred.png), "mean": blurred.mean, "radius_px": blurred.radius_px},
        }

    def _file(self, png: bytes) -> Answer:
        """Return where the page fetches an image, relative to the page's root."""
        path = save_bytes_to_cache(png, SHOWN, str(self.folder))
        url = f"{API_PREFIX.lstrip('/')}/file={quote(path)}"
        return FileData(path=path, url=url, mime_type="image/png").model_dump()


def answering(name: str, form: type[Strict], act: Callable[..., Any]) -> Callable[[object, gr.Request], Answer]:
    """Make an endpoint that checks what was sent, and answers with what `act` returns or its ValueError's sentence."""

    def answer(values: object, request: gr.Request) -> Answer:
        try:
            return {"ok": act(checked(form, values), request)}
        except (NotAllowed, StoreTrouble) as error:
            return {"error": str(error), "later": True}
        except ValueError as error:
            return {"error": str(error)}
        except Exception as error:
            log_error(error)
            return {"error": UNEXPECTED, "later": True}

    answer.__name__ = name
    return answer


# ---- answers --------------------------------------------------------------------------------------------------------
def greeting(service: AnnotationService, person: Visitor | None, problem: str, slug: str | None = None) -> Answer:
    """Return who asks, and what there is to do.

    Args:
        service: of the page.
        person: None where nobody is known.
        problem: what somebody unknown has to do.
        slug: of the project that the page is in; None for the first one that is open. A closed one is described,
            too: what was begun in it goes on.
    """
    there = service.store.projects()
    still_open = [one for one in there if not one.closed]
    project = next((one for one in there if one.slug == slug), next(iter(still_open), there[0]))
    progress = service.progress(person, project) if person else None
    models = list(service.models.choices())
    known = service.store.person(person.pseudonym) if person else None
    return {
        "asks_name": service.gate.asks_name,
        "findings": [*project.form(service.findings), NO_FINDING],
        "no_finding": NO_FINDING,
        "models": models,
        "usual": models[0],
        "modes": [project.mode] if project.mode else list(MODES),
        "instruction": project.instruction,
        "least_clicks": project.least_clicks,
        "licence": project.licence,
        "terms": project.terms,
        "agreed": known is not None and project.terms in known.agreed.splitlines(),
        "experience": known.experience if known else "",
        "experiences": list(EXPERIENCES),
        "question": project.question[:LONGEST_QUESTION],
        "longest_question": LONGEST_QUESTION,
        "longest_report": LONGEST_REPORT,
        "person": person and {"pseudonym": person.pseudonym, "name": person.name},
        "progress": progress
        and {
            "done": progress.done, "skipped": progress.skipped,
            "open_images": 0 if project.closed else progress.open_images,
        },
        "problem": problem,
        "project": project.slug,
        "refused": refusal(service, slug),
        "projects": [project_answer(service, person, one) for one in still_open],
    }  # fmt: skip


def refusal(service: AnnotationService, slug: str | None) -> str:
    """Return why a project gives out no images; "" where it does."""
    try:
        service.project(slug)
    except StoreError as error:
        return str(error)
    return ""


def project_answer(service: AnnotationService, person: Visitor | None, project: Project) -> Answer:
    """Return what a person chooses a project by."""
    waiting = service.progress(person, project).open_images if person else None
    return {"slug": project.slug, "name": project.name, "instruction": project.instruction, "waiting": waiting}


def feedback_answer(feedback: Feedback) -> Answer:
    """Return what is shown after a submission: the sentence, a row per finding that anybody sees, paths and numbers."""
    found = feedback.found
    likely, evidence = ({}, {}) if found is None else (found.finding_probabilities, found.evidence)
    drawn = () if feedback.truth is None else feedback.truth
    named = {*feedback.own, *(one.name for one in drawn)}
    named |= {name for name, chance in likely.items() if chance >= LIKELY}
    named |= {name for name, said in feedback.others.items() if said.yes}
    rows = [
        {
            "name": name,
            "you": name in feedback.own,
            "others": feedback.others[name].yes if name in feedback.others else 0,
            "truth": None if feedback.truth is None else any(one.name == name for one in drawn),
            "model": likely.get(name),
            "shares": [round(share, SHARE_DIGITS) for share in evidence.get(name, ())],
        }
        for name in sorted(named)
    ]
    return {
        "sentence": feedback.sentence, "trouble": feedback.trouble, "model": feedback.model,
        "readers": feedback.readers, "findings": rows, "asked_model": bool(likely),
        "truth": None if feedback.truth is None else [asdict(one) for one in drawn],
        "grid": found and {"rows": found.grid.rows, "cols": found.grid.cols},
        "paths": [path.model_dump(mode="json") for path in _paths(feedback)],
        "scores": [scores_answer(one) for one in feedback.against],
    }  # fmt: skip


def practised_answer(own: Scanpath, findings: list[str]) -> Answer:
    """Return what is shown after the practice image, in the form of `feedback_answer`."""
    truth = practice().truth
    names = {*(one.name for one in truth), *(name for name in findings if name != NO_FINDING)}
    rows: list[Answer] = [
        {"name": name, "you": name in findings, "others": 0, "truth": any(one.name == name for one in truth),
         "model": None, "shares": []}
        for name in sorted(names)
    ]  # fmt: skip
    return {
        "sentence": practice_feedback([(one.x, one.y) for one in own], findings), "trouble": "", "model": "",
        "readers": 0, "findings": rows, "asked_model": False, "truth": [asdict(one) for one in truth], "grid": None,
        "scores": [],
        "paths": [viewer_path(own, "You", "reader").model_dump(mode="json")],
    }  # fmt: skip


def done_answer(done: Done) -> Answer:
    """Return a submission as its annotator sees it."""
    one, annotation = done.stored, done.stored.annotation
    return {
        "submission_id": one.submission_id, "number": one.number, "receipt_id": one.receipt_id, "state": done.state,
        "withdrawn": done.withdrawn, "removed": one.removed, "reason": done.said,
        "findings": done.findings, "mode": annotation.client.mode, "fixations": len(annotation.scanpath),
        "submitted_at": annotation.submitted_at.isoformat(), "picture": done.picture,
    }  # fmt: skip


def _paths(feedback: Feedback) -> list[ViewerPath]:
    """Return the model's path, where there is one, and the person's own."""
    found = feedback.found
    own = viewer_path(feedback.own_path, "You", "reader", grid=found.grid if found else None)
    if found is None or found.scanpath is None:
        return [own]
    name = f"Model: {feedback.model}"
    return [
        viewer_path(
            found.scanpath, name, "model", grid=found.grid, probabilities=found.fixation_probabilities,
            patch_probabilities=found.patch_probabilities, glimpses=found.glimpses,
        ),
        own,
    ]  # fmt: skip


def scores_answer(against: Against) -> Answer:
    """Return scores as JSON; undefined ones are null."""

    def known(value: float) -> float | None:
        return None if math.isnan(value) else value

    rows = [
        {
            "name": row.name,
            "remark": f"order: {row.order}; {'higher' if row.higher_is_better else 'lower'} is closer",
            "value": known(row.value),
            "floors": [known(row.floors[floor]) for floor in PAIR_FLOORS],
        }
        for row in against.rows
    ]
    return {"name": against.name, "rows": rows, "floors": list(PAIR_FLOORS)}
