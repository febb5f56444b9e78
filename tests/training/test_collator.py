"""From examples to targets."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from gazevlm_core.geometry import PatchGrid
from gazevlm_core.model.configuration_gazevlm import GazeConfig
from gazevlm_core.model.losses import IGNORED, STOP
from gazevlm_core.model.processing_gazevlm import IGNORED_LABEL
from gazevlm_core.sample import Reading, Sample
from gazevlm_core.scanpath import Fixation, Scanpath
from gazevlm_core.training.collator import GazeCollator, gaze_targets

CONFIG = GazeConfig(num_gaze_tokens=4, finding_names=("edema", "fracture"))


def path(*points: tuple[float, float]) -> Scanpath:
    return Scanpath(tuple(Fixation(x, y, 100.0 * (i + 1)) for i, (x, y) in enumerate(points)), "simulated")


READ = Reading("", path((0.1, 0.1)))


def image(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.zeros((height, width, 3), dtype=np.uint8))


def test_targets_are_patches_in_temporal_order_then_stop() -> None:
    grid = PatchGrid(2, 2)
    targets, durations = gaze_targets([path((0.9, 0.9), (0.1, 0.1))], grid, 4)
    assert targets == [[3, 0, STOP, IGNORED]]
    assert durations[0][:2] == [100.0, 200.0]
    assert all(math.isnan(value) for value in durations[0][2:])


def test_a_path_of_k_or_more_fixations_has_no_stop() -> None:
    targets, _ = gaze_targets([path(*[(0.1, 0.1)] * 4), path(*[(0.6, 0.1)] * 9)], PatchGrid(1, 2), 4)
    assert targets == [[0, 0, 0, 0], [1, 1, 1, 1]]


def test_missing_parts_mask_their_loss_and_nothing_else(tiny_processor) -> None:
    whole = Sample("a", image(300, 300), "Why?", "Yes.", {"edema": 1.0, "fracture": 0.0}, (READ,) * 2)
    bare = Sample("b", image(300, 200), "What?", None, {"fracture": 1.0}, ())
    batch = GazeCollator(tiny_processor, CONFIG)([whole, bare])
    assert batch["gaze_targets"].shape == (2, 2, 4)
    assert (batch["gaze_targets"][1] == IGNORED).all()
    assert batch["gaze_durations_ms"][1].isnan().all()
    assert (batch["labels"][1] == IGNORED_LABEL).all()
    assert (batch["labels"][0] != IGNORED_LABEL).sum() > 1
    assert batch["finding_labels"][0].tolist() == [1.0, 0.0]
    assert batch["finding_labels"][1].isnan().tolist() == [True, False]
    assert (batch["input_ids"] == tiny_processor.gaze_token_id).sum(dim=1).tolist() == [4, 4]


def test_targets_use_each_images_own_grid(tiny_processor) -> None:
    corner = (Reading("", path((0.99, 0.99))),)
    examples = [Sample("a", image(*size), "Why?", "No.", {}, corner) for size in ((300, 300), (600, 250))]
    batch = GazeCollator(tiny_processor, CONFIG)(examples)
    grids = [PatchGrid.from_grid_thw(thw, 2) for thw in batch["image_grid_thw"].tolist()]
    assert grids[0] != grids[1]
    assert batch["gaze_targets"][:, 0, 0].tolist() == [len(grid) - 1 for grid in grids]


def test_the_twin_without_gaze_gets_no_scanpaths(tiny_processor) -> None:
    example = Sample("a", image(300, 300), "Why?", "Yes.", {}, (READ,))
    batch = GazeCollator(tiny_processor, CONFIG, use_gaze=False)([example])
    assert "gaze_targets" not in batch
    assert isinstance(batch["finding_labels"], torch.Tensor)


def test_an_empty_question_is_refused(tiny_processor) -> None:
    with pytest.raises(ValueError, match="question is empty"):
        GazeCollator(tiny_processor, CONFIG)([Sample("a", image(300, 300), " ", "Yes.", {}, ())])
