"""How long the viewer takes for a frame while an image of some size is panned and zoomed, in Chromium."""

import shutil
from collections.abc import Sequence
from typing import Any

FRAMES = 60
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
# Median milliseconds from one animation frame to the next, while every frame is drawn anew.
MEASURE = """async frames => {
  const { viewer } = document.querySelector('#viewer .gaze-viewer');
  const tick = () => new Promise(done => requestAnimationFrame(done));
  const times = [];
  let last = await tick();
  for (let frame = 0; frame < frames; frame += 1) {
    viewer.zoom(frame < frames / 2 ? 1.05 : 1 / 1.05, 300, 300);
    viewer.pan(frame % 2 ? 0.1 : -0.1, 0);
    const now = await tick();
    times.push(now - last);
    last = now;
  }
  return times.sort((one, other) => one - other)[frames >> 1];
}"""


def find_chromium() -> str | None:
    """Path of a Chromium on this machine."""
    return next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


def frame_times(chromium: str, sides_px: Sequence[int]) -> dict[int, float]:
    """Median milliseconds of a frame by the side of a square image with a path on it."""
    import gradio as gr
    from PIL import Image
    from playwright.sync_api import sync_playwright

    from phantoms.make import make_phantom
    from phantoms.readers import READERS, simulate_reading
    from web.viewer.component import ScanpathViewer
    from web.viewer.payload import viewer_path

    phantom = make_phantom(0, size_px=min(sides_px))
    path = viewer_path(simulate_reading(phantom, READERS[0], 0), "Reader", "reader")
    image = Image.fromarray(phantom.image)

    def app(side_px: int) -> gr.Blocks:
        with gr.Blocks(analytics_enabled=False) as page:
            viewer = ScanpathViewer(elem_id="viewer")
            page.load(lambda: viewer.show(image.resize((side_px, side_px)), [path]), None, viewer)
        return page

    def measure(browser: Any, side_px: int) -> float:  # noqa: ANN401 (Playwright is imported late)
        page = app(side_px)
        _, address, _ = page.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", ssr_mode=False)
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.goto(address)
        shown = "document.querySelector('#viewer .gaze-viewer')?.viewer.value.paths.length === 1"
        tab.wait_for_function(shown, timeout=60_000)
        frame_ms = float(tab.evaluate(MEASURE, FRAMES))
        tab.close()
        page.close(verbose=False)
        return frame_ms

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        times = {side_px: measure(browser, side_px) for side_px in sides_px}
        browser.close()
    return times
