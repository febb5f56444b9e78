"""The thread that starts queued jobs when it is their turn, and sees to what becomes of the running ones."""

import logging
import shutil
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from finetune.jobs.endings import is_whole, settle
from finetune.jobs.job import CONFIG_FILE, Wish, disk_words, write_record
from finetune.jobs.launcher import device_of, find_process, launch
from finetune.jobs.shelf import Entry, Shelf
from finetune.records import CHECKPOINTS, EXIT_FILE, FEATURES, LOG_FILE, STDOUT_FILE, last_checkpoint, step_of

STOPPING: dict[Wish, str] = {
    "pause": "Stops after this step, to be paused.",
    "cancel": "Stops after this step, to be cancelled.",
    "close": "Stops after this step, since the app is being closed; goes on when it is back.",
}
log = logging.getLogger(__name__)


class Runner:
    """Runs jobs, one at a time per device.

    Args:
        shelf: the jobs.
        lock: held while an entry is read or changed.
        adapters: folder of the adapters.
        command: of the trainer, without its arguments.
        grace_s: how long a process may take to stop before it is killed.
        poll_s: pause between two looks at the processes.
    """

    def __init__(
        self, shelf: Shelf, lock: threading.RLock, adapters: Path, command: Sequence[str], grace_s: float, poll_s: float
    ) -> None:
        self._shelf, self._lock, self._adapters, self._command = shelf, lock, adapters, tuple(command)
        self._grace_s, self._poll_s = grace_s, poll_s
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._close_at_s: float | None = None  # while closing: when the thread no longer waits for processes

    def start(self) -> None:
        """Take up what an earlier app left, and start the thread."""
        with self._lock:
            for entry in self._shelf.entries.values():
                self._take_up(entry)
            self._close_at_s = None
            self._thread = threading.Thread(target=self._work, name="finetune-jobs", daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """Look at once."""
        self._wake.set()

    def close(self, wait_s: float) -> None:
        """Ask what runs to stop, wait for it, and end the thread; a process that needs longer stops by itself."""
        if self._thread is None:
            return
        with self._lock:
            self._close_at_s = time.monotonic() + wait_s
            for entry in self._shelf.entries.values():
                if entry.process is not None and not entry.record.wish:
                    self.ask(entry, "close")
        self.wake()
        self._thread.join()
        self._thread = None

    def ask(self, entry: Entry, wish: Wish) -> None:
        """Ask a running process to stop; it is killed after the grace period."""
        assert entry.process is not None
        asked_before = entry.record.wish
        self._shelf.change(entry, wish=wish, cause=STOPPING[wish])
        if not asked_before:
            entry.kill_at_s = time.monotonic() + self._grace_s
            entry.process.terminate()
        self.wake()

    # ---- the thread
    def _work(self) -> None:
        while True:
            self._wake.clear()
            with self._lock:
                running = self._round()
                if self._close_at_s is not None and (not running or time.monotonic() > self._close_at_s):
                    return
            self._wake.wait(self._poll_s)

    def _round(self) -> bool:
        """One look; whether something runs. What goes wrong with one job must not end the thread for the others."""
        try:
            running = self._look()
            if self._close_at_s is None:
                self._start_next()
        except Exception:
            log.exception("A look at the jobs failed; the next one is soon.")
            return True
        return bool(running)

    def _look(self) -> list[Entry]:
        """See to the processes; the entries whose still run."""
        running = []
        for entry in self._shelf.entries.values():
            if entry.unsaved:
                self._shelf.save(entry)
            if entry.process is None:
                continue
            if entry.process.ended():
                self._end(entry, entry.process.status, watched=True)
                continue
            if entry.kill_at_s is not None and time.monotonic() > entry.kill_at_s:
                entry.process.kill()
            running.append(entry)
        return running

    def _start_next(self) -> None:
        """Start the first job that waits for each device that is free."""
        entries = self._shelf.entries.values()
        busy = {device_of(entry.config.device) for entry in entries if entry.process is not None}
        waiting = [entry for entry in entries if entry.record.state == "queued"]
        for entry in sorted(waiting, key=lambda entry: (entry.record.queued_at_s, entry.record.job_id)):
            device = device_of(entry.config.device)
            if device not in busy and self._launch(entry):
                busy.add(device)

    def _launch(self, entry: Entry) -> bool:
        """Start a job; False where it failed at once.

        job.json names the process before it begins, so that it is found again whenever the app is killed.
        """
        adapter = self._adapters / entry.record.name
        if adapter.exists():
            self._fail(entry, f"An adapter named {entry.record.name} is there already; nothing was started.")
            return False
        goes_on = (entry.run / LOG_FILE).exists()
        command = [*self._command, "--config", str(entry.folder / CONFIG_FILE), "--out", str(adapter)]
        command += ["--run", str(entry.run), *(["--resume"] if goes_on else [])]
        try:
            entry.run.mkdir(exist_ok=True)
            (entry.run / EXIT_FILE).unlink(missing_ok=True)  # of an earlier process
            printed = entry.run / STDOUT_FILE
            printed_from = printed.stat().st_size if printed.exists() else 0
            process = launch(command, entry.run, entry.config.device)
        except OSError as error:
            self._fail(entry, f"{disk_words(error)}; the process was not started; resume tries again.")
            return False
        now = time.time()
        record = replace(
            entry.record, pid=process.pid, process_created_s=process.created_s, started_at_s=now,
            begun_at_s=entry.record.begun_at_s or now, printed_from=printed_from,
        )  # fmt: skip
        try:
            write_record(entry.folder, record)
        except OSError as error:
            process.abandon()
            self._fail(entry, f"{disk_words(error)}; the process was not started; resume tries again.")
            return False
        process.go()
        entry.record, entry.process, entry.kill_at_s = record, process, None
        self._shelf.change(entry, state="running", cause=_going(entry, goes_on), wish="")
        return True

    def _fail(self, entry: Entry, cause: str) -> None:
        self._shelf.change(entry, state="failed", cause=cause, ended_at_s=time.time(), wish="")

    def _end(self, entry: Entry, status: int | None, *, watched: bool) -> None:
        """Settle a job whose process is gone."""
        adapter = self._adapters / entry.record.name
        state, cause = settle(entry.folder, entry.record, adapter, status, watched=watched)
        entry.process = entry.kill_at_s = None
        if state == "done":  # what only a resume would need; features of a large base are gigabytes
            for name in (CHECKPOINTS, FEATURES):
                shutil.rmtree(entry.run / name, ignore_errors=True)
        gone_at_s = _gone_at_s(entry)
        worked_s = entry.record.worked_s + max(0.0, gone_at_s - (entry.record.started_at_s or gone_at_s))
        self._shelf.change(
            entry, state=state, cause=cause, ended_at_s=None if state == "queued" else gone_at_s, wish="", pid=None,
            process_created_s=None, worked_s=worked_s,
        )  # fmt: skip

    # ---- after a restart of the app
    def _take_up(self, entry: Entry) -> None:
        """Find the process of a job again, or settle what became of it."""
        record = entry.record
        if record.pid is None or record.process_created_s is None:
            return
        process = find_process(record.pid, record.process_created_s, entry.run)
        if process is not None and record.state == "queued" and not process.begun():
            process.kill()  # it waits for a word of the app that is gone
            process = None
        if process is not None:
            entry.process = process
            self._shelf.change(entry, state="running", cause=record.cause if record.wish else "Found again, running.")
            if record.wish:  # asked again, since the app may have been killed before it did; twice changes nothing
                entry.kill_at_s = time.monotonic() + self._grace_s
                process.terminate()
        elif record.state == "running" or (entry.run / EXIT_FILE).exists() or is_whole(self._adapters / record.name):
            self._end(entry, None, watched=False)
        else:  # killed before the process was told to begin
            self._shelf.change(entry, pid=None, process_created_s=None)


def _gone_at_s(entry: Entry) -> float:
    """Unix time of the last word of a process that is gone: the app may have been away when it ended."""
    log_file = entry.run / LOG_FILE
    return log_file.stat().st_mtime if log_file.exists() else time.time()


def _going(entry: Entry, goes_on: bool) -> str:
    """Cause of running."""
    checkpoint = last_checkpoint(entry.run) if goes_on else None
    return "Started." if checkpoint is None else f"Goes on from step {step_of(checkpoint)}."
