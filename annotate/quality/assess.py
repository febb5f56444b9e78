"""One row per submission: what checks, the gold path, the image's others and the annotator's own repeat say of it.

Made image by image, so that a store is never all in memory; `annotators.compare` puts the rows together.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from annotate.quality.agreement import image_size
from annotate.quality.checks import IDENTICAL, USUAL_LIMITS, Flag, Limits, check, path_key, seconds_taken
from annotate.quality.outliers import Outlier, mean_to_others, outliers
from annotate.quality.scores import SEQUENCE, Level, level, pair_scores
from annotate.store.model import Kind, Stored, Verdict
from annotate.votes import first_of_each
from gazevlm_core.scanpath import Scanpath


@dataclass(frozen=True)
class SubmissionQuality:
    """What is known about the quality of one submission.

    Args:
        number, submission_id, annotator, image_sha256, kind, verdict: of the submission.
        seconds: from the image's being shown to the submission.
        fixations: how many.
        path_key: equal for paths with the same positions.
        flags: of the checks.
        outliers: quantities that stand apart from the image's others.
        agreement: mean sequence score with the image's other annotators; None where there is none, or for a further
            or a rejected submission of the annotator.
        gold: sequence score with the gold path, beside floors; None where the image has none, and for whoever
            contributed to it.
        repeat: sequence score with the annotator's first submission on the image; None for that one.
    """

    number: int
    submission_id: str
    annotator: str
    image_sha256: str
    kind: Kind
    verdict: Verdict
    seconds: float
    fixations: int
    path_key: int
    flags: tuple[Flag, ...] = ()
    outliers: tuple[Outlier, ...] = ()
    agreement: float | None = None
    gold: Level | None = None
    repeat: float | None = None


def gold_level(
    stored: Stored, gold: Scanpath, *, elsewhere: Sequence[Scanpath] = (), seed: int = 0
) -> Level:
    """Sequence score of a submission with the gold path of its image, beside floors.

    Args:
        stored: the submission.
        gold: of its image.
        elsewhere: paths on other images, for a floor.
        seed: of the random floors.
    """
    return level(SEQUENCE, [gold], [stored.annotation.scanpath], image_size([stored]), elsewhere=elsewhere, seed=seed)


def repeat_scores(stored: Sequence[Stored]) -> dict[str, float]:
    """Self-consistency: sequence score of every further submission with its annotator's first on the same image.

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
    limits: Limits = USUAL_LIMITS,
    seed: int = 0,
) -> list[SubmissionQuality]:
    """Every submission on one image, by number.

    Args:
        stored: submissions on the image.
        gold: its gold path.
        gold_from: pseudonyms of those whose submissions it was taken or chosen from. Whoever walked the same path at
            the same times is taken for one of them, too, since stores did not always keep that.
        elsewhere: paths on other images, for a floor of the gold score.
        limits: of the checks.
        seed: of the random floors.
    """
    if not stored:
        return []
    makers = {*gold_from, *_walkers_of(gold, stored)}
    firsts = first_of_each(stored)
    with_others: dict[str, float] = {}
    if len(firsts) > 1:
        ids = [one.annotation.submission_id for one in firsts]
        with_others = dict(zip(ids, mean_to_others(firsts), strict=True))
    repeats = repeat_scores(stored)
    apart: dict[str, list[Outlier]] = defaultdict(list)
    for outlier in outliers(stored):
        apart[outlier.submission_id].append(outlier)

    def row(one: Stored) -> SubmissionQuality:
        annotation = one.annotation
        submission_id = annotation.submission_id
        return SubmissionQuality(
            one.number, submission_id, annotation.annotator, one.image_sha256, one.kind, one.verdict,
            seconds_taken(annotation), len(annotation.scanpath), path_key(annotation), check(annotation, limits),
            tuple(apart[submission_id]), with_others.get(submission_id),
            gold_level(one, gold, elsewhere=elsewhere, seed=seed)
            if gold is not None and annotation.annotator not in makers
            else None,
            repeats.get(submission_id),
        )  # fmt: skip

    return [row(one) for one in sorted(stored, key=lambda one: one.number)]


def _walkers_of(gold: Scanpath | None, stored: Sequence[Stored]) -> list[str]:
    """Annotators whose submission the gold path must have been; none where it has no times to tell by."""
    if gold is None or all(fixation.onset_ms is None for fixation in gold):
        return []
    return [one.annotation.annotator for one in stored if one.annotation.scanpath == gold]


def flag_identical(rows: Iterable[SubmissionQuality]) -> list[SubmissionQuality]:
    """The rows, with a flag on all whose path was also handed in elsewhere: needs the rows of all images together."""
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


def assess(
    stored: Iterable[Stored],
    gold: Mapping[str, Scanpath] | None = None,
    *,
    limits: Limits = USUAL_LIMITS,
    seed: int = 0,
) -> list[SubmissionQuality]:
    """Every submission on any number of images, image by image; all of them in memory.

    Args:
        stored: submissions.
        gold: image_sha256 -> gold path.
        limits: of the checks.
        seed: of the random floors.
    """
    by_image: dict[str, list[Stored]] = defaultdict(list)
    for one in stored:
        by_image[one.image_sha256].append(one)
    rows: list[SubmissionQuality] = []
    for sha256, group in by_image.items():
        elsewhere = [others[0].annotation.scanpath for image, others in by_image.items() if image != sha256][:16]
        rows += assess_image(group, (gold or {}).get(sha256), elsewhere=elsewhere, limits=limits, seed=seed)
    return flag_identical(rows)


