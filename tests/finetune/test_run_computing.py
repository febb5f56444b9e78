"""Every option of how it is computed does what it says, and changes nothing that it should not."""

from pathlib import Path
from typing import Any

import pytest
import torch
from bitsandbytes.nn import Linear4bit, Linear8bitLt
from transformers import modeling_utils

from gazevlm_core.options import Precision
from tests.finetune.run_maker import QUICK, events, go, losses, quick
from tests.finetune.two_steps import SAME, STEPS, Done, Run

pytestmark = pytest.mark.slow


def test_features_change_nothing(do: Run, plain: dict) -> None:
    done = do(cache_features=False)
    assert not (done.run / "features").exists()
    for step, numbers in losses(done.run).items():
        assert numbers == pytest.approx(plain[step], rel=SAME)


def test_gradient_checkpointing_changes_nothing(do: Run, plain: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    true = modeling_utils.checkpoint

    def counted(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        return true(*args, **options)

    monkeypatch.setattr(modeling_utils, "checkpoint", counted)
    do(gradient_checkpointing=False)
    assert calls == 0
    done = do(gradient_checkpointing=True)
    assert calls > 0
    for step, numbers in losses(done.run).items():
        assert numbers == pytest.approx(plain[step], rel=SAME)


def test_accumulation_is_a_larger_batch(do: Run, plain: dict) -> None:
    assert QUICK["batch_size"] == 2
    for step, numbers in losses(do(batch_size=1, accumulation=2).run).items():
        assert numbers == pytest.approx(plain[step], rel=SAME)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8", "nf4"])
def test_precisions(do: Run, precision: str, plain: dict) -> None:
    done = do(precision=precision, cache_features=False)
    assert done.training.engine.checkpoint.precision == Precision(precision)
    model = done.training.engine.model.model
    kinds = {type(one) for one in model.language_model.modules()}
    assert (Linear4bit in kinds) == (precision == "nf4")
    assert (Linear8bitLt in kinds) == (precision == "int8")
    tower = next(model.visual.parameters()).dtype
    assert tower == (torch.bfloat16 if precision == "bf16" else torch.float32)
    assert done.loss() == pytest.approx(plain[1]["loss"], rel=0.05)
    assert done.loss() != plain[1]["loss"] or precision == "fp32"
    assert all(one.abs().max() > 0 for name, one in done.weights.items() if "lora_B" in name), "it learns"


@pytest.mark.parametrize("optimizer", ["auto", "adamw"])
def test_optimizer(do: Run, optimizer: str) -> None:
    values = {"learning_rate": 2e-3, "heads_learning_rate": 4e-4, "weight_decay": 0.3, "warmup_share": 0.5}
    done = do(optimizer=optimizer, **values)
    trainer = done.training.trainer
    chosen = trainer.optimizer.optimizer
    assert type(chosen) is torch.optim.AdamW
    assert [group["initial_lr"] for group in chosen.param_groups] == [2e-3, 4e-4]
    assert {group["weight_decay"] for group in chosen.param_groups} == {0.3}
    heads = {id(one) for one in trainer.adapted.get_base_model().gaze_heads.parameters()}
    assert {id(one) for one in chosen.param_groups[1]["params"]} <= heads
    assert not {id(one) for one in chosen.param_groups[0]["params"]} & heads
    assert trainer.args.warmup_steps == 1
    assert [losses(done.run)[step]["learning_rate"] for step in (1, 2)] == [0.0, 2e-3]


def test_clipping(do: Run, plain: dict) -> None:
    clipped = do(max_grad_norm=1e-9)
    assert clipped.training.trainer.args.max_grad_norm == 1e-9
    assert clipped.loss("grad_norm") == pytest.approx(plain[1]["grad_norm"]), "the norm before it is clipped"


def test_a_paged_optimizer_wants_cuda(gaze_folder: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    config = quick(gaze_folder, tiny_checkpoint, optimizer="paged-adamw-8bit", **STEPS)
    ending = go(config, tmp_path / "adapter", tmp_path / "run")
    if torch.cuda.is_available():
        assert ending.outcome == "done"
        return
    assert ending.outcome == "failed"
    assert ending.cause == "optimizer: paged-adamw-8bit needs CUDA; give adamw or auto"


def test_tensorboard(do: Run, usual: Done) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    done = do(report_to="tensorboard")
    (file,) = (done.run / "tensorboard").glob("events.out.tfevents*")
    assert list(done.run.rglob("events.out.tfevents*")) == [file], "none among the checkpoints, which are deleted"
    told = EventAccumulator(str(file.parent))
    told.Reload()
    shown = [one.value for one in told.Scalars("train/loss")]
    assert shown == pytest.approx([done.loss(step=1), done.loss(step=2)], rel=1e-4)
    assert not list(usual.run.rglob("events.out.tfevents*"))


def test_a_reporter_that_is_not_installed(
    gaze_folder: Path, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from finetune import trainer

    monkeypatch.setattr(trainer, "find_spec", lambda _: None)
    config = quick(gaze_folder, tiny_checkpoint, report_to="trackio", **STEPS)
    ending = go(config, tmp_path / "adapter", tmp_path / "run")
    assert ending.outcome == "failed"
    assert ending.cause == "report_to: trackio is not installed; pip install trackio, or give none"


def test_scorings_and_checkpoints(do: Run) -> None:
    done = do(evaluations=2, checkpoints=2)
    for kind in ("held_out", "checkpoint"):
        assert [event["step"] for event in events(done.run, kind)] == [1, 2]
