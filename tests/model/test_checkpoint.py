"""Loading, saving and quantising, on the embedded size and on a look-alike of the real 3B."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText

from gazevlm_core.inference import GazeEngine
from gazevlm_core.model.checkpoint import CheckpointError, load_checkpoint, pick_device, save_quantised
from gazevlm_core.model.path_sampling import choose_path
from gazevlm_core.model.processing_gazevlm import GAZE_TOKEN, token_id
from gazevlm_core.model.quantise import compute_dtype
from gazevlm_core.options import DiagnoseOptions, Precision
from scripts.make_large_checkpoint import FIRST_SPECIAL_ID, SPECIAL_TOKENS
from scripts.make_large_checkpoint import main as make_large
from tests.finetune.run_maker import go, quick, write_gaze_folder

IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 260, 3), dtype=np.uint8))
SHORT = DiagnoseOptions(max_new_tokens=4)


def states(engine: GazeEngine) -> torch.Tensor:
    """Gaze states of one image and question, [1, K, D]."""
    hidden = engine.prefill(engine.encode_images([IMAGE]), ["Why?"], gaze=True).gaze_hidden
    assert hidden is not None
    return hidden.float()


def test_saving_and_loading_changes_nothing(tiny_checkpoint: Path, tmp_path: Path) -> None:
    first = GazeEngine.load(str(tiny_checkpoint))
    first.model.save_pretrained(tmp_path)
    first.processor.save_pretrained(tmp_path)
    again = GazeEngine.load(str(tmp_path))
    assert torch.equal(states(first), states(again))
    assert first.diagnose(IMAGE).answer == again.diagnose(IMAGE).answer
    assert again.gaze_config == first.gaze_config


def test_a_four_bit_checkpoint_round_trips_exactly(tiny_checkpoint: Path, tmp_path: Path) -> None:
    save_quantised(tiny_checkpoint, tmp_path)
    loaded = GazeEngine.load(str(tmp_path))
    assert loaded.checkpoint.precision is Precision.NF4
    assert type(loaded.model.model.language_model.layers[0].mlp.up_proj).__name__ == "Linear4bit"
    assert type(loaded.model.model.visual.blocks[0].attn.qkv) is torch.nn.Linear
    assert type(loaded.model.gaze_heads.query) is torch.nn.Linear
    assert loaded.model.model.visual.dtype == torch.float32
    assert torch.equal(states(GazeEngine.load(str(tmp_path))), states(loaded))
    fresh = GazeEngine.load(str(tiny_checkpoint), precision=Precision.NF4)
    assert torch.nn.functional.cosine_similarity(states(fresh), states(loaded), dim=-1).min() > 0.9999
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 10e6


def test_taking_a_state_dict_between_answers_changes_nothing(tiny_checkpoint: Path) -> None:
    """On CPUs with AVX512-BF16, bitsandbytes would repack the weights and bring them back changed."""
    engine = GazeEngine.load(str(tiny_checkpoint), precision=Precision.NF4)
    before = {name: tensor.clone() for name, tensor in engine.model.state_dict().items()}
    first = states(engine)
    after = engine.model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert torch.equal(states(engine), first)


@pytest.mark.parametrize("precision", [Precision.NF4, Precision.INT8, Precision.BF16])
def test_every_precision_stays_near_full_precision(tiny_checkpoint: Path, precision: Precision) -> None:
    full = states(GazeEngine.load(str(tiny_checkpoint), precision=Precision.FP32))
    less = states(GazeEngine.load(str(tiny_checkpoint), precision=precision))
    similarity = torch.nn.functional.cosine_similarity(full, less, dim=-1)
    assert float(similarity.min()) > 0.9
    assert not torch.equal(full, less)


def test_a_quantised_checkpoint_refuses_another_precision(tiny_checkpoint: Path, tmp_path: Path) -> None:
    save_quantised(tiny_checkpoint, tmp_path)
    with pytest.raises(CheckpointError, match="saved quantised"):
        load_checkpoint(str(tmp_path), precision=Precision.FP32)


def test_missing_folders_and_foreign_models_are_refused(tmp_path: Path, tiny_checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match="no-such-model"):
        load_checkpoint(str(tmp_path / "no-such-model"))
    foreign = shutil.copytree(tiny_checkpoint, tmp_path / "foreign")
    config = json.loads((foreign / "config.json").read_text())
    (foreign / "config.json").write_text(json.dumps({**config, "model_type": "llama"}))
    with pytest.raises(CheckpointError, match=r"needs a checkpoint of the Qwen2\.5-VL or Qwen3-VL family"):
        load_checkpoint(str(foreign))


def test_incomplete_or_damaged_weights_are_refused(tmp_path: Path, tiny_checkpoint: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(tiny_checkpoint, tmp_path / "damaged")
    weights = load_file(folder / "model.safetensors")
    for left_out in ("gaze_heads.query.weight", "model.norm.weight"):
        kept = {name: tensor for name, tensor in weights.items() if name != left_out}
        assert len(kept) == len(weights) - 1
        save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(CheckpointError, match="not a complete"):
            load_checkpoint(str(folder))
    (folder / "model.safetensors").write_bytes((tiny_checkpoint / "model.safetensors").read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="cannot load"):
        load_checkpoint(str(folder))


def test_devices_and_dtypes_follow_the_hardware() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    if not torch.cuda.is_available():
        assert pick_device() == torch.device("cpu")
        with pytest.raises(CheckpointError, match="no CUDA device"):
            pick_device("cuda")
    native = torch.cpu._is_amx_tile_supported()
    assert compute_dtype(torch.device("cpu")) == (torch.bfloat16 if native else torch.float32)


@pytest.fixture(scope="module", params=["Qwen/Qwen2.5-VL-3B-Instruct", "Qwen/Qwen3-VL-2B-Instruct"])
def large(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large") / "wide"
    make_large(folder, base=request.param, text_layers=1, vision_layers=1, untied=True, shard="400MB")
    return folder


@pytest.mark.slow
def test_the_weights_of_a_plain_base_arrive_where_they_belong(large: Path) -> None:
    """The base is stored under other names than it is built with; a silent miss would leave random weights."""
    plain = AutoModelForImageTextToText.from_pretrained(large, dtype=torch.float32).state_dict()
    ours = load_checkpoint(str(large), precision=Precision.FP32).model.state_dict()
    assert set(ours) - set(plain) == {name for name in ours if name.startswith("gaze_heads.")}
    assert all(torch.equal(ours[name], tensor) for name, tensor in plain.items())


@pytest.fixture(scope="module")
def large_engine(large: Path) -> GazeEngine:
    """Without an adapter when it comes, and when it goes."""
    return GazeEngine.load(str(large))


@pytest.mark.slow
def test_a_base_of_real_width_loads_sharded_and_says_that_its_gaze_is_untrained(
    large: Path, large_engine: GazeEngine
) -> None:
    assert len(list(large.glob("*.safetensors"))) > 1
    engine = large_engine
    model, tokenizer = engine.model, engine.processor.tokenizer
    assert engine.checkpoint.precision is Precision.NF4
    assert model.model.language_model.embed_tokens.weight.shape == (151_936, 2048)
    assert model.lm_head.weight.data_ptr() != model.model.language_model.embed_tokens.weight.data_ptr()
    ids = [token_id(tokenizer, token) for token in SPECIAL_TOKENS]
    assert ids == list(range(FIRST_SPECIAL_ID, FIRST_SPECIAL_ID + len(SPECIAL_TOKENS)))
    assert token_id(tokenizer, GAZE_TOKEN) == 151_665  # the first row that no token of the base uses
    diagnosis = engine.diagnose(IMAGE, options=SHORT)
    assert not diagnosis.gaze_trained
    assert diagnosis.finding_probabilities == {}
    assert "untrained" in diagnosis.notes[0]
    prefilled = engine.prefill(engine.encode_images([IMAGE]), ["Why?"], gaze=True)
    assert prefilled.gaze_hidden is not None
    assert prefilled.gaze_hidden.shape == (1, 12, 2048)
    assert {parameter.dtype for parameter in model.gaze_heads.parameters()} == {torch.float32}
    assert choose_path(model.pointer_field(prefilled, 0)).patches  # untrained, but it can be walked


@pytest.mark.slow
def test_a_base_of_real_width_is_fine_tuned_in_four_bits(
    large: Path, large_engine: GazeEngine, tmp_path: Path
) -> None:
    config = quick(
        write_gaze_folder(tmp_path / "data", images=4), large, device="cpu", max_steps=2, checkpoints=1, evaluations=1,
        min_pixels=4096, max_pixels=4096,
    )  # fmt: skip
    ended = go(config, tmp_path / "adapter", tmp_path / "run")
    assert ended.outcome == "done", ended.cause
    large_engine.use_adapter(tmp_path / "adapter")
    assert large_engine.diagnose(IMAGE, options=DiagnoseOptions(max_new_tokens=1)).scanpath is not None
    large_engine.use_adapter(None)
