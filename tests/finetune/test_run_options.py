"""Every option of a run does what it says: two steps, and a look at what it should have changed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from bitsandbytes.nn import Linear4bit, Linear8bitLt
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file
from transformers import modeling_utils

from finetune import run as run_module
from finetune.records import read_provenance
from gazevlm_core.options import Precision
from tests.finetune.run_maker import events, go, losses, quick, write_gaze_folder

STEPS = {"max_steps": 2, "evaluations": 1, "checkpoints": 1, "lora_dropout": 0.0}
SAME = 1e-5  # relative difference of losses that are the same but for rounding


@dataclass(frozen=True)
class Done:
    """A run of two steps.

    Args:
        training: as it was when it ended.
        adapter, run: its folders.
    """

    training: run_module.Training
    adapter: Path
    run: Path

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        """LoRA matrices and the rest of PEFT's file."""
        return load_file(self.adapter / "adapter_model.safetensors")

    @property
    def heads(self) -> dict[str, torch.Tensor]:
        """The heads."""
        return load_file(self.adapter / "gaze_heads.safetensors")

    @property
    def peft(self) -> Any:
        """PEFT's configuration."""
        return self.training.adapted.peft_config["default"]

    def loss(self, name: str = "loss", step: int = 1) -> float:
        """Of a step."""
        return losses(self.run)[step][name]


Run = Callable[..., Done]


@pytest.fixture
def do(gaze_folder: Path, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run with values; how it ended is checked."""
    kept: list[run_module.Training] = []
    true_go, number = run_module.Training.go, iter(range(100))

    def watched_go(training: run_module.Training) -> Any:
        kept.append(training)
        return true_go(training)

    monkeypatch.setattr(run_module.Training, "go", watched_go)

    def run(**values: Any) -> Done:
        place = tmp_path / str(next(number))
        config = quick(gaze_folder, tiny_checkpoint, **{**STEPS, **values})
        ending = go(config, place / "adapter", place / "run")
        assert ending.outcome == "done", ending.cause
        assert len(events(place / "run", "step")) == 2
        provenance = read_provenance(place / "adapter")
        assert provenance is not None
        assert all(provenance["config"][name] == config.to_values()[name] for name in values if name != "annotations")
        return Done(kept[-1], place / "adapter", place / "run")

    return run


@pytest.fixture(scope="module")
def plain(gaze_folder: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, float]]:
    """Losses with nothing set."""
    place = tmp_path_factory.mktemp("plain")
    assert go(quick(gaze_folder, tiny_checkpoint, **STEPS), place / "adapter", place / "run").outcome == "done"
    return losses(place / "run")


def base_heads(checkpoint: Path) -> dict[str, torch.Tensor]:
    """Heads of the base."""
    weights = load_file(checkpoint / "model.safetensors")
    return {name.partition("gaze_heads.")[2]: one for name, one in weights.items() if "gaze_heads." in name}


# ---- adapter ------------------------------------------------------------------------------------------------------------
def test_dora(do: Run) -> None:
    done = do(dora=True)
    assert done.peft.use_dora
    assert any("lora_magnitude_vector" in name for name in done.weights)


def test_rslora(do: Run, plain: dict) -> None:
    done = do(rslora=True, lora_alpha=8, lora_rank=4)
    layer = next(one for one in done.training.adapted.modules() if isinstance(one, LoraLayer))
    assert layer.scaling["default"] == pytest.approx(8 / 4**0.5)
    assert done.loss() == pytest.approx(plain[1]["loss"], rel=SAME), "LoRA begins at nothing"
    assert done.loss(step=2) != plain[2]["loss"]


def test_rank_and_alpha(do: Run) -> None:
    done = do(lora_rank=3, lora_alpha=12)
    layer = next(one for one in done.training.adapted.modules() if isinstance(one, LoraLayer))
    assert layer.scaling["default"] == 4
    assert {one.shape[0] for name, one in done.weights.items() if "lora_A" in name} == {3}


def test_dropout(do: Run, plain: dict) -> None:
    done = do(lora_dropout=0.5)
    assert done.peft.lora_dropout == 0.5
    assert done.loss(step=2) != plain[2]["loss"]


@pytest.mark.parametrize("where", ["language", "vision", "both"])
def test_where_lora_is(do: Run, where: str, plain: dict) -> None:
    done = do(freeze_language=where == "vision", freeze_vision=where == "language")
    lora = {"visual" if ".visual." in name else "language" for name in done.weights if "lora_" in name}
    assert lora == {"language": {"language"}, "vision": {"visual"}, "both": {"visual", "language"}}[where]
    assert (done.run / "features").exists() == (where == "language"), "pixels are needed where the tower learns"
    assert done.loss() == pytest.approx(plain[1]["loss"], rel=SAME)
    moved = [one.abs().max() for name, one in done.weights.items() if "lora_B" in name and ".visual." in name]
    assert all(one > 0 for one in moved)


def test_frozen_heads(do: Run, tiny_checkpoint: Path) -> None:
    before = base_heads(tiny_checkpoint)
    done, free = do(freeze_heads=True), do()
    changed = {name for name, one in done.heads.items() if not torch.equal(one, before[name])}
    assert changed == {"finding.weight", "finding.bias"}
    assert {name for name, one in free.heads.items() if not torch.equal(one, before[name])} > changed


# ---- data ---------------------------------------------------------------------------------------------------------------
def test_gaze_orders(do: Run, plain: dict, tiny_checkpoint: Path) -> None:
    seen = {plain[1]["gaze_loss"], *(do(gaze_order=order).loss("gaze_loss") for order in ("shuffled", "random"))}
    assert len(seen) == 3, "the same images are taught other paths"
    none = do(gaze_order="none")
    assert "gaze_loss" not in losses(none.run)[1]
    assert "dwell_loss" not in losses(none.run)[1]
    before = base_heads(tiny_checkpoint)
    moved = {name.partition(".")[0] for name, one in none.heads.items() if not torch.equal(one, before[name])}
    assert moved == {"finding"}, "nobody taught the pointer anything"


def test_target_width(do: Run, plain: dict) -> None:
    done = do(target_sigma_patches=1.0)
    assert done.loss("gaze_loss") != plain[1]["gaze_loss"]
    assert done.loss("text_loss") == pytest.approx(plain[1]["text_loss"], rel=SAME)


def test_number_of_gaze_tokens(do: Run) -> None:
    from gazevlm_core.model.adapters import read_gaze_config

    done = do(num_gaze_tokens=7)
    assert read_gaze_config(done.adapter).num_gaze_tokens == 7
    assert do(num_gaze_tokens=None).training.engine.gaze_config.num_gaze_tokens == 12, "the base's"


@pytest.mark.parametrize(("limits", "patches"), [((784, 784), 1), ((3136, 3136), 4), ((12544, 12544), 16)])
def test_pixel_limits(do: Run, limits: tuple[int, int], patches: int) -> None:
    done = do(min_pixels=limits[0], max_pixels=limits[1])
    sizes = {len(load_file(path)["tokens"]) for path in (done.run / "features").iterdir()}
    assert sizes == {patches}


def test_length_groups(do: Run, plain: dict) -> None:
    done = do(group_by_length=True)
    assert [draw.case for draw in done.training.trainer.train_dataset.draws] != [
        draw.case for draw in do().training.trainer.train_dataset.draws
    ]
    assert losses(done.run) != plain


def test_shares(do: Run, gaze_folder: Path, tmp_path: Path) -> None:
    other = write_gaze_folder(tmp_path / "other", seed=5)
    both = (str(gaze_folder), str(other))
    for shares, wanted in {(1.0, 1e-9): {0}, (1e-9, 1.0): {1}}.items():
        done = do(annotations=both, shares=shares)
        draws = done.training.trainer.train_dataset.draws
        cases = done.training.prepared.split.train
        assert {cases[draw.case].dataset for draw in draws} == wanted


# ---- losses -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("part", ["gaze", "text", "finding", "dwell"])
def test_weights_of_losses(do: Run, part: str, plain: dict) -> None:
    usual = {"gaze": 1.0, "text": 1.0, "finding": 1.0, "dwell": 0.1}
    for weight in (0.0, 3.0):
        done = do(**{f"{part}_weight": weight})
        weights = {**usual, part: weight}
        whole = sum(value * plain[1][f"{name}_loss"] for name, value in weights.items())
        assert done.loss() == pytest.approx(whole, rel=1e-4)


def test_retain(do: Run) -> None:
    labels, base = do(retain=0.0), do(retain=1.0)
    assert labels.training.prepared.believed == ({},) * len(labels.training.prepared.split.train)
    targets = base.training.trainer.train_dataset[0].findings
    case = base.training.trainer.train_dataset.draws[0].case
    assert targets == dict(base.training.prepared.believed[case])
    assert labels.loss("finding_loss") != base.loss("finding_loss")


# ---- how it is computed ---------------------------------------------------------------------------------------------------
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


def test_accumulation_is_a_larger_batch(do: Run) -> None:
    two, one = do(batch_size=1, accumulation=2), do(batch_size=2)
    for step, numbers in losses(two.run).items():
        assert numbers == pytest.approx(losses(one.run)[step], rel=SAME)


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


def test_clipping(do: Run) -> None:
    free, clipped = do(max_grad_norm=1e9), do(max_grad_norm=1e-9)
    assert clipped.training.trainer.args.max_grad_norm == 1e-9
    assert free.loss("grad_norm") == pytest.approx(clipped.loss("grad_norm")), "the norm before it is clipped"


def test_a_paged_optimizer_wants_cuda(gaze_folder: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    config = quick(gaze_folder, tiny_checkpoint, optimizer="paged-adamw-8bit", **STEPS)
    ending = go(config, tmp_path / "adapter", tmp_path / "run")
    if torch.cuda.is_available():
        assert ending.outcome == "done"
        return
    assert ending.outcome == "failed"
    assert ending.cause == "optimizer: paged-adamw-8bit needs CUDA; give adamw or auto"


def test_tensorboard(do: Run) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    done = do(report_to="tensorboard")
    (file,) = done.run.rglob("events.out.tfevents*")
    told = EventAccumulator(str(file.parent))
    told.Reload()
    shown = [one.value for one in told.Scalars("train/loss")]
    assert shown == pytest.approx([done.loss(step=1), done.loss(step=2)], rel=1e-4)
    assert not list(do(report_to="none").run.rglob("events.out.tfevents*"))


def test_a_reporter_that_is_not_installed(
    gaze_folder: Path, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from finetune import arguments

    monkeypatch.setattr(arguments, "find_spec", lambda _: None)
    ending = go(quick(gaze_folder, tiny_checkpoint, report_to="trackio", **STEPS), tmp_path / "adapter", tmp_path / "run")
    assert ending.outcome == "failed"
    assert ending.cause == "report_to: trackio is not installed; pip install trackio, or give none"


def test_scorings_and_checkpoints(do: Run) -> None:
    done = do(evaluations=2, checkpoints=2)
    for kind in ("held_out", "checkpoint"):
        assert [event["step"] for event in events(done.run, kind)] == [1, 2]
