"""One of several processes that share an adapted model: CHECKPOINT FOLDER. It saves its whole, and takes another in."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from finetune.adapted import adapt_model, adapted_config
from finetune.config import FinetuneConfig
from finetune.trainer import load_weights
from gazevlm_core.model.adapters import save_adapter
from gazevlm_core.model.checkpoint import load_checkpoint
from tests.finetune.shard_child import WRAPPED

WHOLE = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True, cpu_offload=True)  # as accelerate asks


def stir(model: nn.Module, seed: int) -> None:
    """Give everything that is trained other values, the same on every process."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for value in model.parameters():
            if value.requires_grad:
                value.copy_(torch.randn(value.shape))


def main(checkpoint: str, folder: str) -> None:
    """Leave "whole", saved before the model is shared; "shared", after; "taken", after another was loaded ("other")."""
    dist.init_process_group("gloo")
    place, main_process = Path(folder), dist.get_rank() == 0
    config = FinetuneConfig(annotations=("none",), lora_rank=4)
    model = load_checkpoint(checkpoint, device="cpu").model
    gaze = adapted_config(model.config.gaze_config, config, [], [], [])
    torch.manual_seed(0)
    adapted = adapt_model(model, config, gaze, [])
    for name, seed in (("other", 1), ("whole", 2)):
        stir(adapted, seed)
        if main_process:
            save_adapter(adapted, place / name)
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for module in list(adapted.modules()):
        if type(module).__name__ in WRAPPED:
            fully_shard(module, mesh=mesh)
    fully_shard(adapted, mesh=mesh)
    assert all(isinstance(value, DTensor) for value in adapted.parameters())
    dist.barrier()
    for name in ("shared", "taken"):
        if name == "taken":
            load_weights(adapted, place / "other")
        state = get_model_state_dict(adapted, options=WHOLE)
        if main_process:
            save_adapter(adapted, place / name, state)
        dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
