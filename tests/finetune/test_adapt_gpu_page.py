"""docs/adapt-gpu.md: its table is the computed one, its files are read by accelerate, its flags exist."""

import inspect
import json
import re
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import ClusterConfig
from accelerate.commands.launch import launch_command_parser

from finetune.command import finetune
from finetune.config import FinetuneConfig
from finetune.memory import TABLE_IMAGES, TABLE_PATCHES, TABLE_RANK, TABLE_WORDS, memory_table

TRAINING = re.compile(r"(?:-m finetune|gazevlm finetune)(.*)")
FLAG = re.compile(r"--([a-z0-9_-]+)")


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs/adapt-gpu.md").read_text("utf-8")


def blocks(page: str, language: str) -> list[str]:
    """Fenced blocks of a language, with continued lines joined."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [text.replace("\\\n", " ") for text in found]


def test_the_page_has_the_table_that_is_computed(page: str) -> None:
    assert memory_table() in page
    batch = (f"{TABLE_IMAGES} images at once", f"{TABLE_PATCHES:,} patches", f"{TABLE_WORDS} words")
    said = (f"rank {TABLE_RANK}", *batch)
    assert [words for words in said if words not in page] == []


def test_every_flag_of_the_program_exists(page: str) -> None:
    fields = {name.replace("_", "-") for name in FinetuneConfig.model_fields}
    own = {name.replace("_", "-") for name in inspect.signature(finetune).parameters}
    used = [flag for text in blocks(page, "bash") for line in TRAINING.findall(text) for flag in FLAG.findall(line)]
    assert len(used) > 20
    assert sorted(set(used) - fields - own) == []
    named = set(re.findall(r"`--([a-z0-9-]+)`", page))
    assert sorted(named - fields - own) == []


def test_every_flag_of_accelerate_exists(page: str) -> None:
    lines = [line for text in blocks(page, "bash") for line in text.splitlines() if "accelerate launch" in line]
    assert len(lines) == 4
    known = {option for action in launch_command_parser()._actions for option in action.option_strings}
    used = {f"--{flag}" for line in lines for flag in FLAG.findall(line.split("-m finetune")[0])}
    assert sorted(used - known) == []


def test_accelerate_reads_the_file_of_fsdp(page: str, tmp_path: Path) -> None:
    (text,) = blocks(page, "yaml")
    path = tmp_path / "fsdp.yaml"
    path.write_text(text)
    config = ClusterConfig.from_yaml_file(path)
    assert config.fsdp_config["fsdp_version"] == 2
    names = {f"--{name}" for name in config.fsdp_config}
    assert names <= {option for action in launch_command_parser()._actions for option in action.option_strings}


def test_the_file_of_deepspeed_leaves_numbers_to_the_configuration(page: str) -> None:
    (text,) = blocks(page, "json")
    values = json.loads(text)
    assert values["zero_optimization"]["stage"] == 2
    numbers = ("train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping")
    assert {values[name] for name in numbers} == {"auto"}


def test_the_page_says_what_was_not_run(page: str) -> None:
    assert "None of this page was run on a GPU by us yet." in page
