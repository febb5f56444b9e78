"""Keep the terminal clean: no notes of libraries, and no traceback when somebody presses Ctrl-C during imports."""

import logging
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130  # what a shell gives for SIGINT


def quiet_libraries() -> None:
    """Call before the first model is loaded; bitsandbytes already talks while it is imported.

    Silences transformers' warnings and weight-loading bars, bitsandbytes' notes (casts in 8 bit, missing kernels), the
    Hub's notes on retries, and what these libraries say to each other about deprecated names.
    Downloads keep their bar on a terminal.
    """
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|peft|bitsandbytes)\b")
    from huggingface_hub.utils import enable_progress_bars
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging as transformers_logging

    hub_logging.set_verbosity_error()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()  # the Hub's bars, too
    if sys.stderr.isatty():
        enable_progress_bars()


@contextmanager
def quick_to_interrupt() -> Iterator[None]:
    """Let Ctrl-C end the process at once while modules are imported, when there is nothing to keep or to put away.

    A KeyboardInterrupt in the middle of an import ends in a traceback, or is swallowed by a library that takes the
    import for optional.
    """

    def end(_number: int, _frame: FrameType | None) -> None:
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, b"\ngazevlm: interrupted\n")
        os._exit(INTERRUPTED)

    before = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
