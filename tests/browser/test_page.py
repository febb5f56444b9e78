"""The page in a real browser: path before words, exact marks, errors, Stop, a phone, dark and light."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile

import pytest
from PIL import Image

from phantoms.make import make_phantom
from tests.adapter_maker import make_adapter
from tests.browser.serving import serving
from tests.diagnose.talking_model import SPOKEN, make_talking_checkpoint
from tests.dicom_samples import dicom

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
CLAIM = "<img src=x onerror=alert(1)> drawn phantoms"
ANSWER_MS = 60_000
SLOWLY = "What do you see? Say it slowly."  # four seconds at least

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
FIRST, SECOND = (f"document.querySelector('#viewer{end} .gaze-viewer').viewer" for end in ("", "-2"))
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
# Colours of the marks at places of the image, once its file is loaded and the whole path is shown.
PIXELS = """async places => {
  const { viewer } = document.querySelector('#viewer .gaze-viewer');
  for (const end = Date.now() + 60_000; !viewer.value.paths.length && Date.now() < end; )
    await new Promise(requestAnimationFrame);
  viewer.seek(Infinity);
  return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => {
    const { markCanvas, view } = viewer, pen = markCanvas.getContext('2d');
    const density = markCanvas.width / view.stage.width;
    done(places.map(([x, y]) => {
      const [left, top] = viewer.locate(x, y);
      return [...pen.getImageData(Math.floor(left * density), Math.floor(top * density), 1, 1).data].slice(0, 3);
    }));
  })));
}"""
# A slow device: the page gets to nothing but in short moments, so that several messages wait for each.
BUSY = """() => setInterval(() => { for (const end = performance.now() + 300; performance.now() < end; ); }, 310)"""
PASTE = """async name => {
  const blob = await (await fetch(document.querySelector('#examples img').src)).blob();
  const files = new DataTransfer();
  files.items.add(new File([blob], name, {type: blob.type}));
  document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: files, bubbles: true}));
}"""
ROWS = "rows => rows.map(row => [...row.children].slice(1, 3).map(cell => Number(cell.textContent)))"


@pytest.fixture(scope="module")
def address(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("page")
    model = make_talking_checkpoint(folder / "model", trained_on=CLAIM)
    make_adapter(model, folder / "adapters" / "other")
    settings = {"GAZEVLM_MODEL": str(model), "GAZEVLM_ADAPTERS": str(folder / "adapters")}
    with serving(repository, ["-m", "tests.diagnose.talking_page"], folder / "log.txt", settings) as address:
        yield address


@pytest.fixture
def artifacts(repository: Path) -> Path:
    folder = repository / "test-artifacts"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def phantom_file(tmp_path: Path) -> Path:
    path = tmp_path / "phantom.png"
    Image.fromarray(make_phantom(3, size_px=500).image).save(path)
    return path


def open_page(browser: "Browser", address: str, width: int = 1280, height: int = 900, scheme: str = "light") -> "Page":
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.on("pageerror", lambda error: pytest.fail(f"the page's script failed: {error}"))
    page.set_default_timeout(ANSWER_MS)
    page.goto(address)
    page.wait_for_selector("#examples button img")
    return page


def upload(page: "Page", file: Path) -> None:
    page.set_input_files("#upload input[type=file]", file)


def pick_example(page: "Page", caption: str) -> None:
    """Pick an example, which is answered at once."""
    page.locator("#examples button").filter(has_text=caption).first.click()
    wait_for_answer(page, caption)


def wait_for_answer(page: "Page", caption: str) -> None:
    """Until an example is answered."""
    page.wait_for_function(
        """caption => document.querySelector('#viewer .gaze-viewer').viewer.value.description?.endsWith(': ' + caption)
            && document.querySelector('#status').innerText.startsWith('Done in')
            && !document.querySelector('#diagnose').disabled""",
        arg=caption,
    )


def pick_preset(page: "Page", preset: str) -> None:
    page.click(f"#preset [data-preset='{preset}']")


def wait_for_status(page: "Page", text: str) -> None:
    page.wait_for_function("text => document.querySelector('#status').innerText.includes(text)", arg=text)


def answer_of(page: "Page") -> str:
    return page.evaluate("document.querySelector('#answer .gaze-answer')?.innerText ?? ''")


def test_path_appears_before_the_words_and_lies_where_it_should(
    browser: "Browser", address: str, phantom_file: Path, artifacts: Path
) -> None:
    page = open_page(browser, address)
    upload(page, phantom_file)
    wait_for_status(page, "Ready")
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone(browser: "Browser", address: str, artifacts: Path, scheme: str) -> None:
    page = open_page(browser, address, 360, 740, scheme)
    pick_example(page, "pneumothorax, severe")
    page.click("#diagnose")
    wait_for_status(page, "Done in")
    page.wait_for_timeout(600)  # smooth scrolling
    assert page.evaluate("document.documentElement.scrollWidth") == 360
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
    page.screenshot(path=artifacts / f"page-360-{scheme}.png")
    page.screenshot(path=artifacts / f"page-360-{scheme}-whole.png", full_page=True)
    page.close()


def test_wide_and_dark(browser: "Browser", address: str, artifacts: Path) -> None:
    page = open_page(browser, address, scheme="dark")
    pick_example(page, "cardiomegaly, moderate")
    page.click("#diagnose")
    wait_for_status(page, "Done in")
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
    again = browser.new_page()
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
    assert page.evaluate("document.documentElement.scrollWidth") == 360
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
