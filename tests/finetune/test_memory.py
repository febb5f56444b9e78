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
from transformers import AutoModel, PretrainedConfig

from finetune.config import Optimizer
from finetune.memory import (
    FLOAT32,
    NF4_BYTES,
    ModelSizes,
    layer_bytes,
    memory_of,
    published_sizes,
    sizes_of,
)
from gazevlm_core.model.backbones import BACKBONES, BY_TYPE, PUBLISHED, config_from
from gazevlm_core.model.configuration_gazevlm import GazeVLMConfig
from gazevlm_core.model.modeling_gazevlm import GazeVLM
from gazevlm_core.options import Precision
from tests.finetune.memory_table import TABLE_RANK, TABLE_SHARDS, TABLE_TOKENS, memory_table

RANK, GAZE_TOKEN = 16, 151_665
BYTES_16_BIT = {  # of the published weights, which are in bfloat16
    "Qwen/Qwen2.5-VL-3B-Instruct": 7_509_245_952,
    "Qwen/Qwen2.5-VL-7B-Instruct": 16_584_333_312,
    "Qwen/Qwen3-VL-2B-Instruct": 4_255_064_064,
    "Qwen/Qwen3-VL-4B-Instruct": 8_875_631_616,
    "Qwen/Qwen3-VL-8B-Instruct": 17_534_247_392,
}


def known(name: str) -> ModelSizes:
    """Of a published base; "3B" is a Qwen2.5-VL."""
    sizes = published_sizes(name if "/" in name else f"Qwen/Qwen2.5-VL-{name}-Instruct")
    assert sizes is not None
    return sizes


SMALL = known("3B")


def config_of(name: str) -> PretrainedConfig:
    """The published configuration."""
    return PUBLISHED[name].published[name]()


def adapted(config: GazeVLMConfig) -> tuple[GazeVLM, nn.Module]:
    """The model, and it with LoRA; of true size and without any memory."""
    with torch.device("meta"):
        model = BY_TYPE[config.model_type](config)
        model.tie_weights()
        rows = {"embed_tokens": [GAZE_TOKEN]}
        return model, get_peft_model(
            model, LoraConfig(r=RANK, target_modules=model.language_layers, trainable_token_indices=rows)
        )


def parameters(module: nn.Module, *, but: tuple[str, ...] = ()) -> int:
    """Numbers in a module; tied ones once."""
    return sum(value.numel() for name, value in module.named_parameters() if not any(part in name for part in but))


# ---- counts ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_are_those_of_the_real_model(name: str) -> None:
    config, sizes = config_from(config_of(name).to_dict(), GAZE_TOKEN), known(name)
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
    assert parameters(model, but=("lora_", "gaze_heads", "trainable_tokens")) == sizes.backbone
    rest = sizes.backbone - sizes.language_linears - sizes.vision - sizes.embeddings
    assert rest == sizes.language_rest


@pytest.mark.parametrize("name", BYTES_16_BIT)
def test_all_parts_together_are_as_large_as_what_is_published(name: str) -> None:
    assert known(name).backbone * 2 == BYTES_16_BIT[name]


def test_the_embedded_checkpoint_is_counted_from_its_file(repository: Path) -> None:
    values = json.loads((repository / "models/gazevlm-nano/config.json").read_text("utf-8"))
    sizes = sizes_of(values)
    with torch.device("meta"):
        model = BY_TYPE["gazevlm"](config_from(values))
        model.tie_weights()
    assert sizes.backbone + sizes.heads == parameters(model)
    assert parameters(model.gaze_heads) == sizes.heads
    assert sizes.token_pixels == 784


def test_an_older_config_has_the_language_model_at_its_top() -> None:
    values = config_of("Qwen/Qwen2.5-VL-3B-Instruct").to_dict()
    old = {**values, **values.pop("text_config"), "model_type": "qwen2_5_vl", "tie_word_embeddings": True}
    assert sizes_of(old) == SMALL


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hidden_size": 8}, "it is a None model"),
        ({"model_type": "llama", "hidden_size": 8}, "it is a 'llama' model; .* Qwen2.5-VL or Qwen3-VL"),
        ({"model_type": "qwen2_5_vl", "num_attention_heads": 0}, "makes no model"),
        ({"model_type": "qwen3_vl", "text_config": {"hidden_size": None}}, "makes no model"),
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
    sizes = known(size)
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
            known(size), rank=RANK, batch_tokens=TABLE_TOKENS, shards=shards,
            optimizer=Optimizer.PAGED_ADAMW_8BIT,
        )  # fmt: skip

    one, four, eight = on(1), on(4), on(8)
    assert (four.adapter, four.gradients) == (round(one.adapter / 4), round(one.gradients / 4))
    assert four.activations == one.activations
    assert four.weights - eight.weights == pytest.approx(one.weights / 8, rel=1e-6)
    whole = four.weights - one.weights / 4
    sizes = known("72B")
    assert whole == pytest.approx(2 * sizes.embeddings + 2 * sizes.language_linears / 80 * NF4_BYTES, rel=1e-6)
    assert all(on(shards).total > on(2 * shards).total for shards in (1, 2, 4))


def test_activations_by_hand() -> None:
    def of(tokens: int, answers: int, **how: Any) -> int:
        optimizer = Optimizer.ADAMW
        memory = memory_of(SMALL, rank=RANK, batch_tokens=tokens, optimizer=optimizer, answer_tokens=answers, **how)
        return memory.activations

    lora = 2 * SMALL.lora(RANK)  # in bfloat16
    in_layer = 2 * 4 * 2048 + 2 * (6 * 2048 + 2 * (2048 + 256) + 4 * 11_008 + 7 * RANK) + 2 * 4 * 11_008
    held, last, largest = 36 * 2048 * 2, 2 * 2048 * 4, 2 * 2048 * 11_008
    assert of(16_384, 0) == 16_384 * (held + in_layer + last) + largest + lora
    assert of(16, 256) == 16 * (held + last) + 256 * 151_936 * 12 + lora
    whole = of(16_384, 0, checkpointing=False)
    assert whole == 16_384 * (36 * layer_bytes(SMALL, RANK, 2) + 2 * 4 * 11_008 + last) + largest + lora
    assert of(4096, 0, width_bytes=4) > of(4096, 0)


@pytest.mark.parametrize(
    "change",
    [{"rank": 0}, {"batch_tokens": 0}, {"shards": 0}, {"optimizer": Optimizer.AUTO}, {"precision": Precision.AUTO}],
)
def test_numbers_that_mean_nothing(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"at least 1|must be given"):
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
@pytest.mark.parametrize("backbone", BACKBONES, ids=lambda backbone: backbone.family)
@pytest.mark.parametrize("shape", [(256, 4, 4, 1024), (256, 8, 2, 512)])
def test_a_layer_keeps_what_the_formula_says(
    shape: tuple[int, int, int, int], backbone: type[GazeVLM], dtype: torch.dtype
) -> None:
    """A real language model with float32 LoRA, on this machine, under autocast as on CUDA: right to 2%."""
    width, heads, key_heads, mlp = shape

    def base(layers: int) -> PretrainedConfig:
        config = backbone.tiny(rows=64)
        text, head = config.text_config, width // heads
        text.hidden_size, text.num_attention_heads, text.num_key_value_heads = width, heads, key_heads
        text.intermediate_size, text.num_hidden_layers, text.head_dim = mlp, layers, head
        text.layer_types = ["full_attention"] * layers
        text.bos_token_id = text.eos_token_id = None
        text.rope_parameters = {**text.rope_parameters, "mrope_section": [head // 2 - 8, 4, 4]}
        config.vision_config.out_hidden_size = width
        return config

    def kept(layers: int, tokens: int) -> int:
        model = AutoModel.from_config(base(layers).text_config).to(dtype)
        model = get_peft_model(model, LoraConfig(r=RANK, target_modules=r".*_proj"))
        for name, value in model.named_parameters():
            value.data = value.data.to(torch.float32 if "lora_" in name else dtype)
        start = torch.randn(1, tokens, width, dtype=dtype, requires_grad=True)
        with torch.autocast("cpu", dtype, enabled=dtype is not torch.float32), saved_bytes(model) as total:
            model(inputs_embeds=start, use_cache=False)
        return total[0]

    of_tokens = [kept(layers, 256) - kept(layers, 128) for layers in (1, 3)]
    sizes = sizes_of(base(1).to_dict())
    assert layer_bytes(sizes, RANK, dtype.itemsize) == pytest.approx((of_tokens[1] - of_tokens[0]) / 2 / 128, rel=0.02)


# ---- the table ------------------------------------------------------------------------------------------------------
def test_the_table_has_every_model_on_every_number_of_gpus() -> None:
    rows = [line.split(" | ") for line in memory_table().splitlines()[2:]]
    assert len(rows) == len(PUBLISHED) * len(TABLE_SHARDS)
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
