"""A small page of ours, served as the real one is; no model, so that it is up at once."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Served:
    """The page while it is up.

    Args:
        url: ends with a slash.
        page: Gradio's.
        go: the handler "/slow" waits for it.
    """

    url: str
    page: Any
    go: threading.Event = field(default_factory=threading.Event)

    def number(self, name: str) -> int:
        """Of the handler with this name."""
        return next(number for number, handler in self.page.fns.items() if handler.api_name == name)


@contextmanager
def serving_small() -> Iterator[Served]:
    """Handlers /slow (the model's queue), /small (queued), /quick (not queued), /file (its path), /address (whose)."""
    import gradio as gr

    from web.blocks import MODEL_QUEUE
    from web.guard import client_address
    from web.page import Tab, build_page, launch_options

    served = Served("", None)

    def slow(text: str) -> str:
        served.go.wait(30)
        return text

    def address(request: gr.Request) -> str:
        return client_address(request)

    def fill(page: gr.Blocks) -> None:
        text, file, button, out = gr.Textbox(), gr.File(), gr.Button(), gr.Textbox()
        gr.State()
        button.click(slow, text, out, api_name="slow", concurrency_id=MODEL_QUEUE, concurrency_limit=1)
        button.click(lambda text: text, text, out, api_name="small")
        button.click(lambda text: text, text, out, api_name="quick", queue=False)
        button.click(str, file, out, api_name="file")
        button.click(address, None, out, api_name="address", queue=False)

    served.page = build_page([Tab("One", "one", fill)])
    _, served.url, _ = served.page.launch(
        prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", **launch_options(served.page)
    )
    yield served
    served.go.set()
    served.page.close(verbose=False)
