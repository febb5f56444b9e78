"""A model that is bare again: after an adapter that was taken off, and after one that does not fit."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from gazevlm_core.model.adapters import (
    HEADS_FILE,
    PEFT_CONFIG_FILE,
    WEIGHTS_FILE,
    AdapterError,
    attach_adapter,
    read_base_name,
)
from gazevlm_core.model.modeling_gazevlm import GazeVLM

QUERY = "base_model.model.model.language_model.layers.0.self_attn.q_proj"


def alter(adapter: Path, **values: Any) -> None:
    path = adapter / PEFT_CONFIG_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def add_weights(adapter: Path, **weights: torch.Tensor) -> None:
    save_file({**load_file(adapter / WEIGHTS_FILE), **weights}, adapter / WEIGHTS_FILE)


def watch(model: GazeVLM) -> Callable[[], None]:
    """What a bare model is; the function that is returned compares."""

    def seen() -> tuple[object, ...]:
        modules = {name: (id(module), type(module), module.training) for name, module in model.named_modules()}
        parameters = {name: (id(one), one.requires_grad) for name, one in model.named_parameters()}
        return modules, parameters, set(vars(model)), model.config.gaze

    before, tensors = seen(), {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def compare() -> None:
        after = model.state_dict()
        assert seen() == before
        assert after.keys() == tensors.keys()
        assert [name for name, tensor in tensors.items() if not torch.equal(after[name], tensor)] == []

    return compare


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("peft_type", "FOO"),
        ("peft_type", "IA3"),
        *(("init_lora_weights", kind) for kind in ("pissa", "pissa_niter_4", "olora", "corda", "loftq", "eva")),
        ("bias", "all"),
        ("bias", "lora_only"),
        ("lora_bias", True),
        ("fan_in_fan_out", True),
        ("modules_to_save", ["lm_head"]),
        ("layer_replication", [[0, 2], [1, 3]]),
        ("target_parameters", ["self_attn.q_proj.weight"]),
        ("megatron_config", {"a": 1}),
        ("megatron_core", "os"),
        ("loftq_config", {"loftq_bits": 4}),
        ("kasa_config", {}),
        ("runtime_config", {"ephemeral_gpu_offload": True}),
        ("ensure_weight_tying", True),
        ("of_a_later_version", {"a": 1}),
    ],
)
def test_only_what_leaves_the_weights_alone_is_attached(
    model: GazeVLM, adapter: Path, name: str, value: object
) -> None:
    compare = watch(model)
    alter(adapter, **{name: value})
    for use in (lambda: attach_adapter(model, adapter), lambda: read_base_name(adapter)):
        with pytest.raises(AdapterError, match=f"'altered' sets {name} to .*: train it with gazevlm finetune"):
            use()
    compare()


@pytest.mark.parametrize(
    "name",
    [f"{QUERY}.base_layer.bias", f"{QUERY}.base_layer.weight", f"{QUERY}.weight", "base_model.model.lm_head.weight"],
)
def test_an_adapter_with_weights_of_the_base_is_refused(model: GazeVLM, adapter: Path, name: str) -> None:
    compare = watch(model)
    part = model.lm_head if "lm_head" in name else model.model.language_model.layers[0].self_attn.q_proj
    add_weights(adapter, **{name: torch.ones_like(getattr(part, name.rpartition(".")[2]))})
    with pytest.raises(AdapterError, match="has no counterpart; give one that was trained on it"):
        attach_adapter(model, adapter)
    compare()


@pytest.mark.parametrize(
    "values",
    [
        {"target_modules": r".*language_model.*\.(q_proj|post_attention_layernorm)"},  # fails after the first layer
        {"target_modules": r".*language_model.*\.(q_proj|v_proj|up_proj|k_proj)"},  # more than it has weights for
        {"target_modules": r".*language_model.*\.q_proj"},  # less
        {"target_modules": r".*gaze_heads.*|.*language_model.*\.(q_proj|v_proj|up_proj)"},
        {"target_modules": "nothing"},
        {"target_modules": "("},
        {"target_modules": 3},
        {"r": 0},
        {"r": "four"},
        {"rank_pattern": 3},
        {"trainable_token_indices": [10**9]},
        {"trainable_token_indices": {"nothing": [1]}},
    ],
)
def test_an_adapter_that_does_not_fit_leaves_the_model_bare(
    model: GazeVLM, adapter: Path, values: dict[str, Any]
) -> None:
    compare = watch(model)
    alter(adapter, **values)
    with pytest.raises(AdapterError, match=r"'altered' does not fit this model: .*; give one that was trained on it"):
        attach_adapter(model, adapter)
    compare()


@pytest.mark.parametrize("values", [{}, {"init_lora_weights": False}, {"of_a_later_version": None}])
def test_an_adapter_that_is_taken_off_leaves_the_model_as_it_was(
    model: GazeVLM, adapter: Path, values: dict[str, Any]
) -> None:
    compare = watch(model)
    alter(adapter, **values)
    attached = attach_adapter(model, adapter)
    with pytest.raises(AssertionError):
        compare()
    attached.detach()
    compare()


def test_an_interrupted_adapter_leaves_the_model_bare(
    model: GazeVLM, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    compare = watch(model)
    monkeypatch.setattr("peft.set_peft_model_state_dict", interrupt)
    with pytest.raises(KeyboardInterrupt):
        attach_adapter(model, adapter)
    compare()


@pytest.mark.parametrize("text", ["[]", "3", "{", '{"base_model_name_or_path": 3}', "[" * 100_000])
def test_a_configuration_that_is_none(model: GazeVLM, adapter: Path, text: str) -> None:
    (adapter / PEFT_CONFIG_FILE).write_text(text)
    with pytest.raises(AdapterError, match=f"'altered': {PEFT_CONFIG_FILE} is not usable"):
        read_base_name(adapter)
    with pytest.raises(AdapterError, match="'altered'"):
        attach_adapter(model, adapter)


@pytest.mark.parametrize("name", [WEIGHTS_FILE, HEADS_FILE])
def test_an_adapter_that_is_deleted_while_it_is_read_leaves_the_model_bare(
    model: GazeVLM, adapter: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(path: Path) -> dict[str, torch.Tensor]:
        if path.name == name:
            shutil.rmtree(adapter)
        return load_file(path)

    compare = watch(model)
    monkeypatch.setattr("gazevlm_core.model.adapters.load_file", load)
    with pytest.raises(AdapterError, match=r"'altered' cannot be read .*; choose another, or try again"):
        attach_adapter(model, adapter)
    compare()


def test_an_adapter_that_is_deleted_while_it_is_looked_at_is_called_unreadable(
    adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(path: Path) -> bytes:
        shutil.rmtree(adapter)
        with path.open("rb") as stream:
            return stream.read()

    monkeypatch.setattr(Path, "read_bytes", read)
    with pytest.raises(AdapterError, match=r"'altered' cannot be read \(No such file or directory\); choose another"):
        read_base_name(adapter)
