"""A step of training costs the same on one process, on two, and in pieces."""

import json
import os
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from gazevlm_core.model.losses import IGNORED, STOP, LossCounts, count_supervision
from gazevlm_core.model.modeling_gazevlm import GazeVLM
from gazevlm_core.model.outputs import GazeLosses
from gazevlm_core.training import LOSS_NAMES
from gazevlm_core.training.collator import GazeCollator
from tests.launching import launcher, run_ranks
from tests.training.spread import uneven_examples

SCRIPT = Path(__file__).with_name("spread.py")
ROOT = SCRIPT.parents[2]


def train(checkpoint: Path, out: Path, processes: int, per_device: int, accumulated: int) -> Path:
    out.mkdir()
    command = [sys.executable, str(SCRIPT), str(checkpoint), str(out), str(per_device), str(accumulated)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = run_ranks(processes, command, ROOT, environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return out


@pytest.mark.slow
def test_two_processes_and_pieces_train_like_one(tiny_checkpoint: Path, tmp_path: Path) -> None:
    one = train(tiny_checkpoint, tmp_path / "one", 1, 4, 1)
    expected = torch.load(one / "weights.pt")
    log = json.loads((one / "log.json").read_text())
    start = GazeVLM.from_pretrained(tiny_checkpoint).state_dict()
    assert any(not torch.equal(tensor, start[name]) for name, tensor in expected.items()), "it learns"
    for name, spread in (("two", (2, 2, 1)), ("pieces", (1, 1, 4)), ("both", (2, 1, 2))):
        other = train(tiny_checkpoint, tmp_path / name, *spread)
        for key, tensor in torch.load(other / "weights.pt").items():
            torch.testing.assert_close(tensor, expected[key], atol=1e-6, rtol=1e-4, msg=key)
        for entry, reference in zip(json.loads((other / "log.json").read_text())[:3], log[:3], strict=True):
            for part in ("loss", "gaze_loss", "text_loss", "finding_loss", "dwell_loss"):
                assert entry[part] == pytest.approx(reference[part], rel=2e-4), (name, part)


def test_shares_of_a_joint_mean_add_up(tiny_checkpoint: Path, tiny_processor) -> None:
    model = GazeVLM.from_pretrained(tiny_checkpoint).eval()
    collator = GazeCollator(tiny_processor, model.config.gaze_config)
    examples = uneven_examples(4)
    whole, parts = collator(examples), [collator(examples[:1]), collator(examples[1:])]
    columns = zip(*(count_supervision(part, stops=True) for part in parts), strict=True)
    counts = LossCounts(*map(sum, columns))
    assert [int(c) for c in counts] == [int(c) for c in count_supervision(whole, stops=True)]
    with torch.no_grad():
        joint, shares = model(**whole), [model(**part, loss_counts=counts) for part in parts]
    for name in ("loss", "gaze_loss", "text_loss", "finding_loss", "dwell_loss"):
        total = sum(float(share[name]) for share in shares if share.get(name) is not None)
        assert total == pytest.approx(float(joint[name]), rel=1e-4), name


def test_what_a_batch_knows_is_counted_by_hand() -> None:
    batch = {
        "labels": torch.tensor([[-100, 5, 6], [-100, -100, -100], [7, -100, -100]]),  # nothing predicts the first token
        "gaze_targets": torch.tensor([[[3, STOP, IGNORED], [1, 2, 0]]]),
        "gaze_durations_ms": torch.tensor([[[100.0, float("nan"), float("nan")], [0.0, 5.0, 6.0]]]),
        "finding_labels": torch.tensor([[1.0, float("nan")], [0.0, 0.0]]),
        "gaze_offsets": torch.tensor([[[[0.1, 0.9], [float("nan")] * 2]]]),
        "glimpse_contents": torch.tensor([[[1.0, float("nan")], [0.0, 1.0]]]),
        "patch_contents": torch.tensor([[1.0, float("nan")], [0.0, float("nan")]]),
    }
    assert [int(count) for count in count_supervision(batch, stops=True)] == [5, 1, 3, 3, 1, 3, 2]
    assert [int(count) for count in count_supervision(batch, stops=False)] == [4, 1, 3, 3, 1, 3, 2]
    assert [int(count) for count in count_supervision({}, stops=True)] == [0] * len(LOSS_NAMES)
    assert LOSS_NAMES == tuple(field.name for field in fields(GazeLosses) if field.name != "loss"), "in one order"


def test_the_launcher_is_that_of_accelerate() -> None:
    assert launcher(1) == [sys.executable]
    assert "accelerate.commands.launch" in launcher(2)
