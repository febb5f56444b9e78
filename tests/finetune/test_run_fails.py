"""Whatever goes wrong is said in one sentence, nothing half is left, and what was kept can be gone on from."""

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from finetune import features, prepare, provenance, run, trainer
from finetune.command import LOCK_FILE
from finetune.records import BEGUN, CHECKPOINTS, Ending, read_ending, write_json
from finetune.run_log import RunLog
from finetune.stopping import FULL_DISK, NO_MEMORY, cause_of
from gazevlm_core.model import adapters
from gazevlm_core.model.modeling_gazevlm import GazeVLM
from tests.finetune.run_maker import events, go, losses, quick, tensors, write_gaze_folder

pytestmark = pytest.mark.slow


def failed(config: Any, place: Path, **options: Any) -> str:
    """Why a run failed; that it left its ending and no adapter is checked."""
    ending = go(config, place / "adapter", place / "run", **options)
    assert ending.outcome == "failed"
    assert read_ending(place / "run") == ending
    assert events(place / "run", "end")[-1]["cause"] == ending.cause
    assert [path.name for path in place.iterdir() if path.is_dir()] == ["run"], "nothing half published"
    assert "\n" not in ending.cause
    return ending.cause


# ---- no room ----
class After:
    """Does what a function does, and from a given call on raises instead."""

    def __init__(self, true: Callable, error: Exception, calls: int) -> None:
        self._true, self._error, self._left = true, error, calls

    def __call__(self, *args: Any, **options: Any) -> Any:
        """The call."""
        self._left -= 1
        if self._left < 0:
            raise self._error
        return self._true(*args, **options)


NO_ROOM = OSError(errno.ENOSPC, "No space left on device")
WRITERS = [
    (features, "save_file", 3),
    (torch, "save", 4),
    (trainer, "save_adapter", 1),
    (adapters, "save_file", 1),
    (RunLog, "write", 7),
    (run, "write_before_after", 0),
    (provenance, "write_json", 0),
    (adapters, "save_file", 3),
    (run, "sync_files", 0),
]


@pytest.mark.parametrize(("module", "name", "calls"), WRITERS, ids=[
    "features", "optimizer of a checkpoint", "checkpoint", "heads of a checkpoint", "log", "before and after",
    "provenance", "publishing", "publishing, at the end",
])  # fmt: skip
def test_a_full_disk_is_said_and_gone_on_from(
    module: Any, name: str, calls: int, gaze_folder: Path, tiny_checkpoint: Path, uninterrupted: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    config = quick(gaze_folder, tiny_checkpoint)
    true = getattr(module, name)
    writer = After(true, NO_ROOM, calls)
    with monkeypatch.context() as full:
        full.setattr(module, name, lambda *args, **options: writer(*args, **options))
        ending = go(config, tmp_path / "adapter", tmp_path / "run")
    assert ending == Ending("failed", FULL_DISK)
    assert {path.name for path in tmp_path.iterdir()} == {"run"}
    assert read_ending(tmp_path / "run") == ending, "also where the log's last line found no room"
    ending = go(config, tmp_path / "adapter", tmp_path / "run")
    assert ending.outcome == "done", ending.cause
    assert tensors(tmp_path / "adapter") == tensors(uninterrupted / "adapter")
    if module is not RunLog:
        assert losses(tmp_path / "run") == losses(uninterrupted / "run")
    assert {path.name for path in tmp_path.iterdir()} == {"adapter", "run"}
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize("numbers", [10, 100_000])
def test_torch_that_truly_writes_to_a_full_disk(numbers: int) -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.save(torch.zeros(numbers), "/dev/full")
    assert cause_of(raised.value, ()) == FULL_DISK


@pytest.mark.parametrize("error", [
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
], ids=["python", "torch", "cuda"])  # fmt: skip
def test_no_memory_is_said(
    error: Exception, gaze_folder: Path, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = quick(gaze_folder, tiny_checkpoint)
    with monkeypatch.context() as short:
        short.setattr(trainer.AdaptTrainer, "training_step", After(trainer.AdaptTrainer.training_step, error, 0))
        assert failed(config, tmp_path) == NO_MEMORY


def test_torch_truly_asked_for_too_much_memory() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**58, dtype=torch.uint8)
    assert cause_of(raised.value, ()) == NO_MEMORY


# ---- no number ----
def test_a_loss_that_is_no_number_ends_the_run(
    gaze_folder: Path, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0
    true = GazeVLM.forward

    def forward(model: GazeVLM, *args: Any, **batch: Any) -> Any:
        nonlocal steps
        losses = true(model, *args, **batch)
        steps += model.training
        if model.training and steps >= 4:
            losses.loss = losses.loss * float("nan")
        return losses

    monkeypatch.setattr(GazeVLM, "forward", forward)
    config = quick(gaze_folder, tiny_checkpoint, checkpoints=6)
    said = failed(config, tmp_path)
    assert said == (
        "The loss is no number any more at step 4; start again with a lower learning_rate and heads_learning_rate."
    )
    assert [event["step"] for event in events(tmp_path / "run", "step")] == [1, 2, 3]
    kept = sorted(path.name for path in (tmp_path / "run" / CHECKPOINTS).iterdir())
    assert kept == ["checkpoint-2", "checkpoint-3"], "weights that are no numbers are not kept"


def test_an_absurd_rate_ends_in_words(gaze_folder: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    absurd = {"learning_rate": 0.99, "heads_learning_rate": 0.99, "warmup_share": 0, "lora_rank": 1}
    absurd["lora_alpha"] = 9 * 10**18  # enough to overflow whatever the CPU's products are made of
    assert "no number any more" in failed(quick(gaze_folder, tiny_checkpoint, max_steps=20, **absurd), tmp_path)


# ---- data, base, folders ----
def empty(folder: Path) -> None:
    """Images that nobody looked at."""
    write_gaze_folder(folder, images=2)
    for name in ("scanpaths.jsonl", "studies.jsonl"):
        (folder / name).unlink()


def contradictory(folder: Path) -> None:
    """One picture twice, with and without a finding."""
    write_gaze_folder(folder, images=3)
    shutil.copy(folder / "images" / "0.png", folder / "images" / "1.png")


def one_patient(folder: Path) -> None:
    """Nobody left to score on."""
    write_gaze_folder(folder, images=1)


def broken(folder: Path) -> None:
    """Pictures that are none; a single one would be left out."""
    write_gaze_folder(folder, images=3)
    for path in (folder / "images").iterdir():
        path.write_bytes(b"no picture")


def no_json(folder: Path) -> None:
    """A line that is cut off."""
    write_gaze_folder(folder, images=3)
    (folder / "scanpaths.jsonl").write_text('{"image_id": "0.p', encoding="utf-8")


@pytest.mark.parametrize(("make", "words"), [
    (lambda folder: None, "there is nothing at"),
    (empty, "no image there has a scanpath, a finding or a report; choose other data"),
    (contradictory, "is the same, and is said to have"),
    (one_patient, "a second one is needed to score on"),
    (broken, "no image can be read; the first: folder, image 0"),
    (no_json, "scanpaths.jsonl"),
], ids=["missing", "empty", "contradictory", "one patient", "broken images", "broken line"])  # fmt: skip
def test_data_that_cannot_be_learned_from(
    make: Callable[[Path], None], words: str, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    make(tmp_path / "data")
    (tmp_path / "place").mkdir()
    said = failed(quick(tmp_path / "data", tiny_checkpoint), tmp_path / "place")
    assert words in said
    assert "not an error that is known" not in said


def test_a_base_that_is_missing(gaze_folder: Path, tmp_path: Path) -> None:
    said = failed(quick(gaze_folder, tmp_path / "nothing"), tmp_path)
    assert "nothing" in said
    assert "not an error that is known" not in said


def test_an_adapter_of_something_else_is_left_alone(
    gaze_folder: Path, tiny_checkpoint: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    shutil.copytree(uninterrupted / "adapter", tmp_path / "adapter")
    (tmp_path / "notes").mkdir()
    config = quick(gaze_folder, tiny_checkpoint)
    for out, seed, why in (("adapter", 1, ", made with another seed"), ("notes", 0, " and is no adapter")):
        other = config.model_copy(update={"seed": seed})
        ending = go(other, tmp_path / out, tmp_path / f"{out}.run")
        assert ending.outcome == "failed"
        assert f"is there already{why}" in ending.cause
    assert tensors(tmp_path / "adapter") == tensors(uninterrupted / "adapter")
    assert go(config, tmp_path / "adapter", tmp_path / "same").outcome == "done"
    (tmp_path / "adapter" / "provenance.json").write_text("{", encoding="utf-8")
    ending = go(config, tmp_path / "adapter", tmp_path / "torn")
    assert ending.outcome == "failed"
    assert "not an error that is known" not in ending.cause


def test_a_run_is_gone_on_with_as_it_was_begun(gaze_folder: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    config = quick(gaze_folder, tiny_checkpoint)
    place = tmp_path / "run"
    assert go(config, tmp_path / "adapter", place, stop_after=2).outcome == "stopped"
    ending = go(config.model_copy(update={"lora_rank": 8, "seed": 3}), tmp_path / "adapter", place)
    assert ending.outcome == "failed"
    assert "was begun with another lora_rank (4, not 8)" in ending.cause
    data = write_gaze_folder(tmp_path / "other", seed=1)
    ending = go(quick(data, tiny_checkpoint), tmp_path / "adapter", place)
    assert ending.outcome == "failed"
    assert "was begun with other data" in ending.cause
    begun = json.loads((place / BEGUN).read_text(encoding="utf-8"))
    assert begun["processes"] == 1
    write_json(place / BEGUN, {**begun, "processes": 2})
    ending = go(config, tmp_path / "adapter", place)
    assert ending.outcome == "failed", "half of the steps were left, or twice as many"
    assert "was begun on 2 processes, not 1; launch as many again, or give another folder" in ending.cause
    write_json(place / BEGUN, {name: value for name, value in begun.items() if name != "processes"})  # as before
    moved = shutil.copytree(gaze_folder, tmp_path / "moved")
    assert go(quick(moved, tiny_checkpoint), tmp_path / "adapter", place).outcome == "done"


def test_an_unknown_error_is_no_silence(
    gaze_folder: Path, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def fit_places(*_: object) -> None:
        raise LookupError("no such\nplace")

    monkeypatch.setattr(prepare, "fit_places", fit_places)
    said = failed(quick(gaze_folder, tiny_checkpoint), tmp_path)
    assert said.startswith("LookupError: no such place (not an error that is known")
    assert "Traceback" in capsys.readouterr().err
    assert json.loads((tmp_path / "run" / "exit.json").read_text())["outcome"] == "failed"


def test_a_run_of_another_process_is_left_alone(gaze_folder: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / LOCK_FILE):
        ending = go(quick(gaze_folder, tiny_checkpoint), tmp_path / "adapter", tmp_path / "run")
    assert (ending.outcome, ending.cause) == (
        "failed", f"Another process trains in {tmp_path / 'run'}; wait until it ends, or give another folder."
    )  # fmt: skip
    assert [path.name for path in (tmp_path / "run").iterdir()] in ([LOCK_FILE], [])
