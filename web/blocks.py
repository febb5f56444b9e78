"""The page as Gradio runs it, but for what is kept of visitors, and for what is said where something goes wrong."""

import errno
import secrets
import shutil
from collections.abc import Awaitable, Callable
from functools import wraps
from html import escape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import gradio.routes
import gradio.state_holder
from gradio.state_holder import SessionState
from gradio.utils import get_upload_folder

from gazevlm_core.images import MAX_BYTES
from web.error_log import UNEXPECTED, brief, log_error
from web.uploads import uploaders

# No room, no more open files, a disk that fails; all else is of what was sent, such as a name that is too long
OF_THE_SERVER = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
MODEL_QUEUE = "model"  # one answer at a time, from all tabs and endpoints together
RESERVE_BYTES = 2**30  # stays free: each answer leaves pictures in a cache for an hour; uploads stop before that
NO_ROOM = "The server's disk is almost full, so nothing can be answered now; tell whoever runs this page."
NOT_USABLE = "A value that was sent cannot be used{why}; reload the page, or correct it."


class Session(SessionState):
    """What is kept of one visitor: the values of `gr.State` and what handlers changed, but not what components show.

    Gradio also notes the latest value of every component, inputs too: tokens, texts of any length. Only its links to a
    page's present state need that, which nobody is offered; it took half a megabyte and a tenth of a second a visitor.
    """

    def __init__(self, blocks: gr.Blocks) -> None:
        super().__init__(SimpleNamespace(default_config=blocks.default_config, blocks=()))  # type: ignore[arg-type]

    def __setitem__(self, key: int, value: Any) -> None:  # noqa: ANN401 (any state)
        super().__setitem__(key, value)
        self.config_values.clear()

    def _update_config(self, key: int) -> None:
        """Note nothing."""

    def _update_value_in_config(self, key: int, value: Any) -> None:  # noqa: ANN401 (any value)
        """Note nothing."""


def _noting_owner(upload: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Gradio's reading of an upload, of which it tells nobody whose it was.

    It leaves what it does not use: files that broke off, those before a bad one, and those of other fields. So each
    upload has a folder of its own, which nobody can guess, too.
    """

    @wraps(upload)
    async def noted(request: Any, folder: Any, *rest: Any, **named: Any) -> Any:  # noqa: ANN401 (as Gradio's)
        own = Path(folder) / secrets.token_hex(16)
        try:
            done = await upload(request, own, *rest, **named)
        except BaseException:
            shutil.rmtree(own, ignore_errors=True)
            raise
        for path in {path for path in own.iterdir() if path.is_file()} - {Path(path) for path in done[1]}:
            path.unlink()  # those that are used lie in folders by their content
        uploaders.note(done[0], request)
        return done

    return noted


# Gradio has no setting for either.
gradio.state_holder.SessionState = Session  # type: ignore[misc]
gradio.routes.upload_fn = _noting_owner(gradio.routes.upload_fn)  # type: ignore[assignment]


class Page(gr.Blocks):
    """As `gr.Blocks`, but whatever goes wrong is answered in one sentence.

    Gradio prints a traceback of whatever a handler or a component raises, with the caller's text in it. Here the log
    has what `log_error` says, and nothing of what was only sent wrongly.
    """

    tab_heads = ""  # styles and scripts of its tabs, for the page's head
    max_file_size = MAX_BYTES  # launching sets the same; until then Gradio has none, and fails

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *rest: Any, **named: Any) -> Any:  # noqa: ANN401
        """Return values as the handlers take them.

        To an endpoint, null is what was left out: programs send it for that. To any handler, no text is an empty one.

        Raises:
            gr.Error: one cannot be used, or an answer's pictures would fill the disk.
            OSError, MemoryError: the server cannot keep any.
        """
        if block_fn.concurrency_id == MODEL_QUEUE and not _room_left():
            raise gr.Error(NO_ROOM, duration=None, print_exception=False)
        if len(inputs) == len(block_fn.inputs):
            public = block_fn.api_visibility == "public"
            both = zip(block_fn.inputs, inputs, strict=True)
            inputs = [_absent(block, public=public) if given is None else given for block, given in both]
        try:
            return await super().preprocess_data(block_fn, inputs, *rest, **named)
        except Exception as error:
            cause = error.__cause__ or error  # Gradio wraps what components raise
            if isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno in OF_THE_SERVER):
                raise cause from None  # reported by `process_api`
            why = f" ({escape(brief(error.message))})" if isinstance(error, gr.Error) else ""
            raise gr.Error(NOT_USABLE.format(why=why), duration=None, print_exception=False) from error

    def handle_streaming_diffs(
        self,
        block_fn: Any,  # noqa: ANN401 (as Gradio's)
        data: list[Any],
        session_hash: str | None,
        run: str | None,
        final: bool,
        simple_format: bool = False,
    ) -> list[Any]:
        """Send each later value of a streaming event anew, and of a text that grew only its end.

        Gradio sends differences, and its script in the browser applies them to the very object that it handed to the
        page one step earlier. A busy page has not shown that object yet, and then never does: a path that comes just
        before the first word was lost.
        """
        before, now = list(self.pending_diff_streams.get(session_hash, {}).get(run, [])), list(data)
        sent = super().handle_streaming_diffs(block_fn, data, session_hash, run, final, simple_format)
        if not final and not simple_format:
            for place, (old, new) in enumerate(zip(before, now, strict=False)):  # nothing before the first step
                if sent[place] and not (isinstance(old, str) and isinstance(new, str)):
                    sent[place] = [["replace", [], new]]
        return sent

    async def process_api(self, *values: Any, **named: Any) -> dict[str, Any]:
        """Handle one event or call of an endpoint, from what was sent to what is shown.

        Raises:
            gr.Error: whatever went wrong; what nobody foresaw is in the log.
        """
        try:
            return await super().process_api(*values, **named)
        except gr.Error as error:
            error.print_exception = False
            raise
        except Exception as error:
            log_error(error)
            raise gr.Error(UNEXPECTED, duration=None, print_exception=False) from error


def _room_left() -> bool:
    """Return whether the cache's disk has more free than the reserve."""
    folder = Path(get_upload_folder())
    folder.mkdir(parents=True, exist_ok=True)
    return shutil.disk_usage(folder).free > RESERVE_BYTES


def _absent(block: Any, *, public: bool) -> Any:  # noqa: ANN401 (a component and its value)
    """Return what stands for a value that was not given."""
    value = getattr(block, "value", None) if public else None
    return "" if value is None and isinstance(block, gr.Textbox) else value
