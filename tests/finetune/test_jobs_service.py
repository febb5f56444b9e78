"""Submitting, queueing, pausing, cancelling, resuming and deleting jobs, on a fake trainer."""

import errno
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from finetune.config import FinetuneConfig
from finetune.jobs import job as jobs
from finetune.jobs.job import Job, JobError, State, read_job
from finetune.jobs.process import device_of
from finetune.jobs.service import JobService
from tests.finetune.jobs_maker import (
    check_nothing_runs,
    configure,
    open_service,
    pid_of,
    uninterrupted,
    wait_for,
    wait_for_step,
    wait_until,
    weights_of,
    write_data,
)

LONG = 100_000


@pytest.fixture
def service(tmp_path: Path) -> Iterator[JobService]:
    """Running jobs; nothing may be left when the test ends."""
    service = open_service(tmp_path)
    service.start()
    yield service
    service.close()
    check_nothing_runs(tmp_path)


def submit(service: JobService, name: str = "ada", steps: int = 20, device: str = "cpu") -> Job:
    return service.submit(name, configure(steps, device), "reader-1")


# ---- from submission to adapter
def test_a_job_becomes_an_adapter(service: JobService, tmp_path: Path) -> None:
    submitted = service.submit("ada", configure(20), "reader-1", write_data)
    assert (submitted.state, submitted.creator, submitted.adapter) == ("queued", "reader-1", None)
    assert (submitted.folder / "data" / "scanpaths.jsonl").is_file()
    assert submitted.config.annotations == (str(submitted.folder / "data"),)
    assert FinetuneConfig.from_yaml(submitted.folder / "config.yaml") == submitted.config
    done = wait_for(service, submitted.job_id, "done", "failed")
    assert (done.state, done.cause) == ("done", "The adapter is better than its base.")
    assert (done.step, done.steps, done.eta_s) == (20, 20, None)
    assert done.adapter == tmp_path / "adapters" / "ada"
    assert weights_of(done.adapter) == uninterrupted(20)
    assert done.created_at_s <= done.begun_at_s <= done.ended_at_s
    assert done.worked_s == pytest.approx(done.ended_at_s - done.begun_at_s)
    assert not (done.folder / "run" / "checkpoints").exists(), "nobody resumes it any more"
    events, offset = service.events(done.job_id)
    assert [event["event"] for event in events if event["event"] != "checkpoint"] == ["start", *["step"] * 20, "end"]
    assert service.events(done.job_id, offset) == ([], offset)


def device_of_this_machine() -> str:
    """"auto" where it stands for the CPU: jobs of both names wait for each other."""
    return "auto" if device_of("auto") == "cpu" else "cpu"


def test_one_at_a_time_per_device_in_order(service: JobService) -> None:
    names = {"first": "cpu", "second": device_of_this_machine(), "third": "cpu"}
    jobs = [submit(service, name, 60, device=device) for name, device in names.items()]
    other = submit(service, "elsewhere", LONG, device="cuda:1")
    together = 0
    while True:
        shown = {one.job_id: one for one in service.jobs()}  # all at one moment
        states = [shown[one.job_id] for one in jobs]
        if all(one.state == "done" for one in states):
            break
        assert not any(one.state == "failed" for one in states)
        running = [one for one in states if one.state == "running"]
        assert len(running) <= 1
        together += bool(running) and shown[other.job_id].state == "running"
        time.sleep(0.005)
    assert together
    started = [service.job(one.job_id).begun_at_s for one in jobs]
    assert started == sorted(started)
    assert [one.name for one in service.jobs()] == ["elsewhere", "third", "second", "first"]


def test_time_left_is_told_from_recent_steps(service: JobService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_STEP_S", "0.01")
    begun = wait_for_step(service, submit(service, steps=1_000).job_id, 20)
    assert begun.eta_s == pytest.approx((1_000 - begun.step) * 0.0105, rel=0.5)
    paused_id = service.pause(begun.job_id).job_id
    assert wait_for(service, paused_id, "paused").eta_s is None


# ---- pause, cancel, resume
@pytest.mark.parametrize(("stop", "state"), [(JobService.pause, "paused"), (JobService.cancel, "cancelled")])
def test_a_stopped_job_resumes_exactly(
    service: JobService, stop: Callable[[JobService, str], Job], state: State
) -> None:
    job_id = submit(service, steps=150).job_id
    wait_for_step(service, job_id, 7)
    assert stop(service, job_id).cause.startswith("Stops after this step")
    stopped = wait_for(service, job_id, state, "done")
    assert stopped.state == state
    assert f"at step {stopped.step}; resume goes on from the checkpoint at step {stopped.step}" in stopped.cause
    assert not (service.job(job_id).folder.parents[1] / "adapters" / "ada").exists()
    time.sleep(1.5)
    assert service.resume(job_id).state == "queued"
    done = wait_for(service, job_id, "done", "failed")
    assert weights_of(done.adapter) == uninterrupted(150)
    assert done.begun_at_s == stopped.begun_at_s
    assert stopped.worked_s < done.worked_s < done.ended_at_s - done.begun_at_s - 1, "a pause is no work"
    steps = [event["step"] for event in service.events(job_id)[0] if event["event"] == "step"]
    assert steps == list(range(1, 151)), "no step is done twice"


def test_a_waiting_job_is_stopped_at_once(service: JobService) -> None:
    running, second, third = (submit(service, name, LONG) for name in ("a", "b", "c"))
    wait_for(service, running.job_id, "running")
    assert service.cancel(second.job_id).state == "cancelled"
    assert service.pause(third.job_id).state == "paused"
    assert service.cancel(third.job_id).state == "cancelled"
    service.resume(second.job_id)
    service.cancel(running.job_id)
    wait_for(service, running.job_id, "cancelled")
    assert wait_for(service, second.job_id, "running").state == "running"
    assert service.job(third.job_id).state == "cancelled"


def test_a_process_that_does_not_listen_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_MOOD", "deaf")
    service = open_service(tmp_path, grace_s=0.2)
    service.start()
    job_id = submit(service, steps=LONG).job_id
    wait_for_step(service, job_id, 6)
    service.pause(job_id)
    paused = wait_for(service, job_id, "paused", "failed")
    assert paused.state == "paused"
    assert "wrote no last checkpoint; resume goes on from the checkpoint at step" in paused.cause
    service.close()
    check_nothing_runs(tmp_path)


def test_a_process_that_cannot_write_says_by_its_status_that_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_MOOD", "mute")
    service = open_service(tmp_path)
    service.start()
    job_id = submit(service, steps=LONG).job_id
    wait_for_step(service, job_id, 6)
    service.pause(job_id)
    paused = wait_for(service, job_id, "paused", "failed")
    assert paused.cause.startswith("Paused; resume goes on from the checkpoint at step")
    service.close()


# ---- failures
@pytest.mark.parametrize(
    ("mood", "cause"),
    [
        ("fail", "Data set a has no images; choose another."),
        ("print", 'The process ended with status 7 and did not say why; it last printed: "RuntimeError: the fake broke"'
                  "; there is no checkpoint yet, so resume begins anew."),
        ("crash", "The process was ended by signal 11 (Segmentation fault)"),
        ("liar", "The process said that it was done, but"),
    ],
)  # fmt: skip
def test_a_failure_has_a_cause_and_can_be_resumed(
    service: JobService, monkeypatch: pytest.MonkeyPatch, mood: str, cause: str
) -> None:
    monkeypatch.setenv("FAKE_MOOD", mood)
    job_id = submit(service).job_id
    failed = wait_for(service, job_id, "failed", "done")
    assert failed.state == "failed"
    assert failed.cause.startswith(cause)
    monkeypatch.setenv("FAKE_MOOD", "")
    service.resume(job_id)
    assert wait_for(service, job_id, "done", "failed").state == "done"


def test_a_killed_process_is_told_and_resumed(service: JobService) -> None:
    job_id = submit(service, steps=300).job_id
    os.kill(pid_of(wait_for_step(service, job_id, 6)), signal.SIGKILL)
    failed = wait_for(service, job_id, "failed", "done")
    assert failed.cause.startswith("The process was killed (signal 9), perhaps because memory ran out; resume goes on")
    service.resume(job_id)
    assert weights_of(wait_for(service, job_id, "done", "failed").adapter) == uninterrupted(300)


def test_a_signal_from_outside_pauses(service: JobService) -> None:
    job_id = submit(service, steps=LONG).job_id
    os.kill(pid_of(wait_for_step(service, job_id, 2)), signal.SIGTERM)
    assert wait_for(service, job_id, "paused", "failed").cause.startswith("Stopped from outside the app at step")


# ---- names
@pytest.mark.parametrize("name", ["", "../up", ".hidden", "a b", "a/b", "a" * 61, "a\n", "-rf"])
def test_bad_names_are_refused(service: JobService, name: str) -> None:
    with pytest.raises(JobError, match="A name has 1 to 60 letters"):
        submit(service, name)
    assert service.jobs() == []


def test_a_name_belongs_to_one(service: JobService, tmp_path: Path) -> None:
    first = submit(service, steps=LONG)
    with pytest.raises(JobError, match="Another job makes an adapter named ada"):
        submit(service)
    wait_for(service, first.job_id, "running")
    service.cancel(first.job_id)
    wait_for(service, first.job_id, "cancelled")
    second = submit(service)  # the name is free again
    wait_for(service, second.job_id, "done")
    with pytest.raises(JobError, match="An adapter named ada is there already"):
        service.resume(first.job_id)
    with pytest.raises(JobError, match="An adapter named ada is there already"):
        submit(service)


def test_an_adapter_that_came_in_between_is_never_overwritten(service: JobService, tmp_path: Path) -> None:
    running, waiting = submit(service, "a", LONG), submit(service, "b")
    (tmp_path / "adapters" / "b").mkdir()
    wait_for(service, running.job_id, "running")
    service.cancel(running.job_id)
    assert wait_for(service, waiting.job_id, "failed").cause.startswith("An adapter named b is there already")
    assert list((tmp_path / "adapters" / "b").iterdir()) == []


# ---- delete
def test_delete(service: JobService, tmp_path: Path) -> None:
    kept, gone = submit(service, "kept"), submit(service, "gone")
    running = submit(service, "runs", LONG)
    for one in (kept, gone):
        wait_for(service, one.job_id, "done")
    wait_for(service, running.job_id, "running")
    with pytest.raises(JobError, match="runs is running; pause or cancel it first"):
        service.delete(running.job_id)
    (tmp_path / "adapters" / ".gone.partial").mkdir()  # left by a kill
    service.delete(kept.job_id)
    service.delete(gone.job_id, adapter=True)
    assert [path.name for path in (tmp_path / "adapters").iterdir()] == ["kept"]
    assert [path.name for path in (tmp_path / "jobs").glob("*") if path.is_dir()] == [running.job_id]
    with pytest.raises(JobError, match="There is no job"):
        service.job(gone.job_id)


def test_a_job_whose_name_was_used_again_does_not_own_the_newer_adapter(service: JobService) -> None:
    old = submit(service)
    adapter = wait_for(service, old.job_id, "done").adapter
    for path in adapter.iterdir():
        path.unlink()
    adapter.rmdir()
    assert service.job(old.job_id).adapter is None
    new = submit(service, steps=3)
    wait_for(service, new.job_id, "done")
    service.delete(old.job_id, adapter=True)
    assert weights_of(service.job(new.job_id).adapter) == uninterrupted(3)


@pytest.mark.parametrize("action", ["pause", "cancel", "resume"])
def test_what_does_not_fit_the_state_is_refused(service: JobService, action: str) -> None:
    job_id = submit(service).job_id
    wait_for(service, job_id, "done")
    with pytest.raises(JobError, match=r"ada is done; only one that is .* can be"):
        getattr(service, action)(job_id)


# ---- whole or not at all
def refuse(folder: Path) -> None:
    write_data(folder)
    raise ValueError("Nobody annotated these images; choose others.")


def fill_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_data_that_cannot_be_written_leave_nothing(service: JobService, tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"^Nobody annotated these images; choose others\.$"):
        service.submit("ada", configure(), "reader-1", refuse)
    with pytest.raises(JobError, match=r"^There is nothing to learn from"):
        service.submit("ada", configure(), "reader-1", lambda _: None)
    with pytest.raises(JobError, match=r"^The disk is full; no job was made; make room and try again\.$"):
        service.submit("ada", configure(), "reader-1", fill_disk)
    assert [path for path in (tmp_path / "jobs").iterdir() if path.is_dir()] == []
    wait_for(service, submit(service).job_id, "done")  # and the name is free


@pytest.mark.parametrize("written", [(jobs, "write_job"), (jobs, "write_text"), (FinetuneConfig, "to_yaml")])
def test_a_full_disk_at_submission_leaves_nothing(
    service: JobService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: tuple[object, str]
) -> None:
    with monkeypatch.context() as full:
        full.setattr(*written, fill_disk)
        with pytest.raises(JobError, match="The disk is full; no job was made"):
            service.submit("ada", configure(), "reader-1", write_data)
    assert service.jobs() == []
    assert [path for path in (tmp_path / "jobs").iterdir() if path.is_dir()] == []
    wait_for(service, submit(service).job_id, "done")


def test_a_full_disk_while_jobs_run_loses_no_state(
    service: JobService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = submit(service, steps=LONG).job_id
    wait_for_step(service, job_id, 2)
    with monkeypatch.context() as full:
        full.setattr("finetune.jobs.service.write_job", fill_disk)
        service.pause(job_id)
        folder = wait_for(service, job_id, "paused").folder
        assert read_job(folder).state == "running"
    wait_until(lambda: read_job(folder).state == "paused", "job.json to be written after all")


def test_a_full_disk_at_the_launch_fails_in_words(
    service: JobService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as full:
        full.setattr("finetune.jobs.service.write_job", fill_disk)
        job_id = submit(service).job_id
        failed = wait_for(service, job_id, "failed", "done")
    assert failed.cause == "The disk is full; the process was not started; resume tries again."
    check_nothing_runs(tmp_path)
    service.resume(job_id)
    assert wait_for(service, job_id, "done", "failed").state == "done"


# ---- cheap to watch
def test_a_hundred_jobs_are_cheap_to_watch(tmp_path: Path) -> None:
    service = open_service(tmp_path)
    for number in range(100):
        run = submit(service, f"job{number}").folder / "run"
        line = '{"event":"step","step":%d,"steps":1000,"time_s":%d,"loss":1}\n'
        (run / "log.jsonl").write_text("".join(line % (step, step) for step in range(1, 1001)))
    assert {one.step for one in service.jobs()} == {1000}
    begun = time.process_time()
    for _ in range(10):
        service.jobs()
    assert (time.process_time() - begun) / 10 < 0.05


def test_the_service_makes_the_folder(tmp_path: Path) -> None:
    service = JobService(tmp_path / "data" / "jobs", tmp_path / "adapters")
    assert service.jobs() == []
    assert (tmp_path / "data" / "jobs").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(JobError, match="Cannot write"):
        JobService(tmp_path / "file" / "jobs", tmp_path / "adapters")
