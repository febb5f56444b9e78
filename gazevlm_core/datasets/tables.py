"""Reading the tables of data sets: row by row, with one error that names the file, the row and the column."""

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from gazevlm_core.datasets.identity import WRITTEN_FOR_NOTHING, id_text
from gazevlm_core.datasets.record import DatasetError
from gazevlm_core.datasets.text_files import TextFileError, text_lines, whole_text

Row = Mapping[str, str]


def find_file(root: Path, relative: str, dataset: str, *others: str) -> Path:
    """A file of a data set.

    Args:
        root: folder of the data set.
        relative: name of the file.
        dataset: name, for errors.
        others: names that it has in other editions.

    Raises:
        DatasetError: it is not there.
    """
    for name in (relative, *others):
        if (root / name).is_file():
            return root / name
    names = " or ".join((relative, *others))
    raise DatasetError(f"{dataset}: there is no {names} in {root}; give the folder that holds it")


def read_table(path: Path, dataset: str) -> Iterator[tuple[int, list[str]]]:
    """Number of the last line and cells of every row that is not empty, the header first; no blanks around cells.

    Args:
        path: of the CSV file.
        dataset: name, for errors.

    Raises:
        DatasetError: no such file, no UTF-8, or a row that is longer or shorter than the header by more than what is
            blank in it.
    """
    header: list[str] = []
    try:
        reader = csv.reader(text_lines(path))
        for row in reader:
            if not row:
                continue
            cells = [cell.strip() for cell in row]
            header = header or cells
            if any(cells[len(header) :]) or any(header[len(cells) :]):
                where = f"{dataset}: {path.name}, line {reader.line_num}"
                raise DatasetError(f"{where} has {len(cells)} values for {len(header)} columns")
            yield reader.line_num, (cells + [""] * len(header))[: len(header)]
    except TextFileError as error:
        raise DatasetError(f"{dataset}: {error}") from None
    except csv.Error as error:
        raise DatasetError(f"{dataset}: {path.name} is no CSV file: {error}") from None


def read_rows(path: Path, columns: Sequence[str], dataset: str) -> Iterator[Row]:
    """Rows of a CSV file as column -> text, without blanks around either; errors as `read_table`.

    Args:
        path: of the file.
        columns: what must be in the header; others may be.
        dataset: name, for errors.

    Raises:
        DatasetError: a missing column.
    """
    rows = read_table(path, dataset)
    _, header = next(rows, (0, []))
    missing = [column for column in columns if column not in header]
    if missing:
        raise DatasetError(f"{dataset}: {path.name} lacks the column {missing[0]!r}; it has {_short(header)}")
    for _, cells in rows:
        yield dict(zip(header, cells, strict=True))


def by_id(rows: Iterable[Row], column: str, told: Sequence[str], where: str) -> dict[str, Row]:
    """Rows by an id that each of them should have alone.

    Args:
        rows: of a table.
        column: of the id.
        told: columns that are read, where there are such; rows that are repeated may differ in others.
        where: for errors.

    Raises:
        DatasetError: two rows of one id that do not say the same.
    """
    found: dict[str, Row] = {}
    for row in rows:
        before = found.setdefault(row[column], row)
        differs = [name for name in told if before.get(name) != row.get(name)]
        if differs:
            raise DatasetError(f"{where} has two rows of {row[column][:64]} that differ in {differs[0]}; keep one")
    return found


def read_words(path: Path, dataset: str) -> str | None:
    """The text of a report; None where there is no such file, or no word in it.

    Raises:
        DatasetError: no UTF-8.
    """
    try:
        return (whole_text(path).strip() or None) if path.is_file() else None
    except TextFileError as error:
        raise DatasetError(f"{dataset}: {error}") from None


class Once:
    """What is met row by row and should be met once.

    Args:
        where: for errors.
    """

    def __init__(self, where: str) -> None:
        self._where, self._seen = where, set[str]()

    def see(self, name: str) -> None:
        """Take a name in.

        Raises:
            DatasetError: it was met before.
        """
        if name in self._seen:
            raise DatasetError(f"{self._where} has two rows of {name[:64]}; keep one")
        self._seen.add(name)


def id_of(row: Row, column: str, where: str) -> str:
    """An id of a row, from `identity.id_text`.

    Raises:
        DatasetError: it is blank.
    """
    found = id_text(row[column])
    if not found:
        raise DatasetError(f"{where}: {column} is blank")
    return found


def path_part(row: Row, column: str, where: str) -> str:
    """A value that names a file or folder.

    Raises:
        DatasetError: it is blank, or would lead elsewhere.
    """
    value = row[column].strip()
    if not value or value in (".", "..") or set(value) & set("/\\\0"):
        raise DatasetError(f"{where}: {column} is {value[:40]!r}, which names no file of the data set")
    return value


def number(row: Row, column: str, where: str) -> float | None:
    """A number of a row; None where it is blank, or what software writes where it has none.

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


def _short(header: Sequence[str]) -> str:
    names = ", ".join(repr(name) for name in header[:6])
    return f"{names}, ..." if len(header) > 6 else names or "nothing"
