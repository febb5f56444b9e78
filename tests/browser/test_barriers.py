"""No serious barrier in any state of the page, as axe-core finds them: wide and on a phone, light and dark.

One page goes through the states, since most of the time is theirs; each is looked at in every shape.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from annotate.opening import open_teaching
from scripts.page_states import submit_readings
from tests.annotate.annotate_browser import click, settle, working
from tests.browser.serving import SCHEMES, serving, wait_for
from web.settings import Settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.slow]
AXE = Path(__file__).parent / "axe" / "axe.min.js"
TOKEN = "the token of this test"
WAIT_MS = 120_000
WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
PARTS = ("intake", "images", "project", "exports", "audit")
# Whether all lies in landmarks is never more than moderate, so nobody looks.
SERIOUS = """async rules => {
  const chosen = rules ? {runOnly: rules} : {rules: {region: {enabled: false}}};
  const found = await axe.run(document, {resultTypes: ['violations'], ...chosen});
  return found.violations.filter(one => ['serious', 'critical'].includes(one.impact)).map(one =>
    `${one.id}: ${one.nodes.slice(0, 3).map(node => node.html.slice(0, 160)).join(' | ')}`);
}"""
# Nothing fades or slides any more; what turns for ever does not count.
STILL = """() => document.getAnimations().every(
  one => one.playState !== 'running' || one.effect.getComputedTiming().iterations === Infinity)"""
OPEN_FOLDS = """selector => {
  for (const fold of document.querySelectorAll(`${selector} details:not([open])`)) fold.open = true;
  for (const fold of document.querySelectorAll(`${selector} .label-wrap:not(.open)`))
    if (fold.offsetParent) fold.click();
}"""


@pytest.fixture(scope="module")
def address(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`app.py` with the shipped model, and a store where three readers have submitted."""
    folder = tmp_path_factory.mktemp("barriers")
    teaching = open_teaching(Settings(data=folder / "data", admin_token=SecretStr(TOKEN)))
    submit_readings(teaching.store)
    teaching.close()
    settings = {
        "GAZEVLM_DATA": str(folder / "data"), "GAZEVLM_ADMIN_TOKEN": TOKEN, "GAZEVLM_ADAPTERS": str(folder),
    }  # fmt: skip
    with serving(repository, ["app.py"], folder / "log.txt", settings) as address:
        yield address


class Inspector:
    """Notes the serious barriers of each state.

    Args:
        page: with axe-core.
    """

    def __init__(self, page: "Page") -> None:
        self.page = page
        self.found: dict[str, list[str]] = {}

    def look(self, state: str) -> None:
        """Wide and on a phone, in light and in dark."""
        for shape, size in (("wide", WIDE), ("phone", PHONE)):
            self.page.set_viewport_size(size)
            for scheme in SCHEMES:
                self.page.emulate_media(color_scheme=scheme)
                settle(self.page)  # from here on, what fades or slides to the new look is at it
                self.page.wait_for_function(STILL)
                # structure is the same in another scheme; colours are not
                rules = None if scheme == "light" else ["color-contrast"]
                if barriers := self.page.evaluate(SERIOUS, rules):
                    self.found[f"{state}, {shape}, {scheme}"] = barriers
        self.page.set_viewport_size(WIDE)

    def tab(self, name: str, *content: str) -> None:
        """Open a tab of the page; what is in it is there."""
        self.page.get_by_role("tab", name=name, exact=True).first.click()
        for selector in content:
            self.page.wait_for_selector(selector)


@pytest.fixture
def inspector(browser: "Browser", address: str) -> Iterator[Inspector]:
    page = browser.new_page(viewport=WIDE, reduced_motion="reduce")
    page.set_default_timeout(WAIT_MS)
    page.goto(address)
    page.wait_for_selector("#examples button img")
    page.wait_for_selector("#answer .gaze-answer")
    page.add_script_tag(path=str(AXE))
    yield Inspector(page)
    page.close()


def test_no_serious_barrier_in_diagnose_adapt_and_evaluate(inspector: Inspector) -> None:
    page = inspector.page
    inspector.look("Diagnose as it opens")
    page.evaluate(OPEN_FOLDS, "#desk")
    page.wait_for_timeout(500)
    inspector.look("Diagnose, folds open")
    page.fill("#second input, #second textarea", "1.5")
    page.click("#diagnose")
    page.wait_for_function("document.querySelector('#answer-2 .gaze-answer')")
    wait_for(page, "#status", "Done in")
    inspector.look("Diagnose, compared")
    inspector.tab("Adapt", "#adapt-who p")
    inspector.look("Adapt")
    inspector.tab("Evaluate", "#evaluate-chart .main-svg", "#evaluate-facts .gaze-answer-line")
    inspector.look("Evaluate")
    assert inspector.found == {}


def test_no_serious_barrier_in_teach(inspector: Inspector) -> None:
    page = inspector.page
    inspector.tab("Teach", ".teach-who input")
    inspector.look("Teach as it opens")
    page.fill(".teach-who input", "Ann")
    page.click(".teach-who button")
    page.wait_for_selector("[data-act=agree]")
    inspector.look("terms")
    page.select_option(".teach-terms select", "medical student")
    page.click("[data-act=agree]")
    page.wait_for_selector("[data-act=next]:visible")
    page.evaluate(OPEN_FOLDS, ".gaze-teach")
    inspector.look("start")
    page.click("[data-act=next]:visible")
    working(page)
    for place in ((0.4, 0.3), (0.6, 0.5)):
        click(page, *place)
    inspector.look("at work")
    page.keyboard.press("2")
    page.click("[data-act=submit]")
    page.wait_for_selector(".teach-receipt-id")
    page.wait_for_selector(".teach-seen table, .teach-seen p", state="attached")
    page.evaluate(OPEN_FOLDS, ".gaze-teach")
    inspector.look("result")
    assert inspector.found == {}


def test_no_serious_barrier_in_annotations(inspector: Inspector) -> None:
    page = inspector.page
    inspector.tab("Annotations", ".dashboard-tile")
    inspector.look("Annotations as it opens")
    page.fill("#dashboard-name input", "Root")
    page.fill("#dashboard-token input", TOKEN)
    page.click("#dashboard-use")
    wait_for(page, "#dashboard-review-status", "Submission")
    page.evaluate(OPEN_FOLDS, "#dashboard-review")
    inspector.look("Review")
    page.click("#dashboard-quality-button")
    page.click("#dashboard-compute")
    page.wait_for_selector("#dashboard-annotators table")
    inspector.look("Quality")
    page.click("#dashboard-admins-button")
    for part in PARTS:
        page.click(f"#dashboard-{part}-button")
        page.wait_for_selector(f"#dashboard-{part}", state="visible")
        page.evaluate(OPEN_FOLDS, f"#dashboard-{part}")
        page.wait_for_timeout(500)
        inspector.look(f"Administration, {part}")
    assert inspector.found == {}
