"""`records.jsonl`, a submission per line, and `images.jsonl`, an image per line: the form that loses nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from annotate.export.formats import IMAGES, Format, Sink
from annotate.export.lines import Item, json_line, line_of, read_lines
from annotate.store.model import Stored, StoredImage

RECORDS, IMAGE_LINES = "records.jsonl", "images.jsonl"


class JsonLines(Sink):
    """Both files."""

    names = (RECORDS, IMAGE_LINES)

    def add(self, image: StoredImage, png: bytes, stored: Sequence[Stored]) -> None:
        """See `Sink`."""
        records, images = self.files
        images.write(json_line(line_of(image)))
        records.writelines(json_line(line_of(one)) for one in stored)


def read(folder: Path) -> Iterator[Item]:
    """See `Format`."""
    for item in read_lines(folder / IMAGE_LINES, StoredImage):
        if isinstance(item.value, StoredImage):
            item = replace(item, png=folder / IMAGES / f"{item.value.sha256}.png")
        yield item
    yield from read_lines(folder / RECORDS, Stored)


FORMAT = Format(
    "JSON lines",
    {
        RECORDS: "a submission per line: number, image, receipt, digest, kind, verdict, reason, removed, revision, "
        "project, and the record",
        IMAGE_LINES: "an image per line: its id, name, size, question, gold path and whose it is, quota, project",
    },
    lambda folder, title, licence: [JsonLines(folder)],
    with_images=True,
    read=read,
)
