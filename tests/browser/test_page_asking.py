"""How the page is asked in a real browser: questions, images of all kinds, what cannot be answered, Stop."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from gazevlm_core.words import STOPPED_NOTE
from phantoms.make import make_phantom
from tests.browser.diagnose_page import (
    SLOWLY,
    answer_of,
    open_page,
    pick_example,
    pick_preset,
    talking_page,
    upload,
    wait_for_status,
)
from tests.dicom_samples import dicom

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser
FIRST_WORD = """() => new Promise(done => {
  const timer = setInterval(() => {
    if (!document.querySelector('#answer .gaze-answer')) return;
    clearInterval(timer);
    done();
  }, 2);
})"""
STOP_AT_FIRST_WORD = FIRST_WORD.replace("done();", "document.querySelector('#stop').click(); done();")
# Notes when Stop was pressed, and when the answer changed last.
STOPWATCH = """() => {
  document.querySelector('#stop').addEventListener('click', () => (window.stopped_ms = performance.now()));
  new MutationObserver(() => (window.changed_ms = performance.now())).observe(
    document.querySelector('#answer'), {subtree: true, childList: true, characterData: true});
}"""
# The answer, once no word has come for two seconds: those on their way when it is stopped still arrive.
LAST_WORDS = """async function lastWords() {
  const words = () => document.querySelector('#answer .gaze-answer')?.innerText ?? '', before = words();
  await new Promise(done => setTimeout(done, 2000));
  return words() === before ? before : lastWords();
}"""
# A slow device: the page gets to nothing but in short moments, so that several messages wait for each.
BUSY = """() => setInterval(() => { for (const end = performance.now() + 300; performance.now() < end; ); }, 310)"""
PASTE = """async name => {
  const blob = await (await fetch(document.querySelector('#examples img').src)).blob();
  const files = new DataTransfer();
  files.items.add(new File([blob], name, {type: blob.type}));
  document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: files, bubbles: true}));
}"""
# Notes whether the button is on at every change of it and of the status line.
IDLE = "() => !document.querySelector('#diagnose').disabled"
BUTTON_RECORDER = """() => {
  window.noted = [];
  const note = () => window.noted.push([document.querySelector('#status').innerText.trim(),
                                        !document.querySelector('#diagnose').disabled]);
  for (const place of ['#status', '#diagnose'])
    new MutationObserver(note).observe(document.querySelector(place),
                                       {subtree: true, childList: true, characterData: true, attributes: true});
}"""


@pytest.fixture(scope="module")
def address(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with talking_page(repository, tmp_path_factory.mktemp("page")) as address:
        yield address


def test_a_chip_asks_its_question_and_another_question_dims_the_answer(browser: "Browser", address: str) -> None:
    page = open_page(browser, address)
    pick_example(page, "no finding")
    pick_preset(page, "Is there pneumothorax?")
    page.locator("#asked").get_by_text("Is there pneumothorax?").wait_for()
    assert page.input_value("#question textarea") == "Is there pneumothorax?"
    page.wait_for_selector("#diagnose:enabled")
    page.fill("#question textarea", "Is there edema?")
    page.wait_for_selector("#story.gaze-stale")
    page.fill("#question textarea", "Is there pneumothorax?")
    page.wait_for_selector("#story:not(.gaze-stale)")
    page.close()


def test_other_settings_dim_the_answer_until_the_next_one(browser: "Browser", address: str) -> None:
    page = open_page(browser, address)
    pick_example(page, "no finding")
    asked = page.input_value("#question textarea")
    page.click("#settings .label-wrap")
    page.fill("#settings input[type=number] >> nth=0", "9")
    page.wait_for_selector("#story.gaze-stale")
    for text in (f"{asked}x", asked):
        page.fill("#question textarea", text)
        page.wait_for_selector("#story.gaze-stale")
    page.click("#diagnose")
    page.wait_for_selector("#story:not(.gaze-stale)")
    wait_for_status(page, "Done in")
    page.click("#compare .label-wrap")
    page.fill("#second input, #second textarea", "0.5")
    page.wait_for_selector("#story.gaze-stale")
    page.close()


def test_a_link_is_hidden_once_it_is_one_to_something_else(browser: "Browser", address: str) -> None:
    page = open_page(browser, address)
    pick_example(page, "no finding")
    page.click("#settings .label-wrap")
    page.click("#compare .label-wrap")

    def change_model() -> None:
        page.click("#model input")
        page.get_by_role("option").last.click()

    changes = (
        lambda: page.fill("#question textarea", "Is there edema?"), lambda: page.click("#diagnose"),
        lambda: page.fill("#settings input[type=number] >> nth=0", "9"),
        lambda: page.fill("#second input, #second textarea", "0.5"),
        lambda: pick_example(page, "cardiomegaly, severe"), lambda: pick_preset(page, "Is there pneumothorax?"),
        change_model,
    )  # fmt: skip
    for change in changes:
        page.wait_for_selector("#diagnose:enabled")
        page.click("#make-link")
        page.locator("#link").wait_for()
        change()
        page.locator("#link").wait_for(state="hidden")
    page.close()


def test_what_else_asks_on_and_the_conversation_is_kept(browser: "Browser", address: str) -> None:
    page = open_page(browser, address)
    pick_preset(page, "what else?")
    page.get_by_text("There is no answer about this image yet; ask for a report first.").wait_for()
    page.fill("#question textarea", "Is there cardiomegaly?")
    pick_example(page, "edema, severe")
    pick_preset(page, "what else?")
    page.locator("#asked").get_by_text("Is there pneumothorax?").wait_for()
    assert page.input_value("#question textarea") == "Is there pneumothorax?"
    assert "Is there cardiomegaly? model" in " ".join(page.inner_text("#history li").split())
    pick_example(page, "no finding")
    page.wait_for_selector("#history", state="hidden")
    page.close()


def test_until_another_image_is_there_nothing_is_asked(browser: "Browser", address: str, tmp_path: Path) -> None:
    file = tmp_path / "phantom.png"
    Image.fromarray(make_phantom(3, size_px=500).image).save(file)
    page = open_page(browser, address)
    pick_example(page, "no finding")
    page.wait_for_function("!document.querySelector('#diagnose').disabled")
    other = page.locator("#examples button").filter(has_text="cardiomegaly, severe").first
    for choose in (other.click, lambda: upload(page, file)):
        page.evaluate(BUTTON_RECORDER)
        choose()
        page.wait_for_function("window.noted.some(([, on]) => !on)")
        page.press("#question textarea", "Shift+Enter")  # on a busy machine the image may be there by then
        page.wait_for_function(IDLE)
        if "Done in" not in page.inner_text("#status"):
            page.click("#diagnose")
            wait_for_status(page, "Done in")
            page.wait_for_function(IDLE)
        noted = page.evaluate("window.noted")
        off = next(at for at, (_, on) in enumerate(noted) if not on)
        ready = next(at for at, (status, _) in enumerate(noted) if status.startswith("Ready."))
        assert off < ready, noted
        assert not any(on for _, on in noted[off:ready]), noted
        assert page.locator("#scanpath tbody tr").count() > 0
    page.close()


def test_an_image_is_pasted_twice(browser: "Browser", address: str) -> None:
    page = open_page(browser, address)
    for name, other in (("first.png", "second.png"), ("second.png", "first.png")):
        shown = page.evaluate("document.querySelector('#viewer .gaze-viewer').viewer.turn ?? 0")
        page.evaluate(PASTE, name)
        page.locator("#upload").get_by_text(Path(name).stem).wait_for()
        assert Path(other).stem not in page.inner_text("#upload")
        page.wait_for_function(f"document.querySelector('#viewer .gaze-viewer').viewer.turn > {shown}")
        wait_for_status(page, "Ready")
    page.click("#diagnose")
    wait_for_status(page, "Done in")
    page.close()


def test_dicom_upload(browser: "Browser", address: str, tmp_path: Path) -> None:
    (tmp_path / "image.dcm").write_bytes(dicom(make_phantom(5, size_px=128).image.astype("uint16") * 16, BitsStored=12))
    page = open_page(browser, address)
    upload(page, tmp_path / "image.dcm")
    wait_for_status(page, "Ready")
    page.click("#diagnose")
    wait_for_status(page, "Done in")
    assert page.locator("#scanpath tbody tr").count() >= 1
    page.close()


def test_hostile_upload_is_explained_and_the_page_goes_on(
    browser: "Browser", address: str, tmp_path: Path, artifacts: Path
) -> None:
    (tmp_path / "drawing.png").write_text('<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>')
    page = open_page(browser, address)
    upload(page, tmp_path / "drawing.png")
    page.get_by_text("This is an SVG drawing, although its name ends in .png; export it as PNG.").wait_for()
    wait_for_status(page, "did not work")
    page.wait_for_timeout(600)  # the message slides in
    page.screenshot(path=artifacts / "page-1280-error.png")
    file, message = (page.locator(part).bounding_box() for part in ("#upload", ".toast-body"))
    assert file is not None
    assert message is not None
    assert 0 <= message["x"] - file["x"] - file["width"] < 30, "beside the file, and not on the examples below it"
    assert abs(message["y"] - file["y"]) < 30
    (tmp_path / "words.png").write_text("no image")
    page.click("#upload [aria-label='Clear']")
    page.wait_for_selector("#upload input[type=file]", state="attached")
    upload(page, tmp_path / "words.png")
    page.get_by_text("This is a text file, although its name ends in .png; give an image instead.").wait_for()
    assert page.locator(".toast-message-item:visible").count() == 1, "the latest message alone"
    pick_example(page, "no finding")
    wait_for_status(page, "Done in")
    page.locator(".toast-body").wait_for(state="detached", timeout=5000)
    page.click("#diagnose")
    wait_for_status(page, "Done in")
    page.close()


def test_no_image_and_no_question_are_explained(browser: "Browser", address: str) -> None:
    page = open_page(browser, address)
    page.click("#diagnose")
    page.get_by_text("There is no image yet; upload one or pick an example.").wait_for()
    pick_example(page, "no finding")
    page.fill("#question textarea", "   ")
    page.click("#diagnose")
    page.get_by_text("The question is empty; ask something about the image.").wait_for()
    page.wait_for_selector("#diagnose:enabled")  # the button follows the message
    page.close()


def test_the_path_reaches_a_page_that_is_busy_while_the_words_come(browser: "Browser", address: str) -> None:
    page = open_page(browser, address)
    pick_example(page, "pleural effusion, severe")
    page.fill("#question textarea", SLOWLY)
    page.evaluate(BUSY)
    page.click("#diagnose")
    wait_for_status(page, "Done in")
    page.wait_for_function("document.querySelector('#viewer .gaze-viewer').viewer.value.paths.length")
    page.close()


def test_stop_keeps_what_is_there_and_frees_the_model(browser: "Browser", address: str) -> None:
    page = open_page(browser, address)
    pick_example(page, "pleural effusion, severe")
    page.wait_for_selector("#stop:disabled", state="attached")
    page.fill("#question textarea", SLOWLY)
    page.click("#diagnose")
    page.evaluate(STOPWATCH)
    page.evaluate(STOP_AT_FIRST_WORD)
    wait_for_status(page, "Stopped")
    words = page.evaluate(LAST_WORDS)
    assert page.evaluate("changed_ms - stopped_ms") < 1000, "of four seconds of words"
    assert page.inner_text("#status").strip() == "Stopped.", "to Gradio a cancelled answer has failed; to a reader not"
    page.click("#diagnose")
    wait_for_status(page, "Done in")
    assert answer_of(page).startswith(words)
    assert len(answer_of(page)) > len(words)
    assert page.inner_text("#history li:first-child .gaze-note") == STOPPED_NOTE
    page.close()


def test_another_image_stops_the_answer_about_the_last(browser: "Browser", address: str) -> None:
    page = open_page(browser, address)
    pick_example(page, "edema, severe")
    page.fill("#question textarea", SLOWLY)
    page.click("#diagnose")
    page.evaluate(FIRST_WORD)
    page.fill("#question textarea", "What else?")
    pick_example(page, "fracture, severe")
    assert "What else?" in page.inner_text("#asked")
    assert answer_of(page)
    page.wait_for_timeout(1500)
    assert "What else?" in page.inner_text("#asked")
    assert page.locator("#history li").count() == 0
    page.close()


def test_the_list_of_models_closes_when_the_tab_key_goes_on(browser: "Browser", address: str) -> None:
    page = open_page(browser, address)
    page.click("#model input")
    page.wait_for_selector("[role=option]")
    page.keyboard.press("Tab")
    page.wait_for_selector("[role=option]", state="detached")
    assert not page.evaluate("document.activeElement.matches('#model input')")
    page.close()
