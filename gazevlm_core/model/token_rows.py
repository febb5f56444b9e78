"""The rows of new tokens that an adapter trains, without a copy of the embedding."""

from collections.abc import Sequence
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.trainable_tokens import TrainableTokensLayer
from torch import nn
from torch.nn import functional


class TokenRows(TrainableTokensLayer):
    """PEFT's layer of trained token rows, which puts their values into what its base layer gives.

    PEFT's own writes them into a copy of the embedding at every pass, and at a tied output layer once more: 0.6 GB each
    at the width of 3B, and as much for the gradients. Names and files of the weights are PEFT's.
    """

    def forward_adapters(
        self, x: torch.Tensor, active_adapters: Sequence[str], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        if self.disable_adapters or self.merged:
            return super().forward_adapters(x, active_adapters, *args, **kwargs)
        found = self.base_layer(x, *args, **kwargs)
        for name in active_adapters:
            ids = torch.tensor(self.token_indices[name], device=found.device)
            rows = self.trainable_tokens_delta[name].to(self.base_layer.weight.dtype)
            if isinstance(self.base_layer, nn.Linear):  # a tied output layer
                found.index_copy_(-1, ids, functional.linear(x, rows).to(found.dtype))
                continue
            own = x[..., None] == ids  # [B, L, rows]
            which = own.to(torch.uint8).argmax(dim=-1)
            found = torch.where(own.any(dim=-1, keepdim=True), functional.embedding(which, rows), found)
        return found


def keep_embedding_uncopied(adapted: PeftModel) -> None:
    """Make `TokenRows` of PEFT's layers of trained token rows, in place."""
    for module in adapted.modules():
        if type(module) is TrainableTokensLayer:
            module.__class__ = TokenRows
