"""Timing helpers: interleaved repeats, medians, and figures of fresh processes."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple


class Figure(NamedTuple):
    """One line of the table of `make bench`."""

    key: str
    value: float
    meaning: str


def interleaved_medians(tasks: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each task; the tasks take turns, so that a slow spell of the machine meets all of them.

    Args:
        tasks: by name; each runs once unmeasured first.
        repeats: measured rounds.
    """
    for task in tasks.values():
        task()
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(repeats):
        for name, task in tasks.items():
            start = synchronized_s()
            task()
            seconds[name].append(synchronized_s() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def synchronized_s() -> float:
    """Seconds, once a GPU that is in use has done its work."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()


def run_python(code: str) -> None:
    """Run code in a fresh interpreter."""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def import_seconds(module: str, repeats: int = 7) -> float:
    """Median seconds that importing a module adds to a bare interpreter."""

    tasks = {"bare": lambda: run_python("pass"), "import": lambda: run_python(f"import {module}")}
    medians = interleaved_medians(tasks, repeats)
    return medians["import"] - medians["bare"]


def peak_megabytes(code: str) -> float:
    """Peak resident memory of a fresh interpreter that runs `code`, in MB; see `own_peak_megabytes`."""
    tail = "\nfrom benchmarks.measure import own_peak_megabytes; print(own_peak_megabytes())"
    done = subprocess.run([sys.executable, "-c", code + tail], check=True, capture_output=True, text=True)
    return float(done.stdout.strip().splitlines()[-1])


def own_peak_megabytes() -> float:
    """Peak resident memory of this process in MB; Linux only, from /proc, because getrusage's peak is inherited from
    the process that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024 / 1e6
