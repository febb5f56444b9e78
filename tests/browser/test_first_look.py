"""The first ten seconds with the shipped model: an answer is there, another is a click away, and keys reach it."""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.annotate.annotate_browser import APP, SURFACE, agree, click, submit, tick, working
from tests.browser.serving import serving
from tests.browser.test_steer import drag_first_fixation

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request

pytestmark = pytest.mark.browser
ANSWER_MS = 120_000
SIZES = [(1280, 800), (1920, 1080), (390, 844)]
VIEWER = "document.querySelector('#viewer .gaze-viewer').viewer"
ANSWERED = f"""document.querySelector('#answer .gaze-answer') && document.querySelector('#chart .gaze-finding')
    && {VIEWER}?.value.paths.length"""
# What is not wholly in the window, of things that have to be seen without scrolling.
OUT_OF_SIGHT = """() => ['#viewer .gaze-stage', '#answer .gaze-answer', '#chart .gaze-finding'].filter(selector => {
  const box = document.querySelector(selector).getBoundingClientRect();
  return box.width < 40 || box.height < 8 || box.top < 0 || box.left < 0 || box.bottom > innerHeight
      || box.right > innerWidth;
})"""


@pytest.fixture(scope="module")
def address(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("first")
    with serving(repository, ["app.py"], folder / "log.txt", {"GAZEVLM_ADAPTERS": str(folder)}) as address:
        yield address


def open_page(browser: "Browser", address: str, size: tuple[int, int]) -> "Page":
    page = browser.new_page(viewport={"width": size[0], "height": size[1]}, reduced_motion="reduce")
    page.set_default_timeout(ANSWER_MS)
    page.on("request", partial(check_origin, address))
    page.goto(address)
    page.wait_for_function(ANSWERED)
    return page


def check_origin(address: str, request: "Request") -> None:
    """Check that nothing is fetched from elsewhere, for any of the tabs."""
    if not request.url.startswith((address, "data:", "blob:")):
        pytest.fail(f"the page asked for {request.url}")


@pytest.mark.parametrize("size", SIZES)
def test_the_page_opens_with_an_answer(
    browser: "Browser", address: str, repository: Path, size: tuple[int, int]
) -> None:
    page = open_page(browser, address, size)
    page.wait_for_timeout(2000)
    assert page.evaluate(OUT_OF_SIGHT) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.is_enabled("#diagnose")
    artifacts = repository / "test-artifacts"
    artifacts.mkdir(exist_ok=True)
    page.screenshot(path=artifacts / f"first-{size[0]}.png")
    page.close()


def test_the_question_is_reached_by_keys(browser: "Browser", address: str) -> None:
    page = open_page(browser, address, SIZES[0])
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.gaze-skip')"):
            page.keyboard.press("Enter")
        if page.evaluate("document.activeElement.matches('#question textarea')"):
            break
    assert page.evaluate("document.activeElement.matches('#question textarea')")
    page.close()







def test_a_stranger_steers_an_answer_and_submits_three_images(
    browser: "Browser", address: str, repository: Path
) -> None:
    """Actions are counted; the seconds are written beside the pictures, for docs/explanation/first-minute.md."""
    begin, seconds = time.monotonic(), []
    page = open_page(browser, address, SIZES[0])
    page.wait_for_selector("#examples button img")
    seconds.append(("an answer", time.monotonic() - begin))
    example = page.locator("#examples button").nth(3)
    caption = example.locator("img").get_attribute("alt")
    example.click()
    page.wait_for_function(f"caption => {VIEWER}.value.description.endsWith(': ' + caption)", arg=caption)
    page.wait_for_function("document.querySelector('#status').innerText.startsWith('Done in')")
    own, turn = page.inner_text("#chart"), page.evaluate(f"{VIEWER}.value.steering.turn")
    drag_first_fixation(page, 60, 60)
    page.wait_for_function(f"turn => {VIEWER}.value.steering.turn !== turn", arg=turn)
    page.wait_for_function("document.querySelector('#status').innerText.startsWith('Done in')")
    assert page.get_by_role("button", name="Back to the model").is_enabled()
    assert page.inner_text("#chart") != own, "the findings follow the path"
    seconds.append(("a steered answer, with a click and a drag", time.monotonic() - begin))

    begin, acts = time.monotonic(), 0
    page.get_by_role("tab", name="Teach", exact=True).first.click()
    page.fill(".teach-who input", "Stranger")
    page.click(".teach-who button")
    page.select_option(".teach-terms select", "medical student")
    page.click("[data-act=agree]")
    page.click("[data-act=next]:visible")
    for number in range(3):
        working(page)
        for x, y in ((0.35, 0.35), (0.65, 0.35), (0.5, 0.6)):
            click(page, x, y)
        shown = page.evaluate(f"{APP}.work.image.sha256")
        for key in ("2", "Control+Enter"):
            page.keyboard.press(key)
            acts += 1
        page.wait_for_function(f"{APP}.work?.image.sha256 !== '{shown}'")
        seconds.append((f"submission {number + 1} since Teach was opened", time.monotonic() - begin))
    artifacts = repository / "test-artifacts"
    artifacts.mkdir(exist_ok=True)
    lines = [f"{what}: {after:.1f} s" for what, after in seconds]
    (artifacts / "first-minute.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert acts <= 2 * 3, "beside the clicks themselves"
    page.close()


def test_after_a_submission_findings_point_at_the_image_and_back(browser: "Browser", address: str) -> None:
    """At what was drawn, and at the places that counted for them when the model looked."""
    page = open_page(browser, address, SIZES[0])
    page.get_by_role("tab", name="Teach", exact=True).first.click()
    page.fill(".teach-who input", "Points")
    page.click(".teach-who button")
    agree(page)
    page.click("[data-act=next]:visible")
    working(page)
    for x, y in ((0.35, 0.35), (0.65, 0.35)):
        click(page, x, y)
    tick(page, "pneumothorax")
    submit(page)
    row = page.locator(".teach-seen tr[data-finding=pneumothorax][data-shares]")
    row.hover()
    page.wait_for_function(f"{SURFACE}.viewer.lit.size > 0")
    assert "gaze-lit" in str(row.get_attribute("class"))
    page.hover(".teach-result h3")
    page.wait_for_function(f"{SURFACE}.viewer.lit.size === 0")
    shares = [float(share) for share in str(row.get_attribute("data-shares")).split()]
    page.locator(".gaze-teach .gaze-glimpse").nth(shares.index(max(shares))).hover()
    page.wait_for_selector(".teach-seen tr[data-finding=pneumothorax].gaze-lit")
    for name in page.evaluate(f"{SURFACE}.truth.map(({{name}}) => name)"):
        page.locator(f".teach-seen tr[data-finding='{name}']").focus()
        assert page.evaluate(f"{SURFACE}.lit") == name
    page.close()
