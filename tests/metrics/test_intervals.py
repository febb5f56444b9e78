"""Bootstrap intervals: reproducible, by image, and right where the answer is known by hand."""

import numpy as np
import pytest

from gazevlm_core.metrics.intervals import (
    Estimate,
    bootstrap_counts,
    correlation_estimate,
    mean_estimate,
    median_estimate,
    patient_counts,
    ratio_estimate,
)

NAN = float("nan")


def test_resamples_are_reproducible_and_keep_the_number_of_images() -> None:
    counts = bootstrap_counts(7, 50, seed=3)
    assert counts.tolist() == bootstrap_counts(7, 50, seed=3).tolist()
    assert counts.tolist() != bootstrap_counts(7, 50, seed=4).tolist()
    assert set(counts.sum(axis=1)) == {7.0}


def test_no_image_is_refused() -> None:
    with pytest.raises(ValueError, match="needs images"):
        bootstrap_counts(0)


def test_interval_of_a_mean_is_close_to_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(size=400)
    estimate = mean_estimate(values, bootstrap_counts(400, 4000, seed=1))
    half = 1.96 * values.std() / 20
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert estimate.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_constant_scores_have_an_interval_of_no_width() -> None:
    estimate = mean_estimate(np.full(9, 0.25), bootstrap_counts(9, 100))
    assert (estimate.value, estimate.low, estimate.high) == (0.25, 0.25, 0.25)


def test_unknown_images_do_not_count() -> None:
    assert mean_estimate(np.array([1.0, NAN, 3.0]), bootstrap_counts(3, 200)).value == 2.0


def test_a_ratio_of_sums_is_not_a_mean_of_ratios() -> None:
    assert ratio_estimate(np.array([1.0, 0.0]), np.array([1.0, 3.0]), bootstrap_counts(2, 100)).value == 0.25


def test_nothing_to_divide_by_is_undefined() -> None:
    estimate = ratio_estimate(np.zeros(3), np.zeros(3), bootstrap_counts(3, 20))
    assert np.isnan([estimate.value, estimate.low, estimate.high]).all()


@pytest.mark.parametrize(("values", "median"), [([3, 1, 2], 2.0), ([4, 1, 2, 3], 2.5), ([5], 5.0), ([1, 1, 9, 9], 5.0)])
def test_median(values: list[int], median: float) -> None:
    images = np.zeros(len(values), dtype=int)
    estimate = median_estimate(np.array(values), images, bootstrap_counts(1, 10))
    assert estimate.value == median
    assert np.isnan([estimate.low, estimate.high]).all()  # one image: nothing to redraw


def test_median_redraws_whole_images() -> None:
    values, images = np.array([0.0] * 9 + [10.0] * 9), np.repeat(np.arange(6), 3)
    estimate = median_estimate(values, images, bootstrap_counts(6, 400))
    assert (estimate.low, estimate.value, estimate.high) == (0.0, 5.0, 10.0)


@pytest.mark.parametrize(("patients", "told"), [(1, False), (4, False), (5, True)])
def test_few_patients_give_no_interval_however_many_images_they_have(patients: int, told: bool) -> None:
    owners = np.arange(60) % patients
    values, counts = np.random.default_rng(1).normal(size=60), patient_counts(owners, 200)
    estimates = (
        mean_estimate(values, counts), ratio_estimate(values, np.ones(60), counts),
        median_estimate(values, np.arange(60), counts), correlation_estimate(values, -values, np.arange(60), counts),
    )  # fmt: skip
    for estimate in estimates:
        assert np.isfinite(estimate.value)
        assert np.isfinite([estimate.low, estimate.high]).all() == told
    assert np.isnan(mean_estimate(np.where(owners < 4, values, NAN), counts).low), "who has no value does not count"


def test_correlation_equals_numpys() -> None:
    rng = np.random.default_rng(5)
    first = rng.normal(5.0, 0.1, size=60)
    second = first + rng.normal(0, 0.1, size=60)
    estimate = correlation_estimate(first, second, np.repeat(np.arange(20), 3), bootstrap_counts(20, 300))
    assert estimate.value == pytest.approx(np.corrcoef(first, second)[0, 1])
    assert estimate.low < estimate.value < estimate.high


def test_a_constant_has_no_correlation() -> None:
    assert np.isnan(correlation_estimate(np.ones(4), np.arange(4), np.arange(4), bootstrap_counts(4, 10)).value)


@pytest.mark.parametrize(
    ("other", "touch"),
    [((0.1, 0.2), False), ((0.1, 0.3), True), ((0.35, 0.36), True), ((0.41, 0.5), False), ((NAN, NAN), True)],
)
def test_touching(other: tuple[float, float], touch: bool) -> None:
    own = Estimate(0.35, 0.3, 0.4)
    assert own.touches(Estimate(0.0, *other)) is touch
    assert Estimate(0.0, *other).touches(own) is touch
