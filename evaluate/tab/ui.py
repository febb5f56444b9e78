"""The Evaluate tab: paths on one image, and reports. No handler of it is an endpoint."""

from pathlib import Path

import gradio as gr

from evaluate.overlay.ui import OverlayView, notice_of
from evaluate.reports.ui import ReportView
from web.models import Ask, Models
from web.page import QUIET, Tab

HEAD = f"<style>{Path(__file__).with_name('evaluate.css').read_text(encoding='utf-8')}</style>"


def evaluate_tab(models: Models, ask: Ask) -> Tab:
    """The tab around the loaded models.

    Args:
        models: what can look.
        ask: looks, one image at a time.
    """

    def fill(page: gr.Blocks) -> None:
        line = gr.HTML(notice_of(models, ""), elem_id="evaluate-notice", elem_classes="gaze-notice-line")
        with gr.Tabs(elem_id="evaluate-parts"):
            with gr.Tab("Paths on one image", elem_id="evaluate-paths", render_children=True):
                overlay = OverlayView(models, ask, line)
            with gr.Tab("A report", elem_id="evaluate-reports", render_children=True):
                reports = ReportView()
        page.load(overlay.refreshed, None, [overlay.model, line], **QUIET)
        page.load(reports.refreshed, None, reports.shipped, **QUIET)

    return Tab("Evaluate", "evaluate-tab", fill, head=HEAD)
