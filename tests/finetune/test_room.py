"""Whether a run fits: what it takes, what is free, and one sentence where it does not."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from finetune import room
from finetune.config import ConfigError, FinetuneConfig
from finetune.defaults import with_base_defaults
from finetune.memory import memory_of, published_sizes
from finetune.room import BaseFacts, check_room, disk_for, free_ram, memory_for
from gazevlm_core.options import Precision

GB = 10**9
NAME = "Qwen/Qwen2.5-VL-3B-Instruct"
SIZES = published_sizes(NAME)
assert SIZES is not None
FACTS = BaseFacts(SIZES, Precision.NF4, on_gpu=True, most_pixels=1280 * 784, gaze_tokens=12)
CONFIG = with_base_defaults(FinetuneConfig(annotations=("data",), base=NAME))


def told(
    run: Path, *, memory: float, disk: float = 1000, done: int = 0, patch: pytest.MonkeyPatch, **values: Any
) -> str:
    patch.setattr(room.shutil, "disk_usage", lambda path: SimpleNamespace(free=int(disk * GB)))
    config = CONFIG.model_copy(update=values)
    return check_room(config, FACTS, 1000 * 1024, run, int(memory * GB), done=done)


def test_what_a_run_takes_is_said_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = told(tmp_path, memory=80, patch=monkeypatch)
    assert said.startswith("This will take about 6.8 GB of the GPU (80.0 GB are free) and 4.9 GB of the disk (features")
    assert "features 4.2 GB" in said, "1,024,000 tokens of 2,048 numbers of 2 bytes"


def test_what_an_earlier_try_wrote_is_needed_no_more_and_is_not_called_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = told(tmp_path, memory=80, disk=1, done=4 * GB, patch=monkeypatch)
    assert said.endswith("; 1.0 GB are free, 4.0 GB are there already); computed, not measured.")
    with pytest.raises(ConfigError, match=r"4\.9 GB are needed and 1\.0 GB are free, 3\.0 GB are there already; make"):
        told(tmp_path, memory=80, disk=1, done=3 * GB, patch=monkeypatch)
    assert "already" not in told(tmp_path, memory=80, done=5000, patch=monkeypatch)


@pytest.mark.parametrize(
    ("free", "disk", "values", "lower"),
    [
        (6, 100, {}, r"memory: .* 6\.0 GB are free on this GPU; lower batch_size \(and raise accumulation\)"),
        (3, 100, {}, "lower the size of the base"),
        (80, 3, {}, "disk: .* lower max_pixels, or keep no features with --no-cache-features"),
        (80, 0.1, {"cache_features": False}, "checkpoints need less with a lower lora_rank"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_lower(
    tmp_path: Path, free: float, disk: float, values: dict[str, Any], lower: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=lower) as caught:
        told(tmp_path, memory=free, disk=disk, patch=monkeypatch, **values)
    assert "\n" not in str(caught.value)
    assert "--no-check-room" in str(caught.value)
    assert told(tmp_path, memory=free, disk=disk, patch=monkeypatch, check_room=False, **values)


def test_less_of_what_is_named_takes_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = memory_for(CONFIG, FACTS).total
    for change in ({"batch_size": 1}, {"max_pixels": 200_000}, {"lora_rank": 4}):
        assert memory_for(CONFIG.model_copy(update=change), FACTS).total < usual
    assert told(tmp_path, memory=7, patch=monkeypatch, batch_size=1)


def test_eager_attention_takes_its_scores_by_hand() -> None:
    tokens = 1024 + 128 + 48 + 6 * 11
    eager = memory_for(CONFIG.model_copy(update={"attn": room.Attention.EAGER}), FACTS)
    scores = 4 * 16 * tokens**2 * 20
    assert eager.activations - memory_for(CONFIG, FACTS).activations == scores


def test_the_disk_holds_features_and_checkpoints_by_hand() -> None:
    trained = SIZES.lora(16) + SIZES.heads + 2048
    states = 2 * (1 + 4 / 256)
    disk = disk_for(CONFIG, FACTS, 10)
    assert disk.features == 10 * 2048 * 2
    assert disk.checkpoints == round(trained * (3 * (4 + states) + 4))
    assert disk_for(CONFIG.model_copy(update={"freeze_vision": False}), FACTS, 10).features == 0


def test_processes_that_share_a_model_load_it_whole_first(tmp_path: Path) -> None:
    shared = CONFIG.model_copy(update={"fsdp_storage": True, "batch_size": 1})
    whole = memory_for(shared, FACTS).weights
    needs = check_room(shared, FACTS, 0, tmp_path, 10**15, processes=64)
    assert f"about {(max(whole, memory_for(shared, FACTS, shards=64).total) + GB) / GB:.1f} GB" in needs
    assert memory_of(FACTS.sizes, rank=16, batch_tokens=1, optimizer=room.Optimizer.ADAMW, shards=64).weights < whole


def test_a_container_has_no_more_memory_than_it_is_given(tmp_path: Path) -> None:
    files = {"memory.max": f"{GB}", "memory.current": f"{GB // 2}", "memory.stat": "inactive_file 100"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert free_ram(tmp_path) == GB // 2 + 100
    (tmp_path / "memory.max").write_text("max")
    assert free_ram(tmp_path) == pytest.approx(free_ram(tmp_path / "nowhere"), rel=0.2)
