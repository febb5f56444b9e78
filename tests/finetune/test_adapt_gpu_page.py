"""The page about GPUs: its table is the computed one, accelerate reads its files, its flags exist."""

import inspect
import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import ClusterConfig
from accelerate.commands.launch import launch_command_parser
from typer.testing import CliRunner

from cli.main import app
from finetune.command import finetune
from finetune.config import FinetuneConfig
from finetune.memory import (
    GIGA,
    published_sizes,
)
from finetune.room import BaseFacts, memory_for
from gazevlm_core.options import Precision
from tests.finetune.memory_table import TABLE_IMAGES, TABLE_PATCHES, TABLE_RANK, TABLE_WORDS, memory_table

TRAINING = re.compile(r"(?:-m finetune|gazevlm finetune)(.*)")
FLAG = re.compile(r"--([a-z0-9_-]+)")


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs/how-to/fine-tune-on-gpus.md").read_text("utf-8")


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
    named = {name.removeprefix("no-") for name in re.findall(r"`--([a-z0-9-]+)`", page)}
    assert sorted(named - fields - own) == []


LIMITS_GB = {"3B": 8, "7B": 16, "72B": 80}  # as the page says
AROUND_GB = 2  # for CUDA, its libraries, and gaps


def test_documented_commands_fit_the_documented_memory(page: str, repository: Path) -> None:
    """Each with the defaults that its base has, on each of its GPUs."""
    assert "3B goes on 8 GB, 7B on 16,\nand 72B on one GPU of 80 GB" in page
    readme = (repository / "README.md").read_text("utf-8")
    commands = [line for text in (page, readme) for block in blocks(text, "bash") for line in TRAINING.findall(block)]
    checked = set()
    for command in commands:
        base = re.search(r"--base (Qwen/Qwen2\.5-VL-(\w+)-Instruct)", command)
        if base is None:
            continue
        words = shlex.split(re.sub(r"\s*\$RESUME.*|[\"#].*", "", command.replace("$RUN", "run")))
        said = CliRunner().invoke(app, ["finetune", *words, "--print-config"])
        assert said.exit_code == 0, command
        config = FinetuneConfig.from_values(yaml.safe_load(said.stdout))
        sizes = published_sizes(base[1])
        assert sizes is not None
        memory = memory_for(config, BaseFacts(sizes, Precision.NF4, True, 16_384 * 784, 12))
        assert memory.total / GIGA + AROUND_GB <= LIMITS_GB[base[2]], command
        checked.add(base[2])
    assert checked == set(LIMITS_GB)


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
