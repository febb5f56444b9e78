"""Start the process of a job, find it again after a restart of the app, and stop it. POSIX alone."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from finetune.records import STDOUT_FILE

ROOT = Path(__file__).resolve().parents[2]  # where `finetune` is imported from
# Waits for a line before it becomes the command that follows: nothing ever trains that the app could not find again.
# The app's death closes its standard input, and then nothing is started.
WAIT = 'read -r line && exec "$@" </dev/null'
WAITING = ("/bin/sh", "-c", WAIT, "wait")
GO = b"go\n"
TRAINER = (sys.executable, "-m", "finetune")
# By default glibc returns every large buffer to the kernel, which makes CPU training steps several times slower.
CPU_ALLOCATOR = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "17179869184", "MALLOC_TOP_PAD_": "1073741824"}
NVIDIA_DRIVER = Path("/dev/nvidiactl")
SAME_START_S = 2.0  # a start time is computed from the boot time, which moves when the clock is set


def device_of(device: str) -> str:
    """Return a configuration's device as "cpu" or "cuda:N"; "auto" is the CPU where no NVIDIA driver is."""
    if device == "auto":
        device = "cuda" if NVIDIA_DRIVER.exists() else "cpu"
    return "cuda:0" if device == "cuda" else device


@dataclass
class Process:
    """The process of a job.

    Args:
        pid: its id, and that of its group.
        created_s: unix time of its start.
        run: folder of the run.
        child: None where another app started it.
        kill_at_s: `time.monotonic` after which it is killed, once it was asked to stop.
    """

    pid: int
    created_s: float
    run: Path
    child: subprocess.Popen[bytes] | None = None
    kill_at_s: float | None = None

    def go(self) -> None:
        """Let it begin, once job.json names it."""
        assert self.child is not None
        assert self.child.stdin is not None
        try:
            self.child.stdin.write(GO)
            self.child.stdin.close()
        except BrokenPipeError:
            pass  # somebody killed it already; `ended` says so

    def abandon(self) -> None:
        """End it before it began."""
        assert self.child is not None
        self.child.kill()
        self.child.communicate()

    @property
    def status(self) -> int | None:
        """Exit status, negative for a signal; None while it runs, and where another app started it."""
        return None if self.child is None else self.child.returncode

    def ended(self) -> bool:
        """Return whether it is gone; what is left of its group is then killed."""
        if self.child is None:
            gone = find_process(self.pid, self.created_s, self.run) is None
        else:
            gone = self.child.poll() is not None
        if gone:
            self.kill()
        return gone

    def begun(self) -> bool:
        """Return whether it trains, or still waits for `go`."""
        try:
            words = psutil.Process(self.pid).cmdline()  # none at all while it is being replaced by another program
            return bool(words) and WAIT not in words
        except psutil.Error:
            return True

    def terminate(self) -> None:
        """Ask it to write a checkpoint and stop; a signal to its group would break it."""
        try:
            os.kill(self.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass  # it ended by itself

    def kill(self) -> None:
        """End it and its group at once."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass  # nobody is left; macOS says so with the second error where only a zombie is


def find_process(pid: int, created_s: float, run: Path) -> Process | None:
    """Return a process that still runs, else None. Ids are given out again, so it is known by its start time too, or,
    where the clock was set meanwhile, by the folder of the run in its command.
    """
    try:
        found = psutil.Process(pid)
        same = abs(found.create_time() - created_s) <= SAME_START_S or str(run) in found.cmdline()
        if not same or found.status() == psutil.STATUS_ZOMBIE:
            return None
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None
    return Process(pid, created_s, run)


def launch(command: Sequence[str], run: Path, device: str) -> Process:
    """Start a process that waits for `go`, in a session of its own; what it prints goes to RUN/stdout.txt.

    Args:
        command: by arguments, which no shell reads.

    Raises:
        OSError: no file can be written, or no process started.
    """
    with (run / STDOUT_FILE).open("ab") as printed:
        child = subprocess.Popen(
            [*WAITING, *command], stdin=subprocess.PIPE, stdout=printed, stderr=subprocess.STDOUT,
            env=environment(device), start_new_session=True,
        )  # fmt: skip
    return Process(child.pid, psutil.Process(child.pid).create_time(), run, child)


def environment(device: str) -> dict[str, str]:
    """Return the variables of a training process: the app's own, what finds `finetune` from any folder, and a fast
    allocator on the CPU."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    allocator = CPU_ALLOCATOR if device_of(device) == "cpu" else {}
    return {**allocator, **os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}
