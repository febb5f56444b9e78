"""Anybody's table of labels, `labels.csv`: a column that names images, one of patients, and any of 0 and 1.

What a column is follows from its name, without regard to upper case, blanks, underscores and dashes: IMAGE_COLUMNS,
PATIENT_COLUMNS, VIEW_COLUMNS and SPLIT_COLUMNS, the first name that is there; of images, the first whose values name
one, else the column whose values name the most; see `_column_of_images`. Each other column that holds 1 and 0 alone,
however they are written (1.00; 1,0), is a finding: blank and what software writes for nothing are unknown, and so is
-1. Columns are separated by commas, semicolons or tabs.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gazevlm_core.datasets.files import is_separator_line, read_table, text_lines
from gazevlm_core.datasets.identity import WRITTEN_FOR_NOTHING, id_text, image_name, without_ending
from gazevlm_core.datasets.label_policies import known_finding
from gazevlm_core.datasets.source import IMAGE_MISSING
from gazevlm_core.findings import NO_FINDING
from gazevlm_core.sample import DatasetError
from gazevlm_core.terminal import one_line

LABELS = "labels.csv"
IMAGE_COLUMNS = (
    "file", "filename", "filepath", "path", "imagepath", "imagefile", "imageid", "imageindex", "imagename", "image",
    "dicomid", "img", "id", "name",
)  # fmt: skip
PATIENT_COLUMNS = ("patientid", "patient", "patientnumber", "pid", "subjectid", "subject", "personid", "person")
VIEW_COLUMNS = ("view", "viewposition", "appa", "projection")
SPLIT_COLUMNS = ("split", "set", "subset", "partition")
NO_FINDINGS = frozenset(
    {"age", "sex", "gender", "width", "height", "fold", "index", "followup", "weight", "patientage", "patientsex"}
)
WORDS: Mapping[str, float] = {"true": 1.0, "false": 0.0}
NUMBERS: Mapping[float, float | None] = {1.0: 1.0, 0.0: 0.0, -1.0: None}
NORMAL = frozenset({"normal", "healthy", "nofinding", "nofindings"})
REPEATED, DISAGREES = "repeated row of labels.csv", "label that labels.csv gives twice, as 0 and as 1"
NO_NAME = "row of labels.csv without an image"
MOST_SHOWN, FIRST_ROWS, LONGEST_NAME = 40, 200, 200


@dataclass
class LabelledImage:
    """What a table says of one image.

    Args:
        line: of its first row.
        patient_id, view, split: "" where unknown.
        findings: name -> 1.0 or 0.0; what is unknown is left out.
        unsure: findings that two of its cells disagree on; they are unknown.
    """

    line: int
    patient_id: str = ""
    view: str = ""
    split: str = ""
    findings: dict[str, float] = field(default_factory=dict)
    unsure: set[str] = field(default_factory=set)

    def add(self, name: str, value: float) -> bool:
        """Add what a cell says; return whether it disagrees with another one, for the first time."""
        if name in self.unsure or self.findings.setdefault(name, value) == value:
            return False
        self.unsure.add(name)
        del self.findings[name]
        return True

    def values(self) -> dict[str, Any]:
        """Return it as the values of a line of studies.jsonl."""
        return {"patient_id": self.patient_id, "view": self.view, "split": self.split, "findings": self.findings}


@dataclass(frozen=True)
class LabelTable:
    """A table as it was read.

    Args:
        images: image file, or where there are none the name that the table has -> what the table says of it.
        not_read: column that is no finding -> why.
        counted: what was left out of rows, by reason.
    """

    images: Mapping[str, LabelledImage]
    not_read: Mapping[str, str]
    counted: Counter[str]


class NamedFiles:
    """Image files by whatever a table calls them: in any case, with or without ending, with more folders or fewer.

    A file is meant where its path ends with the table's, or the table's with its whole path; never by its last part
    alone where both name different folders.

    Args:
        names: paths of the files below one folder, with forward slashes.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._whole: dict[str, set[str]] = {}
        self._ends: dict[str, set[str]] = {}
        for name in names:
            for key in {name.casefold(), without_ending(name).casefold()}:
                self._whole.setdefault(key, set()).add(name)
                for end in _ends(key):
                    self._ends.setdefault(end, set()).add(name)

    def find(self, text: str) -> str | None:
        """Return the file that a table means; None where there is none.

        Raises:
            ValueError: it may be several.
        """
        name = image_name(text)
        for wanted in dict.fromkeys((name, without_ending(name), id_text(name))):
            key = wanted.casefold().lstrip("/")
            for found in (self._whole.get(key), self._ends.get(key), *map(self._whole.get, _ends(key))):
                if found:
                    return _only(found, wanted)
        return None


def _ends(key: str) -> Iterator[str]:
    """Yield what is left of a path when its first folders are left out, the longest first."""
    while "/" in key:
        key = key.partition("/")[2]
        yield key


def _only(found: set[str], wanted: str) -> str:
    exact = {name for name in found if wanted in (name, without_ending(name))}
    names = exact or found
    if len(names) > 1:
        raise ValueError(f"{wanted[:MOST_SHOWN]!r} may be {' or '.join(sorted(names)[:2])}; give its folder and ending")
    return next(iter(names))


def read_labels(path: Path, files: NamedFiles | None = None) -> LabelTable:
    """Return a table of labels.

    Args:
        files: that there are; None takes the names as they are.

    Raises:
        DatasetError: no table, no column of images or none of them, two columns of one name, or as in `_images`.
    """
    rows = read_table(path, _delimiter(path))
    _, header = next(rows, (0, []))
    body = list(rows)
    twice = [name for name, count in Counter(header).items() if name and count > 1]
    if twice:
        raise DatasetError(f"{path.name} has two columns called {twice[0]!r}; rename one")
    keys = list(map(key_of, header))
    known = {"patient": PATIENT_COLUMNS, "view": VIEW_COLUMNS, "split": SPLIT_COLUMNS}
    places = {what: next((keys.index(name) for name in names if name in keys), None) for what, names in known.items()}
    places["image"] = _column_of_images(header, body, files)
    if places["image"] is None:
        names = ", ".join(map(repr, header[:8])) + (", ..." if len(header) > 8 else "")
        raise DatasetError(f"{path.name} has no column that names the images, such as file or image_id; it has {names}")
    labels, not_read = _label_columns(header, body, {place for place in places.values() if place is not None})
    if not body:
        raise DatasetError(f"{path.name} has no row below its header")
    images, counted = _images(path.name, body, places, {place: label_name(header[place]) for place in labels}, files)
    if not images:
        first = body[0][1][places["image"]][:MOST_SHOWN]
        raise DatasetError(f"{path.name}: none of its images is in {path.parent}; the first is {first!r}")
    return LabelTable(images, not_read, counted)


def find_labels(root: Path) -> Path | None:
    """Return the table in a folder, in whatever case its name is; None where there is none."""
    names = sorted(root.iterdir()) if root.is_dir() else []
    return next((path for path in names if path.name.lower() == LABELS and path.is_file()), None)


def not_read_words(not_read: Mapping[str, str]) -> str:
    """Return the columns of a table that are no findings, and why, in one line."""
    return one_line("; ".join(f"{name}: {why}" for name, why in not_read.items()))


def label_name(column: str) -> str:
    """Return the name of the finding that a column is about."""
    return NO_FINDING if key_of(column) in NORMAL else known_finding(column)


def key_of(column: str) -> str:
    """Return the name of a column in lower case, letters and digits alone."""
    return re.sub(r"[^a-z0-9]", "", column.lower())


def view_name(text: str) -> str:
    """Return "AP", "PA" or "lateral" for the usual words; any other in upper case."""
    words = text.strip().upper()
    if words in ("L", "LL", "RL") or words.startswith("LAT"):
        return "lateral"
    for view, word in (("AP", "ANTERO"), ("PA", "POSTERO")):
        if re.match(rf"{view}\b", words) or words.startswith(word):
            return view
    return "" if text.strip() in WRITTEN_FOR_NOTHING else words


def _delimiter(path: Path) -> str:
    """Return what stands between the columns of the header."""
    first = next((line for line in text_lines(path) if line.strip(" ,;\t\r\n") and not is_separator_line(line)), "")
    return max((",", ";", "\t"), key=first.count)


def _column_of_images(
    header: Sequence[str], body: Sequence[tuple[int, list[str]]], files: NamedFiles | None
) -> int | None:
    """Return the first column of those that are called so and name an image; else the one that names the most images.

    A number alone may be that of a row or a person: a column that has as many images by their endings goes before one
    that has them without. A column that is called so of something else counts where no other one names an image.
    """
    called_so = [place for name in IMAGE_COLUMNS for place, one in enumerate(header) if key_of(one) == name]
    if files is None:
        return next(iter(called_so), None)
    named: dict[int, set[str]] = {}
    ended = Counter[int]()
    for number, (_, cells) in enumerate(body):
        if number >= FIRST_ROWS and any(len(names) > len(WORDS) for names in named.values()):
            break  # a column of 0 and 1 may name two
        for place, cell in enumerate(cells):
            try:
                found = files.find(cell)
            except ValueError:  # it names several
                found = cell
            if found is not None:
                named.setdefault(place, set()).add(found)
                ended[place] += without_ending(cell) != cell
    apart = {*PATIENT_COLUMNS, *VIEW_COLUMNS, *SPLIT_COLUMNS, *NO_FINDINGS}
    order = sorted(named, key=lambda place: (key_of(header[place]) in apart, -len(named[place])))
    first = next((place for place in called_so if place in named), next(iter(order), None))
    if first is None:
        return next(iter(called_so), None)
    better = (place for place in order if ended[place] and len(named[place]) >= len(named[first]))
    return first if ended[first] else next(better, first)


def _label_columns(
    header: Sequence[str], body: Sequence[tuple[int, list[str]]], taken: set[int]
) -> tuple[list[int], dict[str, str]]:
    """Return the places of the findings, and why each other column is none."""
    labels, not_read = [], {}
    for place, name in enumerate(header):
        if place in taken:
            continue
        # the line and not the value, which may be somebody's name
        other = next((line for line, cells in body if _value(cells[place]) is _OTHER), None)
        known = {_value(cells[place]) for _, cells in body} - {None, _OTHER}
        if not name:
            not_read["(no name)"] = "the column has no name"
        elif len(name) > LONGEST_NAME:
            not_read[name[:LONGEST_NAME]] = "its name is too long"
        elif key_of(name) in NO_FINDINGS:
            not_read[name] = "no finding"
        elif other is not None:
            not_read[name] = f"holds other values than 0 and 1, first in line {other}"
        elif not known:
            not_read[name] = "holds neither 0 nor 1"
        else:
            labels.append(place)
    return labels, not_read


_OTHER = object()


def _value(cell: str) -> object:
    """Return 1.0, 0.0, None for unknown, or _OTHER."""
    if not cell or cell in WRITTEN_FOR_NOTHING:
        return None
    if cell.lower() in WORDS:
        return WORDS[cell.lower()]
    try:
        return NUMBERS.get(float(cell.replace(",", ".")), _OTHER)
    except ValueError:
        return _OTHER


def _images(
    table: str, body: Sequence[tuple[int, list[str]]], places: Mapping[str, int | None],
    labels: Mapping[int, str], files: NamedFiles | None,
) -> tuple[dict[str, LabelledImage], Counter[str]]:  # fmt: skip
    """Return what the rows say by image, with what was left out of them.

    Args:
        table: name, for errors.
        body: number of the line, and cells, of each row.
        places: "image", "patient", "view" and "split" -> their column, None where there is none.
        labels: column -> finding.
        files: that there are; None takes the names as they are.

    Raises:
        DatasetError: an image of two patients, a name that may be two files, or an id that is none.
    """
    found: dict[str, LabelledImage] = {}
    counted: Counter[str] = Counter()
    for line, cells in body:
        texts = {what: "" if place is None else cells[place] for what, place in places.items()}
        try:
            name, patient_id = image_name(texts["image"]), id_text(texts["patient"])
            image = files.find(name) if files and name else name
        except ValueError as error:
            raise DatasetError(f"{table}, line {line}: {error}") from None
        if not image:
            counted[IMAGE_MISSING if name else NO_NAME] += 1
            continue
        counted[REPEATED] += image in found
        one = found.setdefault(image, LabelledImage(line, patient_id))
        if one.patient_id and patient_id not in ("", one.patient_id):
            shown = name[:MOST_SHOWN]
            raise DatasetError(f"{table}, lines {one.line} and {line} give {shown} to two patients; keep one")
        one.patient_id = one.patient_id or patient_id
        one.view = one.view or view_name(texts["view"])
        one.split = one.split or id_text(texts["split"])
        for place, finding in labels.items():
            value = _value(cells[place])
            counted[DISAGREES] += isinstance(value, float) and one.add(finding, value)
    return found, counted
