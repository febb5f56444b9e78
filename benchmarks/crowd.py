"""Fifty visitors of the real page for a minute, alone and then with a hostile one among them.

    python -m benchmarks.crowd --clients 50 --seconds 60

Prints for each kind of request how many were answered, the 95th percentile of the visitors' times in both minutes,
their ratio (bar: at most 2), what was refused, and the server's memory. Every client has an address of its own
(127.1.0.N; on systems without such addresses all share one, and `--shared-address` shows that here). The clients run on
the same machine as the server, so the figures are of use on a quiet one alone.
"""

import asyncio
import io
import os
import random
import socket
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import httpx
import numpy as np
import psutil
import typer
from PIL import Image

from phantoms.make import make_phantom

CLIENTS, SECONDS, BAR = 50, 60.0, 2.0
THINK_S = (2.0, 6.0)  # between two requests of a visitor
MIX = {"page": 0.25, "config": 0.25, "small handler": 0.46, "diagnose": 0.04}
START_S, DRAIN_S = 120.0, 120.0
HOSTILE_AT_ONCE = 4  # of each kind of attack
BIG_BYTES = 64 * 2**20
API = "/gradio_api"


@dataclass
class Minute:
    """What was seen in one phase.

    Args:
        times: kind of request -> seconds of each that was answered.
        refused: kind and status -> how many.
        peak_mb: of the server.
    """

    times: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    refused: Counter[str] = field(default_factory=Counter)
    peak_mb: float = 0.0

    def p95_s(self, kinds: Sequence[str]) -> float:
        """Of these kinds together; NaN where nothing was answered."""
        times = [seconds for kind in kinds for seconds in self.times[kind]]
        return float(np.percentile(times, 95)) if times else float("nan")


class Refused(Exception):
    """An answer that is none."""


def bomb() -> bytes:
    """A PNG of 64 x 64 pixels with far more data than these: a megabyte that unpacks to one gigabyte."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(2**20)) for _ in range(1024)) + packer.flush()
    header = struct.pack(">IIBBBBB", 64, 64, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def film(seed: int) -> bytes:
    """A drawn radiograph as PNG."""
    stored = io.BytesIO()
    Image.fromarray(make_phantom(seed, size_px=512).image).save(stored, "PNG")
    return stored.getvalue()


def client_of(url: str, address: str | None) -> httpx.AsyncClient:
    """A client with an address of its own; the machine's usual one for None."""
    limits = httpx.Limits(max_connections=None)
    transport = httpx.AsyncHTTPTransport(local_address=address, limits=limits)
    return httpx.AsyncClient(transport=transport, base_url=url, timeout=300.0)


def checked(answer: httpx.Response) -> httpx.Response:
    """The answer, unless it refuses.

    Raises:
        Refused: its status is an error.
    """
    if answer.status_code >= 400:
        raise Refused(str(answer.status_code))
    return answer


class Visitor:
    """Somebody who looks at the page, and now and then asks the model.

    Args:
        client: with the visitor's address.
        image: PNG.
        loads: numbers of the handlers that the page asks when it opens.
    """

    def __init__(self, client: httpx.AsyncClient, image: bytes, loads: Sequence[int]) -> None:
        self.client, self.image, self.loads = client, image, loads
        self.path = ""

    async def ask(self, kind: str) -> None:
        """One request of a kind, to the end of its answer.

        Raises:
            Refused: by the server.
        """
        if kind == "page":
            await self._open_page()
        elif kind == "config":
            checked(await self.client.get("/config"))
        elif kind == "small handler":
            await self._call("models", {})
        else:
            if not self.path:
                sent = await self.client.post(f"{API}/upload", files={"files": ("film.png", self.image)})
                self.path = checked(sent).json()[0]
            await self._call("diagnose", {"image": {"path": self.path, "meta": {"_type": "gradio.FileData"}}})

    async def _open_page(self) -> None:
        checked(await self.client.get("/"))
        checked(await self.client.get("/theme.css"))
        session = f"{random.random()}"
        for number in self.loads:
            body = {"data": [], "fn_index": number, "session_hash": session}
            checked(await self.client.post(f"{API}/queue/join", json=body))
        async with self.client.stream("GET", f"{API}/queue/data", params={"session_hash": session}) as stream:
            async for line in stream.aiter_lines():
                if "close_stream" in line:
                    return

    async def _call(self, name: str, body: dict[str, Any]) -> None:
        event = checked(await self.client.post(f"{API}/call/v2/{name}", json=body)).json()["event_id"]
        async with self.client.stream("GET", f"{API}/call/{name}/{event}") as stream:
            async for line in stream.aiter_lines():
                if line in ("event: complete", "event: error"):
                    if line == "event: error":
                        raise Refused("error")
                    return


async def visit(visitor: Visitor, until: float, seen: Minute, rng: random.Random) -> None:
    """Ask until the time is over."""
    await asyncio.sleep(rng.uniform(0, THINK_S[1]))
    while time.monotonic() < until:
        (kind,) = rng.choices(list(MIX), list(MIX.values()))
        start = time.monotonic()
        try:
            await visitor.ask(kind)
            seen.times[kind].append(time.monotonic() - start)
        except Refused as refused:
            seen.refused[f"{kind}: {refused}"] += 1
        except httpx.HTTPError as error:
            seen.refused[f"{kind}: {type(error).__name__}"] += 1
        await asyncio.sleep(rng.uniform(*THINK_S))


def attacks(client: httpx.AsyncClient, model_handler: int) -> dict[str, Callable[[], Awaitable[httpx.Response]]]:
    """What a hostile visitor does, by name."""
    big, values = b"[" + b"1" * BIG_BYTES + b"]", b'{"data":[' + b"1," * 2_000_000 + b"1]}"
    packed = bomb()

    async def unsaid() -> Any:  # noqa: ANN401 - an iterator; a body whose length is said nowhere
        for _ in range(64):
            yield bytes(2**20)

    async def join(session: str, image: dict[str, Any] | None) -> httpx.Response:
        data = [image, "?", "", "medoid", 64, 1.0, 0, 0.0, 0]
        body = {"data": data, "fn_index": model_handler, "session_hash": session}
        return await client.post(f"{API}/queue/join", json=body)

    async def explode() -> httpx.Response:
        sent = await client.post(f"{API}/upload", files={"files": (f"{random.random()}.png", packed)})
        if sent.status_code != 200:
            return sent
        return await join(f"{random.random()}", {"path": sent.json()[0], "meta": {"_type": "gradio.FileData"}})

    return {
        "join, one session": lambda: join("hostile", None),
        "join, many sessions": lambda: join(f"{random.random()}", None),
        "64 MB to queue/join": lambda: client.post(f"{API}/queue/join", content=big),
        "64 MB to component_server": lambda: client.post(f"{API}/component_server", content=big),
        "64 MB, length unsaid": lambda: client.post(f"{API}/component_server", content=unsaid()),
        "4 MB of numbers": lambda: client.post(f"{API}/queue/join", content=values),
        "PNG bomb": explode,
    }


async def attack(client: httpx.AsyncClient, model_handler: int, until: float, seen: Counter[str]) -> None:
    """All attacks at once, several of each, without a pause."""

    async def repeat(name: str, act: Callable[[], Awaitable[httpx.Response]]) -> None:
        while time.monotonic() < until:
            try:
                answer = await act()
                seen[f"{name}: {answer.status_code}"] += 1
            except httpx.HTTPError as error:
                seen[f"{name}: {type(error).__name__}"] += 1

    acts = attacks(client, model_handler)
    await asyncio.gather(*(repeat(name, act) for name, act in acts.items() for _ in range(HOSTILE_AT_ONCE)))


async def watch(server: psutil.Process, seen: Minute) -> None:
    """Note the server's memory until cancelled."""
    while True:
        with suppress(psutil.Error):
            seen.peak_mb = max(seen.peak_mb, server.memory_info().rss / 2**20)
        await asyncio.sleep(0.2)


async def minute(url: str, server: psutil.Process, clients: int, seconds: float, shared: bool) -> Minute:
    """Visitors for a while; whatever they wait for then is waited for."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        config = checked(await client.get("/config")).json()
    loads = [
        one["id"] for one in config["dependencies"]
        if any(target[1] == "load" for target in one["targets"]) and one["queue"] is not False
        and one["backend_fn"] and not one["inputs"]
    ]  # fmt: skip
    seen = Minute()
    people = [client_of(url, None if shared else f"127.1.0.{number + 1}") for number in range(clients)]
    visitors = [Visitor(client, film(number), loads) for number, client in enumerate(people)]
    watching = asyncio.create_task(watch(server, seen))
    until = time.monotonic() + seconds
    visits = (visit(visitor, until, seen, random.Random(number)) for number, visitor in enumerate(visitors))
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds + DRAIN_S):
            await asyncio.gather(*visits)
    watching.cancel()
    for client in people:
        await client.aclose()
    return seen


@contextmanager
def page(log: Path) -> Iterator[tuple[str, psutil.Process]]:
    """The real app in a process of its own: its address, and the process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port), "GAZEVLM_DATA": str(log.parent / "data")}
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "app.py"], env={**os.environ, **own}, stdout=output, stderr=subprocess.STDOUT
        )
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + START_S
    try:
        while True:
            try:
                httpx.get(url, timeout=5)
                break
            except httpx.HTTPError:
                if server.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"the page did not start:\n{log.read_text()[-2000:]}")
                time.sleep(0.5)
        yield url, psutil.Process(server.pid)
    finally:
        server.terminate()
        server.wait(60)


def hostile(url: str, address: str | None, seconds: float) -> Counter[str]:
    """Return what a hostile visitor was answered in a while, by attack and status."""
    return asyncio.run(be_hostile(url, address, seconds))


async def be_hostile(url: str, address: str | None, seconds: float) -> Counter[str]:
    """Attack for a while; answers by attack and status."""
    seen: Counter[str] = Counter()
    async with client_of(url, address) as client:
        config = (await client.get("/config")).json()
        number = next(one["id"] for one in config["dependencies"] if one["api_name"] == "diagnose")
        await attack(client, number, time.monotonic() + seconds, seen)
    return seen


def main(
    clients: Annotated[int, typer.Option(help="Visitors at once.")] = CLIENTS,
    seconds: Annotated[float, typer.Option(help="Of each of the two phases.")] = SECONDS,
    shared_address: Annotated[bool, typer.Option(help="All have one address, the hostile one too.")] = False,
) -> None:
    """Measure, and print the figures; ends with 1 where the bar is missed."""
    shared = shared_address or sys.platform != "linux"
    with (
        tempfile.TemporaryDirectory() as folder,
        page(Path(folder) / "server.log") as (url, server),
        ProcessPoolExecutor(1, get_context("spawn")) as apart,  # so that the visitors' clocks do not wait for it
    ):
        asyncio.run(minute(url, server, clients, min(10.0, seconds), shared))  # everything has been loaded once
        rest_mb = server.memory_info().rss / 2**20
        alone = asyncio.run(minute(url, server, clients, seconds, shared))
        enemy = apart.submit(hostile, url, None if shared else "127.2.0.1", seconds)
        beside = asyncio.run(minute(url, server, clients, seconds, shared))
        attacked = enemy.result()
        time.sleep(5)
        after_mb = server.memory_info().rss / 2**20
    print_figures(alone, beside, attacked)
    print(  # noqa: T201
        f"server's memory: {rest_mb:.0f} MB at first, at most {alone.peak_mb:.0f} MB alone and {beside.peak_mb:.0f} MB "
        f"with the hostile one, {after_mb:.0f} MB afterwards; load of the machine {os.getloadavg()[0]:.1f}"
    )
    ratio = beside.p95_s(list(MIX)) / alone.p95_s(list(MIX))
    raise typer.Exit(0 if ratio <= BAR else 1)


def print_figures(alone: Minute, beside: Minute, attacked: Counter[str]) -> None:
    """The table of times, and what was refused to whom."""
    lines = [
        f"{'':16}{'alone':>16}{'with one hostile':>24}",
        f"{'':16}{'n':>6}{'p95':>10}{'n':>14}{'p95':>10}{'ratio':>8}",
    ]
    for name, kinds in [*((kind, [kind]) for kind in MIX), ("all", list(MIX))]:
        first, second = alone.p95_s(kinds), beside.p95_s(kinds)
        counts = [sum(len(one.times[kind]) for kind in kinds) for one in (alone, beside)]
        lines.append(f"{name:16}{counts[0]:6}{first:8.2f} s{counts[1]:14}{second:8.2f} s{second / first:8.2f}")
    for title, refusals in (
        ("visitors refused alone", alone.refused), ("visitors refused beside", beside.refused), ("attacks", attacked),
    ):  # fmt: skip
        named = ", ".join(f"{name} x {count}" for name, count in sorted(refusals.items()))
        lines.append(f"{title}: {named or 'none'}")
    print("\n".join(lines))  # noqa: T201


if __name__ == "__main__":
    typer.run(main)
