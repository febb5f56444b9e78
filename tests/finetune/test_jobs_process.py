"""Processes, progress and causes, each for itself."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from finetune.jobs import process as processes
from finetune.jobs.job import Progress, resume_words, stdout_tail
from finetune.jobs.process import CPU_ALLOCATOR, WAITING, environment, find_process, launch
from finetune.records import last_checkpoint
from tests.finetune.jobs_maker import wait_until


# ---- the process
def test_nothing_begins_before_it_is_told_to(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('begun', input.__name__); import sys; print(repr(sys.stdin.read()))"]
    process = launch(command, tmp_path, "cpu")
    assert not process.begun()
    assert not process.ended()
    assert (tmp_path / "stdout.txt").read_text() == ""
    process.go()
    wait_until(process.ended)
    assert process.status == 0
    assert (tmp_path / "stdout.txt").read_text() == "begun input\n''\n", "its standard input is empty"


def test_an_abandoned_process_never_begins(tmp_path: Path) -> None:
    process = launch([sys.executable, "-c", "print('begun')"], tmp_path, "cpu")
    process.abandon()
    assert process.ended()
    assert (tmp_path / "stdout.txt").read_text() == ""


def test_what_waits_to_begin_ends_with_its_app() -> None:
    left = subprocess.run([*WAITING, "echo", "begun"], input=b"", capture_output=True)
    assert (left.returncode, left.stdout) == (1, b"")


def test_it_has_a_session_of_its_own_and_is_found_again(tmp_path: Path) -> None:
    process = launch(["sleep", "60"], tmp_path, "cpu")
    process.go()
    wait_until(process.begun)
    assert os.getsid(process.pid) == process.pid != os.getsid(0)
    assert find_process(process.pid, process.created_s, tmp_path) is not None
    assert find_process(process.pid, process.created_s - 60, tmp_path) is None, "another one had its id then"
    process.terminate()
    wait_until(process.ended)
    assert process.status == -signal.SIGTERM
    process.terminate()  # no harm
    assert find_process(process.pid, process.created_s, tmp_path) is None


def test_it_is_found_though_the_clock_was_set_meanwhile(tmp_path: Path) -> None:
    process = launch(["sh", "-c", "sleep 60; :", "--run", str(tmp_path)], tmp_path, "cpu")
    process.go()
    wait_until(process.begun)
    assert find_process(process.pid, process.created_s - 3600, tmp_path) is not None
    assert find_process(process.pid, process.created_s - 3600, tmp_path / "other") is None
    process.kill()
    wait_until(process.ended)


def test_its_children_go_with_it(tmp_path: Path) -> None:
    code = "import os, subprocess; print(subprocess.Popen(['sleep', '60']).pid, flush=True); os.kill(os.getpid(), 9)"
    process = launch([sys.executable, "-c", code], tmp_path, "cpu")
    process.go()
    wait_until(process.ended)
    child = int((tmp_path / "stdout.txt").read_text())
    wait_until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)


def test_it_finds_the_package_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "finetune").mkdir()
    (tmp_path / "finetune" / "__init__.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    process = launch([sys.executable, "-m", "finetune.records"], tmp_path, "cpu")
    process.go()
    wait_until(process.ended)
    assert (process.status, (tmp_path / "stdout.txt").read_text()) == (0, "")


def test_a_device_has_one_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(processes, "NVIDIA_DRIVER", tmp_path / "missing")
    names = {"auto": "cpu", "cpu": "cpu", "cuda": "cuda:0", "cuda:1": "cuda:1"}
    assert {name: processes.device_of(name) for name in names} == names
    monkeypatch.setattr(processes, "NVIDIA_DRIVER", tmp_path)
    assert processes.device_of("auto") == processes.device_of("cuda:0") == "cuda:0"


def test_the_allocator_is_tuned_for_the_cpu_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in CPU_ALLOCATOR:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(processes, "NVIDIA_DRIVER", tmp_path / "missing")
    assert environment("cpu").items() >= {**CPU_ALLOCATOR, "HF_HUB_OFFLINE": "1"}.items()
    assert environment("auto").items() >= CPU_ALLOCATOR.items()
    assert not CPU_ALLOCATOR.keys() & environment("cuda:0").keys()
    monkeypatch.setattr(processes, "NVIDIA_DRIVER", tmp_path)
    assert not CPU_ALLOCATOR.keys() & environment("auto").keys()
    monkeypatch.setenv("MALLOC_MMAP_MAX_", "5")
    assert environment("cpu")["MALLOC_MMAP_MAX_"] == "5", "what a person set stays"


# ---- progress
def log_steps(run: Path, *events: dict[str, object], mode: str = "a") -> None:
    with (run / "log.jsonl").open(mode) as stream:
        stream.writelines(json.dumps(event) + "\n" for event in events)


def step(number: int, time_s: float, steps: int = 100) -> dict[str, object]:
    return {"event": "step", "step": number, "steps": steps, "time_s": time_s}


def test_the_time_left_is_the_median_step_times_those_left(tmp_path: Path) -> None:
    progress = Progress(tmp_path)
    progress.update()
    assert (progress.step, progress.steps, progress.eta_s) == (0, 0, None)
    log_steps(tmp_path, {"event": "start", "step": 0, "steps": 100, "time_s": 10.0})
    progress.update()
    assert (progress.step, progress.steps, progress.eta_s) == (0, 100, None)
    log_steps(tmp_path, step(1, 12.0), step(2, 14.0), {"event": "held_out", "step": 2, "time_s": 70.0}, step(3, 74.0))
    progress.update()
    assert (progress.step, progress.eta_s) == (3, 97 * 2.0), "the minute of scoring is no step time"


def test_time_between_processes_is_no_step_time(tmp_path: Path) -> None:
    progress = Progress(tmp_path)
    log_steps(tmp_path, step(5, 10.0), step(6, 11.0), {"event": "start", "step": 4, "steps": 100, "time_s": 9_000.0})
    progress.update()
    assert (progress.step, progress.eta_s) == (4, None)
    log_steps(tmp_path, step(5, 9_003.0))
    progress.update()
    assert (progress.step, progress.eta_s) == (5, 95 * 3.0)


def test_only_what_is_new_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    progress = Progress(tmp_path)
    log_steps(tmp_path, step(1, 1.0))
    progress.update()
    with monkeypatch.context() as nothing_new:
        nothing_new.setattr("finetune.jobs.job.read_events", None)
        progress.update()
    offsets = []
    read = sys.modules["finetune.jobs.job"].read_events

    def watch(run: Path, offset: int) -> object:
        offsets.append(offset)
        return read(run, offset)

    monkeypatch.setattr("finetune.jobs.job.read_events", watch)
    first = (tmp_path / "log.jsonl").stat().st_size
    log_steps(tmp_path, step(2, 2.0))
    progress.update()
    assert (offsets, progress.step) == ([first], 2)
    log_steps(tmp_path, step(1, 3.0, steps=7), mode="w")
    progress.update()
    assert (progress.step, progress.steps) == (1, 7), "a log that was begun anew"


def test_lines_that_are_no_steps_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(
        '{"event": "step"}\n{"event": "step", "step": "x", "time_s": 1}\n[]\nnonsense\n{"event": "step", "step": 3, '
    )
    progress = Progress(tmp_path)
    progress.update()
    assert (progress.step, progress.steps, progress.eta_s) == (0, 0, None)


# ---- causes
def test_only_complete_checkpoints_count(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None
    assert resume_words(tmp_path) == "there is no checkpoint yet, so resume begins anew"
    for name in ("checkpoint-9", "checkpoint-10", "checkpoint-x", "checkpoint-99"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
        if name != "checkpoint-99":
            (tmp_path / "checkpoints" / name / "COMPLETE").touch()
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoints" / "checkpoint-10"
    assert resume_words(tmp_path) == "resume goes on from the checkpoint at step 10"


def test_the_tail_of_what_was_stdout_tail(tmp_path: Path) -> None:
    assert stdout_tail(tmp_path, 5) == ""
    (tmp_path / "stdout.txt").write_bytes(b"old\n" + b"x" * 200_000 + b"\n 1%\r 50%\r100%\r\nlast \xff\n\n")
    assert stdout_tail(tmp_path, 2) == "100%\nlast \N{REPLACEMENT CHARACTER}"
    assert stdout_tail(tmp_path, 0) == ""
    assert len(stdout_tail(tmp_path, 10)) < 70_000
    assert stdout_tail(tmp_path, 10, start=(tmp_path / "stdout.txt").stat().st_size) == ""
