"""kill -9 at any moment of a run: what is gone on with ends as if nothing had happened, and nothing half is left."""

import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from finetune.config import FinetuneConfig
from finetune.records import CHECKPOINTS, COMPLETE, read_ending, read_events
from gazevlm_core.model.adapters import AdapterError, read_gaze_config
from tests.conftest import kills
from tests.finetune.killed_run import start
from tests.finetune.run_maker import losses, quick, tensors
from tests.launching import server

BY_TIME, BY_CHANGE = kills(2, 13), kills(6, 12)  # of the clock; of the files, which are written in moments


@dataclass(frozen=True)
class Whole:
    """A run that nobody killed.

    Args:
        context: of its process.
        config: of the run.
        place: folder that holds `adapter` and `run`.
        seconds: from the start of its process to its end.
        changes: of files.
    """

    context: ForkServerContext
    config: FinetuneConfig
    place: Path
    seconds: float
    changes: int


@pytest.fixture(scope="module")
def whole(gaze_folder: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """Run twice: the first process waits for the server's imports."""
    context, config = server(), quick(gaze_folder, tiny_checkpoint, patience=6, max_steps=4, lora_dropout=0.2)
    seconds = 0.0
    for name in ("first", "second"):
        place = tmp_path_factory.mktemp(name)
        begun = time.monotonic()
        process = start(context, config, place / "adapter", count_to=place.with_name(f"{name}.changes"))
        process.join(240)
        assert process.exitcode == 0
        seconds = time.monotonic() - begun
    return Whole(context, config, place, seconds, int(place.with_name("second.changes").read_text()))


def no_half_adapter(place: Path) -> None:
    """Nothing beside the run can be taken for an adapter, unless it is one."""
    for path in place.iterdir():
        if path.name == "run" or path.is_file():
            continue
        try:
            read_gaze_config(path)
        except AdapterError:
            assert path.name == ".adapter.partial"
            continue
        assert path.name in ("adapter", ".adapter.partial")
        assert (path / "provenance.json").is_file()
        assert (path / "README.md").is_file()
        assert tensors(path)


def resume(whole: Whole, place: Path) -> None:
    """Go on to the end, and compare with the run that nobody killed."""
    had_adapter = (place / "adapter").exists()
    process = start(whole.context, whole.config, place / "adapter")
    process.join(120)
    assert process.exitcode == 0, read_events(place / "run")[0][-1]
    ending = read_ending(place / "run")
    assert ending == read_ending(whole.place / "run")
    assert tensors(place / "adapter") == tensors(whole.place / "adapter")
    assert losses(place / "run") == losses(whole.place / "run")
    assert {path.name for path in place.iterdir()} == {"adapter", "run"}
    assert not list(place.rglob("*.partial"))
    marked = {path.parent.name for path in (place / "run" / CHECKPOINTS).glob(f"*/{COMPLETE}")}
    assert had_adapter or {path.name for path in (place / "run" / CHECKPOINTS).iterdir()} == marked


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_at_any_moment_a_run_goes_on(whole: Whole, tmp_path: Path) -> None:
    rng = random.Random(0)
    found: list[tuple[str, int]] = []
    for number in range(BY_TIME + BY_CHANGE):
        place = tmp_path / str(number)
        place.mkdir()
        if number < BY_TIME:
            process = start(whole.context, whole.config, place / "adapter")
            process.join(rng.uniform(0, whole.seconds))
            process.kill()
        else:
            at = 1 + (number - BY_TIME) * (whole.changes - 1) // (BY_CHANGE - 1)  # from the first to the last
            process = start(whole.context, whole.config, place / "adapter", kill_at_change=at)
        process.join(120)
        assert process.exitcode in (-signal.SIGKILL, 0)
        killed = process.exitcode != 0
        assert killed or number < BY_TIME, "the files change in the same order at every run"
        if killed and (place / "run").exists():
            assert read_ending(place / "run") is None
        no_half_adapter(place)
        steps = [event["step"] for event in read_events(place / "run")[0] if event["event"] == "checkpoint"]
        found.append(("adapter" if (place / "adapter").exists() else "", max(steps, default=0)))
        resume(whole, place)
    assert {step for _, step in found} >= {0, 4}, "before the first checkpoint, and after the last"


@pytest.mark.slow
def test_killed_between_the_adapter_and_its_exit_a_run_is_done(whole: Whole, tmp_path: Path) -> None:
    for back in (0, 1):  # the last change is exit.json's temporary file made its own; the one before makes that file
        place = tmp_path / str(back)
        place.mkdir()
        process = start(whole.context, whole.config, place / "adapter", kill_at_change=whole.changes - back)
        process.join(120)
        assert process.exitcode == -signal.SIGKILL
        assert (place / "adapter").is_dir()
        assert read_ending(place / "run") is None
        before = {path.name: path.stat().st_mtime_ns for path in (place / "adapter").iterdir()}
        steps = len(read_events(place / "run")[0])
        resume(whole, place)
        assert {path.name: path.stat().st_mtime_ns for path in (place / "adapter").iterdir()} == before
        assert len(read_events(place / "run")[0]) == steps + 1, "only its end was still to be told"
