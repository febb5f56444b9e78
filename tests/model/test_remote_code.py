"""A folder with its code beside it is read where GazeVLM is not installed, and answers what it answers here."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from gazevlm_core.inference import GazeEngine
from gazevlm_core.model.backbones import BACKBONES
from gazevlm_core.model.remote_code import write_remote_code
from gazevlm_core.options import NANO, DiagnoseOptions, resolve_source
from phantoms.make import make_phantom
from tests.diagnose.talking_model import let_talk
from tests.tiny_model import make_tiny_backbone

CHILD = Path(__file__).with_name("remote_child.py")
QUESTION = "Describe the findings on this chest radiograph."


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Two phantoms of other shapes."""
    paths = []
    for seed, size in ((41, (336, 336)), (42, (300, 220))):
        path = tmp_path / f"{seed}.png"
        Image.fromarray(make_phantom(seed, size_px=336).image).convert("RGB").crop((0, 0, *size)).save(path)
        paths.append(path)
    return paths


def read_elsewhere(folder: Path, images: list[Path], scratch: Path) -> dict:
    """What `remote_child` says of a folder."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [sys.executable, "-P", str(CHILD), str(folder), QUESTION, *map(str, images)]
    done = subprocess.run(
        words, cwd=scratch, env={**environment, "HF_MODULES_CACHE": str(scratch / "modules")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_the_shipped_checkpoint_is_read_without_our_packages(images: list[Path], tmp_path: Path) -> None:
    folder, nano = tmp_path / "away", resolve_source(NANO)
    AutoModelForImageTextToText.from_pretrained(nano).save_pretrained(folder)
    AutoProcessor.from_pretrained(nano).save_pretrained(folder)
    write_remote_code(folder)
    told = read_elsewhere(folder, images, tmp_path)
    engine, options = GazeEngine.load(device="cpu"), DiagnoseOptions(max_new_tokens=40)
    answers = [engine.diagnose(image, QUESTION, options).answer for image in images]
    assert all(answers)
    assert told["answers"] == answers
    assert told["pipeline"] == answers[0]
    assert told["modules"] == ["transformers_modules"] * 3
    assert told["ours"] == []
    assert told["adapter"] == "an adapter's heads are read by GazeVLM: install it, or merge the adapter"
    again = GazeEngine.load(str(folder), device="cpu")  # the code is not run where GazeVLM is
    assert type(again.model).__module__ == "gazevlm_core.model.backbones.qwen2_5_vl"
    assert again.diagnose(images[0], QUESTION, options).answer == answers[0]


def test_glimpses_are_seen_without_our_packages(images: list[Path], tmp_path: Path) -> None:
    marks = {"num_glimpses": 3, "repeats": False, "use_offsets": True}
    folder = let_talk(make_tiny_backbone(tmp_path / "away", BACKBONES[0], **marks))
    write_remote_code(folder)
    told = read_elsewhere(folder, images, tmp_path)
    engine, options = GazeEngine.load(str(folder), device="cpu"), DiagnoseOptions(max_new_tokens=40)
    found = [engine.diagnose(image, QUESTION, options) for image in images]
    assert all(record.glimpses for record in found)
    for text, record in zip(told["answers"], found, strict=True):
        assert text.strip().startswith(record.answer), "which the engine cuts where it repeats itself"
    assert told["pipeline"].strip().startswith(found[0].answer)
    assert told["ours"] == []


def test_the_code_needs_nothing_but_its_own_files_and_what_the_library_needs(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    for name in ("config.json", "processor_config.json"):
        (tmp_path / name).write_bytes((tiny_checkpoint / name).read_bytes())
    names = write_remote_code(tmp_path)
    auto_map = {
        "AutoConfig": "qwen2_5_vl.GazeQwen2_5_VLConfig", "AutoModelForImageTextToText": "qwen2_5_vl.GazeQwen2_5_VL",
        "AutoProcessor": "processing_gazevlm.GazeVLMProcessor",
    }  # fmt: skip
    assert {place.partition(".")[0] + ".py" for place in auto_map.values()} <= set(names)
    assert {"modeling_gazevlm.py", "configuration_gazevlm.py"} <= set(names)
    for name in names:
        for node in ast.walk(ast.parse((tmp_path / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert (node.level, f"{node.module}.py" in names) == (1, True), f"{name}: {node.module}"
            elif isinstance(node, ast.ImportFrom | ast.Import):
                roots = {(node.module if isinstance(node, ast.ImportFrom) else one.name).partition(".")[0]
                         for one in node.names}  # fmt: skip
                needed = {"torch", "numpy", "PIL", "transformers", "bitsandbytes"}
                assert roots <= {*sys.stdlib_module_names, *needed}, name
    for name in ("config.json", "processor_config.json"):
        before = json.loads((tiny_checkpoint / name).read_text(encoding="utf-8"))
        assert json.loads((tmp_path / name).read_text(encoding="utf-8")) == {**before, "auto_map": auto_map}
