"""What a table says of images: their patients, and whatever else its columns hold. A row that cannot be taken is named
with the reason, and the others are taken.

Which column names the images, the patients, the views and the splits follows from its name, as in
`gazevlm_core.datasets.label_table`; each other one is a metadatum of its name. An image is meant by its digest, or by
its file's name, with as many of its folders as it takes.
"""

import csv
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from sqlalchemy import Connection, select

from annotate.store.base import Store, write_audit
from annotate.store.images import find_image, set_columns
from annotate.store.model import (
    FOUND_AT,
    LONGEST_KEY,
    LONGEST_PATIENT,
    MOST_METADATA,
    SPLIT,
    VIEW,
    StoreError,
    checked_metadata,
    checked_text,
)
from annotate.store.queue import lock_image
from annotate.store.tables import IMAGES
from gazevlm_core.annotation import is_digest
from gazevlm_core.datasets.files import is_separator_line, text_lines
from gazevlm_core.datasets.identity import WRITTEN_FOR_NOTHING, id_text, without_ending
from gazevlm_core.datasets.label_table import (
    IMAGE_COLUMNS,
    PATIENT_COLUMNS,
    SPLIT_COLUMNS,
    VIEW_COLUMNS,
    NamedFiles,
    key_of,
    view_name,
)
from gazevlm_core.sample import DatasetError

DESCRIBED = "image described"  # in the audit log
MOST_BYTES, MOST_ROWS, MOST_COLUMNS, MOST_SHOWN = 16 * 2**20, 50_000, MOST_METADATA + 10, 60
OWN_COLUMN = key_of(FOUND_AT)
IMAGE_KEYS = ("sha256", "digest", OWN_COLUMN, *IMAGE_COLUMNS)
PART = 200  # images of one transaction
PATIENT = "patient"
FORMULA = "=@＝＠"  # noqa: RUF001 - spreadsheets take the wide forms for the usual ones
NO_IMAGE = "no image here is called so"
SEVERAL = "several images are called so; name its folders too, or its image_id"


@dataclass(frozen=True)
class RefusedRow:
    """A row that was not taken: its last line, what it calls its image, and why."""

    line: int
    image: str
    why: str


@dataclass(frozen=True)
class Described:
    """What came of a table.

    Args:
        columns: that were read, and as what.
        changed, same: rows that held something new, and rows of which everything was known.
        refused: rows that were not taken, by line.
    """

    columns: dict[str, str]
    changed: int
    same: int
    refused: tuple[RefusedRow, ...]


@dataclass(frozen=True)
class _Row:
    """What a row says; `image` as it calls it, as it may be shown."""

    line: int
    image: str
    patient_id: str
    metadata: dict[str, str]

    def contradicts(self, patient_id: str, metadata: Mapping[str, str]) -> str:
        """Return what is another value here than there; "" where nothing is."""
        if self.patient_id and patient_id not in ("", self.patient_id):
            return PATIENT
        return next((name for name, value in self.metadata.items() if metadata.get(name, value) != value), "")


class _RowError(ValueError):
    """A row that cannot be taken; the text is why."""


def describe_images(store: Store, path: Path, by: str, *, replace_known: bool = False) -> Described:
    """Take a table of images: CSV in UTF-8, columns separated by commas, semicolons or tabs, names in the first row.

    Empty cells change nothing. What was known before stands in the audit log.

    Args:
        store: that has the images.
        path: of the table.
        by: who decides.
        replace_known: whether what is known already gives way to another value; else such a row is refused.

    Raises:
        StoreError: no table, none that names images, or one beyond the bounds; nothing is changed then.
    """
    rows = _rows(path)
    _, header = next(rows, (0, []))
    body = list(islice(rows, MOST_ROWS + 1))
    if not body:
        raise StoreError("The table has no row below its header; give one with rows.")
    if len(body) > MOST_ROWS:
        raise StoreError(f"The table has more than {MOST_ROWS:,} rows; split it.")
    finder = _Finder(store.database.read(_named_images))
    columns = _Columns.of(header, [cells for _, cells in body], finder)
    refused, wanted, row_of = list[RefusedRow](), list[tuple[str, _Row]](), dict[str, _Row]()
    for line, cells in body:
        name = _shown(cells[columns.image]) if columns.image < len(cells) else ""
        try:
            row = columns.read(line, cells)
            digest = finder.find(row.image)
            before = row_of.setdefault(digest, row)
            if what := row.contradicts(before.patient_id, before.metadata):
                raise _RowError(f"line {before.line} tells another {what} of it")
        except _RowError as error:
            refused.append(RefusedRow(line, name, str(error)))
            continue
        row_of[digest] = _Row(
            before.line, before.image, before.patient_id or row.patient_id, {**row.metadata, **before.metadata}
        )
        wanted.append((digest, row))
    changed, rest = 0, iter(wanted)
    while part := list(islice(rest, PART)):
        news, bad = store.database.write(_writing(part, by, store.now_us(), replace_known))
        changed, refused = changed + news, refused + bad
    refused.sort(key=lambda one: one.line)
    return Described(columns.words(), changed, len(body) - len(refused) - changed, tuple(refused))


# ---- the file --------------------------------------------------------------------------------------------------------
def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield number of the last line and cells of every row that is not empty, without blanks around them."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise StoreError(f"The table is larger than {MOST_BYTES >> 20} MiB; split it.")
        lines = (line for line in text_lines(path) if line.strip() and not is_separator_line(line))
        first = next(lines, "")
        delimiter = max((",", ";", "\t"), key=first.count)
        reader = csv.reader(text_lines(path), delimiter=delimiter)
        for row in reader:
            if any(cell.strip() for cell in row) and not is_separator_line(delimiter.join(row)):
                yield reader.line_num, [cell.strip() for cell in row]
    except OSError as error:
        raise StoreError(f"The table cannot be read ({error.strerror}); choose it again.") from None
    except csv.Error as error:
        raise StoreError(f"The table is no CSV file: {error}.") from None
    except DatasetError as error:
        raise StoreError(f"{error}.") from None


def _shown(text: str) -> str:
    plain = "".join(sign if unicodedata.category(sign)[0] != "C" else "?" for sign in text[:MOST_SHOWN])
    return plain if len(text) <= MOST_SHOWN else f"{plain[:-1]}…"


def _checked(name: str, cell: str) -> str:
    """Return a cell that is plain text of one line, and no formula of a spreadsheet."""
    if any(unicodedata.category(sign) in ("Cc", "Cf", "Cs") for sign in cell):
        raise _RowError(f"{_shown(name)} holds characters that cannot be seen; is a quotation mark missing?")
    if cell[:1] and cell[0] in FORMULA:
        raise _RowError(f"{_shown(name)} begins with {cell[0]}, as a formula does")
    return "" if cell in WRITTEN_FOR_NOTHING else cell


@dataclass(frozen=True)
class _Columns:
    """What the columns of a table are.

    Args:
        header: names of all.
        image, patient: places; None where no column tells patients.
        metadata: place -> name.
    """

    header: Sequence[str]
    image: int
    patient: int | None
    metadata: Mapping[int, str]

    @classmethod
    def of(cls, header: Sequence[str], rows: Sequence[Sequence[str]], finder: "_Finder") -> "_Columns":
        """Return the columns of a header.

        A number may be an image's by accident: a column that has images by digest or with their endings goes before one
        that has them without.

        Args:
            header: of the table.
            rows: which tell which column names images.
            finder: of images.

        Raises:
            StoreError: too many columns, one without a name, two of one name, or none that names images.
        """
        if len(header) > MOST_COLUMNS:
            raise StoreError(f"The table has {len(header):,} columns; leave all but {MOST_COLUMNS} out.")
        for name in header:
            try:
                checked_text("The name of a column", _checked("a column's name", name), LONGEST_KEY)
            except _RowError as error:
                raise StoreError(f"The header cannot be taken: {error}.") from None
        keys = [name.casefold() for name in header]
        if twice := [name for name in header if keys.count(name.casefold()) > 1]:
            raise StoreError(f"Two columns of the table are called {_shown(twice[0])}; rename one.")
        places = {name: _place(header, names) for name, names in KNOWN.items()}
        named = [place for place, name in enumerate(header) if key_of(name) in IMAGE_KEYS]
        hits = {place: {cells[place] for cells in rows if place < len(cells) and finder.has(cells[place])}
                for place in named}  # fmt: skip
        if not any(hits.values()):
            raise StoreError(
                "No column of the table names images that are here; call it image_id (their digests) or file."
            )

        def rank(place: int) -> tuple[bool, int, int]:
            exact = any(is_digest(cell.lower()) or without_ending(cell) != cell for cell in hits[place])
            return exact, len(hits[place]), -IMAGE_KEYS.index(key_of(header[place]))

        image, patient = max(named, key=rank), places.pop(PATIENT)
        roles = {place: name for name, place in places.items() if place is not None and place != image}
        taken = (image, patient, *roles, *(place for place, name in enumerate(header) if key_of(name) == OWN_COLUMN))
        others = {place: name for place, name in enumerate(header) if place not in taken}
        return cls(header, image, patient, {**others, **roles})

    def read(self, line: int, cells: Sequence[str]) -> _Row:
        """Return what a row says.

        Raises:
            _RowError: it cannot be taken.
        """
        if len(cells) > len(self.header) and any(cells[len(self.header) :]):
            raise _RowError(f"it has {len(cells)} values for {len(self.header)} columns")
        plain = [_checked(name, cell) for name, cell in zip(self.header, cells, strict=False)]
        plain += [""] * (len(self.header) - len(plain))
        patient = "" if self.patient is None else id_text(plain[self.patient])
        metadata = {name: plain[place] for place, name in self.metadata.items() if plain[place]}
        metadata |= {VIEW: view_name(metadata[VIEW])} if VIEW in metadata else {}
        try:
            checked_text("The patient", patient, LONGEST_PATIENT, empty=True)
            checked_metadata(metadata)
        except StoreError as error:
            raise _RowError(str(error).rstrip(".")) from None
        if not plain[self.image]:
            raise _RowError("it names no image")
        return _Row(line, plain[self.image], patient, metadata)

    def words(self) -> dict[str, str]:
        """Return what each column is taken for."""
        roles = {self.image: "the image", self.patient: "the patient"}
        return {name: roles.get(place) or self.metadata.get(place, "") for place, name in enumerate(self.header)}


KNOWN = {PATIENT: PATIENT_COLUMNS, VIEW: VIEW_COLUMNS, SPLIT: SPLIT_COLUMNS}


def _place(header: Sequence[str], names: Sequence[str]) -> int | None:
    """Return the place of the first of some names that a header has."""
    keys = [key_of(name) for name in header]
    return next((keys.index(name) for name in names if name in keys), None)


# ---- images ----------------------------------------------------------------------------------------------------------
def _named_images(connection: Connection) -> dict[str, list[str]]:
    """Return digests of all images, by the name of their file with the folders that it was found in."""
    found: dict[str, list[str]] = {}
    for sha256, name, metadata in connection.execute(select(*IMAGES.c["sha256", "name", "metadata"])):
        found.setdefault(metadata.get(FOUND_AT) or name, []).append(sha256)
    return found


class _Finder:
    """Images by what a table calls them.

    Args:
        named: name -> digests.
    """

    def __init__(self, named: Mapping[str, Sequence[str]]) -> None:
        self._named, self._files = named, NamedFiles(named)
        self._digests = {sha256 for digests in named.values() for sha256 in digests}

    def has(self, text: str) -> bool:
        """Return whether it may be an image."""
        try:
            return bool(self.find(text))
        except _RowError as error:
            return str(error) == SEVERAL

    def find(self, text: str) -> str:
        """Return the digest of an image.

        Raises:
            _RowError: there is none of that name, or several.
        """
        if is_digest(text.lower()):
            if text.lower() in self._digests:
                return text.lower()
            raise _RowError(NO_IMAGE)
        try:
            name = self._files.find(text)
        except ValueError:
            raise _RowError(SEVERAL) from None
        if name is None:
            raise _RowError(NO_IMAGE)
        if len(self._named[name]) > 1:
            raise _RowError(SEVERAL)
        return self._named[name][0]


def _writing(
    part: Sequence[tuple[str, _Row]], by: str, now_us: int, replace_known: bool
) -> Callable[[Connection], tuple[int, list[RefusedRow]]]:
    """Return what writes some rows: how many held something new, and which contradict what is known."""

    def write(connection: Connection) -> tuple[int, list[RefusedRow]]:
        news, refused = 0, list[RefusedRow]()
        entries = {digest: lock_image(connection, digest) for digest in sorted({digest for digest, _ in part})}
        for digest, row in part:
            known = find_image(connection, digest)
            if not replace_known and (what := row.contradicts(known.patient_id, known.metadata)):
                refused.append(RefusedRow(row.line, _shown(row.image), f"another {what} is known of it already"))
                continue
            now = {"patient_id": row.patient_id or known.patient_id, "metadata": {**known.metadata, **row.metadata}}
            was = {"patient_id": known.patient_id, "metadata": known.metadata}
            if now == was:
                continue
            if len(now["metadata"]) > MOST_METADATA:
                why = f"the image would have more than {MOST_METADATA} metadata"
                refused.append(RefusedRow(row.line, _shown(row.image), why))
                continue
            set_columns(connection, entries[digest].id, **now)
            write_audit(connection, now_us, by, DESCRIBED, digest, was={name: one for name, one in was.items() if one})
            news += 1
        return news, refused

    return write
