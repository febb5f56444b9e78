"""Files of scanpaths, JSON lines: one path per line, or one fixation per line.

    {"image_id": "a", "reader": "r1", "x": [0.2, 0.7], "y": [0.3, 0.6], "duration_ms": [250, 310], "finding": "edema"}
    {"image_id": "a", "x": 410, "y": 300, "duration_ms": 250, "width_px": 2000, "height_px": 2400}

`reader`, `duration_ms`, `onset_ms` (since the image was shown), `finding`, `source` (how it was made, such as "click";
"eyetracker" where it is not told) and the image's size may be missing; so may `submission_id` and `digest` (SHA-256 of
the submission's record), by which an export names where a path comes from, and the `kind` of the submission. Positions
are pixels where a size is given, else fractions of the image. Lines of one fixation each make up the path of their
image, reader and submission, in the file's order.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gazevlm_core.annotation import HEX_DIGITS
from gazevlm_core.datasets.identity import id_text, image_name
from gazevlm_core.datasets.text_files import TextFileError, placed_lines, text_of
from gazevlm_core.metrics.paths import UNIT_SQUARE, Size
from gazevlm_core.scanpath import SOURCES, Fixation, Scanpath, Source

MOST_SIDE_PX = 1e6
DIGEST_DIGITS = 64  # of a SHA-256
LARGEST_NUMBER, MOST_SHOWN = 1e9, 40
TIMES = ("duration_ms", "onset_ms")
LONGEST_MS = 900_000.0  # of a path: scores that see durations take memory by their square


class ScanpathFileError(ValueError):
    """A file that cannot be scored; the message names the line and what was expected."""


@dataclass(frozen=True)
class FiledPath:
    """One scanpath of a file.

    Args:
        image_id: of its image.
        reader: who looked; "" where the file does not say.
        scanpath: at least one fixation on the image.
        size: width and height of the image, in pixels where known.
        finding: the image's leading finding; "" where the file does not say.
        reading_id: `submission_id` of the file; "" where it does not say.
        digest: SHA-256 of the submission's record; "" where the file does not say.
        kind: how the reader came to the image, in exports of annotations; "" elsewhere.
    """

    image_id: str
    reader: str
    scanpath: Scanpath
    size: Size
    finding: str
    reading_id: str = ""
    digest: str = ""
    kind: str = ""


@dataclass
class ScanpathFile:
    """What a file holds, and what was left out of it.

    Args:
        readings: in the file's order.
        off_image: fixations that lie beside their image, and were dropped.
        empty: paths of which nothing was left.
    """

    readings: list[FiledPath] = field(default_factory=list)
    off_image: int = 0
    empty: int = 0


@dataclass
class _Gathered:
    """A path while its lines are read."""

    size: Size
    finding: str
    source: Source
    digest: str
    kind: str
    fixations: list[Fixation] = field(default_factory=list)


def read_scanpaths(path: Path) -> ScanpathFile:
    """Read a whole file.

    Raises:
        ScanpathFileError: no such file, a line that is no path and no fixation, a size that changes within a path, or
            nothing to score.
    """
    found = _gather(path.name, _lines(path))
    if not found.readings:
        raise ScanpathFileError(f"{path.name} holds no scanpath on an image; each line is one path or one fixation")
    return found


class ScanpathIndex:
    """A file of which only the place of each image's lines is kept, for sets that are larger than memory.

    Args:
        path: of the file.

    Raises:
        ScanpathFileError: as in `read_scanpaths`, for what can be seen without reading paths.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[str, list[tuple[int, int]]] = {}
        for number, offset, values in _placed_lines(path):
            image_id = _image_id(values, f"{path.name}, line {number}")
            self._places.setdefault(image_id, []).append((number, offset))

    @property
    def image_ids(self) -> list[str]:
        """Every image of the file, in its order."""
        return list(self._places)

    def read(self, image_id: str, *others: str) -> ScanpathFile:
        """The readings of one image; none where the file does not know it. Errors as in `read_scanpaths`.

        Args:
            image_id: name of the image; the readings get it.
            others: further names that the file has for it.
        """
        places = sorted(place for name in dict.fromkeys((image_id, *others)) for place in self._places.get(name, []))

        def lines() -> Iterator[tuple[int, Mapping[str, Any]]]:
            with self.path.open("rb") as stream:
                for number, offset in places:
                    stream.seek(offset)
                    line = text_of(stream.readline(), self.path.name, number)
                    yield number, {**_parsed(line, self.path.name, number), "image_id": image_id}

        return _gather(self.path.name, lines())


def _gather(name: str, lines: Iterator[tuple[int, Mapping[str, Any]]]) -> ScanpathFile:
    found = ScanpathFile()
    gathered: dict[tuple[str, str, str, int], _Gathered] = {}
    for number, values in lines:
        where = f"{name}, line {number}"
        image_id, reader = _image_id(values, where), _text(values, "reader", where)
        size, finding = _size(values, where), _text(values, "finding", where)
        columns = _columns(values, where)
        reading_id, digest = _text(values, "submission_id", where), _digest(values, where)
        kind = _text(values, "kind", where)
        key = (image_id, reader, reading_id, number if isinstance(values["x"], list) else 0)
        entry = gathered.setdefault(key, _Gathered(size, finding, _source(values, where), digest, kind))
        if entry.size != size:
            raise ScanpathFileError(f"{where}: image {image_id!r} has another size than before")
        if entry.digest != digest:
            raise ScanpathFileError(f"{where}: the path has another digest than before")
        for x, y, *times_ms in columns:
            fixation = _fixation(x / size[0], y / size[1], times_ms, where)
            if fixation is None:
                found.off_image += 1
            else:
                entry.fixations.append(fixation)
    for (image_id, reader, reading_id, _), entry in gathered.items():
        if not entry.fixations:
            found.empty += 1
            continue
        if sum(fixation.duration_ms or 0.0 for fixation in entry.fixations) > LONGEST_MS:
            raise ScanpathFileError(
                f"{name}: a path of image {image_id[:MOST_SHOWN]!r} lasts more than {LONGEST_MS / 60_000:g} minutes; "
                "duration_ms is in milliseconds"
            )
        try:
            scanpath = Scanpath(tuple(entry.fixations), entry.source)
        except ValueError as error:
            raise ScanpathFileError(f"{name}: a path of image {image_id[:MOST_SHOWN]!r}: {error}") from None
        about = (entry.size, entry.finding, reading_id, entry.digest, entry.kind)
        found.readings.append(FiledPath(image_id, reader, scanpath, *about))
    return found


def _lines(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    yield from ((number, values) for number, _, values in _placed_lines(path))


def _placed_lines(path: Path) -> Iterator[tuple[int, int, Mapping[str, Any]]]:
    """Number, place in the file and values of every line that is not blank."""
    try:
        for number, offset, line in placed_lines(path):
            if line.strip():
                yield number, offset, _parsed(line, path.name, number)
    except TextFileError as error:
        raise ScanpathFileError(str(error)) from None


def _parsed(line: str, name: str, number: int) -> Mapping[str, Any]:
    try:
        values = json.loads(line)
    except json.JSONDecodeError as error:
        raise ScanpathFileError(f"{name}, line {number} is no JSON: {error.msg}") from None
    except (RecursionError, ValueError):  # nested without end, or a number of thousands of digits
        raise ScanpathFileError(f"{name}, line {number} is nested too deep, or has a number that is too long") from None
    if not isinstance(values, dict) or not {"image_id", "x", "y"} <= values.keys():
        raise ScanpathFileError(f"{name}, line {number} needs image_id, x and y")
    return values


def _columns(values: Mapping[str, Any], where: str) -> list[tuple[Any, ...]]:
    """x, y, duration and onset of each fixation; times may be None."""
    columns = [values["x"], values["y"], *(values.get(name) for name in TIMES)]
    if not isinstance(columns[0], list):
        columns = [[column] for column in columns]
    count = len(columns[0])
    columns = [[None] * count if column is None else column for column in columns]
    if not all(isinstance(column, list) and len(column) == count for column in columns):
        raise ScanpathFileError(
            f"{where}: x, y, {' and '.join(TIMES)} must be lists of one length, or one number each"
        )
    x, y, *times_ms = columns
    for value in (*x, *y, *(time for column in times_ms for time in column if time is not None)):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ScanpathFileError(f"{where}: {repr(value)[:MOST_SHOWN]} is no number")
        if abs(value) > LARGEST_NUMBER:  # not NaN, which lies beside every image
            raise ScanpathFileError(f"{where}: a number is larger than {LARGEST_NUMBER:g}")
    return list(zip(*columns, strict=True))


def _fixation(x: float, y: float, times_ms: Sequence[float | None], where: str) -> Fixation | None:
    """None for a place beside the image."""
    if not (0 <= x < 1 and 0 <= y < 1):
        return None
    try:
        return Fixation(float(x), float(y), *(None if time is None else float(time) for time in times_ms))
    except ValueError as error:
        raise ScanpathFileError(f"{where}: {error}") from None


def _size(values: Mapping[str, Any], where: str) -> Size:
    width, height = values.get("width_px"), values.get("height_px")
    if width is None and height is None:
        return UNIT_SQUARE
    for side in (width, height):
        if isinstance(side, bool) or not isinstance(side, (int, float)) or not 0 < side <= MOST_SIDE_PX:
            raise ScanpathFileError(f"{where}: width_px and height_px must both be positive numbers")
    assert width is not None
    assert height is not None
    return float(width), float(height)


def _source(values: Mapping[str, Any], where: str) -> Source:
    """How the path was made."""
    told = values.get("source", "eyetracker")
    if told not in SOURCES:
        raise ScanpathFileError(f"{where}: source must be one of {', '.join(SOURCES)}")
    source: Source = told
    return source


def _digest(values: Mapping[str, Any], where: str) -> str:
    digest = _text(values, "digest", where)
    if digest and (len(digest) != DIGEST_DIGITS or set(digest) - HEX_DIGITS):
        raise ScanpathFileError(f"{where}: digest must be {DIGEST_DIGITS} lower-case hex digits, a SHA-256")
    return digest


def _image_id(values: Mapping[str, Any], where: str) -> str:
    """Name of the image; as `identity.image_name`."""
    try:
        name = image_name(values["image_id"])
    except ValueError:
        name = ""
    if not name:
        raise ScanpathFileError(f"{where}: image_id must be a name")
    return name


def _text(values: Mapping[str, Any], name: str, where: str) -> str:
    """An id or a word; "" where there is none."""
    try:
        return id_text(values.get(name))
    except ValueError:
        raise ScanpathFileError(f"{where}: {name} must be a name") from None
