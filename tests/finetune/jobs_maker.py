"""Jobs on a fake trainer, and what tests ask of them."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from finetune.config import FinetuneConfig
from finetune.jobs.job import Job, State
from finetune.jobs.service import JobService
from tests.finetune.fake_trainer import weights_after

FAKE_COMMAND = (sys.executable, "-I", "-S", str(Path(__file__).with_name("fake_trainer.py")))
POLL_S, PATIENCE_S = 0.02, 60.0


def open_service(place: Path, *, grace_s: float = 10.0) -> JobService:
    """Jobs in PLACE/jobs with adapters in PLACE/adapters; not started."""
    return JobService(place / "jobs", place / "adapters", command=FAKE_COMMAND, grace_s=grace_s, poll_s=POLL_S)


def configure(steps: int = 20, device: str = "cpu") -> FinetuneConfig:
    """So many steps."""
    return FinetuneConfig(annotations=("nowhere",), max_steps=steps, device=device)


def write_data(folder: Path) -> None:
    """A folder with something in it."""
    folder.mkdir()
    (folder / "scanpaths.jsonl").write_text("{}\n")


def wait_until(is_so: Callable[[], object], what: str = "it") -> None:
    """Wait, with patience that ends."""
    end = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.005)


def wait_for(service: JobService, job_id: str, *states: State) -> Job:
    """Wait until a job is in one of the states."""
    wait_until(lambda: service.job(job_id).state in states, f"{states}, not {service.job(job_id)}")
    return service.job(job_id)


def wait_for_step(service: JobService, job_id: str, step: int) -> Job:
    """Wait until a job has done so many steps."""
    wait_until(lambda: service.job(job_id).step >= step, f"step {step} of {service.job(job_id)}")
    return service.job(job_id)


def pid_of(job: Job) -> int:
    """The process that job.json names."""
    return json.loads((job.folder / "job.json").read_text())["pid"]


def weights_of(adapter: Path) -> int:
    """What the fake trainer learned; of a whole adapter alone."""
    values = [json.loads((adapter / name).read_text()) for name in ("adapter_config.json", "provenance.json")]
    assert values[0] == values[1]
    return values[0]["weights"]


def uninterrupted(steps: int) -> int:
    """What a run that nothing disturbed learns."""
    weights = 1
    for step in range(1, steps + 1):
        weights = weights_after(weights, step)
    return weights


def check_adapters(place: Path) -> None:
    """Every adapter that can be seen is whole."""
    for adapter in (place / "adapters").glob("[!.]*"):
        weights_of(adapter)


def processes_in(place: Path) -> list[psutil.Process]:
    """Processes that have to do with a folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        told = any(str(place) in argument for argument in process.info["cmdline"] or ())
        if told and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def is_gone(pid: int) -> bool:
    """Whether a process has ended; while it is ending it has no command line any more, and is there still."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def check_nothing_runs(place: Path) -> None:
    """No process is left; one that is there is ended, and the test fails."""
    left = processes_in(place)
    for process in left:
        process.kill()
    assert left == [], "a test left processes behind"
