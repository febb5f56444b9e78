"""What this machine knows of the repository: a note on the disk. Losing it costs one look through the repository."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from annotate.store.store import AnnotationStore

NOTE = "sync.json"


@dataclass
class Memory:
    """What of the store is in the repository.

    Args:
        path: of the note.
        repo_id: that it is about; a note about another one is not believed.
        shards: names of the files in data/ and events/ that were written or read here.
        images: digests of the images whose pixels and settings are there.
        audit, skips: numbers up to which entries are there.
        stamp: time stamp of the latest shard known.
    """

    path: Path
    repo_id: str
    shards: set[str] = field(default_factory=set)
    images: set[str] = field(default_factory=set)
    audit: int = 0
    skips: int = 0
    stamp: str = ""

    @classmethod
    def load(cls, folder: Path, repo_id: str) -> "Memory":
        """The note of a data folder; an empty one where there is none, or none that can be read."""
        memory = cls(folder / NOTE, repo_id)
        try:
            values = json.loads(memory.path.read_bytes())
            if values["repo_id"] == repo_id:
                memory.shards, memory.images = set(values["shards"]), set(values["images"])
                memory.audit, memory.skips = int(values["audit"]), int(values["skips"])
                memory.stamp = str(values["stamp"])
        except (OSError, ValueError, KeyError, TypeError):
            return cls(folder / NOTE, repo_id)
        return memory

    def fits(self, store: AnnotationStore) -> bool:
        """Whether the note can be about this store, as it is now: nothing ever leaves a store, so it has no less.

        It does not fit where the database was lost or is an older copy, and the note was not.
        """
        last_is_there = not self.audit or bool(store.audit(after=self.audit - 1, limit=1))
        return last_is_there and len(self.images) <= store.counts().images

    def forget(self) -> None:
        """Know nothing of the repository, so that all of it is read again."""
        self.shards, self.images, self.audit, self.skips, self.stamp = set(), set(), 0, 0, ""

    def save(self) -> None:
        """Write the note, whole or not at all."""
        values = {
            "repo_id": self.repo_id, "shards": sorted(self.shards), "images": sorted(self.images),
            "audit": self.audit, "skips": self.skips, "stamp": self.stamp,
        }  # fmt: skip
        self.path.parent.mkdir(parents=True, exist_ok=True)
        half = self.path.with_suffix(".half")
        with half.open("w", encoding="utf-8") as stream:
            json.dump(values, stream)
            stream.flush()
            os.fsync(stream.fileno())
        half.replace(self.path)
