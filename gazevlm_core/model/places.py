"""Findings with a usual place: predicted from the image tokens there, not from the gaze states.

A finding that is added with a few dozen images cannot be learned from the gaze states, which know nothing of it. Where
annotators clicked tells its usual place, if it has one; a linear head on the image tokens there needs few images.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from gazevlm_core.geometry import PatchGrid


@dataclass(frozen=True)
class UsualPlace:
    """Where a finding lies, if it is there.

    Args:
        name: of the finding.
        x, y: middle, as fractions of the upright image.
        spread: width of the Gaussian by which patches weigh, as a fraction of the image's sides.

    Raises:
        ValueError: a place off the image, or a spread that is not positive.
    """

    name: str
    x: float
    y: float
    spread: float

    def __post_init__(self) -> None:
        numbers = (self.x, self.y, self.spread)
        if not isinstance(self.name, str) or not all(isinstance(value, (int, float)) for value in numbers):
            raise ValueError("a usual place is a name and three numbers")
        if not (0 <= self.x < 1 and 0 <= self.y < 1 and 0 < self.spread < float("inf")):
            raise ValueError(f"{self.name}: a usual place lies in [0, 1) and has a positive spread")


def patch_weights(grid: PatchGrid, place: UsualPlace) -> torch.Tensor:
    """Return how much each patch counts at a place, float32 [P]; they sum to 1."""
    centres = torch.from_numpy(grid.centers()).float()
    squared = (centres - torch.tensor([place.x, place.y])).square().sum(dim=-1)
    return (-squared / (2 * place.spread**2)).softmax(dim=0)


def pooled_tokens(tokens: torch.Tensor, grid: PatchGrid, places: Sequence[UsualPlace]) -> torch.Tensor:
    """Return image tokens pooled at each place.

    Args:
        tokens: [P, D] of one image.
        grid: merged, of the same image.
        places: F of them.

    Returns:
        float32 [F, D].
    """
    weights = torch.stack([patch_weights(grid, place) for place in places]).to(tokens.device)
    return weights @ tokens.float()
