"""What `lines` wrote, read back. It may come from anybody.

Unknown or missing parts, wrong types, a record that its digest or its receipt does not fit are errors of one sentence.
"""

import json
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from annotate.store.people import LONGEST_NAME
from annotate.store.submissions import check_stored
from annotate.store.types import AuditEntry, Kind, Person, Receipt, Skip, Stored, StoredImage, StoreError, Verdict
from annotate.store.values import checked_text
from gazevlm_core.annotation import HEX_DIGITS, from_values, record_digest
from gazevlm_core.scanpath import EXACT, Scanpath

if TYPE_CHECKING:
    from pydantic import TypeAdapter

MOST_LINE_BYTES = 64 * 2**20
LARGEST_NUMBER, LONGEST_TEXT = 2**31 - 1, 10_000
T = TypeVar("T")


class LineError(ValueError):
    """A line that cannot be read; the text says what is wrong with it, in one sentence."""


@dataclass(frozen=True)
class RecordLine:
    """A submission: its public record, whose digest the receipt names, and what happened to it since.

    Args:
        number: position in the store.
        receipt: receipt id.
        image_id: digest of the image's pixels, as in the record; None in lines of earlier programs.
        digest: SHA-256 of the record's canonical JSON.
        kind, verdict, reason, removed, revision: as in `Stored`.
        record: the annotation as `gazevlm_core.annotation.to_values` gives it.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = EXACT

    number: int
    receipt: str
    digest: str
    kind: Kind
    verdict: Verdict
    reason: str
    removed: bool
    revision: int
    record: dict[str, Any]
    image_id: str | None = None


@dataclass(frozen=True)
class VerdictLine:
    """What happened to a submission that was published before."""

    __pydantic_config__: ClassVar[dict[str, Any]] = EXACT

    number: int
    submission_id: str
    verdict: Verdict
    reason: str
    removed: bool
    revision: int


@dataclass(frozen=True)
class ImageLine:
    """An image without its pixels, as in `StoredImage`; its digest is `image_id`."""

    __pydantic_config__: ClassVar[dict[str, Any]] = EXACT

    image_id: str
    name: str
    width_px: int
    height_px: int
    question: str
    open: bool
    gold: Scanpath | None
    source: str
    quota: int
    gold_from: tuple[str, ...] = ()  # lines of earlier programs have none


@dataclass(frozen=True)
class SkipLine:
    """A task that was not wanted, as in `Skip`."""

    __pydantic_config__: ClassVar[dict[str, Any]] = EXACT

    number: int
    image_id: str
    annotator: str
    reason: str
    at: datetime


@dataclass(frozen=True)
class AuditLine:
    """Who did what, as in `AuditEntry`."""

    __pydantic_config__: ClassVar[dict[str, Any]] = EXACT

    number: int
    at: datetime
    who: str
    action: str
    subject: str
    details: dict[str, Any]


@dataclass(frozen=True)
class PersonLine:
    """An annotator; the name only where it was asked for."""

    __pydantic_config__: ClassVar[dict[str, Any]] = EXACT

    pseudonym: str
    name: str | None


def parse_json(line: bytes | str) -> dict[str, Any]:
    """The JSON object of one line.

    Raises:
        LineError: no such thing.
    """
    try:
        values = json.loads(line, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise LineError("it is no text in UTF-8") from None
    except json.JSONDecodeError as error:
        raise LineError(f"it is no JSON: {error.msg}") from None
    except (RecursionError, ValueError):
        raise LineError("it is nested too deep, or holds a number that is none") from None
    if not isinstance(values, dict):
        raise LineError("it is no JSON object")
    return values


def _no_constant(name: str) -> None:
    raise ValueError(name)


def read_record(values: dict[str, Any]) -> Stored:
    """A submission, with its digest and its receipt checked.

    Raises:
        LineError: see above.
    """
    line = _read(RecordLine, values)
    try:
        annotation = from_values(line.record)
        digest = record_digest(line.record)
    except ValueError as error:
        raise LineError(f"record: {error}") from None
    if digest != line.digest:
        raise LineError(f"the record of receipt {line.receipt[:20]!r} was changed: its digest is another one")
    if line.image_id not in (None, annotation.image_sha256):
        raise LineError("image_id is not the image_sha256 of its record")
    _check_numbers(line.number, line.revision + 1)
    _check_text("reason", line.reason)
    receipt = Receipt(line.receipt, line.digest, annotation.submission_id, line.number)
    stored = Stored(
        line.number, annotation, line.kind, line.verdict, line.reason, receipt, annotation.image_sha256, False,
        line.removed, line.revision,
    )  # fmt: skip
    try:
        check_stored(stored)
        checked_text("The annotator", annotation.annotator, LONGEST_NAME)
    except StoreError as error:
        raise LineError(str(error)) from None
    return stored


def read_verdict(values: dict[str, Any]) -> VerdictLine:
    """What happened to a submission; errors as in `read_record`."""
    line = _read(VerdictLine, values)
    _check_numbers(line.number, line.revision + 1)
    _check_text("reason", line.reason)
    return line


def read_image(values: dict[str, Any]) -> StoredImage:
    """An image; errors as in `read_record`."""
    line = _read(ImageLine, _with_image_id(values, "sha256"))
    if len(line.image_id) != 64 or set(line.image_id) - HEX_DIGITS:
        raise LineError("image_id must be 64 lower-case hex digits")
    if (line.gold is None and line.gold_from) or list(line.gold_from) != sorted(set(line.gold_from)):
        raise LineError("gold_from must be pseudonyms in order, none twice, and none without gold")
    _check_numbers(line.width_px, line.height_px, line.quota)
    for name in ("name", "question", "source"):
        _check_text(name, getattr(line, name))
    for name in line.gold_from:
        _check_text("gold_from", name)
    kept = {field.name: getattr(line, field.name) for field in fields(line) if field.name != "image_id"}
    return StoredImage(line.image_id, **kept)


def read_skip(values: dict[str, Any]) -> Skip:
    """A skip; errors as in `read_record`."""
    line = _read(SkipLine, _with_image_id(values, "image_sha256"))
    _check_numbers(line.number)
    _check_moment(line.at)
    for name in ("image_id", "annotator", "reason"):
        _check_text(name, getattr(line, name))
    return Skip(line.number, line.image_id, line.annotator, line.reason, line.at)


def read_audit(values: dict[str, Any]) -> AuditEntry:
    """An entry of the audit log; errors as in `read_record`."""
    line = _read(AuditLine, values)
    _check_numbers(line.number)
    _check_moment(line.at)
    for name in ("who", "action", "subject"):
        _check_text(name, getattr(line, name))
    return AuditEntry(line.number, line.at, line.who, line.action, line.subject, line.details)


def read_person(values: dict[str, Any]) -> Person:
    """An annotator; errors as in `read_record`."""
    line = _read(PersonLine, values)
    try:
        checked_text("The pseudonym", line.pseudonym, LONGEST_NAME)
        checked_text("The name", line.name or "", LONGEST_NAME, empty=True)
    except StoreError as error:
        raise LineError(str(error)) from None
    return Person(line.name, line.pseudonym)


def _with_image_id(values: dict[str, Any], before: str) -> dict[str, Any]:
    """The values with the image under the name that it has now, not under that of earlier programs."""
    if "image_id" in values or before not in values:
        return values
    return {"image_id": values[before], **{name: value for name, value in values.items() if name != before}}


def _check_moment(moment: datetime) -> None:
    if moment.tzinfo is None:
        raise LineError("at needs a time zone")


def _check_numbers(*numbers: int) -> None:
    if not all(1 <= number <= LARGEST_NUMBER for number in numbers):
        raise LineError(f"a number is not in 1 to {LARGEST_NUMBER}")


def _check_text(name: str, text: str) -> None:
    if len(text) > LONGEST_TEXT or "\0" in text:
        raise LineError(f"{name} is longer than {LONGEST_TEXT} characters, or holds some that are no text")


def _read(kind: type[T], values: dict[str, Any]) -> T:
    from pydantic import ValidationError

    try:
        found: T = _adapters()[kind].validate_json(json.dumps(values), strict=True)
        return found
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))[:80]
        raise LineError(f"{place}: {first['msg']}" if place else str(first["msg"])) from None
    except (RecursionError, ValueError):
        raise LineError("it is nested too deep, or holds text that is none") from None


@cache
def _adapters() -> "dict[type, TypeAdapter[Any]]":
    from pydantic import TypeAdapter  # late: it costs more to import than all of this file

    kinds = (RecordLine, VerdictLine, ImageLine, SkipLine, AuditLine, PersonLine)
    return {kind: TypeAdapter(kind) for kind in kinds}
