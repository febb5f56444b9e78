"""A page of ours in a process of its own, and what the tests of several pages ask of it."""

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.launching import Program, free_port

if TYPE_CHECKING:
    from playwright.sync_api import Page

START_S = 90
SCHEMES: tuple[Literal["dark", "light"], ...] = ("dark", "light")


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


def wait_for(page: "Page", place: str, text: str, timeout_ms: int | None = None) -> None:
    """Until the first element of a selector says so, for as long as the page waits or a time of its own."""
    says = "([place, text]) => document.querySelector(place)?.innerText.includes(text)"
    page.wait_for_function(says, arg=[place, text], timeout=timeout_ms)


def wait_for_value(page: "Page", expression: str, value: object) -> None:
    """Until an expression of JavaScript is equal to a value; one that cannot be read yet is not.

    What a status says can be on the page before the chart or viewer beside it is.
    """
    page.wait_for_function(
        """([expression, value]) => {
            try { return JSON.stringify(eval(expression)) === JSON.stringify(value); } catch { return false; }
        }""",
        arg=[expression, value],
    )


def wait_until_it_fits(page: "Page") -> None:
    """Until nothing is wider than the window, in light and in dark."""
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function("document.documentElement.scrollWidth <= innerWidth")
