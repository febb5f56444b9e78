"""`data/train-NNNNN.parquet`: a row per image with its submissions, as a `datasets.Dataset` with an `Image` feature.

`datasets.load_dataset(FOLDER)` opens it. Each submission also carries its record as JSON text, so nothing is lost.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annotate.export.lines import record_values
from annotate.store.types import Stored, StoredImage
from gazevlm_core.annotation import canonical_json

if TYPE_CHECKING:
    import pyarrow
    from datasets import Features

DATA = "data"
GROUP_BYTES, FILE_BYTES = 32 * 2**20, 512 * 2**20


def features() -> "Features":
    """The columns, for `datasets`."""
    from datasets import Features, Image, List, Value  # late: seconds

    text, number, share = Value("string"), Value("int64"), Value("float64")
    submission = {
        "number": number, "receipt": text, "digest": text, "kind": text, "verdict": text, "reason": text,
        "removed": Value("bool"), "revision": number, "submission_id": text, "reader": text, "mode": text,
        "question": text, "findings": List(text), "report": text, "confidence": number,
        "fixations": List({"x": share, "y": share, "onset_ms": share, "duration_ms": share}), "record": text,
    }  # fmt: skip
    return Features(
        {
            "image": Image(), "sha256": text, "name": text, "width_px": number, "height_px": number, "question": text,
            "open": Value("bool"), "gold": text, "source": text, "quota": number, "annotations": List(submission),
        }
    )  # fmt: skip


def image_row(image: StoredImage, png: bytes, stored: Sequence[Stored]) -> dict[str, Any]:
    """One image with its submissions, as `features` say."""
    from annotate.export.lines import image_values

    values = image_values(image)
    values["gold"] = None if values["gold"] is None else canonical_json(values["gold"])
    pixels = {"bytes": png, "path": f"{image.sha256}.png"}
    return {"image": pixels, **values, "annotations": [_submission(one) for one in stored]}


def _submission(one: Stored) -> dict[str, Any]:
    values, annotation = record_values(one), one.annotation
    record = values.pop("record")
    return {
        **values,
        "submission_id": annotation.submission_id,
        "reader": annotation.annotator,
        "mode": annotation.client.mode,
        "question": annotation.question,
        "findings": list(annotation.findings),
        "report": annotation.report,
        "confidence": annotation.confidence,
        "fixations": record["scanpath"]["fixations"],
        "record": canonical_json(record),
    }


class ParquetFiles:
    """Row groups of some images, files of some groups."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / DATA
        self._folder.mkdir()
        self._schema: pyarrow.Schema = features().arrow_schema
        self._rows: list[dict[str, Any]] = []
        self._group_bytes = self._file_bytes = self._files = 0
        self._writer: Any = None
        self._open()

    def add(self, image: StoredImage, png: bytes, stored: Sequence[Stored]) -> None:
        """See `Sink`."""
        self._rows.append(image_row(image, png, stored))
        self._group_bytes += len(png) + sum(len(row["record"]) for row in self._rows[-1]["annotations"])
        if self._group_bytes >= GROUP_BYTES:
            self._flush()

    def finish(self) -> None:
        """See `Sink`."""
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
