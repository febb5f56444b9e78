"""The viewer as a Gradio component: `ScanpathViewer()`, an output of any event, with `.click` and `.select`.

    viewer = ScanpathViewer(elem_id="viewer")
    viewer.select(lambda event: ..., None, None)  # event: gr.EventData with `path` and `step`
"""

import json
from dataclasses import asdict
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import FileData
from gradio.processing_utils import save_bytes_to_cache
from PIL import Image

from gazevlm_core.path_style import STYLE
from web.viewer.payload import ViewerGrid, ViewerPath, ViewerPayload

STATIC = Path(__file__).with_name("static")
SCRIPTS = (
    "view", "timeline", "window", "picture", "marks", "heat", "gestures", "keys", "controls", "card", "strip", "links",
    "together", "steer", "viewer",
)  # fmt: skip
# Plain JavaScript; Gradio finds the names of the events in it by their quotes.
MOUNT = """GazeViewer.mount(element, props, (name, data) => trigger(
  name === "click" ? "click" : name === "input" ? "input" : "select", data), watch);"""


@cache
def page_head() -> str:
    """Return scripts and styles of the viewer, for `<head>`; Gradio adds them once however many viewers there are."""
    scripts = "".join(STATIC.joinpath(f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    styles = STATIC.joinpath("viewer.css").read_text(encoding="utf-8")
    # Among the scripts: a component's own properties are not there yet where its first value comes before it is shown.
    style = {name: value for name, value in asdict(STYLE).items() if name != "overlay"}
    return f"<style>{styles}</style><script>{scripts}GazeViewer.style = {json.dumps(style)};</script>"


class ScanpathViewer(gr.HTML):
    """An image with scanpaths over it. Its value is a `ViewerPayload`.

    Events: `click` with the place on the image (`x`, `y`, `x_px`, `y_px`, `inside`), the browser's `time_ms`
    (`performance.now()`), `since_shown_ms`, `zoom`, `window` and `pointer`; `select` with `path` and `step`; `input`
    with a changed path, which `changed_path` reads. All come from a browser and are not checked here.
    """

    data_model = ViewerPayload

    def __init__(self, value: ViewerPayload | None = None, **kwargs: Any) -> None:
        super().__init__(
            value=value,
            html_template='<div class="gaze-viewer"></div>',
            js_on_load=MOUNT,
            head=page_head(),
            apply_default_css=False,
            **kwargs,
        )

    def api_info(self) -> dict[str, Any]:
        """Return JSON schema of the value."""
        return json.loads(ViewerPayload.schema_text())

    def example_payload(self) -> dict[str, Any]:
        """Return an empty viewer."""
        return ViewerPayload().model_dump()

    def example_value(self) -> ViewerPayload:
        """Return an empty viewer."""
        return ViewerPayload()

    def show(
        self,
        image: Image.Image,
        paths: list[ViewerPath] | None = None,
        *,
        grid: ViewerGrid | None = None,
        description: str = "",
        autoplay: bool = False,
        in_step: bool = False,
        linked: str = "",
    ) -> ViewerPayload:
        """Return a value that shows an image, which is stored in the page's cache without loss.

        Args:
            image: upright; any size.
            paths: scanpaths over it.
            grid: merged patch grid, for heat maps.
            description: what the image is, for screen readers.
            autoplay: replay the paths at once, unless the reader's system asks for less motion.
            in_step: begin with the k-th fixations of all paths together, whatever their times.
            linked: viewers with the same word here keep step with each other; "" is alone.
        """
        encoded, plain = BytesIO(), _plain(image)
        plain.save(encoded, "PNG", compress_level=1)  # as quick as it gets without loss
        path = save_bytes_to_cache(encoded.getvalue(), "image.png", self.GRADIO_CACHE)
        return ViewerPayload(
            image=FileData(path=path, mime_type="image/png"),
            width_px=image.width,
            height_px=image.height,
            description=description,
            grid=grid,
            paths=paths or [],
            autoplay=autoplay,
            in_step=in_step,
            colored=plain.mode == "RGB",
            linked=linked,
        )


def _plain(image: Image.Image) -> Image.Image:
    """Return grey where all channels are equal, which makes a radiograph's file a third of the size."""
    if image.mode != "RGB":
        return image
    red, green, blue = image.split()
    same = red.tobytes() == green.tobytes() == blue.tobytes()
    return red if same else image
