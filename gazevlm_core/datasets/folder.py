"""Anybody's gaze data: a folder (or parquet files) of images, and a file of scanpaths. Any subject, any image size.

    images/             PNG, JPEG, WebP, TIFF, DICOM; the image_id is the path below it, with or without its ending
    *.parquet           instead of images/: columns image_id and image (bytes, or a struct with bytes)
    scanpaths.jsonl     as in `datasets.scanpath_files`; several readers per image, of each the first submission
    studies.jsonl       optional, a line per image: image_id, patient_id, findings {name: 1 or 0}, report, split,
                        question (that the report answers)

What is missing masks its loss and its scores, nothing else. Both files may name an image in either way: `a`, `a.png`;
`sub\\a.png` is `sub/a.png`; letters may be composed or not. A record's image_id has no ending, except where two images
differ in nothing else. What is the same patient is said in `datasets.identity`.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gazevlm_core.datasets.identity import (
    MOST_SHOWN,
    ImageNames,
    id_text,
    image_name,
    one_patient,
    without_ending,
)
from gazevlm_core.datasets.label_policies import CONTRADICTION, SUPPORT_DEVICES, finding_name, known_finding
from gazevlm_core.datasets.record import DatasetError, Reading, StudyRecord
from gazevlm_core.datasets.scanpath_files import ScanpathFileError, ScanpathIndex
from gazevlm_core.datasets.text_files import TextFileError, placed_lines
from gazevlm_core.findings import NO_FINDING
from gazevlm_core.images import iter_image_files

IMAGES, SCANPATHS, STUDIES = "images", "scanpaths.jsonl", "studies.jsonl"
PARQUET_ROWS = 64  # images at once
NO_IMAGE = "scanpaths or study without an image"
DEVICES = finding_name(SUPPORT_DEVICES)


class GazeFolder:
    """One record per image.

    "no finding" is no finding: where a study says so, all findings that the file names anywhere are absent in it. A
    study that says so and names a finding has no findings, and is counted in `dropped`. As in `LabelPolicy`, it says
    nothing of support devices.

    Args:
        root: folder as above.
        without_images: for `image_files` alone, where the images need not be there.

    Raises:
        DatasetError: neither images nor parquet files, or a file that cannot be read.
    """

    name = "folder"

    def __init__(self, root: Path, *, without_images: bool = False) -> None:
        self.root = root
        self.dropped: Counter[str] = Counter()
        if not without_images and not (root / IMAGES).is_dir() and not any(root.glob("*.parquet")):
            raise DatasetError(f"{self.name}: {root} holds neither {IMAGES}/ nor *.parquet")

    def records(self) -> Iterator[StudyRecord]:
        """Every image, in the order of its name or of the parquet files."""
        self.dropped.clear()
        index = self._index()
        images = ImageNames(self._image_names())
        filed = self._by_image(images, index.image_ids if index else ())
        studies = self._studies(images)
        named = {name for study in studies.values() for name in _findings(study)}
        for name, image in self._images():
            image_id = images.own(name)
            study = studies.get(image_id, {})
            yield StudyRecord(
                self.name,
                image_id,
                one_patient(study.get("patient_id"), image_id),
                image,
                readings=self._readings(index, image_id, filed.get(image_id, [])),
                findings=self._known(study, named),
                report=study.get("report"),
                published_split=id_text(study.get("split")),
                question=study.get("question") or "",
            )

    def image_files(self) -> Iterator[str]:
        """Files of images that scanpaths and studies speak of, below images/, with the endings that they are given."""
        index = self._index()
        named = [image_name(values["image_id"]) for _, values in self._study_lines()]
        names = dict.fromkeys((*(index.image_ids if index else ()), *named))
        whole = {without_ending(name) for name in names if without_ending(name) != name}  # with an ending somewhere
        yield from sorted(f"{IMAGES}/{name}" for name in names if name not in whole)

    def _index(self) -> ScanpathIndex | None:
        path = self.root / SCANPATHS
        try:
            return ScanpathIndex(path) if path.is_file() else None
        except ScanpathFileError as error:
            raise DatasetError(f"{self.name}: {error}") from None

    def _find(self, images: ImageNames, name: str) -> str | None:
        """The image that a file names; None, counted, where there is none."""
        try:
            found = images.find(name)
        except ValueError as error:
            raise DatasetError(f"{self.name}: {error}") from None
        self.dropped[NO_IMAGE] += found is None
        return found

    def _by_image(self, images: ImageNames, names: Iterable[str]) -> dict[str, list[str]]:
        """Image -> what the file of scanpaths calls it."""
        found: dict[str, list[str]] = {}
        for name in names:
            image_id = self._find(images, name)
            if image_id is not None:
                found.setdefault(image_id, []).append(name)
        return found

    def _readings(self, index: ScanpathIndex | None, image_id: str, names: list[str]) -> tuple[Reading, ...]:
        if index is None or not names:
            return ()
        try:
            found = index.read(image_id, *names)
        except ScanpathFileError as error:
            raise DatasetError(f"{self.name}: {error}") from None
        self.dropped["fixation off the image"] += found.off_image
        self.dropped["no fixation on the image"] += found.empty
        readings: dict[object, Reading] = {}
        seen: set[Reading] = set()
        for number, path in enumerate(found.readings):
            reading = Reading(path.reader, path.scanpath, path.reading_id, path.digest)
            if path.reader and reading in seen:  # nobody looks twice in the same way
                self.dropped["repeated scanpath"] += 1
                continue
            seen.add(reading)
            # an export of annotations tells the kind: a person's next submission there says how consistent they are
            key = path.reader if path.reader and path.kind else number
            self.dropped["further submission of a reader"] += readings.setdefault(key, reading) is not reading
        return tuple(readings.values())

    def _image_paths(self) -> Iterator[tuple[str, Path]]:
        folder = self.root / IMAGES
        for path in sorted(iter_image_files([folder])):
            yield image_name(path.relative_to(folder).as_posix()), path

    def _image_names(self) -> list[str]:
        """Every image; a name that is there twice is an error."""
        if (self.root / IMAGES).is_dir():
            names = [name for name, _ in self._image_paths()]
        else:
            names = [name for path in sorted(self.root.glob("*.parquet")) for name in _parquet_names(path, self.name)]
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise DatasetError(f"{self.name}: two images are called {twice[0]}; keep one")
        return names

    def _images(self) -> Iterator[tuple[str, Path | bytes]]:
        """Name and file or bytes of each image."""
        if (self.root / IMAGES).is_dir():
            yield from self._image_paths()
            return
        for path in sorted(self.root.glob("*.parquet")):
            yield from _parquet_images(path, self.name)

    def _studies(self, images: ImageNames) -> dict[str, Mapping[str, Any]]:
        """Lines of studies.jsonl by image; words and numbers only, so they are kept."""
        found: dict[str, Mapping[str, Any]] = {}
        numbers: dict[str, int] = {}
        for number, values in self._study_lines():
            name = image_name(values["image_id"])
            image_id = self._find(images, name)
            key = name if image_id is None else image_id
            before = numbers.setdefault(key, number)
            if before != number:
                both = f"lines {before} and {number} are both about {key}"
                raise DatasetError(f"{self.name}: {STUDIES}, {both}; keep one")
            if image_id is not None:
                found[image_id] = values
        return found

    def _study_lines(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Number and checked values of every line."""
        path = self.root / STUDIES
        if not path.is_file():
            return
        try:
            for number, _, line in placed_lines(path):
                if line.strip():
                    yield number, _checked(line, f"{self.name}: {STUDIES}, line {number}")
        except TextFileError as error:
            raise DatasetError(f"{self.name}: {error}") from None

    def _known(self, study: Mapping[str, Any], named: Iterable[str]) -> dict[str, float]:
        """Findings of a study; `named` are those of all studies."""
        findings = _findings(study)
        nothing = findings.pop(NO_FINDING, 0.0) == 1.0
        if not nothing:
            return findings
        devices = {name: value for name, value in findings.items() if name == DEVICES}
        if any(value == 1.0 for name, value in findings.items() if name not in devices):
            self.dropped[CONTRADICTION] += 1
            return {}
        return {name: 0.0 for name in sorted(named) if name not in (NO_FINDING, DEVICES)} | devices


def _checked(line: str, where: str) -> Mapping[str, Any]:
    """Values of a line of studies.jsonl.

    Raises:
        DatasetError: it is none.
    """
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{where} is no JSON: {error}") from None
    try:
        if not isinstance(values, dict) or not image_name(values.get("image_id")):
            raise DatasetError(f"{where} needs an image_id")
    except ValueError as error:
        raise DatasetError(f"{where} needs an image_id: {error}") from None
    for name in ("patient_id", "split"):
        try:
            id_text(values.get(name))
        except ValueError as error:
            raise DatasetError(f"{where}: {name}: {error}") from None
    words: dict[str, str | None] = {}
    for name in ("report", "question"):
        text = values.get(name)
        words[name] = None if text is not None and text != text else text  # NaN
        if not isinstance(words[name], (str, type(None))):
            raise DatasetError(f"{where}: {name} must be words")
    _findings(values)
    return {**values, **words}


def _findings(study: Mapping[str, Any]) -> dict[str, float]:
    """Findings that a study knows, by name; those of CheXpert by the project's names for them.

    Raises:
        DatasetError: another value than 1, 0, null or NaN, or one finding under two names that do not agree.
    """
    told = study.get("findings")
    findings = {} if told is None or told != told else told  # NaN, of a table that was joined
    where = f"folder: {STUDIES}, {study.get('image_id')}"
    if not isinstance(findings, dict):
        raise DatasetError(f"{where}: findings must be names with 1, 0 or null")
    found: dict[str, float] = {}
    for label, value in findings.items():
        if value is None or value != value:  # NaN
            continue
        if value not in (0, 1):
            shown = f"{label[:MOST_SHOWN]} is {repr(value)[:MOST_SHOWN]}"
            raise DatasetError(
                f"{where}: findings must be names with 1, 0 or null, and {shown}; leave out what is unsure"
            )
        name = known_finding(label)
        if not name:
            raise DatasetError(f"{where}: a finding has no name")
        if found.setdefault(name, float(value)) != value:
            raise DatasetError(f"{where}: findings say of {name}, under two names, that it is there and is not")
    return found


def _parquet_file(path: Path, dataset: str) -> Any:  # noqa: ANN401 (pyarrow has no types)
    from pyarrow import ArrowInvalid, parquet  # comes with `datasets`; late, since it is heavy

    try:
        table = parquet.ParquetFile(path)
    except (ArrowInvalid, OSError) as error:
        raise DatasetError(f"{dataset}: cannot read {path.name}: {error}") from None
    missing = [name for name in ("image_id", "image") if name not in table.schema_arrow.names]
    if missing:
        raise DatasetError(f"{dataset}: {path.name} lacks the column {missing[0]!r}")
    return table


def _parquet_name(value: object, path: Path, dataset: str) -> str:
    try:
        name = image_name(value)
    except ValueError:
        name = ""
    if not name:
        raise DatasetError(f"{dataset}: {path.name} has an image without an image_id")
    return name


def _parquet_names(path: Path, dataset: str) -> Iterator[str]:
    for batch in _parquet_file(path, dataset).iter_batches(columns=["image_id"]):
        yield from (_parquet_name(row["image_id"], path, dataset) for row in batch.to_pylist())


def _parquet_images(path: Path, dataset: str) -> Iterator[tuple[str, bytes]]:
    for batch in _parquet_file(path, dataset).iter_batches(PARQUET_ROWS, columns=["image_id", "image"]):
        for row in batch.to_pylist():
            image = row["image"]["bytes"] if isinstance(row["image"], dict) else row["image"]
            if not isinstance(image, bytes):
                raise DatasetError(f"{dataset}: {path.name}, {row['image_id']}: image must hold bytes")
            yield _parquet_name(row["image_id"], path, dataset), image
