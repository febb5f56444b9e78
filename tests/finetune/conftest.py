"""What tests of runs share: data, an untrained base, and one uninterrupted run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from finetune.records import read_provenance
from tests.finetune.case_maker import many, write_folder
from tests.finetune.run_maker import events, go, losses, quick, write_gaze_folder

if TYPE_CHECKING:
    from tests.finetune.two_steps import Done, Run


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty images of twenty patients, read by two; never written to."""
    return write_folder(tmp_path_factory.mktemp("data") / "set", many())


@pytest.fixture(scope="session")
def gaze_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight images; never written to."""
    return write_gaze_folder(tmp_path_factory.mktemp("gaze") / "data")


@pytest.fixture(scope="session")
def uninterrupted(gaze_folder: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder that holds `run` and `adapter` of `quick` as it is."""
    place = tmp_path_factory.mktemp("uninterrupted")
    ending = go(quick(gaze_folder, tiny_checkpoint), place / "adapter", place / "run")
    assert ending.outcome == "done"
    return place


@pytest.fixture
def do(gaze_folder: Path, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Run":
    """Run with values; how it ended is checked."""
    from finetune.run import Training
    from tests.finetune.two_steps import STEPS, Done

    kept: list[Training] = []
    true_go, number = Training.train, iter(range(100))

    def watched_go(training: Training) -> Any:
        kept.append(training)
        return true_go(training)

    monkeypatch.setattr(Training, "train", watched_go)

    def run(**values: Any) -> "Done":
        place = tmp_path / str(next(number))
        config = quick(gaze_folder, tiny_checkpoint, **{**STEPS, **values})
        ending = go(config, place / "adapter", place / "run")
        assert ending.outcome == "done", ending.cause
        assert len(events(place / "run", "step")) == 2
        provenance = read_provenance(place / "adapter")
        assert provenance is not None
        assert all(provenance["config"][name] == config.to_values()[name] for name in values if name != "annotations")
        return Done(kept[-1], place / "adapter", place / "run")

    return run


@pytest.fixture(scope="session")
def plain(
    gaze_folder: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[int, dict[str, float]]:
    """Losses of two steps with nothing set."""
    from tests.finetune.two_steps import STEPS

    place = tmp_path_factory.mktemp("plain")
    assert go(quick(gaze_folder, tiny_checkpoint, **STEPS), place / "adapter", place / "run").outcome == "done"
    return losses(place / "run")
