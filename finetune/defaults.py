"""Defaults of a run that depend on the size of its base.

The values that `FinetuneConfig` has by itself are those of the embedded model. A published base of billions of
parameters sees many more patches, learns at a lower rate, and fits fewer images at once.
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from finetune.config import FinetuneConfig
from finetune.memory import ModelSizes, published_sizes, sizes_of
from gazevlm_core.options import resolve_source

LARGE, LARGER, LARGEST = 1e9, 6e9, 20e9  # parameters: 3B, 7B and 72B are the published ones above each
BYTES_IN_4_BITS = 0.5  # of a parameter
PATCHES = 1024  # of one image: with 28 px each 896 x 896 px, where a nodule of 1 cm on a radiograph covers two
STEP_IMAGES = 8  # per optimizer step, whatever the batch size
# A plain base has no longest path of its own. Whole readings of radiologists have a median of 38 fixations, and in the
# middle nine tenths 13 to 68.
GAZE_TOKENS, GLIMPSES = 48, 6
FOLLOW_BASE = ("num_gaze_tokens", "num_glimpses", "max_pixels", "batch_size", "accumulation", "learning_rate")


def with_base_defaults(config: FinetuneConfig) -> FinetuneConfig:
    """Return a configuration with the defaults of its base; what was set stays, and what this sets counts as set.

    A base that is not on this machine, and is none of the published ones, leaves it as it is.
    """
    return config.model_copy(update=suggestions(config))


def suggestions(config: FinetuneConfig) -> dict[str, Any]:
    """Return what the base decides: field -> value, of fields that were not set.

    A base that shows paths already keeps its longest.
    """
    sizes = None if _is_small(config.base) else _sizes(config.base)
    if sizes is None or sizes.backbone < LARGE:
        return {}
    given, images = config.model_fields_set, 1 if sizes.backbone > LARGEST else 4
    at_once = config.batch_size if "batch_size" in given else images
    shows_paths = ((base_values(config.base) or {}).get("gaze") or {}).get("gaze_trained")
    wanted = {
        **({} if shows_paths else {"num_gaze_tokens": GAZE_TOKENS, "num_glimpses": GLIMPSES}),
        "max_pixels": max(PATCHES * sizes.token_pixels, config.min_pixels or 0),
        "batch_size": images,
        "accumulation": max(1, STEP_IMAGES // at_once),
        "learning_rate": 1e-4 if sizes.backbone > LARGER else 2e-4,
    }
    return {name: value for name, value in wanted.items() if name not in given}


def commented_yaml(config: FinetuneConfig, missing: Collection[str] = ()) -> str:
    """Return a configuration as YAML, with the defaults of its base; a remark says where each value is from.

    Args:
        missing: fields that somebody has to fill in yet.
    """
    found = suggestions(config)
    given = config.model_fields_set
    small = _is_small(config.base)
    sizes = None if small else _sizes(config.base)
    about = "" if sizes is None else f", which has {sizes.backbone / 1e9:.2g} billion parameters"
    lines = ["# Values without a remark are the usual ones."]
    if sizes is None and not small:
        lines.append(f"# {config.base} is not on this machine: values that follow the base are the embedded model's.")
    for line in with_base_defaults(config).to_yaml().splitlines():
        name = line.partition(":")[0]
        if name in missing:
            lines.append(f"{line}  # to be filled in")
            continue
        remark = f"  # suits the base{about}" if name in found else "  # given" if name in given else ""
        lines.append(line + remark)
    return "\n".join(lines) + "\n"


def base_values(source: str) -> Mapping[str, Any] | None:
    """Return the values of a base's config.json: of a shipped one, of a folder, or from the Hub's cache; else None."""
    place: object = Path(resolve_source(source)) / "config.json"
    if not Path(str(place)).is_file():
        if source.count("/") != 1 or source.startswith((".", "/", "~")):
            return None
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError

        try:
            place = try_to_load_from_cache(source, "config.json")
        except HFValidationError:
            return None
        if not isinstance(place, str):
            return None
    try:
        values = json.loads(Path(str(place)).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # loading says what is wrong
    return values if isinstance(values, dict) else None


def _is_small(source: str) -> bool:
    """Return whether the weights here are too few bytes for a large base, so that nobody has to load torch to count
    them."""
    weights = list(Path(resolve_source(source)).glob("*.safetensors"))
    return bool(weights) and sum(file.stat().st_size for file in weights) < LARGE * BYTES_IN_4_BITS


def _sizes(source: str) -> ModelSizes | None:
    values = base_values(source)
    if values is None:
        return published_sizes(source)
    try:
        return sizes_of(values)
    except ValueError:
        return None  # of no family; loading says so
