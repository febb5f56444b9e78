"""Pictures of every state of the page, and the replay of the README: `python -m scripts.page_states [--only NAME]`.

The embedded model answers, slowed down so that the states between can be seen. Simulated readers have submitted what
Annotations reviews and Adapt trains on, for a minute.
"""

import time
from collections.abc import Callable, Generator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from PIL import Image
from pydantic import SecretStr

from gazevlm_core.options import NANO, DiagnoseOptions
from gazevlm_core.records import Diagnosis
from gazevlm_core.scanpath import Scanpath
from web.models import Ask

if TYPE_CHECKING:
    from playwright.sync_api import Browser, FilePayload, Page

    from annotate.store.store import AnnotationStore
    from gazevlm_core.inference import GazeEngine

Scheme = Literal["light", "dark"]
STEP_S, WAIT_MS = 0.6, 60_000
DESK, PHONE = (1280, 860), (360, 740)
EXAMPLE, QUALITY = "pneumothorax, severe", 70
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
CLICKED = ((0.4, 0.3), (0.62, 0.38), (0.36, 0.62), (0.65, 0.68))  # fractions of the image
PLACE = """([x, y]) => {
  const { viewer } = document.querySelector('.gaze-teach').app.desk.surface;
  const layer = document.querySelector('.gaze-teach .gaze-layer').getBoundingClientRect();
  const [at_x, at_y] = viewer.locate(x, y);
  return [layer.x + at_x, layer.y + at_y];
}"""
READY = "document.querySelector('.gaze-teach').app?.desk?.surface.grid"
VIEWER = "document.querySelector('#viewer .gaze-viewer').viewer"
TOKEN = "the token of these pictures"
TRAINING_MS = 600_000
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


def stopped(camera: Camera) -> "Page":
    """Return a page where an answer was stopped."""
    page = camera.asked("Writing")
    page.click("#stop")
    camera.wait(page, "Stopped")
    return page


def queued(camera: Camera) -> "Page":
    """Return a page that waits for the answer of another one."""
    camera.asked("Looking")
    return camera.asked("Waiting")


def failed(camera: Camera) -> "Page":
    """Return a page that was given something else than an image."""
    page = camera.open()
    drawing: FilePayload = {"name": "drawing.png", "mimeType": "image/png", "buffer": SVG}
    page.set_input_files("#upload input[type=file]", drawing)
    camera.wait(page, "did not work")
    page.wait_for_selector(".toast-body")
    return page


def unlike(camera: Camera) -> "Page":
    """Return a page that was given an image unlike those of the training."""
    page, noise = camera.open(), BytesIO()
    Image.effect_noise((400, 400), 90).save(noise, "PNG")
    file: FilePayload = {"name": "noise.png", "mimeType": "image/png", "buffer": noise.getvalue()}
    page.set_input_files("#upload input[type=file]", file)
    camera.wait(page, "Ready")
    page.click("#diagnose")
    camera.wait(page, "Done in")
    return page


def declined(camera: Camera) -> "Page":
    """Return a page where something was asked that the model does not know."""
    page = camera.asked("Done in")
    page.fill("#question textarea", "How old is this patient?")
    page.click("#diagnose")
    camera.wait(page, "Not answered")
    return page


def revealed(camera: Camera) -> "Page":
    """Return a page that shows what an example was drawn with."""
    page = camera.asked("Done in", (1280, 1000))
    page.check("#truth input")
    page.locator("#truth-text").get_by_text("A perfect report:").wait_for()
    page.evaluate(f"{VIEWER}.seek(Infinity)")
    return page


def compared(camera: Camera) -> "Page":
    """Return a page with two answers."""
    page = camera.asked("Done in", (1600, 1000))
    page.click("#compare button:has-text('Compare')")
    page.fill("#second input, #second textarea", "1.5")
    page.click("#diagnose")
    page.wait_for_function("document.querySelector('#answer-2 .gaze-answer')")
    camera.wait(page, "Done in")
    page.wait_for_timeout(4000)  # both paths are played
    return page


def steered(camera: Camera) -> "Page":
    """A page where the first fixation was dragged elsewhere."""
    page = camera.asked("Done in", (1280, 800))
    box = page.locator("#viewer .gaze-layer").bounding_box()
    assert box is not None
    x, y = page.evaluate(f"(({{x, y}}) => {VIEWER}.locate(x, y))({VIEWER}.value.paths[0].fixations[0])")
    turn = page.evaluate(f"{VIEWER}.value.steering.turn")
    page.mouse.move(box["x"] + x, box["y"] + y)
    page.mouse.down()
    page.mouse.move(box["x"] + x + 60, box["y"] + y + 90, steps=4)
    page.mouse.up()
    page.wait_for_function(f"turn => {VIEWER}.value.steering.turn !== turn", arg=turn)
    camera.wait(page, "Done in")
    page.mouse.move(2, 2)
    return page


def reports(camera: Camera) -> "Page":
    """A page where Evaluate was opened."""
    page = camera.open((1280, 800))
    page.get_by_role("tab", name="Evaluate").click()
    page.wait_for_selector("#evaluate-chart .main-svg")
    return page


def terms(camera: Camera, name: str = "Newcomer") -> "Page":
    """Return a page where Teach asks for consent; whoever agreed is not asked again."""
    page = camera.open((1280, 800))
    page.get_by_role("tab", name="Teach").click()
    page.fill(".teach-who input", name)
    page.click(".teach-who button")
    page.wait_for_selector("[data-act=agree]")
    return page


def teach_start(camera: Camera, name: str = "Reader at the start") -> "Page":
    """Return a page with the panel before the first image."""
    page = terms(camera, name)
    page.select_option(".teach-terms select", "none of these")
    page.click("[data-act=agree]")
    page.wait_for_selector("[data-act=next]")
    return page


def teach(camera: Camera, size: tuple[int, int] = (1280, 1060), mode: str = "clicks") -> "Page":
    """Return a page where an image was clicked through."""
    page = teach_start(camera, f"Reader {size[0]} by {size[1]}, {mode}")
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.locator(f".teach-start input[value='{mode}']").check()
    page.click("[data-act=next]:visible")
    page.wait_for_function(READY)
    page.locator(".gaze-teach .gaze-stage").scroll_into_view_if_needed()
    for place in CLICKED:
        page.mouse.click(*page.evaluate(PLACE, place))
        page.wait_for_timeout(200)
    return page


def teach_result(camera: Camera) -> "Page":
    """Return a page after a submission, where one points at a finding."""
    page = teach(camera, (1280, 800))
    page.keyboard.press("2")
    page.click("[data-act=submit]")
    row = page.locator(".teach-seen tr[data-shares]").last
    row.wait_for()
    row.hover()
    return page


def submit_readings(store: "AnnotationStore") -> None:
    """Submit what three simulated readers click on the first images of a store, and what is drawn there as findings."""
    from annotate.opening import FIRST_SEED, STARTER_PX
    from gazevlm_core.annotation import Annotation, Click, Client
    from gazevlm_core.findings import FINDING_NAMES
    from phantoms.make import make_phantom
    from phantoms.readers import READERS, clicking, simulate_reading

    for number, image in enumerate(reversed(store.images())):
        phantom = make_phantom(FIRST_SEED + number, size_px=STARTER_PX)
        seen = tuple(finding.name for finding in phantom.findings)
        for reader in READERS[:3]:
            begun, who = datetime.now(UTC), store.pseudonym(reader.name)
            clicks = [
                replace(one, onset_ms=800.0 * step, duration_ms=None)
                for step, one in enumerate(simulate_reading(phantom, clicking(reader), 0))
            ]
            path = Scanpath(tuple(clicks), "click")
            ended = begun + timedelta(milliseconds=800 * len(clicks))
            store.submit(Annotation(
                f"{reader.name} {number}", image.name, image.sha256, image.width_px, image.height_px, image.question,
                seen, "", path, who, begun, ended, Client(600, 600, 1.0, 1.8, "clicks"), 4,
                (Click(1.8, 127.5, 255.0, False, "mouse"),) * len(clicks), findings_asked=FINDING_NAMES,
            ))  # fmt: skip


def review(camera: Camera, height: int = 1180) -> "Page":
    """Return a page where an admin reviews the first submission."""
    page = camera.open((1280, height))
    page.click("#dashboard-tab-button[role=tab]")
    page.wait_for_selector(".dashboard-tile")
    page.fill("#dashboard-name input", "Ann")
    page.fill("#dashboard-token input", TOKEN)
    page.click("#dashboard-use")
    page.wait_for_function("document.querySelector('#dashboard-review-status').innerText.includes('Submission')")
    return page


def quality(camera: Camera) -> "Page":
    """Return a page where the annotators were compared."""
    page = review(camera)
    page.click("#dashboard-quality-button")
    page.click("#dashboard-compute")
    page.wait_for_selector("#dashboard-annotators table")
    page.wait_for_selector("#dashboard-chart .main-svg")
    return page


def administration(camera: Camera) -> "Page":
    """Return a page where an admin looks through the tasks."""
    page = review(camera)
    page.click("#dashboard-admins-button")
    page.click("#dashboard-images-button")
    page.wait_for_selector(".dashboard-cards img")
    return page


def train(camera: Camera) -> "Page":
    """Return a page where a training can be begun."""
    page = camera.open((1280, 800))
    page.click("#adapt-tab-button[role=tab]")
    page.fill("#adapt-name input", "Ann")
    page.fill("#adapt-token input", TOKEN)
    page.click("#adapt-use")
    page.click("#adapt-part-train-button[role=tab]")
    page.wait_for_function("document.querySelector('#adapt-counts')?.innerText.includes('scanpaths on')")
    return page


def trained(camera: Camera) -> "Page":
    """Return a page where Adapt has trained on the submissions."""
    page = train(camera)
    page.set_viewport_size({"width": 1280, "height": 1180})
    page.fill("#adapt-adapter input", "three-readers")
    page.click("#adapt-start")
    page.wait_for_function(
        "document.querySelector('#adapt-run-status')?.innerText.includes('three-readers: done')", timeout=TRAINING_MS
    )
    page.wait_for_function("document.querySelector('#adapt-figures')?.innerText.includes('sequence score')")
    return page


# Picture -> how the page gets there.
STATES: dict[str, Callable[[Camera], "Page"]] = {
    "opened": Camera.open,
    "looking": lambda camera: camera.asked("Looking"),
    "writing": lambda camera: camera.asked("Writing"),
    "queued": queued,
    "done": lambda camera: camera.asked("Done in"),
    "stopped": stopped,
    "failed": failed,
    "unlike": unlike,
    "declined": declined,
    "dark": lambda camera: camera.asked("Done in", DESK, "dark"),
    "phone": lambda camera: camera.asked("Done in", PHONE),
    "phone-dark": lambda camera: camera.asked("Done in", PHONE, "dark"),
    "steered": steered,
    "revealed": revealed,
    "compared": compared,
    "evaluate": reports,
    "teach-terms": terms,
    "teach-start": teach_start,
    "teach": teach,
    "teach-phone": lambda camera: teach(camera, (390, 844), "bubble"),
    "teach-result": teach_result,
    "annotations": review,
    "quality": quality,
    "administration": administration,
    "train": train,
    "adapt": trained,
}


def _draw_replay(engine: "GazeEngine", path: Path) -> None:
    """Write the example with the path of the model, as it is played."""
    from diagnose.service import EXAMPLES, draw_example
    from gazevlm_core.replay import ReplayFormat, draw_replay, save_replay

    drawn = draw_example(next(number for number, one in enumerate(EXAMPLES) if one.caption == EXAMPLE))
    found = engine.diagnose(drawn).scanpath
    assert found is not None
    save_replay(draw_replay(drawn, found), path, ReplayFormat.WEBP)


def main(
    out: Annotated[Path, typer.Option(help="Folder of the documentation.")] = Path("docs"),
    chromium: Annotated[str, typer.Option(envvar="CHROMIUM", help="Path of Chromium.")] = "/usr/bin/chromium",
    only: Annotated[list[str] | None, typer.Option(help=f"States to picture: {', '.join(STATES)}.")] = None,
) -> None:
    """Start the page, photograph it, stop; without `--only` every state, and the replay of the README."""
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

    states = out / "states"
    states.mkdir(parents=True, exist_ok=True)
    engines = {name: GazeEngine.load(name) for name in shipped_models()}
    if not only:
        _draw_replay(engines[NANO], out / "replay.webp")
    catalogue = Catalogue(engines)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        data = Path(folder) / "data"
        teaching = open_teaching(Settings(data=data, admin_token=SecretStr(TOKEN)))
        submit_readings(teaching.store)
        submissions = StoreTrainingData(teaching.store)
        jobs, adapt = open_adapting(data, data / "adapters", teaching.gate, submissions, engines)
        jobs.start()
        page = build_app(catalogue, teaching, adapt, gpu=slowed)
        _, address, _ = page.launch(prevent_thread_lock=True, quiet=True, **launch_options(page))
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        camera = Camera(browser, address, states)
        for state in only or STATES:
            camera.take(STATES[state](camera), state)
        browser.close()
        page.close(verbose=False)
        jobs.close()
        teaching.close()


if __name__ == "__main__":
    typer.run(main)
