"""What the embedded checkpoint is held to: each bar met, missed, or not measured."""

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from gazevlm_core.metrics.intervals import Estimate

HEAD_AUROC = 0.92
HEAD_AUROC_MODERATE = 0.97
TEXT_AUROC = 0.90
NAMED_F1 = 0.80
RIGHT_SIDES = 0.90
SHARE_OF_CEILING = 0.85
STOP_SHARE = 0.75
QUANTISATION_AUROC_LOSS = 0.01

Relation = Literal[">=", "<="]
_RELATIONS: dict[Relation, Callable[[float, float], bool]] = {">=": operator.ge, "<=": operator.le}


@dataclass(frozen=True)
class BarResult:
    """One bar and how it came out.

    Args:
        bar: what is asked, in words.
        value: what was measured; None where it was not.
        interval: 95% interval of the value, or None.
        met: None where nothing was measured.
    """

    bar: str
    value: float | None
    interval: tuple[float, float] | None
    met: bool | None


def against(words: str, estimate: Estimate | None, relation: Relation, limit: float) -> BarResult:
    """Hold an estimate to a limit: the value decides, the interval is shown beside it.

    None is not measured. NaN is a miss: it was asked, and the model gave nothing to judge (it named no side, say).
    """
    bar = f"{words} {relation} {limit:g}"
    if estimate is None:
        return BarResult(bar, None, None, None)
    if math.isnan(estimate.value):
        return BarResult(bar, None, None, False)
    met = _RELATIONS[relation](estimate.value, limit)
    return BarResult(bar, estimate.value, (estimate.low, estimate.high), met)


def above_floor(words: str, estimate: Estimate | None, floor: Estimate | None) -> BarResult:
    """Hold an estimate above a floor: higher, and the intervals do not touch. An undefined floor is not measured."""
    if estimate is None or floor is None or math.isnan(floor.value):
        return BarResult(words, None, None, None)
    met = estimate.value > floor.value and not estimate.touches(floor)
    return BarResult(words, estimate.value, (estimate.low, estimate.high), met)
