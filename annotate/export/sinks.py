"""Where an export writes: one sink per format, fed image by image, so that only one image is in memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TextIO

from annotate.export.lines import image_values, json_line, record_values
from annotate.store.types import Stored, StoredImage

IMAGES, RECORDS, IMAGE_LINES = "images", "records.jsonl", "images.jsonl"


class Sink(Protocol):
    """One format."""

    def add(self, image: StoredImage, png: bytes, stored: Sequence[Stored]) -> None:
        """Write one image and its submissions, which are sorted by number."""
        ...

    def finish(self) -> None:
        """Write what comes last, and close the files."""
        ...


def open_text(path: Path) -> TextIO:
    """A file to write text to, with the same line ends everywhere."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("w", encoding="utf-8", newline="\n")


class ImageFiles:
    """`images/<sha256>.png`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / IMAGES
        self._folder.mkdir()

    def add(self, image: StoredImage, png: bytes, stored: Sequence[Stored]) -> None:
        """See `Sink`."""
        (self._folder / f"{image.sha256}.png").write_bytes(png)

    def finish(self) -> None:
        """See `Sink`."""


class JsonLines:
    """`records.jsonl`, a submission per line, and `images.jsonl`."""

    def __init__(self, folder: Path) -> None:
        self._records, self._images = open_text(folder / RECORDS), open_text(folder / IMAGE_LINES)

    def add(self, image: StoredImage, png: bytes, stored: Sequence[Stored]) -> None:
        """See `Sink`."""
        self._images.write(json_line(image_values(image)))
        for one in stored:
            self._records.write(json_line(record_values(one)))

    def finish(self) -> None:
        """See `Sink`."""
        self._records.close()
        self._images.close()
