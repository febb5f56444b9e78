"""Diagnose as `app.py` has it, beside a tab that is empty, since a page with all of them takes longer to open.

Its model takes its time over a question with "slowly" in it: such an answer is stopped on its way. Others have
MOST_TOKENS, a variable, at most: a random model never ends by itself.
"""

import os
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import gradio as gr

from app import open_models
from diagnose.catalogue import Catalogue
from diagnose.tab.page import diagnose_tab
from gazevlm_core.inference import GazeEngine
from gazevlm_core.quiet import quiet_libraries
from web.page import Tab, build_page, launch_options
from web.settings import Settings

WORD_S = 0.03
MOST_TOKENS = int(os.environ.get("MOST_TOKENS", "128"))

true_stream = GazeEngine.stream


def stream(engine: GazeEngine, image: Any, question: str, options: Any) -> Iterator[Any]:
    """As the engine's own."""
    slowly = "slowly" in question
    given = options if slowly else replace(options, max_new_tokens=MOST_TOKENS)
    with closing(true_stream(engine, image, question, given)) as steps:
        for step in steps:
            yield step
            time.sleep(WORD_S if slowly else 0)


def nothing(_: gr.Blocks) -> None:
    """Fill the other tab."""
    gr.HTML("Nothing is here.")


def main() -> None:
    """Serve the models of the settings until the process ends."""
    quiet_libraries()
    settings = Settings.from_environment(os.environ)
    catalogue = Catalogue(open_models(settings), adapters=settings.adapters)
    page = build_page([diagnose_tab(catalogue, catalogue.ask), Tab("Other", "other", nothing)])
    page.launch(**launch_options(page, settings))


if __name__ == "__main__":
    GazeEngine.stream = stream
    main()
