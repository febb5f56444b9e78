"""Bars: met, missed or not measured, and never quietly dropped."""

from gazevlm_core.evaluation.graded import above_floor, against
from gazevlm_core.evaluation.report import Score, floors_of
from gazevlm_core.metrics.intervals import Estimate

NAN = float("nan")


def test_a_limit_is_met_by_the_value() -> None:
    good, bad = Score.of(Estimate(0.93, 0.90, 0.95)), Score.of(Estimate(0.91, 0.90, 0.95))
    assert against("auroc", good, ">=", 0.92).met is True
    assert against("auroc", bad, ">=", 0.92).met is False
    assert against("loss", Score.of(Estimate(0.02, 0.0, 0.03)), "<=", 0.01).met is False
    assert against("auroc", good, ">=", 0.92).bar == "auroc >= 0.92"
    assert against("auroc", good, ">=", 0.92).interval == [0.90, 0.95]


def test_nothing_to_judge_is_a_miss_and_nothing_measured_is_neither() -> None:
    assert against("sides", Score.of(Estimate(NAN, NAN, NAN)), ">=", 0.9).met is False
    assert against("sides", None, ">=", 0.9).met is None


def test_a_score_without_interval_meets_and_misses_nothing() -> None:
    few = Estimate(0.93, NAN, NAN)
    bar = against("AUROC", Score.of(few), ">=", 0.9)
    assert (bar.met, bar.value) == (None, 0.93)
    floor = floors_of(few, {"floor": Estimate(0.3, 0.2, 0.4)})["floor"]
    assert above_floor("x", Score.of(few), floor).met is None


def test_a_floor_is_beaten_only_where_the_intervals_do_not_touch() -> None:
    own = Estimate(0.4, 0.37, 0.43)

    def met(floor: Estimate) -> bool | None:
        return above_floor("x", Score.of(own), floors_of(own, {"floor": floor})["floor"]).met

    assert met(Estimate(0.3, 0.28, 0.32)) is True
    assert met(Estimate(0.36, 0.34, 0.38)) is False
    assert met(Estimate(0.5, 0.48, 0.52)) is False
    assert met(Estimate(NAN, NAN, NAN)) is None
    assert above_floor("x", None, floors_of(own, {"floor": own})["floor"]).met is None
