"""Whatever is killed, and whenever: a job ends in a state that resumes, and no adapter is ever half there."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from finetune.config import FinetuneConfig
from finetune.jobs.job import JobError, clean_folders, read_job, write_job
from finetune.jobs.service import JobService
from tests.conftest import kills
from tests.finetune.jobs_app import STEPS
from tests.finetune.jobs_maker import (
    check_adapters,
    check_nothing_runs,
    configure,
    is_gone,
    open_service,
    pid_of,
    processes_in,
    uninterrupted,
    wait_for,
    wait_for_step,
    wait_until,
    weights_of,
    write_data,
)

KILLS, LONGER, LONG = kills(8, 25), 120, 100_000


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder for jobs, which no process may survive."""
    yield tmp_path
    check_nothing_runs(tmp_path)


# ---- kill -9
def test_a_killed_trainer_always_resumes_to_the_same_adapter(place: Path) -> None:
    service, rng, killed, ways_on = open_service(place), random.Random(0), 0, set()
    service.start()
    while killed < KILLS:
        job_id = service.submit(f"after{killed}", configure(LONGER), "reader-1").job_id
        while True:
            shown = wait_for(service, job_id, "running", "done", "failed")
            if shown.state == "running" and killed < KILLS:
                if killed % 2:
                    wait_until(lambda folder=shown.folder: has_checkpoint(folder), "a checkpoint")
                if killed:  # the first one at once, before any checkpoint
                    time.sleep(rng.uniform(0, 0.05))
                killed += kill(shown.folder)
                shown = wait_for(service, job_id, "done", "failed")
            check_adapters(place)
            if shown.state == "done":
                break
            if shown.state == "failed":
                assert "killed (signal 9)" in shown.cause
                ways_on.add("goes on from the checkpoint" in shown.cause)
                service.resume(job_id)
        assert weights_of(service.job(job_id).adapter) == uninterrupted(LONGER)
        assert not list(place.rglob("TWO_AT_ONCE"))
    service.close()
    assert ways_on == {True, False}, "some were killed before their first checkpoint, some after"


def has_checkpoint(folder: Path) -> bool:
    """Whether a job kept one, or has ended."""
    return any(folder.rglob("COMPLETE")) or not processes_in(folder)


def kill(folder: Path) -> bool:
    """Kill the process of a job, if there is one."""
    pid = json.loads((folder / "job.json").read_text())["pid"]
    try:
        os.kill(pid or 2**30, signal.SIGKILL)
    except ProcessLookupError:
        return False  # it ended just now
    return True


def test_a_killed_app_takes_up_every_job_where_it_was(place: Path, repository: Path) -> None:
    rng, command = random.Random(1), [sys.executable, "-m", "tests.finetune.jobs_app", str(place)]
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, cwd=repository, env=environment
    ) as template:
        assert template.stdin is not None
        assert template.stdout is not None
        for number in range(KILLS):
            template.stdin.write(f"job{number}\n" if number % 4 == 0 else "\n")
            app = int(template.stdout.readline())
            time.sleep(rng.uniform(0, 0.2))
            os.kill(app, signal.SIGKILL)
            assert template.stdout.readline() == "dead\n"
            check_adapters(place)
            assert len(processes_in(place)) <= 2, "the template, and at most one trainer"
        template.stdin.close()
    finish_all(place)


def finish_all(place: Path) -> None:
    """What the last app left comes to its end in a new one."""
    service = open_service(place)
    service.start()
    jobs = service.jobs()
    assert 1 <= len(jobs) <= KILLS // 4 + 1
    for shown in jobs:
        if wait_for(service, shown.job_id, "paused", "failed", "done").state != "done":
            service.resume(shown.job_id)
        done = wait_for(service, shown.job_id, "failed", "done")
        assert done.state == "done"
        assert weights_of(done.adapter) == uninterrupted(STEPS)
        assert (done.folder / "data" / "scanpaths.jsonl").is_file()
    service.close()
    folders = [path.name for path in (place / "jobs").iterdir() if path.is_dir()]
    assert sorted(folders) == sorted(shown.job_id for shown in jobs)
    assert not list(place.rglob("TWO_AT_ONCE"))
    assert not list(place.rglob(".job.json-*"))


@pytest.mark.parametrize("moment", ["service.write_job", "process.Process.go", "service.JobService._save"])
def test_an_app_killed_within_a_launch_leaves_no_unknown_process(place: Path, moment: str, repository: Path) -> None:
    code = (
        "import os, time\n"
        "from pathlib import Path\n"
        "from finetune.jobs import process, service\n"
        "from tests.finetune.jobs_maker import configure, open_service\n"
        f"jobs = open_service(Path({str(place)!r}))\n"
        "jobs.submit('ada', configure(5), 'reader-1')\n"
        f"{moment} = lambda *_: os.kill(os.getpid(), 9)\n"
        "jobs.start()\n"
        "time.sleep(60)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code], cwd=repository, check=False, timeout=30)
    assert killed.returncode == -signal.SIGKILL
    wait_until(lambda: not processes_in(place), "the process to end")
    begun = [path.name for path in place.rglob("log.jsonl")]
    assert begun == (["log.jsonl"] if moment == "service.JobService._save" else []), "nothing trains that nobody knows"
    service = open_service(place)
    service.start()
    (job,) = service.jobs()
    done = wait_for(service, job.job_id, "done", "failed")
    assert weights_of(done.adapter) == uninterrupted(5)
    service.close()


# ---- restarts
def test_closing_the_app_pauses_and_its_next_start_goes_on(place: Path) -> None:
    first = open_service(place)
    first.start()
    job_id = first.submit("ada", configure(300), "reader-1").job_id
    paused_id = first.submit("bob", configure(300), "reader-1").job_id
    first.pause(paused_id)
    step = wait_for_step(first, job_id, 5).step
    first.close()
    check_nothing_runs(place)
    closed = first.job(job_id)
    assert closed.state == "queued"
    assert closed.cause.startswith("Interrupted when the app was closed at step")
    assert "; it goes on from the checkpoint at step" in closed.cause
    second = open_service(place)
    assert second.job(job_id).step >= step
    second.start()
    done = wait_for(second, job_id, "done", "failed")
    assert weights_of(done.adapter) == uninterrupted(300)
    steps = [event["step"] for event in second.events(job_id)[0] if event["event"] == "step"]
    assert steps == list(range(1, 301))
    assert second.job(paused_id).state == "paused", "what a person paused stays so"
    second.close()


def test_a_process_that_still_stops_when_the_app_is_back_loses_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_STEP_S", "0.3")
    first = open_service(place)
    first.start()
    job_id = first.submit("ada", configure(4), "reader-1").job_id
    wait_for_step(first, job_id, 1)
    first.close(wait_s=0)
    assert first.job(job_id).state == "running"
    second = open_service(place)
    second.start()
    assert second.job(job_id).cause.startswith("Stops after this step, since the app is being closed")
    wait_until(lambda: second.job(job_id).cause.startswith("Goes on from step"))
    wait_for(second, job_id, "done")
    steps = [event["step"] for event in second.events(job_id)[0] if event["event"] == "step"]
    assert steps == [1, 2, 3, 4]
    second.close()


def leave_running(place: Path, steps: int) -> tuple[str, int]:
    """A job whose app was killed; its id, and that of its process."""
    code = (
        "import os\n"
        "from tests.finetune.jobs_maker import configure, open_service, wait_for_step\n"
        f"service = open_service(__import__('pathlib').Path({str(place)!r}))\n"
        "service.start()\n"
        f"job = service.submit('ada', configure({steps}), 'reader-1')\n"
        "wait_for_step(service, job.job_id, 3)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    repository = Path(__file__).resolve().parents[2]
    killed = subprocess.run([sys.executable, "-c", code], cwd=repository, check=False)
    assert killed.returncode == -signal.SIGKILL
    job = open_service(place).jobs()[0]
    assert job.state == "running"
    return job.job_id, pid_of(job)


def test_a_process_that_outlived_the_app_is_adopted(place: Path) -> None:
    job_id, pid = leave_running(place, LONG)
    service = open_service(place)
    service.start()
    adopted = service.job(job_id)
    assert (adopted.state, adopted.cause, pid_of(adopted)) == ("running", "Found again, running.", pid)
    wait_for_step(service, job_id, adopted.step + 5)
    service.pause(job_id)
    assert wait_for(service, job_id, "paused", "failed").cause.startswith("Paused at step")
    service.resume(job_id)
    running = wait_for(service, job_id, "running")
    assert pid_of(running) != pid
    os.kill(pid_of(running), signal.SIGKILL)
    assert "signal 9" in wait_for(service, job_id, "failed").cause
    service.close()


@pytest.mark.parametrize(
    ("how", "state", "cause"),
    [
        (None, "done", "The adapter is better than its base."),
        (signal.SIGTERM, "queued", "Stopped while the app was away at step"),
        (signal.SIGKILL, "failed", "The process ended while the app was away (killed, or the machine was restarted)"),
    ],
)
def test_what_ended_while_the_app_was_away_is_settled(
    place: Path, how: signal.Signals | None, state: str, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, pid = leave_running(place, LONG if how else 100)
    if how is not None:
        os.kill(pid, how)
    wait_until(lambda: is_gone(pid), "the process to end")
    service = open_service(place)
    monkeypatch.setattr(service, "_start_next", lambda: None)  # so that a queued job can be looked at
    service.start()
    synchronized_s = service.job(job_id)
    assert synchronized_s.state == state
    assert synchronized_s.cause.startswith(cause)
    service.close()


def test_an_adopted_process_that_is_killed_fails_in_words(place: Path) -> None:
    job_id, pid = leave_running(place, LONG)
    service = open_service(place)
    service.start()
    os.kill(pid, signal.SIGKILL)
    failed = wait_for(service, job_id, "failed", "done")
    assert failed.cause.startswith("The process ended without a word (killed, perhaps because memory ran out)")
    service.close()


def test_a_stop_that_the_app_was_killed_before_sending_is_sent_by_the_next(place: Path) -> None:
    job_id, _ = leave_running(place, LONG)
    folder = open_service(place).job(job_id).folder
    write_job(replace(read_job(folder), wish="cancel"))
    service = open_service(place)
    service.start()
    cancelled = wait_for(service, job_id, "cancelled", "failed")
    assert cancelled.cause.startswith("Cancelled at step")
    assert "resume goes on from the checkpoint at step" in cancelled.cause
    service.close()


def test_another_process_with_the_same_id_is_left_alone(place: Path) -> None:
    job_id, pid = leave_running(place, LONG)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: is_gone(pid), "the process to end")
    job_file = open_service(place).job(job_id).folder / "job.json"
    values = json.loads(job_file.read_text())
    values["process_created_s"] -= 60  # it ran a minute ago, and its id was given out again since
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        try:
            job_file.write_text(json.dumps({**values, "pid": stranger.pid}))
            service = open_service(place)
            service.start()
            assert service.job(job_id).state == "failed"
            service.close()
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_an_adapter_that_was_written_before_the_kill_counts(place: Path) -> None:
    job_id, pid = leave_running(place, LONG)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: is_gone(pid), "the process to end")
    adapter = place / "adapters" / "ada"
    adapter.mkdir()
    (adapter / "provenance.json").write_text("{}")
    service = open_service(place)
    service.start()
    assert (service.job(job_id).state, service.job(job_id).adapter) == ("done", adapter)
    service.close()


# ---- what lies about
def test_half_made_and_half_deleted_folders_are_cleaned(place: Path) -> None:
    for name in ("jobs/20260101-000000-abcdef/data", "jobs/.deleted-x/run", "adapters/.deleted-ada-1", "adapters/.new"):
        (place / name).mkdir(parents=True)
    service = open_service(place)
    assert service.jobs() == []
    service.start()
    assert [path.name for path in (place / "jobs").iterdir()] == [".lock"]
    assert [path.name for path in (place / "adapters").iterdir()] == [".new"]
    service.close()


def test_a_job_being_made_is_not_taken_for_half_made(place: Path) -> None:
    service = open_service(place)

    def start_meanwhile(folder: Path) -> None:
        service.start()
        write_data(folder)

    job_id = service.submit("ada", configure(3), "reader-1", start_meanwhile).job_id
    wait_for(service, job_id, "done")
    service.close()


def test_a_job_that_is_ready_while_others_are_cleaned_up_is_kept(place: Path) -> None:
    job = open_service(place).submit("ada", configure(3), "reader-1")
    content = (job.folder / "job.json").read_text()
    (job.folder / "job.json").unlink()

    class ReadyJustNow(set[str]):
        """Jobs that are being made, until somebody asks whether they are."""

        def __contains__(self, _: object) -> bool:
            (job.folder / "job.json").write_text(content)
            return False

    clean_folders(place / "jobs", place / "adapters", ReadyJustNow())
    assert [one.job_id for one in open_service(place).jobs()] == [job.job_id]


def test_job_json_is_what_earlier_versions_wrote(place: Path) -> None:
    job = open_service(place).submit("ada", configure(3), "reader-1")
    values = {
        "job_id": job.job_id, "name": "ada", "state": "paused", "cause": "Paused at step 7; resume goes on.",
        "creator": "reader-1", "created_at_s": 1.5, "queued_at_s": 2.5, "started_at_s": 3.5, "ended_at_s": 9.5,
        "wish": "cancel", "pid": 12, "process_created_s": 3.25, "printed_from": 40, "begun_at_s": 3.0, "worked_s": 6.0,
    }  # fmt: skip
    (job.folder / "job.json").write_text(json.dumps(values))
    read = read_job(job.folder)
    assert (read.state, read.wish, read.pid, read.config) == ("paused", "cancel", 12, job.config)
    write_job(replace(read, step=7, steps=9, adapter=place))  # progress is the log's
    assert json.loads((job.folder / "job.json").read_text()) == values


@pytest.mark.parametrize("content", ["{", "{}", "[]", '{"state": "sleeping"}'])
def test_a_broken_job_is_passed_over_and_kept(place: Path, content: str, caplog: pytest.LogCaptureFixture) -> None:
    service = open_service(place)
    broken, whole = (service.submit(name, configure(3), "reader-1", write_data) for name in ("broken", "whole"))
    (broken.folder / "job.json").write_text(content)
    again = open_service(place)
    assert [job.job_id for job in again.jobs()] == [whole.job_id]
    assert "A job is passed over" in caplog.text
    again.start()
    wait_for(again, whole.job_id, "done")
    again.close()
    assert (broken.folder / "data" / "scanpaths.jsonl").is_file()


def test_two_apps_never_run_the_same_jobs(place: Path) -> None:
    first, second = open_service(place), open_service(place)
    first.start()
    with pytest.raises(JobError, match="Another app runs the jobs in"):
        second.start()
    first.close()
    second.start()
    second.close()


def test_the_queue_keeps_its_order_over_a_restart(place: Path) -> None:
    first = open_service(place)
    names = ["c", "a", "b"]
    for name in names:
        first.submit(name, configure(5), "reader-1")
    second: JobService = open_service(place)
    second.start()
    jobs = [wait_for(second, job.job_id, "done") for job in reversed(second.jobs())]
    assert [job.name for job in sorted(jobs, key=lambda job: job.begun_at_s)] == names
    assert FinetuneConfig.from_yaml(jobs[0].folder / "config.yaml") == jobs[0].config
    second.close()
