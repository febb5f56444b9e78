"""What the experiment trains and scores: a grid of cells, each of which is trained from nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gazevlm_core.training.gaze_order import GazeOrder
from phantoms.dataset import PATCH_PX
from phantoms.nano_parts import IMAGE_PIXELS

BASE = "base"
IN_DOMAIN = "A"
DOMAINS = {IN_DOMAIN: "in domain", "B": "zero-shot: other scanner, habitus and prevalence"}
# What an ablation changes of the gaze configuration. Smoothing by 0.7 patches leaves 0.33 of the target on its patch.
ABLATIONS: Mapping[str, Mapping[str, Any]] = {
    "4 gaze tokens": {"num_gaze_tokens": 4},
    "8 gaze tokens": {"num_gaze_tokens": 8},
    "no stop": {"stops": False},
    "smoothed targets": {"target_sigma_patches": 0.7},
    "visual pointer keys": {"pointer_keys": "visual"},
    "linear index head": {"pointer_keys": "index", "index_patches": IMAGE_PIXELS // PATCH_PX**2},
    "no previous patch": {"use_previous_patch": False},
}


@dataclass(frozen=True)
class Cell:
    """One training run.

    Args:
        order: of the gaze that supervises it.
        images: how many it is trained on.
        seed: of its images, weights and order of examples; runs of one seed and size differ in nothing but `order`.
        variant: name of an ablation in `Plan.variants`, or BASE.
    """

    order: GazeOrder
    images: int
    seed: int
    variant: str = BASE

    @property
    def name(self) -> str:
        """For files, e.g. "base-original-0300-seed1"."""
        return f"{self.variant.replace(' ', '-')}-{self.order.value}-{self.images:04d}-seed{self.seed}"


@dataclass(frozen=True)
class Plan:
    """The whole experiment.

    Args:
        sizes: numbers of training images.
        seeds: of the runs; at least two for an interval.
        orders: of the gaze.
        variants: ablation -> fields of `GazeConfig` that it changes; run with original gaze and the largest size alone.
        steps, warmup_steps, decay_steps: of each run, whatever its number of images.
        batch_size: examples per step.
        learning_rate: the highest.
        presence_share: of the examples ask whether one finding is there, the others for a report.
        test_images: scored per domain, the same for all runs.
        test_seed: S of `evaluate.cases.phantom_seeds`.

    Raises:
        ValueError: an empty grid, or numbers below 1.
    """

    sizes: Sequence[int] = (100, 300, 1000)
    seeds: Sequence[int] = (0, 1, 2)
    orders: Sequence[GazeOrder] = tuple(GazeOrder)
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    steps: int = 640
    warmup_steps: int = 64
    decay_steps: int = 192
    batch_size: int = 4
    learning_rate: float = 1e-3
    presence_share: float = 0.7
    test_images: int = 300
    test_seed: int = 2603

    def __post_init__(self) -> None:
        if not self.sizes or not self.seeds or not self.orders:
            raise ValueError("an experiment needs sizes, seeds and orders")
        if min(*self.sizes, self.steps, self.batch_size, self.test_images) < 1:
            raise ValueError("sizes, steps, batch size and test images must be at least 1")

    def asks_in_words(self, cell: Cell) -> bool:
        """Whether a run is also asked about findings in words, to compare the answers with the finding head."""
        return cell.variant == BASE and cell.images == max(self.sizes)

    @property
    def cells(self) -> list[Cell]:
        """All runs: seed by seed, so that an unfinished experiment compares whole seeds."""
        grid = [
            Cell(order, images, seed) for seed in self.seeds for images in self.sizes for order in self.orders
        ]
        ablations = [
            Cell(GazeOrder.ORIGINAL, max(self.sizes), seed, variant) for seed in self.seeds for variant in self.variants
        ]
        return grid + ablations
