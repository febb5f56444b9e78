"""A run on one process sees one GPU, the one that it was told to take."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from finetune import command
from finetune.command import VISIBLE, one_gpu
from finetune.config import ConfigError, FinetuneConfig
from finetune.records import Ending
from gazevlm_core.model.checkpoint import CheckpointError, pick_device


@pytest.mark.parametrize(
    ("device", "allowed", "name", "seen"),
    [
        ("auto", None, "auto", "0"),
        ("cuda", None, "cuda", "0"),
        ("cuda:1", None, "cuda", "1"),
        ("auto", "4,5", "auto", "4"),
        ("cuda:0", "4,5", "cuda", "4"),
        ("cuda:1", " 4, 5", "cuda", "5"),
        ("cuda:1", "GPU-8932f937,MIG-1c2d", "cuda", "MIG-1c2d"),
        ("cpu", "4,5", "cpu", None),
        ("cpu", None, "cpu", None),
        ("auto", "", "auto", None),
        ("cuda", "-1", "cuda", None),
    ],
)
def test_the_gpu_of_the_configuration_is_the_only_one_seen(
    device: str, allowed: str | None, name: str, seen: str | None
) -> None:
    environment = {} if allowed is None else {VISIBLE: allowed}
    assert one_gpu(device, environment) == (name, {} if seen is None else {VISIBLE: seen})


@pytest.mark.parametrize("allowed", ["4,5", "4,5,-1,6", ""])
def test_a_gpu_that_is_not_allowed_is_refused(allowed: str) -> None:
    with pytest.raises(ConfigError, match=r"device: cuda:2 is not among the [02] GPUs of CUDA_VISIBLE_DEVICES="):
        one_gpu("cuda:2", {VISIBLE: allowed})


def test_each_of_several_processes_has_its_own() -> None:
    several = {"WORLD_SIZE": "2", VISIBLE: "4,5"}
    for device in ("auto", "cuda", "cpu"):
        assert one_gpu(device, several) == (device, {})
    with pytest.raises(ConfigError, match="give auto, cuda or cpu"):
        one_gpu("cuda:1", several)
    assert one_gpu("cuda:1", {**several, "WORLD_SIZE": "1"}) == ("cuda", {VISIBLE: "5"})


def test_the_command_hides_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, str]] = []

    def run_process(config: FinetuneConfig, *_: Path) -> Ending:
        told.append((config.device, os.environ[VISIBLE]))
        return Ending("done", "It is better.")

    monkeypatch.setattr(command, "run_process", run_process)
    monkeypatch.setenv(VISIBLE, "4,5")
    words = ["finetune", "--annotations", "data", "--out", str(tmp_path / "adapter"), "--device"]
    assert CliRunner().invoke(app, [*words, "cuda:1"]).exit_code == 0
    assert told == [("cuda", "5")]
    refused = CliRunner().invoke(app, [*words, "cuda:7"])
    assert (refused.exit_code, "cuda:7 is not among" in refused.stderr) == (2, True)


def test_torch_is_not_imported_before(repository: Path) -> None:
    said = "import sys; import finetune.command, finetune.__main__, cli.main; sys.exit('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    assert subprocess.run([sys.executable, "-c", said], cwd=repository, env=environment, check=False).returncode == 0


def test_a_gpu_that_is_not_there_is_said_with_what_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv(VISIBLE, "7")
    with pytest.raises(CheckpointError, match="no CUDA device was found with CUDA_VISIBLE_DEVICES=7;"):
        pick_device("cuda")
