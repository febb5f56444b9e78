"""Find the image files that a command line means."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from gazevlm_core.images.sniff import DICOM_MAGIC, DICOM_MAGIC_OFFSET, IMAGE_SUFFIXES


def iter_image_files(paths: Iterable[str | Path]) -> Iterator[Path]:
    """The files that a command line means.

    A path that is no folder is given back as it is, whether it exists or not, so that loading it says what is wrong.
    A folder gives its files and those of its folders (linked folders are not entered) in sorted order: those that end
    in one of IMAGE_SUFFIXES, and DICOM files without a real ending (UIDs as names), known by their first bytes. Hidden
    files are left out. A folder that cannot be listed is itself given back.

    Args:
        paths: files and folders.
    """
    for path in map(Path, paths):
        if path.is_dir():
            yield from _files_below(path)
        else:
            yield path


def _files_below(folder: Path) -> Iterator[Path]:
    unlisted: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=lambda error: unlisted.append(Path(error.filename))):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            if not name.startswith(".") and path.is_file() and _looks_like_image(path):
                yield path
    yield from unlisted


def _looks_like_image(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return True
    if suffix and not suffix[1:].isdigit():
        return False
    try:
        with path.open("rb") as file:
            return file.read(DICOM_MAGIC_OFFSET + len(DICOM_MAGIC))[DICOM_MAGIC_OFFSET:] == DICOM_MAGIC
    except OSError:
        return False
