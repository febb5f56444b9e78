"""Pictures of every state of Diagnose, of Teach and of Evaluate: `python -m scripts.page_states [--out docs/states]`.

The embedded model answers, slowed down so that the states between can be seen.
"""

import time
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from PIL import Image

from gazevlm_core.options import DiagnoseOptions
from gazevlm_core.records import Diagnosis
from web.models import Ask

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Scheme = Literal["light", "dark"]
STEP_S, WAIT_MS = 0.6, 60_000
DESK, PHONE = (1280, 860), (360, 740)
EXAMPLE, QUALITY = "pneumothorax, severe", 70
CLICKED = ((0.4, 0.3), (0.62, 0.38), (0.36, 0.62), (0.65, 0.68))  # fractions of the image
PLACE = """([x, y]) => {
  const { viewer } = document.querySelector('.gaze-teach').app.desk.surface;
  const layer = document.querySelector('.gaze-teach .gaze-layer').getBoundingClientRect();
  const [at_x, at_y] = viewer.locate(x, y);
  return [layer.x + at_x, layer.y + at_y];
}"""
READY = "document.querySelector('.gaze-teach').app?.desk?.surface.grid"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


def slowed(ask: Ask) -> Ask:
    """The same answers, one step after another with a pause between."""

    def slow(
        model: str, image: Image.Image, question: str, options: DiagnoseOptions
    ) -> Generator[Diagnosis, None, None]:
        for record in ask(model, image, question, options):
            yield record
            time.sleep(STEP_S)

    return slow


class Camera:
    """Opens pages and takes their pictures.

    Args:
        browser: from Playwright.
        address: of the page.
        out: folder for the pictures.
    """

    def __init__(self, browser: "Browser", address: str, out: Path) -> None:
        self.browser, self.address, self.out = browser, address, out

    def open(self, size: tuple[int, int] = DESK, scheme: Scheme = "light") -> "Page":
        """A fresh page with its examples."""
        page = self.browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
        page.set_default_timeout(WAIT_MS)
        page.goto(self.address)
        page.wait_for_selector("#examples button img")
        return page

    def asked(self, status: str, size: tuple[int, int] = DESK, scheme: Scheme = "light") -> "Page":
        """A page where an example was picked, which is answered at once, as soon as its status line says so."""
        page = self.open(size, scheme)
        page.locator("#examples button").filter(has_text=EXAMPLE).first.click()
        self.wait(page, status)
        return page

    @staticmethod
    def wait(page: "Page", status: str) -> None:
        """Until the status line holds some words."""
        page.wait_for_function("text => document.querySelector('#status').innerText.includes(text)", arg=status)

    def take(self, page: "Page", name: str, *, close: bool = True) -> None:
        """Write one picture, from the top of the page; on a phone, from where the results are."""
        if page.viewport_size and page.viewport_size["width"] > PHONE[0]:
            page.evaluate("scrollTo(0, 0)")
        page.wait_for_timeout(500)  # what slides and fades
        page.screenshot(path=self.out / f"{name}.png")
        with Image.open(self.out / f"{name}.png") as picture:
            picture.convert("RGB").save(self.out / f"{name}.webp", quality=QUALITY, method=6)
        (self.out / f"{name}.png").unlink()
        if close:
            page.close()


def photograph(camera: Camera, hostile: Path, unlike: Path) -> None:
    """All states, one after another."""
    camera.take(camera.open(), "opened")
    camera.take(camera.asked("Looking"), "looking")
    camera.take(camera.asked("Writing"), "writing")
    busy = camera.asked("Looking")
    camera.take(camera.asked("Waiting"), "queued")
    camera.wait(busy, "Done in")
    camera.take(busy, "done")
    stopped = camera.asked("Writing")
    stopped.click("#stop")
    camera.wait(stopped, "Stopped")
    camera.take(stopped, "stopped")
    failed = camera.open()
    failed.set_input_files("#upload input[type=file]", hostile)
    camera.wait(failed, "did not work")
    camera.take(failed, "failed")
    strange = camera.open()
    strange.set_input_files("#upload input[type=file]", unlike)
    camera.wait(strange, "Ready")
    strange.click("#diagnose")
    camera.wait(strange, "Done in")
    camera.take(strange, "unlike")
    camera.take(camera.asked("Done in", DESK, "dark"), "dark")
    camera.take(camera.asked("Done in", PHONE), "phone")
    camera.take(camera.asked("Done in", PHONE, "dark"), "phone-dark")
    revealed = camera.asked("Done in", (1280, 1000))
    revealed.check("#truth input")
    revealed.locator("#truth-text").get_by_text("A perfect report:").wait_for()
    revealed.evaluate("document.querySelector('#viewer .gaze-viewer').viewer.seek(Infinity)")
    camera.take(revealed, "revealed")
    compared = camera.asked("Done in", (1600, 1000))
    compared.click("#compare button:has-text('Compare')")
    compared.fill("#second input, #second textarea", "1.5")
    compared.click("#diagnose")
    compared.wait_for_function("document.querySelector('#answer-2 .gaze-answer')")
    camera.wait(compared, "Done in")
    compared.wait_for_timeout(4000)  # both paths are played
    camera.take(compared, "compared")


def reports(camera: Camera) -> "Page":
    """A page where Evaluate was opened."""
    page = camera.open((1280, 800))
    page.get_by_role("tab", name="Evaluate").click()
    page.wait_for_selector("#evaluate-chart .main-svg")
    return page


def teach(camera: Camera, size: tuple[int, int], mode: str) -> "Page":
    """A page where an image was clicked through."""
    page = camera.open(size)
    page.get_by_role("tab", name="Teach").click()
    page.fill(".teach-who input", "Ann")
    page.click(".teach-who button")
    page.wait_for_selector("[data-act=agree]")
    page.select_option(".teach-terms select", "none of these")
    page.click("[data-act=agree]")
    page.locator(f".teach-start input[value='{mode}']").check()
    page.click("[data-act=next]:visible")
    page.wait_for_function(READY)
    page.locator(".gaze-teach .gaze-stage").scroll_into_view_if_needed()
    for place in CLICKED:
        page.mouse.click(*page.evaluate(PLACE, place))
        page.wait_for_timeout(200)
    return page


def main(
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("docs/states"),
    chromium: Annotated[str, typer.Option(envvar="CHROMIUM", help="Path of Chromium.")] = "/usr/bin/chromium",
) -> None:
    """Start the page, photograph it, stop."""
    import tempfile

    from playwright.sync_api import sync_playwright

    from annotate.export.training import StoreTrainingData
    from annotate.opening import open_teaching
    from app import build_app
    from diagnose.catalogue import Catalogue
    from finetune.opening import open_adapting
    from gazevlm_core.inference import GazeEngine
    from gazevlm_core.options import shipped_models
    from web.page import launch_options
    from web.settings import Settings

    out.mkdir(parents=True, exist_ok=True)
    engines = {name: GazeEngine.load(name) for name in shipped_models()}
    catalogue = Catalogue(engines)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        data = Path(folder) / "data"
        teaching = open_teaching(Settings(data=data))
        submissions = StoreTrainingData(teaching.store)
        adapting = open_adapting(data, data / "adapters", teaching.gate, submissions, engines)
        page = build_app(catalogue, teaching, adapting.service, gpu=slowed)
        _, address, _ = page.launch(prevent_thread_lock=True, quiet=True, **launch_options(page))
        hostile, unlike = Path(folder) / "drawing.png", Path(folder) / "noise.png"
        hostile.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>', encoding="utf-8")
        Image.effect_noise((400, 400), 90).save(unlike)
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        camera = Camera(browser, address, out)
        photograph(camera, hostile, unlike)
        camera.take(reports(camera), "evaluate")
        camera.take(teach(camera, (1280, 1060), "clicks"), "teach")
        camera.take(teach(camera, (390, 844), "bubble"), "teach-phone")
        browser.close()
        page.close(verbose=False)
        teaching.close()


if __name__ == "__main__":
    typer.run(main)
