"""Which findings and sides a report names, against the truth, beside reports that know nothing of the image."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evaluate.cases import StudyCase
from gazevlm_core.metrics.intervals import Estimate, ratio_estimate
from gazevlm_core.report_parser import parse_report

Parsed = Mapping[str, set[str]]  # finding -> sides


@dataclass(frozen=True)
class NamedScores:
    """Micro scores on findings of moderate or worse severity; NaN where nothing was named or nothing is there.

    Precision, recall and F1 pool all findings of all images. A subtle finding that is named is neither right nor wrong,
    and one that is not named is no miss.
    """

    precision: Estimate
    recall: Estimate
    f1: Estimate


@dataclass(frozen=True)
class TextScores:
    """Scores of reports.

    Args:
        named: of the reports.
        floors: name -> scores of reports that know nothing of the image.
        sides: share of right sides among true findings with a side for which the report names one.
        sides_floors: always the most frequent side.
        sides_said: how many sides that is.
    """

    named: NamedScores
    floors: dict[str, NamedScores]
    sides: Estimate
    sides_floors: dict[str, Estimate]
    sides_said: int


def count_named(cases: Sequence[StudyCase], named: Sequence[Iterable[str]]) -> np.ndarray:
    """Per image: right, wrong and missed findings, float64 [N, 3]."""
    rows = []
    for case, names in zip(cases, named, strict=True):
        said, there = set(names), case.clear_findings
        rows.append((len(said & there), len(said - there - case.subtle_findings), len(there - said)))
    return np.array(rows, np.float64).reshape(-1, 3)


def named_scores(tallies: np.ndarray, counts: np.ndarray) -> NamedScores:
    """Micro scores from [N, 3] tallies of `count_named`."""
    right, wrong, missed = tallies.T
    return NamedScores(
        precision=ratio_estimate(right, right + wrong, counts),
        recall=ratio_estimate(right, right + missed, counts),
        f1=ratio_estimate(2 * right, 2 * right + wrong + missed, counts),
    )


def one_side(sides: set[str]) -> str:
    """The side that a text means: left and right together are both; anything else unclear is itself, joined."""
    return "both" if sides == {"left", "right"} or "both" in sides else " and ".join(sorted(sides))


def count_sides(cases: Sequence[StudyCase], parsed: Sequence[Parsed], always: str | None = None) -> np.ndarray:
    """Per image: right sides and sides said, float64 [N, 2], over true findings (of any severity) that have a side.

    Args:
        cases: the truth.
        parsed: of the reports.
        always: score this side in place of the one that the text says.
    """
    rows = []
    for case, found in zip(cases, parsed, strict=True):
        said = {name: one_side(sides) for name, sides in found.items() if sides}
        judged = [name for name, side in case.sides.items() if side != "midline" and name in said]
        rows.append((sum((always or said[name]) == case.sides[name] for name in judged), len(judged)))
    return np.array(rows, np.float64).reshape(-1, 2)


def best_constant(others: Sequence[StudyCase]) -> frozenset[str]:
    """The findings to name always: the most frequent ones, as many as give the best micro F1 on other phantoms."""
    frequency = Counter(name for case in others for name in case.clear_findings)
    ranked = [name for name, _ in sorted(frequency.items(), key=lambda item: (-item[1], item[0]))]
    constants = [frozenset(ranked[:size]) for size in range(len(ranked) + 1)]

    def f1(constant: frozenset[str]) -> float:
        right, wrong, missed = count_named(others, [constant] * len(others)).sum(axis=0)
        return 2 * right / (2 * right + wrong + missed) if right else 0.0

    return max(constants, key=f1)


def score_reports(
    cases: Sequence[StudyCase], others: Sequence[StudyCase], reports: Sequence[str], counts: np.ndarray
) -> TextScores:
    """Scores of N reports with floors and intervals.

    Floors: the normal report; always the same findings, the best such constant on other phantoms; the model's own
    report of another image (mean over several others).
    """
    parsed = [parse_report(report) for report in reports]
    floors = {
        "the normal report, always": named_scores(count_named(cases, [()] * len(cases)), counts),
        "the best constant list of findings": named_scores(
            count_named(cases, [best_constant(others)] * len(cases)), counts
        ),
    }
    if len(cases) > 1:
        floors["the model's report of another image"] = named_scores(_exchanged(cases, parsed), counts)
    sides = Counter(side for case in others for side in case.sides.values() if side != "midline")
    right, said = count_sides(cases, parsed).T
    side_floors = {}
    if sides:
        usual = max(sorted(sides), key=lambda side: sides[side])
        usual_right, _ = count_sides(cases, parsed, always=usual).T
        side_floors[f"always {usual}"] = ratio_estimate(usual_right, said, counts)
    return TextScores(
        named=named_scores(count_named(cases, parsed), counts),
        floors=floors,
        sides=ratio_estimate(right, said, counts),
        sides_floors=side_floors,
        sides_said=int(said.sum()),
    )


def _exchanged(cases: Sequence[StudyCase], parsed: Sequence[Parsed]) -> np.ndarray:
    """Tallies [N, 3] of each image with the report of another: the mean over several shifts of the list."""
    size = len(cases)
    shifts = sorted({1 + number * (size - 1) // 8 for number in range(8)})
    return np.mean([count_named(cases, [*parsed[shift:], *parsed[:shift]]) for shift in shifts], axis=0)
