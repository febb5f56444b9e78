"""A page of ours in a process of its own, for the browser tests."""

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.launching import Program, free_port

START_S = 90


@contextmanager
def serving(
    repository: Path, arguments: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Run `python ARGUMENTS` until the block ends; "PORT" in an argument is replaced. Yields the page's address."""
    port = str(free_port())
    own = {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": port, "GAZEVLM_DATA": str(log.with_suffix(".data"))}
    values = {**os.environ, **own, **(environment or {})}
    command = [sys.executable, *(argument.replace("PORT", port) for argument in arguments)]
    server = Program(command, repository, values, log)
    try:
        address = f"http://127.0.0.1:{port}/"
        _wait_until_up(server, address, log)
        yield address
    finally:
        server.terminate()
        server.wait(60)  # a training that runs keeps a checkpoint first


def _wait_until_up(server: Program, address: str, log: Path) -> None:
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
