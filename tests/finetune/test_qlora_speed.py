"""The benchmark of fine-tuning: its ratios by hand, its order, and that both of its sides train and agree."""

from pathlib import Path

import pytest

from benchmarks.qlora_speed import SIDES, Side, Trained, ratios, run_side, sides_of_round
from benchmarks.run import Figure, verdict
from finetune.check import Task, mixed_seeds, write_annotations


def one_round(speed: float, peak_mb: float, loss: float = 2.0) -> dict[Side, Trained]:
    return {"ours": Trained(10 * speed, peak_mb, loss), "plain": Trained(10, 800, 2.0)}


def test_ratios_are_medians_within_rounds() -> None:
    speed, memory = ratios([one_round(1.2, 800), one_round(3.0, 400), one_round(1.6, 720)])
    assert speed == pytest.approx(1.6)
    assert memory == pytest.approx(0.9)


@pytest.mark.parametrize("loss", [2.003, 1.997, float("nan")])
def test_sides_that_train_differently_are_not_compared(loss: float) -> None:
    assert ratios([one_round(1.2, 800, 2.001)])[0] == pytest.approx(1.2)
    with pytest.raises(ValueError, match="did not train alike"):
        ratios([one_round(1.2, 800), one_round(1.2, 800, loss)])


def test_each_side_is_first_in_turns() -> None:
    assert [sides_of_round(number)[0] for number in range(4)] == ["ours", "plain", "ours", "plain"]
    assert all(sorted(sides_of_round(number)) == sorted(SIDES) for number in range(2))


def test_bars() -> None:
    assert verdict(Figure("qlora_speedup", 1.49, "")).endswith("MISSED")
    assert verdict(Figure("qlora_speedup", 1.5, "")).endswith("met")
    assert verdict(Figure("qlora_peak_memory_ratio", 1.01, "")).endswith("MISSED")
    assert verdict(Figure("qlora_peak_memory_ratio", 1.0, "")).endswith("met")


@pytest.mark.slow
def test_both_sides_do_the_same(tmp_path: Path) -> None:
    """On eight images: three steps, each of all images, so nothing is measured here but the losses."""
    write_annotations([Task(seed, False) for seed in mixed_seeds(8_200_000_000, 8)], tmp_path / "data")
    found = {side: run_side(side, tmp_path / "data") for side in SIDES}
    ratios([found])
    assert found["ours"].loss > 0
    assert all(100 < one.peak_mb < 4000 and one.samples_per_s > 0 for one in found.values())


@pytest.mark.slow
def test_a_side_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="the plain side failed"):
        run_side("plain", tmp_path / "missing")
