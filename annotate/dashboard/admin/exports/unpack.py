"""Unpack an archive that may come from anybody: inside one folder, plain files alone, within bounds, or not at all."""

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from annotate.export.folder import MANIFEST
from annotate.store.archives import READABLE, SourceError, open_archive

MOST_UNPACKED_BYTES = 4 * 2**30
MOST_RATIO, RATIO_FROM_BYTES = 100, 256 * 2**20  # unpacked over packed, beyond the size at which it matters
MOST_DEPTH, LONGEST_NAME = 4, 200
CHUNK = 2**20
DAMAGED = "The file is no zip archive, or a damaged one; download the export again."
HOSTILE = "The archive holds {name!r}, which no export holds; nothing was unpacked."
TOO_LARGE = "The archive would unpack to more than it may; unpack it yourself and use `gazevlm annotations import`."


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack an export into an empty folder.

    Args:
        archive: a zip archive of an export, with or without one folder around it.
        folder: takes it; what was begun stays there on an error, so give one that is thrown away.

    Returns:
        where export.json lies.

    Raises:
        SourceError: no archive of an export, names that lead elsewhere, links, or more than it may hold.
        OSError: the disk takes no more.
    """
    try:
        with open_archive(archive) as opened:
            infos = [info for info in opened.infolist() if not info.is_dir()]
            places = _checked(infos, archive.stat().st_size)
            for info, place in zip(infos, places, strict=True):
                _write(opened, info, folder / place)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, zlib.error, EOFError):
        raise SourceError(DAMAGED) from None
    return folder / _root(places)


def _checked(infos: list[zipfile.ZipInfo], packed_bytes: int) -> list[PurePosixPath]:
    """Where each file goes, below the folder."""
    total = sum(info.file_size for info in infos)
    if total > MOST_UNPACKED_BYTES or (total > RATIO_FROM_BYTES and total > MOST_RATIO * packed_bytes):
        raise SourceError(TOO_LARGE)
    places: list[PurePosixPath] = []
    seen: set[str] = set()
    for info in infos:
        place = _place(info)
        folded = str(place).casefold()  # a disk may not tell upper from lower case
        if folded in seen:
            raise SourceError(HOSTILE.format(name=info.filename[:60]))
        seen.add(folded)
        places.append(place)
    return places


def _place(info: zipfile.ZipInfo) -> PurePosixPath:
    name, mode = info.filename, info.external_attr >> 16
    place = PurePosixPath(name)
    plain = name.isprintable() and len(name) <= LONGEST_NAME and not set('\\:*?"<>|') & set(name)
    inside = not place.is_absolute() and 0 < len(place.parts) <= MOST_DEPTH and ".." not in place.parts
    file = stat.S_IFMT(mode) in (0, stat.S_IFREG)  # no link, device or pipe
    if not (plain and inside and file):
        raise SourceError(HOSTILE.format(name=name[:60]))
    if info.compress_type not in READABLE or info.flag_bits & 1:
        raise SourceError(DAMAGED)
    return place


def _write(opened: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> None:
    """One file; never more bytes than its entry said, which were counted."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with opened.open(info) as source, path.open("xb") as target:
            shutil.copyfileobj(source, target, CHUNK)
    except (FileExistsError, NotADirectoryError):
        raise SourceError(HOSTILE.format(name=info.filename[:60])) from None
    if path.stat().st_size != info.file_size:
        raise SourceError(DAMAGED)


def _root(places: list[PurePosixPath]) -> PurePosixPath:
    roots = sorted((place.parent for place in places if place.name == MANIFEST), key=lambda place: len(place.parts))
    if not roots or len(roots[0].parts) > 1:
        raise SourceError(f"There is no {MANIFEST} in the archive, so it is no export; choose another file.")
    return roots[0]
