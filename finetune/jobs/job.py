"""What a job is, for the tab, and what is kept of it in job.json.

    JOBS/<job id>/job.json     Record, written whole at every change of state; a folder without it is half made
    JOBS/<job id>/config.yaml  FinetuneConfig
    JOBS/<job id>/data/        the annotations that it learns from, as they were when it was submitted
    JOBS/<job id>/run/         what its process leaves: `finetune.records`
    ADAPTERS/<name>            what it makes, whole or not at all
"""

import errno
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from finetune.config import FinetuneConfig
from finetune.records import write_json

JOB_FILE, CONFIG_FILE, DATA_FOLDER, RUN_FOLDER = "job.json", "config.yaml", "data", "run"
State = Literal["queued", "running", "paused", "done", "failed", "cancelled"]
STATES: tuple[State, ...] = get_args(State)
# What a running process was asked to stop for; "close": the app was closed, and the job goes on when it is back.
Wish = Literal["", "pause", "cancel", "close"]
WISHES: tuple[Wish, ...] = get_args(Wish)
LIVE: tuple[State, ...] = ("queued", "running", "paused")  # states that keep a name to themselves
RESUMABLE: tuple[State, ...] = ("paused", "failed", "cancelled")
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class JobError(ValueError):
    """Something that cannot be done with a job; one sentence for the user."""


@dataclass(frozen=True)
class Job:
    """A job as the tab shows it.

    Args:
        job_id: name of its folder.
        name: of the adapter.
        state: "queued", "running", "paused", "done", "failed" or "cancelled".
        cause: of the state, in words.
        config: what it was told.
        creator: pseudonym of who submitted it.
        created_at_s: unix time of the submission.
        begun_at_s: unix time at which its first process was started.
        worked_s: seconds that its processes ran for, those that ended; pauses do not count.
        ended_at_s: unix time at which it was paused, done, failed or cancelled; None where it is queued or running.
        step, steps: optimizer steps so far, and in all; 0 before it began.
        eta_s: seconds until the last step; None where that cannot be told.
        adapter: folder; None unless done, and once it is deleted.
        folder: with all that belongs to it.
    """

    job_id: str
    name: str
    state: State
    cause: str
    config: FinetuneConfig
    creator: str
    created_at_s: float
    begun_at_s: float | None
    worked_s: float
    ended_at_s: float | None
    step: int
    steps: int
    eta_s: float | None
    adapter: Path | None
    folder: Path


@dataclass(frozen=True)
class Record:
    """What job.json holds.

    Args:
        queued_at_s: what decides whose turn it is.
        started_at_s: unix time at which its latest process was started.
        wish: what its process was asked to stop for.
        pid, process_created_s: of its process; what finds it again after a restart of the app.
        printed_from: offset in stdout.txt at which the latest process began to print.
    """

    job_id: str
    name: str
    state: State
    cause: str
    creator: str
    created_at_s: float
    queued_at_s: float
    started_at_s: float | None = None
    ended_at_s: float | None = None
    wish: Wish = ""
    pid: int | None = None
    process_created_s: float | None = None
    printed_from: int = 0
    begun_at_s: float | None = None
    worked_s: float = 0.0


def write_record(folder: Path, record: Record) -> None:
    """Write job.json, whole or not at all.

    Raises:
        OSError: the disk is full, or broken.
    """
    write_json(folder / JOB_FILE, asdict(record))


def read_record(folder: Path) -> Record:
    """Read job.json.

    Raises:
        JobError: it is not as `write_record` writes it.
    """
    path = folder / JOB_FILE
    try:
        record = Record(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise JobError(f"{path} is not usable: {error}") from None
    if record.state not in STATES or record.wish not in WISHES or record.job_id != folder.name:
        raise JobError(f"{path} is not usable: an unknown state, or another job's")
    return record


def disk_words(error: OSError) -> str:
    """Why a file could not be written, as the beginning of a sentence."""
    if error.errno in DISK_FULL:
        return "The disk is full"
    place = f" {error.filename}" if error.filename else ""
    return f"Cannot write{place} ({error.strerror or error})"
