"""Every method of the Adapt tab's service asks the gate by itself; names from a browser are looked up, never used."""

import errno
import inspect
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from finetune.tab.estimate import NO_RUN
from finetune.tab.form import FormError, TrainingForm
from finetune.tab.service import AdaptService
from gazevlm_core.model.adapters import ADAPTER_FILES
from tests.adapter_maker import make_adapter
from tests.finetune.adapt_maker import (
    ADMIN,
    ANNOTATOR,
    NOBODY,
    REVIEWER,
    FakeJob,
    FakeJobs,
    held_out,
    make_events,
    make_form,
    make_gate,
    make_service,
    verdict,
    write_pairs,
)
from web.identity import LIMITS, NEIGHBOURS, Claim, NotAllowed
from web.training_data import DataChoice

# Who may call what; a method that is new fails below until it stands here.
EVERYBODY = {"welcome", "overview", "history", "compare", "suggest", "command"}
REVIEWERS = {"pairs"}
ADMINS = {"projects", "count", "estimate", "start", "pause", "resume", "cancel", "delete", "pack"}
METHODS = [name for name in dir(AdaptService) if name[0] != "_" and callable(getattr(AdaptService, name))]


def finished(job_id: str, *, better: bool = True, **job: Any) -> tuple[FakeJob, list[dict[str, Any]]]:
    log = [*make_events(6), held_out(6), verdict(better=better)]
    return FakeJob(job_id, f"name-{job_id}", step=6, steps=6, **job), log


@pytest.fixture
def jobs() -> FakeJobs:
    running = FakeJob("now", "now-adapted", "running", "Started.", step=2, steps=6, ended_at_s=None)
    return FakeJobs(finished("new"), (running, make_events(2, 6)), finished("old", better=False))


def call(service: AdaptService, name: str, claim: Claim) -> Any:
    """With arguments that mean nothing: the gate comes before any of them is looked at."""
    method = getattr(service, name)
    wanted = [one for one in inspect.signature(method).parameters.values() if one.default is one.empty]
    assert wanted[0].name == "claim", f"{name} does not ask who calls"
    return method(claim, *(None for _ in wanted[1:]))


def test_every_method_is_for_somebody() -> None:
    assert sorted(METHODS) == sorted([*EVERYBODY, *REVIEWERS, *ADMINS])


@pytest.mark.parametrize("name", METHODS)
def test_the_wrong_role_is_refused_and_the_right_one_is_not(jobs: FakeJobs, name: str) -> None:
    service = make_service(jobs)
    for claim in (NOBODY, ANNOTATOR, REVIEWER, ADMIN):
        if claim not in {**dict.fromkeys(ADMINS, (ADMIN,)), **dict.fromkeys(REVIEWERS, (REVIEWER, ADMIN))}.get(
            name, (NOBODY, ANNOTATOR, REVIEWER, ADMIN)
        ):
            with pytest.raises(NotAllowed, match=r"Only an? (admin|reviewer)|Choose a name"):
                call(service, name, claim)
            with pytest.raises(NotAllowed, match="no role"):
                call(service, name, replace(claim, name="Ann", token="x" * 20))
        else:
            try:
                call(service, name, claim)
            except NotAllowed as error:
                pytest.fail(f"{name} refuses {claim}: {error}")
            except (ValueError, TypeError, AttributeError):
                pass  # nothing was said that could be done
    assert jobs.asked == []


@pytest.mark.parametrize("name", sorted(ADMINS))
def test_on_a_space_tokens_and_chosen_names_give_nothing(jobs: FakeJobs, name: str) -> None:
    gate = make_gate(system="spaces", space_id="a/b", oauth_client_secret="s", admins={"boss"}, reviewers={"rev"})
    service = make_service(jobs, gate=gate)
    for claim in (Claim(None, "boss", ADMIN.token, "1"), Claim("visitor", "boss", "", "1"), Claim("rev", "", "", "1")):
        with pytest.raises(NotAllowed):
            call(service, name, claim)
    assert jobs.asked == []


@pytest.mark.parametrize("name", sorted(ADMINS - {"projects", "count", "estimate"}))
def test_what_changes_something_is_counted_as_training(jobs: FakeJobs, name: str) -> None:
    service = make_service(jobs)
    for _ in range(LIMITS["train"].amount):
        with pytest.raises((ValueError, AttributeError)):
            call(service, name, ADMIN)
    with pytest.raises(NotAllowed, match="too often"):
        call(service, name, ADMIN)


def test_looking_is_limited_too(jobs: FakeJobs) -> None:
    service = make_service(jobs)
    for _ in range(NEIGHBOURS * LIMITS["read"].amount):  # all who are behind one address
        service.history(NOBODY)
    with pytest.raises(NotAllowed, match="too often"):
        service.history(NOBODY)


# ---- looking --------------------------------------------------------------------------------------------------------
def test_the_run_that_goes_on_is_looked_at_unless_another_is_asked_for(jobs: FakeJobs) -> None:
    service = make_service(jobs)
    assert [run.job.job_id for run in service.overview(NOBODY, None).runs] == ["new", "now", "old"]
    assert service.overview(NOBODY, "no such run").chosen.job.job_id == "now"
    assert service.overview(NOBODY, "old").chosen.job.job_id == "old"
    assert make_service().overview(NOBODY, None).chosen is None


def test_the_log_is_for_admins_alone(jobs: FakeJobs) -> None:
    service = make_service(jobs)
    assert [service.overview(claim, "old").log for claim in (NOBODY, ANNOTATOR, REVIEWER)] == ["", "", ""]
    found = service.overview(ADMIN, "old")
    assert found.is_admin
    assert "lines of old" in found.log
    wrong = service.overview(replace(ADMIN, token="not the token at all"), "old")
    assert (wrong.is_admin, wrong.log) == (False, "")


def test_history_holds_what_is_done_alone(jobs: FakeJobs) -> None:
    assert [run.job.job_id for run in make_service(jobs).history(NOBODY)] == ["new", "old"]


@pytest.mark.parametrize("ids", [None, "old", [], ["old"], ["old", "old"], ["new"] * 5 + ["old"] * 0, [1, 2], [["a"]]])
def test_fewer_than_two_runs_cannot_be_compared(jobs: FakeJobs, ids: object) -> None:
    with pytest.raises(FormError, match="Choose 2 to 4 runs"):
        make_service(jobs).compare(NOBODY, ids)


def test_runs_are_compared_in_the_order_they_were_chosen_in(jobs: FakeJobs) -> None:
    runs = make_service(jobs).compare(NOBODY, ["old", "new"])
    assert [run.job.job_id for run in runs] == ["old", "new"]
    with pytest.raises(FormError, match="no such run"):
        make_service(jobs).compare(NOBODY, ["old", "../../etc"])


def test_more_than_four_runs_cannot_be_compared() -> None:
    jobs = FakeJobs(*(finished(str(number)) for number in range(5)))
    with pytest.raises(FormError, match="2 to 4"):
        make_service(jobs).compare(NOBODY, list("01234"))


def test_an_id_is_never_a_path(tmp_path: Path) -> None:
    write_pairs(tmp_path / "seen" / "run")
    jobs = FakeJobs(finished("seen", folder=tmp_path / "seen"))
    service = make_service(jobs)
    assert len(service.pairs(REVIEWER, "seen")) == 2
    for hostile in (str(tmp_path / "seen"), "./seen", "../seen", "", None, ["seen"], {"a": 1}):
        with pytest.raises(FormError, match="no such run"):
            service.pairs(REVIEWER, hostile)
        for name in ("pause", "resume", "cancel", "delete"):
            with pytest.raises(FormError, match="no such run"):
                getattr(service, name)(ADMIN, hostile)
        with pytest.raises(FormError, match="no such run"):
            service.pack(ADMIN, hostile, tmp_path / "packed")
    assert jobs.asked == []


def test_a_name_that_an_adapter_has_is_not_suggested(tmp_path: Path) -> None:
    (tmp_path / "gazevlm-nano-adapted-1").mkdir()
    jobs = FakeJobs((FakeJob("one", "GazeVLM-nano-adapted-2"), []))
    assert make_service(jobs, adapters=tmp_path).suggest(NOBODY, "gazevlm-nano") == "gazevlm-nano-adapted-3"


# ---- training -------------------------------------------------------------------------------------------------------
def test_an_admin_starts_what_the_form_says(tmp_path: Path) -> None:
    jobs = FakeJobs()
    form = make_form(
        name=" mine ", base="org/large model", accepted_only=True, annotators=["A-1"], settings={"epochs": 3}
    )
    job = make_service(jobs).start(ADMIN, form)
    ((_, name, config, creator, write_data),) = jobs.asked
    assert (job.name, name, creator) == ("mine", "mine", "P-root")
    assert (config.base, config.epochs, config.lora_rank) == ("/models/large", 3.0, 16)
    write_data(tmp_path / "data")
    assert (tmp_path / "data" / "choice.json").read_text() == '[true, "A-1"]'


def test_what_cannot_be_trained_is_not_started() -> None:
    jobs = FakeJobs()
    service = make_service(jobs)
    for form, words in (
        (make_form(name="../up"), "name"), (make_form(base="gazevlm-nano; rm"), "Choose a base"),
        (make_form(settings={"epochs": 0}), "Epochs should be greater than 0"),
        (make_form(least_agreement=0.95), "Nothing passes"), (TrainingForm(), "name"),
    ):  # fmt: skip
        with pytest.raises(FormError, match=words):
            service.start(ADMIN, form)
    assert jobs.asked == []


def test_acting_on_a_run_is_handed_on(jobs: FakeJobs) -> None:
    service = make_service(jobs)
    service.overview(NOBODY, "old")
    service.pause(ADMIN, "now")
    service.cancel(ADMIN, "now")
    service.resume(ADMIN, "now")
    service.delete(ADMIN, "old")
    service.delete(ADMIN, "new", adapter=True)
    assert jobs.asked == [
        ("pause", "now"), ("cancel", "now"), ("resume", "now"), ("delete", "old", False), ("delete", "new", True),
    ]  # fmt: skip
    with pytest.raises(FormError, match="no such run"):
        service.pairs(ADMIN, "old")


def test_a_finished_adapter_is_packed_and_nothing_else(tiny_checkpoint: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tiny_checkpoint, tmp_path / "mine")
    (adapter / "optimizer.tmp").write_text("not of the adapter")
    done, queued = finished("done", adapter=adapter), (FakeJob("waits", state="queued"), [])
    service = make_service(FakeJobs(done, queued))
    path = service.pack(ADMIN, "done", tmp_path / "room")
    with zipfile.ZipFile(path) as archive:
        assert set(archive.namelist()) == {f"mine/{name}" for name in (*ADAPTER_FILES, "README.md")}
    with pytest.raises(FormError, match="no adapter yet"):
        service.pack(ADMIN, "waits", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_an_adapter_that_cannot_be_packed_leaves_nothing(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = make_adapter(tiny_checkpoint, tmp_path / "mine")
    service = make_service(FakeJobs(finished("done", adapter=adapter)))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as short:
        short.setattr("finetune.export.files.shutil.copyfileobj", full)
        with pytest.raises(FormError, match="The disk is full; nothing was packed"):
            service.pack(ADMIN, "done", tmp_path / "room")
    (adapter / ADAPTER_FILES[0]).unlink()
    with pytest.raises(ValueError, match=ADAPTER_FILES[0]):
        service.pack(ADMIN, "done", tmp_path / "room")
    assert not (tmp_path / "room").exists()


def test_counts_are_those_of_the_choice() -> None:
    service = make_service()
    assert service.count(ADMIN, TrainingForm()).scanpaths == 12
    count = service.count(ADMIN, TrainingForm(accepted_only=True))
    assert (count.scanpaths, count.left_out) == (5, {"not accepted yet": 7})
    assert TrainingForm(annotators=["B-2"], least_agreement=0.25).choice() == DataChoice(False, ("B-2",), 0.25)
    assert TrainingForm(project="tubes").choice() == DataChoice(project="tubes")


def test_memory_is_said_of_the_chosen_configuration() -> None:
    words = make_service().estimate(ADMIN, make_form(settings={"lora_rank": 8}), 10)
    assert words == f"{NO_RUN} Memory: 8 MiB."


# ---- ZeroGPU --------------------------------------------------------------------------------------------------------
def test_nothing_is_trained_on_zero_gpu_and_the_command_is_exact(jobs: FakeJobs) -> None:
    service = make_service(jobs, zero_gpu=True)
    with pytest.raises(FormError, match="does not fit on ZeroGPU"):
        service.start(ADMIN, make_form())
    with pytest.raises(FormError, match="does not fit on ZeroGPU"):
        service.resume(ADMIN, "old")
    assert jobs.asked == []
    form = make_form(base="org/large model", annotators=["A 1"], settings={"epochs": 3, "dora": True})
    assert service.command(NOBODY, form) == (
        "gazevlm finetune --annotations annotations --base large --out adapters/new --annotators 'A 1' "
        "--dora --epochs 3.0"
    )
