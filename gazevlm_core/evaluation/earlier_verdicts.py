"""Verdicts of earlier versions, whose rules were mended since: whether an adapter is better than its base is unknown.

Free of torch.
"""

from collections.abc import Mapping
from typing import Any

PASSED_BY_NOISE = "an earlier version judged it by a rule that noise passes"
FLOOR_FOR_BASE = "an earlier version took a floor for the base, which had no such score"
OVER_THE_BASE = ("better", "worse", "no difference seen")  # what a comparison with the base alone may say


def why_unknown(values: Mapping[str, Any]) -> str:
    """Return why a verdict is not believed any more; "" where it is.

    Args:
        values: provenance, with `verdict`, and `measures` where there are any.

    Raises:
        AttributeError, KeyError, TypeError: not as a training writes it.
    """
    verdict = values["verdict"]
    if "outcome" not in verdict:
        return PASSED_BY_NOISE
    scores = verdict.get("scores", {})
    for one in values.get("measures", ()):
        gain = one.get("gain")
        if gain and gain["against"] != "base" and scores.get(one["name"]) in OVER_THE_BASE:
            return FLOOR_FOR_BASE
    return ""
