"""Keep the libraries' notes off the terminal: only errors, and progress only where there is a terminal to show it."""

import logging
import sys
import warnings


def quiet_libraries() -> None:
    """Call before the first model is loaded; bitsandbytes already talks while it is imported.

    Silences transformers' warnings and weight-loading bars, bitsandbytes' notes (casts in 8 bit, missing kernels), the
    Hub's notes on retries, and what these libraries say to each other about deprecated names.
    Downloads keep their bar on a terminal.
    """
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|peft|bitsandbytes)\b")
    # Renamed in transformers 5.24; the warning is laid at our door, and both names work below 5.40.
    warnings.filterwarnings("ignore", category=FutureWarning, message="`past_key_values` is deprecated")
    from huggingface_hub.utils import enable_progress_bars
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging as transformers_logging

    hub_logging.set_verbosity_error()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()  # the Hub's bars, too
    if sys.stderr.isatty():
        enable_progress_bars()
