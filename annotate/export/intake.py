"""Import of an export: the same store again. Everything is checked before anything is taken in."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from annotate.export.folder import MANIFEST
from annotate.export.read import Item, Source, Value, read_export, read_manifest, source_of
from annotate.store.intake import checked_picture, take_in_all
from annotate.store.store import AnnotationStore
from annotate.store.types import AuditEntry, Person, Skip, Stored, StoredImage, StoreError

CHUNK, CHUNK_BYTES = 200, 32 * 2**20  # of one transaction
KINDS: dict[type, str] = {
    StoredImage: "images", Stored: "submissions", Skip: "skips", AuditEntry: "audit", Person: "people",
}  # fmt: skip


class BadExportError(StoreError):
    """An export with bad lines, of which nothing was taken in.

    Args:
        lines: one sentence per bad line, with its file and number.
    """

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        more = f" and {len(lines) - 1} more" if len(lines) > 1 else ""
        super().__init__(f"{lines[0]}{more}; nothing was imported.")


@dataclass
class Imported:
    """What an import did.

    Args:
        added: kind -> how many were new.
        known: kind -> how many were there before, the same.
        bad: one sentence per line that was left out.
    """

    added: Counter[str] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)


@dataclass
class _Seen:
    """What was met before in the same export."""

    images: dict[str, tuple[int, int]] = field(default_factory=dict)  # sha256 -> size
    submissions: set[str] = field(default_factory=set)
    numbers: set[tuple[str, int]] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)


def import_folder(
    store: AnnotationStore, folder: Path, *, source: Source | None = None, skip_bad: bool = False
) -> Imported:
    """Take in an export. Doing it twice changes nothing; one that was cut off is finished by doing it again.

    The store may hold something already, such as the images that every new one starts with: what comes gets the next
    free number where its own is taken, and an image with which nobody has done anything here yet becomes what the
    export says of it.

    Args:
        store: that takes it.
        folder: that `export` wrote.
        source: "jsonl" or "parquet"; None for the first of them that is there.
        skip_bad: leave bad lines out and count them, instead of refusing the whole export.

    Raises:
        BadExportError: bad lines; nothing was imported.
        StoreError: no export, or the store cannot take more.
    """
    manifest = read_manifest(folder)
    source = source or source_of(manifest)
    bad = dict(_problems(store, folder, source, manifest))
    told = [f"{where}: {error}" for where, error in bad.items()]
    if bad and not skip_bad:
        raise BadExportError(told)
    result = Imported(bad=told)
    chunk: list[tuple[Value, bytes]] = []
    for item in read_export(folder, source):
        if item.where in bad or item.value is None:
            continue
        chunk.append((item.value, _file(item)))
        if len(chunk) >= CHUNK or sum(len(file) for _, file in chunk) >= CHUNK_BYTES:
            _take_in(store, chunk, result)
    _take_in(store, chunk, result)
    return result


def _take_in(store: AnnotationStore, chunk: list[tuple[Value, bytes]], result: Imported) -> None:
    """Take in a chunk, count what was new, and empty it."""
    for (value, _), is_new in zip(chunk, take_in_all(store, chunk, merge=True) if chunk else [], strict=True):
        counts = result.added if is_new else result.known
        counts[KINDS[type(value)]] += 1
    chunk.clear()


def _file(item: Item) -> bytes:
    """The file of an image; b"" for what is none.

    Raises:
        StoreError: it cannot be read.
    """
    try:
        return item.png.read_bytes() if isinstance(item.png, Path) else item.png
    except OSError as error:
        raise StoreError(f"its picture cannot be read ({error.strerror})") from None


def _problems(
    store: AnnotationStore, folder: Path, source: Source, manifest: dict[str, Any]
) -> Iterator[tuple[str, str]]:
    """Place and sentence of everything that is wrong with an export."""
    seen, bad = _Seen(), 0
    for item in read_export(folder, source):
        error = item.error or _problem_with(store, item, seen)
        if error:
            bad += 1
            yield item.where, error
        elif item.value is not None:
            seen.counts[KINDS[type(item.value)]] += 1
    told = {name: manifest["counts"].get(name) for name in KINDS.values()}
    if not all(isinstance(count, int) for count in told.values()):
        yield MANIFEST, "it lacks counts"
    elif sum(told.values()) != sum(seen.counts.values()) + bad:
        parts = [f"{count} {name}, of which {seen.counts[name]} can be read" for name, count in told.items()]
        yield MANIFEST, "it tells of " + "; ".join(parts)


def _problem_with(store: AnnotationStore, item: Item, seen: _Seen) -> str:
    """Why a line that can be read cannot be taken in; "" where it can."""
    value = item.value
    if isinstance(value, StoredImage):
        return _problem_with_image(value, item, seen)
    if isinstance(value, Person):
        return _again(seen, ("person " + value.pseudonym, 0))
    if isinstance(value, AuditEntry):
        return _again(seen, ("audit entry", value.number))
    assert isinstance(value, Stored | Skip)
    size = seen.images.get(value.image_sha256)
    if size is None:
        return f"its image {value.image_sha256[:12]} is not in the export"
    if isinstance(value, Skip):
        return _again(seen, ("skip", value.number))
    annotation = value.annotation
    if (annotation.image_width_px, annotation.image_height_px) != size:
        return f"its image is {size[0]} x {size[1]} px, not {annotation.image_width_px} x {annotation.image_height_px}"
    if annotation.submission_id in seen.submissions:
        return f"submission {annotation.submission_id[:40]!r} is there twice"
    seen.submissions.add(annotation.submission_id)
    known = store.find(annotation.submission_id)
    if known is not None and known.receipt.digest != value.receipt.digest:
        return f"the store has another submission {annotation.submission_id[:40]!r}"
    return _again(seen, ("submission", value.number))


def _problem_with_image(image: StoredImage, item: Item, seen: _Seen) -> str:
    if image.sha256 in seen.images:
        return f"image {image.sha256[:12]} is there twice"
    try:
        checked_picture(image, _file(item))
    except StoreError as error:
        return f"image {image.sha256[:12]}: {error}"
    seen.images[image.sha256] = image.width_px, image.height_px
    return ""


def _again(seen: _Seen, key: tuple[str, int]) -> str:
    if key in seen.numbers:
        return f"{key[0]} {key[1] or ''}".strip() + " is there twice"
    seen.numbers.add(key)
    return ""
