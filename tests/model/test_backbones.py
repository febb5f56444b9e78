"""Every family of backbones: plain and with gaze, in four bits, adapted, merged, and by the library's own ways. The
laws of the pass are in `test_modeling_gazevlm`, for all families too."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, pipeline

from finetune.export.files import ExportError
from finetune.export.merge import Storage, merge_adapter
from finetune.memory import sizes_of
from gazevlm_core.inference import GazeEngine
from gazevlm_core.model.backbones import BACKBONES, BY_PLAIN_TYPE, BY_TYPE, PUBLISHED
from gazevlm_core.model.backbones.qwen3_vl import GazeQwen3VL
from gazevlm_core.model.checkpoint import save_quantised
from gazevlm_core.model.modeling_gazevlm import GazeVLM
from gazevlm_core.model.processing_gazevlm import GazeVLMProcessor
from gazevlm_core.options import DiagnoseOptions, Precision
from tests.finetune.run_maker import go, losses, quick, write_gaze_folder
from tests.model.test_remote_code import read_elsewhere
from tests.tiny_model import make_tiny_backbone

IMAGES = [
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8))
    for seed, size in enumerate(((300, 260), (200, 280)))
]
QUESTION = "Is there pneumothorax?"
SHORT = DiagnoseOptions(max_new_tokens=8)
of_every_family = pytest.mark.parametrize("backbone", BACKBONES, ids=lambda backbone: backbone.family)


def states(engine: GazeEngine) -> torch.Tensor:
    """Gaze states of an image, [1, K, D]."""
    hidden = engine.prefill(engine.encode_images(IMAGES[:1]), [QUESTION], gaze=True).gaze_hidden
    assert hidden is not None
    return hidden


def test_each_has_names_of_its_own() -> None:
    assert {"Qwen2.5-VL", "Qwen3-VL"} <= {backbone.family for backbone in BACKBONES}
    assert len(BY_TYPE) == len(BY_PLAIN_TYPE) == len(BACKBONES)
    assert len(PUBLISHED) == sum(len(backbone.published) for backbone in BACKBONES)
    assert BY_TYPE["gazevlm"].family == "Qwen2.5-VL", "as stored checkpoints have it"


@of_every_family
def test_a_plain_checkpoint_is_answered_with_and_says_that_its_gaze_is_untrained(
    backbone: type[GazeVLM], tmp_path: Path
) -> None:
    folder = make_tiny_backbone(tmp_path, backbone, plain=True)
    engine = GazeEngine.load(str(folder))
    assert type(engine.model) is backbone
    plain = backbone.plain.from_pretrained(folder).state_dict()
    ours = engine.model.state_dict()
    assert set(ours) - set(plain) == {name for name in ours if name.startswith("gaze_heads.")}
    assert all(torch.equal(ours[name], tensor) for name, tensor in plain.items())
    found = engine.diagnose(IMAGES[0], QUESTION, SHORT)
    assert found.scanpath is None
    assert "untrained" in found.notes[0]
    assert states(engine).shape == (1, 12, 64), "it can be looked with"


@of_every_family
def test_a_pass_reads_the_same_from_image_tokens_as_the_plain_model_from_pixels(
    backbone: type[GazeVLM], tmp_path: Path
) -> None:
    engine = GazeEngine.load(str(make_tiny_backbone(tmp_path, backbone)))
    inputs = engine.processor(images=IMAGES, text=[QUESTION] * 2, return_tensors="pt")
    with torch.no_grad():
        plain = backbone.plain.forward(engine.model, **inputs, output_hidden_states=True).hidden_states[-1]
    passed = engine.prefill(engine.encode_images(IMAGES), [QUESTION] * 2)
    is_gaze = inputs["input_ids"] == engine.processor.gaze_token_id
    torch.testing.assert_close(passed.gaze_hidden, plain[is_gaze].view(2, 12, -1), atol=1e-5, rtol=1e-4)
    assert engine.encode_images(IMAGES)[0].tokens.shape[1] == engine.model.image_token_width


def test_features_of_inner_layers_reach_the_language_model(tmp_path: Path) -> None:
    engine = GazeEngine.load(str(make_tiny_backbone(tmp_path, GazeQwen3VL)))
    (image,) = engine.encode_images(IMAGES[:1])
    width = engine.model.config.text_config.hidden_size
    assert image.tokens.shape[1] == 2 * width
    (features,) = engine.model.image_features([image.tokens]).deepstack_features
    assert torch.equal(features[0], image.tokens[:, width:])
    with_them = engine.prefill([image], [QUESTION]).gaze_hidden
    image.tokens[:, width:] = 0
    without = engine.prefill([image], [QUESTION]).gaze_hidden
    assert with_them is not None
    assert without is not None
    assert (with_them - without).abs().max() > 1e-3


@of_every_family
def test_four_bits_hold_the_language_model_alone_and_round_trip(backbone: type[GazeVLM], tmp_path: Path) -> None:
    folder = make_tiny_backbone(tmp_path / "full", backbone)
    save_quantised(folder, tmp_path / "stored")
    engine = GazeEngine.load(str(tmp_path / "stored"))
    assert engine.checkpoint.precision is Precision.NF4
    kinds = {name: type(module).__name__ for name, module in engine.model.named_modules()}
    four_bit = {name for name, kind in kinds.items() if kind == "Linear4bit"}
    assert len(four_bit) == 2 * 7
    assert all("language_model" in name for name in four_bit)
    assert torch.equal(states(GazeEngine.load(str(tmp_path / "stored"))), states(engine))
    fresh = GazeEngine.load(str(folder), precision=Precision.NF4)
    assert torch.nn.functional.cosine_similarity(states(fresh), states(engine), dim=-1).min() > 0.999
    assert engine.diagnose(IMAGES[0], QUESTION, SHORT).scanpath is not None


@of_every_family
def test_it_is_fine_tuned_in_four_bits_and_merged(backbone: type[GazeVLM], tmp_path: Path) -> None:
    base, adapter = make_tiny_backbone(tmp_path / "base", backbone), tmp_path / "adapter"
    config = quick(
        write_gaze_folder(tmp_path / "data"), base, precision="nf4", min_pixels=4096, max_pixels=4096, device="cpu"
    )
    ended = go(config, adapter, tmp_path / "run")
    assert ended.outcome == "done", ended.cause
    steps = losses(tmp_path / "run")
    assert steps.keys() == set(range(1, 7))
    assert all(np.isfinite(one["loss"]) for one in steps.values())
    weights = load_file(adapter / "adapter_model.safetensors")
    assert sum(name.endswith("lora_B.weight") for name in weights) == 2 * 7
    assert all(tensor.abs().max() > 0 for name, tensor in weights.items() if "lora_B" in name)
    adapted = GazeEngine.load(str(base), adapter=adapter, precision="nf4")
    merge_adapter(adapter, tmp_path / "merged", base=str(base), storage=Storage.FLOAT32)
    merged = GazeEngine.load(str(tmp_path / "merged"))
    assert type(merged.model) is backbone
    torch.testing.assert_close(states(merged), states(adapted), atol=1e-4, rtol=1e-3)
    own = backbone.plain.config_class.model_type
    merge_adapter(adapter, tmp_path / "words", base=str(base), storage=Storage.FLOAT32, form=own)
    assert type(AutoModelForImageTextToText.from_pretrained(tmp_path / "words")) is backbone.plain
    card = (tmp_path / "words" / "README.md").read_text()
    assert f"a plain {backbone.family} in float32" in card
    with pytest.raises(ExportError, match=f"can be merged as gazevlm or as {own}, not as another"):
        merge_adapter(adapter, tmp_path / "other", base=str(base), form="another")


@of_every_family
def test_layers_in_the_vision_tower_learn_too(backbone: type[GazeVLM], tmp_path: Path) -> None:
    base, adapter = make_tiny_backbone(tmp_path / "base", backbone), tmp_path / "adapter"
    config = quick(
        write_gaze_folder(tmp_path / "data"), base, freeze_vision=False, cache_features=False, max_steps=2,
        min_pixels=4096, max_pixels=4096, checkpoints=1, evaluations=1, device="cpu",
    )  # fmt: skip
    ended = go(config, adapter, tmp_path / "run")
    assert ended.outcome == "done", ended.cause
    weights = load_file(adapter / "adapter_model.safetensors")
    tower = [tensor for name, tensor in weights.items() if f".{backbone.vision_name}." in name and "lora_B" in name]
    linears = [
        module for module in GazeEngine.load(str(base)).model.get_encoder("image").blocks.modules()
        if isinstance(module, torch.nn.Linear)
    ]  # fmt: skip
    assert len(tower) == len(linears)
    assert all(tensor.abs().max() > 0 for tensor in tower)


@of_every_family
def test_the_library_loads_asks_and_saves_it(backbone: type[GazeVLM], tmp_path: Path) -> None:
    folder = make_tiny_backbone(tmp_path / "a", backbone)
    config, model = AutoConfig.from_pretrained(folder), AutoModelForImageTextToText.from_pretrained(folder)
    processor = AutoProcessor.from_pretrained(folder)
    assert (type(config), type(model), type(processor)) == (backbone.config_class, backbone, GazeVLMProcessor)
    assert config.gaze_config.num_gaze_tokens == processor.num_gaze_tokens == 12
    engine = GazeEngine.load(str(folder))
    answers = [engine.diagnose(image, QUESTION, SHORT).answer for image in IMAGES]
    inputs = processor(images=IMAGES, text=[QUESTION] * 2, return_tensors="pt")
    ids = model.generate(**inputs, max_new_tokens=8)[:, inputs["input_ids"].shape[1] :]
    assert [text.strip() for text in processor.batch_decode(ids, skip_special_tokens=True)] == answers
    ask = pipeline("image-text-to-text", model=str(folder))
    said = ask(images=IMAGES[0], text=QUESTION, max_new_tokens=8, return_full_text=False)[0]["generated_text"]
    assert said.strip() == answers[0]
    model.save_pretrained(tmp_path / "b")
    processor.save_pretrained(tmp_path / "b")
    assert torch.equal(states(GazeEngine.load(str(tmp_path / "b"))), states(engine))
    assert GazeVLM.from_pretrained(tmp_path / "b").config.gaze_config == config.gaze_config


@pytest.mark.slow
def test_qwen3_is_read_without_our_packages(tmp_path: Path) -> None:
    from gazevlm_core.model.remote_code import write_remote_code

    folder = make_tiny_backbone(tmp_path / "away", GazeQwen3VL)
    assert "qwen3_vl.py" in write_remote_code(folder)
    paths = [tmp_path / f"{index}.png" for index in range(2)]
    for path, image in zip(paths, IMAGES, strict=True):
        image.save(path)
    told = read_elsewhere(folder, paths, tmp_path)
    engine, options = GazeEngine.load(str(folder)), DiagnoseOptions(max_new_tokens=40)
    question = "Describe the findings on this chest radiograph."
    assert told["answers"] == [engine.diagnose(image, question, options).answer for image in IMAGES]
    assert (told["modules"], told["ours"]) == (["transformers_modules"] * 3, [])


@of_every_family
def test_its_sizes_are_those_of_a_real_one(backbone: type[GazeVLM], tmp_path: Path) -> None:
    folder = make_tiny_backbone(tmp_path, backbone)
    model = AutoModelForImageTextToText.from_pretrained(folder)
    sizes = sizes_of(json.loads((folder / "config.json").read_text()))
    assert sizes.backbone + sizes.heads == sum(parameter.numel() for parameter in model.parameters())
    processor = AutoProcessor.from_pretrained(folder).image_processor
    assert sizes.token_pixels == model.config.token_pixels == (processor.patch_size * processor.merge_size) ** 2
