"""Checks of submissions one by one, and for copies: what a reviewer should look at. A flag is no verdict."""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from annotate.store.model import Stored
from gazevlm_core.annotation import Annotation

FEW, FAST, OUTSIDE, DOUBLED, IDENTICAL = (
    "few fixations", "too fast", "off the image", "doubled clicks", "identical to another",
)  # fmt: skip
FLAGS = (FEW, FAST, OUTSIDE, DOUBLED, IDENTICAL)
DIGITS = 4  # of a fraction: positions that agree so far are the same click, 0.1 px on an image of 1,000


@dataclass(frozen=True)
class Limits:
    """From where on a submission is flagged. Our own choices.

    Args:
        least_fixations: fewer are few.
        least_s: from the image's being shown to the submission, by the server's clock.
        most_outside: share of the clicks, or of the moving window's samples, beside the image.
        doubled_distance: of a click from the one before, as a share of the image's diagonal, below which it is doubled.
        most_doubled: share of the clicks.
    """

    least_fixations: int = 3
    least_s: float = 3.0
    most_outside: float = 0.25
    doubled_distance: float = 0.003
    most_doubled: float = 0.2


USUAL_LIMITS = Limits()


@dataclass(frozen=True)
class Flag:
    """What is odd about a submission.

    Args:
        name: one of FLAGS.
        detail: the figure, in words.
    """

    name: str
    detail: str


def seconds_taken(annotation: Annotation) -> float:
    """From the image's being shown to the submission, by the server's clock, in seconds."""
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
    """What is odd about one submission, seen alone."""
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
    """Equal for paths with the same positions in the same order, on whatever image: a short stand-in for them."""
    return hash(tuple((round(fixation.x, DIGITS), round(fixation.y, DIGITS)) for fixation in annotation.scanpath))


def identical(stored: Iterable[Stored]) -> list[tuple[str, ...]]:
    """Submissions with the same positions in the same order, on one image or on several: groups of submission ids.

    A path of one fixation says too little and is left out.
    """
    groups: dict[int, list[str]] = defaultdict(list)
    for one in sorted(stored, key=lambda one: one.number):
        if len(one.annotation.scanpath) > 1:
            groups[path_key(one.annotation)].append(one.annotation.submission_id)
    return [tuple(ids) for ids in groups.values() if len(ids) > 1]
