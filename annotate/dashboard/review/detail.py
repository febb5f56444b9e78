"""One submission among the others of its image: paths, agreement beside floors, flags, what was done with it."""

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from annotate.dashboard.quality.part import Quality
from annotate.export.folder import submissions_of
from annotate.quality.agreement import ImageAgreement, agreement
from annotate.quality.assess import SubmissionQuality, assess_image, flag_identical
from annotate.quality.checks import IDENTICAL
from annotate.quality.consensus import Consensus, consensus, heat_map
from annotate.store.lookup import latest_audit
from annotate.store.store import AnnotationStore
from annotate.store.types import AuditEntry, Stored, StoredImage, StoreError
from gazevlm_core.scanpath import Scanpath

MOST_SCORED = 60  # submissions of one image: all their pairs are scored while somebody waits
ELSEWHERE, LOOKED_THROUGH = 16, 64
MOST_HISTORY = 20


@dataclass(frozen=True, eq=False)
class Detail:
    """A submission on its image.

    Args:
        image: of the submission.
        pixels: of the image.
        chosen: the submission.
        stored: all submissions on the image that are shown, by number, removed ones too.
        quality: submission id -> what is known of it; removed ones are not scored.
        agreement: of the image; None where all are removed.
        consensus: None where all are rejected or removed.
        heat: share of the fixations around each place, float64 [rows, cols].
        total: how many submissions the image has.
        history: what was done with the chosen one, the latest first.
    """

    image: StoredImage
    pixels: Image.Image
    chosen: Stored
    stored: list[Stored]
    quality: dict[str, SubmissionQuality]
    agreement: ImageAgreement | None
    consensus: Consensus | None
    heat: np.ndarray
    total: int
    history: list[AuditEntry]


def detail_of(store: AnnotationStore, submission_id: str, quality: Quality | None) -> Detail:
    """Everything about a submission; of an image with more than MOST_SCORED ones, the latest of the others.

    Args:
        store: that holds it.
        submission_id: of it.
        quality: latest survey, which knows of identical paths on other images; None where there is none.

    Raises:
        StoreError: there is no such submission.
    """
    chosen = store.find(submission_id)
    if chosen is None:
        raise StoreError("The store has no such submission; choose another one.")
    image = store.image(chosen.image_sha256)
    every = submissions_of(store, image.sha256, include_removed=True)
    others = [one for one in every if one.number != chosen.number]
    shown = sorted([chosen, *others[-(MOST_SCORED - 1) :]], key=lambda one: one.number)
    kept = [one for one in shown if not one.removed]
    elsewhere = _elsewhere(store, image.sha256)
    rows = flag_identical(assess_image(kept, image.gold, gold_from=image.gold_from, elsewhere=elsewhere))
    return Detail(
        image=image,
        pixels=store.pixels(image.sha256),
        chosen=chosen,
        stored=shown,
        quality={row.submission_id: _with_copies(row, quality) for row in rows},
        agreement=agreement(kept, elsewhere=elsewhere) if kept else None,
        consensus=consensus(kept),
        heat=heat_map(kept),
        total=len(every),
        history=latest_audit(store, MOST_HISTORY, subject=submission_id),
    )


def _elsewhere(store: AnnotationStore, sha256: str) -> list[Scanpath]:
    """One path on each of some other images, for a floor."""
    found = {one.image_sha256: one.annotation.scanpath for one in store.stored(limit=LOOKED_THROUGH)}
    return [path for image, path in found.items() if image != sha256][:ELSEWHERE]


def _with_copies(row: SubmissionQuality, quality: Quality | None) -> SubmissionQuality:
    """With the flag on a path that was handed in on another image too, as the latest survey knows it."""
    if quality is None or any(flag.name == IDENTICAL for flag in row.flags):
        return row
    known = next((one for one in quality.survey.submissions if one.submission_id == row.submission_id), None)
    copies = () if known is None else tuple(flag for flag in known.flags if flag.name == IDENTICAL)
    return replace(row, flags=row.flags + copies)
