"""Scores as plain values for JSON, the table and the model card. The keys are stable; NaN becomes null."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from evaluate import bars
from evaluate.bars import BarResult, above_floor, against
from evaluate.finding_scores import CHANCE, FindingScores
from evaluate.path_scores import FLOORS, PathScores
from evaluate.phantom_eval import ModelScores, QuantisationCost
from evaluate.text_scores import NamedScores, TextScores
from gazevlm_core.metrics.intervals import Estimate
from gazevlm_core.metrics.labels import MacroAuroc

Values = dict[str, Any]
STEP_HISTOGRAM = "most frequent patches of each step, other images"


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 6)


def estimate_values(estimate: Estimate | None) -> Values | None:
    """{"value", "interval": [low, high]}; None where there is nothing."""
    if estimate is None:
        return None
    low, high = _number(estimate.low), _number(estimate.high)
    interval = None if low is None or high is None else [low, high]
    return {"value": _number(estimate.value), "interval": interval}


def _floor_values(floors: Mapping[str, Estimate], own: Estimate) -> Values:
    return {
        name: {**(estimate_values(floor) or {}), "interval_touches_the_models": own.touches(floor)}
        for name, floor in floors.items()
    }


def _beside(own: Estimate, floors: Mapping[str, Estimate]) -> Values:
    return {**(estimate_values(own) or {}), "floors": _floor_values(floors, own)}


def _auroc_values(scores: MacroAuroc) -> Values:
    chance = Estimate(CHANCE, CHANCE, CHANCE)
    return {
        "macro": estimate_values(scores.macro),
        "floors": _floor_values({"chance": chance}, scores.macro),
        "per_finding": {name: estimate_values(estimate) for name, estimate in scores.per_finding.items()},
        "skipped": list(scores.skipped),
    }


def finding_values(scores: FindingScores | None) -> Values | None:
    """AUROC from one source as plain values; None where it is untrained."""
    if scores is None:
        return None
    return {
        "all_severities": _auroc_values(scores.all_severities),
        "moderate_or_worse": _auroc_values(scores.moderate_or_worse),
    }


def _named_values(named: NamedScores) -> Values:
    return {name: estimate_values(getattr(named, name)) for name in ("precision", "recall", "f1")}


def _text_values(text: TextScores) -> Values:
    floors = {
        name: {**_named_values(floor), "interval_touches_the_models": text.named.f1.touches(floor.f1)}
        for name, floor in text.floors.items()
    }
    sides = {
        **(estimate_values(text.sides) or {}),
        "said": text.sides_said,
        "floors": _floor_values(text.sides_floors, text.sides),
    }
    return {"moderate_or_worse": {**_named_values(text.named), "floors": floors}, "sides": sides}


def path_values(paths: PathScores | None) -> Values | str:
    """Scores of scanpaths as plain values; "untrained" where none is shown."""
    if paths is None:
        return "untrained"
    return {
        "sequence_score": {
            **(estimate_values(paths.score) or {}),
            "ceiling_same_reader": estimate_values(paths.ceiling),
            "other_reader": estimate_values(paths.other_reader),
            "share_of_ceiling": estimate_values(paths.share_of_ceiling),
            "floors": _floor_values(paths.floors, paths.score),
            "order_gain": estimate_values(paths.order_gain),
            "images_without_same_finding_partner": paths.without_partner,
        },
        "stop": {
            "within_2_fixations": _beside(paths.stop_within, {"the usual length, always": paths.stop_floor}),
            "median_length_difference": estimate_values(paths.length_difference),
        },
        "step_only": {
            "modal_patch_hits": estimate_values(paths.step_mode_hits),
            "model_path_hits": estimate_values(paths.step_model_hits),
        },
        "conditional": {
            "nss": _beside(paths.steps.nss, {STEP_HISTOGRAM: paths.steps.histogram_nss}),
            "information_gain_bits": _beside(paths.steps.bits, {STEP_HISTOGRAM: paths.steps.histogram_bits}),
        },
        "dwell": {
            "median_ratio": estimate_values(paths.dwell_ratio),
            "log_correlation": estimate_values(paths.dwell_correlation),
        },
    }


def model_values(scores: ModelScores) -> Values:
    """One model's scores as plain values."""
    return {
        "finding_head": finding_values(scores.head),
        "answer_text": finding_values(scores.yes_no),
        "report": _text_values(scores.text),
        "scanpath": path_values(scores.paths),
    }


def quantisation_values(cost: QuantisationCost | None) -> Values | None:
    """Losses against the reference as plain values; None where it was not measured."""
    if cost is None:
        return None
    return {
        "head_auroc_loss": estimate_values(cost.head_auroc),
        "answer_text_auroc_loss": estimate_values(cost.yes_no_auroc),
        "sequence_score_loss": estimate_values(cost.sequence_score),
    }


def all_bars(scores: ModelScores, cost: QuantisationCost | None) -> list[BarResult]:
    """Every bar that the embedded checkpoint is held to, met or not."""
    head, paths = scores.head, scores.paths
    results = [
        against(
            "macro AUROC of the finding head, all severities",
            head.all_severities.macro if head else None, ">=", bars.HEAD_AUROC,
        ),
        against(
            "macro AUROC of the finding head, moderate or worse",
            head.moderate_or_worse.macro if head else None, ">=", bars.HEAD_AUROC_MODERATE,
        ),
        against(
            "macro AUROC of the answer text, all severities",
            scores.yes_no.all_severities.macro, ">=", bars.TEXT_AUROC,
        ),
        against("micro F1 of findings named, moderate or worse", scores.text.named.f1, ">=", bars.NAMED_F1),
        against("right sides among those named", scores.text.sides, ">=", bars.RIGHT_SIDES),
        against(
            "sequence score as a share of the ceiling",
            paths.share_of_ceiling if paths else None, ">=", bars.SHARE_OF_CEILING,
        ),
    ]  # fmt: skip
    own = paths.score if paths else None
    for name in FLOORS:
        floor = paths.floors[name] if paths else None
        results.append(above_floor(f"sequence score above the floor: {name}", own, floor))
    results.append(
        against("paths that stop within 2 fixations", paths.stop_within if paths else None, ">=", bars.STOP_SHARE)
    )
    loss = cost.head_auroc if cost else None
    results.append(against("AUROC lost by quantisation", loss, "<=", bars.QUANTISATION_AUROC_LOSS))
    return results


def bar_values(results: Sequence[BarResult]) -> list[Values]:
    """Bars as plain values: {bar, value, interval, met}."""
    values = []
    for result in results:
        entry = asdict(result)
        if result.interval is not None:
            low, high = (_number(end) for end in result.interval)
            entry["interval"] = None if low is None or high is None else [low, high]
        values.append({**entry, "value": None if result.value is None else _number(result.value)})
    return values
