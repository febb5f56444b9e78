"""The values that the store keeps and returns: frozen, free of the database.

`StoredImage`, `Stored`, `Skip`, `AuditEntry` and `Person` leave the store and come back. Each is declared here alone:
of its fields `tables.columns_of` makes the columns of its table, `annotate.export.lines` its JSON line (of an export or
a shard) and `annotate.export.formats.parquet` its columns. So a new column is a field with a default, and a migration.

The table follows the dataclass and not the other way round: a mapped class belongs to a session, can be changed by
whoever is given one, and takes several times as long to write. pydantic reads a plain dataclass as it is, SQLAlchemy's
columns are made from one in a dozen lines, and who reads these values needs to know of neither.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator

from gazevlm_core.annotation import Annotation, from_values, to_values
from gazevlm_core.scanpath import EXACT, Scanpath

Verdict = Literal["pending", "accepted", "rejected"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
Kind = Literal["usual", "gold", "repeat", "own"]  # "own": not assigned, the annotator opened the image themselves
KINDS: tuple[Kind, ...] = get_args(Kind)
ImportKind = Literal["folder", "zip", "hub"]
IMPORT_KINDS: tuple[ImportKind, ...] = get_args(ImportKind)
ImportState = Literal["queued", "running", "done", "failed", "cancelled"]
LARGEST_NUMBER, LONGEST_TEXT, LONGEST_NAME = 2**31 - 1, 10_000, 200
PRIORITIES = {1: "first", 0: "usual", -1: "last"}  # of tasks
MOST_METADATA, LONGEST_KEY, LONGEST_VALUE, LONGEST_PATIENT = 40, 60, 500, 100
MAIN_PROJECT, SLUG = "main", "[a-z0-9][a-z0-9-]{0,39}"  # short name of the first project, and of any
VIEW, SPLIT, FOUND_AT = "view", "split", "imported path"  # parts of the metadata that the program itself knows


class StoreError(ValueError):
    """The store cannot do it. The text is one sentence for the user: what is wrong, and what to do."""


class StoreTrouble(StoreError):
    """The database cannot do it now, and may have done it after all: the same is to be sent again."""


def checked_text(what: str, value: str, longest: int, *, empty: bool = False) -> str:
    """Return the text without blanks around it.

    Raises:
        StoreError: empty where it must not be, too long, or with characters that are no text.
    """
    value = value.strip()
    if not value and not empty:
        raise StoreError(f"{what} is empty; write something.")
    if len(value) > longest:
        raise StoreError(f"{what} is longer than {longest} characters; make it shorter.")
    if any(unicodedata.category(sign) == "Cs" or sign == "\0" for sign in value):
        raise StoreError(f"{what} holds characters that are no text; write it again.")
    return value


# ---- types of fields: checked where a line is read, which may come from anybody --------------------------------------
class ColumnOptions(dict[str, Any]):
    """Options of a field's column, as `sqlalchemy.Column` takes them."""


NO_COLUMN = ColumnOptions()  # the field is found by way of another table


def _text(value: str) -> str:
    if len(value) > LONGEST_TEXT or "\0" in value:
        raise ValueError(f"longer than {LONGEST_TEXT} characters, or some of them are no text")
    return value


def _name(value: str | None) -> str | None:
    if value is not None:
        checked_text("The name", value, LONGEST_NAME)
    return value


def checked_metadata(values: dict[str, str]) -> dict[str, str]:
    """Return what is known of an image beside its pixels.

    Raises:
        StoreError: too much of it, a name that is none, or characters that are no text.
    """
    if len(values) > MOST_METADATA:
        raise StoreError(f"An image has at most {MOST_METADATA} metadata, not {len(values)}; leave some out.")
    for name, value in values.items():
        checked_text("The name of a metadatum", name, LONGEST_KEY)
        checked_text(f"The metadatum {name[:LONGEST_KEY]}", value, LONGEST_VALUE, empty=True)
    return values


def is_slug(text: str) -> bool:
    """Return whether a text is the short name of a project: small letters, digits and hyphens."""
    return re.fullmatch(SLUG, text) is not None


def _in_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("a moment needs a time zone")
    return moment.astimezone(UTC)


Number = Annotated[int, Field(ge=1, le=LARGEST_NUMBER)]
Words = Annotated[str, AfterValidator(_text)]
Patient = Annotated[str, AfterValidator(lambda text: checked_text("The patient", text, LONGEST_PATIENT, empty=True))]
Slug = Annotated[str, Field(pattern=f"^{SLUG}$"), ColumnOptions(server_default=MAIN_PROJECT)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Moment = Annotated[datetime, AfterValidator(_in_utc)]
Record = Annotated[Annotation, PlainSerializer(to_values), PlainValidator(from_values)]
KEY = ColumnOptions(primary_key=True, autoincrement=False)

LINE_NAMES = {"sha256": "image_id", "image_sha256": "image_id", "receipt_id": "receipt", "annotation": "record"}
LINE = {**EXACT, "alias_generator": lambda name: LINE_NAMES.get(name, name), "validate_by_name": True}


# ---- what leaves the store -------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Person:
    """An annotator; for admins only.

    Args:
        name: as they signed in; None where only an import knows them.
        pseudonym: what everybody else sees.
        experience: one of `people.EXPERIENCES`; "" where nobody asked.
        agreed: the terms that they agreed to, see `Project.terms`, a line each; "" for none.
        blocked: whether nothing is taken from them any more.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = LINE

    name: Annotated[str | None, AfterValidator(_name), ColumnOptions(unique=True)]
    pseudonym: Annotated[str, AfterValidator(_name), ColumnOptions(unique=True)]
    experience: Words = ""
    agreed: Words = ""
    blocked: bool = False


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
        priority: one of PRIORITIES; among the images that want annotators, those of a higher one come first.
        patient_id: "" where it is not known; images of one patient never lie on both sides of a split.
        metadata: what else is known of it, by name, for admins alone; see VIEW, SPLIT and FOUND_AT.
        project: short name of the project that it belongs to.

    Raises:
        ValueError: `gold_from` in another order, or without a gold path.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = LINE

    sha256: Annotated[Digest, ColumnOptions(unique=True)]
    name: Words
    width_px: Number
    height_px: Number
    question: Words
    open: bool
    gold: Scanpath | None
    source: Words
    quota: Number
    gold_from: Annotated[tuple[Words, ...], ColumnOptions(server_default="[]")] = ()
    priority: Annotated[int, Field(ge=min(PRIORITIES), le=max(PRIORITIES))] = 0
    patient_id: Patient = ""
    metadata: Annotated[dict[str, str], AfterValidator(checked_metadata)] = field(default_factory=dict)
    project: Slug = MAIN_PROJECT

    def __post_init__(self) -> None:
        if (self.gold is None and self.gold_from) or list(self.gold_from) != sorted(set(self.gold_from)):
            raise ValueError("gold_from must be pseudonyms in order, none twice, and none without gold")


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
        number: position in the store, increasing, never used again.
        receipt_id, digest: as in its `Receipt`.
        kind: how the annotator came to the image.
        verdict: of the reviewer.
        reason: for the verdict, or that its annotator withdrew it; why else it was removed is in the audit log.
        removed: whether it was taken out; it is kept all the same.
        revision: how often verdict, reason or removal changed.
        annotation: the public record; its annotator is a pseudonym.
        synced: whether it is published as it is now; not in a line.
        project: short name of the project in which it was made, wherever its image is now.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = LINE

    number: Annotated[Number, KEY]
    receipt_id: str
    digest: str
    kind: Kind
    verdict: Verdict
    reason: Words
    removed: bool
    revision: Annotated[int, Field(ge=0, le=LARGEST_NUMBER - 1), ColumnOptions(server_default="0")]
    annotation: Annotated[Record, ColumnOptions(name="record")]
    synced: bool = False
    project: Slug = MAIN_PROJECT

    @property
    def submission_id(self) -> str:
        """Of the client."""
        return self.annotation.submission_id

    @property
    def image_sha256(self) -> str:
        """Of the image."""
        return self.annotation.image_sha256

    @property
    def receipt(self) -> Receipt:
        """As it was given."""
        return Receipt(self.receipt_id, self.digest, self.submission_id, self.number)

    def verdict_update(self) -> "VerdictUpdate":
        """Return what happened to it, for whoever has the record."""
        return VerdictUpdate(self.number, self.submission_id, self.verdict, self.reason, self.removed, self.revision)


def gold_is_of(gold: Scanpath | None, gold_from: Collection[str], annotation: Annotation) -> bool:
    """Return whether a gold path is that of a submission: the same, and made by one whom the image names; by anybody
    where it has times, which no two paths have alike."""
    if gold is None or annotation.scanpath != gold:
        return False
    return annotation.annotator in gold_from or any(fixation.onset_ms is not None for fixation in gold)


def gold_makers(gold: Scanpath | None, gold_from: Collection[str], stored: Iterable[Stored]) -> set[str]:
    """Return pseudonyms of those whose submissions a gold path was taken or chosen from: whom the image names, and
    whose it must be."""
    own = (one.annotation for one in stored if gold_is_of(gold, gold_from, one.annotation))
    return {*gold_from, *(one.annotator for one in own)}


@dataclass(frozen=True, slots=True)
class VerdictUpdate:
    """What happened to a submission that was published before; the fields are those of `Stored`."""

    __pydantic_config__: ClassVar[dict[str, Any]] = LINE

    number: Number
    submission_id: str
    verdict: Verdict
    reason: Words
    removed: bool
    revision: Annotated[int, Field(ge=0, le=LARGEST_NUMBER - 1)]


@dataclass(frozen=True, slots=True)
class Skip:
    """A task that an annotator did not want; `annotator` is a pseudonym."""

    __pydantic_config__: ClassVar[dict[str, Any]] = LINE

    number: Annotated[Number, KEY]
    image_sha256: Annotated[Words, NO_COLUMN]
    annotator: Annotated[Words, NO_COLUMN]
    reason: Words
    at: Moment


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What somebody did; `who` is a pseudonym, `subject` a submission, an image or an import."""

    __pydantic_config__: ClassVar[dict[str, Any]] = LINE

    number: Annotated[Number, KEY]
    at: Moment
    who: Words
    action: Words
    subject: Words
    details: dict[str, Any]


Value = StoredImage | Stored | Skip | AuditEntry | Person


# ---- what the store is asked and says --------------------------------------------------------------------------------
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
class Task:
    """An image for one annotator. Whether it is gold or a repeat is hidden: `image.gold` is None here.

    Args:
        lease_id: to be given back with the submission.
        image: what to look at.
        expires_at: until when it is kept; a submission after that is still taken.
    """

    lease_id: str
    image: StoredImage
    expires_at: datetime


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
        state: "queued", "running", "done", "failed" or "cancelled".
        added: images that are new.
        known: images that were there.
        refused: files that are no usable image.
        reasons: why files were refused -> how many.
        error: why the import failed; "" where it did not.
        at: when it was asked for.
        project: short name of the project that the images come into.
        total: files that the source has; None where that is not known.
        refused_files: (file, why) of the first refused ones, in the order of their names.
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
    project: str = MAIN_PROJECT
    total: int | None = None
    refused_files: tuple[tuple[str, str], ...] = ()

    @property
    def looked_at(self) -> int:
        """Files that are dealt with."""
        return self.added + self.known + self.refused
