"""One rule of dtypes for weights, 4-bit layers, autocast and answers; and tensors that lie where the model lies.

No GPU is needed: what a device supports is stubbed, and tensors lie on the meta device, which finds every product of
tensors of two devices.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import TrainerControl

from finetune import trainer
from finetune.config import ConfigError, FinetuneConfig
from finetune.records import read_events
from finetune.run_log import RunLog
from finetune.trainer import MOST_SCALED, RunCallback, TrainingError, training_arguments
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.inference import GazeEngine
from gazevlm_core.model import checkpoint
from gazevlm_core.model.checkpoint import CheckpointError, load_checkpoint
from gazevlm_core.model.configuration_gazevlm import GazeConfig
from gazevlm_core.model.losses import STOP, dwell_loss, finding_loss, pointer_loss, soft_targets
from gazevlm_core.model.places import UsualPlace, pooled_tokens
from gazevlm_core.model.pointer import GazeHeads, stack_fields
from gazevlm_core.model.quantise import compute_dtype
from gazevlm_core.options import Attention, DiagnoseOptions, Precision
from tests.finetune.case_maker import HERE, make_case, path_of, picture
from tests.tiny_model import make_tiny_checkpoint

CONFIG = FinetuneConfig(annotations=("data",))


@pytest.mark.parametrize(
    ("capability", "dtype"),
    [((7, 0), torch.float16), ((7, 5), torch.float16), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16)],
    ids=["V100", "T4", "A100", "H100"],
)
def test_cuda_takes_bfloat16_where_the_device_itself_multiplies_it(
    capability: tuple[int, int], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device that is asked about, whichever is the current one."""
    asked: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: asked.append(device) or capability)
    assert compute_dtype(torch.device("cuda", 1)) == dtype
    assert asked == [torch.device("cuda", 1)]


@pytest.mark.parametrize("amx", [True, False])
def test_a_cpu_takes_float32_unless_it_multiplies_bfloat16(amx: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert compute_dtype(torch.device("cpu")) == (torch.bfloat16 if amx else torch.float32)


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that was saved in bfloat16."""
    from gazevlm_core.model.modeling_gazevlm import GazeVLM

    folder = make_tiny_checkpoint(tmp_path_factory.mktemp("half"))
    model = GazeVLM.from_pretrained(folder, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("precision", [Precision.AUTO, Precision.NF4])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_weights_four_bits_and_training_follow_the_same_dtype(
    half: Path, precision: Precision, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "compute_dtype", lambda device: dtype)
    loaded = load_checkpoint(str(half), precision=precision, device="cpu")
    assert loaded.dtype == dtype
    assert loaded.model.get_input_embeddings().weight.dtype == dtype
    assert {p.dtype for p in loaded.model.gaze_heads.parameters()} == {torch.float32}
    if precision is Precision.NF4:
        linear = loaded.model.model.language_model.layers[0].self_attn.q_proj
        assert linear.compute_dtype == dtype
    flags = flags_of(CONFIG, monkeypatch, device="cuda", dtype=loaded.dtype)
    assert (flags["bf16"], flags["fp16"]) == (dtype == torch.bfloat16, dtype == torch.float16)


def flags_of(config: FinetuneConfig, patch: pytest.MonkeyPatch, **where: Any) -> dict[str, Any]:
    """What the Trainer is told; it would look for the device."""
    patch.setattr(trainer, "TrainingArguments", dict)
    patch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")  # `accelerate launch --mixed_precision bf16`
    return dict(training_arguments(config, Path("checkpoints"), 4, **where))


def test_training_on_a_cpu_and_of_a_shared_model_takes_no_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = CONFIG.model_copy(update={"fsdp_storage": True})
    for config, device in ((CONFIG, "cpu"), (shared, "cuda")):
        flags = flags_of(config, monkeypatch, device=device, dtype=torch.bfloat16)
        assert not flags["bf16"]
        assert not flags["fp16"]
    with pytest.raises(ConfigError, match=r"fsdp_storage: .* leave it out"):
        flags_of(shared, monkeypatch, device="cuda", dtype=torch.float16)


def test_bfloat16_is_not_emulated_behind_anybodys_back(half: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "compute_dtype", lambda device: torch.float16)
    with pytest.raises(CheckpointError, match="would only emulate bfloat16; give precision auto"):
        load_checkpoint(str(half), precision=Precision.BF16, device="cpu")


def test_attention_is_the_one_that_was_asked_for(tiny_checkpoint: Path) -> None:
    for attn in (Attention.SDPA, Attention.EAGER):
        config = load_checkpoint(str(tiny_checkpoint), device="cpu", attn=attn).model.config
        assert config._attn_implementation == attn.value
        assert config.text_config._attn_implementation == config.vision_config._attn_implementation == attn.value
    with pytest.raises(CheckpointError, match="on CUDA alone; give --attn sdpa"):
        load_checkpoint(str(tiny_checkpoint), device="cpu", attn=Attention.FLASH_2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_model_in_sixteen_bits_looks_learns_and_speaks(
    half: Path, dtype: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on CUDA, with autocast in training and without in answers; nothing of it is asked for numbers in bfloat16."""
    from finetune.adapted import adapt_model, adapted_config
    from finetune.examples import AdaptCollator
    from finetune.predict import predict_cases

    monkeypatch.setattr(checkpoint, "compute_dtype", lambda device: dtype)
    engine = GazeEngine(load_checkpoint(str(half), device="cpu"))
    image = picture(1, 160, 120)
    image.save(tmp_path / "1.png")
    case = make_case("1", tmp_path / "1.png", findings={"cardiomegaly": 1.0}, report="Large.",
                     readings=[("owl", path_of(HERE, (100.0, 200.0)))])  # fmt: skip
    shown = engine.diagnose(image, options=DiagnoseOptions(max_new_tokens=2))
    assert shown.scanpath is not None
    assert all(0 < value < 1 for value in shown.finding_probabilities.values())
    assert predict_cases(engine, [case], None).losses.keys() == {"gaze_loss", "text_loss", "dwell_loss"}
    config = CONFIG.model_copy(update={"target_sigma_patches": 0.8})
    adapted = adapt_model(engine.model, config, adapted_config(engine.gaze_config, config, [case], [], []), [])
    trained = {name: p for name, p in adapted.named_parameters() if p.requires_grad}
    assert {p.dtype for p in trained.values()} == {torch.float32}, "float16 gradients cannot be unscaled"
    adapted.train()
    batch = AdaptCollator(engine.processor, engine.gaze_config, store=None)([case])
    with torch.autocast("cpu", dtype=dtype):
        losses = adapted(**batch)
    losses.loss.backward()
    for name in ("loss", "gaze_loss", "text_loss", "finding_loss", "dwell_loss"):
        assert losses[name].dtype == torch.float32, name
        assert torch.isfinite(losses[name])
    assert all(torch.isfinite(p.grad).all() for p in trained.values() if p.grad is not None)


def test_a_step_that_overflows_ends_a_run_unless_it_is_scaled(tmp_path: Path) -> None:
    """In float16 such a step is left out and the scale halved; many in a row mean that the loss itself is lost."""
    log = RunLog(tmp_path)

    def told(callback: RunCallback, grad_norm: float, *, fp16: bool) -> None:
        arguments, state = SimpleNamespace(fp16=fp16), SimpleNamespace(global_step=1, max_steps=9)
        callback.on_log(arguments, state, TrainerControl(), {"loss": 1.0, "grad_norm": grad_norm})

    def callback() -> RunCallback:
        return RunCallback(log, frozenset(), frozenset(), lambda _: [], lambda: False, lambda *_: False)

    with pytest.raises(TrainingError, match="no number any more"):
        told(callback(), float("inf"), fp16=False)
    scaled = callback()
    for _ in range(MOST_SCALED):
        told(scaled, float("inf"), fp16=True)
    told(scaled, 1.0, fp16=True)
    for _ in range(MOST_SCALED):
        told(scaled, float("nan"), fp16=True)
    with pytest.raises(TrainingError, match="no number any more"):
        told(scaled, float("inf"), fp16=True)
    log.close()
    steps = read_events(tmp_path)[0]
    assert [step.get("grad_norm") for step in steps] == [None] * MOST_SCALED + [1.0] + [None] * MOST_SCALED


@torch.no_grad()
def test_nothing_of_the_heads_lies_on_another_device() -> None:
    """Fields, steps of a walk, distributions along a path, and all losses, of tensors on a device that is no CPU."""
    places, there = (UsualPlace("c", 0.5, 0.5, 0.1),), {"device": "meta"}
    heads = GazeHeads(8, GazeConfig(num_gaze_tokens=3, finding_names=("a", "b", "c"), usual_places=places)).to("meta")
    hidden, patches = torch.empty(2, 3, 8, **there), torch.empty(2, 6, 8, **there)
    targets, cols = torch.full((2, 4, 3), STOP, **there), torch.tensor([3, 2], **there)
    mask = torch.ones(2, 6, dtype=torch.bool, **there)
    one = heads.fields(hidden[0], patches[0])
    both = stack_fields([one, one])
    found = [
        pointer_loss(heads.fields(hidden, patches), targets, mask, soft_targets(targets, cols, mask, 0.7)),
        finding_loss(heads.finding_logits(hidden), torch.empty(2, 2, **there)),
        dwell_loss(heads.log_durations(hidden, hidden), torch.empty(2, 3, **there)),
        heads.placed_logits(pooled_tokens(patches[0], PatchGrid(2, 3), places)),
        both.logits(1, torch.zeros(2, 5, dtype=torch.int64, **there)),
        both.along(torch.zeros(2, 3, dtype=torch.int64, **there)),
    ]
    assert {one.device.type for one in found} == {"meta"}
    with pytest.raises(RuntimeError, match="device"):
        soft_targets(targets, torch.tensor([3, 2]), mask, 0.7)  # what it would look like
