"""From the store to the repository, a batch at a time: images first, then each submission into one data shard, and
what happened since into event shards.

A batch is made once and sent until it is known to be there, always with the same names and bytes; only then are its
submissions marked. A process that ends between the two finds the shard in the repository when it starts again
(`restore`), before it makes a new batch. So a lost answer neither loses nor doubles anything.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from annotate.export.lines import audit_values, image_values, record_values, skip_values, verdict_values
from annotate.store.intake import published
from annotate.store.store import AnnotationStore
from annotate.store.types import Stored, StoredImage
from annotate.sync.hub import HubRepo
from annotate.sync.memory import Memory
from annotate.sync.shards import CARD, CARD_TEXT, DATA, EVENTS, IMAGES, new_name, shard_of, stamp_of

MOST_RECORDS, MOST_EVENTS, MOST_IMAGES, MOST_IMAGE_BYTES = 500, 2000, 50, 64 * 2**20
PAGE = 1000


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
        """Send one batch; False where everything is in the repository.

        Raises:
            HubError, OSError: it did not work; the same batch is sent next time.
            StoreError: the store cannot be read.
        """
        batch = self._pending = self._pending or self._next_batch()
        if batch is None:
            return False
        self._repo.add(batch.files, batch.message)
        self._settle(batch)
        self._pending = None
        return True

    def add_card(self, files: list[str]) -> None:
        """A data card where the repository has none; one that is there is left alone."""
        if CARD not in files:
            self._repo.add({CARD: CARD_TEXT.encode()}, "Data card")

    def _settle(self, batch: Batch) -> None:
        """Note that a batch is in the repository."""
        memory = self._memory
        if batch.submissions:
            self._store.mark_synced(batch.submissions, batch.shards[0])
        memory.shards.update(batch.shards)
        memory.images.update(batch.images)
        memory.audit, memory.skips = batch.audit, batch.skips
        memory.stamp = max([memory.stamp, *map(stamp_of, batch.shards)])
        memory.save()

    def _next_batch(self) -> Batch | None:
        if not self._missing and self._store.counts().images > len(self._memory.images):
            known = self._memory.images
            self._missing = [image.sha256 for image in _all_images(self._store) if image.sha256 not in known]
        return self._image_batch() if self._missing else self._record_batch()

    def _image_batch(self) -> Batch:
        """Some images that are not in the repository, with their settings."""
        files: dict[str, bytes] = {}
        images: list[StoredImage] = []
        while self._missing and len(images) < MOST_IMAGES and sum(map(len, files.values())) < MOST_IMAGE_BYTES:
            image = self._store.image(self._missing.pop())
            images.append(image)
            files[f"{IMAGES}{image.sha256}.png"] = self._store.png(image.sha256)
        self._add_shard(files, EVENTS, [{"image": image_values(image)} for image in images])
        digests = tuple(image.sha256 for image in images)
        return Batch(files, (), digests, self._memory.audit, self._memory.skips)

    def _record_batch(self) -> Batch | None:
        """Submissions, verdicts, skips and entries of the audit log; all of images that are in the repository."""
        store, memory = self._store, self._memory
        submissions = [one for one in store.unsynced(MOST_RECORDS) if one.image_sha256 in memory.images]
        there = published(store, [one.number for one in submissions])
        skips = store.skips(after=memory.skips, limit=MOST_EVENTS)
        skips = skips[: next((i for i, skip in enumerate(skips) if skip.image_sha256 not in memory.images), None)]
        audit = store.audit(after=memory.audit, limit=MOST_EVENTS)
        subjects = dict.fromkeys(entry.subject for entry in audit if entry.subject in memory.images)
        events: list[dict[str, Any]] = [{"image": image_values(store.image(sha256))} for sha256 in subjects]
        events += [{"verdict": verdict_values(one)} for one in submissions if one.number in there]
        events += [{"skip": skip_values(skip)} for skip in skips] + [{"audit": audit_values(one)} for one in audit]
        files: dict[str, bytes] = {}
        self._add_shard(files, DATA, [record_values(one) for one in submissions if one.number not in there])
        self._add_shard(files, EVENTS, events)
        if not files:
            return None
        last_audit = audit[-1].number if audit else memory.audit
        last_skip = skips[-1].number if skips else memory.skips
        return Batch(files, tuple(submissions), (), last_audit, last_skip)

    def _add_shard(self, files: dict[str, bytes], folder: str, lines: list[dict[str, Any]]) -> None:
        if lines:
            shard = shard_of(new_name(folder, self._memory.stamp), lines)
            files[shard.name] = shard.content


def _all_images(store: AnnotationStore) -> Iterator[StoredImage]:
    after = ""
    while page := store.images(after=after, limit=PAGE):
        yield from page
        after = page[-1].sha256


