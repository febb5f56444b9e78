"""From the repository back into the store: on an empty disk all of it, else what this machine does not know of.

Doing it again changes nothing: a submission, a skip or an entry that is there is left as it is, and an older verdict
never takes the place of a newer one.
"""

from dataclasses import dataclass
from pathlib import Path

from annotate.export.lines import VerdictLine
from annotate.store.pixels import digest_of
from annotate.store.store import AnnotationStore
from annotate.store.types import AuditEntry, Skip, Stored, StoredImage, StoreError
from annotate.sync.hub import HubRepo
from annotate.sync.memory import Memory
from annotate.sync.shards import DATA, EVENTS, IMAGES, read_shard, stamp_of
from gazevlm_core.images import ImageError, load_image

ENDING = ".jsonl"


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
        HubError: a file cannot be fetched; what was taken in stays, and doing it again goes on.
        StoreError: a file that is none of the store's, or of another store.
    """
    names = [name for name in files if name.startswith((DATA, EVENTS)) and name.endswith(ENDING)]
    names = sorted((name for name in names if name not in memory.shards), key=stamp_of)
    paths = {name: repo.fetch(name) for name in names}
    result = Restored(shards=len(names))
    events = {name: path for name, path in paths.items() if name.startswith(EVENTS)}
    _images(store, repo, memory, events, set(files), result)
    for name, path in paths.items():
        if name.startswith(DATA):
            for stored in read_shard(name, path):
                result.submissions += store.take_in(stored)
                store.mark_synced([stored], name)
    for name, path in events.items():
        for value in read_shard(name, path):
            _event(store, memory, name, value, result)
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
        if store.has_image(sha256):
            continue
        name = f"{IMAGES}{sha256}.png"
        if name not in files:
            raise StoreError(f"{name} is missing in {repo.repo_id}; it cannot be restored whole.")
        try:
            picture = load_image(repo.fetch(name)).image
        except ImageError as error:
            raise StoreError(f"{name}: {error}") from None
        if digest_of(picture) != sha256:
            raise StoreError(f"{name} holds another picture; ask who else writes to {repo.repo_id}.")
        result.images += store.take_in_image(image, picture)


def _event(store: AnnotationStore, memory: Memory, shard: str, value: object, result: Restored) -> None:
    if isinstance(value, VerdictLine):
        known = store.find(value.submission_id)
        if known is None or known.number != value.number:
            raise StoreError(f"{shard} speaks of a submission that no shard holds; it cannot be restored whole.")
        result.verdicts += store.take_in_verdict(
            value.submission_id, value.verdict, value.reason, value.removed, value.revision
        )
        now = store.find(value.submission_id)
        if now is not None and now.revision == value.revision:
            store.mark_synced([now], shard)
    elif isinstance(value, Skip):
        memory.skips = max(memory.skips, value.number)
        result.skips += store.take_in_skip(value)
    elif isinstance(value, AuditEntry):
        memory.audit = max(memory.audit, value.number)
        result.audit += store.take_in_audit(value)
    else:
        assert isinstance(value, StoredImage | Stored)
