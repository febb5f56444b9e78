"""A changed path on the page: glimpses, findings and words follow; the model's own comes back; twins say why not."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.diagnose_page import BRIEF, SLOWLY, open_page, pick_example, wait_for_status
from tests.browser.serving import serving
from tests.diagnose.talking_model import make_talking_checkpoint

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
VIEWER = "document.querySelector('#viewer .gaze-viewer').viewer"
NAMES = ("cardiomegaly", "pneumothorax", "edema")


@pytest.fixture(scope="module")
def address(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("steered")
    glimpsed = {"num_glimpses": 3, "repeats": False, "use_offsets": True, "finding_names": NAMES}
    models = [make_talking_checkpoint(folder / "seeing", **glimpsed), make_talking_checkpoint(folder / "twin")]
    settings = {**BRIEF, "GAZEVLM_MODEL": ",".join(map(str, models))}
    with serving(repository, ["-m", "tests.diagnose.talking_page"], folder / "log.txt", settings) as address:
        yield address


def drag_first_fixation(page: "Page", right: float, down: float) -> None:
    stage = page.locator("#viewer .gaze-layer")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    assert box is not None
    x, y = page.evaluate(f"(({{x, y}}) => {VIEWER}.locate(x, y))({VIEWER}.value.paths[0].fixations[0])")
    page.mouse.move(box["x"] + x, box["y"] + y)
    page.mouse.down()
    page.mouse.move(box["x"] + x + right / 2, box["y"] + y + down / 2)
    page.mouse.move(box["x"] + x + right, box["y"] + y + down)
    page.mouse.up()


def shown(page: "Page") -> list[object]:
    """Windows of the glimpses, the bars' numbers, and the words."""
    return page.evaluate(f"""[
      {VIEWER}.value.paths[0].glimpses.map(({{left, upper}}) => [left, upper]),
      [...document.querySelectorAll('#chart .gaze-finding i')].map(bar => bar.style.width),
      [...document.querySelectorAll('#answer .gaze-sentence')].map(one => one.innerText).join(' '),
    ]""")


def wait_for_turn(page: "Page", turn: int) -> None:
    page.wait_for_function(f"{VIEWER}.value.steering.turn === {turn}")
    wait_for_status(page, "Done in")


def asked_slowly(browser: "Browser", address: str) -> "tuple[Page, list[object], int]":
    """A page whose next answer takes its time, what it shows, and the turn of its path."""
    page = open_page(browser, address, height=800)
    page.fill("#question textarea", SLOWLY)
    pick_example(page, "pneumothorax, severe")
    own, turn = shown(page), page.evaluate(f"{VIEWER}.steer.turn")
    page.evaluate(f"{VIEWER}.seek(Infinity)")
    return page, own, turn


def photograph(page: "Page", folder: Path) -> None:
    """Pictures of the page as it is, wide and narrow, light and dark."""
    for width, height in ((390, 844), (1280, 800)):
        page.set_viewport_size({"width": width, "height": height})
        for scheme in ("dark", "light"):
            page.evaluate("dark => document.body.classList.toggle('dark', dark)", scheme == "dark")
            page.wait_for_timeout(300)
            page.screenshot(path=folder / f"steered-{width}-{scheme}.png", full_page=True)


def test_what_follows_from_a_changed_path_is_shown_and_the_models_own_comes_back(
    browser: "Browser", address: str, artifacts: Path
) -> None:
    page = open_page(browser, address, height=800)
    pick_example(page, "pneumothorax, severe")
    own, turn = shown(page), page.evaluate(f"{VIEWER}.steer.turn")
    assert page.locator("#answer [data-shares]").count() >= 1, "sentences point at fixations"
    assert page.locator("#chart [data-shares]").count() == len(NAMES)
    page.evaluate(f"{VIEWER}.seek(Infinity)")
    drag_first_fixation(page, 90, 60)
    drag_first_fixation(page, -40, 70)  # before the first change is answered, or just after
    wait_for_turn(page, turn + 2)
    changed = shown(page)
    assert changed[0] != own[0]
    assert page.evaluate(f"{VIEWER}.value.paths[0].fixations[0].duration_ms") is None
    assert page.locator("#viewer .gaze-glimpse").count() == len(changed[0])
    photograph(page, artifacts)
    page.get_by_role("button", name="Back to the model").click()
    wait_for_turn(page, turn + 3)
    assert shown(page) == own
    assert page.locator("#chart ins, #answer del, #answer ins").count() == 0
    page.keyboard.press("Control+z")  # the focus is on the button, not on the stage
    page.locator("#viewer .gaze-stage").press("Control+z")
    wait_for_turn(page, turn + 4)
    assert shown(page) == changed
    page.close()


def test_stop_during_a_change_leaves_the_path_the_visitors_and_says_so(browser: "Browser", address: str) -> None:
    page, own, turn = asked_slowly(browser, address)
    drag_first_fixation(page, 90, 60)
    page.wait_for_function(f"{VIEWER}.value.steering.turn === {turn + 1}")
    page.click("#stop")
    wait_for_status(page, "Stopped")
    page.wait_for_timeout(500)  # what gives the path back comes behind it
    assert page.evaluate(f"{VIEWER}.value.paths[0].fixations[0].duration_ms") is None
    assert "gaze-yours" in str(page.get_attribute("#viewer .gaze-steer", "class"))
    assert page.get_by_role("button", name="Undo (").is_enabled()
    page.get_by_role("button", name="Back to the model").click()
    wait_for_turn(page, turn + 2)
    assert shown(page) == own
    page.close()


def test_what_was_drawn_is_revealed_during_a_change(browser: "Browser", address: str) -> None:
    page, own, turn = asked_slowly(browser, address)
    page.locator("#truth").scroll_into_view_if_needed()
    drag_first_fixation(page, 90, 60)
    page.check("#truth input")
    wait_for_turn(page, turn + 1)
    page.wait_for_function(f"{VIEWER}.value.paths.length === 2")
    assert page.locator("#viewer .gaze-name").all_inner_texts() == ["Model", "Simulated reader"]
    assert page.evaluate(f"{VIEWER}.value.paths[0].fixations[0].duration_ms") is None
    assert page.get_by_role("button", name="Back to the model").is_enabled()
    changed = shown(page)
    assert changed != own
    page.uncheck("#truth input")
    page.wait_for_function(f"{VIEWER}.value.paths.length === 1")
    assert shown(page) == changed
    page.close()


def test_on_a_phone_the_answer_comes_first_and_the_menu_opens_what_changes_a_path(
    browser: "Browser", address: str
) -> None:
    page = open_page(browser, address, 390, 844)
    pick_example(page, "pneumothorax, severe")
    bar, steps = page.locator("#viewer .gaze-steer .gaze-bar"), page.locator("#viewer .gaze-path li").first
    assert not bar.is_visible()
    assert not steps.is_visible()
    turn = page.evaluate(f"{VIEWER}.steer.turn")
    page.evaluate(f"{VIEWER}.seek(Infinity)")
    drag_first_fixation(page, 50, 40)
    wait_for_turn(page, turn + 1)
    assert bar.is_visible(), "the way back"
    page.get_by_role("button", name="Back to the model").click()
    wait_for_turn(page, turn + 2)
    assert not bar.is_visible()
    page.click("#viewer .gaze-menu")
    assert bar.is_visible()
    assert steps.is_visible()
    page.close()


def test_a_twin_without_glimpses_says_why_its_path_cannot_be_changed(browser: "Browser", address: str) -> None:
    page = open_page(browser, address)
    page.click("#model input")
    page.get_by_role("option", name="twin").click()
    pick_example(page, "pneumothorax, severe")
    assert page.inner_text("#viewer .gaze-hint") == (
        "twin answers from the whole image and takes no closer looks, so another path would change nothing."
    )
    before = page.evaluate(f"JSON.stringify({VIEWER}.value.paths[0].fixations)")
    drag_first_fixation(page, 60, 40)
    assert page.evaluate(f"JSON.stringify({VIEWER}.value.paths[0].fixations)") == before
    page.close()
