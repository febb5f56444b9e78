"""What the page shows in a real browser: path before words, exact marks, a comparison, a link, a phone, in the dark."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile

import pytest
from PIL import Image

from phantoms.make import make_phantom
from tests.browser.diagnose_page import (
    ANSWER_MS,
    CLAIM,
    PIXELS,
    ROWS,
    SLOWLY,
    answer_of,
    open_page,
    pick_example,
    talking_page,
    upload,
    wait_for_answer,
    wait_for_status,
)
from tests.browser.serving import SCHEMES, wait_for_value, wait_until_it_fits
from tests.diagnose.talking_model import SPOKEN

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser
FIRST, SECOND = (f"document.querySelector('#viewer{end} .gaze-viewer').viewer" for end in ("", "-2"))
# Notes every change of viewer and answer, many times a second.
RECORDER = """() => {
  window.seen = [];
  setInterval(() => {
    const viewer = document.querySelector('#viewer .gaze-viewer').viewer;
    const words = (document.querySelector('#answer .gaze-answer')?.innerText ?? '').length;
    const now = {path: viewer.value.paths.length > 0, words};
    if (JSON.stringify(now) !== JSON.stringify(window.seen.at(-1))) window.seen.push(now);
  }, 4);
}"""
# Parts of the page from the top down; one begins where the one above it has ended.
IN_ORDER = """parts => {
  const boxes = parts.map(part => [part, document.querySelector(part).getBoundingClientRect()]);
  boxes.sort(([, one], [, other]) => one.bottom <= other.top ? -1 : 1);
  return boxes.map(([part]) => part);
}"""


@pytest.fixture(scope="module")
def address(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with talking_page(repository, tmp_path_factory.mktemp("page")) as address:
        yield address


@pytest.fixture
def phantom_file(tmp_path: Path) -> Path:
    path = tmp_path / "phantom.png"
    Image.fromarray(make_phantom(3, size_px=500).image).save(path)
    return path


def test_path_appears_before_the_words_and_lies_where_it_should(
    browser: "Browser", address: str, phantom_file: Path, artifacts: Path
) -> None:
    page = open_page(browser, address, motion="no-preference")
    upload(page, phantom_file)
    wait_for_status(page, "Ready")
    page.fill("#question textarea", SLOWLY)
    page.evaluate(RECORDER)
    page.click("#diagnose")
    wait_for_status(page, "Done in")
    words = answer_of(page)
    assert set(words.split()) <= set(SPOKEN.split())
    seen = page.evaluate("seen")
    assert next(now for now in seen if now["path"])["words"] == 0
    assert len({now["words"] for now in seen}) > 5  # the words stream
    places = page.eval_on_selector_all("#scanpath tbody tr", ROWS)
    assert len(places) >= 1
    assert page.evaluate(PIXELS, places) == [[255, 255, 255]] * len(places)
    drawn = page.evaluate("document.querySelector('#viewer .gaze-viewer').viewer.picture.copies[0].width")
    assert drawn == Image.open(phantom_file).width
    assert page.locator("#chart .gaze-finding").count() == 2
    page.screenshot(path=artifacts / "page-1280-light.png", full_page=True)
    page.close()


def test_phone(browser: "Browser", address: str, artifacts: Path) -> None:
    page = open_page(browser, address, 360, 740, "dark")
    pick_example(page, "pneumothorax, severe")
    page.click("#diagnose")
    wait_for_status(page, "Done in")
    page.wait_for_timeout(600)  # smooth scrolling
    wait_until_it_fits(page)
    box = page.locator("#viewer .gaze-stage").bounding_box()
    assert box is not None
    assert 0 <= box["y"]
    assert box["y"] + box["height"] <= 740
    assert box["width"] > 300
    words = page.locator("#answer").bounding_box()
    assert words is not None
    assert box["y"] + box["height"] < words["y"] < 740, "the answer lies under the image, and in sight"
    notice = page.locator("#notice").bounding_box()
    assert notice is not None
    assert 0 <= notice["y"] < 20, "the notice stays on the screen"
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        page.screenshot(path=artifacts / f"page-360-{scheme}.png")
        page.screenshot(path=artifacts / f"page-360-{scheme}-whole.png", full_page=True)
    page.close()


def test_wide_and_dark(browser: "Browser", address: str, artifacts: Path) -> None:
    page = open_page(browser, address, scheme="dark")
    pick_example(page, "cardiomegaly, moderate")
    page.click("#diagnose")
    wait_for_status(page, "Done in")
    ink, ground = page.evaluate(
        """() => ["color", "backgroundColor"].map(name =>
             getComputedStyle(document.querySelector("gradio-app"))[name].match(/[0-9.]+/g).slice(0, 3)
               .reduce((sum, one) => sum + Number(one) / 3, 0))"""
    )
    assert ground < 60 < 180 < ink, "light words on a dark ground"
    wait_for_value(page, "document.documentElement.scrollWidth <= innerWidth", True)
    page.screenshot(path=artifacts / "page-1280-dark.png", full_page=True)
    page.close()


def test_truth_of_an_example_is_revealed_on_demand(browser: "Browser", address: str, artifacts: Path) -> None:
    page = open_page(browser, address)
    pick_example(page, "pneumothorax, moderate")
    page.click("#diagnose")
    wait_for_status(page, "Done in")
    assert page.locator("#viewer .gaze-path").count() == 1
    assert "perfect report" not in page.inner_text("body")
    page.check("#truth input")
    page.locator("#truth-text").get_by_text("A perfect report:").wait_for()
    assert "pneumothorax" in page.inner_text("#truth-text tbody")
    assert page.locator("#viewer .gaze-name").all_inner_texts() == ["Model", "Simulated reader"]
    page.screenshot(path=artifacts / "page-1280-truth.png", full_page=True)
    page.uncheck("#truth input")
    page.wait_for_function("document.querySelectorAll('#viewer .gaze-path').length === 1")
    page.check("#truth input")
    page.locator("#truth-text").get_by_text("A perfect report:").wait_for()
    pick_example(page, "no finding")
    assert page.locator("#viewer .gaze-path").count() == 1
    assert not page.is_checked("#truth input")
    page.close()


def test_downloads_are_made_on_demand(browser: "Browser", address: str, phantom_file: Path, tmp_path: Path) -> None:
    page = open_page(browser, address)
    upload(page, phantom_file)
    wait_for_status(page, "Ready")
    page.click("#diagnose")
    wait_for_status(page, "Done in")
    with page.expect_download() as download:
        page.click("#prepare")
    assert download.value.suggested_filename == "gazevlm-phantom.zip"
    download.value.save_as(tmp_path / "all.zip")
    with ZipFile(tmp_path / "all.zip") as archive:
        archive.extractall(tmp_path)
    suffixes = sorted(path.suffix for path in tmp_path.glob("gazevlm*"))
    assert suffixes == [".csv", ".gif", ".json", ".mp4", ".png", ".png", ".webp"]
    with Image.open(tmp_path / "gazevlm-overlay.png") as overlay, Image.open(phantom_file) as source:
        assert overlay.size == source.size
    how = json.loads((tmp_path / "gazevlm.json").read_text())["how"]
    assert {"question", "model", "path_seed", "path_temperature", "text_seed", "version", "date"} <= how.keys()
    page.close()


def test_a_link_brings_back_example_question_and_settings(browser: "Browser", address: str) -> None:
    page = open_page(browser, address)
    pick_example(page, "edema, severe")
    page.fill("#question textarea", "Is there edema & <b>more</b>?")
    page.click("#settings button:has-text('Settings')")
    page.get_by_label("one try", exact=True).check()
    page.get_by_label("Seed of the tries").fill("17")
    page.click("#make-link")
    page.wait_for_function("document.querySelector('#link textarea, #link input')?.value.startsWith('http')")
    link = page.input_value("#link textarea, #link input")
    page.click("#diagnose")
    wait_for_status(page, "Done in")
    rows = page.eval_on_selector_all("#scanpath tbody tr", ROWS)
    page.close()
    again = browser.new_page(reduced_motion="reduce")
    again.set_default_timeout(ANSWER_MS)
    again.goto(link)
    again.wait_for_selector("#examples button img")
    wait_for_answer(again, "edema, severe")
    assert again.input_value("#question textarea") == "Is there edema & <b>more</b>?"
    assert again.eval_on_selector_all("#scanpath tbody tr", ROWS) == rows
    again.goto(f"{address}?example=99")
    again.get_by_text("The link could not be used. The example must be a whole number from 0 to").wait_for()
    again.close()


def test_two_temperatures_are_compared_side_by_side(browser: "Browser", address: str, artifacts: Path) -> None:
    page = open_page(browser, address)
    pick_example(page, "edema, severe")
    assert not page.is_visible("#result-2")
    page.click("#compare button:has-text('Compare')")
    page.fill("#second input, #second textarea", "2")
    page.click("#diagnose")
    page.wait_for_function("document.querySelector('#answer-2 .gaze-answer')")
    wait_for_status(page, "Done in")
    assert [page.inner_text(f"#title{end}") for end in ("", "-2")] == ["model, temperature 0.7", "model, temperature 2"]
    assert [page.inner_text(f"#viewer{end} .gaze-name") for end in ("", "-2")] == ["Model", "Second model"]
    first, second = (page.locator(f"#viewer{end} .gaze-stage").bounding_box() for end in ("", "-2"))
    assert first is not None
    assert second is not None
    assert first["x"] + first["width"] < second["x"], "side by side"
    assert abs(first["y"] - second["y"]) < 1
    paths = [page.eval_on_selector_all(f"#scanpath{end} tbody tr", ROWS) for end in ("", "-2")]
    assert paths[0] != paths[1]
    page.evaluate(f"{FIRST}.together.lead(); {FIRST}.select(0, 1); {FIRST}.zoom(2, 30, 40)")
    page.wait_for_function(f"Math.abs({SECOND}.view.scale / {SECOND}.view.fitScale - 2) < 1e-6")
    middle, other = (page.evaluate(f"[{viewer}.middle.x, {viewer}.middle.y]") for viewer in (FIRST, SECOND))
    assert middle == pytest.approx(other), "the same part of the image"
    assert page.evaluate(f"{SECOND}.timeline.stepAt(0, {SECOND}.time_ms)") == min(1, len(paths[1]) - 1)
    page.locator("#viewer-2 .gaze-stage").press("0")  # the other one leads now: the whole image, in both
    page.wait_for_function(f"{FIRST}.view.fitted && {SECOND}.view.fitted")
    page.locator("#viewer-2 .gaze-play").click()
    page.wait_for_function(f"{FIRST}.playing && {FIRST}.time_ms > 0 && {FIRST}.time_ms === {SECOND}.time_ms")
    assert page.evaluate(f"{FIRST}.timeline.length_ms === {SECOND}.timeline.length_ms")
    page.screenshot(path=artifacts / "page-1280-compared.png", full_page=True)
    page.set_viewport_size({"width": 390, "height": 844})
    stacked = ["#viewer", "#words", "#viewer-2", "#words-2", "#findings"]
    assert page.evaluate(IN_ORDER, stacked) == stacked, "each answer under its own image"
    wait_for_value(page, "document.documentElement.scrollWidth", 390)
    page.set_viewport_size({"width": 1280, "height": 900})
    page.fill("#second input, #second textarea", "hot")
    page.click("#diagnose")
    page.get_by_text("The second temperature must be a number; change it.").wait_for()
    page.fill("#second input, #second textarea", "")
    page.wait_for_selector("#diagnose:enabled")
    page.click("#diagnose")
    wait_for_status(page, "Done in")
    page.wait_for_selector("#result-2", state="hidden")
    page.close()


def test_an_adapter_is_picked_compared_and_linked(browser: "Browser", address: str, artifacts: Path) -> None:
    page = open_page(browser, address)
    pick_example(page, "edema, severe")
    page.click("#model input")
    page.get_by_role("option", name="model + other").click()
    page.locator("#notice").get_by_text("a test").wait_for()
    page.wait_for_selector("#story.gaze-stale")  # it is the answer of the other one
    assert "Training data: a test." in page.inner_text("#notice")
    page.wait_for_selector("#preset [data-preset='Is there edema?']")
    assert page.locator("#preset [data-preset='Is there cardiomegaly?']").count() == 0, "not what this adapter knows"
    page.click("#compare button:has-text('Compare')")
    page.click("#second-model input")
    page.get_by_role("option", name="model", exact=True).click()
    page.click("#second-badges summary")
    page.locator("#second-badges").get_by_text("drawn phantoms").wait_for()
    page.click("#diagnose")
    page.wait_for_function("document.querySelector('#answer-2 .gaze-answer')")
    wait_for_status(page, "Done in")
    assert [page.inner_text(f"#title{end}") for end in ("", "-2")] == ["model + other", "model"]
    assert page.locator("#chart .gaze-pair").count() == 3, "of both: they know none in common"
    bars = [page.locator(f"#chart .gaze-side-{place} .gaze-half").count() for place in (1, 2)]
    assert bars == [1, 2], "each with its own findings"
    page.screenshot(path=artifacts / "page-1280-adapters.png", full_page=True)
    page.set_viewport_size({"width": 360, "height": 740})
    wait_for_value(page, "document.documentElement.scrollWidth", 360)
    page.click("#settings button:has-text('Settings')")
    page.click("#badges summary")
    assert "adapter other" in page.inner_text("#badges")
    page.click("#make-link")
    page.wait_for_function("document.querySelector('#link textarea, #link input')?.value.startsWith('http')")
    link = page.input_value("#link textarea, #link input")
    page.goto(link)
    page.wait_for_selector("#examples button img")
    wait_for_answer(page, "edema, severe")
    page.locator("#notice").get_by_text("a test").wait_for()
    assert page.input_value("#model input") == "model + other"
    page.goto(f"{address}?model=model+%2B+other")
    page.wait_for_selector("#examples button img")
    wait_for_answer(page, "pneumothorax, severe")
    assert "model + other" in page.inner_text("#asked"), "and no empty image"
    page.goto(f"{address}?model=..%2Fsecret")
    page.get_by_text("There is no model called '../secret'; choose one of: model, model + other.").wait_for()
    page.close()


def test_nothing_is_fetched_from_elsewhere_and_claims_are_text(browser: "Browser", address: str) -> None:
    page = browser.new_page()
    foreign: list[str] = []
    page.on("request", lambda request: foreign.append(request.url))
    page.on("dialog", lambda dialog: foreign.append(dialog.message))
    page.goto(address)
    page.wait_for_selector("#examples button img")
    assert f"Training data: {CLAIM}." in page.inner_text("#notice")
    assert "Not a medical device." in page.inner_text("#notice")
    page.click("#settings button:has-text('Settings')")
    assert "32 bits (float)" in str(page.text_content("#badges"))
    assert [url for url in foreign if not url.startswith((address, "data:", "blob:"))] == []
    page.close()
