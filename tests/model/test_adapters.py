"""Adapters: what they change, that a swap leaves no trace, and that pickles are refused."""

import json
import os
import pickle
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.trainable_tokens import TrainableTokensLayer
from PIL import Image
from torch.nn import functional

from gazevlm_core.inference import GazeEngine
from gazevlm_core.model.adapters import (
    GAZE_CONFIG_FILE,
    HEADS_FILE,
    AdapterError,
    adapted_gaze_config,
    adapter_stamp,
    save_adapter,
)
from gazevlm_core.model.backbones import BACKBONES
from gazevlm_core.model.configuration_gazevlm import GazeConfig
from gazevlm_core.model.modeling_gazevlm import GazeVLM
from gazevlm_core.model.places import UsualPlace
from gazevlm_core.model.token_rows import keep_embedding_uncopied
from gazevlm_core.options import DiagnoseOptions, Precision
from tests.adapter_maker import make_adapter

IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 260, 3), dtype=np.uint8))
SHORT = DiagnoseOptions(max_new_tokens=6)


@pytest.fixture(scope="module")
def adapters(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("adapters")
    first = make_adapter(tiny_checkpoint, folder / "first", seed=1)
    return first, make_adapter(tiny_checkpoint, folder / "second", seed=2, steps=5)


def answer(engine: GazeEngine) -> tuple:
    diagnosis = engine.diagnose(IMAGE, options=SHORT)
    assert diagnosis.patch_probabilities is not None
    return (
        diagnosis.answer,
        dict(diagnosis.finding_probabilities),
        diagnosis.scanpath,
        diagnosis.patch_probabilities.tolist(),
        diagnosis.adapter_id,
    )


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.NF4])
def test_swapping_leaves_no_trace(tiny_checkpoint: Path, adapters: tuple[Path, Path], precision: Precision) -> None:
    engine = GazeEngine.load(str(tiny_checkpoint), precision=precision)
    weights = {name: tensor.clone() for name, tensor in engine.model.state_dict().items()}
    bare = answer(engine)
    seen = []
    for folder in (*adapters, adapters[0]):
        engine.use_adapter(folder)
        seen.append(answer(engine))
        assert seen[-1][-1] == folder.name
        assert seen[-1][:-1] != bare[:-1]
    assert seen[0] == seen[2]
    assert seen[0][1].keys() == {"edema"}
    assert len(seen[1][3]) == 5  # the second adapter has five gaze tokens
    engine.use_adapter(None)
    assert answer(engine) == bare
    after = engine.model.state_dict()
    assert after.keys() == weights.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in weights.items())


def test_an_adapter_loads_with_the_model(tiny_checkpoint: Path, adapters: tuple[Path, Path]) -> None:
    engine = GazeEngine.load(str(tiny_checkpoint))
    engine.use_adapter(adapters[0])
    assert answer(GazeEngine.load(str(tiny_checkpoint), adapter=adapters[0])) == answer(engine)


def test_the_row_of_the_gaze_token_travels_with_the_adapter(tiny_checkpoint: Path, adapters: tuple[Path, Path]) -> None:
    engine = GazeEngine.load(str(tiny_checkpoint))
    ids = torch.tensor([engine.processor.gaze_token_id, 3])
    before = engine.model.get_input_embeddings()(ids).detach().clone()
    engine.use_adapter(adapters[0])
    after = engine.model.get_input_embeddings()(ids).detach()
    assert not torch.equal(before[0], after[0])
    assert torch.equal(before[1], after[1])


@pytest.mark.parametrize("name", ["adapter_model.bin", "extra.pt", "state.pkl", "sub/x.ckpt"])
def test_pickles_are_refused_unread(
    tiny_checkpoint: Path, adapters: tuple[Path, Path], tmp_path: Path, name: str
) -> None:
    folder = shutil.copytree(adapters[0], tmp_path / "poisoned")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(pickle.dumps({"weights": 1}))
    engine = GazeEngine.load(str(tiny_checkpoint))
    with pytest.raises(AdapterError, match="pickle"):
        engine.use_adapter(folder)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors", HEADS_FILE, GAZE_CONFIG_FILE])
def test_missing_or_broken_files_leave_the_model_bare(
    tiny_checkpoint: Path, adapters: tuple[Path, Path], tmp_path: Path, name: str
) -> None:
    engine = GazeEngine.load(str(tiny_checkpoint))
    bare = answer(engine)
    folder = shutil.copytree(adapters[0], tmp_path / "broken")
    (folder / name).write_bytes(b"\x00\x01 not what it says")
    with pytest.raises(AdapterError, match="broken"):
        engine.use_adapter(folder)
    (folder / name).unlink()
    with pytest.raises(AdapterError, match=f"lacks {name}"):
        engine.use_adapter(folder)
    with pytest.raises(AdapterError, match="not a folder"):
        engine.use_adapter(folder / "nowhere")
    assert answer(engine) == bare


def test_an_adapter_of_another_width_is_refused_and_leaves_the_model_bare(
    tiny_checkpoint: Path, adapters: tuple[Path, Path], tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    engine = GazeEngine.load(str(tiny_checkpoint))
    bare, names = answer(engine), set(engine.model.state_dict())
    folder = shutil.copytree(adapters[0], tmp_path / "wide")
    weights = load_file(folder / "adapter_model.safetensors")
    wide = {name: torch.zeros(*tensor.shape[:-1], tensor.shape[-1] + 8) for name, tensor in weights.items()}
    save_file(wide, folder / "adapter_model.safetensors")
    with pytest.raises(AdapterError, match="does not fit"):
        engine.use_adapter(folder)
    assert set(engine.model.state_dict()) == names
    assert answer(engine) == bare


def test_usual_places_travel_with_an_adapter_and_leave_with_it(tiny_checkpoint: Path, tmp_path: Path) -> None:
    from finetune.adapted import adapt_model, adapted_config
    from finetune.config import FinetuneConfig
    from finetune.usual_place import Fitted

    engine = GazeEngine.load(str(tiny_checkpoint), precision=Precision.FP32)
    bare, names = answer(engine), set(engine.model.state_dict())
    weights = {name: tensor.clone() for name, tensor in engine.model.state_dict().items()}

    taught = GazeEngine.load(str(tiny_checkpoint), precision=Precision.FP32)
    place, config = UsualPlace("hernia", 0.5, 0.8, 0.06), FinetuneConfig(annotations=("data",))
    fitted = [Fitted(place, torch.linspace(-1, 1, taught.model.config.text_config.hidden_size), 0.25)]
    gaze = adapted_config(taught.gaze_config, config, [], ["edema"], fitted)
    adapted = adapt_model(taught.model, config, gaze, fitted)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name or "trainable_tokens_delta" in name or name.endswith("finding.weight"):
                parameter.normal_(std=0.1)
    adapted.eval()
    wanted = answer(taught)
    save_adapter(adapted, tmp_path / "placed")

    engine.use_adapter(tmp_path / "placed")
    assert engine.gaze_config == gaze
    assert engine.gaze_config.usual_places == (place,)
    assert not any(module.training for module in engine.model.modules()), "dropout would blur every answer"
    shown = answer(engine)
    assert shown[:-1] == wanted[:-1]
    assert tuple(shown[1]) == ("cardiomegaly", "pneumothorax", "edema", "hernia")
    engine.use_adapter(None)
    assert answer(engine) == bare
    after = engine.model.state_dict()
    assert set(after) == names
    assert all(torch.equal(after[name], tensor) for name, tensor in weights.items())


def test_an_adapter_whose_places_and_heads_do_not_go_together_is_refused(
    tiny_checkpoint: Path, adapters: tuple[Path, Path], tmp_path: Path
) -> None:
    import json

    engine = GazeEngine.load(str(tiny_checkpoint))
    bare = answer(engine)
    folder = shutil.copytree(adapters[0], tmp_path / "odd")
    values = json.loads((folder / GAZE_CONFIG_FILE).read_text())
    for places, said in (
        ([{"name": "edema", "x": 0.5, "y": 0.5, "spread": 0.1}], "does not fit"),  # the heads have no such row
        ([{"name": "other", "x": 0.5, "y": 0.5, "spread": 0.1}], "usual_places"),
        ([{"name": "edema", "x": 1.5, "y": 0.5, "spread": 0.1}], "edema"),
        ([{"name": "edema", "x": 0.5, "z": 0.5, "spread": 0.1}], "not usable"),
    ):
        (folder / GAZE_CONFIG_FILE).write_text(json.dumps({**values, "usual_places": places}))
        with pytest.raises(AdapterError, match=said):
            engine.use_adapter(folder)
    assert answer(engine) == bare


def test_images_are_resized_as_the_adapter_was_trained_to_see_them(
    tiny_checkpoint: Path, adapters: tuple[Path, Path], tmp_path: Path
) -> None:
    import json

    engine = GazeEngine.load(str(tiny_checkpoint))
    image = Image.new("RGB", (448, 448))

    def patches() -> int:
        return len(engine.encode_images([image])[0].grid)

    own = patches()
    folder = shutil.copytree(adapters[0], tmp_path / "small")
    values = json.loads((folder / GAZE_CONFIG_FILE).read_text())
    for limits, seen in (([784, 4 * 784], 4), ([16 * 784, 16 * 784 + 1], 16)):
        (folder / GAZE_CONFIG_FILE).write_text(json.dumps({**values, "pixel_limits": limits}))
        engine.use_adapter(folder)
        assert patches() == seen
        engine.use_adapter(None)
        assert patches() == own
    (folder / GAZE_CONFIG_FILE).write_text(json.dumps({**values, "pixel_limits": [900, 800]}))
    with pytest.raises(AdapterError, match="pixel_limits"):
        engine.use_adapter(folder)
    assert patches() == own


def test_an_adapter_that_was_trained_anew_is_another_one(adapters: tuple[Path, Path], tmp_path: Path) -> None:
    """Also where its files have the same size and, copied with their times, the same time of writing."""
    folder = Path(shutil.copytree(adapters[0], tmp_path / "mine"))
    before, heads = adapter_stamp(folder), folder / HEADS_FILE
    assert adapter_stamp(folder) == before
    times, held = heads.stat(), heads.read_bytes()
    time.sleep(0.02)  # longer than a file system's clock ticks
    heads.write_bytes(held[:-1] + bytes([held[-1] ^ 1]))
    os.utime(heads, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert heads.stat().st_mtime_ns == times.st_mtime_ns
    assert adapter_stamp(folder) != before


def test_an_adapter_knows_its_own_questions_or_those_of_its_base(
    adapters: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(adapters[0], tmp_path / "mine"))
    base = GazeConfig(known_questions=("What is it?",))
    assert adapted_gaze_config(base, folder).known_questions == base.known_questions
    path = folder / GAZE_CONFIG_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), "known_questions": ["Why?"]}))
    assert adapted_gaze_config(base, folder).known_questions == ("Why?",)
    path.write_text(json.dumps({**json.loads(path.read_text()), "known_questions": "Why?"}))
    with pytest.raises(AdapterError, match="known_questions must be a list"):
        adapted_gaze_config(base, folder)


@pytest.mark.parametrize("backbone", BACKBONES, ids=lambda backbone: backbone.family)
@pytest.mark.parametrize("tied", [True, False])
def test_token_rows_are_those_of_peft_without_a_copy_of_the_embedding(
    backbone: type[GazeVLM], tied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    values = backbone.tiny(rows=64)
    values.tie_word_embeddings = tied
    lora = LoraConfig(r=4, target_modules=backbone.language_layers, trainable_token_indices={"embed_tokens": [63, 7]})
    theirs, ours = (get_peft_model(backbone.plain(values), lora) for _ in range(2))
    keep_embedding_uncopied(ours)
    ours.load_state_dict(theirs.state_dict())
    state = {name: torch.randn_like(tensor) for name, tensor in get_peft_model_state_dict(theirs).items()}
    assert get_peft_model_state_dict(ours).keys() == state.keys(), "files of both are read by both"
    ids, said = torch.tensor([[63, 5, 7, 7, 63, 9]]), []
    for model in (theirs, ours):
        set_peft_model_state_dict(model, state)
        if model is ours:
            monkeypatch.setattr(TrainableTokensLayer, "get_merged_weights", None)  # which copies
        logits = model(input_ids=ids).logits
        functional.cross_entropy(logits[0], ids[0]).backward()
        rows = model.base_model.model.get_input_embeddings().token_adapter.trainable_tokens_delta["default"]
        said.append((logits.detach(), rows.grad))
    for own, other in zip(*said, strict=True):
        torch.testing.assert_close(own, other, atol=1e-4, rtol=1e-4)
