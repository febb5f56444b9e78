"""Middleware before the page: every request passes here first, and most attacks end here.

    app = Guard(app)

In this order: headers on every answer, routes that are open, requests of other sites, requests at once of one address,
sizes of bodies. Plain ASGI; nothing of Gradio is imported. Where a request comes from is decided here and nowhere else.
"""

import asyncio
import ipaddress
import json
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

PROXIES_VARIABLE = "FORWARDED_ALLOW_IPS"  # what uvicorn, which serves the page, reads when it starts
API = "/gradio_api"
# Nothing else is served. Among Gradio's other routes are copies of a session's values (deep_link, stream), what others
# asked (monitoring, profiling, run-history), a proxy to other sites and an editor of the program.
OPEN = frozenset({
    "", "/config", "/favicon.ico", "/theme.css", "/robots.txt", "/manifest.json", "/login", "/logout",
    "/login/huggingface", "/login/callback", *(API + name for name in (
        "/user", "/login_check", "/app_id", "/info", "/openapi.json", "/theme.css", "/startup-events", "/reset",
        "/cancel", "/queue/join", "/queue/data", "/queue/status", "/upload", "/upload_progress", "/component_server",
        "/mcp", "/session",
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
FOREIGN = "This page answers only its own requests, none from other sites; open it in a tab of its own."
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
    """Return the path as the routes see it: without the place that the whole page is served below, or a last slash."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    if root and (path == root or path.startswith(f"{root}/")):
        path = path[len(root) :]
    return path.rstrip("/")


def header(scope: Scope, name: bytes) -> str | None:
    """Return the first header of this name; None where there is none."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), None)


# ---- where a request comes from -------------------------------------------------------------------------------------
class WebRequest(Protocol):
    """What is needed of a web request; Gradio's and Starlette's have it."""

    @property
    def cookies(self) -> Mapping[str, str]:
        """As the browser sent them."""

    @property
    def client(self) -> object:
        """The other end of the connection, or who a trusted proxy says is behind it; its `host` is an address."""

    @property
    def session(self) -> object:
        """The signed session; there is one on a Space alone."""


def client_address(request: WebRequest) -> str:
    """Return the address that a request comes from; "" where it has none.

    The server has set it: to the other end of the connection, or, where that is a trusted proxy, to the last address
    of `X-Forwarded-For` that is none. What anybody else writes there is never read. IPv6 counts by its /64, which is
    what one household is given; all else would be as many addresses as somebody likes.
    """
    return network_of(str(getattr(request.client, "host", "") or ""))


@lru_cache(maxsize=4096)
def network_of(host: str) -> str:
    """Return an IPv4 address, the /64 of an IPv6 address, or the text itself where it is neither."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host[:64]
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))


def trust_proxies(trusted: Iterable[str]) -> None:
    """Let the server that is started next in this process believe these proxies and no others.

    Args:
        trusted: addresses and networks; their `X-Forwarded-For` is believed.
    """
    os.environ[PROXIES_VARIABLE] = ",".join(trusted)


def address_of(scope: Scope) -> str:
    """Return `client_address` of a request that has not reached the page yet."""
    client = scope.get("client")
    return network_of(client[0] if client else "")


# ---- what is refused ------------------------------------------------------------------------------------------------
def is_open(route: str) -> bool:
    """Return whether a route is served; files are, URLs in their place are not."""
    if route in OPEN:
        return True
    below = next((name for name in OPEN_BELOW if route.startswith(name)), None)
    return below is not None and not route[len(below) :].lower().lstrip("/").startswith(("http:", "https:"))


def is_foreign(scope: Scope) -> bool:
    """Return whether a browser sent this for a page of another site."""
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
    """Return the page's host names, of the request and of a proxy before it; another site's page can set neither."""
    names = (header(scope, b"host"), header(scope, b"x-forwarded-host"))
    return {name.split(",")[0].strip().lower() for name in names if name}


def says_too_large(scope: Scope) -> bool:
    """Return whether the declared length of a body is too large; then it takes nobody's place."""
    length = header(scope, b"content-length") or ""
    return route_of(scope) != f"{API}/upload" and length.isdecimal() and int(length) > LARGEST_BODY


def kind_of(scope: Scope) -> str:
    """Return which of SHARES a request counts with; only what has no body may be open many times."""
    route = route_of(scope)
    if route == f"{API}/upload":
        return "upload"
    if scope["method"] == "GET" and route.startswith(LONG):
        return "long"
    return "tool" if route.startswith(f"{API}/mcp") else "short"


class Guard:
    """The page behind all of this.

    Args:
        app: the page.
        inner: further layers of ASGI, the outermost first; they stand right before the page.
    """

    def __init__(self, app: Asgi, *inner: Callable[[Asgi], Asgi]) -> None:
        self.app = self.page = app
        for layer in reversed(inner):
            self.page = layer(self.page)
        self._places: dict[tuple[str, str], asyncio.Semaphore] = {}  # of a kind of requests and an address
        self._counts: dict[tuple[str, str], int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with one sentence; the server's own messages go to the page."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        if not is_open(route_of(scope)):
            await refuse(scope, sending, 404, CLOSED)
        elif is_foreign(scope):  # before Gradio allows the other origin anything
            await refuse(scope, sending, 403, FOREIGN)
        elif says_too_large(scope):
            await refuse(scope, sending, 413, TOO_LARGE)
        else:
            await self._wait(scope, receive, sending)

    async def _wait(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let each address have a few requests at once; its further ones wait behind these, and not before others'."""
        kind = kind_of(scope)
        at_once, most = SHARES[kind]
        key = (kind, address_of(scope))
        if self._counts.get(key, 0) >= most:
            await refuse(scope, send, 429, CROWDED)
            return
        self._counts[key] = self._counts.get(key, 0) + 1
        place = self._places.setdefault(key, asyncio.Semaphore(at_once))
        try:
            async with place:
                await self._read(scope, receive, send)
        finally:
            self._counts[key] -= 1
            if not self._counts[key]:
                del self._counts[key], self._places[key]

    async def _read(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a body of a bounded size and shape before anybody works on it; `body_bytes` of the scope is its length.

        Uploads are streamed and have limits of their own; see `web.uploads`.
        """
        if scope["method"] in ("GET", "HEAD", "OPTIONS") or route_of(scope) == f"{API}/upload":
            await self.page(scope, receive, send)
            return
        body, more = bytearray(), True
        try:
            async with asyncio.timeout(BODY_S):
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
        left: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def again() -> Message:
            return left.pop() if left else await receive()

        scope["body_bytes"] = len(body)
        await self.page(scope, again, send)
