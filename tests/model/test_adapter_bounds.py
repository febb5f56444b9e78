"""Adapters that ask for too much are refused in one sentence, before anything is built or executed."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from gazevlm_core.model import adapters
from gazevlm_core.model.adapter_bounds import (
    MOST_HEAD_BYTES,
    MOST_RANK,
    BoundsError,
    check_heads,
    check_lora,
    read_shapes,
)
from gazevlm_core.model.adapters import HEADS_FILE, PEFT_CONFIG_FILE, WEIGHTS_FILE, AdapterError, attach_adapter
from gazevlm_core.model.backbones import BACKBONES
from gazevlm_core.model.configuration_gazevlm import GAZE_CONFIG_FILE, GazeConfig
from gazevlm_core.model.modeling_gazevlm import GazeVLM
from gazevlm_core.model.pointer import GazeHeads

NAN, SLOW = float("nan"), r"(.*.*)*x"  # years on a name of a hundred letters
GOOD = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]}


def alter(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize(
    "pattern",
    [*(f"{one.language_layers}|{one.vision_layers}" for one in BACKBONES), BACKBONES[0].vision_layers,
     r".*language_model.*\.(q_proj|v_proj|up_proj)", r".*_proj", "q_proj",
     r".*layers\.\d+\.self_attn\.(q_proj)", ["q_proj", "model.language_model.layers.0.self_attn.v_proj"]],
)  # fmt: skip
def test_lists_of_names_and_our_own_patterns_pass(pattern: object) -> None:
    check_lora({**GOOD, "target_modules": pattern, "exclude_modules": pattern})


@pytest.mark.parametrize(
    "pattern",
    [SLOW, "(a+)+$", "(a|a)*b", ".*.*.*x", ".*a.*b.*c", "(?=.*)x", "a{1,1000}", r"(\w+\s?)*", "[a-z]*", "(a", "",
     "a||b", "|".join("abcdefghi"), "x" * 501, None, 3, {}, [SLOW], ["a b"], [""], [3], ["x" * 201], ["q"] * 2049,
     "all-linear\n"],
)  # fmt: skip
def test_foreign_patterns_are_refused_unexecuted(pattern: object) -> None:
    with pytest.raises(BoundsError, match="target_modules"):
        check_lora({**GOOD, "target_modules": pattern})
    if pattern is not None:
        with pytest.raises(BoundsError, match="exclude_modules"):
            check_lora({**GOOD, "exclude_modules": pattern})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("r", value) for value in (0, -1, MOST_RANK + 1, 2**70, 1.5, True, None, NAN, "4", [4])),
        *(("lora_alpha", value) for value in (NAN, float("inf"), 1e300, None, "8", True)),
        *(("lora_dropout", value) for value in (-0.1, 2, NAN, None)),
        *(("use_dora", value) for value in (1, "yes", None)),
        *(("rank_pattern", value) for value in ([1], {SLOW: 4}, {"q_proj": 10**9}, {"q_proj": 0}, {"q_proj": 1.5})),
        ("rank_pattern", {f"n{number}": 4 for number in range(300)}),
        *(("alpha_pattern", value) for value in ("x", {SLOW: 4}, {"q_proj": NAN})),
        *(("layers_pattern", value) for value in (SLOW, [SLOW], 3, {})),
        *(("layers_to_transform", value) for value in (-1, [2**40], ["0"], [0] * 5000, True)),
        *(("trainable_token_indices", value) for value in (3, [-1], [2**40], [0] * 5000, {"e": 3}, {SLOW: [1]}, [[1]])),
    ],
)
def test_ranks_and_choices_have_bounds(field: str, value: object) -> None:
    with pytest.raises(BoundsError, match=field):
        check_lora({**GOOD, field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("num_gaze_tokens", value) for value in (10**9, 257, 0, "12", 12.0, True, None)),
        *(("pointer_dim", value) for value in (10**9, 0, "96", 1e3)),
        *(("pixel_limits", value) for value in ([1, 10**12], [1], [1.5, 2.5], ["a", "b"], [1, 2, 3])),
        *(("finding_names", value) for value in ("edema", [3], ["x" * 101], [f"f{n}" for n in range(600)], [""])),
        *(("usual_places", value) for value in ([{}] * 600, "x", [{"name": 3, "x": 0.5, "y": 0.5, "spread": 0.1}])),
        *(("target_sigma_patches", value) for value in (NAN, float("inf"), "1")),
        *(("gaze_weight", value) for value in (NAN, None, True)),
        *(("stops", value) for value in ("no", 0, None)),
        *(("trained_on", value) for value in (3, "x" * 10_001)),
        ("pointer_keys", "foreign"),
    ],
)
def test_the_gaze_configuration_has_bounds(model: GazeVLM, adapter: Path, field: str, value: object) -> None:
    alter(adapter / GAZE_CONFIG_FILE, **{field: value})
    with pytest.raises(AdapterError, match=f"'altered': {GAZE_CONFIG_FILE} is not usable"):
        attach_adapter(model, adapter)


def test_the_index_has_bounds() -> None:
    with pytest.raises(ValueError, match="index_patches"):
        GazeConfig(pointer_keys="index", index_patches=10**9)  # type: ignore[arg-type]


def test_what_cannot_fit_is_refused_before_anything_is_built_or_loaded(
    model: GazeVLM, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("built or loaded")

    kept = {path.name: path.read_bytes() for path in adapter.iterdir()}
    weights = load_file(adapter / WEIGHTS_FILE)
    first = next(name for name in weights if "lora_A" in name)
    def heads_alone(path: Path) -> dict[str, torch.Tensor]:
        return forbidden() if path.name == WEIGHTS_FILE else load_file(path)  # type: ignore[return-value,func-returns-value]

    monkeypatch.setattr(adapters, "load_file", heads_alone)
    monkeypatch.setattr("peft.PeftModel", forbidden)
    monkeypatch.setattr("peft.set_peft_model_state_dict", forbidden)
    wide = {**weights, first: torch.zeros(4, weights[first].shape[1] + 1)}
    tall = {**weights, first: torch.zeros(5, weights[first].shape[1])}
    for changed in (wide, tall, {**weights, "base_model.model.x.lora_A.weight": torch.zeros(1)}):
        save_file(changed, adapter / WEIGHTS_FILE)
        with pytest.raises(AdapterError, match="'altered' does not fit this model: base"):
            attach_adapter(model, adapter)
    (adapter / WEIGHTS_FILE).write_bytes(kept[WEIGHTS_FILE])
    for values in ({"r": MOST_RANK}, {"r": 10**9}, {"target_modules": SLOW}, {"rank_pattern": {"q_proj": 7}}):
        alter(adapter / PEFT_CONFIG_FILE, **values)
        with pytest.raises(AdapterError, match=r"'altered' does not fit this model: .*; give one that"):
            attach_adapter(model, adapter)
        (adapter / PEFT_CONFIG_FILE).write_bytes(kept[PEFT_CONFIG_FILE])
    alter(adapter / GAZE_CONFIG_FILE, pointer_dim=8192, num_gaze_tokens=256)
    monkeypatch.setattr(adapters, "GazeHeads", forbidden)
    with pytest.raises(AdapterError, match="'altered' does not fit this model: the head's"):
        attach_adapter(model, adapter)


def test_heads_are_compared_without_being_made() -> None:
    gaze = GazeConfig(pointer_dim=16, finding_names=("edema",))
    shapes = {name: tuple(tensor.shape) for name, tensor in GazeHeads(32, gaze).state_dict().items()}
    check_heads(32, gaze, shapes)
    for wrong in ({**shapes, "more": (1,)}, dict(list(shapes.items())[1:]), {**shapes, "stop_key": (17,)}):
        with pytest.raises(BoundsError, match="the head's"):
            check_heads(32, gaze, wrong)


def raw(head: bytes, length: int | None = None, data: bytes = b"") -> bytes:
    return (len(head) if length is None else length).to_bytes(8, "little") + head + data


def one(**change: Any) -> bytes:
    tensor = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16], **change}
    return raw(json.dumps({"a": tensor}).encode(), data=b"\0" * 16)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\0", raw(b"{}", 2**63), raw(b"{}", MOST_HEAD_BYTES + 1), raw(b"[]"), raw(b"{"), raw(b"[" * 100_000),
        raw(b'{"a": 3}'), raw(b'{"a": {}}'), raw(b"\xff\xfe"), one(shape=[2**40, 2**40]), one(shape=[2, 3]),
        one(shape=[-2, -2]), one(shape=[2.0, 2.0]), one(shape="22"), one(dtype="I64"), one(dtype="BOOL"),
        one(data_offsets=[0, 2**50]), one(data_offsets=[16, 0]), one(data_offsets=[8, 24]), one(data_offsets=[0]),
        one(shape=[2, 2, 1, 1, 1, 1]), one()[:-1],
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", [WEIGHTS_FILE, HEADS_FILE])
def test_files_that_are_not_what_they_say(model: GazeVLM, adapter: Path, name: str, data: bytes) -> None:
    (adapter / name).write_bytes(data)
    with pytest.raises(BoundsError, match=name):
        read_shapes(adapter / name)
    with pytest.raises(AdapterError, match=r"'altered' does not fit this model: .*; give one") as refused:
        attach_adapter(model, adapter)
    assert len(str(refused.value)) < 500


def test_shapes_are_read_from_the_head_alone(adapter: Path) -> None:
    for name in (WEIGHTS_FILE, HEADS_FILE):
        path = adapter / name
        assert read_shapes(path) == {key: tuple(tensor.shape) for key, tensor in load_file(path).items()}


def test_a_configuration_of_many_megabytes_is_not_read(model: GazeVLM, adapter: Path) -> None:
    for name in (PEFT_CONFIG_FILE, GAZE_CONFIG_FILE):
        with (adapter / name).open("ab") as stream:
            stream.write(b" " * 2**21)
        with pytest.raises(AdapterError, match=f"{name} is not usable: it has more than a megabyte"):
            attach_adapter(model, adapter)
