"""How tests start Python programs: forked from a process that holds the libraries, or on several by `accelerate`."""

import atexit
import gc
import multiprocessing
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerContext
from pathlib import Path
from types import ModuleType

# What takes seconds to import; nothing of ours, so that programs import that as they would by themselves.
PRELOADED = ["bitsandbytes", "peft", "transformers.trainer", "accelerate", "gradio", "plotly.graph_objects", "sklearn"]


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def launcher(processes: int) -> list[str]:
    """The beginning of a command; `--multi_gpu` is accelerate's word for several processes, CPUs included."""
    if processes == 1:
        return [sys.executable]
    return [
        sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1",
        "--mixed_precision", "no", "--dynamo_backend", "no",
        "--num_processes", str(processes), "--main_process_port", str(free_port()),
    ]  # fmt: skip


def server() -> ForkServerContext:
    """Imports once what children need; it computes nothing and has no threads, so forking it is safe."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


class Program:
    """As `subprocess.Popen` of a Python command, for tests of what a program does and not of what it imports.

    Args:
        command: `python -m MODULE ...`, `python -c CODE ...` or `python FILE ...`.
        cwd: the program's folder.
        env: its environment.
        stdout: file to write.
        stderr: file to write; None is `stdout`.
    """

    def __init__(
        self, command: Sequence[str], cwd: Path, env: Mapping[str, str], stdout: Path, stderr: Path | None = None
    ) -> None:
        paths = (str(stdout), str(stderr or stdout))
        for path in paths:
            Path(path).touch()
        self.command = list(command)
        self._process = server().Process(target=_become, args=(self.command[1:], str(cwd), dict(env), *paths))
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit status; that of a signal is negative, None that of a program that runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """As `returncode`."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end. Raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.command, timeout or 0.0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Nothing where it has ended."""
        if self.returncode is None:
            os.kill(self._process.pid or 0, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self._process.terminate()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()


def run_program(command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run` of a Python command that captures texts."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("stdout", "stderr")]
        status = Program(command, cwd, env, *files).wait()
        return subprocess.CompletedProcess(command, status, *(path.read_text("utf-8") for path in files))


def run_ranks(
    processes: int, command: Sequence[str], cwd: Path, env: Mapping[str, str], timeout_s: float = 280
) -> subprocess.CompletedProcess[str]:
    """As `run_program`, on several processes with the variables that `torchrun` sets; what they write is in one text.

    Where one fails, the others are ended, as launchers do.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("stdout", "stderr")]
        number, port = str(processes), str(free_port())
        shared = {"WORLD_SIZE": number, "LOCAL_WORLD_SIZE": number, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]
        programs = [Program(command, cwd, {**env, **shared, **own}, *files) for own in ranks]
        deadline = time.monotonic() + timeout_s
        while any(program.poll() is None for program in programs):
            if time.monotonic() > deadline or any(program.poll() for program in programs):
                break
            time.sleep(0.02)
        for program in programs:
            program.kill()
        status = next(filter(None, (program.wait() for program in programs)), 0)
        return subprocess.CompletedProcess(command, status, *(path.read_text("utf-8") for path in files))


def _become(arguments: list[str], cwd: str, environment: dict[str, str], stdout: str, stderr: str) -> None:
    """Run a command's arguments in this process, as `python` does."""
    gc.freeze()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    for descriptor, path in ((1, stdout), (2, stderr)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.dup2(file, descriptor)
        os.close(file)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", write_through=bool(environment.get("PYTHONUNBUFFERED")))
    kind, paths = arguments[0], environment.get("PYTHONPATH", "").split(os.pathsep)
    first = cwd if kind in ("-m", "-c") else str(Path(kind).resolve().parent)
    sys.path[:0] = [first, *filter(None, paths)]
    try:
        if kind == "-m":
            sys.argv = [kind, *arguments[2:]]
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        elif kind == "-c":
            sys.argv = [kind, *arguments[2:]]
            main = sys.modules["__main__"] = ModuleType("__main__")
            exec(compile(arguments[1], "<string>", "exec"), main.__dict__)
        else:
            sys.argv = list(arguments)
            runpy.run_path(kind, run_name="__main__")
    finally:
        atexit._run_exitfuncs()  # multiprocessing leaves them out
