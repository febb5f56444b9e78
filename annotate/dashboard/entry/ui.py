"""The row on top of the tab where somebody says who they are."""

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from annotate.dashboard.service import DashboardService
from frame.identity import LONGEST_NAME, Claim
from frame.ui import QUIET, Values
from frame.welcome import Welcome

# The name goes with every request as a cookie: the same one, kept in the same place, as in the Teach tab.
SET_NAME = "(name, token) => { GazeName.name = name.trim(); return [name, token]; }"
GET_NAME = "() => GazeName.name"
WITH_TOKEN = " With the token of a reviewer or admin you can do more here."
ASK = " To review, ask whoever runs this Space to add your name to its reviewers."
RANKS = ("admin", "reviewer", "annotator")


class Entry:
    """Name and token off a Space; on one, who is logged in. What a role may see is shown by the page's style alone:
    every method behind it checks the role again.

    Args:
        service: of the tab.
    """

    def __init__(self, service: DashboardService) -> None:
        self.service = service
        asks = service.gate.asks_name
        with gr.Row(elem_id="dashboard-entry", elem_classes="dashboard-line", visible=asks):
            self.name = gr.Textbox(
                label="Your name", info="The same as in the Teach tab.", max_length=LONGEST_NAME, max_lines=1,
                min_width=200,
                elem_id="dashboard-name", html_attributes=gr.InputHTMLAttributes(autocomplete="nickname"),
            )  # fmt: skip
            self.token = gr.Textbox(
                label="Token of a reviewer or admin", info="Not needed to look at the counts.", type="password",
                min_width=200, max_length=500, elem_id="dashboard-token",
                html_attributes=gr.InputHTMLAttributes(autocomplete="off"),
            )  # fmt: skip
            self.use = gr.Button("Use these", variant="primary", min_width=130, scale=0, elem_id="dashboard-use")
        self.who = gr.HTML(elem_id="dashboard-who", padding=False)

    def connect(self, page: gr.Blocks, work: Callable[..., Values], outputs: list[Any]) -> None:
        """Begin with the name that the browser keeps; begin again when another name or token is used.

        Args:
            page: that holds the tab.
            work: handler of (name, token, request).
            outputs: of it.
        """
        inputs = [self.name, self.token]
        page.load(None, None, self.name, js=GET_NAME, **QUIET)
        page.load(work, inputs, outputs, queue=False, **QUIET)  # a crowd that opens the page must not fill the queue
        for event in (self.use.click, self.name.submit, self.token.submit):
            event(work, inputs, outputs, js=SET_NAME, **QUIET)

    def claim(self, request: gr.Request, token: str) -> Claim:
        """What a request says of who made it; nothing of it is believed as it is."""
        return self.service.gate.claim(request, token if isinstance(token, str) else "")

    def shown(self, welcome: Welcome) -> str:
        """Who the server sees, as HTML; its class opens the parts of the page."""
        visitor = welcome.visitor
        if visitor is None:
            words = f"{escape(welcome.problem)} What everybody may see is below."
            return f'<p class="dashboard-person" role="status">{words}</p>'
        rank = next(rank for rank in RANKS if rank in visitor.roles)
        classes = " ".join(f"dashboard-is-{role}" for role in sorted(visitor.roles))
        article = "an" if rank[0] == "a" else "a"
        words = f"You are <b>{escape(visitor.name)}</b>, {article} {rank}; others see {escape(visitor.pseudonym)}."
        if rank == "annotator":
            words += WITH_TOKEN if self.service.gate.asks_name else ASK
        return f'<p class="dashboard-person {classes}" role="status">{words}</p>'


def head() -> str:
    """Styles of the tab, for `<head>`."""
    return f"<style>{Path(__file__).parents[1].joinpath('dashboard.css').read_text(encoding='utf-8')}</style>"
