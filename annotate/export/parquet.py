"""`data/` and `flat/`, each `train-NNNNN.parquet`: what `datasets.load_dataset(FOLDER)` and `(FOLDER, "flat")` open.

`data/` has a row per image with its submissions, as a `datasets.Dataset` with an `Image` feature. Each submission also
carries its record as JSON text, so nothing is lost. `flat/` has a row per submission, its path as lists of numbers and
nothing nested, without the picture: `image_id` is the same there.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annotate.export.lines import image_values, record_values
from annotate.store.types import Stored, StoredImage
from annotate.votes import asked_of
from gazevlm_core.annotation import canonical_json

if TYPE_CHECKING:
    from datasets import Features

DATA, FLAT = "data", "flat"
GROUP_BYTES, FILE_BYTES = 32 * 2**20, 512 * 2**20
ROW_BYTES = 512  # about what a flat row takes beside its path and its words


def features() -> "Features":
    """The columns of `data/`, for `datasets`."""
    from datasets import Features, Image, List, Value  # late: seconds

    text, number, share = Value("string"), Value("int64"), Value("float64")
    submission = {
        "number": number, "receipt": text, "digest": text, "kind": text, "verdict": text, "reason": text,
        "removed": Value("bool"), "revision": number, "submission_id": text, "reader": text, "mode": text,
        "question": text, "findings": List(text), "findings_asked": List(text), "report": text, "confidence": number,
        "fixations": List({"x": share, "y": share, "onset_ms": share, "duration_ms": share}), "record": text,
    }  # fmt: skip
    return Features(
        {
            "image": Image(), "image_id": text, "name": text, "width_px": number, "height_px": number,
            "question": text, "open": Value("bool"), "gold": text, "source": text, "quota": number,
            "gold_from": List(text), "annotations": List(submission),
        }
    )  # fmt: skip


def flat_features() -> "Features":
    """The columns of `flat/`, for `datasets`."""
    from datasets import Features, List, Value

    text, number, shares = Value("string"), Value("int64"), List(Value("float64"))
    return Features(
        {
            "image_id": text, "file_name": text, "width_px": number, "height_px": number, "number": number,
            "submission_id": text, "receipt": text, "reader": text, "kind": text, "verdict": text,
            "removed": Value("bool"), "mode": text, "source": text, "question": text, "findings": List(text),
            "findings_asked": List(text), "report": text, "confidence": number, "started_at": text,
            "submitted_at": text, "x": shares, "y": shares, "onset_ms": shares, "duration_ms": shares,
        }
    )  # fmt: skip


def image_row(image: StoredImage, png: bytes, stored: Sequence[Stored]) -> dict[str, Any]:
    """One image with its submissions, as `features` say."""
    values = image_values(image)
    values["gold"] = None if values["gold"] is None else canonical_json(values["gold"])
    pixels = {"bytes": png, "path": f"{image.sha256}.png"}
    return {"image": pixels, **values, "annotations": [_submission(one) for one in stored]}


def _submission(one: Stored) -> dict[str, Any]:
    values, annotation = record_values(one), one.annotation
    record = values.pop("record")
    del values["image_id"]  # that of the row
    return {
        **values,
        **_told(one),
        "confidence": annotation.confidence,
        "fixations": record["scanpath"]["fixations"],
        "record": canonical_json(record),
    }


def _told(one: Stored) -> dict[str, Any]:
    """What both forms say in the same words."""
    annotation = one.annotation
    asked = asked_of(annotation)
    return {
        "submission_id": annotation.submission_id,
        "reader": annotation.annotator,
        "mode": annotation.client.mode,
        "question": annotation.question,
        "findings": list(annotation.findings),
        "findings_asked": None if asked is None else list(asked),
        "report": annotation.report,
    }


def flat_row(image: StoredImage, one: Stored) -> dict[str, Any]:
    """One submission, as `flat_features` say."""
    values, annotation = record_values(one), one.annotation
    kept = {name: values[name] for name in ("image_id", "number", "receipt", "kind", "verdict", "removed")}
    times = {name: values["record"][name] for name in ("started_at", "submitted_at")}
    columns = {
        name: [getattr(fixation, name) for fixation in annotation.scanpath]
        for name in ("x", "y", "onset_ms", "duration_ms")
    }
    return {
        **kept,
        "file_name": f"images/{image.sha256}.png",
        "width_px": image.width_px,
        "height_px": image.height_px,
        **_told(one),
        "source": annotation.scanpath.source,
        "confidence": annotation.confidence,
        **times,
        **columns,
    }


class _Rows:
    """Row groups of some rows, files of some groups."""

    def __init__(self, folder: Path, columns: "Features") -> None:
        self._folder = folder
        self._folder.mkdir()
        self._schema = columns.arrow_schema
        self._rows: list[dict[str, Any]] = []
        self._group_bytes = self._file_bytes = self._files = 0
        self._writer: Any = None
        self._open()

    def add(self, row: dict[str, Any], size: int) -> None:
        """One row, of about so many bytes."""
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


class ParquetFiles:
    """Both folders."""

    def __init__(self, folder: Path) -> None:
        self._images, self._flat = _Rows(folder / DATA, features()), _Rows(folder / FLAT, flat_features())

    def add(self, image: StoredImage, png: bytes, stored: Sequence[Stored]) -> None:
        """See `Sink`."""
        row = image_row(image, png, stored)
        self._images.add(row, len(png) + sum(len(one["record"]) for one in row["annotations"]))
        for one in stored:
            flat = flat_row(image, one)
            self._flat.add(flat, ROW_BYTES + len(flat["report"]) + 32 * len(flat["x"]))

    def finish(self) -> None:
        """See `Sink`."""
        self._images.finish()
        self._flat.finish()
