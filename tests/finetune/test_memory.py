"""Memory of fine-tuning: every count against the real model at its true size, the bytes against sums by hand."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import Qwen2_5_VLConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLTextModel

from finetune.adapted import LANGUAGE
from finetune.config import Optimizer
from finetune.memory import (
    FLOAT32,
    KNOWN,
    NF4_BYTES,
    TABLE_RANK,
    TABLE_SHARDS,
    TABLE_TOKENS,
    layer_bytes,
    memory_of,
    memory_table,
)
from finetune.sizes import ModelSizes, count_heads, sizes_of
from gazevlm_core.model.configuration_gazevlm import GazeConfig, GazeVLMConfig, PointerKeys
from gazevlm_core.model.modeling_gazevlm import GazeVLM
from gazevlm_core.model.places import UsualPlace
from gazevlm_core.model.pointer import GazeHeads
from gazevlm_core.options import Precision

RANK, GAZE_TOKEN = 16, 151_665
# Dimensions of the published config.json files, told apart from `KNOWN` on purpose.
PUBLISHED: dict[str, dict[str, Any]] = {
    "Qwen/Qwen2.5-VL-3B-Instruct": {"text": (2048, 36, 16, 2, 11_008, 151_936), "tied": True, "vision": 3420},
    "Qwen/Qwen2.5-VL-7B-Instruct": {"text": (3584, 28, 28, 4, 18_944, 152_064), "tied": False, "vision": 3420},
    "Qwen/Qwen2.5-VL-72B-Instruct": {"text": (8192, 80, 64, 8, 29_568, 152_064), "tied": False, "vision": 3456},
}
BYTES_16_BIT = {  # of the published weights, which are in bfloat16
    "Qwen/Qwen2.5-VL-3B-Instruct": 7_509_245_952,
    "Qwen/Qwen2.5-VL-7B-Instruct": 16_584_333_312,
}
SMALL = KNOWN["Qwen/Qwen2.5-VL-3B-Instruct"]


def config_of(name: str, **text: int | None) -> GazeVLMConfig:
    """The published configuration with gaze parts."""
    told = PUBLISHED[name]
    keys = (
        "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "intermediate_size",
        "vocab_size",
    )  # fmt: skip
    base = Qwen2_5_VLConfig(
        text_config={**dict(zip(keys, told["text"], strict=True)), **text},
        vision_config={
            "depth": 32, "hidden_size": 1280, "intermediate_size": told["vision"], "num_heads": 16,
            "out_hidden_size": told["text"][0],
        },
        tie_word_embeddings=told["tied"],
    )  # fmt: skip
    return GazeVLMConfig.from_base(base, GazeConfig(), gaze_token_id=GAZE_TOKEN)


def adapted(config: GazeVLMConfig) -> tuple[GazeVLM, nn.Module]:
    """The model, and it with LoRA; of true size and without any memory."""
    with torch.device("meta"):
        model = GazeVLM(config)
        model.tie_weights()
        lora = LoraConfig(r=RANK, target_modules=LANGUAGE, trainable_token_indices={"embed_tokens": [GAZE_TOKEN]})
        return model, get_peft_model(model, lora)


def parameters(module: nn.Module, *, but: tuple[str, ...] = ()) -> int:
    """Numbers in a module; tied ones once."""
    return sum(value.numel() for name, value in module.named_parameters() if not any(part in name for part in but))


# ---- counts ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", KNOWN)
def test_counts_are_those_of_the_real_model(name: str) -> None:
    config, sizes = config_of(name), KNOWN[name]
    assert sizes_of(config) == sizes
    model, with_lora = adapted(config)
    language = model.model.language_model
    linears = [
        module.base_layer for path, module in language.named_modules()
        if path.endswith("_proj") and hasattr(module, "base_layer")
    ]  # fmt: skip
    assert len(linears) == sizes.layers * len(sizes.linears) == config.text_config.num_hidden_layers * 7
    assert sum(linear.weight.numel() for linear in linears) == sizes.language_linears
    assert parameters(model.model.visual) == sizes.vision
    both = [getattr(table, "original_module", table).weight for table in (language.embed_tokens, model.lm_head)]
    tables = {id(table): table.numel() for table in both}
    assert sum(tables.values()) == sizes.embeddings
    assert (len(tables) == 1) == sizes.tied
    assert parameters(model.gaze_heads) == sizes.heads
    trained = sum(value.numel() for value in with_lora.parameters() if value.requires_grad)
    assert trained == sizes.lora(RANK) + sizes.width, "LoRA, and the row of the gaze token"
    assert hasattr(model.lm_head, "token_adapter") == sizes.tied, "where the copies at the output layer come from"
    assert parameters(model, but=("lora_", "gaze_heads", "trainable_tokens")) == sizes.backbone
    rest = sizes.backbone - sizes.language_linears - sizes.vision - sizes.embeddings
    assert rest == sizes.language_rest


@pytest.mark.parametrize("name", BYTES_16_BIT)
def test_all_parts_together_are_as_large_as_what_is_published(name: str) -> None:
    assert KNOWN[name].backbone * 2 == BYTES_16_BIT[name]


@pytest.mark.parametrize(
    "gaze",
    [
        GazeConfig(),
        GazeConfig(finding_names=("edema", "mass"), pointer_dim=96),
        GazeConfig(use_previous_patch=False),
        GazeConfig(pointer_keys=PointerKeys.INDEX, index_patches=64),
        GazeConfig(finding_names=("edema", "mass"), usual_places=(UsualPlace("mass", 0.2, 0.4, 0.1),)),
    ],
)
def test_heads_of_any_kind(gaze: GazeConfig) -> None:
    counted = count_heads(
        48, pointer_dim=gaze.pointer_dim, findings=gaze.num_head_findings, placed=len(gaze.usual_places),
        use_previous_patch=gaze.use_previous_patch, index_patches=gaze.index_patches,
    )  # fmt: skip
    assert counted == parameters(GazeHeads(48, gaze))


def test_the_embedded_checkpoint_is_counted_from_its_file(repository: Path) -> None:
    values = json.loads((repository / "models/gazevlm-nano/config.json").read_text("utf-8"))
    sizes = sizes_of(values)
    with torch.device("meta"):
        values.pop("quantization_config")
        model = GazeVLM(GazeVLMConfig(**values))
        model.tie_weights()
    assert sizes.backbone + sizes.heads == parameters(model)
    assert parameters(model.gaze_heads) == sizes.heads


def test_an_older_config_has_the_language_model_at_its_top() -> None:
    values = config_of("Qwen/Qwen2.5-VL-3B-Instruct").to_dict()
    vision = {**values["vision_config"], "in_chans": 3}
    vision.pop("in_channels")
    old = {**values.pop("text_config"), "vision_config": vision, "tie_word_embeddings": True}
    assert sizes_of(old) == SMALL


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hidden_size": 8}, "lacks num_attention_heads; it must be"),
        ({"hidden_size": 8, "num_attention_heads": 0}, "is not a Qwen2.5-VL's"),
        ({"hidden_size": None, "num_attention_heads": 2}, "is not a Qwen2.5-VL's"),
    ],
)
def test_configurations_of_something_else(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sizes_of(values)


# ---- bytes ----------------------------------------------------------------------------------------------------------
def gigabytes(sizes: ModelSizes, *, vision_bytes: float) -> float:
    language = sizes.language_linears * NF4_BYTES + sizes.embeddings * 2
    return (language + sizes.vision * vision_bytes) / 1e9


@pytest.mark.parametrize(("size", "all_in_nf4", "vision_in_16_bit"), [("3B", 2.40, 3.39), ("7B", 5.90, 6.90)])
def test_weights_by_hand(size: str, all_in_nf4: float, vision_in_16_bit: float) -> None:
    sizes = KNOWN[f"Qwen/Qwen2.5-VL-{size}-Instruct"]
    assert gigabytes(sizes, vision_bytes=NF4_BYTES) == pytest.approx(all_in_nf4, abs=0.006)
    assert gigabytes(sizes, vision_bytes=2) == pytest.approx(vision_in_16_bit, abs=0.006)
    memory = memory_of(sizes, rank=RANK, batch_tokens=1, optimizer=Optimizer.PAGED_ADAMW_8BIT)
    assert memory.weights / 1e9 == pytest.approx(vision_in_16_bit, abs=0.006)


def test_nf4_takes_what_its_tensors_take() -> None:
    """Of a weight of 2048 x 2048: packed values, 8-bit scales, scales of scales."""
    values = 2048 * 2048
    by_hand = values // 2 + values // 64 + 4 * (values // 64 // 256)
    assert values * NF4_BYTES == by_hand
    bitsandbytes = pytest.importorskip("bitsandbytes.functional")
    packed, state = bitsandbytes.quantize_4bit(torch.randn(2048, 2048), quant_type="nf4", compress_statistics=True)
    tensors = (packed, state.absmax, state.state2.absmax)
    assert sum(tensor.numel() * tensor.element_size() for tensor in tensors) == by_hand


def test_what_is_trained_by_hand() -> None:
    trained = SMALL.lora(RANK) + SMALL.heads + 2048  # the row of the gaze token
    plain = memory_of(SMALL, rank=RANK, batch_tokens=1, optimizer=Optimizer.ADAMW)
    assert (plain.adapter, plain.gradients, plain.optimizer) == (4 * trained, 4 * trained, 8 * trained)
    paged = memory_of(SMALL, rank=RANK, batch_tokens=1, optimizer=Optimizer.PAGED_ADAMW_8BIT)
    assert paged.optimizer == round(2 * trained * (1 + 4 / 256))
    assert paged.total == paged.weights + paged.adapter + paged.gradients + paged.optimizer + paged.activations


def test_shards_divide_all_but_activations_and_what_is_whole() -> None:
    def on(shards: int, size: str = "72B") -> Any:
        return memory_of(
            KNOWN[f"Qwen/Qwen2.5-VL-{size}-Instruct"], rank=RANK, batch_tokens=TABLE_TOKENS, shards=shards,
            optimizer=Optimizer.PAGED_ADAMW_8BIT,
        )  # fmt: skip

    one, four, eight = on(1), on(4), on(8)
    assert (four.adapter, four.gradients) == (round(one.adapter / 4), round(one.gradients / 4))
    assert four.activations == one.activations
    assert four.weights - eight.weights == pytest.approx(one.weights / 8, rel=1e-6)
    whole = four.weights - one.weights / 4
    sizes = KNOWN["Qwen/Qwen2.5-VL-72B-Instruct"]
    assert whole == pytest.approx(2 * sizes.embeddings + 2 * sizes.language_linears / 80 * NF4_BYTES, rel=1e-6)
    assert all(on(shards).total > on(2 * shards).total for shards in (1, 2, 4))


def test_activations_by_hand() -> None:
    def of(tokens: int, answers: int, size: str = "3B", **how: Any) -> int:
        sizes = KNOWN[f"Qwen/Qwen2.5-VL-{size}-Instruct"]
        optimizer = Optimizer.ADAMW
        memory = memory_of(sizes, rank=RANK, batch_tokens=tokens, optimizer=optimizer, answer_tokens=answers, **how)
        return memory.activations

    lora = 2 * SMALL.lora(RANK)  # in bfloat16
    in_layer = 2 * 4 * 2048 + 2 * (6 * 2048 + 2 * (2048 + 256) + 4 * 11_008 + 7 * RANK) + 2 * 4 * 11_008
    held, last, largest = 36 * 2048 * 2, 2 * 2048 * 4, 2 * 2048 * 11_008
    assert of(16_384, 0) == 16_384 * (held + in_layer + last) + largest + lora
    logits, copies = 256 * 151_936 * 12, 2 * 151_936 * 2048 * 2
    assert of(16, 256) == 16 * (held + last) + logits + copies + lora
    untied = 2 * KNOWN["Qwen/Qwen2.5-VL-7B-Instruct"].lora(RANK)
    assert of(1, 0, "7B") == 152_064 * 3584 * 2 + 2 * 3584 * 4 + untied, "the gradient of the embedding's copy"
    whole = of(16_384, 0, checkpointing=False)
    assert whole == 16_384 * (36 * layer_bytes(SMALL, RANK, 2) + 2 * 4 * 11_008 + last) + largest + lora
    assert of(4096, 0, width_bytes=4) > of(4096, 0)


@pytest.mark.parametrize(
    "change",
    [{"rank": 0}, {"batch_tokens": 0}, {"shards": 0}, {"optimizer": Optimizer.AUTO}, {"precision": Precision.AUTO}],
)
def test_numbers_that_mean_nothing(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"at least 1|must be told"):
        memory_of(SMALL, **{"rank": 1, "batch_tokens": 1, "optimizer": Optimizer.ADAMW, **change})


@contextmanager
def saved_bytes(model: nn.Module) -> Iterator[list[int]]:
    """Bytes that autograd keeps for the backward pass, beside parameters; each storage once."""
    own = {value.untyped_storage().data_ptr() for value in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}
    alive: list[torch.Tensor] = []  # else a place could be given out twice
    total: list[int] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield total
    total.append(sum(kept.values()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("shape", [(256, 4, 4, 1024), (256, 8, 2, 512)])
def test_a_layer_keeps_what_the_formula_says(shape: tuple[int, int, int, int], dtype: torch.dtype) -> None:
    """A real language model with float32 LoRA, on this machine, under autocast as on CUDA: right to 2%."""
    width, heads, key_heads, mlp = shape
    change = {
        "hidden_size": width, "num_attention_heads": heads, "num_key_value_heads": key_heads,
        "intermediate_size": mlp, "vocab_size": 64, "bos_token_id": None, "eos_token_id": None,
    }  # fmt: skip

    def kept(layers: int, tokens: int) -> int:
        config = config_of("Qwen/Qwen2.5-VL-3B-Instruct", **change, num_hidden_layers=layers).text_config
        config.rope_parameters = {**config.rope_parameters, "mrope_section": [width // heads // 2 - 8, 4, 4]}
        model = get_peft_model(Qwen2_5_VLTextModel(config).to(dtype), LoraConfig(r=RANK, target_modules=r".*_proj"))
        for name, value in model.named_parameters():
            value.data = value.data.to(torch.float32 if "lora_" in name else dtype)
        start = torch.randn(1, tokens, width, dtype=dtype, requires_grad=True)
        with torch.autocast("cpu", dtype, enabled=dtype is not torch.float32), saved_bytes(model) as total:
            model(inputs_embeds=start, use_cache=False)
        return total[0]

    of_tokens = [kept(layers, 256) - kept(layers, 128) for layers in (1, 3)]
    sizes = sizes_of(config_of("Qwen/Qwen2.5-VL-3B-Instruct", **change))
    assert layer_bytes(sizes, RANK, dtype.itemsize) == pytest.approx((of_tokens[1] - of_tokens[0]) / 2 / 128, rel=0.02)


# ---- the table ------------------------------------------------------------------------------------------------------
def test_the_table_has_every_model_on_every_number_of_gpus() -> None:
    rows = [line.split(" | ") for line in memory_table().splitlines()[2:]]
    assert len(rows) == len(KNOWN) * len(TABLE_SHARDS)
    first = memory_of(
        SMALL, rank=TABLE_RANK, batch_tokens=TABLE_TOKENS, optimizer=Optimizer.PAGED_ADAMW_8BIT, shards=1
    )
    assert rows[0][0] == "| Qwen2.5-VL-3B"
    assert float(rows[0][2]) == pytest.approx(first.weights / 1e9, abs=0.005)
    assert float(rows[0][-1].strip("*| ")) == pytest.approx(first.total / 1e9, abs=0.05)


def test_it_is_quick_to_import(repository: Path) -> None:
    code = "import sys, finetune.memory; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=repository, check=False).returncode == 0


def test_float32_is_four_bytes() -> None:
    assert FLOAT32 == torch.float32.itemsize
