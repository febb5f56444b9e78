"""The families of vision-language models that can carry gaze: one file each, and nothing of them elsewhere.

Importing this makes the library's Auto classes know their checkpoints. docs/how-to/add-a-backbone.md says what another
family must give.
"""

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from gazevlm_core.model.configuration_gazevlm import GazeConfig, GazeVLMConfig
from gazevlm_core.model.modeling_gazevlm import GazeVLM
from gazevlm_core.model.processing_gazevlm import GazeVLMProcessor

for found in iter_modules(__path__):
    import_module(f"{__name__}.{found.name}")
BACKBONES: tuple[type[GazeVLM], ...] = tuple(GazeVLM.__subclasses__())
BY_TYPE = {backbone.config_class.model_type: backbone for backbone in BACKBONES}  # of checkpoints with gaze parts
BY_PLAIN_TYPE = {backbone.plain.config_class.model_type: backbone for backbone in BACKBONES}  # of plain ones
PUBLISHED = {name: backbone for backbone in BACKBONES for name in backbone.published}  # Hub ids

for backbone in BACKBONES:
    AutoConfig.register(backbone.config_class.model_type, backbone.config_class)
    AutoModelForImageTextToText.register(backbone.config_class, backbone)
    AutoProcessor.register(backbone.config_class, GazeVLMProcessor)


def config_from(values: Mapping[str, Any], gaze_token_id: int | None = None) -> GazeVLMConfig:
    """Return the configuration of a checkpoint, with untrained gaze parts where it is a plain one.

    Args:
        values: of its config.json.
        gaze_token_id: of a plain one's tokenizer.

    Raises:
        ValueError: it is of no family.
    """
    kind = values.get("model_type")
    if kind in BY_TYPE:
        return BY_TYPE[kind].config_class.from_dict(values)
    if kind not in BY_PLAIN_TYPE:
        families = " or ".join(one.family for one in BACKBONES)
        raise ValueError(f"it is a {kind!r} model; GazeVLM needs a checkpoint of the {families} family")
    backbone = BY_PLAIN_TYPE[kind]
    return backbone.config_class.from_base(backbone.plain.config_class.from_dict(values), GazeConfig(), gaze_token_id)
