"""From examples to targets."""

import dataclasses
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from gazevlm_core.geometry import PatchGrid, Window
from gazevlm_core.model.configuration_gazevlm import GazeConfig
from gazevlm_core.model.losses import IGNORED, STOP
from gazevlm_core.model.processing_gazevlm import IGNORED_LABEL
from gazevlm_core.options import GlimpseShares
from gazevlm_core.sample import Reading, Sample
from gazevlm_core.scanpath import Fixation, Scanpath
from gazevlm_core.training.collator import GazeCollator, contents_of, gaze_targets, places_of_findings

CONFIG = GazeConfig(num_gaze_tokens=4, finding_names=("edema", "fracture"))


def path(*points: tuple[float, float]) -> Scanpath:
    return Scanpath(tuple(Fixation(x, y, 100.0 * (i + 1)) for i, (x, y) in enumerate(points)), "simulated")


READ = Reading("", path((0.1, 0.1)))


def image(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.zeros((height, width, 3), dtype=np.uint8))


def test_targets_are_patches_in_temporal_order_then_stop() -> None:
    grid = PatchGrid(2, 2)
    targets, durations, offsets = gaze_targets([path((0.9, 0.9), (0.1, 0.1))], grid, 4)
    assert targets == [[3, 0, STOP, IGNORED]]
    assert durations[0][:2] == [100.0, 200.0]
    assert all(math.isnan(value) for value in durations[0][2:])
    assert offsets[0][:2] == [pytest.approx([0.8, 0.8]), pytest.approx([0.2, 0.2])]
    assert all(math.isnan(value) for pair in offsets[0][2:] for value in pair)


def test_a_path_of_k_or_more_fixations_has_no_stop() -> None:
    targets, *_ = gaze_targets([path(*[(0.1, 0.1)] * 4), path(*[(0.6, 0.1)] * 9)], PatchGrid(1, 2), 4)
    assert targets == [[0, 0, 0, 0], [1, 1, 1, 1]]


def test_consecutive_fixations_in_one_patch_are_one_step_whose_dwell_adds_up() -> None:
    read = path((0.1, 0.1), (0.3, 0.1), (0.9, 0.1), (0.2, 0.2))
    targets, durations, offsets = gaze_targets([read], PatchGrid(2, 2), 4, repeats=False)
    assert targets == [[0, 1, 0, STOP]]
    assert durations[0][:3] == [300.0, 300.0, 400.0]
    assert offsets[0][0] == pytest.approx([2 * (0.1 + 2 * 0.3) / 3, 0.2]), "the mean, weighted by dwell"
    untimed = Scanpath(tuple(Fixation(one.x, one.y) for one in read), "click")
    targets, durations, offsets = gaze_targets([untimed], PatchGrid(2, 2), 4, repeats=False)
    assert targets == [[0, 1, 0, STOP]]
    assert all(map(math.isnan, durations[0]))
    assert offsets[0][0] == pytest.approx([0.4, 0.2])


def content_of(sample: Sample, name: str, window: Window) -> float:
    return contents_of(sample, name, [(window.upper, window.lower)], [(window.left, window.right)]).item()


def test_what_lies_in_a_glimpse_follows_from_the_mask() -> None:
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[16:24, 32:40] = 255  # an eighth of the sides
    known = Sample("a", None, "", None, {"edema": 1.0, "fracture": 0.0}, masks={"edema": mask})
    assert content_of(known, "edema", Window(0.5, 0.25, 0.625, 0.375)) == 1.0
    assert content_of(known, "edema", Window(0.4, 0.2, 0.9, 0.7)) == 1.0, "all of it is there"
    assert content_of(known, "edema", Window(0.0, 0.25, 0.25, 0.5)) == 0.0
    assert math.isnan(content_of(known, "edema", Window(0.4, 0.25, 0.512, 0.375))), "a tenth of the window: who knows"
    assert content_of(known, "fracture", Window(0.5, 0.25, 0.625, 0.375)) == 0.0
    assert math.isnan(content_of(known, "pneumothorax", Window(0.5, 0.25, 0.625, 0.375)))
    unmarked = Sample("b", None, "", None, {"edema": 1.0})
    assert math.isnan(content_of(unmarked, "edema", Window(0.5, 0.25, 0.625, 0.375)))


def test_what_lies_in_each_patch_follows_from_the_mask_as_in_glimpses(tiny_processor) -> None:
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[10:30, 32:60] = 255
    marked = Sample("a", image(300, 300), "Why?", None, {"edema": 1.0, "fracture": 0.0}, masks={"edema": mask})
    other = Sample("b", image(600, 300), "Why?", None, {"fracture": 1.0})
    config = dataclasses.replace(CONFIG, patch_finding_weight=1.0)
    batch = GazeCollator(tiny_processor, config)([marked, other, dataclasses.replace(marked, question="What?")])
    assert "patch_contents" not in GazeCollator(tiny_processor, CONFIG)([marked])
    first, second = tiny_processor.grids(batch["image_grid_thw"])
    contents = batch["patch_contents"]
    assert contents.shape == (len(first) + len(second), 2), "once for each image, however many questions it has"
    for patch in range(len(first)):
        row, col = divmod(patch, first.cols)
        edges = (col / first.cols, row / first.rows, (col + 1) / first.cols, (row + 1) / first.rows)
        assert contents[patch, 0].item() == pytest.approx(content_of(marked, "edema", Window(*edges)), nan_ok=True)
    assert {0.0, 1.0} <= set(contents[: len(first), 0].tolist())
    assert (contents[: len(first), 1] == 0.0).all()
    assert contents[len(first) :].isnan().all(), "it is there, and nobody said where"


def test_where_a_finding_is_not_is_taught_only_where_others_show_where_it_is(tiny_processor) -> None:
    """Without, a head for places would learn that there is never anything anywhere."""
    config = dataclasses.replace(CONFIG, num_glimpses=2, gaze_trained=True, patch_finding_weight=1.0)
    healthy = Sample("a", image(300, 300), "Why?", "No.", {"edema": 0.0, "fracture": 0.0}, dataset="film")
    for located, known in (
        (None, {"edema", "fracture"}), ({("film", "edema")}, {"edema"}),
        ({("phantom", "edema")}, set()), (set(), set()),
    ):  # fmt: skip
        batch = GazeCollator(tiny_processor, config, located=located)([healthy])
        for contents in (batch["patch_contents"], batch["glimpse_contents"][0]):
            for column, name in enumerate(config.finding_names):
                assert (contents[:, column] == 0.0).all().item() is (name in known)
                assert contents[:, column].isnan().all().item() is (name not in known)


@pytest.mark.parametrize(("share", "readers"), [("readers", True), ("random", False)])
def test_glimpses_are_cut_where_the_shares_say(tiny_processor, share: str, readers: bool) -> None:
    shares = GlimpseShares(**{"readers": 0.0, "own": 0.0, "random": 0.0, share: 1.0})
    config = dataclasses.replace(CONFIG, num_glimpses=2, gaze_trained=True)
    read = Reading("", path((0.1, 0.1), (0.9, 0.9)))
    samples = [Sample("a", image(300, 300), "Why?", "Yes.", {"edema": 1.0}, (read,)),
               Sample("b", image(600, 300), "Why?", "No.", {}, (Reading("", path((0.5, 0.5))),))]  # fmt: skip
    batch = GazeCollator(tiny_processor, config, shares=shares)(samples)
    windows = batch["glimpse_windows"]
    assert windows.shape[0] == 2
    assert bool(windows[1, 1].isnan().all()) is readers, "a reading of one place has one"
    grids = tiny_processor.grids(batch["image_grid_thw"])
    looked = [Window(*windows[0, place].tolist()) for place in range(2)]
    own = [grids[0].window_at(x, y, 1.5) for x, y in ((0.1, 0.1), (0.9, 0.9))]
    assert (looked == [pytest.approx(one) for one in own]) is readers
    count = int((~windows[..., 0].isnan()).sum())
    assert len(batch["glimpse_pixel_values"]) == count * 36
    assert (batch["input_ids"] == tiny_processor.image_token_id).sum() == sum(map(len, grids)) + count * 9
    again = GazeCollator(tiny_processor, config, shares=shares)(samples)
    assert torch.equal(again["glimpse_windows"].nan_to_num(), windows.nan_to_num()), "a training can be resumed"


def test_places_of_findings_are_of_the_image_and_of_others_alike_often(tiny_processor) -> None:
    masks = {"edema": np.zeros((64, 64), np.uint8), "fracture": np.zeros((64, 64), np.uint8)}
    masks["edema"][:8, :8] = 255
    masks["fracture"][56:, 56:] = 255
    here = Sample("a", image(300, 300), "Why?", "Yes.", {"edema": 1.0}, (), masks={"edema": masks["edema"]})
    other = Sample("b", image(300, 300), "Why?", "No.", {"fracture": 1.0}, (), masks={"fracture": masks["fracture"]})
    places = places_of_findings(here, [here, other], 400, np.random.default_rng(0))
    assert all(max(place.x, place.y) < 1 / 8 or min(place.x, place.y) >= 7 / 8 for place in places)
    assert 150 < sum(place.x < 0.5 for place in places) < 250
    unknown = replace(here, masks={})
    assert all(place.x > 0.5 for place in places_of_findings(unknown, [unknown, other], 9, np.random.default_rng(0)))
    assert places_of_findings(unknown, [unknown], 9, np.random.default_rng(0)) == []
    config = dataclasses.replace(CONFIG, num_glimpses=2, gaze_trained=True)
    collate = GazeCollator(tiny_processor, config, shares=GlimpseShares(0.0, 0.0, 0.0, 1.0))
    windows = collate([here, other])["glimpse_windows"]
    assert windows[~windows.isnan()].min() >= 0
    corner = (windows[..., 2] < 0.5) | (windows[..., 0] > 0.5)
    assert corner[~windows[..., 0].isnan()].all()
    bare = [replace(one, masks={}) for one in (here, other)]
    assert (~collate(bare)["glimpse_windows"].isnan()).all(), "anywhere, where no mask is known"


def test_shares_add_up() -> None:
    with pytest.raises(ValueError, match="add up to 1"):
        GlimpseShares(0.5, 0.5, 0.5)
    with pytest.raises(ValueError, match="negative"):
        GlimpseShares(1.5, -0.5, 0.0)


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


def test_of_a_counterfactual_one_picture_is_seen_small_and_the_other_is_glimpsed_at(tiny_processor) -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[:8, :8] = 255
    white = Image.new("RGB", (300, 300), "white")
    small = Sample("a", image(300, 300), findings={"edema": 1.0, "fracture": 0.0}, masks={"edema": mask})
    sample = Sample("a", white, "Why?", "No.", {"edema": 0.0, "fracture": 0.0}, small=small)
    config = dataclasses.replace(CONFIG, num_glimpses=4, gaze_trained=True, patch_finding_weight=1.0)
    batch = GazeCollator(tiny_processor, config, shares=GlimpseShares(0.0, 0.0, 1.0))([sample])
    plain = GazeCollator(tiny_processor, config, shares=GlimpseShares(0.0, 0.0, 1.0))([replace(sample, small=None)])
    black, bright = batch["pixel_values"], batch["glimpse_pixel_values"]
    assert black.max() < 0 < bright.min()
    assert torch.equal(plain["glimpse_pixel_values"][: len(bright)], bright[: len(plain["glimpse_pixel_values"])])
    assert batch["finding_labels"].tolist() == [[0.0, 0.0]]
    assert batch["glimpse_contents"].tolist() == [[[0.0, 0.0]] * 4], "of what is glimpsed at"
    assert 1.0 in batch["patch_contents"][:, 0], "of what is seen small"
    assert 1.0 not in plain["patch_contents"][:, 0]
    middles = [(w[0] + w[2]) / 2 for w in batch["glimpse_windows"][0].tolist()]
    assert any(x < 1 / 8 for x in middles), "somewhere where the two differ"
    assert 1 <= sum(a != b for a, b in zip(batch["glimpse_windows"][0].tolist(), plain["glimpse_windows"][0].tolist(),
                                           strict=True)) <= 3  # fmt: skip
