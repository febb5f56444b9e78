"""Keep the libraries' notes off the terminal: only errors, and progress only where there is a terminal to show it."""

import logging
import sys


def quiet_libraries() -> None:
    """Call before the first model is loaded; bitsandbytes already talks while it is imported.

    Silences transformers' warnings and weight-loading bars, bitsandbytes' notes (casts in 8 bit, missing kernels) and
    the Hub's notes on retries. Downloads keep their bar on a terminal.
    """
    for library in ("bitsandbytes", "huggingface_hub"):
        logging.getLogger(library).setLevel(logging.ERROR)
    from huggingface_hub.utils import enable_progress_bars
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()  # the Hub's bars, too
    if sys.stderr.isatty():
        enable_progress_bars()
