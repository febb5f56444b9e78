"""Export of a store to a folder: there as a whole or not at all, and the same bytes for the same store."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from annotate.export.card import CARD, NO_LICENCE, Tally, render_card
from annotate.export.coco import CocoFile
from annotate.export.gaze import GazeFiles
from annotate.export.lines import audit_values, json_line, person_values, skip_values
from annotate.export.parquet import ParquetFiles
from annotate.export.sinks import ImageFiles, JsonLines, Sink, open_text
from annotate.export.tables import AnnotationTable, FixationTable
from annotate.export.whole import whole_folder
from annotate.store.store import AnnotationStore
from annotate.store.types import Stored, StoredImage, StoreError, Verdict

MANIFEST, SKIPS, AUDIT, PEOPLE = "export.json", "skips.jsonl", "audit.jsonl", "people.jsonl"
FORMAT, FIRST_VERSION, VERSION = "gazevlm-annotations", 1, 2  # the first one is read, too
Which = Literal["all", "accepted"]
FORMATS = ("jsonl", "parquet", "coco", "csv", "gaze")
WITH_IMAGE_FILES = ("jsonl", "coco", "gaze")
PAGE, SHORT_DIGITS = 500, 12
TITLE = "Click scanpaths"
T = TypeVar("T")


@dataclass(frozen=True)
class Exported:
    """A finished export.

    Args:
        folder: where it lies.
        counts: as in its export.json.
    """

    folder: Path
    counts: dict[str, Any]


def export_store(
    store: AnnotationStore,
    folder: Path,
    *,
    which: Which = "all",
    names: bool = False,
    formats: Collection[str] = FORMATS,
    licence: str = "",
    title: str = TITLE,
) -> Exported:
    """Write a store to a new folder.

    Submissions that come in meanwhile may or may not be in it; what is in it is whole.

    Args:
        store: to be read; one image with its submissions is in memory at a time.
        folder: must not exist, or be empty.
        which: "all" is a full copy, with what was rejected or removed (marked so), skips and audit log; "accepted" is
            for publishing, with accepted submissions and their images alone.
        names: write people's names; for admins only, which the caller must have checked.
        formats: some of FORMATS.
        licence: identifier that the Hub knows; "" for none.
        title: of the data card.

    Raises:
        StoreError: an unknown format, a folder in use, or a disk that takes no more; nothing is left behind then.
    """
    unknown = sorted(set(formats) - set(FORMATS))
    if unknown or not formats:
        raise StoreError(f"Formats are {', '.join(FORMATS)}; {', '.join(unknown) or 'none'} was asked for.")
    with whole_folder(folder, "export") as work:
        counts = _write(store, work, which, names, formats, licence, title)
    return Exported(folder, counts)


def _write(
    store: AnnotationStore, work: Path, which: Which, names: bool, formats: Collection[str], licence: str, title: str
) -> dict[str, Any]:
    tally = Tally()
    if which == "all":  # before the images, so that all that these lines speak of is written after them
        tally.skips = _write_lines(work / SKIPS, map(skip_values, pages(store.skips, lambda one: one.number)))
        tally.audit = _write_lines(work / AUDIT, map(audit_values, pages(store.audit, lambda one: one.number)))
    sinks = [tally, *_sinks(work, formats, licence, title)]
    for image, stored in images_with_submissions(store, which):
        png = store.png(image.sha256)
        for sink in sinks:
            sink.add(image, png, stored)
    for sink in sinks:
        sink.finish()
    if which == "all" or names:
        people = [one for one in store.people() if which == "all" or one.pseudonym in tally.annotators]
        lines = (person_values(one, names=names) for one in sorted(people, key=lambda one: one.pseudonym))
        tally.people = _write_lines(work / PEOPLE, lines)
    written = sorted({path.relative_to(work).parts[0] for path in work.rglob("*")})
    card = render_card(tally, which=which, names=names, licence=licence, title=title, files=written)
    (work / CARD).write_text(card, encoding="utf-8", newline="\n")
    return _write_manifest(work, tally, which, names, formats)


def _sinks(work: Path, formats: Collection[str], licence: str, title: str) -> Iterator[Sink]:
    """What writes the formats, and the images where they need them."""
    if set(formats) & set(WITH_IMAGE_FILES):
        yield ImageFiles(work)
    if "jsonl" in formats:
        yield JsonLines(work)
    if "parquet" in formats:
        yield ParquetFiles(work)
    if "coco" in formats:
        yield CocoFile(work, title, licence or NO_LICENCE)
    if "csv" in formats:
        yield AnnotationTable(work)
        yield FixationTable(work)
    if "gaze" in formats:
        yield GazeFiles(work)


def _write_manifest(
    work: Path, tally: Tally, which: Which, names: bool, formats: Collection[str]
) -> dict[str, Any]:
    counts = tally.values()
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "which": which,
        "names": names,
        "formats": [name for name in FORMATS if name in formats],
        "counts": counts,
        "files": {path.relative_to(work).as_posix(): file_digest(path) for path in files_below(work)},
    }
    (work / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8", newline="\n")
    return counts


def images_with_submissions(
    store: AnnotationStore, which: Which = "all"
) -> Iterator[tuple[StoredImage, list[Stored]]]:
    """Every image by its digest, with its submissions by number; of "accepted", those that have one, without names."""
    verdicts: Sequence[Verdict] | None = None if which == "all" else ["accepted"]
    after = ""
    while page := store.images(after=after, limit=PAGE):
        for image in page:
            stored = submissions_of(store, image.sha256, verdicts, include_removed=which == "all")
            if which == "all":
                yield image, stored
            elif stored:  # the name of a file may tell who a patient is
                yield replace(image, name=image.sha256[:SHORT_DIGITS], source=""), stored
        after = page[-1].sha256


def submissions_of(
    store: AnnotationStore, sha256: str, verdicts: Sequence[Verdict] | None = None, *, include_removed: bool = False
) -> list[Stored]:
    """All submissions on one image, by number."""

    def page(after: int, limit: int) -> list[Stored]:
        return store.stored(
            after=after, limit=limit, sha256=sha256, verdicts=verdicts, include_removed=include_removed
        )

    return list(pages(page, lambda one: one.number))


def pages(read: Callable[[int, int], Sequence[T]], number_of: Callable[[T], int]) -> Iterator[T]:
    """Everything that is read by pages of (after, limit), in order of its number."""
    after = 0
    while page := read(after, PAGE):
        yield from page
        after = number_of(page[-1])


def files_below(folder: Path) -> list[Path]:
    """All files, sorted by path."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def file_digest(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write_lines(path: Path, lines: Iterator[dict[str, Any]]) -> int:
    count = 0
    with open_text(path) as stream:
        for line in lines:
            stream.write(json_line(line))
            count += 1
    return count
