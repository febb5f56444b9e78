"""The tab Diagnose in a browser, for the tests: a page that serves a made model, and what a visitor does on it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from tests.adapter_maker import make_adapter
from tests.browser.serving import serving
from tests.diagnose.talking_model import make_talking_checkpoint

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Scheme = Literal["light", "dark"]
Motion = Literal["reduce", "no-preference"]
CLAIM = "<img src=x onerror=alert(1)> drawn phantoms"
ANSWER_MS = 60_000
SLOWLY = "What do you see? Say it slowly."  # four seconds at least
BRIEF = {"MOST_TOKENS": "24"}  # of the other answers

# Colours of the marks at places of the image, once its file is loaded and the whole path is shown.
PIXELS = """async places => {
  const { viewer } = document.querySelector('#viewer .gaze-viewer');
  for (const end = Date.now() + 60_000; !viewer.value.paths.length && Date.now() < end; )
    await new Promise(requestAnimationFrame);
  viewer.seek(Infinity);
  return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => {
    const { markCanvas, view } = viewer, pen = markCanvas.getContext('2d');
    const density = markCanvas.width / view.stage.width;
    done(places.map(([x, y]) => {
      const [left, top] = viewer.locate(x, y);
      return [...pen.getImageData(Math.floor(left * density), Math.floor(top * density), 1, 1).data].slice(0, 3);
    }));
  })));
}"""
ROWS = "rows => rows.map(row => [...row.children].slice(1, 3).map(cell => Number(cell.textContent)))"


@contextmanager
def talking_page(repository: Path, folder: Path) -> Iterator[str]:
    """Serve a model whose words come one by one, and an adapter for it. Yields the page's address."""
    model = make_talking_checkpoint(folder / "model", trained_on=CLAIM)
    make_adapter(model, folder / "adapters" / "other")
    settings = {**BRIEF, "GAZEVLM_MODEL": str(model), "GAZEVLM_ADAPTERS": str(folder / "adapters")}
    with serving(repository, ["-m", "tests.diagnose.talking_page"], folder / "log.txt", settings) as address:
        yield address


def open_page(
    browser: "Browser", address: str, width: int = 1280, height: int = 900, scheme: Scheme = "light",
    motion: Motion = "reduce",
) -> "Page":  # fmt: skip
    """Open the page as a visitor's system asks for it.

    Args:
        browser, address: of the page.
        width, height: of the window, px.
        scheme: of colours.
        motion: with less of it a path is there at once; drawing it for seconds is what keeps a machine busy.
    """
    page = browser.new_page(
        viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion=motion
    )
    page.on("pageerror", lambda error: pytest.fail(f"the page's script failed: {error}"))
    page.set_default_timeout(ANSWER_MS)
    page.goto(address)
    page.wait_for_selector("#examples button img")
    return page


def upload(page: "Page", file: Path) -> None:
    page.set_input_files("#upload input[type=file]", file)


def pick_example(page: "Page", caption: str) -> None:
    """Pick an example, which is answered at once."""
    page.locator("#examples button").filter(has_text=caption).first.click()
    wait_for_answer(page, caption)


def wait_for_answer(page: "Page", caption: str) -> None:
    """Until an example is answered."""
    page.wait_for_function(
        """caption => document.querySelector('#viewer .gaze-viewer').viewer.value.description?.endsWith(': ' + caption)
            && document.querySelector('#status').innerText.startsWith('Done in')
            && !document.querySelector('#diagnose').disabled""",
        arg=caption,
    )


def pick_preset(page: "Page", preset: str) -> None:
    page.click(f"#preset [data-preset='{preset}']")


def wait_for_status(page: "Page", text: str) -> None:
    page.wait_for_function("text => document.querySelector('#status').innerText.includes(text)", arg=text)


def answer_of(page: "Page") -> str:
    return page.evaluate("document.querySelector('#answer .gaze-answer')?.innerText ?? ''")
