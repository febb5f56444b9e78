"""The Teach tab: clicking through images in the order one looks. No handler of it is a queue event."""

import gradio as gr

from annotate.canvas.ui import AnnotationCanvas
from annotate.service import AnnotationService
from frame.markup import note
from frame.ui import Tab

ABOUT = (
    "Teach: click through an image in the order you look. Every scanpath is kept, with the time of each click, and can "
    "be used like recorded gaze. Nothing here is for diagnosis or treatment."
)


def annotate_tab(service: AnnotationService) -> Tab:
    """The tab around a store, the loaded models, and a way to know who is annotating.

    Args:
        service: does everything.
    """

    def fill(page: gr.Blocks) -> None:
        gr.HTML(note(ABOUT), elem_id="teach-about")
        AnnotationCanvas(service, elem_id="teach-canvas")

    return Tab("Teach", "teach-tab", fill)
