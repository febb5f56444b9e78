"""One of several processes that share a model in 4 bits: CHECKPOINT OUT. Compares it with the whole model."""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from finetune.adapted import gaze_token_of
from gazevlm_core.model.checkpoint import load_checkpoint
from gazevlm_core.model.token_rows import keep_embedding_uncopied
from gazevlm_core.options import Precision

WRAPPED = {"Qwen2_5_VLDecoderLayer", "Qwen2_5_VLVisionBlock"}  # as docs/how-to/fine-tune-on-gpus.md names them
IDS = torch.tensor([[8, 9, 10, 11, 12, 13]])


def bytes_here(model: nn.Module) -> int:
    """Of all parameters, those of this process alone."""
    local = (value.to_local() if isinstance(value, DTensor) else value for value in model.parameters())
    return sum(value.numel() * value.element_size() for value in local)


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    """Whole gradients of everything that is trained."""
    found = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
    return {name: grad.full_tensor() if isinstance(grad, DTensor) else grad.clone() for name, grad in found.items()}


def said(model: nn.Module) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Logits, and gradients of a loss on them."""
    model.zero_grad()
    logits = model(input_ids=IDS).logits
    logits.square().mean().backward()
    return logits.detach(), gradients(model)


def main(checkpoint: str, out: str) -> None:
    """Ask the whole model, share it, and ask again."""
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    model = load_checkpoint(checkpoint, precision=Precision.NF4, device="cpu", shardable=True).model
    layers, tokens = model.language_layers, {"embed_tokens": [gaze_token_of(model.config)]}
    lora = LoraConfig(r=4, target_modules=layers, trainable_token_indices=tokens, init_lora_weights=False)
    adapted = get_peft_model(model, lora)
    keep_embedding_uncopied(adapted)
    whole, size = said(adapted), bytes_here(adapted)
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for module in list(adapted.modules()):
        if type(module).__name__ in WRAPPED:
            fully_shard(module, mesh=mesh)
    fully_shard(adapted, mesh=mesh)
    share = bytes_here(adapted) / size
    shared = said(adapted)
    names = sorted(whole[1])
    result = {
        "processes": dist.get_world_size(),
        "share": share,
        "same_logits": torch.equal(whole[0], shared[0]),
        "trained": names,
        "same_names": names == sorted(shared[1]),
        "worst_gradient": max(float((whole[1][name] - shared[1][name]).abs().max()) for name in names),
        "largest_gradient": max(float(whole[1][name].abs().max()) for name in names),
    }
    if dist.get_rank() == 0:
        Path(out).write_text(json.dumps(result))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
