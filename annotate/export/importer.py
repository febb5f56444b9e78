"""Import of an export, which may come from anybody: the same store again.

Everything is checked before anything is stored, and every bad line is reported with its number.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from annotate.export.folder import AUDIT, FIRST_VERSION, FORMAT, MANIFEST, PEOPLE, SKIPS, VERSION
from annotate.export.formats import formats
from annotate.export.lines import Item, read_lines
from annotate.store.exchange import checked_picture
from annotate.store.model import AuditEntry, Person, Skip, Stored, StoredImage, StoreError, Value, VerdictUpdate
from annotate.store.store import AnnotationStore

CHUNK, CHUNK_BYTES = 200, 32 * 2**20  # of one transaction
KINDS: dict[type, str] = {
    StoredImage: "images", Stored: "submissions", Skip: "skips", AuditEntry: "audit", Person: "people",
}  # fmt: skip


# ---- what an export holds --------------------------------------------------------------------------------------------
def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the export.json of a folder.

    Raises:
        StoreError: no export, or one of another program.
    """
    path = folder / MANIFEST
    try:
        values = json.loads(path.read_bytes())
        known = values["format"] == FORMAT and values["version"] in (FIRST_VERSION, VERSION)
        kinds = {"files": dict, "counts": dict, "formats": list, "which": str}
        known = known and all(isinstance(values[name], kind) for name, kind in kinds.items())
    except OSError as error:
        raise StoreError(f"Cannot read {path} ({error.strerror}); give a folder that `export` wrote.") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        known = False
    if not known:
        versions = f"version {FIRST_VERSION} to {VERSION}"
        raise StoreError(f"{path} is not of {FORMAT}, {versions}; give a folder that `export` wrote.")
    return dict(values)


def read_images_and_submissions(folder: Path, manifest: dict[str, Any], source: str | None = None) -> Iterator[Item]:
    """Return images and submissions of an export.

    Args:
        folder: of the export.
        manifest: of it.
        source: format to read; None for the first one that is there and can be read.

    Raises:
        StoreError: there is none.
    """
    for name, one in formats().items():
        if one.read is not None and (name == source or (source is None and name in manifest["formats"])):
            return one.read(folder)
    readable = " or ".join(name for name, one in formats().items() if one.read is not None)
    raise StoreError(f"Nothing can be read of this export; export again with {readable}.")


def read_export(folder: Path, manifest: dict[str, Any], source: str | None) -> Iterator[Item]:
    """Read everything in an export, in an order in which nothing is named before it is known."""
    yield from read_lines(folder / PEOPLE, Person)
    yield from read_images_and_submissions(folder, manifest, source)
    yield from read_lines(folder / SKIPS, Skip)
    yield from read_lines(folder / AUDIT, AuditEntry)


# ---- import ----------------------------------------------------------------------------------------------------------
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


def import_folder(
    store: AnnotationStore, folder: Path, *, source: str | None = None, skip_bad: bool = False
) -> Imported:
    """Import an export. Doing it twice changes nothing; an import that was cut off is finished by doing it again.

    The store may hold something already, such as the images that every new one starts with: what comes gets the next
    free number where its own is taken, and an image with which nobody has done anything here yet becomes what the
    export says of it.

    Args:
        store: that takes it.
        folder: that `export` wrote.
        source: format to read, such as "parquet"; None for the first one that is there and can be read.
        skip_bad: leave bad lines out and count them, instead of refusing the whole export.

    Raises:
        BadExportError: bad lines; nothing was imported.
        StoreError: no export, or the store cannot take more.
    """
    manifest = read_manifest(folder)
    bad = dict(_problems(store, folder, source, manifest))
    result = Imported(bad=[f"{where}: {error}" for where, error in bad.items()])
    if bad and not skip_bad:
        raise BadExportError(result.bad)
    chunk: list[tuple[Value, bytes]] = []
    for item in read_export(folder, manifest, source):
        if item.where in bad or item.value is None or isinstance(item.value, VerdictUpdate):
            continue
        chunk.append((item.value, _file(item)))
        if len(chunk) >= CHUNK or sum(len(file) for _, file in chunk) >= CHUNK_BYTES:
            _store_chunk(store, chunk, result)
    _store_chunk(store, chunk, result)
    store.drop_stale_gold("import")  # an export of an earlier program may hold some
    return result


def _store_chunk(store: AnnotationStore, chunk: list[tuple[Value, bytes]], result: Imported) -> None:
    """Store a chunk, count what was new, and empty it."""
    for (value, _), is_new in zip(chunk, store.ingest(chunk, merge=True) if chunk else [], strict=True):
        counts = result.added if is_new else result.known
        counts[KINDS[type(value)]] += 1
    chunk.clear()


def _file(item: Item) -> bytes:
    """Return the file of an image; b"" for what is none.

    Raises:
        StoreError: it cannot be read.
    """
    try:
        return item.png.read_bytes() if isinstance(item.png, Path) else item.png
    except OSError as error:
        raise StoreError(f"its picture cannot be read ({error.strerror})") from None


def _problems(
    store: AnnotationStore, folder: Path, source: str | None, manifest: dict[str, Any]
) -> Iterator[tuple[str, str]]:
    """Find everything that is wrong with an export: place and sentence."""
    seen, sizes, counts, bad = set[str](), dict[str, tuple[int, int]](), Counter[str](), 0
    for item in read_export(folder, manifest, source):
        error = item.error or _problem_with(store, item, sizes) or _seen_again(item.value, seen)
        counts[KINDS[item.kind]] += not error
        if error:
            bad += 1
            yield item.where, error
    expected = {name: manifest["counts"].get(name) for name in KINDS.values()}
    if not all(isinstance(count, int) for count in expected.values()):
        yield MANIFEST, "it lacks counts"
    elif sum(expected.values()) != counts.total() + bad:
        parts = [f"{count} {name}, of which {counts[name]} can be read" for name, count in expected.items()]
        yield MANIFEST, "it tells of " + "; ".join(parts)


def _seen_again(value: object, seen: set[str]) -> str:
    """Return what is twice in an export that may be there once; "" where nothing is."""
    names = [f"{KINDS[type(value)]}: number {value.number}"] if isinstance(value, Stored | Skip | AuditEntry) else []
    if isinstance(value, Stored):
        names.append(f"submission {value.submission_id[:200]!r}")
    elif isinstance(value, Person):
        names.append(f"person {value.pseudonym}")
    elif isinstance(value, StoredImage):
        names.append(f"image {value.sha256}")
    again = [name for name in names if name in seen]
    seen.update(names)
    return f"{again[0]} is there twice" if again else ""


def _problem_with(store: AnnotationStore, item: Item, sizes: dict[str, tuple[int, int]]) -> str:
    """Return why a line that can be read cannot be stored; "" where it can.

    Args:
        store: that would take it.
        item: of the export.
        sizes: of the images so far, by digest.
    """
    value = item.value
    if isinstance(value, StoredImage):
        try:
            checked_picture(value, _file(item))
        except StoreError as error:
            return f"image {value.sha256[:12]}: {error}"
        sizes[value.sha256] = value.width_px, value.height_px
    elif isinstance(value, Stored | Skip) and value.image_sha256 not in sizes:
        return f"its image {value.image_sha256[:12]} is not in the export"
    if isinstance(value, Stored):
        size, stated = sizes[value.image_sha256], (value.annotation.image_width_px, value.annotation.image_height_px)
        if stated != size:
            return f"its image is {size[0]} x {size[1]} px, not {stated[0]} x {stated[1]}"
        known = store.find(value.submission_id)
        if known is not None and known.digest != value.digest:
            return f"the store has another submission {value.submission_id[:40]!r}"
    return ""
