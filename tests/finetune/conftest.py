"""What tests of runs share: data, an untrained base, and one uninterrupted run."""

from pathlib import Path

import pytest

from tests.finetune.run_maker import go, quick, write_gaze_folder


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
