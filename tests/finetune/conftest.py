"""What tests of runs share: data, an untrained base, and one uninterrupted run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from finetune.records import read_provenance
from tests.finetune.case_maker import many, write_folder
from tests.finetune.run_maker import go, losses, quick, write_gaze_folder

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
def do(gaze_folder: Path, tiny_checkpoint: Path, tmp_path: Path) -> "Run":
    """Run with values; how it ended is checked."""
    from tests.finetune.two_steps import STEPS, two_steps

    number = iter(range(100))

    def run(**values: Any) -> "Done":
        config = quick(gaze_folder, tiny_checkpoint, **{**STEPS, **values})
        done = two_steps(config, tmp_path / str(next(number)))
        provenance = read_provenance(done.adapter)
        assert provenance is not None
        assert all(provenance["config"][name] == config.to_values()[name] for name in values if name != "annotations")
        return done

    return run


@pytest.fixture(scope="session")
def usual(gaze_folder: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> "Done":
    """Two steps with nothing set."""
    from tests.finetune.two_steps import STEPS, two_steps

    return two_steps(quick(gaze_folder, tiny_checkpoint, **STEPS), tmp_path_factory.mktemp("usual"))


@pytest.fixture(scope="session")
def plain(usual: "Done") -> dict[int, dict[str, float]]:
    """Losses of those."""
    return losses(usual.run)
