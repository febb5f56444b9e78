"""The data set repository on the Hub, and what this machine knows of it. Files are added and read, never changed or
deleted, and each has a name that nothing else has, so that nobody's file is ever written over; the data card of an
earlier program alone gives way to that of this one, which names all columns: else its lines would not open together.

    data/<time>-<uuid>.jsonl     submissions, each in one shard alone, as in an export's records.jsonl
    events/<time>-<uuid>.jsonl   what happened since: {"verdict": ...}, {"image": ...}, {"skip": ...}, {"audit": ...}
    images/<sha256>.png          images, named by their pixels
"""

import os
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import yaml
from huggingface_hub import CommitOperationAdd, HfApi
from pydantic import BaseModel, PrivateAttr

from annotate.export.lines import NOT_IN_LINES, LineError, json_line, line_of, parse_json, read_line
from annotate.store.model import AuditEntry, Skip, Stored, StoredImage, StoreError, Value, VerdictUpdate
from annotate.store.store import AnnotationStore
from annotate.store.tables import adapter_of
from gazevlm_core.annotation import Annotation
from web.hub import ATTEMPTS, FIRST_WAIT_S, ask_hub

DATA, EVENTS, IMAGES, CARD = "data/", "events/", "images/", "README.md"
ENDING = ".jsonl"
EVENT_KINDS: dict[str, type[Value] | type[VerdictUpdate]] = {
    "verdict": VerdictUpdate, "image": StoredImage, "skip": Skip, "audit": AuditEntry,
}  # fmt: skip
NOTE = "sync.json"
LATER = "; it is tried again later"
CARD_HEAD = """configs:
- config_name: default
  data_files: data/*.jsonl
tags:
- scanpath
- annotations
- gazevlm
"""
CARD_BODY = """# Annotations of a GazeVLM store

Written by the store itself, shard by shard: `data/` holds each submission once, as it was handed in; `events/` what
reviewers did since; `images/` the images, named by the digest of their pixels. Nothing is ever changed or deleted here,
so what was rejected or taken out later is still in `data/`: apply `events/`, or use an export of the store.
"""
KINDS = {"string": "string", "integer": "int64", "number": "float64", "boolean": "bool"}
T = TypeVar("T")


class HubRepo:
    """A data set repository; every method raises `HubError` where the Hub did not do it, `OSError` where this machine
    did not.

    Args:
        repo_id: "owner/name".
        client: `HfApi(token=...)`, or a stub.
        attempts: how often a call is tried before it counts as failed.
        first_wait_s: before the second attempt; doubled each time, with some jitter.
    """

    def __init__(
        self, repo_id: str, client: HfApi, *, attempts: int = ATTEMPTS, first_wait_s: float = FIRST_WAIT_S
    ) -> None:
        self.repo_id, self._client = repo_id, client
        self._attempts, self._first_wait_s = attempts, first_wait_s

    def create(self) -> None:
        """Make the repository, private, where it is not there."""
        self._call(lambda: self._client.create_repo(self.repo_id, repo_type="dataset", private=True, exist_ok=True))

    def files(self) -> list[str]:
        """Return names of all files, sorted."""
        return sorted(self._call(lambda: self._client.list_repo_files(self.repo_id, repo_type="dataset")))

    def fetch(self, name: str) -> Path:
        """Return one file, on this machine."""
        return Path(self._call(lambda: self._client.hf_hub_download(self.repo_id, name, repo_type="dataset")))

    def add(self, files: Mapping[str, bytes], message: str) -> None:
        """Add files in one commit.

        Every attempt sends the same names with the same bytes, so one whose answer was lost does no harm when it is
        sent again. What `CommitOperationAdd` remembers of an attempt is not reused.
        """

        def commit() -> object:
            operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=data) for name, data in files.items()]
            return self._client.create_commit(
                self.repo_id, operations, commit_message=message, repo_type="dataset"
            )

        self._call(commit)

    def _call(self, action: Callable[[], T]) -> T:
        return ask_hub(
            action, self.repo_id, attempts=self._attempts, first_wait_s=self._first_wait_s, later=LATER
        )


# ---- the card --------------------------------------------------------------------------------------------------------
def card_text() -> str:
    """Return the data card, which names all parts of a line: `load_dataset` then takes lines of every version, and what
    an earlier one lacks is null."""
    submission = adapter_of(Stored).json_schema(mode="serialization")
    parts = {name: one for name, one in submission["properties"].items() if name != NOT_IN_LINES}
    parts |= {"image_id": {"type": "string"}, "record": adapter_of(Annotation).json_schema(mode="serialization")}
    features = {"dataset_info": {"features": _structure(parts, parts["record"]["$defs"])}}
    return f"---\n{CARD_HEAD}{yaml.safe_dump(features, sort_keys=False)}---\n{CARD_BODY}"


def is_own_card(text: str) -> bool:
    """Return whether a data card is one that this program or an earlier one wrote, whatever columns it names."""
    head, body = f"---\n{CARD_HEAD}", f"---\n{CARD_BODY}"
    columns = text.removeprefix(head).removesuffix(body)
    return text == head + columns + body and re.fullmatch("(dataset_info:\n([ -].*\n)*)?", columns) is not None


def _structure(parts: Mapping[str, Any], known: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, **_feature(one, known)} for name, one in parts.items()]


def _feature(schema: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Return a part of a JSON schema as the Hub writes features; `known` are its definitions."""
    if "$ref" in schema:
        schema = known[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        schema = next(one for one in schema["anyOf"] if one.get("type") != "null")
    if schema["type"] == "object":
        return {"struct": _structure(schema["properties"], known)}
    if schema["type"] == "array":
        inner = _feature(schema["items"], known)
        return {"list": inner.get("dtype") or inner["struct"]}
    return {"dtype": KINDS[schema["type"]]}


# ---- shards ----------------------------------------------------------------------------------------------------------
def new_name(folder: str, latest: str = "") -> str:
    """Return a name that nothing else has, and that sorts behind all earlier ones even where the clock went back.

    Args:
        folder: "data/" or "events/".
        latest: time stamp of the latest name known.
    """
    stamp = max(datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ"), latest)
    return f"{folder}{stamp}-{uuid.uuid4().hex}{ENDING}"


def stamp_of(name: str) -> str:
    """Return the time stamp of a shard's name; "" where it has none."""
    stamp, dash, _ = name.rpartition("/")[2].partition("-")
    return stamp if dash and stamp.endswith("Z") and stamp[:8].isdigit() else ""


def is_shard(name: str) -> bool:
    """Return whether a file of the repository holds submissions or events."""
    return name.startswith((DATA, EVENTS)) and name.endswith(ENDING)


def shard_bytes(values: Iterable[Value | VerdictUpdate]) -> bytes:
    """Return a shard of submissions, or of events."""
    names = {kind: name for name, kind in EVENT_KINDS.items()}
    lines = (line_of(one) if isinstance(one, Stored) else {names[type(one)]: line_of(one)} for one in values)
    return "".join(map(json_line, lines)).encode()


def read_shard(name: str, path: Path) -> Iterator[Value | VerdictUpdate]:
    """Read what a shard holds, checked strictly.

    Raises:
        StoreError: a bad line; one sentence with its number.
    """
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                yield _read_shard_line(line, is_event=not name.startswith(DATA))
            except LineError as error:
                raise StoreError(f"{name}, line {number}: {error}; ask who else writes to this repository.") from None


def _read_shard_line(line: bytes, *, is_event: bool) -> Value | VerdictUpdate:
    values = parse_json(line)
    if not is_event:
        return read_line(Stored, values)
    kind, inner = next(iter(values.items()), ("", None))
    if len(values) != 1 or kind not in EVENT_KINDS:
        raise LineError(f"an event is one of {', '.join(EVENT_KINDS)}")
    if not isinstance(inner, dict):
        raise LineError(f"{kind}: it is no JSON object")
    return read_line(EVENT_KINDS[kind], inner)


# ---- what this machine knows -----------------------------------------------------------------------------------------
class Memory(BaseModel):
    """What of the store is in the repository: a note on the disk. Losing it costs one reading of the repository.

    Args:
        repo_id: that it is about; a note about another one is not believed.
        shards: names of the files in data/ and events/ that were written or read here.
        images: digests of the images whose pixels and settings are there.
        audit, skips: numbers up to which entries are there.
        stamp: time stamp of the latest shard known.
    """

    repo_id: str
    shards: set[str] = set()
    images: set[str] = set()
    audit: int = 0
    skips: int = 0
    stamp: str = ""
    _path: Path = PrivateAttr()

    @classmethod
    def load(cls, folder: Path, repo_id: str) -> "Memory":
        """Return the note of a data folder; an empty one where there is none, or none that can be read."""
        path = folder / NOTE
        try:
            memory = cls.model_validate_json(path.read_bytes())
        except (OSError, ValueError):
            memory = cls(repo_id=repo_id)
        if memory.repo_id != repo_id:
            memory = cls(repo_id=repo_id)
        memory._path = path
        return memory

    def fits(self, store: AnnotationStore) -> bool:
        """Return whether the note can be about this store as it is now: nothing ever leaves a store, so it has no less.

        It does not fit where the database was lost or is an older copy, and the note was not.
        """
        last_is_there = not self.audit or bool(store.audit(after=self.audit - 1, limit=1))
        return last_is_there and len(self.images) <= store.counts().images

    def forget(self) -> None:
        """Know nothing of the repository, so that all of it is read again."""
        self.shards, self.images, self.audit, self.skips, self.stamp = set(), set(), 0, 0, ""

    def learn(self, shards: Iterable[str]) -> None:
        """Note that shards are in the repository, and write all of the note, whole or not at all."""
        self.shards.update(shards)
        self.stamp = max([self.stamp, *map(stamp_of, self.shards)])
        self._path.parent.mkdir(parents=True, exist_ok=True)
        half = self._path.with_suffix(".half")
        with half.open("w", encoding="utf-8") as stream:
            stream.write(self.model_dump_json())
            stream.flush()
            os.fsync(stream.fileno())
        half.replace(self._path)
