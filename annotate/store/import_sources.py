"""What a batch import reads: a folder, a zip archive or a hub data set, image by image, within bounds.

Nothing is unpacked to the disk: a name in an archive is only a name, wherever it points.
"""

import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from annotate.store.archives import MOST_ENTRIES, READABLE, SourceError, entry_name, open_archive
from annotate.store.model import StoreError
from gazevlm_core.images import IMAGE_SUFFIXES, ImageError, iter_image_files
from gazevlm_core.images.load import read_source

MOST_ARCHIVE_BYTES = 64 * 2**30  # unpacked
MOST_RATIO = 200  # unpacked over packed, beyond the size at which it matters
RATIO_FROM_BYTES = 2**30
BROKEN_ENTRY = "This part of the archive is damaged, encrypted or packed in a rare way; pack it again."


@dataclass(frozen=True)
class Found:
    """One file of a source.

    Args:
        entry: names it within its source, always alike.
        name: for people.
        path: within its source, as it was meant; "" where that has no folders.
        read: gives what `load_image` takes; raises `ImageError`.
    """

    entry: str
    name: str
    path: str
    read: Callable[[], Path | bytes]


def folder_images(where: str) -> Iterator[Found]:
    """Return the images of a folder and of its folders, in sorted order.

    Raises:
        SourceError: no such folder.
    """
    root = Path(where)
    if not root.is_dir():
        raise SourceError("There is no such folder on the server; check the path.")
    inside = root.resolve()
    for path in iter_image_files([root]):
        entry = path.relative_to(root).as_posix() if path != root else ""
        yield Found(entry, path.name, entry, partial(_within, path, inside))


def _within(path: Path, root: Path) -> Path:
    try:
        resolved = path.resolve()
    except (OSError, RuntimeError):  # a loop of links
        resolved = Path("/")
    if not resolved.is_relative_to(root):
        raise ImageError("The file is a link that leads out of the folder; put the file itself there.")
    return path


def count_images(kind: str, where: str) -> int | None:
    """Return how many files a source has that may be images; None where only reading it all would tell.

    Raises:
        SourceError: as the source itself.
    """
    if kind != "hub":
        return sum(1 for _ in SOURCES[kind](where))
    name, split = _hub_name(where)
    info = (_hub_rows(name, split).info.splits or {}).get(split)
    return None if info is None else int(info.num_examples) or None


# ---- archives -------------------------------------------------------------------------------------------------------
def zip_images(where: str) -> Iterator[Found]:
    """Return the images of a zip archive, in its order.

    Raises:
        SourceError: no such file, no archive, or one beyond the bounds.
    """
    path = Path(where)
    if not path.is_file():
        raise SourceError("There is no such file on the server; check the path.")
    try:
        with open_archive(path) as archive:
            infos = archive.infolist()
            _check_size(infos, path.stat().st_size)
            for number, info in enumerate(infos):
                name = PurePosixPath(entry_name(info))
                if info.is_dir() or name.name.startswith(".") or "__MACOSX" in name.parts:
                    continue
                if _may_be_image(name):
                    entry = f"{number} {name}"
                    yield Found(entry, name.name, str(name), partial(_read_entry, archive, info))
    except (zipfile.BadZipFile, OSError, ValueError, EOFError) as error:
        if isinstance(error, StoreError):
            raise
        raise SourceError("The file is no zip archive, or a damaged one; pack it again.") from None


def _check_size(infos: list[zipfile.ZipInfo], packed_bytes: int) -> None:
    total = sum(info.file_size for info in infos)
    if len(infos) > MOST_ENTRIES:
        raise SourceError(f"The archive holds more than {MOST_ENTRIES:,} files; unpack it and import the folder.")
    if total > MOST_ARCHIVE_BYTES or (total > RATIO_FROM_BYTES and total > MOST_RATIO * packed_bytes):
        raise SourceError("The archive would unpack to far more than it may; unpack it and import the folder.")


def _may_be_image(name: PurePosixPath) -> bool:
    """Return whether a file may be an image by its ending; one without a real ending may be DICOM."""
    suffix = name.suffix.lower()
    return suffix in IMAGE_SUFFIXES or not suffix or suffix[1:].isdigit()


def _read_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    if info.compress_type not in READABLE:
        raise ImageError(BROKEN_ENTRY)
    try:
        with archive.open(info) as file:
            return read_source(file)
    except ImageError:
        raise
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, zlib.error, EOFError, OSError, ValueError):
        raise ImageError(BROKEN_ENTRY) from None


# ---- hub ------------------------------------------------------------------------------------------------------------
def hub_images(where: str) -> Iterator[Found]:
    """Return the images of a hub data set, streamed.

    Args:
        where: "owner/name", or "owner/name:split" for another split than "train".

    Raises:
        SourceError: no such data set, or one without images.
    """
    from datasets import Image as ImageFeature  # late: it is heavy

    name, split = _hub_name(where)
    rows = _hub_rows(name, split)
    columns = [column for column, feature in (rows.features or {}).items() if isinstance(feature, ImageFeature)]
    if not columns:
        raise SourceError(f"The data set {name} has no column of images; choose another one.")
    walk = iter(rows.cast_column(columns[0], ImageFeature(decode=False)))
    number = 0
    while (row := _next_row(walk, name)) is not None:
        value = row[columns[0]] or {}
        shown = PurePosixPath(value.get("path") or "").name or f"{name} {number}"
        yield Found(str(number), shown, "", partial(_hub_bytes, value))
        number += 1


def _hub_name(where: str) -> tuple[str, str]:
    """Return a data set's name and split."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    name, _colon, split = where.partition(":")
    try:
        validate_repo_id(name)
    except HFValidationError:
        raise SourceError("This is no name of a data set; write owner/name, or owner/name:split.") from None
    return name, split or "train"


def _hub_rows(name: str, split: str) -> Any:  # noqa: ANN401 - datasets has no types
    from datasets import load_dataset

    try:
        return load_dataset(name, split=split, streaming=True)
    except Exception as error:  # the library, the Hub and the network raise whatever they like
        raise SourceError(_hub_trouble(name, error)) from None


def _next_row(walk: Iterator[dict[str, Any]], name: str) -> dict[str, Any] | None:
    try:
        return next(walk, None)
    except Exception as error:
        raise SourceError(_hub_trouble(name, error)) from None


def _hub_trouble(name: str, error: Exception) -> str:
    return f"The data set {name} cannot be read ({type(error).__name__}); check its name, split and access, or retry."


def _hub_bytes(value: dict[str, Any]) -> bytes:
    data = value.get("bytes")
    if not isinstance(data, bytes):
        raise ImageError("The row holds no image; leave it out, or store the image in the data set.")
    return data


SOURCES = {"folder": folder_images, "zip": zip_images, "hub": hub_images}
