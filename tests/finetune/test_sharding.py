"""A base in 4 bits, stored for FSDP: shared by two processes it says what it says as a whole, and learns the same."""

import json
import os
import sys
from pathlib import Path

import pytest

from gazevlm_core.model.checkpoint import CheckpointError, load_checkpoint
from tests.launching import run_ranks
from tests.tiny_model import make_tiny_checkpoint


@pytest.mark.slow
def test_two_processes_share_a_model_in_four_bits(repository: Path, tmp_path: Path) -> None:
    make_tiny_checkpoint(tmp_path / "tiny")
    child, out = repository / "tests/finetune/shard_child.py", tmp_path / "result.json"
    command = [sys.executable, str(child), str(tmp_path / "tiny"), str(out)]
    environment = {**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"}
    result = run_ranks(2, command, repository, environment)
    assert result.returncode == 0, result.stderr[-3000:]
    found = json.loads(out.read_text())
    assert found["processes"] == 2
    assert found["same_logits"]
    assert found["same_names"]
    assert found["share"] == pytest.approx(0.5, abs=0.02), "4-bit weights are shared too"
    assert any("lora_A" in name for name in found["trained"])
    assert any("trainable_tokens" in name for name in found["trained"])
    assert found["largest_gradient"] > 0
    assert found["worst_gradient"] <= 1e-5 * found["largest_gradient"]


def test_a_base_that_was_saved_in_four_bits_keeps_its_storage(repository: Path) -> None:
    with pytest.raises(CheckpointError, match="16-bit form for FSDP"):
        load_checkpoint(str(repository / "models/gazevlm-nano"), device="cpu", shardable=True)
