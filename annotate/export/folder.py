"""Export of a store to a folder: there as a whole or not at all, and the same bytes for the same store."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from annotate.export.card import CARD, NO_LICENCE, Tally, render_card
from annotate.export.formats import NAMES, ImageFiles, Sink, formats, open_text
from annotate.export.lines import json_line, line_of
from annotate.store.model import SPLIT, VIEW, AuditEntry, Skip, Stored, StoredImage, StoreError, Verdict, gold_makers
from annotate.store.store import AnnotationStore

MANIFEST, SKIPS, AUDIT, PEOPLE = "export.json", "skips.jsonl", "audit.jsonl", "people.jsonl"
FORMAT, FIRST_VERSION, VERSION = "gazevlm-annotations", 1, 2  # the first one is read, too
Which = Literal["all", "accepted"]
PAGE, SHORT_DIGITS = 500, 12
TITLE = "Click scanpaths"
T = TypeVar("T", Stored, Skip, AuditEntry)


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
    project: str = "",
    names: bool = False,
    formats: Collection[str] = NAMES,
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
        project: short name of the project whose submissions are taken, of accepted ones; "" for all.
        names: write people's names; for admins only, which the caller must have checked.
        formats: some of `annotate.export.formats.NAMES`.
        licence: identifier that the Hub knows; "" for none.
        title: of the data card.

    Raises:
        StoreError: an unknown format or project, a full copy of one project, a folder in use, or a disk that takes no
            more; nothing is left behind then.
    """
    if project and which == "all":
        raise StoreError("A full copy has all projects; of one project accepted submissions alone are exported.")
    if project:
        store.project(project)  # checks it
    unknown = sorted(set(formats) - set(NAMES))
    if unknown or not formats:
        raise StoreError(f"Formats are {', '.join(NAMES)}; {', '.join(unknown) or 'none'} was asked for.")
    with atomic_folder(folder, "export") as work:
        tally = Tally(work)
        if which == "all":  # before the images, so that all that these lines speak of is written after them
            tally.totals["skips"] = _write_lines(work / SKIPS, pages(store.skips))
            tally.totals["audit"] = _write_lines(work / AUDIT, pages(store.audit))
        images = images_with_submissions(store, which, project)
        _write_images(store, images, work, tally, formats, title, licence or NO_LICENCE)
        if which == "all" or names:
            people = sorted(store.people(), key=lambda one: one.pseudonym)
            kept = (one for one in people if which == "all" or one.pseudonym in tally.annotators)
            shown = (one if names else replace(one, name=None) for one in kept)
            tally.totals["people"] = _write_lines(work / PEOPLE, shown)
        written = sorted({path.relative_to(work).parts[0] for path in work.rglob("*")})
        card = render_card(tally.values(), which=which, names=names, licence=licence, title=title, files=written)
        (work / CARD).write_text(card, encoding="utf-8", newline="\n")
        manifest = {
            "format": FORMAT, "version": VERSION, "which": which, "project": project, "names": names,
            "formats": [name for name in NAMES if name in formats], "counts": tally.values(),
            "files": {path.relative_to(work).as_posix(): file_digest(path) for path in files_below(work)},
        }  # fmt: skip
        (work / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8", newline="\n")
    return Exported(folder, tally.values())


@contextmanager
def atomic_folder(folder: Path, what: str) -> Iterator[Path]:
    """Return a folder beside the wanted one to write to; it takes that name at the end, and is gone after any error.

    Args:
        folder: must not exist, or be empty.
        what: is written, for messages, such as "export".

    Raises:
        StoreError: the folder is in use, or the disk takes no more.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StoreError(f"{folder} is in use; give a folder that is empty or not there yet.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise StoreError(f"Cannot write beside {folder}: {error.strerror}.") from None
    try:
        yield work
        work.chmod(0o755)
        work.replace(folder)  # a rename; an empty folder gives way
    except OSError as error:
        raise StoreError(f"The {what} could not be written ({error.strerror}); nothing was left behind.") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _write_images(
    store: AnnotationStore, images: Iterable[tuple[StoredImage, list[Stored]]], work: Path, tally: Tally,
    names: Collection[str], title: str, licence: str,
) -> None:  # fmt: skip
    """Write every image with its submissions, in all formats, and as files where one of them names those."""
    chosen = formats(names).values()
    sinks: list[Sink] = [tally, *([ImageFiles(work)] if any(one.with_images for one in chosen) else ())]
    sinks += [sink for one in chosen for sink in one.sinks(work, title, licence)]
    for image, stored in images:
        png = store.png(image.sha256)
        for sink in sinks:
            sink.add(image, png, stored)
    for sink in sinks:
        sink.finish()


def images_with_submissions(
    store: AnnotationStore, which: Which = "all", project: str = ""
) -> Iterator[tuple[StoredImage, list[Stored]]]:
    """Yield every image by its digest, with its submissions by number; of "accepted", those that have one, unnamed,
    and where a project is given, those submissions that were made in it."""
    verdicts: Sequence[Verdict] | None = None if which == "all" else ["accepted"]
    for image in store.all_images():
        stored = submissions_of(store, image.sha256, verdicts, include_removed=which == "all")
        if which == "all":
            yield image, stored
        elif kept := [one for one in stored if project in ("", one.project)]:
            yield _for_publishing(store, image, kept), kept


def _for_publishing(store: AnnotationStore, image: StoredImage, kept: Sequence[Stored]) -> StoredImage:
    """Return an image without what may tell who the patient is, the name of its file and what a table said of it, and
    without a gold path that rests on a submission which is not published.

    The patient is a code that nobody finds without the store's secret: splits by patient work with it as well.

    Args:
        store: that it is in.
        image: to be published.
        kept: its submissions that are.
    """
    if image.gold is not None:
        everything = submissions_of(store, image.sha256, include_removed=True)
        if not _may_publish_gold(image, everything, kept):
            image = replace(image, gold=None, gold_from=())
    patient = f"patient-{store.tag(f'patient {image.patient_id}')[:SHORT_DIGITS]}" if image.patient_id else ""
    metadata = {name: value for name, value in image.metadata.items() if name in (VIEW, SPLIT)}
    return replace(image, name=image.sha256[:SHORT_DIGITS], source="", patient_id=patient, metadata=metadata)


def _may_publish_gold(image: StoredImage, stored: Iterable[Stored], kept: Sequence[Stored]) -> bool:
    """Return whether a gold path is of nobody here, or its path and all whom it was chosen from are published.

    Args:
        image: with its gold path.
        stored: all its submissions, those that are rejected or removed, too.
        kept: those that are published.
    """
    makers = gold_makers(image.gold, image.gold_from, stored)
    of_kept = {one.annotation.annotator for one in kept}
    return not makers or (makers <= of_kept and any(one.annotation.scanpath == image.gold for one in kept))


def submissions_of(
    store: AnnotationStore, sha256: str, verdicts: Sequence[Verdict] | None = None, *, include_removed: bool = False
) -> list[Stored]:
    """Return all submissions on one image, by number."""

    def page(after: int, limit: int) -> list[Stored]:
        return store.stored(
            after=after, limit=limit, sha256=sha256, verdicts=verdicts, include_removed=include_removed
        )

    return list(pages(page))


def pages(read: Callable[[int, int], Sequence[T]]) -> Iterator[T]:
    """Yield everything that is read by pages of (after, limit), in order of its number."""
    after = 0
    while page := read(after, PAGE):
        yield from page
        after = page[-1].number


def files_below(folder: Path) -> list[Path]:
    """Return all files, sorted by path."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def file_digest(path: Path) -> str:
    """Return SHA-256 of a file, 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write_lines(path: Path, values: Iterable[Any]) -> int:
    with open_text(path) as stream:
        return sum(stream.write(json_line(line_of(value))) > 0 for value in values)
