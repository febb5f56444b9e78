"""Where a click lands at every zoom, window and pixel ratio; what the blurred modes show; touch; an own DICOM."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from annotate.blur import BlurSettings, blur_image
from tests.annotate.annotate_browser import (
    APP,
    ask,
    click,
    corner,
    new_context,
    next_image,
    open_start,
    own_image,
    place,
    points,
    records,
    same_clicks,
    settle,
    stage_pixels,
    submit,
    tick,
)
from tests.annotate.annotate_page import HEIGHT_PX, TARGETS_PX, WIDTH_PX, targets
from tests.browser.serving import serving, wait_for_value
from tests.dicom_samples import SECRET, dicom

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.slow]
LARGE_PX = 4000
WINDOWS = ((1280, 900), (700, 1000))
SQUARE_PX, BRIGHT = 21, 190  # of the image; grey values above it are of a square
SPOT = (450.5 / WIDTH_PX, 350.5 / HEIGHT_PX)


@pytest.fixture(scope="module")
def address(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("places")
    arguments = ["-m", "tests.annotate.annotate_page", "PORT", str(folder / "store")]
    with serving(repository, arguments, folder / "log.txt") as address:
        yield address


def targets_png() -> bytes:
    data = io.BytesIO()
    targets().save(data, "PNG")
    return data.getvalue()


def click_targets(page: "Page") -> list[tuple[float, float]]:
    """Click on the middle of every square as it is seen on the screen; returns the places of those in the image."""
    screen, ratio = stage_pixels(page)
    left, top = corner(page)
    scale = ask(page, "viewer.view.scale")
    reach = (SQUARE_PX / 2 + 3) * scale * ratio
    clicked = []
    for x_px, y_px in TARGETS_PX:
        at = [ratio * value for value in ask(page, f"viewer.locate({x_px / WIDTH_PX}, {y_px / HEIGHT_PX})")]
        if not all(reach < value < length - reach for value, length in zip(at, screen.shape[1::-1], strict=True)):
            continue  # not wholly on the stage
        first, last = [int(value - reach) for value in at], [int(np.ceil(value + reach)) for value in at]
        bright = (screen[first[1]:last[1], first[0]:last[0]].mean(axis=2) - BRIGHT).clip(0)
        rows, cols = np.indices(bright.shape)
        x, y = (
            first[k] + ((axis + 0.5) * bright).sum() / bright.sum() for k, axis in enumerate((cols, rows))
        )  # device pixels of the stage
        page.mouse.click(left + x / ratio, top + y / ratio)
        clicked.append((x_px, y_px))
    return clicked


@pytest.mark.parametrize("ratio", [1, 2])
@pytest.mark.parametrize("window", WINDOWS)
def test_clicks_land_where_they_are_seen(
    browser: "Browser", address: str, window: tuple[int, int], ratio: int
) -> None:
    size = {"width": window[0], "height": window[1]}
    context = new_context(browser, viewport=size, device_scale_factor=ratio)
    page = open_start(context, address, f"Places {window[0]} {ratio}")
    own_image(page, targets_png(), "targets.png")
    page.locator(".gaze-stage").press("p")  # the marks would hide the squares
    ask(page, "viewer.useWindow('full')")
    expected: list[tuple[float, float, float]] = []
    scales = set()
    close = f"viewer.zoom(3.7, ...viewer.locate({SPOT[0]}, {SPOT[1]}))"
    for zoom in ("viewer.fit()", "viewer.oneToOne()", f"(viewer.fit(), {close})"):
        ask(page, zoom)
        settle(page)
        found = click_targets(page)
        assert found, zoom
        scale = ask(page, "viewer.view.scale")
        scales.add(scale)
        expected += [(x, y, max(0.5, 0.5 / scale)) for x, y in found]
    assert len(scales) == 3
    tick(page)
    submit(page)
    (stored,) = records(address, page)
    fixations = stored["record"]["scanpath"]["fixations"]
    assert len(fixations) == len(expected)
    for fixation, (x_px, y_px, allowed) in zip(fixations, expected, strict=True):
        assert fixation["x"] * WIDTH_PX == pytest.approx(x_px, abs=allowed)
        assert fixation["y"] * HEIGHT_PX == pytest.approx(y_px, abs=allowed)
    assert stored["record"]["client"]["device_pixel_ratio"] == ratio
    context.close()


def shown_image(page: "Page") -> np.ndarray:
    """The image's part of the stage, grey [H, W], without marks."""
    screen, ratio = stage_pixels(page)
    (left, top), (right, bottom) = ask(page, "[viewer.locate(0, 0), viewer.locate(1, 1)]")
    part = screen[round(top * ratio):round(bottom * ratio), round(left * ratio):round(right * ratio)]
    return part.mean(axis=2)


def disc_distance(shape: tuple[int, ...], at: tuple[float, float]) -> np.ndarray:
    """Distance of every pixel to a place (fractions), in px of the image."""
    rows, cols = np.indices(shape)
    return np.hypot(
        ((cols + 0.5) / shape[1] - at[0]) * WIDTH_PX, ((rows + 0.5) / shape[0] - at[1]) * HEIGHT_PX
    )


def check_blur(page: "Page", at: tuple[float, float]) -> None:
    """Sharp within the disc, the true blur everywhere else; both measured on the screen."""
    sigma_px, radius_px = BlurSettings().scaled(WIDTH_PX, HEIGHT_PX)
    assert (sigma_px, radius_px) == (60, 48)
    ask(page, "(viewer.on.marks = false, viewer.useWindow('full'))")
    ask(page, "(viewer.layers.length = 0, viewer.refresh())")
    settle(page)
    shown = shown_image(page)
    ask(page, "(viewer.painter = null, viewer.refresh())")
    settle(page)
    sharp = shown_image(page)
    soft = np.asarray(blur_image(targets(), sigma_px).resize(shown.shape[::-1], Image.Resampling.BICUBIC), dtype=float)
    distance = disc_distance(shown.shape, at)
    inside, outside = distance < radius_px - 2, distance > radius_px + 2
    assert inside.sum() > 500
    assert np.abs(shown - sharp)[inside].max() <= 2  # of 255: the stage may lie between pixels of the screen
    assert np.abs(shown - soft)[outside].max() <= 3
    assert np.abs(sharp - soft)[outside].mean() > 8, "the two are not alike"


def test_bubble_shows_a_sharp_disc_in_a_blurred_image(browser: "Browser", address: str) -> None:
    context = new_context(browser)
    page = open_start(context, address, "Bubbles")
    own_image(page, targets_png(), "targets.png", "bubble")
    ask(page, "viewer.useWindow('full')")
    sharp = np.asarray(targets(), dtype=float)
    assert shown_image(page).std() < 0.5 * sharp.std(), "nothing sharp before the first click"
    click(page, 0.2, 0.3)
    click(page, *SPOT)
    page.mouse.move(*place(page, *SPOT))
    page.mouse.down()
    elsewhere = (TARGETS_PX[1][0] / WIDTH_PX, TARGETS_PX[1][1] / HEIGHT_PX)
    page.mouse.move(*place(page, *elsewhere), steps=5)
    ask(page, "(viewer.on.marks = false, viewer.refresh())")
    settle(page)
    carried = shown_image(page)
    near = disc_distance(carried.shape, elsewhere) < SQUARE_PX / 2 - 2
    assert near.sum() > 20
    assert carried[near].max() < BRIGHT, "nothing is revealed by carrying a click about"
    ask(page, "(viewer.on.marks = true, viewer.refresh())")
    page.mouse.move(*place(page, *SPOT), steps=5)
    page.mouse.up()
    made = points(page)
    tick(page)
    check_blur(page, (made[-1]["x"], made[-1]["y"]))
    submit(page)
    (stored,) = records(address, page)
    client = stored["record"]["client"]
    assert [client["mode"], client["blur_sigma_px"], client["radius_px"]] == ["bubble", 60, 48]
    assert stored["record"]["scanpath"]["source"] == "bubble"
    context.close()


@pytest.mark.parametrize("mode", ["bubble", "moving window"])
def test_no_start_where_the_blur_cannot_be_drawn(browser: "Browser", address: str, mode: str) -> None:
    context = new_context(browser)
    context.add_init_script(
        "CanvasRenderingContext2D.prototype.getImageData = (x, y, w, h) => new ImageData(w, h);"  # as some browsers do
    )
    page = open_start(context, address, "No blur")
    page.locator(f".teach-start input[value='{mode}']").check()
    page.click("[data-act=next]")
    page.wait_for_function("document.querySelector('.teach-error').textContent.includes('cannot be drawn')")
    assert page.evaluate(f"{APP}.work") is None
    assert page.evaluate(f"{APP}.desk.surface.viewer.picture.url ?? null") is None, "and no image is on the page"
    context.close()


def test_the_moving_window_finds_where_the_pointer_rested(browser: "Browser", address: str) -> None:
    context = new_context(browser)
    page = open_start(context, address, "Mover")
    own_image(page, targets_png(), "targets.png", "moving window")
    rests = ((0.25, 0.3), (0.7, 0.4), SPOT)
    for at in rests:
        page.mouse.move(*place(page, *at), steps=5)
        page.wait_for_timeout(700)
    exact = ask(page, "[surface.follower.place.x, surface.follower.place.y]")
    check_blur(page, (exact[0], exact[1]))
    samples = ask(page, "surface.follower.samples")
    tick(page)  # the pointer leaves the image
    submit(page)
    (stored,) = records(address, page)
    record = stored["record"]
    assert record["client"]["mode"] == record["scanpath"]["source"] == "moving window"
    assert len(record["samples"]) >= len(samples) > 20
    found = [fixation for fixation in record["scanpath"]["fixations"] if fixation["duration_ms"] > 400]
    places = [[fixation["x"], fixation["y"]] for fixation in found]
    near = [min(np.hypot(x - at[0], y - at[1]) for x, y in places) for at in rests]
    assert max(near) < 0.02, places
    context.close()


def test_touch(browser: "Browser", address: str) -> None:
    context = new_context(browser, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = open_start(context, address, "Finger")
    wait_for_value(page, "document.documentElement.scrollWidth <= 390", True)
    next_image(page)
    wait_for_value(page, "document.documentElement.scrollWidth <= 390", True)
    client = context.new_cdp_session(page)

    def touch(kind: str, *places: tuple[float, float]) -> None:
        touched: list[dict[str, Any]] = [{"x": x, "y": y, "id": k} for k, (x, y) in enumerate(places)]
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touched})

    for at in ((0.3, 0.3), (0.7, 0.6)):
        page.touchscreen.tap(*place(page, *at))
    assert [point["pointer"] for point in points(page)] == ["touch", "touch"]
    x, y = place(page, 0.5, 0.5)
    scale = ask(page, "viewer.view.scale")
    touch("touchStart", (x - 20, y), (x + 20, y))
    for spread in (25, 35, 50):
        touch("touchMove", (x - spread, y), (x + spread, y))
    touch("touchEnd")
    assert ask(page, "viewer.view.scale") == pytest.approx(2.5 * scale, rel=0.05)
    left = ask(page, "viewer.view.left")
    touch("touchStart", (x - 30, y), (x + 30, y))
    for shift in (5, 10, 20):
        touch("touchMove", (x - 30 + shift, y), (x + 30 + shift, y))
    touch("touchEnd")
    assert ask(page, "viewer.view.left") == pytest.approx(left + 20, abs=2), "two fingers pan"
    assert len(points(page)) == 2, "neither is a click"
    ask(page, "viewer.fit()")
    settle(page)
    before, scrolled = points(page)[0], page.evaluate("scrollY")
    x, y = place(page, before["x"], before["y"])
    touch("touchStart", (x, y))
    for shift in (5, 20, 40):
        touch("touchMove", (x, y + shift))
    touch("touchEnd")
    after = points(page)[0]
    assert after["edit"] == "moved"
    assert after["y"] > before["y"]
    assert page.evaluate("scrollY") == scrolled, "the page stayed where it was"
    tick(page)
    submit(page)
    assert records(address, page)[0]["record"]["clicks"][0]["pointer"] == "touch"
    context.close()


def test_a_large_dicom_of_ones_own(browser: "Browser", address: str) -> None:
    ramp = np.linspace(0, 60_000, LARGE_PX).astype(np.uint16)
    context = new_context(browser)
    page = open_start(context, address, "Radiologist")
    own_image(page, dicom(np.broadcast_to(ramp, (LARGE_PX, LARGE_PX))), f"{SECRET}.dcm")
    assert ask(page, "[surface.opened.image.width_px, surface.opened.image.height_px]") == [LARGE_PX, LARGE_PX]
    click(page, 0.25, 0.5)
    ask(page, f"viewer.zoom(8, ...viewer.locate({3000.5 / LARGE_PX}, {1000.5 / LARGE_PX}))")
    settle(page)
    click(page, 3000.5 / LARGE_PX, 1000.5 / LARGE_PX)
    tick(page)
    made = points(page)
    submit(page)
    (stored,) = records(address, page)
    same_clicks(stored["record"], made)
    assert stored["kind"] == "own"
    assert stored["record"]["image_id"] == stored["record"]["image_sha256"], "no file name is kept"
    last = stored["record"]["scanpath"]["fixations"][1]
    assert [last["x"] * LARGE_PX, last["y"] * LARGE_PX] == pytest.approx([3000.5, 1000.5], abs=0.5)
    context.close()
