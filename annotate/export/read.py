"""Read an export folder, which may come from anybody: every line is checked, and every bad one told with its number."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from annotate.export.folder import AUDIT, FIRST_VERSION, FORMAT, MANIFEST, PEOPLE, SKIPS, VERSION
from annotate.export.parquet import DATA
from annotate.export.parse import (
    MOST_LINE_BYTES,
    LineError,
    parse_json,
    read_audit,
    read_image,
    read_person,
    read_record,
    read_skip,
)
from annotate.export.sinks import IMAGE_LINES, IMAGES, RECORDS
from annotate.store.types import AuditEntry, Person, Skip, Stored, StoredImage, StoreError

Source = Literal["jsonl", "parquet"]
Values = dict[str, Any]
Value = StoredImage | Stored | Skip | AuditEntry | Person
Read = Callable[[Values], Value]
PARQUET_ROWS = 8
IMAGE_COLUMNS = ("name", "width_px", "height_px", "question", "open", "source", "quota")
LATER_COLUMNS = ("image_id", "sha256", "gold_from")  # the first and the third; earlier programs wrote the second
RECORD_COLUMNS = ("number", "receipt", "digest", "kind", "verdict", "reason", "removed", "revision")


@dataclass(frozen=True)
class Item:
    """One line of an export.

    Args:
        where: file and line, for messages.
        value: what it says; None where it cannot be read.
        error: why not; "" where it can.
        png: an image's file, or its path, unread.
    """

    where: str
    value: Value | None
    error: str = ""
    png: bytes | Path = b""


def read_manifest(folder: Path) -> Values:
    """The export.json of a folder.

    Raises:
        StoreError: no export, or one of another program.
    """
    path = folder / MANIFEST
    try:
        values = json.loads(path.read_bytes())
        known = values["format"] == FORMAT and values["version"] in (FIRST_VERSION, VERSION)
        kinds = {"files": dict, "counts": dict, "formats": list, "which": str}
        whole = all(isinstance(values[name], kind) for name, kind in kinds.items())
    except OSError as error:
        raise StoreError(f"Cannot read {path} ({error.strerror}); give a folder that `export` wrote.") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        known = whole = False
    if not known or not whole:
        versions = f"version {FIRST_VERSION} to {VERSION}"
        raise StoreError(f"{path} is not of {FORMAT}, {versions}; give a folder that `export` wrote.")
    return dict(values)


def source_of(manifest: Values) -> Source:
    """From which files to read.

    Raises:
        StoreError: neither JSON lines nor parquet.
    """
    sources: tuple[Source, ...] = get_args(Source)
    for source in sources:
        if source in manifest["formats"]:
            return source
    raise StoreError("This export holds neither JSON lines nor parquet; export again with one of them.")


def read_export(folder: Path, source: Source) -> Iterator[Item]:
    """Everything in an export, in an order in which nothing is named before it is known.

    Args:
        folder: of the export.
        source: which files hold images and submissions.
    """
    yield from _lines(folder / PEOPLE, read_person)
    if source == "jsonl":
        for item in _lines(folder / IMAGE_LINES, read_image):
            sha256 = item.value.sha256 if isinstance(item.value, StoredImage) else ""
            yield Item(item.where, item.value, item.error, folder / IMAGES / f"{sha256}.png")
        yield from _lines(folder / RECORDS, read_record)
    else:
        yield from _parquet_items(folder / DATA)
    yield from _lines(folder / SKIPS, read_skip)
    yield from _lines(folder / AUDIT, read_audit)


def records_of(folder: Path, source: Source) -> Iterator[Item]:
    """The submissions alone."""
    if source == "jsonl":
        return _lines(folder / RECORDS, read_record)
    return (item for item in _parquet_items(folder / DATA) if not isinstance(item.value, StoredImage))


def _lines(path: Path, read: Read) -> Iterator[Item]:
    if not path.exists():
        return  # an export of accepted submissions has no skips; a file that is missing is told by the counts
    with path.open("rb") as stream:
        number = 0
        while line := stream.readline(MOST_LINE_BYTES):
            number += 1
            if len(line) == MOST_LINE_BYTES:
                yield Item(f"{path.name}, line {number}", None, f"it is longer than {MOST_LINE_BYTES >> 20} MiB")
                return
            if line.strip():
                yield _item(f"{path.name}, line {number}", line, read)


def _item(where: str, line: bytes | str | Values, read: Read, png: bytes = b"") -> Item:
    try:
        return Item(where, read(line if isinstance(line, dict) else parse_json(line)), png=png)
    except LineError as error:
        return Item(where, None, str(error))


def _parquet_items(folder: Path) -> Iterator[Item]:
    """Images and submissions of all parquet files, by row."""
    from pyarrow import ArrowException, parquet

    for path in sorted(folder.glob("*.parquet")):
        where, row_number = f"{DATA}/{path.name}", 0
        try:
            with parquet.ParquetFile(path) as table:
                for batch in table.iter_batches(PARQUET_ROWS):
                    for row in batch.to_pylist():
                        row_number += 1
                        yield from _row_items(f"{where}, row {row_number}", row)
        except (ArrowException, OSError) as error:
            yield Item(f"{where}, row {row_number + 1}", None, f"it cannot be read: {str(error).splitlines()[0][:120]}")


def _row_items(where: str, row: Values) -> Iterator[Item]:
    try:
        png = row["image"]["bytes"]
        gold = None if row["gold"] is None else parse_json(row["gold"])
        values = {**{name: row[name] for name in IMAGE_COLUMNS}, "gold": gold}
        values |= {name: row[name] for name in LATER_COLUMNS if name in row}
        annotations = list(row["annotations"])
    except (KeyError, TypeError) as error:
        lacks = f"it lacks {error}" if isinstance(error, KeyError) else "it is no image with submissions"
        yield Item(where, None, lacks)
        return
    except LineError as error:
        yield Item(where, None, f"gold: {error}")
        return
    yield _item(where, values, read_image, png if isinstance(png, bytes) else b"")
    for index, annotation in enumerate(annotations, start=1):
        inner = f"{where}, submission {index}"
        try:
            line = {name: annotation[name] for name in RECORD_COLUMNS}
            line["record"] = parse_json(annotation["record"])
        except (KeyError, TypeError):
            yield Item(inner, None, "it is no submission")
        except LineError as error:
            yield Item(inner, None, f"record: {error}")
        else:
            yield _item(inner, line, read_record)
