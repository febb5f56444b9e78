"""A page with two viewers and nothing else, to test the viewer alone: `python -m tests.viewer.viewer_page PORT`."""

import json
import sys

import gradio as gr
import numpy as np
from PIL import Image, ImageDraw

from gazevlm_core.geometry import PatchGrid
from gazevlm_core.scanpath import Fixation, Scanpath
from web.viewer.component import ScanpathViewer
from web.viewer.payload import ViewerGrid, ViewerPayload, viewer_path

WIDTH_PX, HEIGHT_PX, HALF_SQUARE_PX = 900, 700, 20
# Centres of pixels, so that a square around one is symmetrical.
PLACES_PX = ((120.5, 100.5), (700.5, 180.5), (450.5, 350.5), (200.5, 600.5), (780.5, 560.5))
SQUARE = (255, 0, 0)
LARGE_PX = 4000


def scanpath(*, timed: bool = True, shift: int = 0) -> Scanpath:
    """Fixations at PLACES_PX, in that order or begun later by `shift`."""
    places = PLACES_PX[shift:] + PLACES_PX[:shift]
    durations = (200.0, 500.0, 300.0, 250.0, 400.0) if timed else (None,) * 5
    return Scanpath(
        tuple(Fixation(x / WIDTH_PX, y / HEIGHT_PX, ms) for (x, y), ms in zip(places, durations, strict=True)), "model"
    )


def squares() -> Image.Image:
    """Black, with a red square around each of PLACES_PX."""
    image = Image.new("RGB", (WIDTH_PX, HEIGHT_PX))
    draw = ImageDraw.Draw(image)
    for x, y in PLACES_PX:
        left, top = int(x) - HALF_SQUARE_PX, int(y) - HALF_SQUARE_PX
        draw.rectangle((left, top, left + 2 * HALF_SQUARE_PX, top + 2 * HALF_SQUARE_PX), fill=SQUARE)
    return image


def value(viewer: ScanpathViewer, what: str) -> ViewerPayload | None:
    """One of the values that the tests ask for by name."""
    grid, heat = PatchGrid(7, 9), np.full((5, 63), 1 / 63)
    shown = ViewerGrid(rows=grid.rows, cols=grid.cols)
    first = viewer_path(
        scanpath(), "Model", "model", grid=grid, probabilities=[0.5] * 5, patch_probabilities=heat
    )
    reader = viewer_path(scanpath(shift=2), "<b>Reader</b>", "reader", grid=grid)
    order_only = viewer_path(scanpath(timed=False, shift=1), "Second", "second model", grid=grid)
    if what == "large":
        noise = np.random.default_rng(0).integers(0, 256, (LARGE_PX // 8, LARGE_PX // 8), np.uint8)
        return viewer.show(Image.fromarray(noise).resize((LARGE_PX, LARGE_PX)), [first], grid=shown)
    paths = {"one": [first], "two": [first, reader], "three": [first, reader, order_only], "play": [first]}
    paths["step"] = paths["two"]
    if what not in paths:
        return None
    return viewer.show(squares(), paths[what], grid=shown, description="Five squares", autoplay=what == "play",
                       in_step=what == "step")


def build() -> gr.Blocks:
    """The page: a text box that chooses the value, the viewer, and a text box that shows its last event."""
    with gr.Blocks(analytics_enabled=False) as page:
        what = gr.Textbox(elem_id="what")
        viewer = ScanpathViewer(elem_id="viewer")
        ScanpathViewer(elem_id="other")
        heard = gr.Textbox(elem_id="heard")
        what.submit(lambda name: value(viewer, name), what, viewer, show_progress="hidden")

        def hear(event: gr.EventData) -> str:
            return json.dumps(event._data)

        viewer.click(hear, None, heard, show_progress="hidden")
        viewer.select(hear, None, heard, show_progress="hidden")
    return page


if __name__ == "__main__":
    build().launch(server_name="127.0.0.1", server_port=int(sys.argv[1]), quiet=True, ssr_mode=False)
