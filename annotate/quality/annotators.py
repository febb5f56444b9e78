"""Annotators compared: one row each, from the rows of their submissions."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from annotate.quality.assess import SubmissionQuality
from annotate.quality.scores import FLOORS

HEADS = (
    "annotator", "submissions", "accepted", "rejected", "median time (s)", "median fixations", "gold score",
    "best gold floor", "agreement with others", "self-consistency", "flags", "outliers",
)  # fmt: skip


@dataclass(frozen=True)
class AnnotatorQuality:
    """One annotator.

    Args:
        annotator: pseudonym.
        submissions, accepted, rejected: how many.
        median_s: of the time per submission.
        median_fixations: per submission.
        gold_score: mean sequence score with gold paths; None without any.
        gold_floors: mean of each floor of that; None where there is none.
        agreement: mean sequence score with the images' other annotators; None where there is none.
        self_consistency: mean sequence score of repeats with the first time; None without repeats.
        gold_images, repeats: how many submissions the two scores stand on.
        flags: name -> how many submissions have it.
        outliers: how many submissions stand apart in some quantity.
    """

    annotator: str
    submissions: int
    accepted: int
    rejected: int
    median_s: float
    median_fixations: float
    gold_score: float | None
    gold_floors: dict[str, float | None]
    agreement: float | None
    self_consistency: float | None
    gold_images: int
    repeats: int
    flags: dict[str, int]
    outliers: int

    def row(self) -> tuple[str | int | float | None, ...]:
        """Values under HEADS."""
        best = max((floor for floor in self.gold_floors.values() if floor is not None), default=None)
        return (
            self.annotator, self.submissions, self.accepted, self.rejected, self.median_s, self.median_fixations,
            self.gold_score, best, self.agreement, self.self_consistency, sum(self.flags.values()), self.outliers,
        )  # fmt: skip


def compare_annotators(rows: Iterable[SubmissionQuality]) -> list[AnnotatorQuality]:
    """One row per annotator, by pseudonym.

    Args:
        rows: from `assess`, with identical submissions flagged.
    """
    by_annotator: dict[str, list[SubmissionQuality]] = defaultdict(list)
    for row in rows:
        by_annotator[row.annotator].append(row)
    return [_annotator(name, group) for name, group in sorted(by_annotator.items())]


def _annotator(name: str, rows: Sequence[SubmissionQuality]) -> AnnotatorQuality:
    golds = [row.gold for row in rows if row.gold is not None]
    verdicts = Counter(row.verdict for row in rows)
    flags = Counter(flag.name for row in rows for flag in row.flags)
    return AnnotatorQuality(
        name,
        len(rows),
        verdicts["accepted"],
        verdicts["rejected"],
        median(row.seconds for row in rows),
        float(median(row.fixations for row in rows)),
        _mean(gold.value for gold in golds),
        {floor: _mean(gold.floors[floor] for gold in golds) for floor in FLOORS},
        _mean(row.agreement for row in rows),
        _mean(row.repeat for row in rows),
        len(golds),
        sum(row.repeat is not None for row in rows),
        dict(sorted(flags.items())),
        sum(bool(row.outliers) for row in rows),
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
