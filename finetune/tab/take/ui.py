"""Takes a finished adapter out of the page, for admins."""

import secrets
import shutil
import threading
from pathlib import Path

import gradio as gr

from finetune.tab.service import AdaptService
from web.markup import note, status
from web.page import QUIET, Values, told
from web.sign_in import Entry

WORDS = (
    "The adapter with its heads, card and provenance as a ZIP. Merged with its base, or on the Hub: "
    "`gazevlm adapter merge` and `gazevlm adapter push`."
)
PACKING, PACKED, FAILED = "Packing the adapter...", "{name} is packed; it is kept for an hour.", "Nothing was packed."
KEPT_S = 3600.0


class TakeView:
    """Components and handlers.

    Args:
        service: of the tab.
        entry: who asks.
        run: the run that is looked at.
    """

    def __init__(self, service: AdaptService, entry: Entry, run: gr.Dropdown) -> None:
        self.service, self.entry = service, entry
        with gr.Accordion("Take the adapter with you", open=False, elem_id="adapt-take-fold"):
            gr.HTML(note(WORDS))
            self.pack = gr.Button("Pack it", size="sm", min_width=80, elem_id="adapt-take")
            self.line = gr.HTML(status(""), elem_id="adapt-take-status")
            self.file = gr.File(label="Adapter", interactive=False, elem_id="adapt-take-file")
        shown = [self.line, self.file]
        begun = self.pack.click(lambda: (status(PACKING), None), None, shown, queue=False, **QUIET)
        done = begun.then(self._pack, [entry.token, run], shown, concurrency_limit=1, **QUIET)
        done.failure(lambda: status(FAILED), None, self.line, queue=False, **QUIET)
        run.change(lambda: (status(""), None), None, shown, queue=False, **QUIET)

    @told
    def _pack(self, token: str, run: object, request: gr.Request) -> Values:
        target = Path(self.file.GRADIO_CACHE) / f"adapter-{secrets.token_hex(24)}"  # 192 bits that nobody guesses
        path = self.service.pack(self.entry.claim(request, token), run, target)
        removal = threading.Timer(KEPT_S, shutil.rmtree, (target,), {"ignore_errors": True})
        removal.daemon = True
        removal.start()
        return {self.line: status(PACKED.format(name=path.name)), self.file: str(path)}
