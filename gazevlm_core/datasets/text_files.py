"""Reading the text of data sets: UTF-8, with or without a byte-order mark; anything else is said in one sentence.

A table in UTF-16 or Latin-1, as spreadsheets save them, is refused and not guessed at: a guess turns names into others.
"""

import codecs
import io
from collections.abc import Iterator
from pathlib import Path

# The mark of UTF-32 begins with that of UTF-16.
_OTHER_MARKS = {codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}


class TextFileError(ValueError):
    """A file that is no text in UTF-8, or cannot be read; one sentence that names it and says what to do."""


def placed_lines(path: Path) -> Iterator[tuple[int, int, str]]:
    """Number, place in bytes, and text with its end, of every line.

    Raises:
        TextFileError: the file cannot be read, or a line is no UTF-8.
    """
    try:
        with path.open("rb") as stream:
            offset = 0
            for number, line in enumerate(stream, start=1):
                yield number, offset, text_of(line, path.name, number)
                offset += len(line)
    except OSError as error:
        raise TextFileError(f"cannot read {path}: {error.strerror}") from None


def text_of(line: bytes, name: str, number: int) -> str:
    """One line of a file as text.

    Args:
        line: with its end.
        name: of the file, for errors.
        number: from 1.

    Raises:
        TextFileError: it is no UTF-8.
    """
    if number == 1:
        for mark, encoding in _OTHER_MARKS.items():
            if line.startswith(mark):
                raise TextFileError(f"{name} is text in {encoding}; save it as UTF-8")
        line = line.removeprefix(codecs.BOM_UTF8)
    if b"\0" in line:
        raise TextFileError(f"{name}, line {number} is no text in UTF-8 (it holds a byte of zeros); save it as UTF-8")
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        byte = line[error.start]
        raise TextFileError(
            f"{name}, line {number} is no text in UTF-8 (byte {byte:#04x}); save it as UTF-8"
        ) from None


def text_lines(path: Path) -> Iterator[str]:
    """Lines with their ends, of whatever kind; errors as `placed_lines`."""
    for _, _, text in placed_lines(path):
        yield from io.StringIO(text, newline="")  # old ends of lines, a carriage return alone, too


def whole_text(path: Path) -> str:
    """A whole file as text; errors as `placed_lines`."""
    return "".join(text for _, _, text in placed_lines(path))
