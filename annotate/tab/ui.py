"""The Teach tab: clicking through images in the order one looks. No handler of it is a queue event."""

import gradio as gr

from annotate.canvas.ui import AnnotationCanvas
from annotate.service import AnnotationService
from web.markup import notice
from web.page import Tab


def annotate_tab(service: AnnotationService) -> Tab:
    """The tab around a store, the loaded models, and a way to know who is annotating.

    Args:
        service: does everything.
    """

    def fill(page: gr.Blocks) -> None:
        usual = next(iter(service.models.choices().values()))
        seen = notice(usual.gaze.trained_on)
        gr.HTML(seen, elem_id="teach-notice", elem_classes="gaze-notice-line")
        if not service.gate.asks_name:
            gr.LoginButton(elem_id="teach-login")
        AnnotationCanvas(service, elem_id="teach-canvas")

    return Tab("Teach", "teach-tab", fill)
