"""Which phantoms an evaluation sees: never those of training, never those of another evaluation."""

import numpy as np
import pytest

from evaluate import cases
from evaluate.cases import BLOCK, LARGEST_SEED, MOST_IMAGES, PixelFile, Study, StudyCase, draw_study, phantom_seeds
from evaluate.run import check_unseen
from gazevlm_core.datasets.splits import SplitRule
from gazevlm_core.datasets.trained_on import TrainedOn
from gazevlm_core.sample import DatasetError, pixel_digest
from phantoms.dataset import TRAINING_SEEDS, draw_case
from tests.evaluate.study_maker import case_of


@pytest.mark.parametrize("seed", [0, 1, 2, 4242, LARGEST_SEED])
def test_no_evaluation_meets_training(seed: int) -> None:
    for seeds in phantom_seeds(seed, MOST_IMAGES):
        assert seeds.start >= TRAINING_SEEDS.stop
    scored, others = phantom_seeds(seed, MOST_IMAGES)
    assert set(others).isdisjoint(scored)
    assert others.stop <= phantom_seeds(seed, 1)[0].start + BLOCK


def test_two_evaluations_share_no_phantom() -> None:
    first, second = (phantom_seeds(seed, MOST_IMAGES) for seed in (7, 8))
    assert max(seeds.stop for seeds in first) <= min(seeds.start for seeds in second)


@pytest.mark.parametrize("seed", [-1, -2, -3, LARGEST_SEED + 1])
def test_other_seeds_are_refused(seed: int) -> None:
    with pytest.raises(ValueError, match="seed"):
        phantom_seeds(seed, 10)


def test_a_seed_that_training_has_seen_is_named_as_such() -> None:
    with pytest.raises(ValueError, match="training has seen"):
        phantom_seeds(-1, 10)


@pytest.mark.parametrize("count", [0, MOST_IMAGES + 1])
def test_too_few_or_too_many_images_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match="--n"):
        phantom_seeds(0, count)


def test_images_come_back_from_the_file_in_any_order() -> None:
    pixels, rng = PixelFile(), np.random.default_rng(0)
    images = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((5, 7), (3, 2), (9, 4))]
    for image in images:
        pixels.append(image)
    for index in (2, 0, 1):
        back = np.asarray(pixels.image(index))
        assert back.shape == (*images[index].shape, 3)
        assert (back == images[index][..., None]).all()
    pixels.close()


def test_a_study_holds_what_was_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "OTHER_PHANTOMS", 3)
    seen = []
    with draw_study(5, 2, workers=1, drawn=lambda: seen.append(1)) as study:
        seeds = phantom_seeds(5, 2)[0]
        assert [case.seed for case in study.cases] == list(seeds)
        again = draw_case(seeds[1], readings_per_reader=2)
        assert study.cases[1] == StudyCase.of(again)
        assert np.asarray(study.pixels.image(1))[..., 0].tolist() == again.image.tolist()
        assert len(study.others) == 3
    assert len(seen) == 2


def test_grades_of_a_case() -> None:
    case = case_of(edema=(0.2, "both"), fracture=(1 / 3, "left"), cardiomegaly=(0.9, "midline"))
    assert case.clear_findings == {"fracture", "cardiomegaly"}
    assert case.subtle_findings == {"edema"}
    assert case.leading == "cardiomegaly"
    assert case_of().leading == "no finding"


def test_phantoms_that_an_adapter_was_trained_on_are_refused() -> None:
    pixels = PixelFile()
    for shade in (10, 200):
        pixels.append(np.full((8, 9), shade, dtype=np.uint8))
    with Study([case_of(), case_of()], [], pixels) as study:
        picture = pixel_digest(pixels.image(1))
        check_unseen(study, [None, TrainedOn.of("salt", [], ["another"], SplitRule())])
        with pytest.raises(DatasetError, match="trained on 1 of these phantoms; take another --seed"):
            check_unseen(study, [TrainedOn.of("salt", [], [picture], SplitRule())])
