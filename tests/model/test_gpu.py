"""On CUDA: every precision answers in the right dtype, the embedded model sees what it sees on a CPU, seeds and batches
keep their meaning, and a run trains, stops, goes on and leaves an adapter that a CPU reads."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from gazevlm_core.inference import GazeEngine
from gazevlm_core.model.path_sampling import choose_paths
from gazevlm_core.model.quantise import compute_dtype
from gazevlm_core.options import Attention, DiagnoseOptions, PathChoice, Precision
from phantoms.make import make_phantom
from scripts.make_large_checkpoint import main as make_large
from tests.finetune.run_maker import events, go, losses, quick, write_gaze_folder

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
        assert b.ood_score == pytest.approx(a.ood_score, abs=0.02)
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


def test_a_seed_gives_the_same_path_alone_and_in_company() -> None:
    engine = GazeEngine.load("gazevlm-nano", device="cuda")
    images = engine.encode_images([phantom(1), phantom(2).resize((200, 320)), phantom(3)])
    prefilled = engine.prefill(images, ["Why?"] * 3)
    fields = [engine.model.pointer_field(prefilled, row) for row in range(3)]
    for choice in PathChoice:
        together = [path.patches for path in choose_paths(fields, choice, seed=4)]
        assert together == [path.patches for path in choose_paths(fields, choice, seed=4)]
        assert together == [choose_paths([field], choice, seed=4)[0].patches for field in fields]


def test_a_batch_says_what_single_images_say() -> None:
    engine = GazeEngine.load("gazevlm-nano", device="cuda")
    images = [phantom(1), phantom(2).resize((200, 320))]
    for image, together in zip(images, engine.diagnose_batch(images, ["Why?"] * 2, SHORT), strict=True):
        alone = engine.diagnose(image, "Why?", SHORT)
        assert together.finding_probabilities == pytest.approx(dict(alone.finding_probabilities), abs=0.01)


@pytest.mark.parametrize("attn", [Attention.SDPA, Attention.EAGER])
def test_attention_of_each_kind_sees_alike(attn: Attention) -> None:
    a, b = (GazeEngine.load("gazevlm-nano", device="cuda", attn=one) for one in (Attention.SDPA, attn))
    first, second = (engine.diagnose(phantom(4), options=SHORT) for engine in (a, b))
    assert second.finding_probabilities == pytest.approx(dict(first.finding_probabilities), abs=0.01)


@pytest.mark.parametrize("values", [
    {}, {"precision": "nf4"}, {"cache_features": False, "freeze_vision": False}, {"target_sigma_patches": 0.8},
    {"optimizer": "adamw", "gradient_checkpointing": False, "workers": 1},
], ids=["usual", "nf4", "vision", "soft", "plain"])  # fmt: skip
def test_a_run_trains_stops_and_goes_on(values: dict, tiny_checkpoint: Path, tmp_path: Path) -> None:
    config = quick(write_gaze_folder(tmp_path / "data"), tiny_checkpoint, device="cuda", **values)
    stopped = go(config, tmp_path / "adapter", tmp_path / "run", stop_after=3)
    assert stopped.outcome == "stopped", stopped.cause
    ended = go(config, tmp_path / "adapter", tmp_path / "run")
    assert ended.outcome == "done", ended.cause
    assert losses(tmp_path / "run").keys() == set(range(1, 7))
    assert len(events(tmp_path / "run", "held_out")) == 2
    engines = [
        GazeEngine.load(str(tiny_checkpoint), adapter=tmp_path / "adapter", device=device) for device in ("cpu", "cuda")
    ]
    said = [engine.diagnose(phantom(5), options=SHORT) for engine in engines]
    assert said[1].finding_probabilities == pytest.approx(dict(said[0].finding_probabilities), abs=0.02)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_run_trains_in_sixteen_bits(
    dtype: torch.dtype, large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float16 gradients are scaled, and steps that overflow are left out without ending the run."""
    capability = (7, 5) if dtype == torch.float16 else (8, 0)
    if capability > torch.cuda.get_device_capability():
        pytest.skip("this GPU has no bfloat16 of its own")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
    assert compute_dtype(torch.device("cuda")) == dtype
    config = quick(write_gaze_folder(tmp_path / "data"), large, device="cuda", max_steps=4, checkpoints=1)
    ended = go(config, tmp_path / "adapter", tmp_path / "run")
    assert ended.outcome == "done", ended.cause
    assert losses(tmp_path / "run").keys() == {1, 2, 3, 4}
