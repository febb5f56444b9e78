"""Scores of findings: probabilities against labels, and what reports name, beside who knows nothing of the image."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gazevlm_core.evaluation.report import (
    GUESSING,
    Against,
    Auroc,
    Finding,
    Labels,
    NamedFloor,
    NamedFloored,
    Score,
    Sides,
    Source,
    Words,
    floors_of,
)
from gazevlm_core.findings import FILM_FINDING_NAMES, NO_FINDING, SUBTLE_BELOW
from gazevlm_core.metrics.intervals import Estimate, ratio_estimate
from gazevlm_core.metrics.labels import CHANCE, MacroAuroc, macro_auroc, micro_auroc, prevalence_auroc
from gazevlm_core.metrics.registry import LABEL_METRICS, LabelTask
from gazevlm_core.report_parser import parse_report
from gazevlm_core.sample import Sample

MIDLINE = "midline"
EXCHANGES = 8  # other images whose report stands in, for a floor
Logits = Sequence[Mapping[str, float]]  # per image, by finding
Parsed = Mapping[str, set[str]]  # finding -> sides


@dataclass(frozen=True)
class GradedSample(Sample):
    """A sample of which it is known how severe each finding is, and on which side, as of drawn phantoms.

    Args:
        severities: finding name -> severity in (0, 1]; what is left out is absent.
        sides: finding name -> the patient's side.
    """

    severities: Mapping[str, float] = field(default_factory=dict)
    sides: Mapping[str, str] = field(default_factory=dict)

    @property
    def leading(self) -> str:
        """The most severe finding, or "no finding"."""
        return max(self.severities, key=lambda name: self.severities[name], default=NO_FINDING)

    @property
    def clear_findings(self) -> frozenset[str]:
        """Findings of moderate or worse severity."""
        return frozenset(name for name, severity in self.severities.items() if severity >= SUBTLE_BELOW)

    @property
    def subtle_findings(self) -> frozenset[str]:
        """Findings that are there, but subtle."""
        return frozenset(self.severities) - self.clear_findings


# ---- probabilities --------------------------------------------------------------------------------------------------
def graded_labels(
    samples: Sequence[GradedSample], names: Sequence[str], *, least: float = 0.0, below: float = math.inf
) -> np.ndarray:
    """Return the truth, float64 [N, F] of 1 and 0.

    Args:
        samples: N.
        names: F findings.
        least, below: a finding whose severity is not at least the one and below the other counts as unknown (NaN): the
            image is left out for that finding.
    """
    return np.array([
        [0.0 if name not in sample.severities else 1.0 if least <= sample.severities[name] < below else np.nan
         for name in names] for sample in samples
    ]).reshape(len(samples), len(names))  # fmt: skip


def score_graded(
    samples: Sequence[GradedSample], logits: Logits, names: Sequence[str], counts: np.ndarray
) -> tuple[Source, MacroAuroc]:
    """Return the AUROC of F findings, over all severities and on moderate or worse; the former with its resamples."""
    scores = np.array([[image[name] for name in names] for image in logits])
    every, moderate = (
        macro_auroc(graded_labels(samples, names, least=least), scores, names, counts)
        for least in (0.0, SUBTLE_BELOW)
    )
    return Source(all_severities=_auroc(every), moderate_or_worse=_auroc(moderate)), every


def _auroc(scores: MacroAuroc) -> Auroc:
    return Auroc(
        macro=Score.of(scores.macro),
        floors=floors_of(scores.macro, {GUESSING: Estimate(CHANCE, CHANCE, CHANCE)}),
        per_finding={name: Score.of(estimate) for name, estimate in scores.per_finding.items()},
        skipped=list(scores.skipped),
        too_few=list(scores.too_few),
    )


def label_tables(labels: Logits, logits: Logits) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return the findings that both sides know: names [F], labels [N, F] with NaN for unknown, logits [N, F].

    Args:
        labels: of N images, 1.0 or 0.0 of each known finding.
        logits: of N images; 0 where a model says nothing.
    """
    names = sorted({name for image in labels for name in image} & {name for image in logits for name in image})
    shape = (len(labels), len(names))
    truth = np.array([[image.get(name, np.nan) for name in names] for image in labels]).reshape(shape)
    return names, truth, np.array([[image.get(name, 0.0) for name in names] for image in logits]).reshape(shape)


def score_labels(
    labels: Logits, logits: Logits, other_labels: Logits, other_logits: Logits, counts: np.ndarray
) -> Labels | None:
    """Return every score of LABEL_METRICS; None where the model knows no finding of the data set.

    Args:
        labels, logits: of N images that are scored, by finding.
        other_labels, other_logits: of images from which thresholds are taken; none leaves F1 out.
        counts: [R, N] from `patient_counts`.
    """
    names, truth, scores = label_tables(labels, logits)
    if not names:
        return None
    macro = macro_auroc(truth, scores, names, counts)
    findings = {}
    for column, name in enumerate(names):
        known = truth[:, column][~np.isnan(truth[:, column])]
        if not len(known):
            continue
        others = [(own[name], logits_of[name]) for own, logits_of in zip(other_labels, other_logits, strict=True)
                  if name in own and name in logits_of]  # fmt: skip
        other_truth, other_scores = np.array(others, dtype=np.float64).reshape(-1, 2).T
        task = LabelTask(truth[:, column], scores[:, column], counts, other_truth, other_scores)
        findings[name] = Finding(
            images=len(known),
            positive=int(known.sum()),
            scores={metric.key: _against(metric.score(task), metric.floor, known) for metric in LABEL_METRICS},
        )
    pooled = prevalence_auroc(truth)
    return Labels(
        macro_auroc=Against.of(macro.macro, floor=CHANCE),
        micro_auroc=Against.of(
            micro_auroc(truth, scores, counts), floor=None if math.isnan(pooled) else round(pooled, 6)
        ),
        findings=findings,
        one_class_only=list(macro.skipped),
        too_few=list(macro.too_few),
    )


def _against(scored: tuple[Estimate, float | None] | None, floor: object, known: np.ndarray) -> Against | None:
    if scored is None:
        return None
    estimate, threshold = scored
    beside = floor(float(known.mean())) if callable(floor) else None
    return Against.of(estimate, floor=beside, threshold=threshold)


# ---- reports --------------------------------------------------------------------------------------------------------
def count_named(samples: Sequence[GradedSample], named: Sequence[Iterable[str]]) -> np.ndarray:
    """Return right, wrong and missed findings per image, float64 [N, 3].

    A subtle finding that is named is neither right nor wrong, and one that is not named is no miss.
    """
    rows = []
    for sample, names in zip(samples, named, strict=True):
        reported, there = set(names), sample.clear_findings
        rows.append((len(reported & there), len(reported - there - sample.subtle_findings), len(there - reported)))
    return np.array(rows, np.float64).reshape(-1, 3)


def named_scores(tallies: np.ndarray, counts: np.ndarray) -> dict[str, Estimate]:
    """Return micro precision, recall and F1, which pool all findings of all images, from [N, 3] of `count_named`."""
    right, wrong, missed = tallies.T
    return {
        "precision": ratio_estimate(right, right + wrong, counts),
        "recall": ratio_estimate(right, right + missed, counts),
        "f1": ratio_estimate(2 * right, 2 * right + wrong + missed, counts),
    }


def one_side(sides: set[str]) -> str:
    """Return the side that a text means: left and right together are both; what else is unclear is itself, joined."""
    return "both" if sides == {"left", "right"} or "both" in sides else " and ".join(sorted(sides))


def count_sides(samples: Sequence[GradedSample], parsed: Sequence[Parsed], always: str | None = None) -> np.ndarray:
    """Return right sides and named sides per image, float64 [N, 2], over true findings (of any severity) with a side.

    Args:
        samples: the truth.
        parsed: of the reports.
        always: score this side in place of the one that the text says.
    """
    rows = []
    for sample, found in zip(samples, parsed, strict=True):
        reported = {name: one_side(sides) for name, sides in found.items() if sides}
        judged = [name for name, side in sample.sides.items() if side != MIDLINE and name in reported]
        rows.append((sum((always or reported[name]) == sample.sides[name] for name in judged), len(judged)))
    return np.array(rows, np.float64).reshape(-1, 2)


def best_constant(others: Sequence[GradedSample]) -> frozenset[str]:
    """Return the findings to name always: the most frequent ones, as many as give the best micro F1 on other images."""
    frequency = Counter(name for sample in others for name in sample.clear_findings)
    ranked = [name for name, _ in sorted(frequency.items(), key=lambda item: (-item[1], item[0]))]
    constants = [frozenset(ranked[:size]) for size in range(len(ranked) + 1)]

    def f1(constant: frozenset[str]) -> float:
        right, wrong, missed = count_named(others, [constant] * len(others)).sum(axis=0)
        return 2 * right / (2 * right + wrong + missed) if right else 0.0

    return max(constants, key=f1)


def score_reports(
    samples: Sequence[GradedSample], others: Sequence[GradedSample], reports: Sequence[str], counts: np.ndarray
) -> Words:
    """Return scores of N reports with intervals, beside reports that know nothing of the image.

    Those are the normal report; always the same findings, the best such constant on other images; and the model's own
    report of another image (mean over several others).
    """
    parsed: list[Parsed] = [
        {name: sides for name, sides in parse_report(report).items() if name not in FILM_FINDING_NAMES}
        for report in reports
    ]  # of what is never drawn nobody knows whether a phantom has it
    own = named_scores(count_named(samples, parsed), counts)
    tallies = {
        "the normal report, always": count_named(samples, [()] * len(samples)),
        "the best constant list of findings": count_named(samples, [best_constant(others)] * len(samples)),
    }
    if len(samples) > 1:
        tallies["the model's report of another image"] = _exchanged(samples, parsed)
    floors = {}
    for name, tally in tallies.items():
        floor = named_scores(tally, counts)
        floors[name] = NamedFloor(**_scores(floor), interval_touches_the_models=own["f1"].touches(floor["f1"]))
    return Words(
        moderate_or_worse=NamedFloored(**_scores(own), floors=floors), sides=_sides(samples, others, parsed, counts)
    )


def _scores(estimates: Mapping[str, Estimate]) -> dict[str, Score]:
    return {name: Score.of(estimate) for name, estimate in estimates.items()}


def _sides(
    samples: Sequence[GradedSample], others: Sequence[GradedSample], parsed: Sequence[Parsed], counts: np.ndarray
) -> Sides:
    """Return right sides among those named, beside always naming the side that other images have most often."""
    right, num_named = count_sides(samples, parsed).T
    own = ratio_estimate(right, num_named, counts)
    frequency = Counter(side for sample in others for side in sample.sides.values() if side != MIDLINE)
    floors = {}
    if frequency:
        usual = max(sorted(frequency), key=lambda side: frequency[side])
        usual_right, _ = count_sides(samples, parsed, always=usual).T
        floors[f"always {usual}"] = ratio_estimate(usual_right, num_named, counts)
    return Sides.of(own, said=int(num_named.sum()), floors=floors_of(own, floors))


def _exchanged(samples: Sequence[GradedSample], parsed: Sequence[Parsed]) -> np.ndarray:
    """Return tallies [N, 3] of each image with the report of another: the mean over several shifts of the list."""
    size = len(samples)
    shifts = sorted({1 + number * (size - 1) // EXCHANGES for number in range(EXCHANGES)})
    return np.mean([count_named(samples, [*parsed[shift:], *parsed[:shift]]) for shift in shifts], axis=0)
