"""Defaults follow the base, what a user sets wins, and it is said where each value is from."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from cli.main import app
from finetune.config import FinetuneConfig
from finetune.defaults import FOLLOW_BASE, commented_yaml, with_base_defaults
from finetune.tab.form import TrainingForm, form_fields

SMALL = {"annotations": ("data",), "base": "gazevlm-nano"}
NAMES = {size: f"Qwen/Qwen2.5-VL-{size}-Instruct" for size in ("3B", "7B", "72B")} | {"4B": "Qwen/Qwen3-VL-4B-Instruct"}


def chosen(base: str, **values: object) -> tuple[object, ...]:
    config = with_base_defaults(FinetuneConfig.from_values({"annotations": ("data",), "base": base, **values}))
    return tuple(getattr(config, name) for name in FOLLOW_BASE)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("3B", (48, 6, 1024 * 28 * 28, 4, 2, 2e-4)),
        ("7B", (48, 6, 1024 * 28 * 28, 4, 2, 1e-4)),
        ("72B", (48, 6, 1024 * 28 * 28, 1, 8, 1e-4)),
        ("4B", (48, 6, 1024 * 32 * 32, 4, 2, 2e-4)),
    ],
)
def test_a_large_base_has_defaults_of_its_own(size: str, expected: tuple[object, ...]) -> None:
    assert chosen(NAMES[size]) == expected


def test_the_embedded_model_keeps_its_own() -> None:
    usual = FinetuneConfig.from_values(SMALL)
    assert with_base_defaults(usual) == usual


def test_what_a_user_sets_wins() -> None:
    base = NAMES["7B"]
    assert chosen(base, learning_rate=1e-3) == (48, 6, 1024 * 28 * 28, 4, 2, 1e-3), "the usual value, but said"
    assert chosen(base, batch_size=2) == (48, 6, 1024 * 28 * 28, 2, 4, 1e-4), "as many images behind a step"
    assert chosen(base, batch_size=16)[3:5] == (16, 1)
    assert chosen(base, num_gaze_tokens=7, max_pixels=90_000, accumulation=1) == (7, 6, 90_000, 4, 1, 1e-4)
    assert chosen(base, num_glimpses=0)[:2] == (48, 0)
    assert chosen(base, min_pixels=2_000_000)[2] == 2_000_000
    once = with_base_defaults(FinetuneConfig.from_values({**SMALL, "base": base}))
    assert with_base_defaults(once) == once


def large_folder(folder: Path, *, gaze: dict[str, object] | None = None) -> Path:
    """Of a base as large as the 3B, without weights."""
    folder.mkdir()
    text = {"hidden_size": 2048, "num_hidden_layers": 36, "num_attention_heads": 16, "num_key_value_heads": 2,
            "intermediate_size": 11_008, "vocab_size": 151_936}  # fmt: skip
    vision = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420}
    values = {"model_type": "qwen2_5_vl", "text_config": text, "vision_config": vision, "tie_word_embeddings": True}
    (folder / "config.json").write_text(json.dumps(values | ({"model_type": "gazevlm", "gaze": gaze} if gaze else {})))
    return folder


def test_a_folder_is_as_large_as_its_configuration_says(tmp_path: Path) -> None:
    assert chosen(str(large_folder(tmp_path / "plain"))) == chosen(NAMES["3B"])
    looks = large_folder(tmp_path / "looks", gaze={"gaze_trained": True, "num_gaze_tokens": 20})
    assert chosen(str(looks))[:2] == (None, None), "a base that shows paths keeps its longest"
    (tmp_path / "plain" / "config.json").write_text("{")
    unknown = FinetuneConfig.from_values({**SMALL, "base": str(tmp_path / "plain")})
    assert with_base_defaults(unknown) == unknown
    assert chosen("somebody/unknown") == chosen("gazevlm-nano")


def test_what_is_printed_says_where_values_are_from() -> None:
    words = ["finetune", "--annotations", "data", "--base", NAMES["7B"], "--batch-size", "2", "--print-config"]
    said = CliRunner().invoke(app, words).stdout
    lines = {line.partition(":")[0]: line for line in said.splitlines()}
    assert lines["learning_rate"] == "learning_rate: 0.0001  # suits the base, which has 8.3 billion parameters"
    assert lines["batch_size"] == "batch_size: 2  # given"
    assert lines["accumulation"].startswith("accumulation: 4  # suits the base")
    assert lines["epochs"] == "epochs: 12.0"
    again = FinetuneConfig.from_values(yaml.safe_load(said))
    assert again == with_base_defaults(FinetuneConfig.from_values({**SMALL, "base": NAMES["7B"], "batch_size": 2}))
    unknown = CliRunner().invoke(app, [*words[:4], "somebody/unknown", "--print-config"]).stdout
    assert "# somebody/unknown is not on this machine" in unknown


def test_what_is_printed_can_be_read_again_however_long_its_names_are() -> None:
    long = "/data/" + "a long name of a folder " * 8
    config = FinetuneConfig(annotations=(f"{long}x", f"folder={long}y"), base=f"{long}z")
    assert FinetuneConfig.from_values(yaml.safe_load(commented_yaml(config))) == config


def test_the_form_leaves_to_the_base_what_is_left_empty(tmp_path: Path) -> None:
    fields = form_fields()
    assert all(fields[name].default is None and fields[name].optional for name in FOLLOW_BASE)
    bases = {"large": str(large_folder(tmp_path / "large")), "small": "gazevlm-nano"}
    empty = {name: field.default for name, field in fields.items()}
    config = TrainingForm(base="large", settings=empty).config(bases)
    assert tuple(getattr(config, name) for name in FOLLOW_BASE) == chosen(NAMES["3B"])
    typed = TrainingForm(base="large", settings={**empty, "learning_rate": "0.001"}).config(bases)
    assert typed.learning_rate == 1e-3
    assert TrainingForm(base="small", settings=empty).config(bases).learning_rate == 1e-3
