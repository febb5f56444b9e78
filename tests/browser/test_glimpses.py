"""The strip of glimpses, what points at what, and a path that is changed by hand, in the viewer alone."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.browser.serving import serving
from tests.browser.test_viewer import VIEWER, ask, corner, settle, stage
from tests.viewer.viewer_page import GLIMPSED, GRID, HEIGHT_PX, PATCHES, PLACES_PX, WIDTH_PX, noise, scanpath

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
CROPS = """viewer => viewer.strip.items.map(item => {
  const canvas = item.querySelector('canvas'), pen = canvas.getContext('2d');
  const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
  return [canvas.width, canvas.height, [...data].filter((_, k) => k % 4 === 0)];
})"""
LIT = """viewer => ({
  steps: [...viewer.lit.keys()],
  crops: viewer.strip.items.map(item => item.classList.contains('gaze-lit')),
  parts: [...document.querySelectorAll('[data-shares]')].map(part => part.classList.contains('gaze-lit')),
})"""
NOTHING = {"steps": [], "crops": [False] * 3, "parts": [False] * 2}


@pytest.fixture(scope="module")
def address(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("glimpses") / "log.txt"
    with serving(repository, ["-m", "tests.viewer.viewer_page", "PORT"], log) as address:
        yield address


@pytest.fixture
def page(browser: "Browser", address: str) -> Iterator["Page"]:
    page = browser.new_context(viewport={"width": 1280, "height": 900}, has_touch=True).new_page()
    page.set_default_timeout(60_000)
    page.on("pageerror", lambda error: pytest.fail(f"the page's script failed: {error}"))
    page.goto(address)
    page.wait_for_selector("#viewer .gaze-stage")
    show(page, "seen")
    yield page
    page.context.close()


def show(page: "Page", what: str, condition: str = "true") -> None:
    page.fill("#what input, #what textarea", what)
    before = ask(page, "viewer.turn ?? 0")
    page.press("#what input, #what textarea", "Enter")
    page.wait_for_function(f"{VIEWER}.turn > {before} && {VIEWER}.picture.url && {condition}")
    settle(page)


def lit(page: "Page") -> dict[str, Any]:
    settle(page)
    return page.evaluate(LIT, page.evaluate_handle(VIEWER))


def place(page: "Page", step: int) -> tuple[float, float]:
    """Where a fixation is on the page."""
    left, top = corner(page)
    x, y = ask(page, f"(({{x, y}}) => viewer.locate(x, y))(viewer.value.paths[0].fixations[{step}])")
    return left + x, top + y


def change(page: "Page", count: int) -> dict[str, Any]:
    """The change that reached Python, as soon as it is this one in the order of changes and its answer is shown."""
    page.wait_for_function(
        "count => JSON.parse(document.querySelector('#changes textarea, #changes input').value || '{}').turn >= count",
        arg=count,
    )
    page.wait_for_function(f"{VIEWER}.value.steering.turn >= {count}")
    settle(page)
    return json.loads(page.input_value("#changes textarea, #changes input"))


def test_crops_are_the_pixels_of_the_windows_in_the_order_of_looking(page: "Page") -> None:
    pixels, fixations = np.asarray(noise()), scanpath().fixations
    for step, (width, height, drawn) in zip(GLIMPSED, page.evaluate(CROPS, page.evaluate_handle(VIEWER)), strict=True):
        window = GRID.window_at(fixations[step].x, fixations[step].y, PATCHES)
        left, upper = int(window.left * WIDTH_PX + 1e-6), int(window.upper * HEIGHT_PX + 1e-6)
        right, lower = (int(np.ceil(edge - 1e-6)) for edge in (window.right * WIDTH_PX, window.lower * HEIGHT_PX))
        assert (width, height) == (right - left, lower - upper)
        assert (np.array(drawn).reshape(height, width) == pixels[upper:lower, left:right]).all()
    numbers = page.locator("#viewer .gaze-number").all_inner_texts()
    assert numbers == [str(step + 1) for step in GLIMPSED]


def test_a_crop_lights_its_fixation_and_what_leaned_on_it(page: "Page") -> None:
    crops = page.locator("#viewer .gaze-glimpse")
    for point in (crops.nth(0).hover, crops.nth(0).focus):
        point()
        assert lit(page) == {"steps": [0], "crops": [True, False, False], "parts": [True, False]}
        words = page.inner_text("#viewer .gaze-strip-words")
        assert words.startswith("Fixation 1, ")
        assert words.endswith("counted for edema 60%")
        page.mouse.move(2, 2)
        page.locator("#what input, #what textarea").focus()
        assert lit(page) == NOTHING
    crops.nth(2).hover()
    assert lit(page) == {"steps": [4], "crops": [False, False, True], "parts": [False, True]}


def test_words_and_bars_light_the_fixations_that_they_leaned_on(page: "Page") -> None:
    parts = page.locator("[data-shares]")
    parts.nth(1).hover()
    assert lit(page) == {"steps": [2, 4], "crops": [False, True, True], "parts": [False, True]}
    parts.nth(0).focus()
    assert lit(page) == {"steps": [0], "crops": [True, False, False], "parts": [True, False]}
    page.locator("#what input, #what textarea").focus()
    page.mouse.move(2, 2)
    assert lit(page) == NOTHING


def test_a_fixation_lights_its_crop_and_what_leaned_on_it(page: "Page") -> None:
    page.mouse.move(*place(page, 2))
    assert lit(page) == {"steps": [2], "crops": [False, True, False], "parts": [False, True]}
    page.mouse.move(*place(page, 1))  # which was not seen closely
    assert lit(page) == NOTHING


def test_of_two_fixations_at_one_place_each_lights_its_own_glimpse(page: "Page") -> None:
    near = "step === 4 ? { ...one, x: path.fixations[0].x + 0.008, y: path.fixations[0].y } : one"
    page.evaluate(f"""(viewer => {{
      const [path] = viewer.value.paths, fixations = path.fixations.map((one, step) => {near});
      return viewer.show({{ ...viewer.value, paths: [{{ ...path, fixations }}] }});
    }})({VIEWER})""")
    assert ask(page, "viewer.marksOf(0)[4].visits.join()") == "0,4", "one ring"
    for step, crop in ((4, 2), (0, 0)):
        page.mouse.move(*place(page, step))
        assert lit(page)["crops"] == [index == crop for index in range(3)]


def test_a_fixation_is_dragged_and_only_it_loses_its_dwell(page: "Page") -> None:
    x, y = place(page, 1)
    page.mouse.move(x, y)
    page.mouse.down()
    assert page.is_visible(".gaze-card")
    page.mouse.move(x - 20, y + 10)
    page.mouse.move(x - 90, y + 45, steps=3)
    assert not page.is_visible(".gaze-card"), "it would hide where the fixation goes"
    page.mouse.up()
    asked = change(page, ask(page, "viewer.steer.turn"))
    scale = ask(page, "viewer.view.scale")
    expected = [(PLACES_PX[1][0] - 90 / scale) / WIDTH_PX, (PLACES_PX[1][1] + 45 / scale) / HEIGHT_PX]
    assert asked["path"][1][:2] == pytest.approx(expected, abs=0.002)
    assert [dwell for _, _, dwell in asked["path"]] == [200, None, 300, 250, 400]
    assert ask(page, "viewer.view.fitted"), "the image was not moved"


def test_fixations_are_added_and_deleted_undone_and_done_again(page: "Page") -> None:
    left, top = corner(page)
    first = ask(page, "viewer.steer.turn")
    page.mouse.dblclick(left + 300, top + 300)
    asked = change(page, first + 1)
    assert len(asked["path"]) == 6
    assert asked["path"][5][2] is None
    page.click("#viewer .gaze-path li:nth-child(2) button")
    page.get_by_role("button", name="Delete 2, the chosen fixation").click()
    assert len(change(page, first + 2)["path"]) == 5
    undo, redo = (page.get_by_role("button", name=name) for name in ("Undo (", "Redo ("))
    undo.click()
    assert len(change(page, first + 3)["path"]) == 6
    undo.click()
    assert change(page, first + 4)["path"] is None, "the model's own"
    redo.click()
    assert change(page, first + 5)["path"] == asked["path"]
    page.get_by_role("button", name="Back to the model").click()
    assert change(page, first + 6)["path"] is None


def test_a_path_is_changed_by_keys(page: "Page") -> None:
    first = ask(page, "viewer.steer.turn")
    stage(page).focus()
    for key in ("[", "[", "Shift+ArrowRight"):  # the last one but one
        stage(page).press(key)
    asked = change(page, first + 1)
    assert asked["path"][3][:2] == pytest.approx([PLACES_PX[3][0] / WIDTH_PX + 0.01, PLACES_PX[3][1] / HEIGHT_PX])
    stage(page).press("a")
    assert change(page, first + 2)["path"][5][:2] == pytest.approx([0.5, 0.5])
    stage(page).press("Control+z")
    assert len(change(page, first + 3)["path"]) == 5
    for key in ("[", "Delete"):
        stage(page).press(key)
    assert len(change(page, first + 4)["path"]) == 4


def test_a_finger_adds_and_drags(page: "Page") -> None:
    first = ask(page, "viewer.steer.turn")
    page.get_by_role("button", name="Add a fixation").tap()
    stage(page).scroll_into_view_if_needed()  # the button stands below it
    left, top = corner(page)
    page.touchscreen.tap(left + 300, top + 250)
    assert len(change(page, first + 1)["path"]) == 6
    x, y = place(page, 0)
    client = page.context.new_cdp_session(page)
    for kind, dx in (("touchStart", 0), ("touchMove", 20), ("touchMove", 60)):
        points = [{"x": x + dx, "y": y, "id": 1}]
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    client.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    moved = change(page, first + 2)["path"][0]
    assert moved[0] > PLACES_PX[0][0] / WIDTH_PX + 0.03
    assert moved[2] is None


def test_answers_of_older_changes_are_not_shown(page: "Page") -> None:
    left, top = corner(page)
    first = ask(page, "viewer.steer.turn")
    for offset in (0, 120):
        page.mouse.dblclick(left + 250 + offset, top + 300)
    assert len(change(page, first + 2)["path"]) == 7
    assert ask(page, "viewer.value.paths[0].fixations.length") == 7
    late = f"viewer.show({{...viewer.value, paths: [], steering: {{...viewer.value.steering, turn: {first + 1}}}}})"
    page.evaluate(f"(viewer => {late})({VIEWER})")
    assert ask(page, "viewer.value.paths[0].fixations.length") == 7
    show(page, f"seen {first + 2}", f"{VIEWER}.value.paths[0].fixations.length === 5")
    assert page.locator("#viewer .gaze-strip.gaze-waiting").count() == 0


def test_what_comes_beside_the_path_leaves_a_change_alone(page: "Page") -> None:
    """As when somebody looks at what was drawn while a changed path is asked for."""
    left, top = corner(page)
    first = ask(page, "viewer.steer.turn")
    own = page.evaluate_handle(f"{VIEWER}.value")
    reader = "{ ...own.paths[0], name: 'Reader', role: 'reader', glimpses: [] }"
    beside = f"own => {VIEWER}.show({{ ...own, beside: true, paths: [own.paths[0], {reader}] }})"
    page.mouse.dblclick(left + 300, top + 300)
    page.evaluate(beside, own)
    assert ask(page, "viewer.steer.turn") == first + 1
    change(page, first + 1)
    assert ask(page, "viewer.value.paths[0].fixations.length") == 6
    page.evaluate(beside, own)
    assert ask(page, "viewer.value.paths.map(path => path.fixations.length).join()") == "6,5"
    assert page.get_by_role("button", name="Undo (").is_enabled()


def test_a_change_that_failed_leaves_what_is_on_the_screen_to_be_undone(page: "Page") -> None:
    left, top = corner(page)
    first = ask(page, "viewer.steer.turn")
    page.mouse.dblclick(left + 300, top + 300)
    change(page, first + 1)
    kept = page.evaluate_handle(f"{VIEWER}.value")
    page.evaluate(f"({VIEWER}.told = {VIEWER}.emit, {VIEWER}.emit = () => {{}})")  # so that nothing answers
    page.get_by_role("button", name="Undo (").click()
    page.evaluate(f"{VIEWER}.emit = {VIEWER}.told")
    failed = f"{{ ...kept.steering, turn: {first + 2}, failed: true, kept: {first + 1} }}"
    page.evaluate(f"kept => {VIEWER}.show({{ ...kept, steering: {failed} }})", kept)
    settle(page)
    assert page.get_by_role("button", name="Undo (").is_enabled()
    assert page.get_by_role("button", name="Back to the model").is_enabled()
    assert "This is your path" in page.inner_text("#viewer .gaze-hint")
    page.get_by_role("button", name="Undo (").click()
    assert change(page, first + 3)["path"] is None


def test_where_the_path_has_no_more_steps_another_one_replaces_the_briefest(page: "Page") -> None:
    left, top = corner(page)
    first = ask(page, "viewer.steer.turn")
    for count, offset in enumerate((0, 120, 240), 1):
        page.mouse.dblclick(left + 200 + offset, top + 300)
        full = change(page, first + count)["path"]
    assert len(full) == 7
    dwells = [fixation.duration_ms for fixation in scanpath().fixations]
    assert [dwell for _, _, dwell in full[:4]] == [dwell for dwell in dwells if dwell != min(dwells)]
    assert [dwell for _, _, dwell in full[4:]] == [None] * 3
    for count in range(4, 8):  # until none has a dwell any more
        page.mouse.dblclick(left + 60 * count, top + 360)
        full = change(page, first + count)["path"]
    assert [dwell for _, _, dwell in full] == [None] * 7
    assert page.get_by_role("button", name="Add a fixation").is_disabled()


def test_a_model_that_does_not_follow_says_so_and_takes_no_change(page: "Page") -> None:
    show(page, "blind", f"{VIEWER}.value.steering.most_steps === 0")
    assert page.inner_text("#viewer .gaze-hint") == "It cannot."
    assert page.locator("#viewer .gaze-steer button").first.is_hidden()
    assert page.locator("#viewer .gaze-glimpse").count() == 0
    x, y = place(page, 1)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y + 10, steps=3)
    page.mouse.up()
    assert page.input_value("#changes textarea, #changes input") == ""


def test_a_heat_map_has_a_legend_with_its_step(page: "Page") -> None:
    assert page.locator("#viewer .gaze-legend").is_hidden()
    page.click("#viewer .gaze-path li:nth-child(3) button")
    page.locator("#viewer .gaze-legend").wait_for()  # drawn with the next frame
    assert page.inner_text("#viewer .gaze-legend").split() == "Where fixation 3 could go 0% 1.6%".split()
    stage(page).press("h")
    page.locator("#viewer .gaze-legend").wait_for(state="hidden")
