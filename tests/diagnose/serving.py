"""The Diagnose tab alone on a page, served from this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gazevlm_core.inference import GazeEngine


@contextmanager
def serving_engine(name: str, engine: "GazeEngine", **options: Any) -> Iterator[str]:
    """Serve a page that asks one model; yields its address. Options are those of Gradio's `launch`."""
    from diagnose.catalogue import Catalogue
    from diagnose.tab.page import diagnose_tab
    from web.page import build_page, launch_options

    catalogue = Catalogue({name: engine})
    page = build_page([diagnose_tab(catalogue, catalogue.ask)])
    _, url, _ = page.launch(
        prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", **launch_options(page), **options
    )
    yield url
    page.close(verbose=False)
