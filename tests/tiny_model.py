"""Random models on disk, of the embedded size or of a tiny one of any family, for tests that need no trained one."""

from pathlib import Path
from typing import Any

import torch
from transformers import Qwen2VLImageProcessorPil

from gazevlm_core.model.configuration_gazevlm import GazeConfig
from gazevlm_core.model.modeling_gazevlm import GazeVLM
from gazevlm_core.model.processing_gazevlm import (
    TURN_END_TOKEN,
    VISION_END_TOKEN,
    VISION_START_TOKEN,
    GazeVLMProcessor,
    token_id,
)
from phantoms.nano_parts import CHAT_TEMPLATE, VOCABULARY_SIZE, nano_model, nano_processor, train_tokenizer

TEXTS = ("Describe the findings on this chest radiograph.", "Large left pleural effusion.", "Is there pneumothorax?")


def make_tiny_checkpoint(folder: Path, **gaze: Any) -> Path:
    """Save an untrained model of the embedded size; `gaze` overrides GazeConfig (by default marked as trained)."""
    marks = {"gaze_trained": True, "findings_trained": True, "dwell_trained": True, "trained_on": "nothing (a test)"}
    config = GazeConfig(**{"finding_names": ("cardiomegaly", "pneumothorax"), "pointer_dim": 32, **marks, **gaze})
    torch.manual_seed(0)
    processor = nano_processor(train_tokenizer(TEXTS * 20))
    nano_model(processor, config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def make_tiny_backbone(folder: Path, backbone: type[GazeVLM], *, plain: bool = False, **gaze: Any) -> Path:
    """Save an untrained model of a family's tiny size, whose largest image has 8 x 8 tokens; `gaze` as above."""
    torch.manual_seed(0)
    tokenizer, base = train_tokenizer(TEXTS * 20), backbone.tiny(rows=VOCABULARY_SIZE)
    processor = GazeVLMProcessor(Qwen2VLImageProcessorPil(**backbone.preprocessing), tokenizer, CHAT_TEMPLATE)
    base.image_token_id = processor.image_token_id
    base.vision_start_token_id = token_id(tokenizer, VISION_START_TOKEN)
    base.vision_end_token_id = token_id(tokenizer, VISION_END_TOKEN)
    base.text_config.bos_token_id, base.text_config.pad_token_id = None, tokenizer.pad_token_id
    base.text_config.eos_token_id = token_id(tokenizer, TURN_END_TOKEN)
    marks = {"gaze_trained": True, "findings_trained": True, "dwell_trained": True, "trained_on": "nothing (a test)"}
    config = GazeConfig(**{"finding_names": ("cardiomegaly", "pneumothorax"), "pointer_dim": 32, **marks, **gaze})
    whole = backbone.config_class.from_base(base, config, processor.gaze_token_id)
    most = 64 * whole.token_pixels
    processor.image_processor.size = {"shortest_edge": most // 2, "longest_edge": most + 1}
    model = backbone.plain(base) if plain else backbone(whole)
    model.generation_config.eos_token_id = base.text_config.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
