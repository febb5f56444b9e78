"""What every real data set yields: one record per image, with whatever is known about it."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from gazevlm_core.scanpath import Scanpath


class DatasetError(ValueError):
    """A data set that cannot be read; the message names the file or column and says what was expected."""


@dataclass(frozen=True)
class Reading:
    """How one reader looked at an image.

    Args:
        reader: pseudonym; "" where the data set does not say who looked.
        scanpath: on the upright image.
        reading_id: of the reading, or of the submission that it was; "" where the data set names none.
        digest: SHA-256 of the submission's record, 64 hex digits; "" where it is not told.
    """

    reader: str
    scanpath: Scanpath
    reading_id: str = ""
    digest: str = ""


@dataclass(frozen=True)
class Box:
    """A place that somebody marked.

    Args:
        name: of what is marked.
        x, y: upper left corner, as fractions of the upright image, clipped to it.
        width, height: as fractions, positive.
        reader: who marked it; "" where it is not said.
    """

    name: str
    x: float
    y: float
    width: float
    height: float
    reader: str = ""


@dataclass(frozen=True)
class StudyRecord:
    """One image, not loaded yet, and what is known about it. A missing part masks its loss and scores, nothing else.

    Args:
        dataset: name of the adapter.
        image_id: of the image within the data set; readers who label it differently give several records of it.
        patient_id: images of one patient never lie on both sides of a split; the image's own id where unknown.
        image_path: file of the image, which exists, or its bytes.
        readings: any number.
        findings: finding name -> 1.0 present, 0.0 absent; what is left out is unknown.
        report: the report's text, or None.
        boxes: marked places.
        published_split: the split that the data set ships with, or "".
        question: that the report answers; "" for the usual one.
    """

    dataset: str
    image_id: str
    patient_id: str
    image_path: Path | bytes
    readings: tuple[Reading, ...] = ()
    findings: Mapping[str, float] = field(default_factory=dict)
    report: str | None = None
    boxes: tuple[Box, ...] = ()
    published_split: str = ""
    question: str = ""


class StudySource(Protocol):
    """An adapter: reads a data set from a folder, record by record, and never all of it into memory.

    `dropped` counts what was left out, by reason; it is complete once `records` has been walked to its end.
    """

    name: str
    dropped: Counter[str]

    def records(self) -> Iterator[StudyRecord]:
        """Every record, in the files' order; errors are `DatasetError`."""
        ...

    def image_files(self) -> Iterator[str]:
        """Every image that the tables ask for, below the data set's folder or that of its images; none is opened, and
        they need not be there. Errors are `DatasetError`."""
        ...
