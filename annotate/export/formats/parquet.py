"""`data/` and `flat/`, each `train-NNNNN.parquet`: what `datasets.load_dataset(FOLDER)` and `(FOLDER, "flat")` open.

`data/` has a row per image with its submissions, as a `datasets.Dataset` with an `Image` feature. Each submission also
carries its record as JSON text, so nothing is lost. `flat/` has a row per submission, its path as lists of numbers and
nothing nested, without the picture: `image_id` is the same there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_origin, get_type_hints

from annotate.export.formats import Format, Sink
from annotate.export.lines import NOT_IN_LINES, Item, LineError, flat_values, line_of, parse_json, read_item
from annotate.store.model import LINE_NAMES, Stored, StoredImage
from annotate.store.tables import plain_type
from gazevlm_core.annotation import canonical_json

if TYPE_CHECKING:
    from datasets import Features

DATA, FLAT = "data", "flat"
GROUP_BYTES, FILE_BYTES = 32 * 2**20, 512 * 2**20
ROW_BYTES = 512  # about what a flat row takes beside its path and its words
ROWS_READ = 8  # at a time
KINDS = {str: "string", int: "int64", bool: "bool", float: "float64"}
TEXTS, SHARES = [str], [float]  # lists
ANSWER_COLUMNS = {
    "submission_id": str, "reader": str, "mode": str, "question": str, "findings": TEXTS, "findings_asked": TEXTS,
    "report": str, "confidence": int,
}  # fmt: skip
FLAT_COLUMNS: dict[str, Any] = {
    "image_id": str, "file_name": str, "patient_id": str, "width_px": int, "height_px": int, "number": int,
    "submission_id": str, "receipt": str, "reader": str, "kind": str, "verdict": str, "removed": bool,
    "project": str, "mode": str, "source": str, "question": str,
    "findings": TEXTS, "findings_asked": TEXTS, "report": str, "confidence": int,
    "started_at": str, "submitted_at": str, "x": SHARES, "y": SHARES, "onset_ms": SHARES, "duration_ms": SHARES,
}  # fmt: skip


def columns_of(value: type) -> dict[str, Any]:
    """Return the columns of a value of the store: plain ones, lists of text, and JSON text for what is nested."""
    return {
        name: kind if kind in KINDS else TEXTS if get_origin(kind) is tuple else str
        for name, kind in _kinds(value).items()
    }


def json_columns(value: type) -> list[str]:
    """Return the columns that are JSON text."""
    return [name for name, kind in _kinds(value).items() if kind not in KINDS and get_origin(kind) is not tuple]


def _kinds(value: type) -> dict[str, Any]:
    hints = get_type_hints(value, include_extras=True)
    kinds = {one.name: plain_type(hints[one.name])[0] for one in fields(value)}
    return {LINE_NAMES.get(name, name): kind for name, kind in kinds.items() if name != NOT_IN_LINES}


IMAGE_COLUMNS = columns_of(StoredImage)
IMAGE_JSON, RECORD_JSON = json_columns(StoredImage), json_columns(Stored)
SUBMISSION_COLUMNS = {name: kind for name, kind in columns_of(Stored).items() if name != "record"}
FIXATION = dict.fromkeys(("x", "y", "onset_ms", "duration_ms"), float)
NESTED = {**SUBMISSION_COLUMNS, **ANSWER_COLUMNS, "fixations": [FIXATION], "record": str}


def features(columns: dict[str, Any]) -> "Features":
    """Return columns for `datasets`; a list of one kind is a list of such, a dictionary a structure."""
    from datasets import Features, Image, List, Value  # late: seconds

    def feature(kind: Any) -> Any:  # noqa: ANN401 - datasets has no types
        if isinstance(kind, list):
            return List(feature(kind[0]))
        if isinstance(kind, dict):
            return {name: feature(inner) for name, inner in kind.items()}
        return Image() if kind is bytes else Value(KINDS[kind])

    return Features(feature(columns))


def image_row(image: StoredImage, png: bytes, stored: Sequence[Stored]) -> dict[str, Any]:
    """Return one image with its submissions."""
    values = {name: _plain(value) for name, value in line_of(image).items()}
    flat = [flat_values(image, one) for one in stored]
    pixels = {"bytes": png, "path": f"{image.sha256}.png"}
    return {"image": pixels, **values, "annotations": [{name: one[name] for name in NESTED} for one in flat]}


def _plain(value: object) -> object:
    return canonical_json(value) if isinstance(value, dict) else value


class _Rows:
    """Row groups of some rows, files of some groups."""

    def __init__(self, folder: Path, columns: dict[str, Any]) -> None:
        self._folder = folder
        self._folder.mkdir()
        self._schema = features(columns).arrow_schema
        self._rows: list[dict[str, Any]] = []
        self._group_bytes = self._file_bytes = self._files = 0
        self._writer: Any = None
        self._open()

    def add(self, row: dict[str, Any], size: int) -> None:
        """Add one row, of about so many bytes."""
        self._rows.append(row)
        self._group_bytes += size
        if self._group_bytes >= GROUP_BYTES:
            self._flush()

    def finish(self) -> None:
        """Write what is left."""
        self._flush()
        self._writer.close()

    def _open(self) -> None:
        from pyarrow import parquet

        self._writer = parquet.ParquetWriter(self._folder / f"train-{self._files:05d}.parquet", self._schema)
        self._files += 1

    def _flush(self) -> None:
        import pyarrow

        if not self._rows:
            return
        if self._file_bytes >= FILE_BYTES:
            self._writer.close()
            self._file_bytes = 0
            self._open()
        self._writer.write_table(pyarrow.Table.from_pylist(self._rows, schema=self._schema))
        self._file_bytes += self._group_bytes
        self._rows, self._group_bytes = [], 0


class ParquetFiles(Sink):
    """Both folders."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._images = _Rows(folder / DATA, {"image": bytes, **IMAGE_COLUMNS, "annotations": [NESTED]})
        self._flat = _Rows(folder / FLAT, FLAT_COLUMNS)

    def add(self, image: StoredImage, png: bytes, stored: Sequence[Stored]) -> None:
        """See `Sink`."""
        row = image_row(image, png, stored)
        self._images.add(row, len(png) + sum(len(one["record"]) for one in row["annotations"]))
        for one in stored:
            flat = {name: value for name, value in flat_values(image, one).items() if name in FLAT_COLUMNS}
            self._flat.add(flat, ROW_BYTES + len(flat["report"]) + 32 * len(flat["x"]))

    def finish(self) -> None:
        """See `Sink`."""
        self._images.finish()
        self._flat.finish()


# ---- reading ---------------------------------------------------------------------------------------------------------
def read(folder: Path) -> Iterator[Item]:
    """Read images and their submissions of all files of `data/`, by row; see `Format`."""
    from pyarrow import ArrowException, parquet

    for path in sorted((folder / DATA).glob("*.parquet")):
        where, row_number = f"{DATA}/{path.name}", 0
        try:
            with parquet.ParquetFile(path) as table:
                for batch in table.iter_batches(ROWS_READ):
                    for row in batch.to_pylist():
                        row_number += 1
                        yield from _read_row(f"{where}, row {row_number}", row)
        except (ArrowException, OSError) as error:
            error_text = f"it cannot be read: {str(error).splitlines()[0][:120]}"
            yield Item(f"{where}, row {row_number + 1}", StoredImage, None, error_text)


def _read_row(where: str, row: dict[str, Any]) -> Iterator[Item]:
    try:
        png, annotations = row["image"]["bytes"], list(row["annotations"])
    except (KeyError, TypeError):
        yield Item(where, StoredImage, None, "it is no image with submissions")
        return
    known = {*IMAGE_COLUMNS, "sha256"}  # so earlier programs call the image's id
    yield _read(StoredImage, where, row, known, IMAGE_JSON, png if isinstance(png, bytes) else b"")
    for index, annotation in enumerate(annotations, start=1):
        yield _read(Stored, f"{where}, submission {index}", annotation, {*SUBMISSION_COLUMNS, "record"}, RECORD_JSON)


def _read(
    kind: type[StoredImage] | type[Stored], where: str, row: object, known: set[str], nested: Sequence[str],
    png: bytes = b"",
) -> Item:  # fmt: skip
    """Return the value of a row, of whose columns some are JSON text; columns that others added are left out."""
    if not isinstance(row, dict):
        return Item(where, kind, None, "it is no submission")
    values = {name: value for name, value in row.items() if name in known}
    for name in nested:
        try:
            if values.get(name) is not None:
                values[name] = parse_json(str(values[name]))
        except LineError as error:
            return Item(where, kind, None, f"{name}: {error}")
    return read_item(kind, where, values, png)


FORMAT = Format(
    "parquet (datasets)",
    {
        DATA: "the same as parquet, the configuration `default` of `load_dataset`: a row per image with its "
        "submissions",
        FLAT: "the configuration `flat` of `load_dataset`: a row per submission, nothing nested, without the pictures",
    },
    lambda folder, title, licence: [ParquetFiles(folder)],
    read=read,
)
