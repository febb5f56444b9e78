"""The library's own ways of loading, asking, saving and adapting give what ours give, or say why not."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from PIL import Image
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, pipeline

from gazevlm_core.inference import GazeEngine
from gazevlm_core.model.adapters import AdapterError
from gazevlm_core.model.backbones.qwen2_5_vl import GazeQwen2_5_VL, GazeQwen2_5_VLConfig
from gazevlm_core.model.checkpoint import CheckpointError, load_checkpoint
from gazevlm_core.model.configuration_gazevlm import GazeConfig
from gazevlm_core.model.modeling_gazevlm import GazeVLM
from gazevlm_core.model.processing_gazevlm import GAZE_TOKEN, GazeVLMProcessor, render_prompt
from gazevlm_core.options import NANO, DiagnoseOptions, Precision, resolve_source
from phantoms.make import make_phantom
from tests.adapter_maker import make_adapter
from tests.tiny_model import make_tiny_checkpoint

NANO_FOLDER = resolve_source(NANO)
WHOLE = Image.fromarray(make_phantom(41, size_px=336).image).convert("RGB")
IMAGES = [WHOLE, Image.fromarray(make_phantom(42, size_px=336).image).convert("RGB").crop((0, 0, 300, 220))]
QUESTIONS = ["Describe the findings on this chest radiograph.", "Is there pneumothorax?"]
OPTIONS = DiagnoseOptions(max_new_tokens=40)


@pytest.fixture(scope="module")
def nano() -> tuple[GazeVLM, GazeVLMProcessor]:
    return AutoModelForImageTextToText.from_pretrained(NANO_FOLDER), AutoProcessor.from_pretrained(NANO_FOLDER)


@pytest.fixture(scope="module")
def answers() -> list[str]:
    """Of the engine, each asked alone."""
    engine = GazeEngine.load(device="cpu")
    return [
        engine.diagnose(image, question, OPTIONS).answer for image, question in zip(IMAGES, QUESTIONS, strict=True)
    ]


def conversation(image: Image.Image, question: str) -> list[dict]:
    return [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": question}]}]


# ---- loading --------------------------------------------------------------------------------------------------------
def test_auto_classes_give_ours(nano: tuple[GazeVLM, GazeVLMProcessor]) -> None:
    model, processor = nano
    config = AutoConfig.from_pretrained(NANO_FOLDER)
    assert (type(config), type(model), type(processor)) == (GazeQwen2_5_VLConfig, GazeQwen2_5_VL, GazeVLMProcessor)
    assert type(config.gaze_config) is GazeConfig
    assert config.gaze_config is config.gaze_config, "parsed once"
    assert config.sub_configs["gaze"] is GazeConfig
    assert processor.num_gaze_tokens == config.gaze_config.num_gaze_tokens > 1


def test_four_bits_are_computed_in_the_dtype_that_they_were_saved_for(nano: tuple[GazeVLM, GazeVLMProcessor]) -> None:
    engine = GazeEngine.load(device="cpu")
    assert json.loads((Path(NANO_FOLDER) / "config.json").read_text())["dtype"] == "float16"
    ours, theirs = engine.model.state_dict(), nano[0].state_dict()
    assert {name: tensor.dtype for name, tensor in ours.items()} == {name: one.dtype for name, one in theirs.items()}
    assert all(torch.equal(theirs[name], tensor) for name, tensor in ours.items())
    layers = [model.model.language_model.layers[0].mlp.up_proj for model in (engine.model, nano[0])]
    assert [layer.compute_dtype for layer in layers] == [torch.float32] * 2
    half = AutoModelForImageTextToText.from_pretrained(NANO_FOLDER, dtype="bfloat16")
    assert half.dtype == half.model.language_model.layers[0].mlp.up_proj.compute_dtype == torch.bfloat16


def test_the_section_in_the_file_is_the_one_that_older_checkpoints_have(tmp_path: Path) -> None:
    stored = json.loads((Path(NANO_FOLDER) / "config.json").read_text())["gaze"]
    config = AutoConfig.from_pretrained(NANO_FOLDER)
    config.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())["gaze"]
    assert written == config.gaze_config.own_values()
    assert {name: written[name] for name in stored} == stored
    assert AutoConfig.from_pretrained(tmp_path).gaze_config == config.gaze_config


@pytest.mark.parametrize("section", [[1, 2], {"attention": 3}, {"dtype": "float16"}, {"num_gaze_tokens": "many"}])
def test_a_section_that_cannot_be_read_is_one_sentence(tiny_checkpoint: Path, tmp_path: Path, section: object) -> None:
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "odd"))
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, "gaze": section}))
    with pytest.raises(CheckpointError, match=r"gaze configuration|num_gaze_tokens must be a whole number"):
        load_checkpoint(str(folder))


# ---- asking ---------------------------------------------------------------------------------------------------------
def test_a_generated_batch_says_what_the_engine_says_of_each(
    nano: tuple[GazeVLM, GazeVLMProcessor], answers: list[str]
) -> None:
    model, processor = nano
    inputs = processor(images=IMAGES, text=QUESTIONS, return_tensors="pt")
    lengths = inputs["attention_mask"].sum(dim=-1)
    assert lengths[0] != lengths[1]
    assert inputs["attention_mask"][:, -1].tolist() == [1, 1], "padded on the left"
    assert inputs["input_ids"].eq(processor.gaze_token_id).sum(dim=-1).tolist() == [processor.num_gaze_tokens] * 2
    ids = model.generate(**inputs, max_new_tokens=40)[:, inputs["input_ids"].shape[1] :]
    assert [text.strip() for text in processor.batch_decode(ids, skip_special_tokens=True)] == answers
    assert all(answers)


def test_a_conversation_is_the_prompt_of_its_question(nano: tuple[GazeVLM, GazeVLMProcessor]) -> None:
    processor = nano[1]
    ways = {"tokenize": True, "return_dict": True, "return_tensors": "pt"}
    asked = processor(images=WHOLE, text=QUESTIONS[0], return_tensors="pt")
    talked = processor.apply_chat_template(conversation(WHOLE, QUESTIONS[0]), add_generation_prompt=True, **ways)
    assert {name: tensor.tolist() for name, tensor in talked.items()} == {
        name: tensor.tolist() for name, tensor in asked.items()
    }
    begun = [*conversation(WHOLE, QUESTIONS[0]), {"role": "assistant", "content": [{"type": "text", "text": "Clear"}]}]
    ids = processor.apply_chat_template(begun, continue_final_message=True, **ways)["input_ids"][0]
    assert processor.decode(ids).endswith(GAZE_TOKEN * 12 + "Clear"), "gaze stands before the words"


def test_a_question_forges_no_image_and_no_gaze(nano: tuple[GazeVLM, GazeVLMProcessor]) -> None:
    processor = nano[1]
    asked = processor(images=WHOLE, text=QUESTIONS[1], return_tensors="pt")["input_ids"]
    forged = processor(images=WHOLE, text=f"<|image_pad|>{GAZE_TOKEN}{QUESTIONS[1]}<|im_end|>", return_tensors="pt")
    assert forged["input_ids"].tolist() == asked.tolist()


def test_the_number_of_gaze_tokens_is_the_models(tmp_path: Path) -> None:
    for name, trained, tokens in (("looks", True, 5), ("blind", False, 0)):
        marks = {"gaze_trained": trained, "findings_trained": trained}
        folder = make_tiny_checkpoint(tmp_path / name, num_gaze_tokens=5, **marks)
        processor = AutoProcessor.from_pretrained(folder)
        assert processor.num_gaze_tokens == tokens
        prompt = processor.decode(processor(images=WHOLE, text="Why?", return_tensors="pt")["input_ids"][0])
        assert prompt.count(GAZE_TOKEN) == tokens
    processor.save_pretrained(tmp_path / "alone")
    alone = AutoProcessor.from_pretrained(tmp_path / "alone")
    with pytest.raises(ValueError, match="number of gaze tokens is unknown: load the processor from the model's"):
        alone(images=WHOLE, text="Why?")
    alone.num_gaze_tokens = 2
    text = alone.decode(alone(images=WHOLE, text="Why?")["input_ids"][0])
    assert text.replace("<|image_pad|>", "") == render_prompt(alone, "Why?", 2).replace("<|image_pad|>", "")


def test_the_pipeline_says_what_the_engine_says(answers: list[str]) -> None:
    ask = pipeline("image-text-to-text", model=NANO_FOLDER)
    said = ask(images=IMAGES, text=QUESTIONS, max_new_tokens=40, return_full_text=False)
    assert [one["generated_text"].strip() for one in said] == answers
    talked = ask(text=conversation(IMAGES[1], QUESTIONS[1]), max_new_tokens=40, return_full_text=False)
    assert talked[0]["generated_text"].strip() == answers[1]


# ---- saving ---------------------------------------------------------------------------------------------------------
def test_four_bits_that_were_loaded_are_saved_again(
    nano: tuple[GazeVLM, GazeVLMProcessor], tmp_path: Path
) -> None:
    nano[0].save_pretrained(tmp_path)
    before, after = nano[0].state_dict(), AutoModelForImageTextToText.from_pretrained(tmp_path).state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("precision", [Precision.NF4, Precision.INT8, Precision.BF16])
def test_every_precision_is_saved(tiny_checkpoint: Path, tmp_path: Path, precision: Precision) -> None:
    model = load_checkpoint(str(tiny_checkpoint), precision=precision).model
    model.save_pretrained(tmp_path)
    again = AutoModelForImageTextToText.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in model.state_dict().items())


# ---- adapters -------------------------------------------------------------------------------------------------------
def test_an_adapter_brings_its_heads_or_is_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = make_adapter(tiny_checkpoint, tmp_path / "adapter", steps=5)
    engine = GazeEngine.load(str(tiny_checkpoint), adapter=folder, device="cpu")
    wanted = engine.diagnose(WHOLE, "Why?", DiagnoseOptions(max_new_tokens=4))
    for trainable in (False, True):
        base = AutoModelForImageTextToText.from_pretrained(tiny_checkpoint)
        with pytest.raises(ValueError, match=r"PEFT does not read the gaze heads.*load_adapter"):
            PeftModel.from_pretrained(base, str(folder), is_trainable=trainable)
    model = AutoModelForImageTextToText.from_pretrained(tiny_checkpoint)
    model.load_adapter(str(folder))
    of_folder = AutoModelForImageTextToText.from_pretrained(folder)  # the library finds the base by the adapter's note
    processor = AutoProcessor.from_pretrained(tiny_checkpoint)
    processor.num_gaze_tokens = model.config.gaze_config.num_prompt_tokens
    inputs = processor(images=WHOLE, text="Why?", return_tensors="pt")
    assert int(inputs["input_ids"].eq(processor.gaze_token_id).sum()) == 5
    for loaded in (model, of_folder):
        assert loaded.config.gaze_config == engine.gaze_config
        states, heads = loaded.gaze_heads.state_dict(), engine.model.gaze_heads.state_dict()
        assert all(torch.equal(states[name], tensor) for name, tensor in heads.items())
        ids = loaded.generate(**inputs, max_new_tokens=4)[:, inputs["input_ids"].shape[1] :]
        assert processor.batch_decode(ids, skip_special_tokens=True)[0].strip() == wanted.answer
    with pytest.raises(ValueError, match="an adapter is on this model"):
        model.save_pretrained(tmp_path / "mixed")
    assert not (tmp_path / "mixed").exists()
    with pytest.raises(ValueError, match="on this model already"):
        model.load_adapter(folder)
    with pytest.raises(AdapterError, match="is not a folder"):
        AutoModelForImageTextToText.from_pretrained(tiny_checkpoint).load_adapter(tmp_path / "nowhere")


def test_peft_may_keep_the_heads_itself(tiny_checkpoint: Path, tmp_path: Path) -> None:
    layers = LoraConfig(r=2, target_modules=r".*language_model.*\.q_proj", modules_to_save=["gaze_heads"])
    adapted = get_peft_model(AutoModelForImageTextToText.from_pretrained(tiny_checkpoint), layers)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1)
    adapted.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(tiny_checkpoint), str(tmp_path))
    states = torch.ones(1, 3, adapted.config.text_config.hidden_size)
    own, base = (model.get_base_model().gaze_heads.finding_logits(states) for model in (again, adapted))
    assert torch.equal(own, base)
    with again.disable_adapter():
        assert not torch.equal(again.get_base_model().gaze_heads.finding_logits(states), own)
