"""One JSON line per thing that a store holds: the form in which everything leaves it and comes back, from anybody.

The parts of a line are the fields of the values in `annotate.store.model`, under the names of `LINE_NAMES`. Where one
is read, unknown or missing parts, wrong types, and a record that its digest or its receipt does not fit are errors of
one sentence.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from annotate.store.model import LONGEST_NAME, Stored, StoredImage, StoreError, Value, VerdictUpdate, checked_text
from annotate.store.submissions import checked_record
from annotate.store.tables import adapter_of
from annotate.votes import form_findings
from gazevlm_core.annotation import canonical_json, record_digest

MOST_LINE_BYTES = 64 * 2**20
NOT_IN_LINES = "synced"  # is true of one repository alone
PLAIN_PARTS = ("question", "findings", "report", "confidence", "started_at", "submitted_at")  # of a record
Kind = TypeVar("Kind", bound=Value | VerdictUpdate)


class LineError(ValueError):
    """A line that cannot be read; the text says what is wrong with it, in one sentence."""


@dataclass(frozen=True)
class Item:
    """Something read from a file.

    Args:
        where: file and line, for messages.
        kind: what should be there.
        value: what it says; None where it cannot be read.
        error: why not; "" where it can.
        png: an image's file, or its path, unread.
    """

    where: str
    kind: type
    value: Value | VerdictUpdate | None
    error: str = ""
    png: bytes | Path = b""


# ---- writing ---------------------------------------------------------------------------------------------------------
def line_of(value: Value | VerdictUpdate) -> dict[str, Any]:
    """Return a value as JSON values; `image_id`, the digest of its pixels, is an image's name in every file."""
    values: dict[str, Any] = adapter_of(type(value)).dump_python(value, mode="json", by_alias=True)
    if isinstance(value, Stored):
        del values[NOT_IN_LINES]
        values["image_id"] = value.image_sha256
    return values


def json_line(values: dict[str, Any]) -> str:
    """Return one line, with its end."""
    return canonical_json(values) + "\n"


def flat_values(image: StoredImage, stored: Stored) -> dict[str, Any]:
    """Return a submission with nothing nested but lists: what the tables of all formats choose their columns from."""
    line, annotation = line_of(stored), stored.annotation
    record, on_form = line.pop("record"), form_findings(annotation)
    fixations = record["scanpath"]["fixations"]
    return {
        **line,
        "image_name": image.name,
        "patient_id": image.patient_id,
        "file_name": f"images/{image.sha256}.png",
        "width_px": image.width_px,
        "height_px": image.height_px,
        "submission_id": stored.submission_id,
        "reader": annotation.annotator,
        "mode": annotation.client.mode,
        "source": annotation.scanpath.source,
        **{name: record[name] for name in PLAIN_PARTS},
        "findings_asked": None if on_form is None else list(on_form),
        **{name: [one[name] for one in fixations] for name in ("x", "y", "onset_ms", "duration_ms")},
        "fixations": fixations,
        "record": canonical_json(record),
    }


# ---- reading ---------------------------------------------------------------------------------------------------------
def parse_json(line: bytes | str) -> dict[str, Any]:
    """Return the JSON object of one line.

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


def read_line(kind: type[Kind], values: dict[str, Any]) -> Kind:
    """Return the value of a line, with the digest and the receipt of a submission checked.

    Lines of earlier programs lack `image_id` in a submission, and of an image `gold_from`, priority, patient and
    metadata; they name an image `sha256`, that of a skip `image_sha256`.

    Raises:
        LineError: see above.
    """
    if NOT_IN_LINES in values:
        raise LineError(f"{NOT_IN_LINES}: unexpected")
    image_id = values.get("image_id")
    if kind is Stored:
        values = {name: value for name, value in values.items() if name != "image_id"}
    try:
        found: Kind = adapter_of(kind).validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))[:80]
        raise LineError(f"{place}: {first['msg']}" if place else str(first["msg"])) from None
    except (RecursionError, ValueError):
        raise LineError("it is nested too deep, or holds text that is none") from None
    if isinstance(found, Stored):
        _check_record(found, values["record"], image_id)
    return found


def _check_record(stored: Stored, record: dict[str, Any], image_id: object) -> None:
    if record_digest(record) != stored.digest:
        raise LineError(f"the record of receipt {stored.receipt_id[:20]!r} was changed: its digest is another one")
    if image_id not in (None, stored.image_sha256):
        raise LineError("image_id is not the image_sha256 of its record")
    try:
        checked_record(stored)
        checked_text("The annotator", stored.annotation.annotator, LONGEST_NAME)
    except StoreError as error:
        raise LineError(str(error)) from None


def read_item(kind: type[Kind], where: str, line: bytes | str | dict[str, Any], png: bytes | Path = b"") -> Item:
    """Return the value of a line, or what is wrong with it."""
    try:
        return Item(where, kind, read_line(kind, line if isinstance(line, dict) else parse_json(line)), png=png)
    except LineError as error:
        return Item(where, kind, None, str(error))


def read_lines(path: Path, kind: type[Kind]) -> Iterator[Item]:
    """Read every line of a file that is not blank; nothing where there is no file, which an export's counts show."""
    if not path.exists():
        return
    with path.open("rb") as stream:
        number = 0
        while line := stream.readline(MOST_LINE_BYTES):
            number += 1
            where = f"{path.name}, line {number}"
            if len(line) == MOST_LINE_BYTES:
                yield Item(where, kind, None, f"it is longer than {MOST_LINE_BYTES >> 20} MiB")
                return
            if line.strip():
                yield read_item(kind, where, line)
