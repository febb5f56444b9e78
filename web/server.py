"""Gradio's server and queue as a public page needs them: behind a guard, and with a fair share for everybody."""

import asyncio
import atexit
import os
import shutil
import sys
import tempfile
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Collection
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal

import fastapi
import gradio as gr
from gradio import processing_utils, route_utils
from gradio.blocks import Blocks
from gradio.data_classes import PredictBodyInternal
from gradio.queueing import Event, Queue
from gradio.routes import App, ORJSONResponse
from gradio.state_holder import SessionState, StateHolder
from gradio.utils import LRUCache

from gazevlm_core.images import MAX_BYTES
from web.fetch import FetchError, fetch
from web.guard import Asgi, Guard, Receive, Scope, Send, address_of, client_address
from web.role_session import RoleSessions
from web.settings import Settings
from web.uploads import MB, UploadFolder, Uploads

FOLDER_VARIABLE = "GRADIO_TEMP_DIR"
AT_ONCE = 4  # of each small handler
WAITING_OF_SESSION = 2
WAITING_OF_ADDRESS, WAITING = 32, 128  # of the model, and of each small handler
RUNNING_OF_ADDRESS = 12  # of Gradio's 40 workers
BYTES_OF_ADDRESS = 16 * 2**20  # of all that waits
SESSIONS = 256  # whose answers are kept until they are fetched
OVER_SESSION = "Two of your requests are waiting already; this one was not taken. Wait for one of them."
OVER_ADDRESS = "Too many requests from your address are waiting in the queue; wait a moment and try again."
NO_HANDLER = "The page has no such handler; reload it."
OVER_ALL = "The queue is full; wait a moment and try again."


class Latest(LRUCache[str, Any]):
    """Answers of sessions, the most recently used last. Gradio's own forgets the oldest, even where somebody waits."""

    def __init__(self) -> None:
        super().__init__(sys.maxsize)

    def keep(self, most: int, busy: Collection[str]) -> None:
        """Forget the least recently used ones that nobody is working for."""
        for key in [key for key in self if key not in busy][: max(0, len(self) - most)]:
            del self[key]

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401 - Gradio's messages
        """Return the value, which is now the latest."""
        self.move_to_end(key)
        return super().__getitem__(key)


class FairQueue(Queue):
    """Gradio's queue, where nobody can take the places of others.

    The model's queue is apart from the small ones, which are one for each handler. What waits is what cannot begin yet:
    a session has at most two of these, an address a share. Of those that wait, the address goes first that was served
    least lately, and in it the session. No page of ours takes batches.
    """

    def __init__(self, blocks: Blocks) -> None:
        super().__init__(
            live_updates=True, concurrency_count=blocks.max_threads, update_intervals=1, max_size=None, blocks=blocks,
            default_concurrency_limit=AT_ONCE,
        )  # fmt: skip
        self.answers = self.pending_messages_per_session = Latest()
        self._served: OrderedDict[str, int] = OrderedDict()  # address or session -> when it was served last
        self._turn = 0

    async def push(
        self, body: PredictBodyInternal, request: fastapi.Request, username: str | None
    ) -> tuple[bool, Any, Any]:
        """Take a request, or refuse it with one sentence.

        Raises:
            HTTPException: 429 where the session or the address has its share, 503 where everybody together has, 404
                where there is no such handler.
        """
        address, session = client_address(request), body.session_hash
        if body.fn_index not in self.blocks.fns:
            raise fastapi.HTTPException(404, NO_HANDLER)
        queues = self.event_queue_per_concurrency_id.values()
        waiting = [event for queue in queues for event in queue.queue]
        own = self.event_queue_per_concurrency_id.get(route_utils.get_fn(self.blocks, None, body).concurrency_id)
        before = own.queue if own else []
        # All who come through MCP are one session of Gradio's own client.
        if own and len(before) >= _free(own) and session and request.headers.get("x-gradio-user") != "mcp":
            stuck = [event for queue in queues for event in queue.queue[_free(queue) :]]
            if sum(event.session_hash == session for event in stuck) >= WAITING_OF_SESSION:
                raise fastapi.HTTPException(429, OVER_SESSION)
        sizes = [_size(event.request) for event in waiting if client_address(event.request) == address]
        count = sum(client_address(event.request) == address for event in before)
        if count >= WAITING_OF_ADDRESS or sum(sizes) + _size(request) > BYTES_OF_ADDRESS:
            raise fastapi.HTTPException(429, OVER_ADDRESS)
        if len(before) >= WAITING:
            raise fastapi.HTTPException(503, OVER_ALL)
        self.answers.keep(SESSIONS, {event.session_hash for event in self.event_ids_to_events.values()})
        for key in self.pending_event_ids_session.keys() - self.answers.keys():
            del self.pending_event_ids_session[key]
        return await super().push(body, request, username)

    def get_events(self) -> tuple[list[Event], bool, str] | None:
        """Return what begins next, if anything can."""
        running: defaultdict[str, int] = defaultdict(int)
        for job in self.active_jobs:
            for event in job or ():
                running[client_address(event.request)] += 1
        ready = [
            (self._served.get(address, 0), self._served.get(event.session_hash, 0), event.enqueue_time, event, queue)
            for queue in self.event_queue_per_concurrency_id.values()
            if _free(queue) > 0
            for event in queue.queue
            if running[address := client_address(event.request)] < RUNNING_OF_ADDRESS
        ]
        if not ready:
            return None
        *_, event, queue = min(ready, key=lambda one: one[:3])
        queue.queue.remove(event)
        self._turn += 1
        for name in (client_address(event.request), event.session_hash):
            self._served[name] = self._turn
            self._served.move_to_end(name)
        while len(self._served) > 10 * SESSIONS:
            self._served.popitem(last=False)
        return [event], False, queue.concurrency_id

    def compute_analytics_summary(self, records: object) -> dict[str, Any]:
        """Return nothing: Gradio would go through its last 10,000 events after each one, for a page that is switched
        off."""
        return {}


def _size(request: fastapi.Request) -> int:
    """Return bytes of a request's body, as the guard counted them."""
    return int(request.scope.get("body_bytes", 0))


def _free(queue: Any) -> int:  # noqa: ANN401 - Gradio's EventQueue
    """Return how many of a queue can begin at once, those that run aside."""
    if queue.concurrency_limit is None:
        return len(queue.queue) + 1
    return max(0, queue.concurrency_limit - queue.current_concurrency)


_asking: ContextVar[str] = ContextVar("asking", default="")  # address of the request that is answered


class RequestAddress:
    """Notes the address of each request for what is made for it; stands before the page, as in `web.guard`."""

    def __init__(self, app: Asgi) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on."""
        _asking.set(address_of(scope))  # of this request's own task
        await self.app(scope, receive, send)


class FairStates(StateHolder):
    """What is remembered of sessions. When there are too many, the least recently used one goes of the address that has
    most; Gradio's own forgets anybody's, so that whoever makes up sessions would make the page forget all others."""

    def __init__(self) -> None:
        super().__init__()
        self._whose: dict[str, str] = {}

    def __getitem__(self, session_id: str) -> SessionState:
        """Return a session, made where there is none."""
        if session_id not in self.session_data:
            self._whose[session_id] = _asking.get()
        return super().__getitem__(session_id)

    def update(self, session_id: str) -> None:
        """Note that a session was used: it is the latest, and there is room for it."""
        with self.lock:
            if session_id in self.session_data:
                self.session_data.move_to_end(session_id)
            while len(self.session_data) > self.capacity:
                others = [key for key in list(self.session_data) if key != session_id]
                counts = Counter(self._whose[key] for key in [*others, session_id])
                evicted = max(others, key=lambda key: counts[self._whose[key]])  # the first of them
                for known in (self.session_data, self.time_last_used, self._whose):
                    known.pop(evicted, None)


class StopEvent(asyncio.Event):
    """An event that any thread may set.

    A page is closed by another thread than its server's, and Gradio sets its own event from there: now and then in the
    midst of a visitor who begins or ends to wait for it, which asyncio answers with "deque mutated during iteration".
    """

    _loop_of_waiters: asyncio.AbstractEventLoop | None = None

    async def wait(self) -> Literal[True]:
        """Wait until it is set."""
        self._loop_of_waiters = asyncio.get_running_loop()
        return await super().wait()

    def set(self) -> None:
        """Set it, in the loop of those who wait."""
        loop = self._loop_of_waiters
        if loop is None or loop.is_closed():
            super().set()
        else:
            loop.call_soon_threadsafe(super().set)


class GuardedApp(App):
    """Gradio's app behind the guard, with bounds on what is uploaded and fetched.

    Args:
        settings: have the tokens of roles, and what visitors may leave on the disk, all together.
    """

    def __init__(self, settings: Settings) -> None:
        self.role_settings = settings
        super().__init__(default_response_class=ORJSONResponse, openapi_url=None)
        self.state_holder, self.stop_event = FairStates(), StopEvent()
        self.upload_folder = UploadFolder(Path(self.uploaded_file_dir), settings.uploads_mb * MB, self._kept)
        limit_fetching(self.upload_folder)

    def build_middleware_stack(self) -> Asgi:
        """Return all that a request passes, the guard first: Gradio's own layer would answer other sites."""

        def uploads(app: Asgi) -> Asgi:
            return Uploads(app, self.upload_folder, MAX_BYTES)

        def sessions(app: Asgi) -> Asgi:
            return RoleSessions(app, self.role_settings)

        return Guard(super().build_middleware_stack(), uploads, sessions, RequestAddress)

    def _kept(self) -> set[str]:
        blocks = self.get_blocks().blocks.values()
        return set().union(*(getattr(block, "keep_in_cache", ()) for block in blocks))


def own_folder() -> None:
    """Give this process a folder of its own for uploads and what is made of them, unless GRADIO_TEMP_DIR names one.

    Gradio's usual one is shared with all its programs on the machine; to bound and clean that would harm them. Before
    components are made: they look it up once.
    """
    if not os.environ.get(FOLDER_VARIABLE):
        folder = os.environ[FOLDER_VARIABLE] = tempfile.mkdtemp(prefix="gazevlm-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)


def limit_fetching(upload_folder: UploadFolder) -> None:
    """Let Gradio fetch files within bounds. It has no setting for that, and would read any length into memory."""

    async def bounded(url: str, cache_dir: str) -> str:
        try:
            return await fetch(url, Path(cache_dir), upload_folder, MAX_BYTES)
        except FetchError as error:
            raise gr.Error(str(error), duration=None, print_exception=False) from error

    processing_utils.async_ssrf_protected_download = bounded
