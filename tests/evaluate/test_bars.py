"""Bars: met, missed or not measured, and never quietly dropped."""

from evaluate.bars import above_floor, against
from gazevlm_core.metrics.intervals import Estimate

NAN = float("nan")


def test_a_limit_is_met_by_the_value() -> None:
    good, bad = Estimate(0.93, 0.90, 0.95), Estimate(0.91, 0.90, 0.95)
    assert against("auroc", good, ">=", 0.92).met is True
    assert against("auroc", bad, ">=", 0.92).met is False
    assert against("loss", Estimate(0.02, 0.0, 0.03), "<=", 0.01).met is False
    assert against("auroc", good, ">=", 0.92).bar == "auroc >= 0.92"
    assert against("auroc", good, ">=", 0.92).interval == (0.90, 0.95)


def test_nothing_to_judge_is_a_miss_and_nothing_measured_is_neither() -> None:
    assert against("sides", Estimate(NAN, NAN, NAN), ">=", 0.9).met is False
    assert against("sides", None, ">=", 0.9).met is None


def test_a_floor_is_beaten_only_where_the_intervals_do_not_touch() -> None:
    own = Estimate(0.4, 0.37, 0.43)
    assert above_floor("x", own, Estimate(0.3, 0.28, 0.32)).met is True
    assert above_floor("x", own, Estimate(0.36, 0.34, 0.38)).met is False
    assert above_floor("x", own, Estimate(0.5, 0.48, 0.52)).met is False
    assert above_floor("x", own, Estimate(NAN, NAN, NAN)).met is None
    assert above_floor("x", None, own).met is None
