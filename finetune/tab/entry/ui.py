"""The row on top of the tab where somebody says who they are."""

from collections.abc import Sequence
from html import escape

import gradio as gr

from finetune.tab.service import AdaptService
from frame.identity import LONGEST_NAME, Claim
from frame.ui import QUIET, Listen
from frame.welcome import Welcome

SET_NAME = "(name, token, ...rest) => { GazeName.name = name.trim(); return [name, token, ...rest]; }"
GET_NAME = "() => GazeName.name"
RANKS = ("admin", "reviewer", "annotator")
LOOK = " You may look here; to train, an admin is needed"


class Entry:
    """Name and token off a Space; on one, who is logged in. What a role may not use is hidden by the page's style
    alone: every method behind it checks the role again.

    Args:
        service: of the tab.
        page: that holds the tab.
    """

    def __init__(self, service: AdaptService, page: gr.Blocks) -> None:
        self.gate = service.gate
        with gr.Row(elem_id="adapt-entry", elem_classes="adapt-line", visible=self.gate.asks_name):
            self.name = gr.Textbox(
                label="Your name", info="The same as in the Teach tab.", max_length=LONGEST_NAME, max_lines=1,
                min_width=200, elem_id="adapt-name", html_attributes=gr.InputHTMLAttributes(autocomplete="nickname"),
            )  # fmt: skip
            self.token = gr.Textbox(
                label="Token of an admin", info="Not needed to look.", type="password", min_width=200, max_length=500,
                elem_id="adapt-token", html_attributes=gr.InputHTMLAttributes(autocomplete="off"),
            )  # fmt: skip
            self.use = gr.Button("Use these", variant="primary", min_width=130, scale=0, elem_id="adapt-use")
        self.who = gr.HTML(elem_id="adapt-who", padding=False)
        page.load(None, None, self.name, js=GET_NAME, **QUIET)  # in the browser alone

    def events(self) -> Sequence[Listen]:
        """What begins again as somebody else."""
        return (self.use.click, self.name.submit, self.token.submit)

    def claim(self, request: gr.Request, token: object) -> Claim:
        """What a request says of who made it; nothing of it is believed as it is."""
        return self.gate.claim(request, token if isinstance(token, str) else "")

    def shown(self, welcome: Welcome) -> str:
        """Who the server sees, as HTML; its class opens the parts of the page."""
        visitor = welcome.visitor
        how = ", whose token goes above." if self.gate.asks_name else "; ask whoever runs this Space."
        if visitor is None:
            return f'<p class="adapt-person" role="status">{escape(welcome.problem)}{LOOK}{how}</p>'
        rank = next(rank for rank in RANKS if rank in visitor.roles)
        article = "an" if rank[0] == "a" else "a"
        words = f"You are <b>{escape(visitor.name)}</b>, {article} {rank}; others see {escape(visitor.pseudonym)}."
        if rank != "admin":
            words += LOOK + how
        opens = " adapt-is-admin" if rank == "admin" else ""
        return f'<p class="adapt-person{opens}" role="status">{words}</p>'
