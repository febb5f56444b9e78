"""The page that holds the tabs: its settings, its server, and what the handlers of tabs share.

    with_tabs = build_page([Tab("Diagnose", "diagnose", fill), ...])
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from html import escape
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr

from gazevlm_core.images import MAX_BYTES
from web import glossary
from web.blocks import Page
from web.error_log import brief, limit_server_logs
from web.guard import trust_proxies
from web.markup import INTRODUCTION, status
from web.server import FairQueue, GuardedApp, own_folder
from web.settings import Settings
from web.theme import GazeTheme
from web.uploads import EVERY_S, LIFE_S

SESSIONS = 256  # Gradio forgets no session before there are more; a quiet one is 50 KiB, a busy one a megabyte
LONGEST_SENTENCE = 1000  # of an error; what is longer repeats what somebody sent
STATE_S = 6 * 3600  # without a change, what a page remembers is forgotten
# Handlers of the page are no endpoints, and say themselves what they are doing.
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
FAILED = "That did not work; the message says why."
Values = dict[Any, Any]  # component -> its new value
Handler = TypeVar("Handler", bound=Callable[..., Any])
FIT_CHARTS = "() => { dispatchEvent(new Event('resize')); }"  # a chart drawn out of sight has a width of its own
Listen = Callable[..., Any]  # an event of a component, such as `button.click`
STYLE = f"<style>{Path(__file__).with_name('page.css').read_text(encoding='utf-8')}</style>"
SCRIPT = f"<script>{glossary.script()}{Path(__file__).with_name('page.js').read_text(encoding='utf-8')}</script>"


@dataclass(frozen=True)
class Tab:
    """One tab of the page.

    Args:
        connect: is given the event of being opened, after `fill`: the tab's `select`, or the page's `load` where the
            tab stands alone. What only visitors of the tab need is computed then.
    """

    title: str  # shown on its button
    name: str  # its id in the page; the button is "NAME-button"
    fill: Callable[[gr.Blocks], None]  # makes its components, inside the page that it is given
    connect: Callable[[Listen], None] | None = None
    head: str = ""  # styles and scripts for the page's head; Gradio rewrites `css`, and breaks commas and media queries


def build_page(tabs: Sequence[Tab]) -> Page:
    """Build the page with its tabs, the first one open; a single tab stands alone."""
    own_folder()
    cleaned_s = (int(EVERY_S), int(LIFE_S))
    with Page(title="GazeVLM", analytics_enabled=False, fill_width=True, delete_cache=cleaned_s) as page:
        gr.HTML(INTRODUCTION, elem_id="introduction")
        if len(tabs) == 1:
            tabs[0].fill(page)
            if tabs[0].connect is not None:
                tabs[0].connect(page.load)
        else:
            with gr.Tabs(elem_id="tabs"):
                for tab in tabs:
                    # all of them at once: first values of components that come later get lost
                    with gr.Tab(tab.title, id=tab.name, elem_id=tab.name, render_children=True) as opened:
                        tab.fill(page)
                    if tab.connect is not None:
                        tab.connect(opened.select)
    page.tab_heads = "".join(tab.head for tab in tabs)
    limit_server_logs()
    page.api_open = False  # what is queued for the page is queued for programs, too
    page._queue = FairQueue(page)  # Gradio's `queue` would make all routes once more
    return page


def launch_options(page: Page, settings: Settings | None = None) -> dict[str, Any]:
    """Return how a page of `build_page` is served: theme, head, guard and the largest upload.

    Args:
        page: of `build_page`.
        settings: those that the page's gate has, whose tokens give roles; None reads the environment.

    No folder of the server is opened to it, and browsers keep no history of what was asked.

    Raises:
        SettingsError: a setting of the environment that cannot be used.
    """
    settings = settings or Settings.from_environment(os.environ)
    trust_proxies(settings.trusted_proxies)
    return {
        "theme": GazeTheme(), "head": STYLE + SCRIPT + page.tab_heads, "max_file_size": MAX_BYTES,
        "ssr_mode": False, "run_history": False, "enable_monitoring": False, "state_session_capacity": SESSIONS,
        "_app": GuardedApp(settings),
    }  # fmt: skip


def remembered(first: Any = None) -> gr.State:  # noqa: ANN401 (any value)
    """Keep something of one visitor between events, for STATE_S: handles and small things, never an image.

    Args:
        first: value before anything is known, and again once it is forgotten.
    """
    return gr.State(first, time_to_live=STATE_S)


def page_error(error: ValueError) -> gr.Error:
    """Turn a bad input's error into the message that the user sees."""
    # The text is shown as HTML; no traceback, since nothing is wrong with the program.
    return gr.Error(escape(brief(error, LONGEST_SENTENCE)), duration=None, print_exception=False)


def show_errors(handler: Handler) -> Handler:
    """Show a handler's ValueError as one sentence; what was typed stays, since nothing is returned."""

    @wraps(handler)
    def showing(*values: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever Gradio gives and takes
        try:
            return handler(*values, **named)
        except ValueError as error:
            raise page_error(error) from error

    return showing  # type: ignore[return-value]


def run_busily(
    event: Listen, buttons: Sequence[gr.Button], line: gr.HTML, words: str, work: Callable[..., Any], inputs: Any,  # noqa: ANN401
    outputs: Sequence[Any], *, failed: str = FAILED, js: str | None = None, **limits: Any,
) -> None:  # fmt: skip
    """Show on an event what is being done, do it, and free the buttons whatever came of it.

    Args:
        event: such as `button.click`.
        buttons: that cannot be pressed meanwhile.
        line: of the status, which `work` may write.
        words: for the line while it goes on.
        work: a handler.
        inputs: of it.
        outputs: of it.
        failed: for the line where it raised.
        js: run in the browser when it begins.
        limits: as Gradio takes them, such as `concurrency_limit`.
    """

    def controls(message: str | None, *, busy: bool) -> Values:
        """Made in a handler, since a component made outside is shown."""
        status_line = {} if message is None else {line: status(message)}
        return {**status_line, **{button: gr.Button(interactive=not busy) for button in buttons}}

    both = [line, *buttons]
    begun = event(lambda: controls(words, busy=True), None, both, queue=False, js=js, **QUIET)
    done = begun.then(work, inputs, outputs, **limits, **QUIET)
    done.success(lambda: controls(None, busy=False), None, both, queue=False, **QUIET)
    done.failure(lambda: controls(failed, busy=False), None, both, queue=False, **QUIET)
