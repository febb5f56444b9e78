"""What a public page refuses: other sites' requests, huge bodies, routes that nobody needs; one real server for all."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.web.served import Served, serving_small
from web.guard import CROWDED, LARGEST_BODY, MOST_VALUES, OPEN, OPEN_BELOW, SHARES, Guard, is_open, kind_of

EVIL = "https://evil.example"
REVEALING = [
    ("GET", ""), ("GET", "config"), ("GET", "gradio_api/info"), ("GET", "gradio_api/queue/data?session_hash=s"),
    ("GET", "gradio_api/heartbeat/s"), ("GET", "gradio_api/file=/etc/passwd"), ("GET", "gradio_api/call/slow/1"),
    ("POST", "gradio_api/queue/join"), ("POST", "gradio_api/component_server"), ("POST", "gradio_api/upload"),
    ("POST", "gradio_api/component_server/"), ("POST", "gradio_api/call/slow"), ("POST", "gradio_api/call/v2/slow"),
    ("POST", "gradio_api/run/quick"), ("POST", "gradio_api/api/quick"), ("POST", "gradio_api/cancel"),
    ("POST", "gradio_api/mcp/"), ("POST", "login"), ("GET", "logout"),
]  # fmt: skip
CLOSED = [
    "gradio_api/deep_link?session_hash=s", "monitoring", "monitoring/summary", "monitoring/x", "gradio_api/dev/reload",
    "gradio_api/runs", "gradio_api/run-history/buckets", "gradio_api/proxy=https://a.hf.space/x",
    "gradio_api/vibe-code",
    "gradio_api/stream/s/1/1/playlist.m3u8", "gradio_api/token", "openapi.json", "gradio_api/profiling/traces",
    "gradio_api/custom_component/a/client/b/c", "gradio_api/file=https://example.org/a.png",
    "gradio_api/file/HTTP://example.org/a", "pwa_icon/100000",
]  # fmt: skip


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving_small() as up:
        yield up


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=30) as one:
        yield one


@pytest.mark.parametrize("origin", [EVIL, "null", "http://127.0.0.1:1", "http://localhost", "https://huggingface.co"])
@pytest.mark.parametrize(("method", "path"), REVEALING)
def test_another_sites_page_gets_nothing(client: httpx.Client, method: str, path: str, origin: str) -> None:
    for asked in (method, "OPTIONS"):
        headers = {"Origin": origin, "Access-Control-Request-Method": method}
        answer = client.request(asked, path, headers=headers, json={} if asked == "POST" else None)
        assert answer.status_code == 403
        assert not [name for name in answer.headers if name.startswith("access-control-allow")]


def test_what_a_browser_says_of_a_request_without_origin_counts(client: httpx.Client) -> None:
    def asks(path: str, site: str, mode: str) -> int:
        return client.get(path, headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode}).status_code

    assert asks("config", "cross-site", "no-cors") == asks("config", "same-site", "no-cors") == 403
    assert asks("", "cross-site", "navigate") == 200, "the Hub frames the page, and links lead to it"
    for path in ("logout", "gradio_api/heartbeat/s", "gradio_api/queue/data?session_hash=s"):
        assert asks(path, "cross-site", "navigate") == 403, "a link that does something"
    assert asks("config", "same-origin", "cors") == asks("config", "none", "navigate") == 200


def test_the_pages_own_requests_and_programs_go_on(client: httpx.Client, served: Served) -> None:
    own = served.url.rstrip("/")
    assert client.get("config").status_code == client.get("config", headers={"Origin": own}).status_code == 200
    body = {"data": ["x"], "fn_index": served.number("quick"), "session_hash": "own"}
    assert client.post("gradio_api/run/quick", json=body, headers={"Origin": own}).json()["data"] == ["x"]
    for named in (
        {"Host": "inner:80", "X-Forwarded-Host": "page.example", "Origin": "https://page.example"},
        {"Host": "inner:80", "Sec-Fetch-Site": "same-origin", "Origin": "https://page.example"},
        {"Host": "a-b.hf.space", "Origin": "https://a-b.hf.space"},
    ):
        assert client.get("config", headers=named).status_code == 200, named


def test_every_answer_carries_the_headers(client: httpx.Client) -> None:
    for answer in (client.get(""), client.get("monitoring"), client.get("config", headers={"Origin": EVIL})):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        policy = answer.headers["content-security-policy"]
        assert "frame-ancestors 'self' https://huggingface.co" in policy
        assert "object-src 'none'" in policy


@pytest.mark.parametrize("path", CLOSED)
def test_routes_that_reveal_what_others_do_are_closed(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 404
    assert client.get(path).json()["detail"] == "There is nothing here."


def test_each_route_of_gradio_has_been_decided(served: Served) -> None:
    """A new version's new routes stay closed, and this says that somebody should look at them."""
    router = next(route.original_router for route in served.page.app.routes if hasattr(route, "original_router"))
    paths = {route.path for route in [*served.page.app.routes, *router.routes] if hasattr(route, "path")}
    closed = {path for path in paths if not is_open(path.replace("{path_or_url:path}", "a").rstrip("/"))}
    assert {path.rstrip("/") for path in closed} == {
        "/svelte/{path:path}", "/pwa_icon", "/pwa_icon/{size}", "/monitoring", "/monitoring/summary",
        "/monitoring/{key}",
        *("/gradio_api" + path for path in (
            "/token", "/dev/reload", "/deep_link", "/runs", "/custom_component/{id}/{environment}/{type}/{file_name}",
            "/proxy={url_path:path}", "/stream/{event_id}", "/stream/{event_id}/close",
            "/stream/{session_hash}/{run}/{component_id}/playlist.m3u8",
            "/stream/{session_hash}/{run}/{component_id}/{segment_id}.{ext}",
            "/stream/{session_hash}/{run}/{component_id}/playlist-file", "/process_recording", "/vibe-edit",
            "/undo-vibe-edit", "/vibe-code", "/vibe-starter-queries",
        )),
    }  # fmt: skip


@pytest.mark.parametrize("path", [
    "gradio_api/queue/join", "gradio_api/component_server", "gradio_api/call/slow", "gradio_api/run/quick",
    "gradio_api/mcp/", "login", "gradio_api/cancel",
])  # fmt: skip
def test_large_bodies_end_before_the_page(client: httpx.Client, path: str) -> None:
    def chunks() -> Iterator[bytes]:  # its length is said nowhere
        for _ in range(5):
            yield b"1" * 2**20

    for body in (b"1" * (LARGEST_BODY + 1), chunks(), b"[" + b"1," * MOST_VALUES + b"1]", b"[" * (MOST_VALUES + 1)):
        answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 413
        assert answer.json()["detail"].startswith("This request is too large: 4 MB")


def test_the_longest_reading_that_teach_takes_passes(client: httpx.Client, served: Served) -> None:
    from annotate.payload import MOST_CLICKS, MOST_SAMPLES

    samples = [{"x": 0.123456789, "y": 0.987654321, "t_ms": number * 16.7} for number in range(MOST_SAMPLES)]
    clicks = [{"x": 0.1, "y": 0.2, "t_ms": 1.0, "dwell_ms": 1.0, "zoom": 1.0}] * MOST_CLICKS
    body = {"data": [{"samples": samples, "clicks": clicks}], "fn_index": served.number("quick"), "session_hash": "t"}
    assert client.post("gradio_api/run/quick", json=body).status_code == 200


def ask(app: Any, address: str, path: str = "/config") -> Any:
    """One request to a plain ASGI app; returns its status."""

    async def asking() -> int:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": path, "headers": [], "client": (address, 1)}
        await app(scope, None, send)
        return int(sent[0]["status"])

    return asking()


def test_whoever_asks_a_thousand_times_waits_behind_himself() -> None:
    async def crowd() -> None:
        go, started = asyncio.Event(), []

        async def page(scope: Any, receive: Any, send: Any) -> None:
            started.append(scope["client"][0])
            if scope["client"][0] == "10.0.0.1":
                await go.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})

        guard = Guard(page)
        hostile = [asyncio.create_task(ask(guard, "10.0.0.1")) for _ in range(1000)]
        await asyncio.sleep(0)
        assert await ask(guard, "10.0.0.2") == 200
        assert started.count("10.0.0.1") == SHARES["short"][0]
        go.set()
        statuses = [await one for one in hostile]
        assert statuses.count(200) == SHARES["short"][1]
        assert statuses.count(429) == 1000 - SHARES["short"][1]
        assert await ask(guard, "10.0.0.1") == 200, "afterwards nothing is kept against it"
        assert (guard._places, guard._counts) == ({}, {})

    asyncio.run(crowd())
    assert "Nothing is lost" in CROWDED


def test_bodies_of_one_address_take_little_memory_whatever_they_are_sent_to() -> None:
    def most(method: str, path: str) -> int:
        return SHARES[kind_of({"method": method, "path": path, "headers": []})][0]

    for path in (*OPEN, *(f"{name}x" for name in OPEN_BELOW)):
        for method in ("POST", "PUT", "DELETE"):
            assert most(method, path) * LARGEST_BODY <= 128 * 2**20, (method, path)
    for path in ("queue/data", "heartbeat/s", "upload_progress", "call/slow/1", "mcp"):
        assert most("GET", f"/gradio_api/{path}") == 256, "a stream of each visitor behind one address"
