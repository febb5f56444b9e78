"""The words of a model alone: a plain backbone, which every server of its family loads, without gaze."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers.utils import IMAGE_PROCESSOR_NAME

from finetune.records import write_json
from gazevlm_core.model.modeling_gazevlm import HEADS, GazeVLM
from gazevlm_core.model.processing_gazevlm import GazeVLMProcessor

OURS = ("model_type", "architectures", "auto_map", "gaze", "gaze_token_id")  # keys of the configuration
TOKENIZER_CONFIG = "tokenizer_config.json"


def save_plain(model: GazeVLM, processor: GazeVLMProcessor, folder: Path) -> None:
    """Write a model without its heads, and its processor, in the files of the family.

    The row of the gaze token stays, as one of the many that the family's embeddings have to spare.

    Args:
        model: without an adapter, in full precision.
        processor: of the same model.
        folder: that is there.
    """
    values = {name: value for name, value in model.config.to_dict().items() if name not in OURS}
    with torch.device("meta"):
        plain = model.plain(model.plain.config_class(**values))
    words = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(HEADS)}
    plain.load_state_dict(words, assign=True)
    plain.tie_weights()
    plain.generation_config = model.generation_config
    plain.save_pretrained(folder)
    processor.image_processor.save_pretrained(folder)
    processor.tokenizer.chat_template = processor.chat_template
    processor.tokenizer.save_pretrained(folder)
    for name in (IMAGE_PROCESSOR_NAME, TOKENIZER_CONFIG):
        _say(folder / name, processor_class=model.plain_processor)


def _say(path: Path, **values: Any) -> None:
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), **values})
