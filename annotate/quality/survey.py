"""The quality of a store, image by image, and its annotators compared: for the dashboard and the command."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean, median
from typing import Any

from annotate.quality.agreement import ImageAgreement, agreement
from annotate.quality.assess import SubmissionQuality, assess_image, flag_identical
from annotate.quality.findings import Ballots, FindingAgreement
from annotate.quality.scores import AGREEMENT_SCORES, FLOORS, Level
from annotate.store.model import Stored, StoredImage
from gazevlm_core.scanpath import Scanpath

ELSEWHERE = 16  # paths of the images before, for the floor of another image's path
HEADS = (
    "annotator", "submissions", "accepted", "rejected", "median time (s)", "median fixations", "gold score",
    "best gold floor", "agreement with others", "self-consistency", "flags", "outliers",
)  # fmt: skip


@dataclass(frozen=True)
class AnnotatorQuality:
    """One annotator.

    Args:
        submissions, accepted, rejected: how many.
        gold_images, repeats: how many submissions the two scores stand on.
    """

    annotator: str  # pseudonym
    submissions: int
    accepted: int
    rejected: int
    median_s: float  # of the time per submission
    median_fixations: float  # per submission
    gold_score: float | None  # mean sequence score with gold paths; None without any
    gold_floors: dict[str, float | None]  # mean of each floor of that; None where there is none
    agreement: float | None  # mean sequence score with the images' other annotators; None where there is none
    self_consistency: float | None  # mean sequence score of repeats with the first time; None without repeats
    gold_images: int
    repeats: int
    flags: dict[str, int]  # name -> how many submissions have it
    outliers: int  # how many submissions stand apart in some quantity

    @property
    def best_gold_floor(self) -> float | None:
        """The highest floor of the gold score."""
        return max((floor for floor in self.gold_floors.values() if floor is not None), default=None)

    def row(self) -> tuple[str | int | float | None, ...]:
        """Return values under HEADS."""
        return (
            self.annotator, self.submissions, self.accepted, self.rejected, self.median_s, self.median_fixations,
            self.gold_score, self.best_gold_floor, self.agreement, self.self_consistency, sum(self.flags.values()),
            self.outliers,
        )  # fmt: skip


def compare_annotators(rows: Iterable[SubmissionQuality]) -> list[AnnotatorQuality]:
    """Return one row per annotator, by pseudonym, from the rows of all submissions, with identical ones flagged."""
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


@dataclass(frozen=True)
class Survey:
    """What is known about a store."""

    images: list[ImageAgreement]  # agreement per image that has a submission
    annotators: list[AnnotatorQuality]  # compared
    submissions: list[SubmissionQuality]  # a row each
    findings: list[FindingAgreement] = field(default_factory=list)  # on which at least two have voted

    @property
    def levels(self) -> dict[str, Level]:
        """Mean over the images with at least two annotators, each image counting once: score -> level."""
        known = [image for image in self.images if image.pairs]
        return {name: _mean_level([image.levels[name] for image in known]) for name in AGREEMENT_SCORES}

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values, without the submissions' rows."""
        return {
            "images": len(self.images),
            "images_with_two_annotators": sum(image.pairs > 0 for image in self.images),
            "agreement": {name: asdict(level) for name, level in self.levels.items()},
            "findings": [asdict(one) for one in self.findings],
            "annotators": [asdict(one) for one in self.annotators],
        }


def survey(images: Iterable[tuple[StoredImage, Sequence[Stored]]], *, seed: int = 0) -> Survey:
    """Assess a store; one image is in memory at a time, and a short row per submission.

    Args:
        images: with their submissions, without removed ones.
        seed: of the random floors.
    """
    agreements: list[ImageAgreement] = []
    rows: list[SubmissionQuality] = []
    elsewhere: deque[Scanpath] = deque(maxlen=ELSEWHERE)
    ballots = Ballots()
    for image, stored in images:
        if not stored:
            continue
        agreements.append(agreement(stored, elsewhere=elsewhere, seed=seed))
        rows += assess_image(stored, image.gold, gold_from=image.gold_from, elsewhere=elsewhere, seed=seed)
        ballots.add(stored)
        elsewhere.append(stored[0].annotation.scanpath)
    rows = flag_identical(rows)
    return Survey(agreements, compare_annotators(rows), rows, ballots.agreement())


def _mean_level(levels: Sequence[Level]) -> Level:
    floors = {floor: _mean(level.floors[floor] for level in levels) for floor in FLOORS}
    return Level(_mean(level.value for level in levels), floors, levels[0].order if levels else "")
