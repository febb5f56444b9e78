"""What became of a job whose process is gone: its state, and the cause in words."""

import signal
from pathlib import Path

from finetune.jobs.job import RUN_FOLDER, Record, State, Wish
from finetune.records import (
    EXIT_STOPPED,
    STDOUT_FILE,
    RecordError,
    last_checkpoint,
    read_ending,
    read_provenance,
    step_of,
)

TAIL_BYTES = 64 * 1024
QUOTED_LINES, QUOTED_CHARACTERS = 3, 400
STOPPED: dict[Wish, tuple[State, str]] = {
    "pause": ("paused", "Paused"),
    "cancel": ("cancelled", "Cancelled"),
    "close": ("queued", "Interrupted when the app was closed"),
}
STOPPED_FROM_OUTSIDE: tuple[State, str] = ("paused", "Stopped from outside the app")
STOPPED_WHILE_AWAY: tuple[State, str] = ("queued", "Stopped while the app was away")


def settle(folder: Path, record: Record, adapter: Path, status: int | None, *, watched: bool) -> tuple[State, str]:
    """State and cause after the end of a process.

    Args:
        folder: of the job.
        record: as it was while the process ran.
        adapter: folder that it was to make, and that was not there before.
        status: exit status of the process, negative for a signal; None where nobody knows.
        watched: whether the app was there when it ended; else a stop was the machine's, and the job goes on.
    """
    run = folder / RUN_FOLDER
    try:
        ending = read_ending(run)
    except RecordError as error:
        return "failed", f"{error}; {way_on(run)}."
    asked = STOPPED.get(record.wish) or (STOPPED_FROM_OUTSIDE if watched else STOPPED_WHILE_AWAY)
    onward = way_on(run, "it" if asked[0] == "queued" else "resume")
    if ending is None and is_whole(adapter):
        return "done", "The process was killed after it had written the adapter, which is whole."
    if ending is None and status == EXIT_STOPPED:  # it says so where no file could be written
        return asked[0], f"{asked[1]}; {onward}."
    if ending is None:
        if record.wish:
            return asked[0], f"{asked[1]}; the process wrote no last checkpoint; {onward}."
        return "failed", f"{_end_in_words(run, record, status, watched)}; {way_on(run)}."
    if ending.outcome == "stopped":
        return asked[0], f"{asked[1]} at step {ending.step}; {onward}."
    if ending.outcome == "failed":
        return "failed", ending.cause
    if is_whole(adapter):
        return "done", ending.cause
    return "failed", f"The process said that it was done, but {adapter} is no whole adapter; {way_on(run)}."


def is_whole(adapter: Path) -> bool:
    """Whether a folder is an adapter with its provenance, which is there only when all else is."""
    try:
        return read_provenance(adapter) is not None
    except RecordError:
        return False


def way_on(run: Path, what: str = "resume") -> str:
    """What comes next, as the end of a sentence."""
    checkpoint = last_checkpoint(run)
    if checkpoint is None:
        return f"there is no checkpoint yet, so {what} begins anew"
    return f"{what} goes on from the checkpoint at step {step_of(checkpoint)}"


def printed(run: Path, lines: int, start: int = 0) -> str:
    """The last lines that a process printed; of a line that was overprinted, as progress bars do, its last form.

    Args:
        run: folder of the run.
        lines: how many at most.
        start: offset in bytes of the first that counts.
    """
    try:
        with (run / STDOUT_FILE).open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(start, size - TAIL_BYTES))
            text = stream.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    rows = [line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n")]
    return "\n".join([row for row in rows if row][-lines:] if lines > 0 else [])


def _end_in_words(run: Path, record: Record, status: int | None, watched: bool) -> str:
    """How a process ended that left no word itself."""
    said = " / ".join(printed(run, QUOTED_LINES, record.printed_from).splitlines())
    quote = f'; it last printed: "{said[-QUOTED_CHARACTERS:]}"' if said else ""
    if status is None and watched:
        return f"The process ended without a word (killed, perhaps because memory ran out){quote}"
    if status is None:
        return f"The process ended while the app was away (killed, or the machine was restarted){quote}"
    if status == -signal.SIGKILL:
        return f"The process was killed (signal 9), perhaps because memory ran out{quote}"
    if status < 0:
        return f"The process was ended by signal {-status} ({signal.strsignal(-status) or 'unknown'}){quote}"
    return f"The process ended with status {status} and did not say why{quote}"
