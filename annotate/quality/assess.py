"""One row per submission: its flags and outliers, and its scores with the gold path, the others and its repeat.

A flag is for a reviewer, it is no verdict. Rows are made image by image, so that a store is never all in memory.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from annotate.quality.agreement import image_size, scores_with_others
from annotate.quality.scores import SEQUENCE, Level, level, pair_scores
from annotate.store.model import Kind, Stored, Verdict, gold_makers
from annotate.votes import first_of_each
from gazevlm_core.annotation import Annotation
from gazevlm_core.scanpath import Scanpath

FEW, FAST, OUTSIDE, DOUBLED, IDENTICAL = (
    "few fixations", "too fast", "off the image", "doubled clicks", "identical to another",
)  # fmt: skip
FENCE, LEAST_OTHERS = 3.0, 4  # interquartile ranges; quartiles of fewer others say nothing
DURATION, FIXATIONS, SCORE = "duration_s", "fixations", SEQUENCE
DIGITS = 4  # of a fraction: positions that agree so far are the same click, 0.1 px on an image of 1,000


@dataclass(frozen=True)
class Limits:
    """From where on a submission is flagged. Our own choices.

    Args:
        doubled_distance: of a click from the one before, as a share of the image's diagonal, below which it is doubled.
    """

    least_fixations: int = 3  # fewer are few
    least_s: float = 3.0  # from the image's being shown to the submission, by the server's clock
    most_outside: float = 0.25  # share of the clicks, or of the moving window's samples, beside the image
    doubled_distance: float = 0.003
    most_doubled: float = 0.2  # share of the clicks


USUAL_LIMITS = Limits()


@dataclass(frozen=True)
class Flag:
    """What is odd about a submission."""

    name: str  # FEW, FAST, OUTSIDE, DOUBLED or IDENTICAL
    detail: str  # the figure, in words


def seconds_taken(annotation: Annotation) -> float:
    """Return the seconds from the image's being shown to the submission, by the server's clock."""
    return (annotation.submitted_at - annotation.started_at).total_seconds()


def outside_share(annotation: Annotation) -> float:
    """Share of the clicks, or of the moving window's samples, that lie beside the image."""
    samples, outside = annotation.samples, annotation.client.outside_clicks
    if not samples:
        return outside / max(1, outside + len(annotation.clicks))
    return sum(not (0 <= sample.x < 1 and 0 <= sample.y < 1) for sample in samples) / len(samples)


def doubled_share(annotation: Annotation, distance: float = USUAL_LIMITS.doubled_distance) -> float:
    """Share of the clicks that lie within `distance` (of the diagonal) of the click before; 0 for the moving window."""
    if not annotation.clicks:
        return 0.0
    width, height = annotation.image_width_px, annotation.image_height_px
    reach = distance * math.hypot(width, height)
    near = sum(
        math.hypot((after.x - before.x) * width, (after.y - before.y) * height) <= reach
        for before, after in pairwise(annotation.scanpath)
    )
    return near / len(annotation.clicks)


def check(annotation: Annotation, limits: Limits = USUAL_LIMITS) -> tuple[Flag, ...]:
    """Return what is odd about one submission, seen alone."""
    flags = []
    if len(annotation.scanpath) < limits.least_fixations:
        flags.append(Flag(FEW, f"{len(annotation.scanpath)} of at least {limits.least_fixations}"))
    if (seconds := seconds_taken(annotation)) < limits.least_s:
        flags.append(Flag(FAST, f"{seconds:.1f} s of at least {limits.least_s:g} s"))
    if (share := outside_share(annotation)) > limits.most_outside:
        flags.append(Flag(OUTSIDE, f"{share:.0%} of the {'samples' if annotation.samples else 'clicks'}"))
    if (share := doubled_share(annotation, limits.doubled_distance)) > limits.most_doubled:
        flags.append(Flag(DOUBLED, f"{share:.0%} of the clicks"))
    return tuple(flags)


def path_key(annotation: Annotation) -> int:
    """Return a short stand-in for a path: equal for the same positions in the same order, on whatever image."""
    return hash(tuple((round(fixation.x, DIGITS), round(fixation.y, DIGITS)) for fixation in annotation.scanpath))


# ---- outliers -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Outlier:
    """A quantity of one submission that lies far from those of the image's others."""

    quantity: str  # "duration_s", "fixations" or "sequence score" (mean to the others; only a low one counts)
    value: float  # of the submission


def fences(others: Sequence[float]) -> tuple[float, float] | None:
    """Return 3 IQR beyond the quartiles; None for fewer than four values, or where the quartiles coincide."""
    if len(others) < LEAST_OTHERS:
        return None
    lower, upper = np.quantile(np.asarray(others, np.float64), [0.25, 0.75])
    spread = upper - lower
    return None if spread == 0 else (float(lower - FENCE * spread), float(upper + FENCE * spread))


def _outliers(firsts: Sequence[Stored], with_others: Mapping[int, float]) -> dict[int, list[Outlier]]:
    """Return what of a submission lies far from the others of its image, by number: beyond 3 interquartile ranges
    (Tukey 1977, "far out").

    Args:
        firsts: each annotator's first submission on one image that is not rejected.
        with_others: their scores, as from `scores_with_others`.
    """
    quantities = {
        DURATION: [seconds_taken(one.annotation) for one in firsts],
        FIXATIONS: [float(len(one.annotation.scanpath)) for one in firsts],
    }
    if with_others:
        quantities[SCORE] = [with_others[one.number] for one in firsts]
    found: dict[int, list[Outlier]] = defaultdict(list)
    for quantity, values in quantities.items():
        for row, one in enumerate(firsts):
            bounds = fences([value for other, value in enumerate(values) if other != row])
            if bounds is None:
                continue
            low, high = bounds
            if values[row] < low or (values[row] > high and quantity != SCORE):
                found[one.number].append(Outlier(quantity, values[row]))
    return found


# ---- rows -----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class SubmissionQuality:
    """What is known about the quality of one submission.

    Args:
        number, submission_id, annotator, image_sha256, kind, verdict: of the submission.
        agreement: mean sequence score with the image's other annotators; None where there is none, or for a further
            or a rejected submission of the annotator.
        gold: sequence score with the gold path, beside floors; None where the image has none, and for whoever
            contributed to it.
    """

    number: int
    submission_id: str
    annotator: str
    image_sha256: str
    kind: Kind
    verdict: Verdict
    seconds: float  # from the image's being shown to the submission
    fixations: int  # how many
    path_key: int  # equal for paths with the same positions
    flags: tuple[Flag, ...] = ()  # of the checks
    outliers: tuple[Outlier, ...] = ()  # quantities that stand apart from the image's others
    agreement: float | None = None
    gold: Level | None = None
    repeat: float | None = None  # sequence score with the annotator's first submission on the image; None for that one


def repeat_scores(stored: Sequence[Stored]) -> dict[str, float]:
    """Return self-consistency: sequence score of every further submission with its annotator's first on the same image.

    Args:
        stored: submissions on one image.

    Returns:
        by submission id.
    """
    first: dict[str, Stored] = {}
    pairs: list[tuple[Stored, Stored]] = []
    for one in sorted(stored, key=lambda one: one.number):
        known = first.setdefault(one.annotation.annotator, one)
        if known is not one:
            pairs.append((known, one))
    if not pairs:
        return {}
    before, after = ([pair[side].annotation.scanpath for pair in pairs] for side in (0, 1))
    scores = pair_scores(SEQUENCE, before, after, image_size(stored)).tolist()
    return {pair[1].annotation.submission_id: score for pair, score in zip(pairs, scores, strict=True)}


def assess_image(
    stored: Sequence[Stored],
    gold: Scanpath | None = None,
    *,
    gold_from: Collection[str] = (),
    elsewhere: Sequence[Scanpath] = (),
    seed: int = 0,
) -> list[SubmissionQuality]:
    """Return every submission on one image, by number.

    Args:
        stored: submissions on the image.
        gold: its gold path.
        gold_from: pseudonyms of those whose submissions it was taken or chosen from. Whoever has the same path with
            the same times counts as one of them, too, since stores did not always keep that.
        elsewhere: paths on other images, for a floor of the gold score.
        seed: of the random floors.
    """
    if not stored:
        return []
    size, makers = image_size(stored), gold_makers(gold, gold_from, stored)
    firsts, repeats = first_of_each(stored), repeat_scores(stored)
    with_others = scores_with_others(firsts)
    apart = _outliers(firsts, with_others)

    def row(one: Stored) -> SubmissionQuality:
        annotation = one.annotation
        submission_id, path = annotation.submission_id, annotation.scanpath
        gold_score = None
        if gold is not None and annotation.annotator not in makers:
            gold_score = level(SEQUENCE, [gold], [path], size, elsewhere=elsewhere, seed=seed)
        return SubmissionQuality(
            one.number, submission_id, annotation.annotator, one.image_sha256, one.kind, one.verdict,
            seconds_taken(annotation), len(path), path_key(annotation), check(annotation), tuple(apart[one.number]),
            with_others.get(one.number), gold_score, repeats.get(submission_id),
        )  # fmt: skip

    return [row(one) for one in sorted(stored, key=lambda one: one.number)]


def flag_identical(rows: Iterable[SubmissionQuality]) -> list[SubmissionQuality]:
    """Return the rows, with a flag on all whose path was also handed in elsewhere: needs the rows of all images
    together."""
    rows = list(rows)
    ids: Mapping[int, list[str]] = defaultdict(list)
    for row in rows:
        ids[row.path_key].append(row.submission_id)

    def flagged(row: SubmissionQuality) -> SubmissionQuality:
        others = [other for other in ids[row.path_key] if other != row.submission_id]
        if not others or row.fixations < 2:
            return row
        return replace(row, flags=(*row.flags, Flag(IDENTICAL, f"{len(others)}, such as {others[0]}")))

    return [flagged(row) for row in rows]
