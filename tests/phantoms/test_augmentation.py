"""What training sees again is another picture of the same things: masks and readings move along."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from gazevlm_core.sample import Reading, Sample
from gazevlm_core.scanpath import Fixation, Scanpath
from phantoms import augmentation
from phantoms.augmentation import augmented

SIZE = (200, 120)  # width and height


def marked(x: float, y: float) -> Sample:
    """A black picture with one white blot, which is masked and looked at."""
    pixels, mask = np.zeros(SIZE[::-1], np.uint8), np.zeros((64, 64), np.uint8)
    col, row = round(x * SIZE[0]), round(y * SIZE[1])
    pixels[row - 5 : row + 6, col - 5 : col + 6] = 255
    mask[round(y * 64) - 2 : round(y * 64) + 3, round(x * 64) - 2 : round(x * 64) + 3] = 255
    read = Reading("r", Scanpath((Fixation(x, y, 200.0), Fixation(0.5, 0.5)), "click"))
    return Sample("a", Image.fromarray(pixels), findings={"edema": 1.0}, readings=(read,), masks={"edema": mask})


def middle_of(pixels: np.ndarray) -> tuple[float, float]:
    weights = pixels.astype(float)
    rows, cols = (weights.sum(axis=axis) for axis in (1, 0))
    places = ((np.arange(len(part)) + 0.5) @ part / part.sum() / len(part) for part in (cols, rows))
    return next(places), next(places)


@pytest.mark.parametrize("place", [(0.3, 0.3), (0.7, 0.35), (0.25, 0.7), (0.75, 0.65)])
def test_masks_and_readings_move_with_the_picture(monkeypatch: pytest.MonkeyPatch, place: tuple[float, float]) -> None:
    monkeypatch.setattr(augmentation, "MOST_NOISE", 0.0)
    monkeypatch.setattr(augmentation, "MOST_DEGREES", 25.0)
    sample, moved_far = marked(*place), 0.0
    for seed in range(12):
        found = augmented(sample, np.random.default_rng(seed))
        x, y = middle_of(np.asarray(found.load().convert("L")))
        moved_far = max(moved_far, abs(x - place[0]), abs(y - place[1]))
        assert middle_of(np.asarray(found.masks["edema"])) == pytest.approx((x, y), abs=0.02)
        first = found.scanpaths[0].fixations[0]
        assert (first.x, first.y) == pytest.approx((x, y), abs=0.02)
        assert (first.duration_ms, found.readings[0].reader, found.findings) == (200.0, "r", {"edema": 1.0})
    assert moved_far > 0.05


def test_the_same_draw_is_the_same_picture_and_another_draw_is_not() -> None:
    sample = marked(0.5, 0.5)
    once, again, other = (np.asarray(augmented(sample, np.random.default_rng(seed)).load()) for seed in (1, 1, 2))
    assert (once == again).all()
    assert (once != other).any()
    assert once.shape == (*SIZE[::-1], 3)


def test_fixations_that_would_leave_the_picture_stay_at_its_edge() -> None:
    corner = Reading("", Scanpath((Fixation(0.0, 0.0), Fixation(0.9999, 0.9999)), "click"))
    sample = replace(marked(0.5, 0.5), readings=(corner,))
    paths = [augmented(sample, np.random.default_rng(seed)).scanpaths[0] for seed in range(20)]
    assert {len(path) for path in paths} == {2}
    assert any(place.x == 0.0 or place.y == 0.0 for path in paths for place in path)


def test_what_is_seen_small_changes_alike() -> None:
    one = marked(0.3, 0.3)
    both = augmented(replace(one, small=one), np.random.default_rng(3))
    assert both.small is not None
    assert np.asarray(both.load()).tolist() == np.asarray(both.small.load()).tolist()
    assert both.masks["edema"].tolist() == both.small.masks["edema"].tolist()
    assert np.asarray(both.load()).tolist() != np.asarray(one.load()).tolist()
