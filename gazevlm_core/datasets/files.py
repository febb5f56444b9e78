"""Reading the files of data sets: text in UTF-8, and tables row by row; what is wrong is named in one sentence.

A file in UTF-16 or Latin-1, as spreadsheets save them, is refused and not guessed at: a guess turns names into others.
Errors name the file, line and column; `DataSource` puts the name of the data set before them.
"""

import codecs
import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gazevlm_core.datasets.identity import WRITTEN_FOR_NOTHING, id_text
from gazevlm_core.sample import DatasetError

Row = Mapping[str, str]

# The mark of UTF-32 begins with that of UTF-16.
_OTHER_MARKS = {codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}


# ---- text -----------------------------------------------------------------------------------------------------------
def placed_lines(path: Path) -> Iterator[tuple[int, int, str]]:
    """Yield number, place in bytes, and text with its end, of every line, with or without a byte-order mark.

    Raises:
        DatasetError: the file cannot be read, or a line is no UTF-8.
    """
    try:
        with path.open("rb") as stream:
            offset = 0
            for number, line in enumerate(stream, start=1):
                yield number, offset, decoded(line, path.name, number)
                offset += len(line)
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}") from None


def decoded(line: bytes, name: str, number: int) -> str:
    """Return one line of a file as text.

    Args:
        line: with its end.
        name: of the file, for errors.
        number: from 1.

    Raises:
        DatasetError: it is no UTF-8.
    """
    if number == 1:
        for mark, encoding in _OTHER_MARKS.items():
            if line.startswith(mark):
                raise DatasetError(f"{name} is text in {encoding}; save it as UTF-8")
        line = line.removeprefix(codecs.BOM_UTF8)
    if b"\0" in line:
        raise DatasetError(f"{name}, line {number} is no text in UTF-8 (it holds a byte of zeros); save it as UTF-8")
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        byte = line[error.start]
        raise DatasetError(f"{name}, line {number} is no text in UTF-8 (byte {byte:#04x}); save it as UTF-8") from None


def text_lines(path: Path) -> Iterator[str]:
    """Yield lines with their ends, of whatever kind; errors as `placed_lines`."""
    for _, _, text in placed_lines(path):
        yield from io.StringIO(text, newline="")  # old ends of lines, a carriage return alone, too


def read_text(path: Path) -> str:
    """Return a file as text; errors as `placed_lines`."""
    return "".join(text for _, _, text in placed_lines(path))


def read_report(path: Path) -> str | None:
    """Return the text of a report; None where there is no such file, or no word in it."""
    return (read_text(path).strip() or None) if path.is_file() else None


def parse_json(text: str, where: str) -> Any:  # noqa: ANN401 (whatever a file holds)
    """Return the values of a text in JSON.

    Args:
        text: of a line, or of a file.
        where: for errors.

    Raises:
        DatasetError: it is no JSON.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DatasetError(f"{where} is no JSON: {error.msg}") from None
    except (RecursionError, ValueError):  # nested without end, or a number of thousands of digits
        raise DatasetError(f"{where} is no JSON: nested too deep, or with a number that is too long") from None


def json_list(path: Path, keys: Sequence[str]) -> Sequence[dict[str, Any]]:
    """Return the objects of a JSON file that holds a list of them.

    Args:
        keys: what every object must have.

    Raises:
        DatasetError: it cannot be read, is no such list, or an object lacks a key.
    """
    entries = parse_json(read_text(path), path.name)
    if not isinstance(entries, list):
        raise DatasetError(f"{path.name} must be a list of objects")
    for place, entry in enumerate(entries):
        missing = [key for key in keys if not isinstance(entry, dict) or key not in entry]
        if missing:
            raise DatasetError(f"{path.name}, object {place} lacks {missing[0]!r}")
    return entries


# ---- tables ---------------------------------------------------------------------------------------------------------
def find_file(root: Path, relative: str, *others: str) -> Path:
    """Return a file of a data set.

    Args:
        root: folder of the data set.
        relative: name of the file.
        others: names that it has in other editions.

    Raises:
        DatasetError: it is not there.
    """
    for name in (relative, *others):
        if (root / name).is_file():
            return root / name
    raise DatasetError(f"there is no {' or '.join((relative, *others))} in {root}; give the folder that holds it")


def read_table(path: Path, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Yield number of the last line and cells of every row that is not empty, the header first, without blanks around.

    What stands before the header says nothing: blank cells, and the line by which spreadsheets tell the delimiter.

    Args:
        delimiter: what stands between two cells.

    Raises:
        DatasetError: no such file, no UTF-8, or a row that is longer or shorter than the header by more than what is
            blank in it.
    """
    header: list[str] = []
    try:
        reader = csv.reader(text_lines(path), delimiter=delimiter)
        for row in reader:
            if not row:
                continue
            cells = [cell.strip() for cell in row]
            if not header and (not any(cells) or is_separator_line(delimiter.join(row))):
                continue
            header = header or cells
            if any(cells[len(header) :]) or any(header[len(cells) :]):
                where = f"{path.name}, line {reader.line_num}"
                raise DatasetError(f"{where} has {len(cells)} values for {len(header)} columns")
            yield reader.line_num, (cells + [""] * len(header))[: len(header)]
    except csv.Error as error:
        raise DatasetError(f"{path.name} is no CSV file: {error}") from None


def is_separator_line(line: str) -> bool:
    """Return whether a line is the one by which spreadsheets tell the delimiter, such as "sep=;"."""
    return re.fullmatch(r"\s*\"?sep=[,;\t]\"?\s*", line) is not None


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    """Yield rows of a CSV file as column -> text, without blanks around either; errors as `read_table`.

    Args:
        columns: what must be in the header; others may be.

    Raises:
        DatasetError: a missing column.
    """
    rows = read_table(path)
    _, header = next(rows, (0, []))
    missing = [column for column in columns if column not in header]
    if missing:
        names = ", ".join(map(repr, header[:6])) + (", ..." if len(header) > 6 else "")
        raise DatasetError(f"{path.name} lacks the column {missing[0]!r}; it has {names or 'nothing'}")
    for _, cells in rows:
        yield dict(zip(header, cells, strict=True))


def grouped(rows: Iterable[Row], column: str) -> dict[str, list[Row]]:
    """Return the rows of each value of a column, in the order in which the values come first; all are in memory."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row[column], []).append(row)
    return found


def each_once(rows: Iterable[Row], name_of: Callable[[Row], str | None], table: str) -> Iterator[Row]:
    """Yield rows that should have a name each of their own.

    Args:
        name_of: what a row is about; None for nothing.
        table: name, for errors.

    Raises:
        DatasetError: two rows of one name.
    """
    seen: set[str] = set()
    for row in rows:
        name = name_of(row)
        if name in seen:
            raise DatasetError(f"{table} has two rows of {name[:64]}; keep one")
        if name is not None:
            seen.add(name)
        yield row


def by_id(rows: Iterable[Row], column: str, compared: Sequence[str], table: str) -> dict[str, Row]:
    """Return rows by an id that each of them should have alone.

    Args:
        column: of the id.
        compared: columns that are used, where there are such; rows that are repeated may differ in others.
        table: name, for errors.

    Raises:
        DatasetError: two rows of one id that do not say the same.
    """
    found: dict[str, Row] = {}
    for row in rows:
        before = found.setdefault(row[column], row)
        differs = [name for name in compared if before.get(name) != row.get(name)]
        if differs:
            raise DatasetError(f"{table} has two rows of {row[column][:64]} that differ in {differs[0]}; keep one")
    return found


# ---- cells ----------------------------------------------------------------------------------------------------------
def id_of(row: Row, column: str, where: str) -> str:
    """Return an id of a row, from `identity.id_text`.

    Raises:
        DatasetError: it is blank.
    """
    found = id_text(row[column])
    if not found:
        raise DatasetError(f"{where}: {column} is blank")
    return found


def path_part(row: Row, column: str, where: str) -> str:
    """Return a value that names a file or folder.

    Raises:
        DatasetError: it is blank, or would lead elsewhere.
    """
    value = row[column].strip()
    if not value or value in (".", "..") or set(value) & set("/\\\0"):
        raise DatasetError(f"{where}: {column} is {value[:40]!r}, which names no file of the data set")
    return value


def number(row: Row, column: str, where: str) -> float | None:
    """Return a number of a row; None where it is blank, or what software writes where it has none.

    Raises:
        DatasetError: words, or a number that is not finite.
    """
    text = row[column].strip()
    if not text or text in WRITTEN_FOR_NOTHING:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DatasetError(f"{where}: {column} is {text[:40]!r}, not a number")
    return value


def is_true(text: str) -> bool:
    """Return whether a cell is true, as Python and spreadsheets write it."""
    return text.strip().lower() in ("true", "1", "1.0")
