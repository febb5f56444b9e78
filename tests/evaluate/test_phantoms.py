"""Which phantoms an evaluation sees: never those of training, never those of another evaluation."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluate.phantoms import (
    BLOCK,
    LARGEST_SEED,
    MOST_IMAGES,
    check_unseen,
    draw_phantoms,
    draw_readings,
    graded_sample,
    phantom_seeds,
)
from gazevlm_core.datasets.splits import SplitRule
from gazevlm_core.datasets.trained_on import TrainedOn
from gazevlm_core.evaluation.findings import GradedSample
from gazevlm_core.sample import DatasetError, pixel_digest
from phantoms.dataset import TRAINING_SEEDS, draw_case


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


def test_what_is_drawn_is_in_the_files(tmp_path: Path) -> None:
    seen, seeds = [], phantom_seeds(5, 2)[0]
    samples = draw_phantoms(seeds, "A", tmp_path, workers=1, drawn=lambda: seen.append(1))
    assert [sample.image_id for sample in samples] == [f"phantom A{seed}" for seed in seeds]
    again = draw_case(seeds[1], readings_per_reader=2)
    assert samples[1] == graded_sample(again, tmp_path / f"{seeds[1]}.png")
    image = np.asarray(samples[1].load())
    assert image.shape == (*again.image.shape, 3)
    assert (image == again.image[..., None]).all()
    assert len(seen) == 2
    others = draw_readings(seeds, "A", 1)
    assert [one.findings for one in others] == [one.findings for one in samples]
    assert [len(one.readings) for one in others] == [len(one.readings) for one in samples]


def test_phantoms_that_an_adapter_was_trained_on_are_refused() -> None:
    images = [Image.new("RGB", (9, 8), (shade,) * 3) for shade in (10, 200)]
    samples = [GradedSample(str(number), image) for number, image in enumerate(images)]
    check_unseen(samples, [None, TrainedOn.of("salt", [], ["another"], SplitRule())])
    with pytest.raises(DatasetError, match="trained on 1 of these phantoms; take another --seed"):
        check_unseen(samples, [TrainedOn.of("salt", [], [pixel_digest(images[1])], SplitRule())])
