"""Diagnose with the model that ships: films, images unlike them, questions it does not know, and whoever is quick."""

import os
import time
from base64 import b64encode
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from skimage import data

from diagnose.tab.markup import VERDICT
from phantoms.make import make_phantom
from tests.browser.diagnose_page import (
    PIXELS,
    ROWS,
    answer_of,
    open_page,
    pick_example,
    upload,
    wait_for_status,
)
from tests.browser.serving import serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
PICKS = 50 if os.environ.get("GAZEVLM_EVERY_PICK") == "1" else 4
VIEWER = "document.querySelector('#viewer .gaze-viewer').viewer"
DROP = """([place, base64]) => {
  const files = new DataTransfer(), bytes = Uint8Array.from(atob(base64), sign => sign.charCodeAt(0));
  files.items.add(new File([bytes], 'dropped.png', {type: 'image/png'}));
  for (const kind of ['dragover', 'drop'])
    document.querySelector(place).dispatchEvent(
      new DragEvent(kind, {dataTransfer: files, bubbles: true, cancelable: true}));
}"""


@pytest.fixture(scope="module")
def address(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("nano") / "log.txt"
    arguments = ["-m", "tests.diagnose.talking_page"]
    with serving(repository, arguments, log, {"GAZEVLM_MODEL": "gazevlm-nano"}) as address:
        yield address


def test_real_radiographs(browser: "Browser", address: str, real_radiographs: list[Path], artifacts: Path) -> None:
    """A path, marks where it says, and words; one image after the other, as a visitor gives them.

    Every fifth of them and the last; `gazevlm diagnose` answers all in its tests.
    """
    page = open_page(browser, address)
    given = [*real_radiographs[::5], real_radiographs[-1]]
    assert {path.suffix for path in given} == {".jpg", ".png"}
    for number, path in enumerate(given):
        if number:
            page.click("#upload button[aria-label='Clear'], #upload button[aria-label='Remove']")
            wait_for_status(page, "Upload an image")
            page.wait_for_selector("#upload input[type=file]", state="attached")
        upload(page, path)
        wait_for_status(page, "Ready")
        page.click("#diagnose")
        wait_for_status(page, "Done in")
        assert answer_of(page)
        places = page.eval_on_selector_all("#scanpath tbody tr", ROWS)
        assert len(places) >= 2
        assert page.evaluate(PIXELS, places) == [[255, 255, 255]] * len(places)
        page.screenshot(path=artifacts / f"radiograph-{number + 1:02d}.png")
    page.close()


def test_an_unlike_image_is_called_so(browser: "Browser", address: str, tmp_path: Path, artifacts: Path) -> None:
    Image.effect_noise((400, 400), 90).save(tmp_path / "noise.png")
    Image.fromarray(data.cat()).save(tmp_path / "cat.png")
    page = open_page(browser, address)
    upload(page, tmp_path / "noise.png")
    wait_for_status(page, "Ready")
    page.click("#diagnose")
    page.get_by_text(VERDICT).wait_for()
    wait_for_status(page, "Done in")
    assert not page.is_visible("#answer")
    assert not page.is_visible("#chart")
    page.check("#warning .gaze-anyway")
    page.wait_for_selector("#chart .gaze-finding")
    page.click("#warning summary")
    assert "This image is unlike what the model was trained on" in page.inner_text("#warning")
    page.screenshot(path=artifacts / "page-1280-unlike.png", full_page=True)
    page.fill("#question textarea", "Is there pneumothorax?")
    page.click("#diagnose")
    page.locator("#history").get_by_text(VERDICT).wait_for()
    wait_for_status(page, "Done in")
    words = page.locator("#history li p:not(.gaze-asked)")
    assert not words.is_visible()
    page.click("#history summary")
    assert words.is_visible()
    page.reload()
    page.wait_for_selector("#examples button img")
    upload(page, tmp_path / "cat.png")
    page.get_by_text("This is a colour picture, not a radiograph").wait_for()
    pick_example(page, "cardiomegaly, severe")
    page.click("#diagnose")
    wait_for_status(page, "Done in")
    assert not page.is_visible("#warning")
    _asks_what_was_never_taught(page)
    page.close()


def _asks_what_was_never_taught(page: "Page") -> None:
    """The embedded model says which questions it knows, and nothing else; an answer stands beside its probability."""
    page.fill("#question textarea", "How old is the patient?")
    page.click("#diagnose")
    wait_for_status(page, "Not answered: this model does not know the question.")
    said = page.inner_text("#warning")
    assert 'It knows "Describe the findings on this chest radiograph."' in said
    assert '"Is there ...?" of: enlarged cardiomediastinum' in said
    assert page.locator("#answer .gaze-answer").count() == 0
    assert not page.is_visible("#claims")
    assert page.locator("#scanpath tbody tr").count() == 0
    page.fill("#question textarea", "is there a pneumothorax")
    page.click("#diagnose")
    wait_for_status(page, "Done in")
    assert not page.is_visible("#warning")
    assert page.inner_text("#answer .gaze-answer").startswith(("No", "Yes"))
    assert "pneumothorax: 0." in str(page.text_content("#claims"))


def open_answered(browser: "Browser", address: str) -> "Page":
    """Open the page with an answer about its first example."""
    page = open_page(browser, address)
    page.wait_for_function(f"document.querySelector('#answer .gaze-answer') && {VIEWER}?.value.paths.length")
    return page


def test_a_click_on_an_example_is_an_answer_however_soon_diagnose_is_pressed(browser: "Browser", address: str) -> None:
    page = open_answered(browser, address)
    examples = page.locator("#examples button")
    count = examples.count()
    for pick in range(PICKS):
        number = (7 * pick + 3) % count
        caption = examples.nth(number).locator("img").get_attribute("alt")
        if pick % 2:
            examples.nth((number + 1) % count).click()  # and it is the second pick that counts
        examples.nth(number).click()
        page.wait_for_timeout(2000 * pick / max(1, PICKS - 1))
        page.evaluate("document.querySelector('#diagnose').click()")
        page.wait_for_function(
            f"""caption => {VIEWER}.value.description.endsWith(': ' + caption) && {VIEWER}.value.paths.length
                && document.querySelector('#answer .gaze-answer') && document.querySelector('#chart .gaze-finding')
                && document.querySelector('#status').innerText.startsWith('Done in')""",
            arg=caption,
        )
    page.close()


def test_nothing_is_asked_about_the_image_before_while_a_file_is_sent(browser: "Browser", address: str) -> None:
    """The file takes its time on the way; meanwhile Diagnose is pressed."""
    page = open_answered(browser, address)
    asked = page.inner_text("#answer")

    def slowly(route: object) -> None:
        time.sleep(1.5)
        route.continue_()  # type: ignore[attr-defined]

    page.route("**/upload?*", slowly)
    file = BytesIO()
    Image.fromarray(make_phantom(11, size_px=300).image).save(file, "PNG")
    page.set_input_files(
        "#upload input[type=file]", [{"name": "own.png", "mimeType": "image/png", "buffer": file.getvalue()}]
    )
    page.evaluate("document.querySelector('#diagnose').click()")
    page.wait_for_function(f"{VIEWER}.value.description === 'Uploaded image'")
    page.wait_for_function("document.querySelector('#status').innerText.startsWith('Ready')")
    assert page.locator("#answer .gaze-answer").count() == 0, asked
    page.close()


def test_a_file_that_is_dropped_on_the_image_is_taken(browser: "Browser", address: str) -> None:
    page = open_answered(browser, address)
    file = BytesIO()
    Image.fromarray(make_phantom(11, size_px=300).image).save(file, "PNG")
    page.evaluate(DROP, ["#viewer .gaze-stage", b64encode(file.getvalue()).decode()])
    page.wait_for_function(f"{VIEWER}.value.description === 'Uploaded image'")
    page.locator("#upload").get_by_text("dropped").wait_for()
    page.close()


def test_the_status_line_says_nothing_of_gradios_queue(browser: "Browser", address: str) -> None:
    page = open_answered(browser, address)
    page.evaluate("""() => {
      const line = document.querySelector('#status');
      globalThis.said = new Set();
      new MutationObserver(() => said.add(line.innerText)).observe(
        line, {subtree: true, childList: true, characterData: true, attributes: true});
    }""")
    page.locator("#examples button").nth(5).click()
    page.wait_for_function("[...said].some(words => words.includes('Done in'))")
    odd = [words for words in page.evaluate("[...said]") if "queue" in words or "processing" in words or "|" in words]
    assert odd == []
    page.close()
