"""Anybody's gaze data: a folder (or parquet files) of images, and a file of scanpaths. Any subject, any image size.

    images/             PNG, JPEG, WebP, TIFF, DICOM; the image_id is the path below it, with or without its ending
    *.parquet           instead of images/: columns image_id and image (bytes, or a struct with bytes)
    scanpaths.jsonl     as in `datasets.scanpath_files`; several readers per image, of each the first submission
    studies.jsonl       optional, a line per image: image_id, patient_id, findings {name: 1 or 0}, report, split,
                        view, question (that the report answers)
    labels.csv          optional, as in `datasets.label_table`; with it images may lie anywhere in the folder

What is missing masks its loss and its scores, nothing else. Both files may name an image in either way: `a`, `a.png`;
`sub\\a.png` is `sub/a.png`; letters may be composed or not. A sample's image_id has no ending, except where two images
differ in nothing else. `datasets.identity` decides what is the same patient.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gazevlm_core.annotation import is_digest
from gazevlm_core.datasets.files import parse_json, placed_lines
from gazevlm_core.datasets.identity import (
    MOST_SHOWN,
    ImageNames,
    id_text,
    image_name,
    without_ending,
)
from gazevlm_core.datasets.label_policies import (
    CHEXPERT_NAMES,
    CONTRADICTION,
    SUPPORT_DEVICES,
    finding_name,
    known_finding,
    vocabulary_name,
)
from gazevlm_core.datasets.label_table import LabelTable, NamedFiles, find_labels, read_labels
from gazevlm_core.datasets.scanpath_files import ScanpathIndex, line_values
from gazevlm_core.datasets.source import NO_FIXATION, OFF_IMAGE, DataSource
from gazevlm_core.datasets.splits import CALLED
from gazevlm_core.findings import NO_FINDING
from gazevlm_core.images import iter_image_files
from gazevlm_core.sample import DatasetError, Reading, Sample

IMAGES, SCANPATHS, STUDIES = "images", "scanpaths.jsonl", "studies.jsonl"
PARQUET_ROWS = 64  # images at once
NO_IMAGE = "scanpaths or study without an image"
NOT_LISTED = "image that no file speaks of"
DEVICES = finding_name(SUPPORT_DEVICES)


class _Item(NamedTuple):
    """An image with its study, and what the file of scanpaths calls it."""

    image_id: str
    image: Path | bytes
    study: Mapping[str, Any]
    names: list[str]


class GazeFolder(DataSource):
    """One sample per image.

    "no finding" is no finding: where a study says so, all findings that the file names anywhere are absent in it. A
    study that says so and names a finding has no findings, and is counted in `dropped`. As in `chexpert_findings`, it
    says nothing of support devices; nor does it contradict a column of a table that no word of the clinical vocabulary
    is, which may be about anything: whether a patient is a man, or the film portable.

    Where there is a table of labels, images that no file speaks of are left out; where both say something of an image,
    studies.jsonl counts.

    In an export of annotations (its paths tell their `kind`), an image's name is the digest of its pixels: it is taken
    as such, and checked when the pixels are read.

    Args:
        root: folder as above.
    """

    name = "folder"

    def items(self) -> Iterator[_Item]:
        """Yield every image, in the order of its name or of the parquet files.

        Raises:
            DatasetError: neither images nor parquet files, or a file that cannot be read.
        """
        table = find_labels(self.root)
        if not (self.root / IMAGES).is_dir() and not any(self.root.glob("*.parquet")) and table is None:
            raise DatasetError(f"{self.root} holds neither {IMAGES}/ nor *.parquet, and no labels.csv beside images")
        self._paths = self._index()
        names = self._image_names()
        images = ImageNames(names)
        labels = read_labels(table, NamedFiles(names)) if table else LabelTable({}, {}, Counter())
        self.zero_shot = table is not None and not any(one.split.lower() in CALLED for one in labels.images.values())
        self.not_read, self.dropped = labels.not_read, self.dropped + labels.counted
        filed: dict[str, list[str]] = {}
        for name in self._paths.image_ids if self._paths else ():
            image_id = self._find(images, name)
            if image_id is not None:
                filed.setdefault(image_id, []).append(name)
        studies = self._studies(images)
        stated = {name for study in studies.values() for name in _findings(study)}
        columns = {name for one in labels.images.values() for name in one.findings} - stated
        self._apart = {DEVICES, *(name for name in columns - CHEXPERT_NAMES if vocabulary_name(name) is None)}
        for name, labelled in labels.images.items():
            image_id, values = images.own(name), labelled.values()
            before = studies.get(image_id, {})
            findings = {**values["findings"], **_findings(before)}
            studies[image_id] = {**values, **{key: one for key, one in before.items() if one}, "findings": findings}
        self.names_patients = any(id_text(study.get("patient_id")) for study in studies.values())
        self._named = sorted({name for study in studies.values() for name in _findings(study)} - {NO_FINDING, DEVICES})
        for name, image in self._images():
            image_id = images.own(name)
            if table and image_id not in studies and image_id not in filed:
                self.dropped[NOT_LISTED] += 1
                continue
            yield _Item(image_id, image, studies.get(image_id, {}), filed.get(image_id, []))

    def sample(self, item: _Item) -> Sample:
        """Make a sample of an image with all that the two files say of it."""
        readings, exported = self._readings(item.image_id, item.names)
        return Sample(
            item.image_id,
            item.image,
            question=item.study.get("question") or "",
            report=item.study.get("report"),
            findings=self._known(item.study),
            readings=readings,
            patient_id=id_text(item.study.get("patient_id")),
            split=id_text(item.study.get("split")),
            view=id_text(item.study.get("view")),
            digest=item.image_id if exported and is_digest(item.image_id) else "",
        )

    def wanted(self) -> Iterator[str]:
        """Yield the images that scanpaths and studies speak of, with the endings that they are given."""
        index = self._index()
        named = [image_name(values["image_id"]) for _, values in self._study_lines()]
        table = find_labels(self.root)
        named += [name.removeprefix(f"{IMAGES}/") for name in (read_labels(table).images if table else ())]
        names = dict.fromkeys((*(index.image_ids if index else ()), *named))
        ended = {without_ending(name) for name in names if without_ending(name) != name}  # with an ending somewhere
        yield from sorted(f"{IMAGES}/{name}" for name in names if name not in ended)

    def _index(self) -> ScanpathIndex | None:
        path = self.root / SCANPATHS
        return ScanpathIndex(path) if path.is_file() else None

    def _find(self, images: ImageNames, name: str) -> str | None:
        """Return the image that a file names; None, counted, where there is none."""
        try:
            found = images.find(name)
        except ValueError as error:
            raise DatasetError(str(error)) from None
        self.dropped[NO_IMAGE] += found is None
        return found

    def _readings(self, image_id: str, names: list[str]) -> tuple[tuple[Reading, ...], bool]:
        """Return the readings of an image, of each reader the first submission, and whether they are an export's."""
        if self._paths is None or not names:
            return (), False
        found = self._paths.read(image_id, *names)
        self.dropped[OFF_IMAGE] += found.off_image
        self.dropped[NO_FIXATION] += found.empty
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
        return tuple(readings.values()), any(path.kind for path in found.readings)

    def _image_paths(self) -> Iterator[tuple[str, Path]]:
        folder = self.root / IMAGES
        folder = folder if folder.is_dir() else self.root
        for path in sorted(iter_image_files([folder])):
            yield image_name(path.relative_to(folder).as_posix()), path

    def _image_names(self) -> list[str]:
        """Return every image; a name that is there twice is an error."""
        if self._in_files():
            names = [name for name, _ in self._image_paths()]
        else:
            names = [name for path in sorted(self.root.glob("*.parquet")) for name in _parquet_names(path)]
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise DatasetError(f"two images are called {twice[0]}; keep one")
        return names

    def _in_files(self) -> bool:
        return (self.root / IMAGES).is_dir() or not any(self.root.glob("*.parquet"))

    def _images(self) -> Iterator[tuple[str, Path | bytes]]:
        """Yield name and file or bytes of each image."""
        if self._in_files():
            yield from self._image_paths()
            return
        for path in sorted(self.root.glob("*.parquet")):
            yield from _parquet_images(path)

    def _studies(self, images: ImageNames) -> dict[str, Mapping[str, Any]]:
        """Return the lines of studies.jsonl by image; words and numbers only, so they are kept."""
        found: dict[str, Mapping[str, Any]] = {}
        numbers: dict[str, int] = {}
        for number, values in self._study_lines():
            name = image_name(values["image_id"])
            image_id = self._find(images, name)
            key = name if image_id is None else image_id
            before = numbers.setdefault(key, number)
            if before != number:
                raise DatasetError(f"{STUDIES}, lines {before} and {number} are both about {key}; keep one")
            if image_id is not None:
                found[image_id] = values
        return found

    def _study_lines(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Yield number and checked values of every line."""
        path = self.root / STUDIES
        for number, _, line in placed_lines(path) if path.is_file() else ():
            if line.strip():
                yield number, _checked(line, f"{STUDIES}, line {number}")

    def _known(self, study: Mapping[str, Any]) -> dict[str, float]:
        """Return the findings of a study."""
        findings = _findings(study)
        nothing = findings.pop(NO_FINDING, 0.0) == 1.0
        if not nothing:
            return findings
        apart = {name: value for name, value in findings.items() if name in self._apart}
        if any(value == 1.0 for name, value in findings.items() if name not in apart):
            self.dropped[CONTRADICTION] += 1
            return {}
        return dict.fromkeys(self._named, 0.0) | apart


def write_gaze_folder(folder: Path, samples: Iterable[Sample]) -> Path:
    """Write samples as a gaze folder, which `GazeFolder` reads back; return it.

    Images become PNG files that are called by their `image_id`. What is not known is left out.

    Args:
        folder: made; it may not hold images yet.
        samples: one at a time is in memory.
    """
    (folder / IMAGES).mkdir(parents=True)
    with (
        (folder / SCANPATHS).open("w", encoding="utf-8") as scanpaths,
        (folder / STUDIES).open("w", encoding="utf-8") as studies,
    ):
        for sample in samples:
            image = sample.load() if isinstance(sample.image, Path | bytes | None) else sample.image
            image.save(folder / IMAGES / f"{sample.image_id}.png")
            for reading in sample.readings:
                scanpaths.write(json.dumps(line_values(sample.image_id, reading)) + "\n")
            values = {
                "image_id": sample.image_id, "patient_id": sample.patient_id, "split": sample.split,
                "findings": dict(sample.findings), "report": sample.report, "question": sample.question,
            }  # fmt: skip
            studies.write(json.dumps({name: value for name, value in values.items() if value}) + "\n")
    return folder


def _checked(line: str, where: str) -> Mapping[str, Any]:
    """Return the values of a line of studies.jsonl.

    Raises:
        DatasetError: it is none.
    """
    values = parse_json(line, where)
    if not isinstance(values, dict) or values.get("image_id") in (None, ""):
        raise DatasetError(f"{where} needs an image_id")
    for name, read in (("image_id", image_name), ("patient_id", id_text), ("split", id_text), ("view", id_text)):
        try:
            found = read(values.get(name))
        except ValueError as error:
            raise DatasetError(f"{where}: {name}: {error}") from None
        if name == "image_id" and not found:
            raise DatasetError(f"{where} needs an image_id")
    words: dict[str, str | None] = {}
    for name in ("report", "question"):
        text = values.get(name)
        words[name] = None if text is not None and text != text else text  # NaN
        if not isinstance(words[name], (str, type(None))):
            raise DatasetError(f"{where}: {name} must be words")
    _findings(values)
    return {**values, **words}


def _findings(study: Mapping[str, Any]) -> dict[str, float]:
    """Return the findings that a study knows, by name; those of CheXpert by the project's names for them.

    Raises:
        DatasetError: another value than 1, 0, null or NaN, or one finding under two names that do not agree.
    """
    given = study.get("findings")
    findings = {} if given is None or given != given else given  # NaN, of a table that was joined
    where = f"{STUDIES}, {study.get('image_id')}"
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


def _parquet_file(path: Path) -> Any:  # noqa: ANN401 (pyarrow has no types)
    from pyarrow import ArrowInvalid, parquet  # comes with `datasets`; late, since it is heavy

    try:
        table = parquet.ParquetFile(path)
    except (ArrowInvalid, OSError) as error:
        raise DatasetError(f"cannot read {path.name}: {error}") from None
    missing = [name for name in ("image_id", "image") if name not in table.schema_arrow.names]
    if missing:
        raise DatasetError(f"{path.name} lacks the column {missing[0]!r}")
    return table


def _parquet_name(value: object, path: Path) -> str:
    try:
        name = image_name(value)
    except ValueError:
        name = ""
    if not name:
        raise DatasetError(f"{path.name} has an image without an image_id")
    return name


def _parquet_names(path: Path) -> Iterator[str]:
    for batch in _parquet_file(path).iter_batches(columns=["image_id"]):
        yield from (_parquet_name(row["image_id"], path) for row in batch.to_pylist())


def _parquet_images(path: Path) -> Iterator[tuple[str, bytes]]:
    for batch in _parquet_file(path).iter_batches(PARQUET_ROWS, columns=["image_id", "image"]):
        for row in batch.to_pylist():
            image = row["image"]["bytes"] if isinstance(row["image"], dict) else row["image"]
            if not isinstance(image, bytes):
                raise DatasetError(f"{path.name}, {row['image_id']}: image must hold bytes")
            yield _parquet_name(row["image_id"], path), image
