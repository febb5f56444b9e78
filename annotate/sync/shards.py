"""Files of the repository: immutable and uniquely named, so that nobody's file is ever written over.

    data/<time>-<uuid>.jsonl     submissions, each in one shard alone, as in an export's records.jsonl
    events/<time>-<uuid>.jsonl   what happened since: {"verdict": ...}, {"image": ...}, {"skip": ...}, {"audit": ...}
    images/<sha256>.png          images, named by their pixels
"""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from annotate.export.lines import json_line
from annotate.export.parse import (
    LineError,
    VerdictLine,
    parse_json,
    read_audit,
    read_image,
    read_record,
    read_skip,
    read_verdict,
)
from annotate.store.types import AuditEntry, Skip, Stored, StoredImage, StoreError

DATA, EVENTS, IMAGES, CARD = "data/", "events/", "images/", "README.md"
Value = Stored | VerdictLine | StoredImage | Skip | AuditEntry
READERS: dict[str, Callable[[dict[str, Any]], Value]] = {
    "verdict": read_verdict, "image": read_image, "skip": read_skip, "audit": read_audit,
}  # fmt: skip
CARD_TEXT = """---
configs:
- config_name: default
  data_files: data/*.jsonl
tags:
- scanpath
- annotations
- gazevlm
---
# Annotations of a GazeVLM store

Written by the store itself, shard by shard: `data/` holds each submission once, as it was handed in; `events/` what
reviewers did since; `images/` the images, named by the digest of their pixels. Nothing is ever changed or deleted here,
so what was rejected or taken out later is still in `data/`: apply `events/`, or use an export of the store.
"""


@dataclass(frozen=True)
class Shard:
    """A file to be added.

    Args:
        name: in the repository.
        content: its bytes.
    """

    name: str
    content: bytes


def new_name(folder: str, latest: str = "") -> str:
    """A name that nothing else has, and that sorts behind all earlier ones even where the clock went back.

    Args:
        folder: "data/" or "events/".
        latest: time stamp of the latest name known.
    """
    stamp = max(datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ"), latest)
    return f"{folder}{stamp}-{uuid.uuid4().hex}.jsonl"


def stamp_of(name: str) -> str:
    """The time stamp of a shard's name; "" where it has none."""
    stamp, dash, _ = name.rpartition("/")[2].partition("-")
    return stamp if dash and stamp.endswith("Z") and stamp[:8].isdigit() else ""


def shard_of(name: str, lines: Iterable[Mapping[str, Any]]) -> Shard:
    """A shard of these lines."""
    return Shard(name, "".join(json_line(dict(line)) for line in lines).encode())


def read_shard(name: str, path: Path) -> Iterator[Value]:
    """What a shard holds: `Stored`, `VerdictLine`, `StoredImage`, `Skip` or `AuditEntry`, checked strictly.

    Raises:
        StoreError: a bad line; one sentence with its number.
    """
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                values = parse_json(line)
                if name.startswith(DATA):
                    yield read_record(values)
                else:
                    yield _read_event(values)
            except LineError as error:
                raise StoreError(f"{name}, line {number}: {error}; ask who else writes to this repository.") from None


def _read_event(values: dict[str, Any]) -> Value:
    if len(values) != 1 or next(iter(values)) not in READERS:
        raise LineError(f"an event is one of {', '.join(READERS)}")
    kind, inner = next(iter(values.items()))
    if not isinstance(inner, dict):
        raise LineError(f"{kind}: it is no JSON object")
    return READERS[kind](inner)
