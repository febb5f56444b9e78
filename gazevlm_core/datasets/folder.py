"""Anybody's gaze data: a folder (or parquet files) of images, and a file of scanpaths. Any subject, any image size.

    images/             PNG, JPEG, WebP, TIFF, DICOM; the image_id is the path below it, with or without its ending
    *.parquet           instead of images/: columns image_id and image (bytes, or a struct with bytes)
    scanpaths.jsonl     as in `datasets.scanpath_files`; several readers per image, of each the first submission
    studies.jsonl       optional, a line per image: image_id, patient_id, findings {name: 1 or 0}, report, split,
                        question (that the report answers)

What is missing masks its loss and its scores, nothing else.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gazevlm_core.datasets.record import DatasetError, Reading, StudyRecord
from gazevlm_core.datasets.scanpath_files import ScanpathFileError, ScanpathIndex
from gazevlm_core.images import iter_image_files

IMAGES, SCANPATHS, STUDIES = "images", "scanpaths.jsonl", "studies.jsonl"
PARQUET_ROWS = 64  # images at once


class GazeFolder:
    """One record per image.

    Args:
        root: folder as above.

    Raises:
        DatasetError: neither images nor parquet files, or a file that cannot be read.
    """

    name = "folder"

    def __init__(self, root: Path) -> None:
        self.root = root
        self.dropped: Counter[str] = Counter()
        if not (root / IMAGES).is_dir() and not any(root.glob("*.parquet")):
            raise DatasetError(f"{self.name}: {root} holds neither {IMAGES}/ nor *.parquet")

    def records(self) -> Iterator[StudyRecord]:
        """Every image, in the order of its name or of the parquet files."""
        self.dropped.clear()
        index = self._index()
        studies = self._studies()
        known = set(studies) | set(index.image_ids if index else ())
        seen: set[str] = set()
        for names, image in self._images():
            image_id = next((name for name in names if name in known), names[-1])
            if image_id in seen:
                raise DatasetError(f"{self.name}: two images are called {image_id}; give their endings in image_id")
            seen.add(image_id)
            study = studies.get(image_id, {})
            yield StudyRecord(
                self.name,
                image_id,
                str(study.get("patient_id") or image_id),
                image,
                readings=self._readings(index, image_id),
                findings=_findings(study, image_id),
                report=study.get("report"),
                published_split=study.get("split") or "",
                question=study.get("question") or "",
            )
        self.dropped["scanpaths or study without an image"] += len(known - seen)

    def _index(self) -> ScanpathIndex | None:
        path = self.root / SCANPATHS
        try:
            return ScanpathIndex(path) if path.is_file() else None
        except ScanpathFileError as error:
            raise DatasetError(f"{self.name}: {error}") from None

    def _readings(self, index: ScanpathIndex | None, image_id: str) -> tuple[Reading, ...]:
        if index is None:
            return ()
        try:
            found = index.read(image_id)
        except ScanpathFileError as error:
            raise DatasetError(f"{self.name}: {error}") from None
        self.dropped["fixation off the image"] += found.off_image
        self.dropped["no fixation on the image"] += found.empty
        readings: dict[object, Reading] = {}
        for number, path in enumerate(found.readings):
            # an export of annotations tells the kind: a person's next submission there says how consistent they are
            key = path.reader if path.reader and path.kind else number
            reading = Reading(path.reader, path.scanpath, path.reading_id, path.digest)
            self.dropped["further submission of a reader"] += readings.setdefault(key, reading) is not reading
        return tuple(readings.values())

    def _images(self) -> Iterator[tuple[tuple[str, ...], Path | bytes]]:
        """Possible names of each image, and the image."""
        folder = self.root / IMAGES
        if folder.is_dir():
            for path in sorted(iter_image_files([folder])):
                inner = path.relative_to(folder)
                yield (inner.as_posix(), inner.with_suffix("").as_posix()), path
            return
        for path in sorted(self.root.glob("*.parquet")):
            yield from _parquet_images(path, self.name)

    def _studies(self) -> dict[str, Mapping[str, Any]]:
        """Lines of studies.jsonl by image; words and numbers only, so they are kept."""
        path = self.root / STUDIES
        found: dict[str, Mapping[str, Any]] = {}
        if not path.is_file():
            return found
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, start=1):
                if not line.strip():
                    continue
                where = f"{self.name}: {STUDIES}, line {number}"
                try:
                    values = json.loads(line)
                except ValueError as error:
                    raise DatasetError(f"{where} is no JSON: {error}") from None
                if not isinstance(values, dict) or not isinstance(values.get("image_id"), str):
                    raise DatasetError(f"{where} needs an image_id")
                for name in ("report", "question"):
                    if not isinstance(values.get(name), (str, type(None))):
                        raise DatasetError(f"{where}: {name} must be words")
                found[values["image_id"]] = values
        return found


def _findings(study: Mapping[str, Any], image_id: str) -> dict[str, float]:
    findings = study.get("findings") or {}
    if not isinstance(findings, dict) or any(value not in (0, 1, None) for value in findings.values()):
        raise DatasetError(f"folder: {STUDIES}, {image_id}: findings must be names with 1, 0 or null")
    return {name: float(value) for name, value in findings.items() if value is not None}


def _parquet_images(path: Path, dataset: str) -> Iterator[tuple[tuple[str, ...], bytes]]:
    from pyarrow import ArrowInvalid, parquet  # comes with `datasets`; late, since it is heavy

    try:
        table = parquet.ParquetFile(path)
    except (ArrowInvalid, OSError) as error:
        raise DatasetError(f"{dataset}: cannot read {path.name}: {error}") from None
    missing = [name for name in ("image_id", "image") if name not in table.schema_arrow.names]
    if missing:
        raise DatasetError(f"{dataset}: {path.name} lacks the column {missing[0]!r}")
    for batch in table.iter_batches(PARQUET_ROWS, columns=["image_id", "image"]):
        for row in batch.to_pylist():
            image = row["image"]["bytes"] if isinstance(row["image"], dict) else row["image"]
            if not isinstance(image, bytes):
                raise DatasetError(f"{dataset}: {path.name}, {row['image_id']}: image must hold bytes")
            yield (str(row["image_id"]),), image
