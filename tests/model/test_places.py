"""Findings with a usual place: how its patches weigh, and what a pass says of it."""

import pytest
import torch

from gazevlm_core.geometry import PatchGrid
from gazevlm_core.model.configuration_gazevlm import GazeConfig
from gazevlm_core.model.places import UsualPlace, patch_weights, pooled_tokens
from gazevlm_core.model.pointer import GazeHeads

GRIDS = [PatchGrid(8, 8), PatchGrid(5, 12), PatchGrid(1, 30), PatchGrid(1, 1)]


@pytest.mark.parametrize("place", [(-0.1, 0.5, 0.1), (0.5, 1.0, 0.1), (0.5, 0.5, 0.0), (float("nan"), 0.5, 0.1),
                                   (0.5, 0.5, float("nan"))])  # fmt: skip
def test_a_place_off_the_image_is_refused(place: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="hernia"):
        UsualPlace("hernia", *place)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(("x", "y"), [(0.0, 0.0), (0.3, 0.7), (0.99, 0.01)])
def test_weights_sum_to_one_and_are_largest_under_the_place(grid: PatchGrid, x: float, y: float) -> None:
    weights = patch_weights(grid, UsualPlace("hernia", x, y, 0.06))
    assert weights.shape == (len(grid),)
    assert float(weights.sum()) == pytest.approx(1.0)
    assert int(weights.argmax()) == int(y * grid.rows) * grid.cols + int(x * grid.cols)


def test_weights_fall_off_as_a_gaussian_of_the_images_sides() -> None:
    """Two patches to the side weigh exp(-2 d^2 / 2 s^2) less, by hand; x and y count by their own side."""
    grid, spread = PatchGrid(4, 10), 0.1
    weights = patch_weights(grid, UsualPlace("hernia", 0.55, 0.625, spread)).view(4, 10)
    beside, below = (float(weights[place] / weights[2, 5]) for place in ((2, 6), (3, 5)))
    assert beside == pytest.approx(float(torch.tensor(-(0.1**2) / (2 * spread**2)).exp()), rel=1e-4)
    assert below == pytest.approx(float(torch.tensor(-(0.25**2) / (2 * spread**2)).exp()), rel=1e-3)
    torch.testing.assert_close(weights[2, 6], weights[2, 4])


def test_the_same_place_on_grids_of_any_size() -> None:
    """A pattern that grows linearly over the image pools to its value at the place, whatever the grid."""
    places = [UsualPlace("a", 0.4, 0.6, 0.06), UsualPlace("b", 0.7, 0.3, 0.06)]
    for grid in (PatchGrid(16, 16), PatchGrid(20, 30)):
        tokens = torch.tensor([grid.center_of(index) for index in range(len(grid))])
        pooled = pooled_tokens(tokens, grid, places)
        assert pooled.dtype == torch.float32
        torch.testing.assert_close(pooled, torch.tensor([[0.4, 0.6], [0.7, 0.3]]), atol=0.01, rtol=0)


def test_a_narrow_place_pools_its_own_patch_also_from_half_precision() -> None:
    grid = PatchGrid(6, 6)
    tokens = torch.randn(36, 5, generator=torch.Generator().manual_seed(0)).bfloat16()
    place = UsualPlace("hernia", *grid.center_of(22), 0.01)
    torch.testing.assert_close(pooled_tokens(tokens, grid, [place])[0], tokens[22].float())


def test_each_place_has_a_head_of_its_own() -> None:
    places = tuple(UsualPlace(name, 0.5, 0.5, 0.1) for name in ("a", "b"))
    heads = GazeHeads(3, GazeConfig(finding_names=("z", "a", "b"), usual_places=places, pointer_dim=4))
    assert heads.finding.weight.shape == (1, 3)
    with torch.no_grad():
        heads.placed.weight.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]]))
        heads.placed.bias.copy_(torch.tensor([0.5, -0.5]))
        logits = heads.placed_logits(torch.tensor([[3.0, 9.0, 9.0], [9.0, 4.0, 9.0]]))
    assert logits.tolist() == [3.5, 7.5]


@pytest.mark.parametrize("names", [("a", "z"), ("z", "b"), ("z",)])
def test_places_are_those_of_the_last_findings(names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="usual_places"):
        GazeConfig(finding_names=names, usual_places=(UsualPlace("a", 0.5, 0.5, 0.1),))


def test_places_travel_in_the_configuration() -> None:
    config = GazeConfig(finding_names=("z", "a"), usual_places=(UsualPlace("a", 0.25, 0.75, 0.06),))
    assert config.num_head_findings == 1
    assert GazeConfig.from_dict(config.to_dict()) == config
