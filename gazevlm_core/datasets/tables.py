"""Reading the tables of data sets: row by row, with one error that names the file, the row and the column."""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gazevlm_core.datasets.record import DatasetError

Row = Mapping[str, str]


def find_file(root: Path, relative: str, dataset: str) -> Path:
    """A file of a data set.

    Raises:
        DatasetError: it is not there.
    """
    path = root / relative
    if not path.is_file():
        raise DatasetError(f"{dataset}: there is no {relative} in {root}; give the folder that holds it")
    return path


def read_rows(path: Path, columns: Sequence[str], dataset: str) -> Iterator[Row]:
    """Rows of a CSV file as column -> text; a byte-order mark is skipped.

    Args:
        path: of the file.
        columns: what must be in the header; others may be.
        dataset: name, for errors.

    Raises:
        DatasetError: no such file, a missing column, no UTF-8, or a row of another length than the header.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream)
            header = next(reader, [])
            missing = [column for column in columns if column not in header]
            if missing:
                raise DatasetError(f"{dataset}: {path.name} lacks the column {missing[0]!r}; it has {_short(header)}")
            for row in reader:
                if not row:
                    continue
                if len(row) != len(header):
                    where = f"{dataset}: {path.name}, line {reader.line_num}"
                    raise DatasetError(f"{where} has {len(row)} values for {len(header)} columns")
                yield dict(zip(header, row, strict=True))
    except UnicodeDecodeError:
        raise DatasetError(f"{dataset}: {path.name} is no text in UTF-8") from None
    except csv.Error as error:
        raise DatasetError(f"{dataset}: {path.name} is no CSV file: {error}") from None
    except OSError as error:
        raise DatasetError(f"{dataset}: cannot read {path}: {error.strerror}") from None


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
    """A number of a row; None where it is blank.

    Raises:
        DatasetError: words, or a number that is not finite.
    """
    text = row[column].strip()
    if not text:
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
