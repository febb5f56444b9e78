"""Steps that the browser tests of Teach share."""

import io
import json
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

APP = "document.querySelector('.gaze-teach').app"
SURFACE = f"{APP}.desk.surface"
WIDE = {"width": 1280, "height": 900}
PATIENCE_MS = 60_000  # the machine may be busy with other things


def new_context(browser: "Browser", **options: Any) -> "BrowserContext":
    context = browser.new_context(**{"viewport": WIDE, "reduced_motion": "reduce", **options})
    context.set_default_timeout(PATIENCE_MS)
    return context


def open_start(context: "BrowserContext", address: str, name: str) -> "Page":
    """The start panel, under a name."""
    page = context.new_page()
    page.on("pageerror", lambda error: pytest.fail(f"the page's script failed: {error}"))
    page.goto(address)
    page.wait_for_selector(".teach-who input")
    if page.input_value(".teach-who input") != name:
        page.fill(".teach-who input", name)
        page.click(".teach-who button")
        # until then the panel is that of the name before, whose terms may be agreed to already
        page.wait_for_function(f"name => {APP}.welcome?.person?.name === name", arg=name)
    agree(page)
    return page


def agree(page: "Page") -> None:
    """To the terms, where they were not agreed to before."""
    page.wait_for_selector("[data-act=next], [data-act=agree]")
    if page.locator("[data-act=agree]").count():
        page.select_option(".teach-terms select", "medical student")
        page.click("[data-act=agree]")
    page.wait_for_selector("[data-act=next]")


def next_image(page: "Page", mode: str = "clicks") -> None:
    radio = page.locator(f".teach-start input[value='{mode}']")
    if radio.is_visible():
        radio.check()
    page.click("[data-act=next]:visible")
    working(page)


def own_image(page: "Page", data: bytes, name: str, mode: str = "clicks") -> None:
    page.locator(f".teach-start input[value='{mode}']").check()
    page.click(".teach-own summary")
    page.set_input_files(".teach-own input[type=file]", {"name": name, "mimeType": "image/png", "buffer": data})
    page.click("[data-act=own]")
    working(page)


def working(page: "Page") -> None:
    page.wait_for_function(f"{APP}.work?.state === 'working' && {SURFACE}.grid")
    settle(page)


def settle(page: "Page") -> None:
    """Wait until what was asked for is on the screen."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def ask(page: "Page", expression: str) -> Any:
    """An expression in `surface`, `viewer` and `app`."""
    return page.evaluate(f"(() => {{ const app = {APP}, surface = app.desk.surface, viewer = surface.viewer; "
                         f"return {expression}; }})()")


def points(page: "Page") -> list[dict[str, Any]]:
    """The clicks as the page has them."""
    return ask(page, "surface.path.points")


def corner(page: "Page") -> tuple[float, float]:
    """Where on the window the layer begins."""
    page.locator(".gaze-teach .gaze-stage").scroll_into_view_if_needed()
    settle(page)
    box = page.locator(".gaze-teach .gaze-layer").bounding_box()
    assert box is not None
    return box["x"], box["y"]


def place(page: "Page", x: float, y: float) -> tuple[float, float]:
    """A place of the image (fractions) on the window."""
    left, top = corner(page)
    at_x, at_y = ask(page, f"viewer.locate({x}, {y})")
    return left + at_x, top + at_y


def click(page: "Page", x: float, y: float) -> None:
    page.mouse.click(*place(page, x, y))


def stage_pixels(page: "Page") -> tuple[np.ndarray, float]:
    """The stage as [H, W, 3] in device pixels, and how many of them a CSS pixel has."""
    left, top = corner(page)
    ratio = page.evaluate("devicePixelRatio")
    screen = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)
    width, height = ask(page, "[viewer.view.stage.width, viewer.view.stage.height]")
    part = screen[round(top * ratio):round((top + height) * ratio), round(left * ratio):round((left + width) * ratio)]
    return part, ratio


def tick(page: "Page", finding: str = "no finding") -> None:
    page.locator(".teach-findings label", has_text=finding).locator("input").check()


def submit(page: "Page") -> str:
    """Submit what is there; returns the receipt's id."""
    page.click("[data-act=submit]")
    page.wait_for_selector(".teach-receipt-id")
    return page.inner_text(".teach-receipt-id")


def records(address: str, page: "Page") -> list[dict[str, Any]]:
    """What the store holds of whoever uses a page."""
    pseudonym = page.evaluate(f"{APP}.welcome.person.pseudonym")
    with urlopen(f"{address}static/test-records", timeout=60) as answer:
        rows = [json.loads(line) for line in answer.read().decode().splitlines()]
    return [row for row in rows if row["record"]["annotator"] == pseudonym]


def same_clicks(record: dict[str, Any], clicked: list[dict[str, Any]]) -> None:
    """The store holds exactly these clicks, in this order, with their times and how they were made."""
    fixations, clicks = record["scanpath"]["fixations"], record["clicks"]
    assert len(fixations) == len(clicks) == len(clicked) > 0
    for fixation, how, point in zip(fixations, clicks, clicked, strict=True):
        assert [fixation["x"], fixation["y"], fixation["onset_ms"]] == [point["x"], point["y"], point["onset_ms"]]
        assert fixation["duration_ms"] is None, "the rest of a click is not known"
        assert [how["zoom"], how["pointer"], how["edit"]] == [point["zoom"], point["pointer"], point["edit"]]
        window = point["window"]
        assert [how["window_center"], how["window_width"], how["inverted"]] == [
            window["center"], window["width"], window["inverted"]
        ]  # fmt: skip
