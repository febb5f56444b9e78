"""The optimizer of the embedded checkpoint: orthogonal steps for matrices of layers, AdamW's for the rest."""

from copy import deepcopy

import torch
from torch import nn

from phantoms.nano_parts import MuonAdamW, orthogonal


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(6, 4), nn.Linear(4, 6)])
        self.head = nn.Linear(6, 3)


def made() -> tuple[Small, MuonAdamW]:
    torch.manual_seed(0)
    model = Small()
    return model, MuonAdamW(model, lr=1e-2, muon_lr=2e-2, weight_decay=0.0, beta2=0.98)


def step(model: Small, optimizer: MuonAdamW, seed: int) -> None:
    inputs = torch.randn(8, 6, generator=torch.Generator().manual_seed(seed))
    optimizer.zero_grad()
    model.head(model.layers[1](model.layers[0](inputs).relu())).square().mean().backward()
    optimizer.step()


def test_a_matrix_becomes_about_orthogonal() -> None:
    for shape in ((5, 9), (9, 5)):
        found = orthogonal(torch.randn(shape, generator=torch.Generator().manual_seed(1)), 5, MuonAdamW.POLYNOMIAL)
        values = torch.linalg.svdvals(found)
        assert found.shape == shape
        assert values.min() > 0.5
        assert values.max() < 1.3


def test_matrices_of_layers_step_along_orthogonal_ones_and_the_rest_by_adamw() -> None:
    model, optimizer = made()
    before = {name: one.detach().clone() for name, one in model.named_parameters()}
    step(model, optimizer, 0)
    moved = {name: one.detach() - before[name] for name, one in model.named_parameters()}
    values = torch.linalg.svdvals(moved["layers.0.weight"]) / (2e-2 * 0.2 * 6**0.5)
    assert values.min() > 0.5
    assert values.max() < 1.3
    assert moved["head.weight"].abs().max() <= 1.01e-2  # AdamW's first step is as long as its rate


def test_a_training_is_resumed_as_it_was() -> None:
    model, optimizer = made()
    step(model, optimizer, 0)
    kept = {name: value.clone() for name, value in model.state_dict().items()}, deepcopy(optimizer.state_dict())
    other, resumed = made()
    other.load_state_dict(kept[0])
    resumed.load_state_dict(kept[1])
    for one, its in ((model, optimizer), (other, resumed)):
        step(one, its, 1)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in model.state_dict().items())
