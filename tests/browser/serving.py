"""A page of ours in a process of its own, for the browser tests."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

START_S = 90


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@contextmanager
def serving(
    repository: Path, arguments: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Run `python ARGUMENTS` until the block ends; "PORT" in an argument is replaced. Yields the page's address."""
    port = str(free_port())
    own = {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": port, "GAZEVLM_DATA": str(log.with_suffix(".data"))}
    values = {**os.environ, **own, **(environment or {})}
    command = [sys.executable, *(argument.replace("PORT", port) for argument in arguments)]
    with log.open("wb") as output:
        server = subprocess.Popen(command, cwd=repository, env=values, stdout=output, stderr=subprocess.STDOUT)
    try:
        address = f"http://127.0.0.1:{port}/"
        _wait_until_up(server, address, log)
        yield address
    finally:
        server.terminate()
        server.wait(60)  # a training that runs keeps a checkpoint first


def _wait_until_up(server: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            pytest.fail(f"the page did not start:\n{log.read_text()}")
        try:
            with urlopen(address, timeout=5):
                return
        except (URLError, TimeoutError):
            time.sleep(0.2)
    pytest.fail(f"the page is not up after {START_S} s:\n{log.read_text()}")
