"""The page in a real browser: path before words, exact marks, errors, Stop, a phone, dark and light."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from PIL import Image

from gazevlm_core.phantom.make import make_phantom
from tests.diagnose.talking_model import SPOKEN, make_talking_checkpoint
from tests.dicom_samples import dicom

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
CLAIM = "<img src=x onerror=alert(1)> drawn phantoms"
START_S, ANSWER_MS = 90, 60_000

# Notes every change of picture and answer, many times a second.
RECORDER = """() => {
  window.seen = [];
  setInterval(() => {
    const img = document.querySelector('#picture img'), words = document.querySelector('#answer textarea').value.length;
    const now = {src: img?.src ?? '', loaded: !!img && img.complete && img.naturalWidth > 0, words};
    if (JSON.stringify(now) !== JSON.stringify(window.seen.at(-1))) window.seen.push(now);
  }, 4);
}"""
STOP_AT_FIRST_WORD = """() => new Promise(done => {
  const timer = setInterval(() => {
    if (!document.querySelector('#answer textarea').value) return;
    clearInterval(timer);
    document.querySelector('#stop').click();
    done();
  }, 2);
})"""
PIXELS = """places => {
  const img = document.querySelector('#picture img'), canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [img.naturalWidth, img.naturalHeight];
  const pen = canvas.getContext('2d');
  pen.drawImage(img, 0, 0);
  return places.map(([x, y]) =>
    [...pen.getImageData(Math.floor(x * canvas.width), Math.floor(y * canvas.height), 1, 1).data].slice(0, 3));
}"""
ROWS = "rows => rows.map(row => [...row.children].slice(1, 3).map(cell => Number(cell.textContent)))"


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def start(repository: Path, model: str, port: int, log: Path) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ, "GAZEVLM_MODEL": model, "GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port),
    }
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "app.py"], cwd=repository, env=environment, stdout=output, stderr=subprocess.STDOUT
        )


def wait_until_up(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            pytest.fail(f"the page did not start:\n{log.read_text()}")
        try:
            with urlopen(url, timeout=5):
                return
        except (URLError, TimeoutError):
            time.sleep(0.2)
    pytest.fail(f"the page is not up after {START_S} s:\n{log.read_text()}")


def served(repository: Path, model: str, log: Path) -> Iterator[str]:
    port = free_port()
    server = start(repository, model, port, log)
    try:
        wait_until_up(server, f"http://127.0.0.1:{port}/", log)
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture(scope="module")
def address(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("page")
    model = make_talking_checkpoint(folder / "model", trained_on=CLAIM)
    yield from served(repository, str(model), folder / "log.txt")


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
    page.set_default_timeout(ANSWER_MS)
    page.goto(address)
    page.wait_for_selector("#examples button img")
    return page


def upload(page: "Page", file: Path) -> None:
    page.set_input_files("#upload input[type=file]", file)


def wait_for_status(page: "Page", text: str) -> None:
    page.wait_for_function("text => document.querySelector('#status').innerText.includes(text)", arg=text)


def answer_of(page: "Page") -> str:
    return page.input_value("#answer textarea")


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
    overlay = page.get_attribute("#picture img", "src")
    assert next(now for now in seen if now["src"] == overlay)["words"] == 0
    assert next(now for now in seen if now["src"] == overlay and now["loaded"])["words"] < len(words)
    assert len({now["words"] for now in seen}) > 5  # the words stream
    places = page.eval_on_selector_all("#scanpath tbody tr", ROWS)
    assert len(places) >= 1
    assert page.evaluate(PIXELS, places) == [[255, 255, 255]] * len(places)
    assert page.evaluate("document.querySelector('#picture img').naturalWidth") == Image.open(phantom_file).width
    assert page.locator("#chart .bars .point").count() == 2
    page.screenshot(path=artifacts / "page-1280-light.png", full_page=True)
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone(browser: "Browser", address: str, artifacts: Path, scheme: str) -> None:
    page = open_page(browser, address, 360, 740, scheme)
    page.locator("#examples button").nth(3).click()
    wait_for_status(page, "Right pneumothorax")
    page.click("#diagnose")
    wait_for_status(page, "Done in")
    page.wait_for_timeout(600)  # smooth scrolling
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    box = page.locator("#picture img").bounding_box()
    assert box is not None
    assert 0 <= box["y"]
    assert box["y"] + box["height"] <= 740
    assert box["width"] > 300
    notice = page.locator("#notice").bounding_box()
    assert notice is not None
    assert 0 <= notice["y"] < 20, "the notice stays on the screen"
    page.screenshot(path=artifacts / f"page-360-{scheme}.png")
    page.screenshot(path=artifacts / f"page-360-{scheme}-whole.png", full_page=True)
    page.close()


def test_wide_and_dark(browser: "Browser", address: str, artifacts: Path) -> None:
    page = open_page(browser, address, scheme="dark")
    page.locator("#examples button").nth(1).click()
    wait_for_status(page, "Cardiomegaly")
    page.click("#diagnose")
    wait_for_status(page, "Done in")
    page.screenshot(path=artifacts / "page-1280-dark.png", full_page=True)
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
    page.locator("#examples button").nth(0).click()
    wait_for_status(page, "No finding")
    page.click("#diagnose")
    wait_for_status(page, "Done in")
    page.close()


def test_no_image_and_no_question_are_explained(browser: "Browser", address: str) -> None:
    page = open_page(browser, address)
    page.click("#diagnose")
    page.get_by_text("There is no image yet; upload one or pick an example.").wait_for()
    page.locator("#examples button").nth(0).click()
    wait_for_status(page, "No finding")
    page.fill("#question textarea", "   ")
    page.click("#diagnose")
    page.get_by_text("The question is empty; ask something about the image.").wait_for()
    assert page.is_enabled("#diagnose")
    page.close()


def test_stop_keeps_what_is_there_and_frees_the_model(browser: "Browser", address: str) -> None:
    page = open_page(browser, address)
    page.locator("#examples button").nth(2).click()
    wait_for_status(page, "Left pleural effusion")
    assert page.is_disabled("#stop")
    page.click("#diagnose")
    page.evaluate(STOP_AT_FIRST_WORD)
    wait_for_status(page, "Stopped")
    page.wait_for_timeout(300)
    words = answer_of(page)
    page.wait_for_timeout(1500)
    assert answer_of(page) == words
    page.click("#diagnose")
    wait_for_status(page, "Done in")
    assert answer_of(page).startswith(words)  # on a fast machine the answer may have been whole before the click
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
    assert [url for url in foreign if not url.startswith((address, "data:", "blob:"))] == []
    page.close()


@pytest.mark.parametrize("setting", [{"GAZEVLM_MODEL": "./nowhere"}, {"GAZEVLM_ADAPTER": "nowhere"}])
def test_bad_setting_stops_the_start_with_one_line(repository: Path, setting: dict[str, str]) -> None:
    result = subprocess.run(
        [sys.executable, "app.py"], cwd=repository, env={**os.environ, **setting}, capture_output=True, text=True,
        check=False,
    )
    assert result.returncode == 1
    assert re.fullmatch(rf"gazevlm: {next(iter(setting))} is '.*nowhere', which is no folder; give .*\n", result.stderr)


def test_real_radiograph_with_the_model_that_ships(
    browser: "Browser", repository: Path, real_radiographs: list[Path], tmp_path: Path, artifacts: Path
) -> None:
    if not (repository / "models" / "gazevlm-nano").is_dir():
        pytest.skip("models/gazevlm-nano has not been trained yet")
    for address in served(repository, "gazevlm-nano", tmp_path / "log.txt"):
        page = open_page(browser, address)
        for number, path in enumerate(real_radiographs):
            if number:
                page.reload()
                page.wait_for_selector("#examples button img")
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
