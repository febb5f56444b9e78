"""The formats of an export: each module of this package is one, by its name, and holds a `FORMAT`.

Whatever lists formats (the command line, the Annotations tab, export.json, the data card) asks `NAMES` and `formats`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, ClassVar, TextIO

if TYPE_CHECKING:
    from annotate.export.lines import Item
    from annotate.store.model import Stored, StoredImage

FIRST = ("jsonl", "parquet", "coco", "csv", "gaze")  # so in export.json and on the page; any others behind them
NAMES = tuple(
    sorted((one.name for one in iter_modules(__path__)), key=lambda name: ((*FIRST, name).index(name), name))
)
IMAGES = "images"


class Sink(ABC):
    """Writes a format image by image, so that only one image is in memory.

    Args:
        folder: of the export.
    """

    names: ClassVar[tuple[str, ...]] = ()  # of its text files, which are `files` while it writes

    def __init__(self, folder: Path) -> None:
        self.files = [open_text(folder / name) for name in self.names]

    @abstractmethod
    def add(self, image: "StoredImage", png: bytes, stored: Sequence["Stored"]) -> None:
        """Write one image and its submissions, which are sorted by number."""

    def finish(self) -> None:
        """Write what comes last, and close the files."""
        for file in self.files:
            file.close()


@dataclass(frozen=True)
class Format:
    """A format.

    Args:
        title: on the page.
        files: each file or folder that it writes -> what is in it, for the data card.
        sinks: gives what writes it to a folder; the title and the licence of the data set are given, too.
        with_images: whether it names files of `images/`, which is then written, too.
        read: everything in a folder, images before their submissions; None where it cannot be imported again.
    """

    title: str
    files: Mapping[str, str]
    sinks: Callable[[Path, str, str], Sequence[Sink]]
    with_images: bool = False
    read: "Callable[[Path], Iterator[Item]] | None" = None


def formats(names: Collection[str] = NAMES) -> dict[str, Format]:
    """Return the formats of some names, in the order of `NAMES`."""
    found: dict[str, Format] = {}
    for name in NAMES:
        if name in names:
            found[name] = import_module(f"{__name__}.{name}").FORMAT
    return found


def open_text(path: Path) -> TextIO:
    """Return a file to write text to, with the same line ends everywhere."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("w", encoding="utf-8", newline="\n")


class ImageFiles(Sink):
    """`images/<sha256>.png`, for all formats that name them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._folder = folder / IMAGES
        self._folder.mkdir()

    def add(self, image: "StoredImage", png: bytes, stored: Sequence["Stored"]) -> None:
        """See `Sink`."""
        (self._folder / f"{image.sha256}.png").write_bytes(png)
