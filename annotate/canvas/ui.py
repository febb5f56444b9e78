"""The annotation canvas as a Gradio component: `AnnotationCanvas(service)`, with the endpoints that its scripts call.

The endpoints are requests of their own and no queue events, so that a browser can repeat them; every one of them is
public, checks what it gets and who asks, and answers {"ok": ...} or {"error": one sentence}; with "later": True where
the same may be asked again, since it was not for what was sent that it was refused.
"""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr
from gradio.data_classes import FileData
from gradio.processing_utils import save_bytes_to_cache
from gradio.route_utils import API_PREFIX
from gradio.utils import get_upload_folder

from annotate.canvas.answers import Answer, greeting, looked_answer, scores_answer
from annotate.payload import (
    Begin,
    Look,
    Next,
    Own,
    Reopen,
    Scores,
    SkipTask,
    Submission,
    checked,
)
from annotate.service import AnnotationService, Opened
from annotate.store.model import StoreTrouble
from web.error_log import UNFORESEEN, note_trouble
from web.identity import NotAllowed
from web.upload_owners import uploaders
from web.viewer.component import PALETTES, page_head

STATIC = Path(__file__).parent.with_name("static")
SCRIPTS = ("path", "keep", "wire", "veil", "surface", "keys", "form", "start", "result", "desk", "teach")
MOUNT = "GazeTeach.mount(element, props, server, upload);"
SHOWN = "teach-image.png"  # name of the files that the page fetches
NOT_UPLOADED = "The upload is not there any more: choose the file again."


def canvas_head() -> str:
    """Scripts and styles of the viewer and the canvas, for `<head>`."""
    scripts = "".join(STATIC.joinpath(f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    styles = STATIC.joinpath("teach.css").read_text(encoding="utf-8")
    return f"{page_head()}<style>{styles}</style><script>{scripts}</script>"


def answering(act: Callable[[object, gr.Request], Any]) -> Callable[[object, gr.Request], Answer]:
    """An endpoint's answer: what `act` returns, or the sentence of its ValueError."""

    @wraps(act)
    def answer(values: object, request: gr.Request) -> Answer:
        try:
            return {"ok": act(values, request)}
        except (NotAllowed, StoreTrouble) as error:
            return {"error": str(error), "later": True}
        except ValueError as error:
            return {"error": str(error)}
        except Exception as error:
            note_trouble(error)
            return {"error": UNFORESEEN, "later": True}

    return answer


class AnnotationCanvas(gr.HTML):
    """Everything from choosing a name to the receipt. It has no value; what is done goes to the service."""

    def __init__(self, service: AnnotationService, **kwargs: Any) -> None:
        self.endpoints = Endpoints(service, Path(get_upload_folder()))
        super().__init__(
            html_template='<div class="gaze-teach"></div>',
            js_on_load=MOUNT,
            head=canvas_head(),
            apply_default_css=False,
            palettes=PALETTES,
            server_functions=self.endpoints.functions(),
            **kwargs,
        )


class Endpoints:
    """What the scripts of the page call.

    Args:
        service: does it.
        folder: where uploads and shown images lie; nothing outside it is ever opened.
    """

    def __init__(self, service: AnnotationService, folder: Path) -> None:
        self.service, self.folder = service, folder

    def functions(self) -> list[Callable[..., Answer]]:
        """As Gradio takes them; their names are those in the scripts."""

        @answering
        def teach_begin(values: object, request: gr.Request) -> Answer:
            return self._begin(values, request)

        @answering
        def teach_next(values: object, request: gr.Request) -> Answer | bool:
            checked(Next, values)
            opened = self.service.next_task(self.service.who(request, "draft"))
            return False if opened is None else self._opened(opened)

        @answering
        def teach_own(values: object, request: gr.Request) -> Answer:
            return self._own(checked(Own, values), request)

        @answering
        def teach_reopen(values: object, request: gr.Request) -> Answer:
            sent = checked(Reopen, values)
            return self._opened(self.service.reopen(self.service.who(request, "read"), sent.sha256, sent.shown_at))

        @answering
        def teach_submit(values: object, request: gr.Request) -> Answer:
            receipt = self.service.submit(self.service.who(request, "submit"), checked(Submission, values))
            return {"receipt_id": receipt.receipt_id, "digest": receipt.digest, "number": receipt.number}

        @answering
        def teach_skip(values: object, request: gr.Request) -> bool:
            sent = checked(SkipTask, values)
            self.service.skip(self.service.who(request, "draft"), sent.lease_id, sent.reason)
            return True

        @answering
        def teach_look(values: object, request: gr.Request) -> Answer:
            sent = checked(Look, values)
            return looked_answer(self.service.look(self.service.who(request, "look"), sent.sha256, sent.model))

        @answering
        def teach_scores(values: object, request: gr.Request) -> list[Answer]:
            sent = checked(Scores, values)
            person = self.service.who(request, "look")
            return [scores_answer(one) for one in self.service.scores(person, sent.submission_id, sent.model)]

        return [
            teach_begin, teach_next, teach_own, teach_reopen, teach_submit, teach_skip, teach_look, teach_scores,
        ]  # fmt: skip

    def _begin(self, values: object, request: gr.Request) -> Answer:
        """Who asks, and what there is to do; somebody unknown is told what to do."""
        checked(Begin, values)
        try:
            person = self.service.who(request, "read")
        except NotAllowed as error:
            return greeting(self.service, None, str(error))
        return greeting(self.service, person, "")

    def _own(self, sent: Own, request: gr.Request) -> Answer:
        person = self.service.who(request, "upload")
        path = self._uploaded(sent.path, request)
        try:
            return self._opened(self.service.open_own(person, path, sent.question))
        finally:
            uploaders.delete(path, request)  # only the pixels are kept, and in the store

    def _uploaded(self, text: str, request: gr.Request) -> Path:
        """A file that the caller uploaded; any other is not touched, and it is not told whether it exists.

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
        """An image for the page, without its name, which may tell what is on it."""
        image, veil = opened.image, opened.veil
        return {
            "image": {
                "sha256": image.sha256,
                "width_px": image.width_px,
                "height_px": image.height_px,
                "question": image.question,
            },
            "lease_id": opened.lease_id,
            "shown_at": opened.shown,
            "picture": self._file(opened.png),
            "veil": {**self._file(veil.png), "mean": veil.mean, "radius_px": veil.radius_px},
        }

    def _file(self, png: bytes) -> Answer:
        """Where the page fetches an image, relative to the page's root."""
        path = save_bytes_to_cache(png, SHOWN, str(self.folder))
        url = f"{API_PREFIX.lstrip('/')}/file={quote(path)}"
        return FileData(path=path, url=url, mime_type="image/png").model_dump()
