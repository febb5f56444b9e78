"""The row on top of a tab where somebody says who they are; the Teach tab asks in its own canvas."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from web.identity import LONGEST_NAME, Claim, Gate, Role, Welcome
from web.page import QUIET, Listen, show_errors

if TYPE_CHECKING:
    from gradio.events import Dependency

# The name goes with every request as a cookie: the same one, kept in the same place, as in the Teach tab.
SET_NAME = (
    "(name, token, ...rest) => { GazeName.name = name.trim(); GazeName.tried = token; return [name, token, ...rest]; }"
)
GET_NAME, GET_TRIED = "() => GazeName.name", "() => GazeName.tried"
# A token that was taken is handed over for a cookie that lasts for hours, and that no script reads.
KEEP_ROLE = "() => { if (GazeName.tried) GazeName.keepRole(GazeName.tried); }"
SIGN_OUT = "() => { GazeName.keepRole('').then(() => location.reload()); }"
RANKS: tuple[Role, ...] = ("admin", "reviewer", "annotator")


@dataclass(frozen=True)
class EntryWords:
    """What the row says."""

    token: str  # label of the token
    info: str  # below it
    full: Role  # role of whoever needs no more of them
    nobody: str  # after what is said to those who are not named
    less: str  # after what is said to those who have not the full role


class Entry:
    """Name and token off a Space; on one, a log-in. What a role may not use is hidden by the page's style alone: every
    method behind it checks the role again.

    Handlers take `token`, which is what was entered last and not refused. What stands in the box may be half typed, or
    wrong: asked by a timer, it would soon be too many wrong tokens.

    Args:
        gate: who is who.
        prefix: of the ids and classes of the tab.
        words: what it says.
        page: that holds the tab.
    """

    def __init__(self, gate: Gate, prefix: str, words: EntryWords, page: gr.Blocks) -> None:
        self.gate, self._prefix, self._words = gate, prefix, words
        if not gate.asks_name:
            gr.LoginButton(elem_id=f"{prefix}-login")
        with gr.Row(elem_id=f"{prefix}-entry", elem_classes=f"{prefix}-line", visible=gate.asks_name):
            self.name = gr.Textbox(
                label="Your name", info="The same as in the Teach tab.", max_length=LONGEST_NAME, max_lines=1,
                min_width=200, elem_id=f"{prefix}-name",
                html_attributes=gr.InputHTMLAttributes(autocomplete="nickname"),
            )  # fmt: skip
            self.typed = gr.Textbox(
                label=words.token, info=words.info, type="password", min_width=200, max_length=500,
                elem_id=f"{prefix}-token", html_attributes=gr.InputHTMLAttributes(autocomplete="off"),
            )  # fmt: skip
            self.leave = gr.Button(
                "Sign out", min_width=90, scale=0, elem_id=f"{prefix}-leave", elem_classes="gaze-leave"
            )
            self.use = gr.Button("Use these", variant="primary", min_width=130, scale=0, elem_id=f"{prefix}-use")
        # In the browser, as the box is, and put there by it: the server keeps nobody's token, and gives none out.
        self.token = gr.Textbox(visible=False)
        self.who = gr.HTML(elem_id=f"{prefix}-who", padding=False)
        page.load(None, None, self.name, js=GET_NAME, **QUIET)  # in the browser alone
        self.leave.click(None, None, None, js=SIGN_OUT, **QUIET)

    def begin_with(self, handler: Callable[..., Any], rest: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Begin again as somebody else whenever that is asked for.

        Args:
            handler: takes name, typed token and the rest; never returns the token.
            rest: further inputs.
            outputs: of the handler.
        """
        for event in (self.use.click, self.name.submit, self.typed.submit):
            begun = event(handler, [self.name, self.typed, *rest], list(outputs), js=SET_NAME, **QUIET)
            begun.success(None, None, self.token, js=GET_TRIED, **QUIET)
            begun.success(None, None, None, js=KEEP_ROLE, **QUIET)

    def handler(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return a handler of (token, *values) that calls `work(claim, *values)` and shows its ValueError as one
        sentence."""

        def handle(request: gr.Request, token: str, *values: Any) -> Any:  # noqa: ANN401 - whatever Gradio gives and takes
            return work(self.claim(request, token), *values)

        return show_errors(handle)

    def on(
        self, events: Listen | Sequence[Listen], work: Callable[..., Any], inputs: Sequence[Any], outputs: Any,  # noqa: ANN401
        js: str | None = None,
    ) -> "Dependency":  # fmt: skip
        """Call `work(claim, *values of inputs)` whenever something happens.

        Args:
            events: such as `button.click`, one or several.
            work: returns values of the outputs; its ValueError is shown as one sentence.
            inputs: components, without the token.
            outputs: a component or several.
            js: run in the browser before; takes token and inputs, and returns them as they are to be.
        """
        together = [events] if callable(events) else list(events)
        return gr.on(together, self.handler(work), [self.token, *inputs], outputs, js=js, **QUIET)

    def claim(self, request: gr.Request, token: object) -> Claim:
        """Return what a request says of who made it; nothing of it is believed as it is."""
        return self.gate.claim(request, token if isinstance(token, str) else "")

    def shown(self, welcome: Welcome) -> str:
        """Return who the server sees, as HTML; its classes open the parts of the page."""
        visitor = welcome.visitor
        if visitor is None:
            return f'<p class="{self._prefix}-person" role="status">{escape(welcome.problem + self._words.nobody)}</p>'
        rank = next(rank for rank in RANKS if rank in visitor.roles)
        article = "an" if rank[0] == "a" else "a"
        words = f"You are <b>{escape(visitor.name)}</b>, {article} {rank}; others see {escape(visitor.pseudonym)}."
        if self._words.full not in visitor.roles:
            words += escape(self._words.less)
        classes = " ".join([f"{self._prefix}-person", *(f"{self._prefix}-is-{role}" for role in sorted(visitor.roles))])
        return f'<p class="{classes}" role="status">{words}</p>'
