"""From the repository back into the store: on an empty disk all of it, else what this machine does not know of.

Doing it again changes nothing: a submission, a skip or an entry that is there is left as it is, and an older verdict
never takes the place of a newer one.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

from annotate.export.parse import VerdictLine
from annotate.store.intake import has_image, take_in_all, take_in_image
from annotate.store.store import AnnotationStore
from annotate.store.types import AuditEntry, Skip, Stored, StoredImage, StoreError
from annotate.sync.hub import HubRepo
from annotate.sync.memory import Memory
from annotate.sync.shards import DATA, EVENTS, IMAGES, read_shard, stamp_of

ENDING = ".jsonl"
PART = 200
T = TypeVar("T")


@dataclass
class Restored:
    """What came back.

    Args:
        shards: that were read.
        images, submissions, verdicts, skips, audit: how many were new to the store.
    """

    shards: int = 0
    images: int = 0
    submissions: int = 0
    verdicts: int = 0
    skips: int = 0
    audit: int = 0


def restore(store: AnnotationStore, repo: HubRepo, memory: Memory, files: list[str]) -> Restored:
    """Take in every shard that the memory does not know, and note that it is in the repository.

    Args:
        store: that takes it.
        repo: to be read.
        memory: of this machine; saved at the end.
        files: names of the repository's files.

    Raises:
        HubError, OSError: a file cannot be fetched; what was taken in stays, and doing it again goes on.
        StoreError: a file that is none of the store's, or of another store.
    """
    names = [name for name in files if name.startswith((DATA, EVENTS)) and name.endswith(ENDING)]
    names = sorted((name for name in names if name not in memory.shards), key=stamp_of)
    paths = {name: repo.fetch(name) for name in names}
    result = Restored(shards=len(names))
    events = {name: path for name, path in paths.items() if name.startswith(EVENTS)}
    _images(store, repo, memory, events, set(files), result)
    for name, path in events.items():  # before verdicts that are newer than those here, which the audit log notes
        for happened in _parts(value for value in read_shard(name, path) if isinstance(value, Skip | AuditEntry)):
            _take_in_events(store, memory, happened, result)
    verdicts = _latest_verdicts(events)
    for name, path in paths.items():
        if name.startswith(DATA):
            for part in _parts(value for value in read_shard(name, path) if isinstance(value, Stored)):
                lines = [verdicts.pop(stored.annotation.submission_id, None) for stored in part]
                judged = [_judged(*pair) for pair in zip(part, lines, strict=True)]
                result.submissions += _take_in(store, judged, name)
    for line in verdicts.values():  # of submissions whose shard was known before
        known = store.find(line.submission_id)
        if known is None:
            raise StoreError(f"{repo.repo_id} judges a submission that none of its shards holds; it is not whole.")
        result.verdicts += _take_in(store, [_judged(known, line)], next(iter(events)))
    memory.shards.update(names)
    memory.stamp = max([memory.stamp, *map(stamp_of, names)])
    memory.save()
    return result


def _images(
    store: AnnotationStore,
    repo: HubRepo,
    memory: Memory,
    events: dict[str, Path],
    files: set[str],
    result: Restored,
) -> None:
    """Images come before what is about them, with their latest settings."""
    images: dict[str, StoredImage] = {}
    for name, path in events.items():
        images |= {value.sha256: value for value in read_shard(name, path) if isinstance(value, StoredImage)}
    for sha256, image in images.items():
        memory.images.add(sha256)
        if has_image(store, sha256):
            continue
        name = f"{IMAGES}{sha256}.png"
        if name not in files:
            raise StoreError(f"{name} is missing in {repo.repo_id}; it cannot be restored whole.")
        result.images += take_in_image(store, image, repo.fetch(name).read_bytes())


def _latest_verdicts(events: dict[str, Path]) -> dict[str, VerdictLine]:
    """The last word on each submission, by its id."""
    latest: dict[str, VerdictLine] = {}
    for name, path in events.items():
        for value in read_shard(name, path):
            if isinstance(value, VerdictLine):
                before = latest.get(value.submission_id)
                if before is None or before.revision < value.revision:
                    latest[value.submission_id] = value
    return latest


def _judged(stored: Stored, line: VerdictLine | None) -> Stored:
    """A submission after a verdict, unless there is none or it knows a later one."""
    if line is None or line.revision <= stored.revision:
        return stored
    return replace(
        stored, verdict=line.verdict, reason=line.reason, removed=line.removed, revision=line.revision
    )  # fmt: skip


def _take_in(store: AnnotationStore, published: list[Stored], shard: str) -> int:
    """Take in published submissions, or note that they are published; how many were new or newer."""
    are_new = take_in_all(store, [(stored, b"") for stored in published], shard=shard, by="restore")
    known = []
    for stored, is_new in zip(published, are_new, strict=True):
        if not is_new:
            here = store.find(stored.annotation.submission_id)
            assert here is not None
            known.append(replace(stored, number=here.number))
    if known:
        store.mark_synced(known, shard)
    return sum(are_new)


def _take_in_events(
    store: AnnotationStore, memory: Memory, values: list[Skip | AuditEntry], result: Restored
) -> None:
    """Take in skips and entries of the audit log."""
    are_new = take_in_all(store, [(value, b"") for value in values], by="restore")
    for value, is_new in zip(values, are_new, strict=True):
        if isinstance(value, Skip):
            memory.skips = max(memory.skips, value.number)
            result.skips += is_new
        else:
            memory.audit = max(memory.audit, value.number)
            result.audit += is_new


def _parts(values: Iterable[T]) -> Iterator[list[T]]:
    """The values, some at a time: of one transaction each."""
    rest = iter(values)
    while part := list(islice(rest, PART)):
        yield part
