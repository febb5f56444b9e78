"""`coco.json`: every path as COCO keypoints, one category whose keypoints are the fixations in their order.

A category has one number of keypoints, so shorter paths are filled with unlabelled ones (0, 0, 0) as COCO prescribes.
The boxes are those of the fixations, since COCO wants some.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from annotate.export.lines import json_line
from annotate.export.sinks import IMAGES, open_text
from annotate.store.types import Stored, StoredImage

COCO = "coco.json"
VISIBLE = 2
PIXEL_DIGITS = 3


class CocoKeypoints:
    """Written at the end, from lines kept on the disk: the longest path is not known before."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / COCO
        self._images: IO[str] = TemporaryFile("w+", encoding="utf-8", dir=folder)
        self._annotations: IO[str] = TemporaryFile("w+", encoding="utf-8", dir=folder)
        self._longest = self._count = 0

    def add(self, image: StoredImage, png: bytes, stored: Sequence[Stored]) -> None:
        """See `Sink`."""
        self._count += 1
        entry = {
            "id": self._count, "file_name": f"{IMAGES}/{image.sha256}.png", "width": image.width_px,
            "height": image.height_px,
        }  # fmt: skip
        self._images.write(json_line(entry))
        for one in stored:
            self._longest = max(self._longest, len(one.annotation.scanpath))
            self._annotations.write(json_line(_annotation(one, self._count)))

    def finish(self) -> None:
        """See `Sink`."""
        names = [f"fixation_{step}" for step in range(1, self._longest + 1)]
        skeleton = [[step, step + 1] for step in range(1, self._longest)]
        category = {"id": 1, "name": "scanpath", "supercategory": "gaze", "keypoints": names, "skeleton": skeleton}
        with open_text(self._path) as stream:
            stream.write('{"categories":' + json.dumps([category], separators=(",", ":")) + ',\n"images":[')
            stream.writelines(_joined(self._images))
            stream.write('],\n"annotations":[')
            stream.writelines(_joined(self._annotations, self._longest))
            stream.write("]}\n")
        self._images.close()
        self._annotations.close()


def _annotation(one: Stored, image: int) -> dict[str, Any]:
    annotation = one.annotation
    width, height = annotation.image_width_px, annotation.image_height_px
    places = [(round(at.x * width, PIXEL_DIGITS), round(at.y * height, PIXEL_DIGITS)) for at in annotation.scanpath]
    left, top = min(x for x, _ in places), min(y for _, y in places)
    wide, high = max(x for x, _ in places) - left, max(y for _, y in places) - top
    return {
        "id": one.number,
        "image_id": image,
        "category_id": 1,
        "iscrowd": 0,
        "num_keypoints": len(places),
        "keypoints": [value for x, y in places for value in (x, y, VISIBLE)],
        "bbox": [left, top, round(wide, PIXEL_DIGITS), round(high, PIXEL_DIGITS)],
        "area": round(wide * high, PIXEL_DIGITS),
        "attributes": {
            "reader": annotation.annotator, "receipt": one.receipt.receipt_id, "verdict": one.verdict,
            "removed": one.removed, "mode": annotation.client.mode,
        },
    }  # fmt: skip


def _joined(lines: IO[str], longest: int | None = None) -> Iterator[str]:
    """Lines as members of a JSON array, their keypoints filled up to the longest path."""
    lines.seek(0)
    for index, line in enumerate(lines):
        if longest is not None:
            values = json.loads(line)
            values["keypoints"] += [0, 0, 0] * (longest - values["num_keypoints"])
            line = json_line(values)
        yield (",\n" if index else "\n") + line.rstrip("\n")
