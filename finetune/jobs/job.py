"""What a job is: its folder with job.json, its progress by its log, and its state once its process is gone.

    JOBS/<job id>/job.json     saved fields of Job, written durably at every change; a folder without it is incomplete
    JOBS/<job id>/config.yaml  FinetuneConfig
    JOBS/<job id>/data/        the annotations that it learns from, as they were when it was submitted
    JOBS/<job id>/run/         what its process leaves: `finetune.records`
    ADAPTERS/<name>            what it makes, complete or not at all
"""

import errno
import fcntl
import json
import logging
import os
import secrets
import shutil
import signal
import statistics
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import IO, Any, Literal, get_args

from finetune.config import ConfigError, FinetuneConfig
from finetune.records import (
    EXIT_STOPPED,
    LOG_FILE,
    STDOUT_FILE,
    RecordError,
    last_checkpoint,
    read_ending,
    read_events,
    read_provenance,
    step_of,
    write_json,
)

JOBS = "jobs"  # the folder, in that of all that the app keeps
JOB_FILE, CONFIG_FILE, DATA_FOLDER, RUN_FOLDER, LOCK_FILE = "job.json", "config.yaml", "data", "run", ".lock"
DELETED = ".deleted-"  # begins the name of a folder that is being removed
State = Literal["queued", "running", "paused", "done", "failed", "cancelled"]
STATES: tuple[State, ...] = get_args(State)
# What a running process was asked to stop for; "close": the app was closed, and the job goes on when it is back.
Wish = Literal["", "pause", "cancel", "close"]
WISHES: tuple[Wish, ...] = get_args(Wish)
LIVE: tuple[State, ...] = ("queued", "running", "paused")  # states that reserve the name of the adapter
RESUMABLE: tuple[State, ...] = ("paused", "failed", "cancelled")
STOPPING: dict[Wish, str] = {
    "pause": "Stops after this step, to be paused.",
    "cancel": "Stops after this step, to be cancelled.",
    "close": "Stops after this step, since the app is being closed; goes on when it is back.",
}
STOPPED: dict[Wish, tuple[State, str]] = {
    "pause": ("paused", "Paused"),
    "cancel": ("cancelled", "Cancelled"),
    "close": ("queued", "Interrupted when the app was closed"),
}
STOPPED_FROM_OUTSIDE: tuple[State, str] = ("paused", "Stopped from outside the app")
STOPPED_WHILE_AWAY: tuple[State, str] = ("queued", "Stopped while the app was away")
RECENT_STEPS = 20
TAIL_BYTES = 64 * 1024
QUOTED_LINES, QUOTED_CHARACTERS = 3, 400
WriteData = Callable[[Path], object]
log = logging.getLogger(__name__)


class JobError(ValueError):
    """Something that cannot be done with a job; one sentence for the user."""


@dataclass(frozen=True)
class Job:
    """A job at one moment; times are unix times in seconds.

    Args:
        job_id: name of its folder.
        name: of the adapter.
        state, cause: the state and its cause in words.
        creator: pseudonym of who submitted it.
        created_at_s, queued_at_s: of the submission, and of the last time it was queued, by which jobs are ordered.
        folder: with all that belongs to it.
        config: of the training.
        begun_at_s, started_at_s: starts of its first and of its latest process.
        ended_at_s: when it was paused, done, failed or cancelled; None where it is queued or running.
        wish: what its process was asked to stop for.
        pid, process_created_s: of its process, by which it is found again after a restart of the app.
        printed_from: offset in stdout.txt at which the latest process began to print.
        worked_s: seconds that its ended processes ran for.
        step, steps: optimizer steps so far, and in all; 0 before it began.
        eta_s: seconds until the last step; None where that is not known.
        adapter: folder; None unless done, and once it is deleted.
    """

    job_id: str
    name: str
    state: State
    cause: str
    creator: str
    created_at_s: float
    queued_at_s: float
    folder: Path
    config: FinetuneConfig
    started_at_s: float | None = None
    ended_at_s: float | None = None
    wish: Wish = ""
    pid: int | None = None
    process_created_s: float | None = None
    printed_from: int = 0
    begun_at_s: float | None = None
    worked_s: float = 0.0
    step: int = 0
    steps: int = 0
    eta_s: float | None = None
    adapter: Path | None = None

    @property
    def run(self) -> Path:
        """Folder of the run."""
        return self.folder / RUN_FOLDER


NOT_SAVED = {"folder", "config", "step", "steps", "eta_s", "adapter"}  # read from the other files
SAVED = tuple(field.name for field in fields(Job) if field.name not in NOT_SAVED)


# ---- folders --------------------------------------------------------------------------------------------------------
def write_job(job: Job) -> None:
    """Write job.json, all of it or nothing."""
    write_json(job.folder / JOB_FILE, {name: getattr(job, name) for name in SAVED})


def read_job(folder: Path) -> Job:
    """Read a job from its folder, without its progress.

    Raises:
        JobError: job.json is not as `write_job` writes it.
        ConfigError: config.yaml cannot be used.
    """
    path = folder / JOB_FILE
    config = FinetuneConfig.from_yaml(folder / CONFIG_FILE)
    try:
        job = Job(folder=folder, config=config, **json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise JobError(f"{path} is not usable: {error}") from None
    if job.state not in STATES or job.wish not in WISHES or job.job_id != folder.name:
        raise JobError(f"{path} is not usable: an unknown state, or another job's")
    return job


def read_jobs(folder: Path) -> list[Job]:
    """Read all jobs of a folder, which is made where it is missing; skip one that cannot be read.

    Raises:
        JobError: the folder cannot be made or read.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = sorted(path.parent for path in folder.glob(f"[!.]*/{JOB_FILE}"))
    except OSError as error:
        raise JobError(f"{disk_words(error)}; the jobs in {folder} cannot be used.") from None
    jobs = []
    for place in found:
        try:
            jobs.append(read_job(place))
        except (JobError, ConfigError) as error:
            log.warning("A job is passed over: %s", error)
    return jobs


@contextmanager
def make_job(job: Job, write_data: WriteData | None) -> Iterator[Job]:
    """Write a new job to the disk; remove it again where the block fails.

    Args:
        job: with a folder that is not there yet.
        write_data: as in `JobService.submit`.

    Raises:
        JobError: the data cannot be written.
    """
    try:
        job.run.mkdir(parents=True)
        if write_data is not None:
            job = replace(job, config=_with_data(job.folder / DATA_FOLDER, job.config, write_data))
        write_text(job.folder / CONFIG_FILE, job.config.to_yaml())
        write_job(job)  # from here on it is a job
        yield job
    except BaseException as error:
        (job.folder / JOB_FILE).unlink(missing_ok=True)
        shutil.rmtree(job.folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise JobError(f"{disk_words(error)}; no job was made; make room and try again.") from error
        raise


def _with_data(data: Path, config: FinetuneConfig, write_data: WriteData) -> FinetuneConfig:
    """Write the data of a job into a new folder; return the configuration that learns from them."""
    try:
        write_data(data)
    except JobError:
        raise
    except ValueError as error:
        raise JobError(str(error)) from error
    if not data.is_dir():
        raise JobError("There is nothing to learn from: no annotations were written; choose others.")
    return FinetuneConfig.from_values({**config.to_values(), "annotations": [str(data)], "shares": []})


def write_text(path: Path, text: str) -> None:
    """Write a file, durably."""
    with path.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def remove_folder(folder: Path) -> None:
    """Remove a folder; it is gone at once, even where a kill comes in between.

    Raises:
        JobError: it cannot be removed.
    """
    aside = folder.with_name(f"{DELETED}{folder.name}-{secrets.token_hex(3)}")
    try:
        folder.rename(aside)
    except OSError as error:
        raise JobError(f"{disk_words(error)}; {folder.name} was not deleted.") from None
    shutil.rmtree(aside, ignore_errors=True)


def clean_folders(folder: Path, adapters: Path, in_making: Collection[str]) -> None:
    """Remove what a killed app left half made or half deleted, but for the jobs `in_making`."""
    for place in folder.iterdir():
        if not place.is_dir() or place.name in in_making:
            continue
        if place.name.startswith(DELETED) or not (place.name.startswith(".") or (place / JOB_FILE).exists()):
            log.info("Removed %s, which was left half made or half deleted.", place)
            shutil.rmtree(place, ignore_errors=True)
    for left_file in folder.glob(f"*/.{JOB_FILE}-*"):
        left_file.unlink(missing_ok=True)
    for deleted in adapters.glob(f"{DELETED}*"):
        shutil.rmtree(deleted, ignore_errors=True)


def lock_folder(folder: Path) -> IO[bytes]:
    """Keep other apps from the same folder until the returned file is closed, or the process ends.

    Raises:
        JobError: another app uses it.
        OSError: the file cannot be written.
    """
    lock_file = (folder / LOCK_FILE).open("ab")
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock_file.close()
        raise JobError(f"Another app runs the jobs in {folder}; close it, or choose another folder.") from None
    except OSError as error:
        log.warning("%s cannot be locked (%s); never open it in two apps at once.", folder, error.strerror)
    return lock_file


def disk_words(error: OSError) -> str:
    """Return why a file could not be written, as the beginning of a sentence."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The disk is full"
    place = f" {error.filename}" if error.filename else ""
    return f"Cannot write{place} ({error.strerror or error})"


# ---- progress -------------------------------------------------------------------------------------------------------
class Progress:
    """Steps of a run and their recent times; `update` only asks for the log's size while nothing is new."""

    def __init__(self, run: Path) -> None:
        self._run, self._times_s = run, deque[float](maxlen=RECENT_STEPS)
        self._latest_s: float | None = None
        self._offset = self._size = self.step = self.steps = 0

    def update(self) -> None:
        """Read the events that were added since the last time."""
        try:
            size = (self._run / LOG_FILE).stat().st_size
        except FileNotFoundError:
            size = 0
        if size == self._size:
            return
        if size < self._offset:  # the log was begun anew
            self._offset = self.step = self.steps = 0
            self._times_s.clear()
        self._size = size
        events, self._offset = read_events(self._run, self._offset)
        for event in events:
            self._add(event)

    @property
    def eta_s(self) -> float | None:
        """Seconds until the last step: the median of recent step times for each that is left; None without any."""
        if not self._times_s or self.steps <= 0:
            return None
        return statistics.median(self._times_s) * max(self.steps - self.step, 0)

    def _add(self, event: dict[str, Any]) -> None:
        kind, step, time_s = event["event"], event.get("step"), event.get("time_s")
        if kind not in ("start", "step") or not isinstance(step, int) or not isinstance(time_s, int | float):
            return
        if kind == "start" or step <= self.step:  # another process: time went by in between
            self._times_s.clear()
        elif self._latest_s is not None and time_s > self._latest_s:
            self._times_s.append((time_s - self._latest_s) / (step - self.step))
        steps = event.get("steps")
        self.step, self._latest_s = step, time_s
        self.steps = steps if isinstance(steps, int) else self.steps


# ---- the end --------------------------------------------------------------------------------------------------------
def state_after_exit(job: Job, adapter: Path, status: int | None, *, watched: bool) -> tuple[State, str]:
    """Return state and cause after the end of a process.

    Args:
        job: as it was while the process ran.
        adapter: folder that it was to make, and that was not there before.
        status: exit status of the process, negative for a signal; None where it is not known.
        watched: whether the app was there when it ended; else a stop was the machine's, and the job goes on.
    """
    try:
        ending = read_ending(job.run)
    except RecordError as error:
        return "failed", f"{error}; {resume_words(job.run)}."
    state, words = STOPPED.get(job.wish) or (STOPPED_FROM_OUTSIDE if watched else STOPPED_WHILE_AWAY)
    next_words = resume_words(job.run, "it" if state == "queued" else "resume")
    if ending is None:
        if is_complete(adapter):
            return "done", "The process was killed after it had written the adapter, which is whole."
        if status == EXIT_STOPPED:  # it says so where no file could be written
            return state, f"{words}; {next_words}."
        if job.wish:
            return state, f"{words}; the process wrote no last checkpoint; {next_words}."
        return "failed", f"{_exit_words(job, status, watched)}; {resume_words(job.run)}."
    if ending.outcome == "stopped":
        return state, f"{words} at step {ending.step}; {next_words}."
    if ending.outcome == "failed":
        return "failed", ending.cause
    if is_complete(adapter):
        return "done", ending.cause
    return "failed", f"The process said that it was done, but {adapter} is no whole adapter; {resume_words(job.run)}."


def is_complete(adapter: Path) -> bool:
    """Return whether a folder is an adapter with its provenance, which is there only when all else is."""
    try:
        return read_provenance(adapter) is not None
    except RecordError:
        return False


def resume_words(run: Path, what: str = "resume") -> str:
    """Return where a resume goes on, as the end of a sentence."""
    checkpoint = last_checkpoint(run)
    if checkpoint is None:
        return f"there is no checkpoint yet, so {what} begins anew"
    return f"{what} goes on from the checkpoint at step {step_of(checkpoint)}"


def stdout_tail(run: Path, lines: int, start: int = 0) -> str:
    """Return the last lines that a process printed; of an overprinted line, such as a progress bar, its last form.

    Args:
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


def _exit_words(job: Job, status: int | None, watched: bool) -> str:
    """Return how a process ended that wrote nothing about it."""
    printed = " / ".join(stdout_tail(job.run, QUOTED_LINES, job.printed_from).splitlines())
    quote = f'; it last printed: "{printed[-QUOTED_CHARACTERS:]}"' if printed else ""
    if status is None and watched:
        return f"The process ended without a word (killed, perhaps because memory ran out){quote}"
    if status is None:
        return f"The process ended while the app was away (killed, or the machine was restarted){quote}"
    if status == -signal.SIGKILL:
        return f"The process was killed (signal 9), perhaps because memory ran out{quote}"
    if status < 0:
        return f"The process was ended by signal {-status} ({signal.strsignal(-status) or 'unknown'}){quote}"
    return f"The process ended with status {status} and did not say why{quote}"
