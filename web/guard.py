"""What stands before the page: every request passes here first, and most attacks end here.

    app = guard(app)

In this order: headers on every answer, routes that are open, requests of other sites, sizes of bodies, turns. All are
plain ASGI; nothing of Gradio is imported.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

from web.client_address import client_address

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

API = "/gradio_api"
# Nothing else is served. Among Gradio's other routes are copies of a session's values (deep_link, stream), what others
# asked (monitoring, profiling, run-history), a proxy to other sites and an editor of the program.
OPEN = frozenset({
    "", "/config", "/favicon.ico", "/theme.css", "/robots.txt", "/manifest.json", "/login", "/logout",
    "/login/huggingface", "/login/callback", *(API + name for name in (
        "/user", "/login_check", "/app_id", "/info", "/openapi.json", "/theme.css", "/startup-events", "/reset",
        "/cancel", "/queue/join", "/queue/data", "/queue/status", "/upload", "/upload_progress", "/component_server",
        "/mcp",
    )),
})  # fmt: skip
OPEN_BELOW = ("/assets/", "/static/", *(API + name for name in (
    "/file=", "/file/", "/heartbeat/", "/call/", "/run/", "/api/", "/mcp/",
)))  # fmt: skip
# Open for minutes, and without a body
LONG = tuple(API + name for name in ("/queue/data", "/heartbeat/", "/upload_progress", "/call/", "/mcp"))

LARGEST_BODY = 4 * 2**20
MOST_VALUES = 250_000  # in a JSON body; the longest reading that Teach takes has 30,000 samples of five
BODY_S = 30.0
# Of one address: how many at once, and how many with those that wait. An upload may hold all its text in memory, and a
# tool of MCP is asked in a body that stays until the model has answered.
SHARES = {"short": (8, 264), "upload": (8, 264), "tool": (32, 264), "long": (256, 256)}

# Gradio's page and ours have scripts and styles of their own in the HTML, and make functions from text.
POLICY = "; ".join((
    "default-src 'self'", "script-src 'self' 'unsafe-inline' 'unsafe-eval'", "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data: blob:", "media-src 'self' data: blob:", "font-src 'self' data:", "worker-src 'self' blob:",
    "connect-src 'self' data: blob: https://huggingface.co", "object-src 'none'", "base-uri 'self'",
    "form-action 'self' https://huggingface.co", "frame-ancestors 'self' https://huggingface.co",
))  # fmt: skip
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    # With "no-referrer", browsers would call the origin of the page's own forms null.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)

TOO_LARGE = "This request is too large: 4 MB and 250,000 values at most. Images are uploaded as files."
TOO_SLOW = "This request took too long to arrive; try again."
FOREIGN = "This page answers its own requests alone, none from other sites; open it in a tab of its own."
CLOSED = "There is nothing here."
CROWDED = "Too many requests at once come from your address; wait a moment and try again. Nothing is lost."


async def refuse(scope: Scope, send: Send, status: int, text: str) -> None:
    """Answer with one sentence, in the form that Gradio's clients show."""
    plain = route_of(scope) == f"{API}/upload"
    body = text.encode() if plain else json.dumps({"detail": text}).encode()
    kind = b"text/plain; charset=utf-8" if plain else b"application/json"
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    if status == 429:
        headers.append((b"retry-after", b"5"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def route_of(scope: Scope) -> str:
    """The path as the routes see it: without the place that the whole page is served below, or a last slash."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    if root and (path == root or path.startswith(f"{root}/")):
        path = path[len(root) :]
    return path.rstrip("/")


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of this name; None where there is none."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), None)


def address_of(scope: Scope) -> str:
    """Where the request comes from; see `web.client_address`."""
    client = scope.get("client")
    return client_address(SimpleNamespace(client=SimpleNamespace(host=client[0] if client else "")))


class AnswerHeaders:
    """Tells browsers to guess no types, to run and fetch nothing from elsewhere, and who may frame the page."""

    def __init__(self, app: Asgi) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, with the headers added to the answer."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        await self.app(scope, receive, sending)


class OpenRoutes:
    """Serves what the page needs, and nothing else that Gradio offers."""

    def __init__(self, app: Asgi) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or answer 404."""
        if is_open(route_of(scope)):
            await self.app(scope, receive, send)
        else:
            await refuse(scope, send, 404, CLOSED)


def is_open(route: str) -> bool:
    """Whether a route is served; files are, addresses of the web in their place are not."""
    if route in OPEN:
        return True
    below = next((name for name in OPEN_BELOW if route.startswith(name)), None)
    return below is not None and not route[len(below) :].lower().lstrip("/").startswith(("http:", "https:"))


class OwnRequests:
    """Refuses what pages of other sites ask for in a visitor's name.

    Programs send no `Origin` and go on. The Hub frames the page, but the page in the frame has an origin of its own.
    """

    def __init__(self, app: Asgi) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or answer 403, before Gradio allows the other origin anything."""
        if is_foreign(scope):
            await refuse(scope, send, 403, FOREIGN)
        else:
            await self.app(scope, receive, send)


def is_foreign(scope: Scope) -> bool:
    """Whether a browser sent this for a page of another site."""
    origin, site = header(scope, b"origin"), header(scope, b"sec-fetch-site")
    if origin is not None:
        # Behind a proxy that renames the host, the browser's own word counts; no page can write that header.
        return origin == "null" or not (site == "same-origin" or urlsplit(origin).netloc.lower() in _hosts(scope))
    if site not in ("cross-site", "same-site"):
        return False
    # Following a link, being framed, coming back from the login: nobody but the visitor sees what comes.
    visits = header(scope, b"sec-fetch-mode") == "navigate" and scope["method"] in ("GET", "HEAD")
    route = route_of(scope)
    shows = route != "/logout" and (not route.startswith(API) or route.startswith(f"{API}/file"))
    return not (visits and shows)


def _hosts(scope: Scope) -> set[str]:
    """What the page is called: by the request, and by a proxy before it. Another site's page can set neither."""
    names = (header(scope, b"host"), header(scope, b"x-forwarded-host"))
    return {name.split(",")[0].strip().lower() for name in names if name}


class SmallBodies:
    """Takes bodies of a bounded size and shape, and takes them whole before anybody works on them.

    Uploads are streamed and have limits of their own; see `web.uploads`.
    """

    def __init__(self, app: Asgi) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on with the body at hand, or answer 413 or 408. Its length is left in the scope as `body_bytes`."""
        if scope["method"] in ("GET", "HEAD", "OPTIONS") or route_of(scope) == f"{API}/upload":
            await self.app(scope, receive, send)
            return
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_S):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > LARGEST_BODY:
                        await refuse(scope, send, 413, TOO_LARGE)
                        return
        except TimeoutError:
            await refuse(scope, send, 408, TOO_SLOW)
            return
        if sum(map(body.count, (b",", b"[", b"{"))) > MOST_VALUES:
            await refuse(scope, send, 413, TOO_LARGE)
            return
        whole: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def again() -> Message:
            return whole.pop() if whole else await receive()

        scope["body_bytes"] = len(body)
        await self.app(scope, again, send)


def says_too_large(scope: Scope) -> bool:
    """Whether a request says of itself that its body is too large; then it takes nobody's turn."""
    length = header(scope, b"content-length") or ""
    return route_of(scope) != f"{API}/upload" and length.isdecimal() and int(length) > LARGEST_BODY


class Turns:
    """Lets each address have a few requests at once; its further ones wait behind these, and not before others'."""

    def __init__(self, app: Asgi) -> None:
        self.app = app
        self._turns: dict[tuple[str, str], asyncio.Semaphore] = {}
        self._counts: dict[tuple[str, str], int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on when it is this request's turn, or answer 429."""
        if says_too_large(scope):
            await refuse(scope, send, 413, TOO_LARGE)
            return
        kind = kind_of(scope)
        at_once, most = SHARES[kind]
        key = (kind, address_of(scope))
        if self._counts.get(key, 0) >= most:
            await refuse(scope, send, 429, CROWDED)
            return
        self._counts[key] = self._counts.get(key, 0) + 1
        turn = self._turns.setdefault(key, asyncio.Semaphore(at_once))
        try:
            async with turn:
                await self.app(scope, receive, send)
        finally:
            self._counts[key] -= 1
            if not self._counts[key]:
                del self._counts[key], self._turns[key]


def kind_of(scope: Scope) -> str:
    """Which of SHARES a request is counted with; only what has no body may be open many times."""
    route = route_of(scope)
    if route == f"{API}/upload":
        return "upload"
    if scope["method"] == "GET" and route.startswith(LONG):
        return "long"
    return "tool" if route.startswith(f"{API}/mcp") else "short"


def guard(app: Asgi, *inner: Callable[[Asgi], Asgi]) -> Asgi:
    """A page behind everything above.

    Args:
        app: the page.
        inner: further classes of this kind, the outermost first; they stand right before the page.
    """
    guarded = app
    kinds: list[Callable[[Asgi], Asgi]] = [AnswerHeaders, OpenRoutes, OwnRequests, Turns, SmallBodies, *inner]
    for kind in reversed(kinds):
        guarded = kind(guarded)

    async def entrance(scope: Scope, receive: Receive, send: Send) -> None:
        await (guarded if scope["type"] == "http" else app)(scope, receive, send)  # else the server's own messages

    return entrance
