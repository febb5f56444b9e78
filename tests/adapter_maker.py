"""A small random adapter on disk, for tests."""

from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model

from gazevlm_core.model.adapters import save_adapter
from gazevlm_core.model.configuration_gazevlm import GazeConfig
from gazevlm_core.model.modeling_gazevlm import GazeVLM
from gazevlm_core.model.pointer import GazeHeads


def make_adapter(checkpoint: Path, folder: Path, *, seed: int = 1, steps: int = 12) -> Path:
    """LoRA on the language model, the row of `<st>` and new heads, all random; K and the findings may differ."""
    base = GazeVLM.from_pretrained(checkpoint)
    torch.manual_seed(seed)
    config = LoraConfig(
        r=4,
        target_modules=r".*language_model.*\.(q_proj|v_proj|up_proj)",
        trainable_token_indices=[base.config.gaze_token_id],
    )
    adapted = get_peft_model(base, config)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name or "trainable_tokens_delta" in name:
                parameter.normal_(std=0.3)
    gaze = GazeConfig(
        num_gaze_tokens=steps,
        finding_names=("edema",),
        pointer_dim=16,
        gaze_trained=True,
        findings_trained=True,
        trained_on="a test",
    )
    base.gaze_heads = GazeHeads(base.config.text_config.hidden_size, gaze)
    base.config.gaze_config = gaze
    save_adapter(adapted, folder)
    return folder
