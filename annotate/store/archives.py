"""Open a zip archive that may come from anybody: bounds before its table of contents is read, names as they were meant.

Zip archives end with a record that holds the place of the table of contents, and a comment of any content behind it.
"""

import io
import unicodedata
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from annotate.store.model import StoreError

MOST_DIRECTORY_BYTES = 16 * 2**20  # of an archive's table of contents
MOST_ENTRIES = 60_000  # of an archive
READABLE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others unpack without a bound on memory
END_RECORD, END_BYTES, LONGEST_COMMENT = b"PK\x05\x06", 22, 2**16
LARGE_LOCATOR, LOCATOR_BYTES, LARGE_RECORD, LARGE_BYTES = b"PK\x06\x07", 20, b"PK\x06\x06", 56
DIRECTORY_ENTRY = b"PK\x01\x02"
NAME_IN_UNICODE = 0x7075  # an extra field of Info-ZIP
# Code pages in which old writers name files, and how Unicode calls the letters that come out. Others (Russian, Chinese,
# Korean) give letters for any bytes at all, so that a wrong reading could not be distinguished from a right one.
CODE_PAGES = (("cp437", ("LATIN",)), ("cp1252", ("LATIN",)), ("cp932", ("CJK", "HIRAGANA", "KATAKANA")))


class SourceError(StoreError):
    """A source that cannot be imported; importing it again would end in the same way."""


@contextmanager
def open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Return an archive, also in the 64-bit form, whose table of contents is within bounds.

    Raises:
        SourceError: no archive, cut short, or with too many files; before the table of contents is read.
        zipfile.BadZipFile: damaged.
    """
    with path.open("rb") as file, zipfile.ZipFile(_WithoutComment(file, _find_end(file))) as archive:
        yield archive


def check_directory(path: Path) -> None:
    """Refuse an archive whose table of contents would fill the memory, before it is read.

    Raises:
        SourceError: too large, or no archive.
    """
    with path.open("rb") as file:
        _find_end(file)


def entry_name(info: zipfile.ZipInfo) -> str:
    """Return the name of a file in an archive as its writer meant it.

    The standard knows code page 437 and, marked by a flag, UTF-8. Writers use UTF-8 without the flag, and the code page
    of their computer. The first reading that makes a name of letters counts; where there is none, the bytes are written
    as escapes, so that no name is garbled without a sign of it.
    """
    if info.flag_bits & 0x800:
        return info.filename
    unicode_name = _unicode_name(info.extra)
    if unicode_name is not None:
        return unicode_name
    raw = info.orig_filename.encode("cp437")
    for encoding, scripts in (("utf-8", ()), *CODE_PAGES):
        try:
            name = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        if not scripts or _is_name(name, scripts):
            return name
    return raw.decode("ascii", errors="backslashreplace")


def _is_name(name: str, scripts: tuple[str, ...]) -> bool:
    """Return whether all beyond ASCII are letters of a script; most letters of Latin names have no mark."""
    foreign = [character for character in name if not character.isascii()]
    if not all(unicodedata.category(character) in ("Lu", "Ll", "Lo") for character in foreign):
        return False
    plain = sum(character.isascii() and character.isalpha() for character in PurePosixPath(name).stem)
    return (scripts != ("LATIN",) or len(foreign) < plain) and all(
        unicodedata.name(character, "").startswith(scripts) for character in foreign
    )


def _unicode_name(extra: bytes) -> str | None:
    """Return the name in the Info-ZIP Unicode path field: version, checksum, UTF-8."""
    while len(extra) >= 4:
        kind, length = int.from_bytes(extra[:2], "little"), int.from_bytes(extra[2:4], "little")
        if kind == NAME_IN_UNICODE and length > 5:
            try:
                return extra[9:4 + length].decode()
            except UnicodeDecodeError:
                return None
        extra = extra[4 + length:]
    return None


def _find_end(file: BinaryIO) -> int:
    """Return where the end record lies; its mark may occur in the comment, too.

    Raises:
        SourceError: there is none, or the table of contents would fill the memory.
    """
    size = file.seek(0, 2)
    start = max(0, size - END_BYTES - LONGEST_COMMENT)
    file.seek(start)
    tail = file.read()
    places = [place for place in range(len(tail) - END_BYTES + 1) if tail.startswith(END_RECORD, place)]
    if not places:
        raise SourceError("The file is no zip archive, or one that is cut short; pack it again.")
    # The comment of the real one ends with the file; something may have been appended to it, though.
    whole = [place for place in places if place + END_BYTES + _number(tail, place + 20, 2) == len(tail)]
    end = start + (whole or places)[-1]
    entries, directory_bytes = _table_of_contents(file, end)
    if directory_bytes <= MOST_DIRECTORY_BYTES:  # the table is read by its length, whatever count the record tells
        file.seek(max(0, end - LOCATOR_BYTES - LARGE_BYTES - directory_bytes))
        entries = max(entries, file.read(end - file.tell()).count(DIRECTORY_ENTRY))
    if entries > MOST_ENTRIES or directory_bytes > MOST_DIRECTORY_BYTES:
        raise SourceError(f"The archive holds more than {MOST_ENTRIES:,} files; unpack it and import the folder.")
    return end


def _table_of_contents(file: BinaryIO, end: int) -> tuple[int, int]:
    """Return how many entries the table of contents has, and its bytes; the larger of what the records say."""
    before = max(0, end - LOCATOR_BYTES - LARGE_BYTES)
    file.seek(before)
    records = file.read(end - before + END_BYTES)
    record = records[-END_BYTES:]
    entries, directory_bytes = _number(record, 10, 2), _number(record, 12, 4)
    if not records[:-END_BYTES][-LOCATOR_BYTES:].startswith(LARGE_LOCATOR):
        return entries, directory_bytes
    if not records.startswith(LARGE_RECORD):
        raise SourceError("The file is no zip archive, or a damaged one; pack it again.")
    # In the small record, all bits set point to the large one.
    entries = max(_number(records, 32, 8), 0 if entries == 0xFFFF else entries)
    return entries, max(_number(records, 40, 8), 0 if directory_bytes == 0xFFFFFFFF else directory_bytes)


def _number(data: bytes, place: int, length: int) -> int:
    return int.from_bytes(data[place:place + length], "little")


class _WithoutComment(io.RawIOBase):
    """An archive up to the end record, without its comment, in which zipfile would take a mark for the record.

    Args:
        file: the archive; stays open.
        end: where the end record lies.
    """

    def __init__(self, file: BinaryIO, end: int) -> None:
        self._file, self._length, self._at = file, end + END_BYTES, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence])
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, self._length - self._at)
        self._file.seek(self._at)
        data = self._file.read(left if size is None or size < 0 else min(size, left))
        self._at += len(data)
        return data
