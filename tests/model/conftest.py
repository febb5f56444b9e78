"""What tests of adapters share: an adapter of the random model, a copy to alter, and the model without it."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.adapter_maker import make_adapter

if TYPE_CHECKING:
    from gazevlm_core.model.modeling_gazevlm import GazeVLM


@pytest.fixture(scope="module")
def made(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an adapter; never written to."""
    return make_adapter(tiny_checkpoint, tmp_path_factory.mktemp("adapters") / "made")


@pytest.fixture
def adapter(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(made, tmp_path / "altered")


@pytest.fixture(scope="module")
def model(tiny_checkpoint: Path) -> "GazeVLM":
    """The model without an adapter, one for all: whatever a test leaves on it fails the others, too."""
    from gazevlm_core.inference import GazeEngine
    from gazevlm_core.options import Precision

    return GazeEngine.load(str(tiny_checkpoint), precision=Precision.FP32).model
