"""What the tab may do with jobs: submit, watch, pause, cancel, resume, delete. Who may do it is asked elsewhere."""

import re
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finetune.config import LONGEST_NAME, NAME_PATTERN, FinetuneConfig
from finetune.jobs.endings import printed
from finetune.jobs.files import DELETED, WriteData, remove_folder
from finetune.jobs.job import LIVE, RESUMABLE, Job, JobError, State, disk_words
from finetune.jobs.launcher import TRAINER
from finetune.jobs.runner import Runner
from finetune.jobs.shelf import Entry, Shelf
from finetune.jobs.showing import shown
from finetune.records import partial_of, read_events

GRACE_S, POLL_S = 60.0, 0.5
CLOSE_S = 25.0  # a Space is killed half a minute after SIGTERM


class JobService:
    """Jobs in a folder, run one at a time per device between `start` and `close`. Safe to call from any thread.

    Args:
        folder: JOBS.
        adapters: folder that finished adapters go to, by their names.
        command: of the trainer, without its arguments.
        grace_s: how long a process may take to write a checkpoint and stop before it is killed.
        poll_s: pause between two looks at the processes.

    Raises:
        JobError: a folder cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        adapters: Path,
        *,
        command: Sequence[str] = TRAINER,
        grace_s: float = GRACE_S,
        poll_s: float = POLL_S,
    ) -> None:
        self._adapters = adapters.resolve()
        self._lock = threading.RLock()
        self._shelf = Shelf(folder.resolve())
        self._runner = Runner(self._shelf, self._lock, self._adapters, command, grace_s, poll_s)
        self._names_in_making: set[str] = set()

    def start(self) -> None:
        """Take up what runs or waits since an earlier app, and begin to run jobs.

        Raises:
            JobError: another app runs the jobs of this folder.
        """
        try:
            self._adapters.mkdir(parents=True, exist_ok=True)
            self._shelf.lock()
        except OSError as error:
            raise JobError(f"{disk_words(error)}; no jobs can be run.") from None
        self._shelf.clean()
        for left in self._adapters.glob(f"{DELETED}*"):
            shutil.rmtree(left, ignore_errors=True)
        self._runner.start()

    def close(self, wait_s: float = CLOSE_S) -> None:
        """Pause what runs, with a checkpoint; the next `start` goes on with it by itself.

        Args:
            wait_s: for the checkpoint; a process that needs longer stops by itself afterwards.
        """
        self._runner.close(wait_s)
        self._shelf.unlock()

    def submit(self, name: str, config: FinetuneConfig, creator: str, write_data: WriteData | None = None) -> Job:
        """Queue a job, whole or not at all.

        Args:
            name: of the adapter.
            config: what to do.
            creator: pseudonym of who submits it.
            write_data: makes a folder of annotations, which the job then learns from, whatever the config says.

        Raises:
            JobError: the name cannot be had, or the data not be written.
        """
        if not re.fullmatch(NAME_PATTERN, name) or name.endswith("\n"):
            raise JobError(
                f"A name has 1 to {LONGEST_NAME} letters, digits, dots, dashes or underscores, "
                "and begins with a letter or digit."
            )
        with self._lock:
            self._check_free(name)
            self._names_in_making.add(name)
        try:
            with self._shelf.making(name, config, creator, write_data) as entry, self._lock:
                self._shelf.entries[entry.record.job_id] = entry
        finally:
            with self._lock:
                self._names_in_making.discard(name)
        self._runner.wake()
        return self.job(entry.record.job_id)

    # ---- looking
    def jobs(self) -> list[Job]:
        """All jobs, newest first."""
        with self._lock:
            found = [self._shown(entry) for entry in self._shelf.entries.values()]
        return sorted(found, key=lambda job: (job.created_at_s, job.job_id), reverse=True)

    def job(self, job_id: str) -> Job:
        """One job.

        Raises:
            JobError: there is none; also from all below.
        """
        with self._lock:
            return self._shown(self._entry(job_id))

    def events(self, job_id: str, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
        """Events of its log from a byte offset on, and the offset to go on from."""
        return read_events(self._entry(job_id).run, offset)

    def log_tail(self, job_id: str, lines: int = 20) -> str:
        """The last lines that its processes printed."""
        return printed(self._entry(job_id).run, lines)

    # ---- doing
    def pause(self, job_id: str) -> Job:
        """Stop a job with a checkpoint; one that waits no longer does."""
        with self._lock:
            entry = self._entry_in(job_id, ("queued", "running"), "paused")
            if entry.process is not None:
                self._runner.ask(entry, "pause")
            else:
                self._leave(entry, "paused", "Paused before its turn came.")
            return self._shown(entry)

    def cancel(self, job_id: str) -> Job:
        """Stop a job with a checkpoint, and let go of its name; at once where it does not run."""
        with self._lock:
            entry = self._entry_in(job_id, LIVE, "cancelled")
            if entry.process is not None:
                self._runner.ask(entry, "cancel")
            else:
                self._leave(entry, "cancelled", f"Cancelled while it was {entry.record.state}.")
            return self._shown(entry)

    def resume(self, job_id: str) -> Job:
        """Queue a job again, to go on from its last checkpoint."""
        with self._lock:
            entry = self._entry_in(job_id, RESUMABLE, "resumed")
            self._check_free(entry.record.name, besides=job_id)
            self._shelf.change(
                entry, state="queued", cause="Resumed; waits for its turn.", queued_at_s=time.time(), ended_at_s=None
            )
            self._runner.wake()
            return self._shown(entry)

    def delete(self, job_id: str, *, adapter: bool = False) -> None:
        """Remove a job that does not run, with its folder.

        Args:
            adapter: whether the adapter that it made goes too.
        """
        with self._lock:
            entry = self._entry(job_id)
            if entry.record.state == "running":
                raise JobError(f"{entry.record.name} is running; pause or cancel it first.")
            made = self._shown(entry).adapter
            if adapter and made is not None:
                remove_folder(made)
            self._shelf.remove(entry)
            name = entry.record.name
            if name not in self._live():
                shutil.rmtree(partial_of(self._adapters / name), ignore_errors=True)  # left by a kill

    # ---- within
    def _entry(self, job_id: str) -> Entry:
        with self._lock:
            try:
                return self._shelf.entries[job_id]
            except KeyError:
                raise JobError(f"There is no job {job_id}; it may have been deleted.") from None

    def _entry_in(self, job_id: str, states: Sequence[State], done: str) -> Entry:
        entry = self._entry(job_id)
        record = entry.record
        if record.state not in states:
            raise JobError(f"{record.name} is {record.state}; only one that is {_either(states)} can be {done}.")
        return entry

    def _shown(self, entry: Entry) -> Job:
        return shown(entry, self._adapters, self._shelf.entries.values())

    def _leave(self, entry: Entry, state: State, cause: str) -> None:
        self._shelf.change(entry, state=state, cause=cause, ended_at_s=time.time())

    def _live(self, besides: str = "") -> set[str]:
        """Names that jobs keep to themselves."""
        others = [entry.record for key, entry in self._shelf.entries.items() if key != besides]
        return {record.name for record in others if record.state in LIVE}

    def _check_free(self, name: str, besides: str = "") -> None:
        if (self._adapters / name).exists():
            raise JobError(f"An adapter named {name} is there already; choose another name.")
        if name in self._live(besides) | self._names_in_making:
            raise JobError(f"Another job makes an adapter named {name}; choose another name, or cancel that one.")


def _either(states: Sequence[State]) -> str:
    return " or ".join([", ".join(states[:-1]), states[-1]])
