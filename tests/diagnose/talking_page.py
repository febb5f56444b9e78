"""`app.py`, whose model takes its time over a question with "slowly" in it: such an answer is stopped on its way."""

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from app import main
from gazevlm_core.inference import GazeEngine

WORD_S = 0.03

true_stream = GazeEngine.stream


def stream(engine: GazeEngine, image: Any, question: str, options: Any) -> Iterator[Any]:
    """As the engine's own."""
    with closing(true_stream(engine, image, question, options)) as steps:
        for step in steps:
            yield step
            time.sleep(WORD_S if "slowly" in question else 0)


if __name__ == "__main__":
    GazeEngine.stream = stream
    main()
