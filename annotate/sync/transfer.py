"""From the store to the repository, a batch at a time, and from the repository back into the store.

Images go first, then each submission into one data shard, and what happened since into event shards. A batch is made
once and sent until it is known to be there, always with the same names and bytes; only then are its submissions marked.
A process that ends between the two finds the shard in the repository when it starts again (`restore`), before it makes
a new batch. So a lost answer neither loses nor doubles anything.

Restoring again changes nothing: a submission, a skip or an entry that is there is left as it is, and an older verdict
never takes the place of a newer one.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

from annotate.store.model import AuditEntry, Skip, Stored, StoredImage, StoreError, Value, VerdictUpdate
from annotate.store.store import AnnotationStore
from annotate.sync.repo import (
    CARD,
    DATA,
    EVENTS,
    IMAGES,
    HubRepo,
    Memory,
    card_text,
    is_own_card,
    is_shard,
    new_name,
    read_shard,
    shard_bytes,
    stamp_of,
)

MOST_RECORDS, MOST_EVENTS, MOST_IMAGES, MOST_IMAGE_BYTES = 500, 2000, 50, 64 * 2**20
PART = 200  # values of one transaction
T = TypeVar("T")


@dataclass(frozen=True)
class Batch:
    """One commit.

    Args:
        files: name -> bytes.
        submissions: that are published as they are now, once it is there.
        images: digests of its images.
        audit, skips: numbers up to which entries are there then.
    """

    files: Mapping[str, bytes]
    submissions: tuple[Stored, ...]
    images: tuple[str, ...]
    audit: int
    skips: int

    @property
    def shards(self) -> list[str]:
        """Names of its shards, the one of submissions first."""
        return sorted(name for name in self.files if name.startswith((DATA, EVENTS)))

    @property
    def message(self) -> str:
        """Of the commit."""
        return f"{len(self.submissions)} submissions, {len(self.images)} images"


class Pusher:
    """Makes batches and sends them.

    Args:
        store: what is published.
        repo: where to.
        memory: what is there already.
    """

    def __init__(self, store: AnnotationStore, repo: HubRepo, memory: Memory) -> None:
        self._store, self._repo, self._memory = store, repo, memory
        self._pending: Batch | None = None
        self._missing: list[str] = []

    def step(self) -> bool:
        """Send one batch; return False where everything is in the repository.

        Raises:
            HubError, OSError: it did not work; the same batch is sent next time.
            StoreError: the store cannot be read.
        """
        batch = self._pending = self._pending or self._next_batch()
        if batch is None:
            return False
        self._repo.add(batch.files, batch.message)
        self._mark(batch)
        self._pending = None
        return True

    def add_card(self, files: list[str]) -> None:
        """Add a data card where the repository has none, or that of an earlier program; any other is left alone."""
        there, card = self._repo.fetch(CARD).read_text(encoding="utf-8") if CARD in files else "", card_text()
        if not there or (there != card and is_own_card(there)):
            self._repo.add({CARD: card.encode()}, "Data card")

    def _mark(self, batch: Batch) -> None:
        """Note that a batch is in the repository."""
        if batch.submissions:
            self._store.mark_synced(batch.submissions, batch.shards[0])
        self._memory.images.update(batch.images)
        self._memory.audit, self._memory.skips = batch.audit, batch.skips
        self._memory.learn(batch.shards)

    def _next_batch(self) -> Batch | None:
        if not self._missing and self._store.counts().images > len(self._memory.images):
            known = self._memory.images
            self._missing = [image.sha256 for image in self._store.all_images() if image.sha256 not in known]
        return self._image_batch() if self._missing else self._record_batch()

    def _image_batch(self) -> Batch:
        """Return some images that are not in the repository, with their settings."""
        files: dict[str, bytes] = {}
        images: list[StoredImage] = []
        while self._missing and len(images) < MOST_IMAGES and sum(map(len, files.values())) < MOST_IMAGE_BYTES:
            image = self._store.image(self._missing.pop())
            images.append(image)
            files[f"{IMAGES}{image.sha256}.png"] = self._store.png(image.sha256)
        self._add_shard(files, EVENTS, images)
        digests = tuple(image.sha256 for image in images)
        return Batch(files, (), digests, self._memory.audit, self._memory.skips)

    def _record_batch(self) -> Batch | None:
        """Make a batch of submissions, verdicts, skips and log entries; all of images that are in the repository."""
        store, memory = self._store, self._memory
        submissions = [one for one in store.unsynced(MOST_RECORDS) if one.image_sha256 in memory.images]
        there = store.published([one.number for one in submissions])
        skips = store.skips(after=memory.skips, limit=MOST_EVENTS)
        skips = skips[: next((i for i, skip in enumerate(skips) if skip.image_sha256 not in memory.images), None)]
        audit = store.audit(after=memory.audit, limit=MOST_EVENTS)
        subjects = dict.fromkeys(entry.subject for entry in audit if entry.subject in memory.images)
        updates = [one.verdict_update() for one in submissions if one.number in there]
        files: dict[str, bytes] = {}
        self._add_shard(files, DATA, [one for one in submissions if one.number not in there])
        self._add_shard(files, EVENTS, [*map(store.image, subjects), *updates, *skips, *audit])
        if not files:
            return None
        last_audit = audit[-1].number if audit else memory.audit
        last_skip = skips[-1].number if skips else memory.skips
        return Batch(files, tuple(submissions), (), last_audit, last_skip)

    def _add_shard(self, files: dict[str, bytes], folder: str, values: Sequence[Value | VerdictUpdate]) -> None:
        if values:
            files[new_name(folder, self._memory.stamp)] = shard_bytes(values)


# ---- back ------------------------------------------------------------------------------------------------------------
def restore(store: AnnotationStore, repo: HubRepo, memory: Memory, files: list[str]) -> Counter[str]:
    """Restore every shard that the memory does not know, and note that it is in the repository.

    Args:
        store: that takes it.
        repo: to be read.
        memory: of this machine; saved at the end.
        files: names of the repository's files.

    Returns:
        How many images, submissions, verdicts, skips and audit entries were new to the store, and the shards read.

    Raises:
        HubError, OSError: a file cannot be fetched; what was taken in stays, and doing it again goes on.
        StoreError: a file that is none of the store's, or of another store.
    """
    names = sorted((name for name in files if is_shard(name) and name not in memory.shards), key=stamp_of)
    paths = {name: repo.fetch(name) for name in names}
    result = Counter(shards=len(names))
    events = {name: path for name, path in paths.items() if name.startswith(EVENTS)}
    _restore_images(store, repo, memory, events, set(files), result)
    # The log comes before verdicts that are newer than those here, which it notes.
    for happened in _parts(value for value in _values(events) if isinstance(value, Skip | AuditEntry)):
        _restore_events(store, memory, happened, result)
    verdicts: dict[str, VerdictUpdate] = {}  # the last word on each submission, by its id
    for update in (value for value in _values(events) if isinstance(value, VerdictUpdate)):
        before = verdicts.get(update.submission_id)
        if before is None or before.revision < update.revision:
            verdicts[update.submission_id] = update
    for name, path in paths.items():
        if name.startswith(DATA):
            for part in _parts(value for value in read_shard(name, path) if isinstance(value, Stored)):
                latest = [_with_verdict(one, verdicts.pop(one.submission_id, None)) for one in part]
                result["submissions"] += _restore_submissions(store, latest, name)
    for update in verdicts.values():  # of submissions whose shard was known before
        known = store.find(update.submission_id)
        if known is None:
            raise StoreError(f"{repo.repo_id} judges a submission that none of its shards holds; it is not whole.")
        result["verdicts"] += _restore_submissions(store, [_with_verdict(known, update)], next(iter(events)))
    memory.learn(names)
    return result


def _values(paths: Mapping[str, Path]) -> Iterator[Value | VerdictUpdate]:
    """Read the values of shards, in their order."""
    for name, path in paths.items():
        yield from read_shard(name, path)


def _restore_images(
    store: AnnotationStore, repo: HubRepo, memory: Memory, events: Mapping[str, Path], files: set[str],
    result: Counter[str],
) -> None:  # fmt: skip
    """Restore images, before what is about them, with their latest settings."""
    images = {value.sha256: value for value in _values(events) if isinstance(value, StoredImage)}
    for sha256, image in images.items():
        memory.images.add(sha256)
        if store.has_image(sha256):
            continue
        name = f"{IMAGES}{sha256}.png"
        if name not in files:
            raise StoreError(f"{name} is missing in {repo.repo_id}; it cannot be restored whole.")
        result["images"] += store.ingest([(image, repo.fetch(name).read_bytes())])[0]


def _with_verdict(stored: Stored, update: VerdictUpdate | None) -> Stored:
    """Return a submission after a verdict, unless there is none or it knows a later one."""
    if update is None or update.revision <= stored.revision:
        return stored
    state = {name: getattr(update, name) for name in ("verdict", "reason", "removed", "revision")}
    return replace(stored, **state)


def _restore_submissions(store: AnnotationStore, published: list[Stored], shard: str) -> int:
    """Store published submissions, or note that they are published; return how many were new or newer."""
    are_new = store.ingest([(stored, b"") for stored in published], shard=shard, by="restore")
    known = []
    for stored, is_new in zip(published, are_new, strict=True):
        if not is_new:
            here = store.find(stored.submission_id)
            assert here is not None
            known.append(replace(stored, number=here.number))
    if known:
        store.mark_synced(known, shard)
    return sum(are_new)


def _restore_events(
    store: AnnotationStore, memory: Memory, values: list[Skip | AuditEntry], result: Counter[str]
) -> None:
    """Store skips and entries of the audit log."""
    are_new = store.ingest([(value, b"") for value in values], by="restore")
    for value, is_new in zip(values, are_new, strict=True):
        if isinstance(value, Skip):
            memory.skips = max(memory.skips, value.number)
            result["skips"] += is_new
        else:
            memory.audit = max(memory.audit, value.number)
            result["audit"] += is_new


def _parts(values: Iterable[T]) -> Iterator[list[T]]:
    """Return the values, some at a time: of one transaction each."""
    rest = iter(values)
    while part := list(islice(rest, PART)):
        yield part
