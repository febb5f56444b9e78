"""On CUDA: every precision answers in the right dtype, and the embedded model sees what it sees on a CPU."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from gazevlm_core.inference import GazeEngine
from gazevlm_core.model.quantise import compute_dtype
from gazevlm_core.options import DiagnoseOptions, Precision
from gazevlm_core.phantom.make import make_phantom
from tools.make_large_checkpoint import main as make_large

pytestmark = pytest.mark.gpu
SHORT = DiagnoseOptions(max_new_tokens=4)


def phantom(seed: int) -> Image.Image:
    return Image.fromarray(make_phantom(seed, size_px=300).image).convert("RGB")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large") / "wide"
    make_large(folder, text_layers=1, vision_layers=1, untied=False, shard="400MB")
    return folder


def test_the_embedded_model_sees_what_it_sees_on_a_cpu() -> None:
    here, there = (GazeEngine.load("gazevlm-nano", device=device) for device in ("cpu", "cuda"))
    for seed in range(5):
        a, b = (engine.diagnose(phantom(seed), options=SHORT) for engine in (here, there))
        assert b.finding_probabilities == pytest.approx(dict(a.finding_probabilities), abs=0.02)
        assert b.strangeness == pytest.approx(a.strangeness, abs=0.02)
        assert b.grid == a.grid


@pytest.mark.parametrize("precision", list(Precision))
def test_every_precision_answers(large: Path, precision: Precision) -> None:
    engine = GazeEngine.load(str(large), precision=precision, device="cuda")
    assert engine.model.device.type == "cuda"
    records = list(engine.stream(phantom(1), "Why?", SHORT))
    assert records[0].scanpath is None
    assert "untrained" in records[0].notes[0]
    kept_full = {Precision.BF16: torch.bfloat16, Precision.FP32: torch.float32}
    expected = kept_full.get(precision, compute_dtype(torch.device("cuda")))
    assert engine.model.model.visual.dtype is expected
