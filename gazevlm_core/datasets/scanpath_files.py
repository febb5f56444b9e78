"""Files of scanpaths, JSON lines: one path per line, or one fixation per line.

    {"image_id": "a", "reader": "r1", "x": [0.2, 0.7], "y": [0.3, 0.6], "duration_ms": [250, 310], "finding": "edema"}
    {"image_id": "a", "x": 410, "y": 300, "duration_ms": 250, "width_px": 2000, "height_px": 2400}

`reader`, `duration_ms`, `onset_ms` (since the image was shown), `finding`, `source` (how it was made, such as "click";
"eyetracker" where it is not given) and the image's size may be missing; so may `submission_id` and `digest` (SHA-256 of
the submission's record), by which an export names where a path comes from, and the `kind` of the submission. Positions
are pixels where a size is given, else fractions of the image. Lines of one fixation each make up the path of their
image, reader and submission, in the file's order.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gazevlm_core.annotation import DIGEST_DIGITS, is_digest
from gazevlm_core.datasets.files import decoded, parse_json, placed_lines
from gazevlm_core.datasets.identity import id_text, image_name
from gazevlm_core.metrics.paths import UNIT_SQUARE, Size
from gazevlm_core.sample import DatasetError, Reading
from gazevlm_core.scanpath import SOURCES, Fixation, Scanpath, Source

MOST_SIDE_PX = 1e6
LARGEST_NUMBER, MOST_SHOWN = 1e9, 40
TIMES = ("duration_ms", "onset_ms")
LONGEST_MS = 900_000.0  # of a path: scores that see durations take memory by their square


@dataclass(frozen=True)
class FiledPath(Reading):
    """A reading of a file, and which image it is of.

    Args:
        image_id: of its image.
        size: width and height of the image, in pixels where known.
        finding: the image's leading finding; "" where the file does not say.
        kind: how the reader came to the image, in exports of annotations; "" elsewhere.
    """

    image_id: str = ""
    size: Size = UNIT_SQUARE
    finding: str = ""
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
class _Line:
    """What one line says; of a path whose lines are one fixation each, the first one gathers the others'."""

    image_id: str
    reader: str
    source: Source
    size: Size
    finding: str
    reading_id: str
    digest: str
    kind: str
    fixations: list[Fixation]


def line_values(image_id: str, reading: Reading) -> dict[str, Any]:
    """Return the line of a reading as JSON values, which `read_scanpaths` reads back; what is not known is left out.

    So are durations that last longer together than a reader takes.
    """
    path = reading.scanpath
    columns = {name: [getattr(fixation, name) for fixation in path] for name in ("x", "y", *TIMES)}
    if sum(fixation.duration_ms or 0.0 for fixation in path) > LONGEST_MS:
        del columns["duration_ms"]
    names = {"reader": reading.reader, "submission_id": reading.reading_id, "digest": reading.digest}
    return {
        "image_id": image_id,
        "source": reading.source,
        **{name: column for name, column in columns.items() if column != [None] * len(path)},
        **{name: text for name, text in names.items() if text},
    }


def read_scanpaths(path: Path) -> ScanpathFile:
    """Read a file.

    Raises:
        DatasetError: no such file, a line that is no path and no fixation, a size that changes within a path, or
            nothing to score.
    """
    found = _gather(path.name, ((number, values) for number, _, values in _placed_lines(path)))
    if not found.readings:
        raise DatasetError(f"{path.name} holds no scanpath on an image; each line is one path or one fixation")
    return found


class ScanpathIndex:
    """A file of which only the place of each image's lines is kept, for sets that are larger than memory.

    Args:
        path: of the file.

    Raises:
        DatasetError: as in `read_scanpaths`, for what can be seen without reading paths.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[str, list[tuple[int, int]]] = {}
        for number, offset, values in _placed_lines(path):
            try:
                self._places.setdefault(_image_id(values), []).append((number, offset))
            except ValueError as error:
                raise DatasetError(f"{path.name}, line {number}: {error}") from None

    @property
    def image_ids(self) -> list[str]:
        """Every image of the file, in its order."""
        return list(self._places)

    def read(self, image_id: str, *others: str) -> ScanpathFile:
        """Return the readings of one image; none where the file does not know it. Errors as in `read_scanpaths`.

        Args:
            image_id: name of the image; the readings get it.
            others: further names that the file has for it.
        """
        places = sorted(place for name in dict.fromkeys((image_id, *others)) for place in self._places.get(name, []))

        def lines() -> Iterator[tuple[int, Mapping[str, Any]]]:
            with self.path.open("rb") as stream:
                for number, offset in places:
                    stream.seek(offset)
                    line = decoded(stream.readline(), self.path.name, number)
                    yield number, {**parse_json(line, f"{self.path.name}, line {number}"), "image_id": image_id}

        return _gather(self.path.name, lines())


def _placed_lines(path: Path) -> Iterator[tuple[int, int, Mapping[str, Any]]]:
    """Yield number, place in the file and values of every line that is not blank."""
    for number, offset, line in placed_lines(path):
        if line.strip():
            values = parse_json(line, f"{path.name}, line {number}")
            if not isinstance(values, dict) or not {"image_id", "x", "y"} <= values.keys():
                raise DatasetError(f"{path.name}, line {number} needs image_id, x and y")
            yield number, offset, values


def _gather(name: str, lines: Iterable[tuple[int, Mapping[str, Any]]]) -> ScanpathFile:
    """Put the lines of each path together."""
    found = ScanpathFile()
    paths: dict[tuple[str, str, str, int], _Line] = {}
    for number, values in lines:
        try:
            line, off_image = _line(values)
            key = (line.image_id, line.reader, line.reading_id, number if isinstance(values["x"], list) else 0)
            first = paths.setdefault(key, line)
            if first.size != line.size:
                raise ValueError(f"image {line.image_id!r} has another size than before")
            if first.digest != line.digest:
                raise ValueError("the path has another digest than before")
        except ValueError as error:
            raise DatasetError(f"{name}, line {number}: {error}") from None
        found.off_image += off_image
        if first is not line:
            first.fixations += line.fixations
    for one in paths.values():
        if not one.fixations:
            found.empty += 1
            continue
        where = f"{name}: a path of image {one.image_id[:MOST_SHOWN]!r}"
        if sum(fixation.duration_ms or 0.0 for fixation in one.fixations) > LONGEST_MS:
            longest = f"{LONGEST_MS / 60_000:g} minutes"
            raise DatasetError(f"{where} lasts more than {longest}; duration_ms is in milliseconds")
        try:
            path = Scanpath(tuple(one.fixations), one.source)
        except ValueError as error:
            raise DatasetError(f"{where}: {error}") from None
        found.readings.append(
            FiledPath(
                one.reader, path, one.reading_id, one.digest,
                image_id=one.image_id, size=one.size, finding=one.finding, kind=one.kind,
            )
        )  # fmt: skip
    return found


def _line(values: Mapping[str, Any]) -> tuple[_Line, int]:
    """Read a line; return it, and how many of its fixations lie beside the image.

    Raises:
        ValueError: what is wrong, without the place.
    """
    source, digest, size = values.get("source", "eyetracker"), _text(values, "digest"), _size(values)
    if source not in SOURCES:
        raise ValueError(f"source must be one of {', '.join(SOURCES)}")
    if digest and not is_digest(digest):
        raise ValueError(f"digest must be {DIGEST_DIGITS} lower-case hex digits, a SHA-256")
    reader, finding, reading_id, kind = (_text(values, name) for name in ("reader", "finding", "submission_id", "kind"))
    fixations, off_image = [], 0
    for x_px, y_px, *times_ms in _columns(values):
        x, y = x_px / size[0], y_px / size[1]
        if 0 <= x < 1 and 0 <= y < 1:
            duration_ms, onset_ms = (None if time is None else float(time) for time in times_ms)
            fixations.append(Fixation(float(x), float(y), duration_ms, onset_ms))
        else:
            off_image += 1
    return _Line(_image_id(values), reader, source, size, finding, reading_id, digest, kind, fixations), off_image


def _columns(values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Return x, y, duration and onset of each fixation; times may be None."""
    columns = [values["x"], values["y"], *(values.get(name) for name in TIMES)]
    if not isinstance(columns[0], list):
        columns = [[column] for column in columns]
    count = len(columns[0])
    columns = [[None] * count if column is None else column for column in columns]
    if not all(isinstance(column, list) and len(column) == count for column in columns):
        raise ValueError(f"x, y, {' and '.join(TIMES)} must be lists of one length, or one number each")
    x, y, *times_ms = columns
    for value in (*x, *y, *(time for column in times_ms for time in column if time is not None)):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{repr(value)[:MOST_SHOWN]} is no number")
        if abs(value) > LARGEST_NUMBER:  # not NaN, which lies beside every image
            raise ValueError(f"a number is larger than {LARGEST_NUMBER:g}")
    return list(zip(*columns, strict=True))


def _size(values: Mapping[str, Any]) -> Size:
    sides = values.get("width_px"), values.get("height_px")
    if sides == (None, None):
        return UNIT_SQUARE
    width, height = (
        float(side) if isinstance(side, int | float) and not isinstance(side, bool) else 0.0 for side in sides
    )
    if not (0 < width <= MOST_SIDE_PX and 0 < height <= MOST_SIDE_PX):
        raise ValueError("width_px and height_px must both be positive numbers")
    return width, height


def _image_id(values: Mapping[str, Any]) -> str:
    try:
        name = image_name(values["image_id"])
    except ValueError:
        name = ""
    if not name:
        raise ValueError("image_id must be a name")
    return name


def _text(values: Mapping[str, Any], name: str) -> str:
    """Return an id or a word; "" where there is none."""
    try:
        return id_text(values.get(name))
    except ValueError:
        raise ValueError(f"{name} must be a name") from None
