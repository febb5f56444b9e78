"""A page with two viewers and nothing else, to test the viewer alone: `python -m tests.viewer.viewer_page PORT`."""

import json
import sys

import gradio as gr
import numpy as np
from PIL import Image, ImageDraw

from gazevlm_core.geometry import PatchGrid
from gazevlm_core.records import Glimpse
from gazevlm_core.scanpath import Fixation, Scanpath
from web.viewer.component import ScanpathViewer
from web.viewer.payload import ViewerGrid, ViewerPath, ViewerPayload, ViewerSteering, changed_path, viewer_path

WIDTH_PX, HEIGHT_PX, HALF_SQUARE_PX = 900, 700, 20
# Centres of pixels, so that a square around one is symmetrical.
PLACES_PX = ((120.5, 100.5), (700.5, 180.5), (450.5, 350.5), (200.5, 600.5), (780.5, 560.5))
SQUARE = (255, 0, 0)
LARGE_PX = 4000
GRID = PatchGrid(7, 9)
GLIMPSED, PATCHES = (0, 2, 4), 1.5  # steps that are seen closely, and how wide, in patches of GRID
# Parts with their share of each glimpse: the first leans on the first glimpse, the second on the other two.
PARTS = (
    '<div data-links="viewer"><span data-shares="0.6 0.1 0.1" data-finding="edema" tabindex="0">edema</span> '
    '<span data-shares="0.0 0.3 0.2" tabindex="0">Words.</span></div>'
)


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


def noise() -> Image.Image:
    """No two pixels alike beside each other, so that a crop that is off by one is another."""
    return Image.fromarray(np.random.default_rng(7).integers(0, 256, (HEIGHT_PX, WIDTH_PX), np.uint8))


def seen(path: ViewerPath) -> ViewerPath:
    """A path with glimpses at GLIMPSED."""
    fixations = scanpath().fixations
    glimpses = [Glimpse(step, GRID.window_at(fixations[step].x, fixations[step].y, PATCHES)) for step in GLIMPSED]
    whole = viewer_path(scanpath(), "Model", "model", grid=GRID, glimpses=glimpses)
    return path.model_copy(update={"glimpses": whole.glimpses})


def value(viewer: ScanpathViewer, what: str) -> ViewerPayload | None:
    """One of the values that the tests ask for by name."""
    grid, heat = GRID, np.full((5, 63), 1 / 63)
    shown = ViewerGrid(rows=grid.rows, cols=grid.cols)
    first = viewer_path(
        scanpath(), "Model", "model", grid=grid, probabilities=[0.5] * 5, patch_probabilities=heat
    )
    reader = viewer_path(scanpath(shift=2), "<b>Reader</b>", "reader", grid=grid)
    order_only = viewer_path(scanpath(timed=False, shift=1), "Second", "second model", grid=grid)
    if what == "large":
        grain = np.random.default_rng(0).integers(0, 256, (LARGE_PX // 8, LARGE_PX // 8), np.uint8)
        return viewer.show(Image.fromarray(grain).resize((LARGE_PX, LARGE_PX)), [first], grid=shown)
    if what.startswith("seen"):  # with the turn that it answers, such as "seen 2"
        turn = int(what.removeprefix("seen") or 0)
        return viewer.show(noise(), [seen(first)], grid=shown).model_copy(
            update={"steering": ViewerSteering(most_steps=7, turn=turn)}
        )
    if what == "blind":
        blind = ViewerSteering(why="It cannot.")
        return viewer.show(noise(), [first], grid=shown).model_copy(update={"steering": blind})
    paths = {"one": [first], "two": [first, reader], "three": [first, reader, order_only], "play": [first]}
    paths["step"] = paths["two"]
    if what not in paths:
        return None
    return viewer.show(squares(), paths[what], grid=shown, description="Five squares", autoplay=what == "play",
                       in_step=what == "step")


def along(viewer: ScanpathViewer, change: object) -> ViewerPayload:
    """What answers a changed path: the path itself, without glimpses."""
    turn, fixations = changed_path(change)
    own = value(viewer, f"seen {turn}")
    assert own is not None
    if fixations is None:
        return own
    return own.model_copy(update={"paths": [viewer_path(Scanpath(fixations, "model"), "Model", "model", grid=GRID)]})


def build() -> gr.Blocks:
    """The page: a text box that chooses the value, the viewer, and a text box that shows its last event."""
    with gr.Blocks(analytics_enabled=False) as page:
        what = gr.Textbox(elem_id="what")
        viewer = ScanpathViewer(elem_id="viewer")
        ScanpathViewer(elem_id="other")
        gr.HTML(PARTS)
        heard = gr.Textbox(elem_id="heard")
        what.submit(lambda name: value(viewer, name), what, viewer, show_progress="hidden")

        def hear(event: gr.EventData) -> str:
            return json.dumps(event._data)

        viewer.click(hear, None, heard, show_progress="hidden")
        viewer.select(hear, None, heard, show_progress="hidden")
        changes = gr.Textbox(elem_id="changes")

        def answer(event: gr.EventData) -> tuple[str, ViewerPayload]:
            return json.dumps(event._data), along(viewer, event._data)

        viewer.input(answer, None, [changes, viewer], show_progress="hidden", trigger_mode="multiple")
    return page


if __name__ == "__main__":
    build().launch(server_name="127.0.0.1", server_port=int(sys.argv[1]), quiet=True, ssr_mode=False)
