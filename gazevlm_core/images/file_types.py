"""Tell image files from others: by their first bytes, and in folders by their names.

The content decides; a name only helps to word an error.
"""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from gazevlm_core.images.base import ImageError

DICOM_MAGIC_OFFSET = 128
DICOM_MAGIC = b"DICM"
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".dcm", ".dicom")

_EXPORT = "export the image as PNG, JPEG, WebP, TIFF or DICOM"
_TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# (first bytes, what it is, what to do)
_REFUSED: tuple[tuple[bytes, str, str], ...] = (
    (b"GIF8", "a GIF", "save the one frame that matters as PNG"),
    (b"%PDF", "a PDF document", "export its page as PNG"),
    (b"PK\x03\x04", "a ZIP archive or office document", "unpack it and give the image inside"),
    (b"PK\x05\x06", "an empty ZIP archive", "give the image itself"),
    (b"\x1f\x8b", "a gzip archive", "unpack it and give the image inside"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it and give the image inside"),
    (b"Rar!", "a RAR archive", "unpack it and give the image inside"),
    (b"BM", "a BMP picture", "save it as PNG"),
    (b"8BPS", "a Photoshop document", "save it as PNG"),
    (b"\xff\x0a", "a JPEG XL picture", "save it as PNG"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture", "save it as PNG"),
    (b"\0\0\0\x0cjP  ", "a bare JPEG 2000 picture", "save it as PNG"),
    (b"\xff\x4f\xff\x51", "a bare JPEG 2000 picture", "save it as PNG"),
    (b"\0\0\x01\0", "an icon", "save it as PNG"),
    (b"RIFF", "a sound or video file", "save one frame as PNG"),
    (b"\x1aE\xdf\xa3", "a video", "save one frame as PNG"),
    (b"\x7fELF", "a program", "give an image instead"),
    (b"MZ", "a program", "give an image instead"),
    (b"version https://git-lfs", "a Git LFS pointer, not the image itself", "fetch it with git lfs pull"),
)


def sniff_format(data: bytes, suffix: str) -> str:
    """Return the format of an image file: "PNG", "JPEG", "WEBP", "TIFF" or "DICOM".

    Args:
        suffix: the name's ending, lower case with its dot, or "": used only to word the error.

    Raises:
        ImageError: empty, or of no supported format.
    """
    if not data:
        raise ImageError("The file is empty; copy or export it again.")
    if data[DICOM_MAGIC_OFFSET:DICOM_MAGIC_OFFSET + 4] == DICOM_MAGIC:  # before TIFF, which its preamble may imitate
        return "DICOM"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith(_TIFF_MAGICS):
        return "TIFF"
    raise ImageError(_refusal(data, suffix))


def _refusal(data: bytes, suffix: str) -> str:
    promise = f", although its name ends in {suffix}" if suffix in IMAGE_SUFFIXES else ""
    for start, kind, advice in _REFUSED:
        if data.startswith(start):
            return f"This is {kind}{promise}; {advice}."
    if data[4:8] == b"ftyp":
        kind = "a HEIC or AVIF picture" if data[8:11] in (b"hei", b"hev", b"avi", b"mif") else "a video"
        return f"This is {kind}{promise}; save it as PNG or JPEG."
    text = _as_text(data[:4096])
    if text is not None:
        if re.search(r"<svg\b", text):
            return f"This is an SVG drawing{promise}; export it as PNG."
        if re.search(r"<(!doctype html|html|head|body)\b", text):
            return f"This is a web page{promise}; download the image itself."
        return f"This is a text file{promise}; give an image instead."
    if suffix in (".dcm", ".dicom"):
        return "This file has no DICOM header (the letters DICM are missing); export it as DICOM Part 10 or PNG."
    return f"The content of this file is no image format that can be read{promise}; {_EXPORT}."


def _as_text(start: bytes) -> str | None:
    """Return the first bytes as lower-case text, or None where they are binary."""
    encoding = "utf-16" if start.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
    text = start.decode(encoding, errors="ignore").lower()
    printable = sum(character.isprintable() or character.isspace() for character in text)
    return text if text and printable >= 0.95 * len(text) and 2 * len(text) >= len(start) / 2 else None


def iter_image_files(paths: Iterable[str | Path]) -> Iterator[Path]:
    """Yield the files that a command line means.

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
            if not name.startswith(".") and path.is_file() and _is_image(path):
                yield path
    yield from unlisted


def _is_image(path: Path) -> bool:
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
