"""An adapter of the embedded model that nobody trained: the real shape and all files, with random LoRA layers."""

from pathlib import Path

import torch

from finetune.adapted import adapt_model, adapted_config
from finetune.base import load_base
from finetune.cases import Split
from finetune.config import FinetuneConfig
from finetune.provenance import provenance_values, write_provenance
from finetune.records import BASE, Gain, Measure, Verdict
from finetune.usual_place import Fitted
from gazevlm_core.model.adapters import save_adapter
from gazevlm_core.model.places import UsualPlace

WHY = "It is better than its base (24 held-out patients): sequence score 0.300 to 0.410: better."
MEASURES = (
    Measure("sequence score", 0.41, 0.30, {"its own path, shuffled": 0.2}, gain=Gain(BASE, 24, 0.11, 0.05, 0.17)),
    Measure("AUROC", 0.9, None, {"chance": 0.5}),
    Measure("gaze loss", 2.5, 3.1, {}, higher_is_better=False, unit="nats"),
)
ADDED = "hiatal hernia"


def make_nano_adapter(folder: Path, *, dora: bool = False, vision: bool = False) -> Path:
    """With an added finding that has a usual place."""
    config = FinetuneConfig(annotations=("data",), dora=dora, freeze_vision=not vision, device="cpu")
    base = load_base(config)
    model = base.engine.model
    torch.manual_seed(3)
    place = UsualPlace(ADDED, 0.52, 0.64, 0.06)
    fitted = [Fitted(place, torch.randn(model.config.text_config.hidden_size), 0.3)]
    gaze = adapted_config(model.config.gaze_config, config, (), (), fitted)
    adapted = adapt_model(model, config, gaze, fitted)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name or "trainable_tokens_delta" in name:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    save_adapter(adapted, folder)
    split = Split((), ())
    verdict = Verdict("better", WHY)
    values = provenance_values(
        folder.name, config, base, split, MEASURES, verdict, steps=6, seconds=14.2, device="cpu"
    )
    write_provenance(folder, values, ())
    return folder
