"""Export: a merged model says what base and adapter say, a copy is the adapter, and nothing is overwritten."""

import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    AutoImageProcessor,
    AutoModelForImageTextToText,
    AutoTokenizer,
    Qwen2_5_VLForConditionalGeneration,
)
from typer.testing import CliRunner, Result

from cli.main import app
from finetune.export import merge as merging
from finetune.export.files import ExportError, adapter_files, model_files, new_folder, zip_adapter
from finetune.export.merge import Storage, merge_adapter, save_plain
from finetune.records import PROVENANCE_FILE, write_json
from gazevlm_core.inference import GazeEngine
from gazevlm_core.model.adapters import ADAPTER_FILES, GAZE_CONFIG_FILE, WEIGHTS_FILE, AdapterError
from gazevlm_core.model.checkpoint import NANO, load_checkpoint, resolve_source
from gazevlm_core.model.ood_score import OOD_REFERENCE_FILE
from gazevlm_core.options import DiagnoseOptions
from gazevlm_core.records import Diagnosis
from gazevlm_core.scanpath import fixations_at
from gazevlm_core.words import cut_loop
from phantoms.make import make_phantom
from tests.adapter_maker import make_adapter
from tests.finetune.adapter_on_nano import ADDED, WHY, make_nano_adapter
from tests.model.test_remote_code import QUESTION, read_elsewhere

IMAGES = [Image.fromarray(make_phantom(seed, size_px=336).image).convert("RGB") for seed in (41, 42)]
SHORT = DiagnoseOptions(max_new_tokens=3)
# A place of one's own that differs in its last bit may turn single grey levels of a glimpse; these are cut alike.
PLACED = DiagnoseOptions(max_new_tokens=3, look_at=fixations_at([(0.3, 0.4), (0.7, 0.5), (0.5, 0.8)]))
# Rounding of the weights: relative 2^-12 in float16, 2^-9 in bfloat16; and that of adding float32 in another order.
TOLERANCE = {Storage.FLOAT32: 1e-5, Storage.FLOAT16: 2e-3, Storage.BFLOAT16: 2e-2}


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_nano_adapter(tmp_path_factory.mktemp("adapters") / "hernia")


@pytest.fixture(scope="module")
def adapted(adapter: Path) -> list[Diagnosis]:
    return answers(GazeEngine.load(adapter=adapter, device="cpu"))


@pytest.fixture(scope="module")
def merged(adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return merge_adapter(adapter, tmp_path_factory.mktemp("models") / "merged").folder


def answers(engine: GazeEngine, options: DiagnoseOptions = SHORT) -> list[Diagnosis]:
    return [engine.diagnose(image, options=options) for image in IMAGES]


def path_of(diagnosis: Diagnosis) -> list[tuple[float, float]]:
    return [(fixation.x, fixation.y) for fixation in diagnosis.scanpath]


def furthest(some: list[Diagnosis], others: list[Diagnosis]) -> float:
    """Largest difference of a finding's probability, or of the first fixation's distribution."""
    found = []
    for one, other in zip(some, others, strict=True):
        assert one.finding_probabilities.keys() == other.finding_probabilities.keys()
        found += [abs(p - other.finding_probabilities[name]) for name, p in one.finding_probabilities.items()]
        found.append(float(np.abs(one.patch_probabilities[0] - other.patch_probabilities[0]).max()))
    return max(found)


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["adapter", *map(str, words)])


# ---- merging --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("storage", [Storage.FLOAT32, Storage.FLOAT16, Storage.BFLOAT16])
def test_a_merged_model_says_what_base_and_adapter_say(
    adapter: Path, adapted: list[Diagnosis], storage: Storage, tmp_path: Path
) -> None:
    merge_adapter(adapter, tmp_path / "model", storage=storage)
    engine = GazeEngine.load(str(tmp_path / "model"), device="cpu")
    seen, along = answers(engine), answers(engine, PLACED)
    placed = answers(GazeEngine.load(adapter=adapter, device="cpu"), PLACED)
    assert furthest(along, placed) < TOLERANCE[storage]
    if storage is Storage.FLOAT32:  # rounding of the others may turn a walk that was a toss-up, and so a glimpse
        assert furthest(seen, adapted) < TOLERANCE[storage]
        for one, other in zip(seen, adapted, strict=True):
            np.testing.assert_allclose(path_of(one), path_of(other), atol=TOLERANCE[storage])
        assert [one.answer for one in seen] == [one.answer for one in adapted]
    if storage is not Storage.BFLOAT16:
        assert [one.answer for one in along] == [one.answer for one in placed]
    if storage is Storage.FLOAT16:  # the adapter moves far more than rounding does
        bare = GazeEngine.load(device="cpu").diagnose(IMAGES[0], options=SHORT)
        assert set(seen[0].finding_probabilities) - set(bare.finding_probabilities) == {ADDED}
        assert np.abs(bare.patch_probabilities[0] - seen[0].patch_probabilities[0]).max() > 10 * TOLERANCE[storage]


def test_a_float32_base_is_merged_exactly(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """An adapter that says nothing of where it comes from, with other heads and another number of gaze tokens."""
    folder = make_adapter(tiny_checkpoint, tmp_path / "adapter", steps=5)
    merge_adapter(folder, tmp_path / "model", base=str(tiny_checkpoint), storage=Storage.FLOAT32)
    engine = GazeEngine.load(str(tmp_path / "model"), device="cpu")
    seen, wanted = answers(engine), answers(GazeEngine.load(str(tiny_checkpoint), adapter=folder, device="cpu"))
    assert furthest(seen, wanted) < 1e-5
    assert [path_of(one) for one in seen] == [path_of(one) for one in wanted]
    assert [one.answer for one in seen] == [one.answer for one in wanted]
    assert engine.gaze_config.num_gaze_tokens == 5
    weights, base = (load_file(folder / "model.safetensors") for folder in (tmp_path / "model", tiny_checkpoint))
    same = {name for name in base if name in weights and torch.equal(weights[name], base[name])}
    assert {name for name in base if "visual" in name} <= same
    assert not {name for name in same if "language_model" in name and name.endswith("q_proj.weight")}


@pytest.mark.parametrize("form", ["gazevlm", "qwen2_5_vl"])
def test_a_merged_model_sees_images_as_large_as_its_adapter_did(
    tiny_checkpoint: Path, tmp_path: Path, form: str
) -> None:
    """Provenance may have been taken out before the adapter was shared; it saw images as the plain base does."""
    folder, limits = make_adapter(tiny_checkpoint, tmp_path / "adapter", steps=5), (3136, 6272)
    values = json.loads((folder / GAZE_CONFIG_FILE).read_text())
    write_json(folder / GAZE_CONFIG_FILE, {**values, "pixel_limits": limits})
    assert not (folder / PROVENANCE_FILE).exists()
    merge_adapter(folder, tmp_path / "model", base=str(tiny_checkpoint), form=form)
    size = AutoImageProcessor.from_pretrained(tmp_path / "model").size
    assert (size["shortest_edge"], size["longest_edge"]) == limits


def test_a_model_that_says_how_large_it_saw_images_sees_them_so(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """As one that an earlier version merged: its processor is the base's, its configuration the adapter's."""
    model = Path(shutil.copytree(tiny_checkpoint, tmp_path / "model"))
    values = json.loads((model / "config.json").read_text())
    values["gaze"]["pixel_limits"] = limits = [3136, 6272]
    write_json(model / "config.json", values)
    engine = GazeEngine.load(str(model), device="cpu")
    assert list(engine.processor.pixel_limits) == limits
    assert len(engine.encode_images(IMAGES[:1])[0].grid) <= 8


def test_dora_and_layers_in_the_vision_tower_are_merged_too(tmp_path: Path) -> None:
    folder = make_nano_adapter(tmp_path / "all", dora=True, vision=True)
    merge_adapter(folder, tmp_path / "model", storage=Storage.FLOAT32)
    engines = GazeEngine.load(adapter=folder, device="cpu"), GazeEngine.load(str(tmp_path / "model"), device="cpu")
    one, other = ([engine.diagnose(IMAGES[0], options=PLACED)] for engine in engines)
    assert furthest(one, other) < TOLERANCE[Storage.FLOAT32]
    own, merged = (path_of(engine.diagnose(IMAGES[0], options=SHORT)) for engine in engines)
    np.testing.assert_allclose(own, merged, atol=TOLERANCE[Storage.FLOAT32])
    assert not (tmp_path / "model" / OOD_REFERENCE_FILE).exists()  # made of features that the tower no longer gives


def test_what_a_merged_model_consists_of(adapter: Path, merged: Path) -> None:
    config = json.loads((merged / "config.json").read_text())
    assert "quantization_config" not in config
    assert config["dtype"] == config["text_config"]["dtype"] == "float32"  # what it computes in
    assert [place["name"] for place in config["gaze"]["usual_places"]] == [ADDED]
    weights = load_file(merged / "model.safetensors")
    assert {tensor.dtype for name, tensor in weights.items() if name.startswith("gaze_heads.")} == {torch.float32}
    assert {tensor.dtype for name, tensor in weights.items() if not name.startswith("gaze_heads.")} == {torch.float16}
    base = Path(resolve_source(NANO))
    assert np.array_equal(
        load_file(merged / OOD_REFERENCE_FILE)["precision"], load_file(base / OOD_REFERENCE_FILE)["precision"]
    )
    assert (merged / PROVENANCE_FILE).read_bytes() == (adapter / PROVENANCE_FILE).read_bytes()
    card = (merged / "README.md").read_text()
    assert WHY in card
    assert "base_model: gazevlm-nano" in card
    text = "".join(path.read_text() for path in merged.iterdir() if path.suffix in (".json", ".md"))
    assert str(adapter.parent) not in text  # no folder of this machine


@pytest.mark.slow
def test_a_merged_model_is_read_without_our_packages(merged: Path, tmp_path: Path) -> None:
    paths = [tmp_path / f"{index}.png" for index in range(len(IMAGES))]
    for path, image in zip(paths, IMAGES, strict=True):
        image.save(path)
    told = read_elsewhere(merged, paths, tmp_path)
    engine, options = GazeEngine.load(str(merged), device="cpu"), DiagnoseOptions(max_new_tokens=40)
    spoken = [cut_loop(answer) for answer in told["answers"]]  # an adapter of chance may repeat itself
    assert spoken == [engine.diagnose(path, QUESTION, options).answer for path in paths]
    assert (told["modules"], told["ours"]) == (["transformers_modules"] * 3, [])


def test_the_words_alone_are_a_plain_model_of_the_family(adapter: Path, merged: Path, tmp_path: Path) -> None:
    done = run("merge", adapter, tmp_path / "words", "--as", "qwen2_5_vl")
    assert done.exit_code == 0, done.output
    folder = tmp_path / "words"
    plain = AutoModelForImageTextToText.from_pretrained(folder)
    assert type(plain) is Qwen2_5_VLForConditionalGeneration
    ours, theirs = load_file(merged / "model.safetensors"), load_file(folder / "model.safetensors")
    assert theirs.keys() == {name for name in ours if not name.startswith("gaze_heads.")}
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())
    engine = GazeEngine.load(str(merged), device="cpu")
    images = engine.encode_images(IMAGES[:1])
    prefilled = engine.prefill(images, [QUESTION], gaze=False)
    wanted = engine.model.continue_text(prefilled, max_new_tokens=12, do_sample=False)
    tokenizer, pixels = AutoTokenizer.from_pretrained(folder), AutoImageProcessor.from_pretrained(folder)
    content = [{"type": "image"}, {"type": "text", "text": QUESTION}]
    talk = [{"role": "user", "content": content}]
    text = tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
    text = text.replace("<|image_pad|>", "<|image_pad|>" * len(images[0].grid))
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    types = ids.eq(plain.config.image_token_id).long()
    said = plain.generate(
        input_ids=ids, mm_token_type_ids=types, **pixels(IMAGES[:1], return_tensors="pt"), max_new_tokens=12
    )
    assert said[:, ids.shape[1] :].tolist() == wanted.tolist()
    named = [json.loads((folder / name).read_text()) for name in ("preprocessor_config.json", "tokenizer_config.json")]
    assert {values["processor_class"] for values in named} == {"Qwen2_5_VLProcessor"}
    text = "".join(path.read_text() for path in folder.glob("*.json") if path.name not in ("provenance.json",))
    assert "gaze_config" not in text
    assert '"gaze"' not in text
    assert "It answers\nWITHOUT gaze" in (folder / "README.md").read_text()
    bare = GazeEngine.load(str(folder), device="cpu").diagnose(IMAGES[0], options=SHORT)
    assert bare.scanpath is None
    assert "untrained" in bare.notes[0]


def test_a_head_of_its_own_is_among_the_words(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """As a 7B has it."""
    checkpoint = load_checkpoint(str(tiny_checkpoint), device="cpu")
    model = checkpoint.model
    model.config.tie_word_embeddings = model.config.text_config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach() + 1)
    save_plain(model, checkpoint.processor, tmp_path)
    plain = AutoModelForImageTextToText.from_pretrained(tmp_path)
    assert torch.equal(plain.lm_head.weight, model.lm_head.weight)
    assert torch.equal(plain.get_input_embeddings().weight, model.get_input_embeddings().weight)
    assert not torch.equal(plain.lm_head.weight, plain.get_input_embeddings().weight)


def test_diagnose_reads_a_merged_model(merged: Path, tmp_path: Path) -> None:
    IMAGES[0].save(tmp_path / "image.png")
    words = ["diagnose", str(tmp_path / "image.png"), "--model", str(merged), "--json", "--max-new-tokens", "2"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout)[0]
    assert ADDED in json.dumps(record)


def test_another_base_is_refused(adapter: Path, tmp_path: Path) -> None:
    other = shutil.copytree(resolve_source(NANO), tmp_path / "other")
    weights = load_file(other / "model.safetensors")
    name = next(name for name in weights if "norm" in name)
    save_file({**weights, name: weights[name] + 1}, other / "model.safetensors", {"format": "pt"})
    with pytest.raises(ExportError, match="fingerprints differ"):
        merge_adapter(adapter, tmp_path / "model", base=str(other))
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_a_merge_that_fails_leaves_nothing(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(merging, "merged_card", fail)  # the last file
    done = run("merge", adapter, tmp_path / "model")
    assert done.exit_code == 1
    assert "No space left on device" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_numbers_that_are_not_finite_or_too_large_are_refused(adapter: Path, tmp_path: Path) -> None:
    for factor, said in ((float("nan"), "cannot be merged"), (1e9, "do not fit float16; give --dtype bfloat16")):
        broken = Path(shutil.copytree(adapter, tmp_path / f"times {factor}"))
        weights = load_file(broken / WEIGHTS_FILE)
        name = next(name for name in weights if "lora_B" in name)
        save_file({**weights, name: weights[name] * factor}, broken / WEIGHTS_FILE)
        done = run("merge", broken, tmp_path / "model")
        assert (done.exit_code, said in done.stderr) == (2, True), done.output
        assert not (tmp_path / "model").exists()


# ---- the adapter alone ----------------------------------------------------------------------------------------------
def test_a_zip_holds_the_adapter_and_nothing_else(adapter: Path, tmp_path: Path) -> None:
    full = Path(shutil.copytree(adapter, tmp_path / "full"))
    (full / "trainer_state.json").write_text("{}")
    (full / "notes.txt").write_text("mine")
    names = zip_adapter(full, tmp_path / "one.zip")
    assert set(names) == {*ADAPTER_FILES, PROVENANCE_FILE, "README.md"}
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert archive.namelist() == [f"full/{name}" for name in names]
        assert all(archive.read(f"full/{name}") == (adapter / name).read_bytes() for name in names)
    (full / "optimizer.pt").write_bytes(b"pickle")
    with pytest.raises(AdapterError, match="pickle"):
        adapter_files(full)


def test_a_zip_unpacks_to_the_adapter(adapter: Path, adapted: list[Diagnosis], tmp_path: Path) -> None:
    done = run("zip", adapter, tmp_path / "there" / "one.zip")
    assert done.exit_code == 0, done.output
    zip_adapter(adapter, tmp_path / "two.zip")
    assert (tmp_path / "there" / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "two.zip") as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [adapter.name]
    seen = answers(GazeEngine.load(adapter=tmp_path / "out" / adapter.name, device="cpu"))
    assert furthest(seen, adapted) == 0.0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "there", "two.zip"]  # no half file


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_what_is_written_is_read_by_whom_the_umask_allows(
    adapter: Path, tmp_path: Path, mask: int, mode: int
) -> None:
    before = os.umask(mask)
    try:
        zip_adapter(adapter, tmp_path / "copy.zip")
        with new_folder(tmp_path / "model") as folder:
            save_file({"weights": torch.zeros(2)}, folder / "model.safetensors")
            write_json(folder / "config.json", {})
    finally:
        os.umask(before)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {mode}


def test_new_folder_takes_the_place_of_nothing(tmp_path: Path) -> None:
    def work(target: Path, meanwhile: bool = False, fail: bool = False) -> None:
        with new_folder(target) as folder:
            (folder / "file").write_text("new")
            if meanwhile:
                target.mkdir()
            if fail:
                raise KeyError

    work(tmp_path / "a")
    with pytest.raises(ExportError, match="there already"):
        work(tmp_path / "a")
    with pytest.raises(ExportError, match="there already"):
        work(tmp_path / "b", meanwhile=True)
    with pytest.raises(KeyError):
        work(tmp_path / "c", fail=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    assert list((tmp_path / "b").iterdir()) == []


def test_a_folder_that_holds_no_model_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="neither an adapter nor a model"):
        model_files(tmp_path)


# ---- commands -------------------------------------------------------------------------------------------------------
def test_show_prints_measures_and_verdict(adapter: Path) -> None:
    done = run("show", adapter)
    assert done.exit_code == 0
    assert f"verdict: {WHY}" in done.stdout
    row = next(line for line in done.stdout.splitlines() if line.startswith("sequence score"))
    assert " ".join(row.split()) == "sequence score 0.410 0.300 +0.110 [+0.050, +0.170] its own path, shuffled 0.200"
    assert json.loads(run("show", adapter, "--json").stdout)["verdict"]["outcome"] == "better"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show", "MISSING"), "holds no provenance.json"),
        (("show", "BROKEN"), "provenance"),
        (("show", "ODD"), "is not as a training writes it"),
        (("zip", "MISSING", "x.zip"), "is not a folder"),
        (("zip", "ADAPTER", "BROKEN"), "is there already"),
        (("merge", "MISSING", "x"), "is not a folder"),
        (("merge", "ADAPTER", "BROKEN"), "is there already"),
        (("merge", "ADAPTER", "x", "--base", "nothing"), "which is not here"),
        (("merge", "ADAPTER", "x", "--device", "cuda:77"), "CUDA"),
        (("merge", "ADAPTER", "x", "--device", "gpu"), "there is no device gpu; give auto, cpu, cuda or cuda:N"),
        (("merge", "ODD", "x"), "is not as a training writes it"),
        (("merge", "UNTOLD", "x"), "is not as a training writes it"),
        (("push", "MISSING", "owner/name"), "is not a folder"),
        (("push", "ADAPTER", "name"), "OWNER/NAME"),
    ],
)
def test_bad_input_is_one_line(words: tuple[str, ...], said: str, adapter: Path, tmp_path: Path) -> None:
    broken, odd = tmp_path / "BROKEN", Path(shutil.copytree(adapter, tmp_path / "ODD"))
    broken.mkdir()
    (broken / PROVENANCE_FILE).write_text("{")
    (odd / PROVENANCE_FILE).write_text('{"base": 3}')
    untold = Path(shutil.copytree(adapter, tmp_path / "UNTOLD"))
    values = json.loads((untold / PROVENANCE_FILE).read_text())
    (untold / PROVENANCE_FILE).write_text(json.dumps({**values, "data": {}}))
    there = {"ADAPTER": adapter, "BROKEN": broken, "ODD": odd, "UNTOLD": untold, "MISSING": tmp_path / "missing"}
    out = {"x": tmp_path / "x", "x.zip": tmp_path / "x.zip"}
    done = run(*(there.get(word) or out.get(word) or word for word in words))
    assert done.exit_code == 2, done.output
    assert len(done.stderr.strip().splitlines()) == 1
    assert said in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["BROKEN", "ODD", "UNTOLD"]
