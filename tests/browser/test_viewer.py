"""The viewer alone: exact places at every zoom, window and pixel ratio; replay, gestures, keys, and what it reports."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from tests.browser.serving import serving
from tests.viewer.viewer_page import HALF_SQUARE_PX, HEIGHT_PX, LARGE_PX, PLACES_PX, WIDTH_PX

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.browser
VIEWER = "document.querySelector('#viewer .gaze-viewer').viewer"
DOT_REACH_PX = 8  # CSS pixels around a place in which its dot is looked for
PATHS = {"one": 1, "two": 2, "three": 3, "play": 1, "large": 1, "step": 2}
WINDOWS = ((1280, 900), (700, 1000))


@pytest.fixture(scope="module")
def address(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("viewer") / "log.txt"
    with serving(repository, ["-m", "tests.viewer.viewer_page", "PORT"], log) as address:
        yield address


def open_viewer(browser: "Browser", address: str, what: str = "one", **context: Any) -> "Page":
    page = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context}).new_page()
    page.on("pageerror", lambda error: pytest.fail(f"the page's script failed: {error}"))
    page.goto(address)
    show(page, what)
    return page


def show(page: "Page", what: str) -> None:
    page.wait_for_selector("#viewer .gaze-stage")
    page.fill("#what input, #what textarea", what)
    page.press("#what input, #what textarea", "Enter")
    page.wait_for_function(f"{VIEWER}.value.paths.length === {PATHS[what]} && {VIEWER}.value.image.url")
    settle(page)


def settle(page: "Page") -> None:
    """Wait until what was asked for is on the screen."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def ask(page: "Page", expression: str) -> Any:
    return page.evaluate(f"(viewer => {expression})({VIEWER})")


def stage(page: "Page") -> "Locator":
    return page.locator("#viewer .gaze-stage")


def corner(page: "Page") -> tuple[int, int]:
    """Where on the page the viewer's layer begins: always on a whole CSS pixel."""
    box = page.locator("#viewer .gaze-layer").bounding_box()
    assert box is not None
    assert [box["x"], box["y"]] == pytest.approx([round(box["x"]), round(box["y"])], abs=0.02)
    return round(box["x"]), round(box["y"])


def pixels(page: "Page") -> tuple[np.ndarray, int, int]:
    """The screen as [H, W, 3] in device pixels, and where the layer begins on it."""
    left, top = corner(page)
    ratio = page.evaluate("devicePixelRatio")
    screen = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)
    return screen, left * ratio, top * ratio


def centre_of_mass(weights: np.ndarray, left: int, top: int) -> tuple[float, float]:
    """In device pixels; pixel i covers [i, i + 1)."""
    rows, cols = np.indices(weights.shape)
    total = weights.sum()
    return left + ((cols + 0.5) * weights).sum() / total, top + ((rows + 0.5) * weights).sum() / total


def check_places(page: "Page") -> int:
    """Every dot that is wholly on the stage lies on the middle of its red square; returns how many there were.

    Both are measured on the screen, so an error of the image and one of the marks cannot hide each other.
    """
    ratio, scale = page.evaluate("devicePixelRatio"), ask(page, "viewer.view.scale")
    width, height = ask(page, "[viewer.view.stage.width, viewer.view.stage.height]")
    screen, stage_x, stage_y = pixels(page)
    allowed = max(0.5 * scale * ratio, 0.5)  # half an image pixel or half a screen pixel, in device pixels
    found = 0
    for x_px, y_px in PLACES_PX:
        at_x, at_y = ask(page, f"viewer.locate({x_px / WIDTH_PX}, {y_px / HEIGHT_PX})")
        reach = max((HALF_SQUARE_PX + 1.5) * scale, DOT_REACH_PX)
        if not (reach < at_x < width - reach and reach < at_y < height - reach):
            continue
        middle = (stage_x + at_x * ratio, stage_y + at_y * ratio)
        dot = measure(screen, middle, DOT_REACH_PX * ratio, lambda patch: patch.min(axis=2) / 255.0)
        assert dot == pytest.approx(middle, abs=allowed), f"dot of {x_px}, {y_px}"
        if scale * HALF_SQUARE_PX > DOT_REACH_PX:
            # red less the dot; the dot is centred, so it does not move the middle
            square = measure(screen, middle, reach * ratio, lambda patch: (patch[:, :, 0] - patch[:, :, 1]).clip(0))
            assert square == pytest.approx(dot, abs=allowed), f"square of {x_px}, {y_px}"
        found += 1
    return found


def measure(screen: np.ndarray, middle: tuple[float, float], reach: float, weigh: Any) -> tuple[float, float]:
    left, top = int(middle[0] - reach), int(middle[1] - reach)
    right, bottom = int(np.ceil(middle[0] + reach)), int(np.ceil(middle[1] + reach))
    return centre_of_mass(weigh(screen[top:bottom, left:right]), left, top)


@pytest.mark.parametrize("ratio", [1, 2])
@pytest.mark.parametrize("window", WINDOWS)
def test_marks_lie_on_the_image_at_every_zoom(
    browser: "Browser", address: str, window: tuple[int, int], ratio: int
) -> None:
    size = {"width": window[0], "height": window[1]}
    page = open_viewer(browser, address, viewport=size, device_scale_factor=ratio)
    ask(page, "viewer.toggle('detail')")  # dots alone: rings and numbers would hide the squares
    x, y = PLACES_PX[2]
    close = f"viewer.zoom(3.7, ...viewer.locate({x / WIDTH_PX}, {y / HEIGHT_PX}))"
    for zoom in ("viewer.fit()", "viewer.oneToOne()", f"(viewer.fit(), {close})"):
        ask(page, zoom)
        settle(page)
        assert check_places(page) >= 1, zoom
    page.context.close()


def test_marks_lie_on_the_image_after_full_screen_and_resize(browser: "Browser", address: str) -> None:
    page = open_viewer(browser, address)
    ask(page, "viewer.toggle('detail')")
    ask(page, "viewer.zoom(1.15, 300, 200)")
    page.set_viewport_size({"width": 903, "height": 777})
    page.wait_for_timeout(200)
    assert check_places(page) >= 2
    stage(page).press("f")
    page.wait_for_function("document.fullscreenElement !== null")
    page.wait_for_timeout(300)
    assert check_places(page) >= 2
    page.evaluate("document.exitFullscreen()")
    page.wait_for_function("document.fullscreenElement === null")
    page.wait_for_timeout(300)
    assert check_places(page) >= 2
    page.context.close()


def test_wheel_zooms_to_the_pointer_and_drag_pans(browser: "Browser", address: str) -> None:
    page = open_viewer(browser, address)
    left, top = corner(page)
    at = (left + 200, top + 150)
    before = ask(page, "viewer.view.toImage(200, 150)")
    scale = ask(page, "viewer.view.scale")
    page.mouse.move(*at)
    page.evaluate("document.activeElement.blur()")
    page.mouse.wheel(0, -400)
    page.wait_for_timeout(300)
    assert ask(page, "viewer.view.scale") == scale, "until the image has the focus the wheel scrolls the page"
    stage(page).focus()
    page.mouse.wheel(0, 400)
    page.wait_for_timeout(300)
    assert ask(page, "viewer.view.scale") == scale, "never smaller than the whole image"
    page.mouse.wheel(0, -400)
    page.wait_for_function(f"{VIEWER}.view.scale > {scale * 1.5}")
    assert ask(page, "viewer.view.toImage(200, 150)") == pytest.approx(before, abs=1e-6)
    begun = ask(page, "viewer.view.left")
    page.mouse.down()
    page.mouse.move(at[0] + 10, at[1])
    page.mouse.move(at[0] + 60, at[1])
    page.mouse.up()
    assert 49 <= ask(page, "viewer.view.left") - begun <= 60
    stage(page).press("0")
    assert ask(page, "viewer.view.fitted")
    page.context.close()


def test_pinch_zooms_around_the_fingers(browser: "Browser", address: str) -> None:
    page = open_viewer(browser, address, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    left, top = corner(page)
    client = page.context.new_cdp_session(page)

    def touch(kind: str, *offsets: float) -> None:
        middle_x, middle_y = left + 120, top + 100
        points = [{"x": middle_x + offset, "y": middle_y, "id": k} for k, offset in enumerate(offsets)]
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    before, scale = ask(page, "viewer.view.toImage(120, 100)"), ask(page, "viewer.view.scale")
    touch("touchStart", -20, 20)
    for spread in (25, 30, 40, 50, 60):
        touch("touchMove", -spread, spread)
    touch("touchEnd")
    assert ask(page, "viewer.view.scale") == pytest.approx(3 * scale, rel=0.05)
    assert ask(page, "viewer.view.toImage(120, 100)") == pytest.approx(before, abs=6 / scale)
    page.wait_for_timeout(300)
    assert page.input_value("#heard textarea, #heard input") == "", "a pinch is no click"
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.context.close()


def test_click_reports_place_and_time(browser: "Browser", address: str) -> None:
    page = open_viewer(browser, address)
    ask(page, "viewer.zoom(2.3, 100, 90)")
    x, y = ask(page, "viewer.locate(0.4, 0.3)")
    before = page.evaluate("performance.now()")
    left, top = corner(page)
    page.mouse.click(left + x, top + y)
    heard = heard_by(page)
    assert [heard["x"] * WIDTH_PX, heard["y"] * HEIGHT_PX] == pytest.approx(
        [0.4 * WIDTH_PX, 0.3 * HEIGHT_PX], abs=0.5 / ask(page, "viewer.view.scale") + 0.01
    )
    assert heard["inside"] is True
    assert heard["x_px"] == pytest.approx(heard["x"] * WIDTH_PX)
    assert heard["zoom"] == pytest.approx(ask(page, "viewer.view.scale"))
    assert before <= heard["time_ms"] <= page.evaluate("performance.now()")
    page.context.close()


def heard_by(page: "Page") -> dict[str, Any]:
    """The last event that reached Python."""
    page.wait_for_function("document.querySelector('#heard textarea, #heard input').value !== ''")
    return json.loads(page.input_value("#heard textarea, #heard input"))


def test_a_step_brings_its_heat_map_and_is_announced(browser: "Browser", address: str) -> None:
    page = open_viewer(browser, address)
    page.locator("#viewer .gaze-path li button").nth(2).click()
    assert ask(page, "[viewer.on.heat, viewer.timeline.stepAt(0, viewer.time_ms)]") == [True, 2]
    assert page.inner_text("#viewer .gaze-unseen") == (
        "Model, fixation 3 of 5: zone central middle, patch 31, probability 0.50, dwell 300 ms"
    )
    assert page.locator("#viewer [aria-current=step]").inner_text() == "3"
    stage(page).press("]")
    assert ask(page, "viewer.timeline.stepAt(0, viewer.time_ms)") == 3
    stage(page).press("[")
    stage(page).press("[")
    assert ask(page, "viewer.timeline.stepAt(0, viewer.time_ms)") == 1
    page.context.close()


def test_replay_keeps_the_times_of_the_fixations(browser: "Browser", address: str) -> None:
    page = open_viewer(browser, address, "two")
    assert ask(page, "[viewer.timeline.timed, viewer.timeline.length_ms]") == [True, 1650]
    assert ask(page, "viewer.timeline.starts") == [[0, 200, 700, 1000, 1250], [0, 200, 700, 1000, 1250]]
    assert ask(page, "[0, 199, 200, 699, 700].map(t => viewer.timeline.stepAt(0, t))") == [0, 0, 1, 1, 2]
    show(page, "three")  # one path does not know its times: all go step by step
    assert ask(page, "viewer.timeline.timed") is False
    assert ask(page, "viewer.timeline.starts.map(starts => starts[1])") == [450, 450, 450]
    assert "not all known" in page.inner_text("#viewer .gaze-clock")
    page.context.close()


def test_paths_with_times_can_go_in_step(browser: "Browser", address: str) -> None:
    page = open_viewer(browser, address, "step")
    steps = [[0, 450, 900, 1350, 1800]] * 2
    menu = page.locator("#viewer select[aria-label*='replayed together']")
    assert ask(page, "[viewer.timeline.timed, viewer.inStep, viewer.timeline.length_ms]") == [True, True, 2250]
    assert ask(page, "viewer.timeline.starts") == steps
    assert menu.input_value() == "step"
    assert "in step" in page.inner_text("#viewer .gaze-clock")
    page.click("#viewer .gaze-path:nth-child(2) li:nth-child(4) button")  # the reader's fourth
    current = page.locator("#viewer [aria-current=step]")
    assert current.all_inner_texts() == ["4", "4"], "the fourth fixations of both paths"
    menu.select_option("times")
    assert ask(page, "[viewer.inStep, viewer.time_ms, viewer.timeline.length_ms]") == [False, 1000, 1650]
    assert "with the times" in page.inner_text("#viewer .gaze-clock")
    stage(page).press("s")
    assert ask(page, "[viewer.inStep, viewer.time_ms]") == [True, 1350]
    page.click("#viewer .gaze-play")
    page.wait_for_function(f"!{VIEWER}.playing && {VIEWER}.whole", timeout=5000)
    show(page, "one")  # a path alone has its own times
    assert ask(page, "[viewer.inStep, viewer.timeline.length_ms]") == [False, 1650]
    assert menu.is_hidden()
    page.context.close()


def test_play_runs_to_the_end_and_shows_the_whole_path(browser: "Browser", address: str) -> None:
    page = open_viewer(browser, address, "play")  # autoplay
    page.wait_for_function(f"{VIEWER}.playing && {VIEWER}.time_ms > 0")
    page.click("#viewer .gaze-play")
    assert ask(page, "viewer.playing") is False
    page.select_option("#viewer .gaze-player select >> nth=0", "4")
    page.click("#viewer .gaze-play")
    page.wait_for_function(f"!{VIEWER}.playing && {VIEWER}.whole", timeout=5000)
    page.context.close()


def test_less_motion_is_respected(browser: "Browser", address: str) -> None:
    page = open_viewer(browser, address, "play", reduced_motion="reduce")
    assert ask(page, "[viewer.playing, viewer.whole]") == [False, True]
    page.context.close()


def test_window_and_level_by_drag_by_preset_and_inverted(browser: "Browser", address: str) -> None:
    page = open_viewer(browser, address)
    ask(page, "viewer.toggle('marks')")
    x, y = ask(page, f"viewer.locate({PLACES_PX[0][0] / WIDTH_PX}, {PLACES_PX[0][1] / HEIGHT_PX})")

    def at_square() -> list[int]:
        settle(page)
        screen, stage_x, stage_y = pixels(page)
        return screen[int(stage_y + y), int(stage_x + x)].tolist()

    assert at_square() == [255, 0, 0]
    stage(page).press("i")
    assert at_square() == [0, 255, 255]
    stage(page).press("i")
    page.select_option("#viewer select[aria-label='Window and level']", "bones")  # 105 to 255
    assert at_square() == [255, 0, 0]
    box = stage(page).bounding_box()
    stage(page).press("w")
    page.mouse.move(box["x"] + 300, box["y"] + 300)
    page.mouse.down()
    page.mouse.move(box["x"] + 306, box["y"] + 300)
    page.mouse.move(box["x"] + 400, box["y"] + 220, steps=4)
    page.mouse.up()
    center, width = ask(page, "[viewer.window.center, viewer.window.width]")
    assert (center, width) == pytest.approx((100, 250), abs=8)
    expected = round(255 * min(max((0 - (center - width / 2)) / width, 0), 1))
    assert at_square()[1] == pytest.approx(expected, abs=1)
    assert page.input_value("#viewer select[aria-label='Window and level']") == "custom"
    page.context.close()


def test_hover_card_tells_what_is_known(browser: "Browser", address: str) -> None:
    page = open_viewer(browser, address)
    x, y = ask(page, f"viewer.locate({PLACES_PX[1][0] / WIDTH_PX}, {PLACES_PX[1][1] / HEIGHT_PX})")
    stage(page).hover(position={"x": x + 3, "y": y})
    card = page.locator("#viewer .gaze-card")
    assert card.inner_text().split() == "2 of 5, Model zone left upper patch 16 probability 0.50 dwell 500 ms".split()
    stage(page).hover(position={"x": x + 90, "y": y + 90})
    assert card.is_hidden()
    page.context.close()


def test_a_path_is_one_stop_of_the_tab_key_and_arrows_go_along_it(browser: "Browser", address: str) -> None:
    page = open_viewer(browser, address)
    row = page.locator("#viewer .gaze-path").first
    assert row.locator("li button:not([tabindex='-1'])").count() == 1
    row.locator("li button").first.click()
    page.keyboard.press("ArrowRight")
    second = row.locator("li button").nth(1)
    assert second.evaluate("node => node === document.activeElement")
    page.wait_for_function("document.querySelector('#viewer .gaze-path li:nth-child(2) button').ariaCurrent === 'step'")
    assert second.get_attribute("tabindex") == "0"
    page.keyboard.press("Tab")
    assert not row.locator("ol").evaluate("list => list.contains(document.activeElement)")
    page.context.close()


def test_names_are_text_and_paths_can_be_hidden(browser: "Browser", address: str) -> None:
    page = open_viewer(browser, address, "two")
    assert page.locator("#viewer .gaze-name").nth(1).inner_text() == "<b>Reader</b>"
    page.locator("#viewer .gaze-path input").nth(0).uncheck()
    assert ask(page, "[...viewer.hidden]") == [0]
    assert "Scanpaths: Model, 5 fixations" in str(stage(page).get_attribute("aria-label"))
    page.context.close()


def test_an_image_on_its_way_is_not_loaded_again(browser: "Browser", address: str) -> None:
    page = open_viewer(browser, address)
    loads = page.evaluate(
        """async viewer => {
          const picture = Object.getPrototypeOf(viewer.picture), load = picture.load, value = viewer.value;
          let loads = 0;
          picture.load = function (url) { loads += 1; return load.call(this, url); };
          const url = new URL(value.image.url); url.search = '?another';
          const image = {...value.image, url: url.href};
          await Promise.all([viewer.show({...value, image, paths: []}), viewer.show({...value, image})]);
          picture.load = load;
          return [loads, viewer.picture.url === url.href, viewer.value.paths.length];
        }""",
        page.evaluate_handle(VIEWER),
    )
    assert loads == [1, True, 1], "loads, the new picture, and the path of the value that came last"
    page.context.close()


def test_a_large_image_is_drawn_from_halved_copies(browser: "Browser", address: str) -> None:
    page = open_viewer(browser, address)
    show(page, "large")
    page.wait_for_function(f"{VIEWER}.value.width_px === {LARGE_PX}")
    assert ask(page, "viewer.picture.copies.map(copy => copy.width)") == [4000, 2000, 1000]
    page.context.close()
