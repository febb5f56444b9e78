"""What an adapter's files may ask for, looked at before anything is built: anybody may have written them.

PEFT takes names of modules as regular expressions, and makes whatever ranks it is told; a few bytes could keep a server
busy for years, or fill its memory. So names are names or patterns of a kind that is quick on any module's name, numbers
have bounds, and shapes are read from the heads of the files and compared with the model.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.tuners_utils import check_target_module_exists
from peft.utils.other import get_pattern_key
from torch import nn

from gazevlm_core.model.configuration_gazevlm import GazeConfig
from gazevlm_core.model.pointer import GazeHeads

MOST_RANK, MOST_ALPHA = 512, 1e6
MOST_NAMES, MOST_TOKENS, MOST_LAYERS, MOST_RANKS = 2048, 4096, 1024, 256
LONGEST_NAME, LONGEST_PATTERN, MOST_PARTS, MOST_STARS = 200, 500, 8, 2
MOST_HEAD_BYTES = 4 * 2**20  # of a safetensors file; a 7B model's LoRA on everything has a tenth of that
DTYPES = frozenset({"F32", "F16", "BF16"})
BASE = "base_model.model."
NAME = re.compile(r"[\w.-]+", re.ASCII)
# Letters, ".*", "\." and "\d+", and in the end perhaps "(this|that)"; such parts are joined by "|".
PART = re.compile(r"(?:\.\*|\\\.|\\d\+|\w)+(?:\(\w+(?:\|\w+)*\))?", re.ASCII)
BAR = re.compile(r"\|(?![^()]*\))")  # outside of parentheses


class BoundsError(ValueError):
    """An adapter that asks for too much; the message is a part of a sentence that names it."""


def check_lora(values: Mapping[str, Any]) -> None:
    """Check the fields of PEFT's configuration that choose modules, ranks and tokens.

    Raises:
        BoundsError: one is of another type or out of bounds.
    """
    _check_number("r", values.get("r"), 1, MOST_RANK, whole=True)
    if "lora_alpha" in values:
        _check_number("lora_alpha", values["lora_alpha"], -MOST_ALPHA, MOST_ALPHA)
    if "lora_dropout" in values:
        _check_number("lora_dropout", values["lora_dropout"], 0, 1)
    for name in ("use_dora", "use_rslora"):
        if not isinstance(values.get(name, False), bool):
            raise BoundsError(f"its {name} is neither true nor false")
    _check_modules("target_modules", values.get("target_modules"))
    if values.get("exclude_modules") is not None:
        _check_modules("exclude_modules", values["exclude_modules"])
    for name, low, high in (("rank_pattern", 1, MOST_RANK), ("alpha_pattern", -MOST_ALPHA, MOST_ALPHA)):
        _check_ranks(name, values.get(name) or {}, low, high)
    layers = values.get("layers_to_transform")
    if layers is not None:
        layers = layers if isinstance(layers, list) else [layers]
        _check_count("layers_to_transform", layers, MOST_LAYERS)
        for layer in layers:
            _check_number("layers_to_transform", layer, 0, MOST_LAYERS, whole=True)
    pattern = values.get("layers_pattern")
    if pattern is not None:
        _check_names("layers_pattern", [pattern] if isinstance(pattern, str) else pattern)
    _check_tokens(values.get("trainable_token_indices"))


def check_fit(model: nn.Module, config: LoraConfig, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Check that the weights in a file are those of the layers that PEFT would build, in number and shape.

    Args:
        model: without an adapter.
        config: checked by `check_lora`.
        shapes: of the file's tensors, from `read_shapes`.

    Raises:
        BoundsError: a weight has no counterpart, or another shape.
    """
    ranks, due = config.rank_pattern or {}, dict.fromkeys(shapes)
    for name, module in model.named_modules():
        if not name or not check_target_module_exists(config, name):
            continue
        if not isinstance(module, nn.Linear):
            raise BoundsError(f"{name} is no linear layer")
        rank = ranks.get(get_pattern_key(list(ranks), name), config.r)
        wanted = {"lora_A": (rank, module.in_features), "lora_B": (module.out_features, rank)}
        for part, shape in wanted.items():
            key = f"{BASE}{name}.{part}.weight"
            if shapes.get(key) != shape:
                raise BoundsError(f"{key} has no counterpart" if key not in shapes else f"{key} is of another shape")
            del due[key]
        vector = f"{BASE}{name}.lora_magnitude_vector"
        if config.use_dora:
            if shapes.get(vector) != (module.out_features,):
                raise BoundsError(f"{vector} has no counterpart")
            del due[vector]
    width = getattr(model.get_input_embeddings(), "embedding_dim", 0)  # type: ignore[operator]
    for key in due:
        rows = shapes[key]
        if not key.endswith(".trainable_tokens_delta"):
            raise BoundsError(f"{key[:LONGEST_NAME]} has no counterpart")
        if len(rows) != 2 or rows[0] > MOST_TOKENS or rows[1] != width:
            raise BoundsError(f"{key[:LONGEST_NAME]} is of another shape")


def check_heads(hidden_size: int, gaze: GazeConfig, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Check that the tensors in a file are those of the heads, without making heads.

    Args:
        hidden_size: width of the backbone.
        gaze: configuration of the heads.
        shapes: of the file's tensors.

    Raises:
        BoundsError: one is missing, too many, or of another shape.
    """
    with torch.device("meta"):
        wanted = {name: tuple(tensor.shape) for name, tensor in GazeHeads(hidden_size, gaze).state_dict().items()}
    for name in sorted(wanted.keys() | shapes.keys()):
        if wanted.get(name) != shapes.get(name):
            raise BoundsError(f"the head's {name[:LONGEST_NAME]} is {shapes.get(name)}, not {wanted.get(name)}")


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in a safetensors file, from its head alone.

    Raises:
        BoundsError: the head is too long or no such head, tensors are not numbers of an adapter's kind, or do not lie
            in the file.
        OSError: as in reading.
    """
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= MOST_HEAD_BYTES:
            raise BoundsError(f"{path.name} has a head of {length:,} bytes")
        head, size = stream.read(length), path.stat().st_size - 8 - length
    try:
        tensors = json.loads(head)
        tensors.pop("__metadata__", None)
        shapes = {}
        for name, tensor in tensors.items():
            (begin, end), shape = tensor["data_offsets"], tuple(tensor["shape"])
            counts = all(isinstance(side, int) and 0 <= side < 2**40 for side in (*shape, begin, end))
            if not counts or tensor["dtype"] not in DTYPES or len(shape) > 5:
                raise BoundsError(f"{path.name} holds {name[:LONGEST_NAME]!r}, which is no weight of an adapter")
            if not begin <= end <= size or end - begin != math.prod(shape) * (4 if tensor["dtype"] == "F32" else 2):
                raise BoundsError(f"{path.name} is cut short, or not what its head says")
            shapes[name] = shape
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        if isinstance(error, BoundsError):
            raise
        raise BoundsError(f"{path.name} is no safetensors file") from None
    return shapes


def _check_modules(field: str, value: object) -> None:
    """A list of names, or a pattern that is quick on every name."""
    if isinstance(value, list):
        _check_names(field, value)
        return
    parts = BAR.split(value) if isinstance(value, str) and len(value) <= LONGEST_PATTERN else []
    quick = 0 < len(parts) <= MOST_PARTS and all(
        PART.fullmatch(part) and part.count(".*") <= MOST_STARS and ".*.*" not in part for part in parts
    )
    if not quick:
        like = r".*language_model\..*\.(q_proj|v_proj)"
        raise BoundsError(f"its {field} is neither a list of names of modules nor a plain pattern such as {like}")


def _check_names(field: str, value: object) -> None:
    _check_count(field, value, MOST_NAMES)
    assert isinstance(value, list)
    for name in value:
        if not (isinstance(name, str) and len(name) <= LONGEST_NAME and NAME.fullmatch(name)):
            raise BoundsError(f"its {field} holds what is no module's name")


def _check_ranks(field: str, value: object, low: float, high: float) -> None:
    if not isinstance(value, dict):
        raise BoundsError(f"its {field} is no object")
    _check_names(field, list(value))
    _check_count(field, list(value), MOST_RANKS)
    for one in value.values():
        _check_number(field, one, low, high, whole=field == "rank_pattern")


def _check_tokens(value: object) -> None:
    lists = value if isinstance(value, dict) else {"embed_tokens": value}
    _check_names("trainable_token_indices", list(lists))
    for ids in lists.values():
        if ids is None:
            continue
        _check_count("trainable_token_indices", ids, MOST_TOKENS)
        assert isinstance(ids, list)
        for one in ids:
            _check_number("trainable_token_indices", one, 0, 2**31 - 1, whole=True)


def _check_count(field: str, value: object, most: int) -> None:
    if not isinstance(value, list) or len(value) > most:
        raise BoundsError(f"its {field} is no list of at most {most:,}")


def _check_number(field: str, value: object, low: float, high: float, *, whole: bool = False) -> None:
    fits = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not fits or not low <= value <= high:  # type: ignore[operator] # NaN lies nowhere
        raise BoundsError(f"its {field} is no {'whole ' if whole else ''}number from {low:g} to {high:g}")
