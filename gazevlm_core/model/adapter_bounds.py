"""Bounds on what an adapter's files ask for, checked before anything is built: anybody may have written them.

PEFT takes names of modules as regular expressions, and makes layers of any rank; a few bytes could keep a server
busy for years, or fill its memory. So names are names or patterns of a kind that is quick on any module's name, numbers
have bounds, and shapes are read from the heads of the files and compared with the model.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import AfterValidator, BaseModel, Field, ValidationError
from safetensors import SafetensorError, safe_open
from torch import nn

from gazevlm_core.model.configuration_gazevlm import GazeConfig
from gazevlm_core.model.pointer import GazeHeads

if TYPE_CHECKING:
    from peft import LoraConfig

MOST_RANK, MOST_TOKENS, MOST_DIMENSIONS, LONGEST_NAME = 512, 4096, 5, 200
MOST_HEAD_BYTES = 4 * 2**20  # of a safetensors file; a 7B model's LoRA on everything has a tenth of that
DTYPES = frozenset({"F32", "F16", "BF16"})
BASE = "base_model.model."
# Letters, ".*", "\." and "\d+", and in the end perhaps "(this|that)"; such parts are joined by "|".
PART = re.compile(r"(?:\.\*|\\\.|\\d\+|\w)+(?:\(\w+(?:\|\w+)*\))?", re.ASCII)
BAR = re.compile(r"\|(?![^()]*\))")  # outside of parentheses
MOST_PARTS, MOST_STARS = 8, 2


class BoundsError(ValueError):
    """An adapter that asks for too much; the message is a part of a sentence that names it."""


def _quick(pattern: str) -> str:
    """Refuse a pattern that may be slow on some name."""
    parts = BAR.split(pattern)
    quick = 0 < len(parts) <= MOST_PARTS and all(
        PART.fullmatch(part) and part.count(".*") <= MOST_STARS and ".*.*" not in part for part in parts
    )
    if not quick:
        raise ValueError(r"it is no plain pattern such as .*language_model\..*\.(q_proj|v_proj)")
    return pattern


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$", max_length=LONGEST_NAME)]
Names = Annotated[list[Name], Field(max_length=2048)]
Modules = Names | Annotated[str, Field(max_length=500), AfterValidator(_quick)]
Rank = Annotated[int, Field(ge=1, le=MOST_RANK)]
Alpha = Annotated[float, Field(ge=-1e6, le=1e6)]  # NaN lies nowhere
Layer = Annotated[int, Field(ge=0, le=1024)]
Tokens = Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(max_length=MOST_TOKENS)]
Patterns = Field(default=None, max_length=256)


class _Lora(BaseModel, strict=True):
    """The fields of PEFT's configuration that choose modules, ranks and tokens, with their bounds."""

    r: Rank
    lora_alpha: Alpha = 8
    lora_dropout: float = Field(default=0, ge=0, le=1)
    use_dora: bool = False
    use_rslora: bool = False
    target_modules: Modules
    exclude_modules: Modules | None = None
    rank_pattern: dict[Name, Rank] | None = Patterns
    alpha_pattern: dict[Name, Alpha] | None = Patterns
    layers_to_transform: Layer | Annotated[list[Layer], Field(max_length=1024)] | None = None
    layers_pattern: Name | Names | None = None
    trainable_token_indices: Tokens | dict[Name, Tokens | None] | None = None


def check_lora(values: Mapping[str, Any]) -> None:
    """Check the fields of PEFT's configuration that choose modules, ranks and tokens.

    Raises:
        BoundsError: one is of another type or out of bounds.
    """
    try:
        _Lora.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise BoundsError(f"its {first['loc'][0]} is out of bounds: {first['msg'][:LONGEST_NAME]}") from None


def check_fit(model: nn.Module, config: "LoraConfig", shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Check that the weights in a file are those of the layers that PEFT would build, in number and shape.

    Args:
        model: without an adapter.
        config: checked by `check_lora`.
        shapes: of the file's tensors, from `read_shapes`.

    Raises:
        BoundsError: a weight has no counterpart, or another shape.
    """
    from peft.tuners.tuners_utils import check_target_module_exists
    from peft.utils.other import get_pattern_key

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
    """Return names and shapes of the tensors in a safetensors file, from its head alone.

    Raises:
        BoundsError: the head is too long, no such head or not what the file holds, or tensors are not numbers of an
            adapter's kind.
        OSError: as in reading.
    """
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
    if length > MOST_HEAD_BYTES:
        raise BoundsError(f"{path.name} has a head of {length:,} bytes")
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_slice(name) for name in file.keys()}
    except SafetensorError:
        raise BoundsError(f"{path.name} is no safetensors file, or cut short") from None
    for name, tensor in tensors.items():
        if tensor.get_dtype() not in DTYPES or len(tensor.get_shape()) > MOST_DIMENSIONS:
            raise BoundsError(f"{path.name} holds {name[:LONGEST_NAME]!r}, which is no weight of an adapter")
    return {name: tuple(tensor.get_shape()) for name, tensor in tensors.items()}
