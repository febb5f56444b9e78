"""The queue of jobs, and the thread that runs them. Who may do what is checked elsewhere."""

import logging
import re
import secrets
import shutil
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from finetune.config import LONGEST_NAME, NAME_PATTERN, FinetuneConfig
from finetune.jobs.job import (
    CONFIG_FILE,
    LIVE,
    RESUMABLE,
    STOPPING,
    Job,
    JobError,
    Progress,
    State,
    Wish,
    WriteData,
    clean_folders,
    disk_words,
    is_complete,
    lock_folder,
    make_job,
    read_jobs,
    remove_folder,
    state_after_exit,
    stdout_tail,
    write_job,
)
from finetune.jobs.process import TRAINER, Process, device_of, find_process, launch
from finetune.records import (
    CHECKPOINTS,
    EXIT_FILE,
    FEATURES,
    LOG_FILE,
    PROVENANCE_FILE,
    STDOUT_FILE,
    last_checkpoint,
    partial_of,
    read_events,
    step_of,
)

GRACE_S, POLL_S = 60.0, 0.5
CLOSE_S = 25.0  # a Space is killed half a minute after SIGTERM
log = logging.getLogger(__name__)


class JobService:
    """Jobs in a folder, run one at a time per device between `start` and `close`. Safe to call from any thread.

    Args:
        folder: JOBS.
        adapters: folder that finished adapters go to, by their names.
        command: of the trainer, without its arguments.
        grace_s: how long a process may take to write a checkpoint and stop before it is killed.
        poll_s: pause between two checks of the processes.

    Raises:
        JobError: a folder cannot be made.
    """

    def __init__(
        self, folder: Path, adapters: Path, *, command: Sequence[str] = TRAINER, grace_s: float = GRACE_S,
        poll_s: float = POLL_S,
    ) -> None:  # fmt: skip
        self._folder, self._adapters = folder.resolve(), adapters.resolve()
        self._command, self._grace_s, self._poll_s = tuple(command), grace_s, poll_s
        self._lock = threading.RLock()  # held while what is below is read or changed
        self._jobs = {job.job_id: job for job in read_jobs(self._folder)}
        self._progress = {job_id: Progress(job.run) for job_id, job in self._jobs.items()}
        self._processes: dict[str, Process] = {}
        self._unsaved: set[str] = set()  # jobs whose job.json is behind, because the disk is full
        self._in_making: dict[str, str] = {}  # job id -> name
        self._lock_file: IO[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._close_at_s: float | None = None  # while closing: when the thread no longer waits for processes

    def start(self) -> None:
        """Go on with what an earlier app left running or waiting, and begin to run jobs.

        Raises:
            JobError: another app runs the jobs of this folder.
        """
        try:
            self._adapters.mkdir(parents=True, exist_ok=True)
            self._lock_file = lock_folder(self._folder)
        except OSError as error:
            raise JobError(f"{disk_words(error)}; no jobs can be run.") from None
        clean_folders(self._folder, self._adapters, self._in_making)
        with self._lock:
            for job in list(self._jobs.values()):
                self._adopt(job)
            self._close_at_s = None
            self._thread = threading.Thread(target=self._work, name="finetune-jobs", daemon=True)
            self._thread.start()

    def close(self, wait_s: float = CLOSE_S) -> None:
        """Pause what runs, with a checkpoint; the next `start` goes on with it by itself.

        Args:
            wait_s: for the checkpoint; a process that needs longer stops by itself afterwards.
        """
        if self._thread is not None:
            with self._lock:
                self._close_at_s = time.monotonic() + wait_s
                for job_id in self._processes:
                    if not self._jobs[job_id].wish:
                        self._ask_to_stop(job_id, "close")
            self._wake.set()
            self._thread.join()
            self._thread = None
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None

    def submit(self, name: str, config: FinetuneConfig, creator: str, write_data: WriteData | None = None) -> Job:
        """Queue a job; after an error nothing is left of it.

        Args:
            creator: pseudonym of who submits it.
            write_data: makes a folder of annotations, which the job then learns from, whatever the config says.

        Raises:
            JobError: the name cannot be used, or the data cannot be written.
        """
        if not re.fullmatch(NAME_PATTERN, name) or name.endswith("\n"):
            raise JobError(
                f"A name has 1 to {LONGEST_NAME} letters, digits, dots, dashes or underscores, "
                "and begins with a letter or digit."
            )
        now = time.time()
        job_id = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{secrets.token_hex(3)}"
        with self._lock:
            self._check_free(name)
            self._in_making[job_id] = name
        job = Job(job_id, name, "queued", "Waits for its turn.", creator, now, now, self._folder / job_id, config)
        try:
            with make_job(job, write_data) as made, self._lock:
                self._jobs[job_id], self._progress[job_id] = made, Progress(made.run)
        finally:
            with self._lock:
                del self._in_making[job_id]
        self._wake.set()
        return self.job(job_id)

    # ---- reading
    def jobs(self) -> list[Job]:
        """Return all jobs, newest first."""
        with self._lock:
            found = [self._shown(job_id) for job_id in self._jobs]
        return sorted(found, key=lambda job: (job.created_at_s, job.job_id), reverse=True)

    def job(self, job_id: str) -> Job:
        """Return one job.

        Raises:
            JobError: there is none; also from all below.
        """
        with self._lock:
            self._get(job_id)
            return self._shown(job_id)

    def events(self, job_id: str, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
        """Return the events of its log from a byte offset on, and the offset to go on from."""
        return read_events(self._get(job_id).run, offset)

    def log_tail(self, job_id: str, lines: int = 20) -> str:
        """Return the last lines that its processes printed."""
        return stdout_tail(self._get(job_id).run, lines)

    # ---- changing
    def pause(self, job_id: str) -> Job:
        """Stop a job with a checkpoint, or take it out of the queue."""
        with self._lock:
            self._check_state(job_id, ("queued", "running"), "paused")
            return self._stop(job_id, "pause", "paused", "Paused before its turn came.")

    def cancel(self, job_id: str) -> Job:
        """Stop a job with a checkpoint, and free its name; at once where it does not run."""
        with self._lock:
            job = self._check_state(job_id, LIVE, "cancelled")
            return self._stop(job_id, "cancel", "cancelled", f"Cancelled while it was {job.state}.")

    def resume(self, job_id: str) -> Job:
        """Queue a job again, to go on from its last checkpoint."""
        with self._lock:
            self._check_free(self._check_state(job_id, RESUMABLE, "resumed").name, besides=job_id)
            cause = "Resumed; waits for its turn."
            self._change(job_id, state="queued", cause=cause, queued_at_s=time.time(), ended_at_s=None)
            self._wake.set()
            return self._shown(job_id)

    def delete(self, job_id: str, *, adapter: bool = False) -> None:
        """Remove a job that does not run with its folder, and with `adapter` also the adapter that it made."""
        with self._lock:
            job = self._get(job_id)
            if job.state == "running":
                raise JobError(f"{job.name} is running; pause or cancel it first.")
            made = self._adapter_of(job)
            if adapter and made is not None:
                remove_folder(made)
            remove_folder(job.folder)
            del self._jobs[job_id], self._progress[job_id]
            self._unsaved.discard(job_id)
            if job.name not in self._live_names():
                shutil.rmtree(partial_of(self._adapters / job.name), ignore_errors=True)  # left by a kill

    # ---- jobs in memory and on the disk
    def _get(self, job_id: str) -> Job:
        with self._lock:
            try:
                return self._jobs[job_id]
            except KeyError:
                raise JobError(f"There is no job {job_id}; it may have been deleted.") from None

    def _check_state(self, job_id: str, states: Sequence[State], done: str) -> Job:
        job = self._get(job_id)
        if job.state not in states:
            either = " or ".join([", ".join(states[:-1]), states[-1]])
            raise JobError(f"{job.name} is {job.state}; only one that is {either} can be {done}.")
        return job

    def _live_names(self, besides: str = "") -> set[str]:
        """Return the names that jobs reserve."""
        return {job.name for job in self._jobs.values() if job.state in LIVE and job.job_id != besides}

    def _check_free(self, name: str, besides: str = "") -> None:
        if (self._adapters / name).exists():
            raise JobError(f"An adapter named {name} is there already; choose another name.")
        if name in self._live_names(besides) | set(self._in_making.values()):
            raise JobError(f"Another job makes an adapter named {name}; choose another name, or cancel that one.")

    def _shown(self, job_id: str) -> Job:
        """Return a job with its progress, quickly enough for a page that asks every two seconds."""
        job, progress = self._jobs[job_id], self._progress[job_id]
        progress.update()
        return replace(
            job, begun_at_s=job.begun_at_s or job.started_at_s, step=progress.step, steps=progress.steps,
            eta_s=progress.eta_s if job.state == "running" else None, adapter=self._adapter_of(job),
        )  # fmt: skip

    def _adapter_of(self, job: Job) -> Path | None:
        """Return the adapter that a job made, if it is still there; its name may have been used again since."""
        adapter = self._adapters / job.name
        if job.state != "done" or not (adapter / PROVENANCE_FILE).is_file():
            return None
        namesakes = [other for other in self._jobs.values() if other.name == job.name and other.state == "done"]
        return adapter if job.ended_at_s == max(other.ended_at_s or 0.0 for other in namesakes) else None

    def _change(self, job_id: str, **changes: Any) -> None:
        """Change a job; where the disk is full that is kept in memory, and written as soon as that works."""
        self._jobs[job_id] = replace(self._jobs[job_id], **changes)
        self._save(job_id)

    def _save(self, job_id: str) -> None:
        """Write job.json, or remember that it must be written."""
        job = self._jobs[job_id]
        try:
            write_job(job)
            self._unsaved.discard(job_id)
        except OSError as error:
            if job_id not in self._unsaved:
                log.warning("Job %s: %s; its state is kept in memory for now.", job.name, disk_words(error))
            self._unsaved.add(job_id)

    def _stop(self, job_id: str, wish: Wish, state: State, cause: str) -> Job:
        """Ask the process of a job to stop; where it has none, the job is in the state at once."""
        if job_id in self._processes:
            self._ask_to_stop(job_id, wish)
        else:
            self._change(job_id, state=state, cause=cause, ended_at_s=time.time())
        return self._shown(job_id)

    def _ask_to_stop(self, job_id: str, wish: Wish) -> None:
        """Ask a running process to stop; it is killed after the grace period."""
        asked_before = self._jobs[job_id].wish
        self._change(job_id, wish=wish, cause=STOPPING[wish])
        if not asked_before:
            self._terminate(self._processes[job_id])
        self._wake.set()

    def _terminate(self, process: Process) -> None:
        process.kill_at_s = time.monotonic() + self._grace_s
        process.terminate()

    # ---- the thread
    def _work(self) -> None:
        while True:
            self._wake.clear()
            with self._lock:
                try:
                    self._check()
                    if self._close_at_s is None:
                        self._start_next()
                except Exception:  # what goes wrong with one job must not end the thread for the others
                    log.exception("Checking the jobs failed; it is tried again soon.")
                if self._close_at_s is not None and (not self._processes or time.monotonic() > self._close_at_s):
                    return
            self._wake.wait(self._poll_s)

    def _check(self) -> None:
        """Write what could not be written before, and check the processes."""
        for job_id in list(self._unsaved):
            self._save(job_id)
        for job_id, process in list(self._processes.items()):
            if process.ended():
                self._finish(job_id, process.status, watched=True)
            elif process.kill_at_s is not None and time.monotonic() > process.kill_at_s:
                process.kill()

    def _start_next(self) -> None:
        """Start the first job that waits for each device that is free."""
        busy = {device_of(self._jobs[job_id].config.device) for job_id in self._processes}
        waiting = [job for job in self._jobs.values() if job.state == "queued"]
        for job in sorted(waiting, key=lambda job: (job.queued_at_s, job.job_id)):
            device = device_of(job.config.device)
            if device not in busy and self._launch(job):
                busy.add(device)

    def _launch(self, job: Job) -> bool:
        """Start a job; False where it failed at once.

        job.json names the process before it begins, so that it is found again whenever the app is killed.
        """
        adapter, process = self._adapters / job.name, None
        if adapter.exists():
            self._fail(job, f"An adapter named {job.name} is there already; nothing was started.")
            return False
        goes_on = (job.run / LOG_FILE).exists()
        command = [*self._command, "--config", str(job.folder / CONFIG_FILE), "--out", str(adapter)]
        command += ["--run", str(job.run), *(["--resume"] if goes_on else [])]
        try:
            job.run.mkdir(exist_ok=True)
            (job.run / EXIT_FILE).unlink(missing_ok=True)  # of an earlier process
            stdout = job.run / STDOUT_FILE
            printed_from = stdout.stat().st_size if stdout.exists() else 0
            process, now = launch(command, job.run, job.config.device), time.time()
            job = replace(
                job, pid=process.pid, process_created_s=process.created_s, started_at_s=now,
                begun_at_s=job.begun_at_s or now, printed_from=printed_from,
            )  # fmt: skip
            write_job(job)
        except OSError as error:
            if process is not None:
                process.abandon()
            self._fail(job, f"{disk_words(error)}; the process was not started; resume tries again.")
            return False
        process.go()
        self._jobs[job.job_id], self._processes[job.job_id] = job, process
        checkpoint = last_checkpoint(job.run) if goes_on else None
        cause = "Started." if checkpoint is None else f"Goes on from step {step_of(checkpoint)}."
        self._change(job.job_id, state="running", cause=cause, wish="")
        return True

    def _fail(self, job: Job, cause: str) -> None:
        self._change(job.job_id, state="failed", cause=cause, ended_at_s=time.time(), wish="")

    def _finish(self, job_id: str, status: int | None, *, watched: bool) -> None:
        """Set the state of a job whose process is gone."""
        job = self._jobs[job_id]
        state, cause = state_after_exit(job, self._adapters / job.name, status, watched=watched)
        self._processes.pop(job_id, None)
        if state == "done":  # what only a resume would need; features of a large base are gigabytes
            for name in (CHECKPOINTS, FEATURES):
                shutil.rmtree(job.run / name, ignore_errors=True)
        log_file = job.run / LOG_FILE  # written last by the process: the app may have been away when it ended
        gone_at_s = log_file.stat().st_mtime if log_file.exists() else time.time()
        worked_s = job.worked_s + max(0.0, gone_at_s - (job.started_at_s or gone_at_s))
        self._change(
            job_id, state=state, cause=cause, ended_at_s=None if state == "queued" else gone_at_s, wish="", pid=None,
            process_created_s=None, worked_s=worked_s,
        )  # fmt: skip

    def _adopt(self, job: Job) -> None:
        """Find the process of a job again after a restart of the app, or see what became of it."""
        if job.pid is None or job.process_created_s is None:
            return
        process = find_process(job.pid, job.process_created_s, job.run)
        if process is not None and job.state == "queued" and not process.begun():
            process.kill()  # it waits for the app that is gone
            process = None
        if process is not None:
            self._processes[job.job_id] = process
            self._change(job.job_id, state="running", cause=job.cause if job.wish else "Found again, running.")
            if job.wish:  # asked again, since the app may have been killed before it did; twice changes nothing
                self._terminate(process)
        elif job.state == "running" or (job.run / EXIT_FILE).exists() or is_complete(self._adapters / job.name):
            self._finish(job.job_id, None, watched=False)
        else:  # killed before the process began
            self._change(job.job_id, pid=None, process_created_s=None)
