"""A random embedded-size model on disk, for tests that need a model but not a trained one."""

from pathlib import Path
from typing import Any

import torch

from gazevlm_core.model.configuration_gazevlm import GazeConfig
from phantoms.nano_parts import nano_model, nano_processor, train_tokenizer

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
