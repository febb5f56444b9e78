"""A run in a process of its own that dies when it is told to. Forked from a server that has imported everything."""

import gc
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

from finetune.config import FinetuneConfig
from tests.finetune.run_maker import go

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = frozenset({"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate"})


def child(values: dict[str, Any], out: Path, run: Path, kill_at_change: int | None, count_to: Path | None) -> None:
    """Run; kill -9 just before the given change of a file below the run's place, or count the changes."""
    gc.freeze()
    changes = 0

    def on_change() -> None:
        nonlocal changes
        changes += 1
        if changes == kill_at_change:
            os.kill(os.getpid(), signal.SIGKILL)

    watch(out.parent, on_change)
    ending = go(FinetuneConfig.from_values(values), out, run)
    if count_to is not None:
        count_to.write_text(str(changes))
    sys.exit(0 if ending.outcome == "done" else 1)


def watch(place: Path, on_change: Callable[[], None]) -> None:
    """Call before a file below a folder is opened to be written, made, renamed or deleted."""
    prefix = str(place)

    def hook(event: str, arguments: tuple) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING
        if (writes or event in CHANGES) and str(arguments[0]).startswith(prefix):
            on_change()

    sys.addaudithook(hook)


def start(
    context: ForkServerContext, config: FinetuneConfig, out: Path, *, kill_at_change: int | None = None,
    count_to: Path | None = None,
) -> ForkServerProcess:  # fmt: skip
    """A run whose folder lies beside its adapter."""
    run = out.with_name("run")
    process = context.Process(target=child, args=(config.to_values(), out, run, kill_at_change, count_to))
    process.start()
    return process
