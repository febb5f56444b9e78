"""The Diagnose tab alone on a page, served from this process."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gazevlm_core.inference import GazeEngine

MOST_TOKENS = 24  # of an answer: a random model never ends by itself


@contextmanager
def serving_engine(name: str, engine: "GazeEngine", **options: Any) -> Iterator[str]:
    """Serve a page that asks one model for brief answers; yields its address.

    Args:
        name: of the model.
        engine: it.
        options: of Gradio's `launch`.
    """
    from diagnose.catalogue import Catalogue
    from diagnose.tab.page import diagnose_tab
    from web.page import build_page, launch_options

    def ask(model: str, image: Any, question: str, asked: Any) -> Generator[Any, None, None]:
        return catalogue.ask(model, image, question, replace(asked, max_new_tokens=MOST_TOKENS))

    catalogue = Catalogue({name: engine})
    page = build_page([diagnose_tab(catalogue, ask)])
    _, url, _ = page.launch(
        prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", **launch_options(page), **options
    )
    yield url
    page.close(verbose=False)
