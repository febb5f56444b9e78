"""The quality of a whole store, image by image: for `gazevlm annotations stats` and the dashboard."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from annotate.quality.agreement import ImageAgreement, agreement
from annotate.quality.annotators import AnnotatorQuality, compare_annotators
from annotate.quality.assess import SubmissionQuality, assess_image, flag_identical
from annotate.quality.checks import USUAL_LIMITS, Limits
from annotate.quality.scores import AGREEMENT_SCORES, FLOORS, Level
from annotate.store.model import Stored, StoredImage
from gazevlm_core.scanpath import Scanpath

ELSEWHERE = 16  # paths of the images before, for the floor of another image's path


@dataclass(frozen=True)
class Survey:
    """What is known about a store.

    Args:
        images: agreement per image that has a submission.
        annotators: compared.
        submissions: a row each.
    """

    images: list[ImageAgreement]
    annotators: list[AnnotatorQuality]
    submissions: list[SubmissionQuality]

    @property
    def levels(self) -> dict[str, Level]:
        """Mean over the images with at least two annotators, each image counting once: score -> level."""
        known = [image for image in self.images if image.pairs]
        return {name: _mean_level([image.levels[name] for image in known]) for name in AGREEMENT_SCORES}

    def as_json(self) -> dict[str, Any]:
        """As JSON values, without the submissions' rows."""
        return {
            "images": len(self.images),
            "images_with_two_annotators": sum(image.pairs > 0 for image in self.images),
            "agreement": {name: asdict(level) for name, level in self.levels.items()},
            "annotators": [asdict(one) for one in self.annotators],
        }


def survey(
    images: Iterable[tuple[StoredImage, Sequence[Stored]]], *, limits: Limits = USUAL_LIMITS, seed: int = 0
) -> Survey:
    """Assess a store; one image is in memory at a time, and a short row per submission.

    Args:
        images: with their submissions, without removed ones.
        limits: of the checks.
        seed: of the random floors.
    """
    agreements: list[ImageAgreement] = []
    rows: list[SubmissionQuality] = []
    elsewhere: deque[Scanpath] = deque(maxlen=ELSEWHERE)
    for image, stored in images:
        if not stored:
            continue
        agreements.append(agreement(stored, elsewhere=elsewhere, seed=seed))
        rows += assess_image(
            stored, image.gold, gold_from=image.gold_from, elsewhere=elsewhere, limits=limits, seed=seed
        )
        elsewhere.append(stored[0].annotation.scanpath)
    rows = flag_identical(rows)
    return Survey(agreements, compare_annotators(rows), rows)


def _mean_level(levels: Sequence[Level]) -> Level:
    def mean(values: Iterable[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return fmean(known) if known else None

    floors = {floor: mean(level.floors[floor] for level in levels) for floor in FLOORS}
    return Level(mean(level.value for level in levels), floors, levels[0].order if levels else "")
