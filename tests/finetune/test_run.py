"""A run is decided by its configuration: the same seed gives the same bytes, stopped and resumed or not."""

import json
import os
import shutil
import signal
import sys
import time
from itertools import accumulate
from pathlib import Path

import pytest

from finetune import held_out, run
from finetune.config import FinetuneConfig
from finetune.predict import Predictions
from finetune.predict import predict_cases as true_predict_cases
from finetune.records import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_STOPPED,
    Measure,
    read_ending,
    read_events,
    read_provenance,
)
from finetune.verdict import CHOSEN
from gazevlm_core.model.adapters import ADAPTER_FILES
from tests.finetune.case_maker import Study, write_folder
from tests.finetune.run_maker import StopAfter, events, go, losses, quick, tensors
from tests.launching import Program, run_program

pytestmark = pytest.mark.slow

USAGE_ERROR = 2
START_S = 200


def test_the_same_seed_gives_the_same_adapter(
    uninterrupted: Path, gaze_folder: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    config = quick(gaze_folder, tiny_checkpoint)
    go(config, tmp_path / "again", tmp_path / "run")
    assert tensors(tmp_path / "again") == tensors(uninterrupted / "adapter")
    assert losses(tmp_path / "run") == losses(uninterrupted / "run")
    go(config.model_copy(update={"seed": 1}), tmp_path / "other", tmp_path / "other.run")
    ours, others = tensors(tmp_path / "other"), tensors(uninterrupted / "adapter")
    assert all(ours[name] != others[name] for name in ours)


def test_the_log_tells_the_run(uninterrupted: Path) -> None:
    log, _ = read_events(uninterrupted / "run")
    kinds = [event["event"] for event in log]
    assert kinds == [
        *["phase"] * kinds.index("start"), "start",
        "step", "step", "checkpoint", "step", "held_out", "step", "checkpoint", "step", "step", "held_out",
        "checkpoint", "phase", "verdict", "end",
    ]  # fmt: skip
    times = [event["time_s"] for event in log]
    assert times == sorted(times)
    assert abs(time.time() - times[-1]) < 3600
    (start,) = events(uninterrupted / "run", "start")
    provenance = read_provenance(uninterrupted / "adapter")
    assert provenance is not None
    sides = provenance["split"]
    assert (start["step"], start["steps"], start["device"]) == (0, 6, "cpu")
    assert (start["images"], start["held_out_images"]) == (len(sides["train"]), len(sides["held_out"]))
    for number, step in enumerate(events(uninterrupted / "run", "step"), start=1):
        assert (step["step"], step["steps"]) == (number, 6)
        whole = step["gaze_loss"] + step["text_loss"] + step["finding_loss"] + 0.1 * step["dwell_loss"]
        assert step["loss"] == pytest.approx(whole, rel=1e-5)
        assert step["grad_norm"] > 0
        assert 0 <= step["learning_rate"] <= 1e-2
    (verdict,), (end,) = events(uninterrupted / "run", "verdict"), events(uninterrupted / "run", "end")
    assert provenance["verdict"] == {name: verdict[name] for name in ("outcome", "why", "scores")}
    assert events(uninterrupted / "run", "held_out")[-1]["measures"] == provenance["measures"]
    ending = read_ending(uninterrupted / "run")
    assert ending is not None
    assert (ending.outcome, ending.cause, ending.step) == ("done", end["cause"], 6)


def test_an_adapter_is_whole(uninterrupted: Path, tmp_path: Path) -> None:
    folder = uninterrupted / "adapter"
    assert {path.name for path in folder.iterdir()} >= {*ADAPTER_FILES, "README.md", "provenance.json"}
    assert {path.name for path in uninterrupted.iterdir()} == {"adapter", "run"}
    (tmp_path / "plain").touch()
    usual = (tmp_path / "plain").stat().st_mode
    readable = [*folder.iterdir(), uninterrupted / "run" / "exit.json", uninterrupted / "run" / "log.jsonl"]
    assert {path.stat().st_mode for path in readable} == {usual}, "whom the umask allows may read it"
    card = (folder / "README.md").read_text(encoding="utf-8")
    provenance = read_provenance(folder)
    assert provenance is not None
    assert card.startswith("---\n")
    assert provenance["verdict"]["why"] in card
    assert str(uninterrupted) not in card + json.dumps(provenance), "no folder of this machine"


@pytest.mark.parametrize(
    ("values", "stops"),
    [
        ({"lora_dropout": 0.0}, (3,)),
        ({"lora_dropout": 0.2}, (1, 2)),
        ({"patience": 6, "evaluations": 6}, (2, 1)),
        ({"accumulation": 2, "group_by_length": True}, (3,)),
    ],
    ids=["no dropout", "dropout", "patience", "accumulation"],
)
def test_stopped_and_resumed_is_as_if_never_stopped(
    values: dict, stops: tuple[int, ...], gaze_folder: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    config = quick(gaze_folder, tiny_checkpoint, **values)
    assert go(config, tmp_path / "whole", tmp_path / "whole.run").outcome == "done"
    out, place, step = tmp_path / "parts", tmp_path / "parts.run", 0
    for number in stops:
        step += number
        ending = go(config, out, place, stop_after=number)
        assert (ending.outcome, ending.step) == ("stopped", step)
        assert f"step {step} of 6" in ending.cause
        assert read_ending(place) == ending
        assert events(place, "checkpoint")[-1]["step"] == step
        assert not out.exists()
    assert go(config, out, place).outcome == "done"
    assert [event["step"] for event in events(place, "start")] == [0, *accumulate(stops)]
    assert losses(place) == losses(tmp_path / "whole.run")
    assert [event["step"] for event in events(place, "step")] == [1, 2, 3, 4, 5, 6], "nothing is done twice"
    assert tensors(out) == tensors(tmp_path / "whole")
    assert scored(place) == scored(tmp_path / "whole.run")


@pytest.mark.parametrize(
    ("scorings", "values", "step"),
    [(1, {}, 3), (2, {}, 6), (3, {}, 6), (2, {"patience": 1, "evaluations": 6, "checkpoints": 1}, 2)],
    ids=["on the way", "after the last step", "at the end", "with patience"],
)
def test_a_request_to_stop_is_heard_in_the_middle_of_a_scoring(
    scorings: int, values: dict, step: int, uninterrupted: Path, gaze_folder: Path, tiny_checkpoint: Path,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Scoring may take longer than anybody waits for a process to end."""
    config, whole = quick(gaze_folder, tiny_checkpoint, **values), uninterrupted
    if values:
        whole = tmp_path / "whole"
        assert go(config, whole / "adapter", whole / "run").outcome == "done"
    begun: list[int] = []

    def predict_cases(*args: object) -> Predictions:
        begun.append(1)
        return true_predict_cases(*args)  # type: ignore[arg-type]

    with monkeypatch.context() as asked:
        asked.setattr(run, "predict_cases", predict_cases)
        asked.setattr(StopAfter, "__call__", lambda _: len(begun) == scorings)
        ending = go(config, tmp_path / "parts", tmp_path / "parts.run")
    assert (ending.outcome, ending.step) == ("stopped", step)
    assert f"step {step} of 6; a checkpoint is kept" in ending.cause
    assert events(tmp_path / "parts.run", "checkpoint")[-1]["step"] == step
    assert not (tmp_path / "parts").exists()
    assert go(config, tmp_path / "parts", tmp_path / "parts.run").outcome == "done"
    assert losses(tmp_path / "parts.run") == losses(whole / "run")
    assert tensors(tmp_path / "parts") == tensors(whole / "adapter")
    assert scored(tmp_path / "parts.run") == scored(whole / "run")


def scored(place: Path) -> list[tuple[int, list]]:
    """Steps after which the held-out images were scored, and the figures."""
    return [(event["step"], event["measures"]) for event in events(place, "held_out")]


# ---- early stopping -------------------------------------------------------------------------------------------------
def score_by_step(monkeypatch: pytest.MonkeyPatch, scores: dict[int, float]) -> None:
    """Let the held-out images say what the test wants at each step, and what they truly say at the end."""
    true = run.Training.measure

    def measure(training: run.Training, step: int) -> list[Measure]:
        found = true(training, step)
        others = [one for one in found if one.name not in held_out.MAIN]
        return [Measure(held_out.SEQUENCE, scores[step], 0.0), *others]

    monkeypatch.setattr(run.Training, "measure", measure)


EARLY = {"patience": 2, "evaluations": 6, "checkpoints": 6}
RISE_AND_FALL = {1: 0.1, 2: 0.5, 3: 0.4, 4: 0.3, 5: 0.9, 6: 0.9}


@pytest.fixture(scope="module")
def second_step(gaze_folder: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is kept after two steps of EARLY, which nothing stops early."""
    place = tmp_path_factory.mktemp("second")
    config = quick(gaze_folder, tiny_checkpoint, **{**EARLY, "patience": 0})
    assert go(config, place / "adapter", place / "run", stop_after=2).outcome == "stopped"
    return place / "run" / "checkpoints" / "checkpoint-2"


@pytest.mark.parametrize("stops", [(), (2,), (3,), (4,)], ids=["", "at the best", "after it", "when it is over"])
def test_early_stopping_publishes_the_best_step(
    stops: tuple[int, ...], second_step: Path, gaze_folder: Path, tiny_checkpoint: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    score_by_step(monkeypatch, RISE_AND_FALL)
    config = quick(gaze_folder, tiny_checkpoint, **EARLY)
    out, place = tmp_path / "adapter", tmp_path / "run"
    for number in stops:
        assert go(config, out, place, stop_after=number).outcome == "stopped"
    ending = go(config, out, place)
    assert (ending.outcome, ending.step) == ("done", 2)
    assert [event["step"] for event in events(place, "step")] == [1, 2, 3, 4], "not one step more"
    assert [event["step"] for event in events(place, "held_out")] == [1, 2, 3, 4]
    provenance = read_provenance(out)
    assert provenance is not None
    assert provenance["training"]["steps"] == 2
    assert tensors(out) == tensors(second_step)


def test_a_run_that_was_over_is_not_gone_on_with(
    gaze_folder: Path, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score_by_step(monkeypatch, RISE_AND_FALL)
    config = quick(gaze_folder, tiny_checkpoint, **EARLY)
    with monkeypatch.context() as broken:
        broken.setattr(run, "answers", fail)
        assert go(config, tmp_path / "adapter", tmp_path / "run").outcome == "failed"
    ending = go(config, tmp_path / "adapter", tmp_path / "run")
    assert (ending.outcome, ending.step) == ("done", 2)
    assert [event["step"] for event in events(tmp_path / "run", "step")] == [1, 2, 3, 4]


def fail(*_: object) -> None:
    raise RuntimeError("on purpose")


def test_where_nothing_can_be_stopped_by_a_run_goes_to_its_end(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """Nobody looked at the images, and all of them have the finding: no path and no AUROC to go by."""
    data = write_folder(tmp_path / "data", [Study(f"i{n}", n, findings={"cardiomegaly": 1.0}) for n in range(8)])
    config = quick(data, tiny_checkpoint, patience=1, max_steps=2)
    ending = go(config, tmp_path / "adapter", tmp_path / "run")
    assert ending.outcome == "done", ending.cause
    assert [event["step"] for event in events(tmp_path / "run", "step")] == [1, 2]
    said = [event["text"] for event in events(tmp_path / "run", "phase")]
    assert sum("nothing to stop early by" in text for text in said) == 2, said


# ---- verdict --------------------------------------------------------------------------------------------------------
def test_with_few_held_out_patients_an_adapter_is_not_judged(
    gaze_folder: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    still = {"learning_rate": 1e-12, "heads_learning_rate": 1e-12, "num_gaze_tokens": None, "max_steps": 1}
    ending = go(quick(gaze_folder, tiny_checkpoint, **still), tmp_path / "adapter", tmp_path / "run")
    assert ending.outcome == "done"
    assert ending.cause.startswith("Too few to tell whether it is better than its base")
    provenance = read_provenance(tmp_path / "adapter")
    assert provenance is not None
    assert (provenance["verdict"]["outcome"], provenance["verdict"]["why"]) == ("too few to tell", ending.cause)
    assert f"**{ending.cause}**" in (tmp_path / "adapter" / "README.md").read_text(encoding="utf-8")
    assert events(tmp_path / "run", "verdict")[0]["outcome"] == "too few to tell"


def test_what_the_held_out_images_chose_and_what_was_not_read_is_told(
    gaze_folder: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(gaze_folder, tmp_path / "data")
    (data / "labels.csv").write_text("file,mass\n0,1\n1,0\n2,perhaps\n")
    config = quick(data, tiny_checkpoint, patience=2, max_steps=2)
    assert go(config, tmp_path / "adapter", tmp_path / "run").outcome == "done"
    said = [event["text"] for event in events(tmp_path / "run", "phase")]
    odd = "mass: holds other values than 0 and 1, first in line 4"
    assert f"Columns of folder that are no findings: {odd}" in said
    assert any("which flatters them" in text for text in said)
    card = (tmp_path / "adapter" / "README.md").read_text(encoding="utf-8")
    assert odd in card
    assert CHOSEN in card


# ---- the command ----------------------------------------------------------------------------------------------------
def command(config: FinetuneConfig, place: Path, *more: str) -> list[str]:
    """As the jobs start it."""
    (place / "config.yaml").write_text(config.to_yaml(), encoding="utf-8")
    start = [sys.executable, "-m", "finetune", "--config", str(place / "config.yaml")]
    return [*start, "--out", str(place / "adapter"), "--run", str(place / "run"), *more]


def wait_for(place: Path, kind: str, process: Program, said: Path) -> None:
    """Until the log has an event; the machine may be busy."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if events(place, kind):
            return
        assert process.poll() is None, f"it ended with {process.returncode}: {said.read_text()}"
        time.sleep(0.02)
    pytest.fail(f"no {kind} after {START_S} s: {said.read_text()}")


@pytest.mark.timeout(900)
def test_the_command_ends_with_a_status(
    repository: Path, gaze_folder: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    config = quick(gaze_folder, tiny_checkpoint, max_steps=60, evaluations=1, checkpoints=1)
    environment = {**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"}
    said = tmp_path / "said.txt"
    process = Program(command(config, tmp_path), repository, environment, said)
    try:
        wait_for(tmp_path / "run", "step", process, said)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)  # impatience changes nothing
        status = process.wait(START_S)
    finally:
        process.kill()
        process.wait()
    assert status == EXIT_STOPPED, said.read_text()
    ending = read_ending(tmp_path / "run")
    assert ending is not None
    assert (ending.outcome, ending.step > 0) == ("stopped", True)
    assert not (tmp_path / "adapter").exists()
    refused = run_program(command(config, tmp_path), repository, environment)
    assert refused.returncode == USAGE_ERROR
    assert "holds a run already; give --resume" in refused.stderr
    resumed = run_program(command(config, tmp_path, "--resume"), repository, environment)
    assert resumed.returncode == EXIT_DONE, resumed.stderr
    assert [event["step"] for event in events(tmp_path / "run", "step")] == list(range(1, 61))
    assert go(config, tmp_path / "whole", tmp_path / "whole.run").outcome == "done"
    assert tensors(tmp_path / "adapter") == tensors(tmp_path / "whole")
    nowhere = quick(tmp_path / "nowhere", tiny_checkpoint)
    (tmp_path / "failing").mkdir()
    failed = run_program(command(nowhere, tmp_path / "failing"), repository, environment)
    assert failed.returncode == EXIT_FAILED
    assert "Traceback" not in failed.stderr
