"""What the store takes and gives: frozen values, free of the database."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args

from gazevlm_core.annotation import Annotation
from gazevlm_core.scanpath import Scanpath

Verdict = Literal["pending", "accepted", "rejected"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
Kind = Literal["usual", "gold", "repeat", "own"]  # "own": not assigned, the annotator opened the image themselves
KINDS: tuple[Kind, ...] = get_args(Kind)
ImportKind = Literal["folder", "zip", "hub"]
IMPORT_KINDS: tuple[ImportKind, ...] = get_args(ImportKind)
ImportState = Literal["queued", "running", "done", "failed"]


class StoreError(ValueError):
    """The store cannot do it. The text is one sentence for the user: what is wrong, and what to do."""


class StoreTrouble(StoreError):
    """The database cannot do it now, and may have done it after all: the same is to be sent again."""


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """How tasks are given out.

    Args:
        quota: annotators that each image wants, unless the image says otherwise.
        lease_s: how long a task is kept for the annotator who got it.
        gold_share: share of tasks that are gold images, in [0, 1].
        repeat_share: share of tasks that the annotator has done before, in [0, 1].
        seed: of the draws between usual, gold and repeat.
        secret: key of the pseudonyms; "" for the key that the database made for itself. Give one where the database
            may have to be rebuilt from an export, so that everybody keeps their pseudonym.

    Raises:
        ValueError: a number out of range.
    """

    quota: int = 12
    lease_s: float = 1800
    gold_share: float = 0.1
    repeat_share: float = 0.05
    seed: int = 0
    secret: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if self.quota < 1:
            raise ValueError(f"quota must be at least 1, got {self.quota}")
        if not 0 < self.lease_s <= 10**8:
            raise ValueError(f"lease_s must lie in 0 to 10^8, got {self.lease_s}")
        if min(self.gold_share, self.repeat_share) < 0 or self.gold_share + self.repeat_share > 1:
            raise ValueError("gold_share and repeat_share must be shares that sum to 1 at most")


@dataclass(frozen=True, slots=True)
class Person:
    """An annotator; for admins only.

    Args:
        name: as they signed in; None where only an import knows them.
        pseudonym: what everybody else sees.
    """

    name: str | None
    pseudonym: str


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image, without its pixels.

    Args:
        sha256: `pixel_digest` of the upright pixels.
        name: for people; not unique.
        width_px, height_px: of the upright image.
        question: what annotators are asked.
        open: whether it is given out as a task while it wants annotators.
        gold: the known path of a gold image, or None.
        source: where it came from.
        quota: how many annotators it wants.
        gold_from: pseudonyms of those whose submissions the gold path was taken or chosen from, sorted.
    """

    sha256: str
    name: str
    width_px: int
    height_px: int
    question: str
    open: bool
    gold: Scanpath | None
    source: str
    quota: int
    gold_from: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """An image for one annotator. Whether it is gold or a repeat is not told: `image.gold` is None here.

    Args:
        lease_id: to be given back with the submission.
        image: what to look at.
        expires_at: until when it is kept; a submission after that is still taken.
    """

    lease_id: str
    image: StoredImage
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof that a submission is kept.

    Args:
        receipt_id: ten characters of Crockford's base 32, the first 50 bits of the digest.
        digest: `record_digest` of the public record, 64 hex digits.
        submission_id: of the client.
        number: position in the store, increasing, never used again.
    """

    receipt_id: str
    digest: str
    submission_id: str
    number: int


@dataclass(frozen=True, slots=True)
class Stored:
    """A submission as it is kept.

    Args:
        number: position in the store.
        annotation: its annotator is a pseudonym.
        kind: how the annotator came to the image.
        verdict: of the reviewer.
        reason: for the verdict or the removal.
        receipt: as it was given.
        image_sha256: of the image.
        synced: whether it is published as it is now.
        removed: whether it was taken out; it is kept all the same.
        revision: how often verdict, reason or removal changed.
    """

    number: int
    annotation: Annotation
    kind: Kind
    verdict: Verdict
    reason: str
    receipt: Receipt
    image_sha256: str
    synced: bool
    removed: bool = False
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Skip:
    """A task that an annotator did not want; `annotator` is a pseudonym."""

    number: int
    image_sha256: str
    annotator: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Progress:
    """Of one annotator.

    Args:
        done: submissions.
        skipped: tasks skipped.
        open_images: images that still want this annotator, counted up to 1,000.
    """

    done: int
    skipped: int
    open_images: int


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What somebody did; `who` is a pseudonym, `subject` a submission, an image or an import."""

    number: int
    at: datetime
    who: str
    action: str
    subject: str
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Counts:
    """How much there is; `annotations` leaves out what was removed, and is the sum of the three verdicts."""

    images: int
    open_images: int
    gold_images: int
    people: int
    annotations: int
    pending: int
    accepted: int
    rejected: int
    removed: int
    skips: int
    backlog: int


@dataclass(frozen=True, slots=True)
class ImportStatus:
    """A batch import.

    Args:
        number: of the import.
        kind: "folder", "zip" or "hub".
        where: path, or name of the data set.
        by: pseudonym of who asked for it.
        state: "queued", "running", "done" or "failed".
        added: images that are new.
        known: images that were there.
        refused: files that are no usable image.
        reasons: why files were refused -> how many.
        error: why the import failed; "" where it did not.
        at: when it was asked for.
    """

    number: int
    kind: ImportKind
    where: str
    by: str
    state: ImportState
    added: int
    known: int
    refused: int
    reasons: dict[str, int]
    error: str
    at: datetime
