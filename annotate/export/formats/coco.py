"""`coco.json`: every path as COCO keypoints, and the findings of each image.

One category has the paths; its keypoints are the fixations in their order. A category has one number of keypoints, so
shorter paths are filled with unlabelled ones (0, 0, 0) as COCO prescribes. Their boxes are those of the pixels that
were looked at, since COCO wants some. Each finding is a category, too; an image that has it by majority has an
annotation of it whose box is the whole image, since nobody said where it is. What is absent is written with the image.

COCO's own ids are numbers within this file; `image_id` of an image is its name in all other files.
"""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from annotate.export.formats import IMAGES, Format, Sink
from annotate.export.lines import flat_values, json_line
from annotate.store.model import Stored, StoredImage
from annotate.votes import labels, votes
from gazevlm_core.annotation import canonical_json
from gazevlm_core.geometry import pixel_of

COCO = "coco.json"
VISIBLE = 2
PIXEL_DIGITS = 3
PATHS, LICENCE_ID = 1, 1  # ids of the category and of the only licence
DESCRIPTION = (
    "Scanpaths as keypoints of the category scanpath, in order; findings of whole images by majority of the annotators."
)
ATTRIBUTES = (
    "image_id", "submission_id", "reader", "receipt", "kind", "verdict", "removed", "mode", "question", "findings",
)  # fmt: skip
SUPERCATEGORY = "finding of the whole image"


class CocoFile(Sink):
    """Written at the end, from lines kept on the disk: the longest path and all findings are not known before.

    Args:
        folder: to write to.
        title: of the data set.
        licence: of the data set.
    """

    names = (COCO,)

    def __init__(self, folder: Path, title: str, licence: str) -> None:
        super().__init__(folder)
        self._title, self._licence = title, licence
        self._images, self._annotations, self._present = (
            TemporaryFile("w+", encoding="utf-8", dir=folder) for _ in range(3)
        )
        self._findings: set[str] = set()
        self._longest = self._count = self._last = 0
        self._latest = ""

    def add(self, image: StoredImage, png: bytes, stored: Sequence[Stored]) -> None:
        """See `Sink`."""
        self._count += 1
        known = labels(stored)
        entry = {
            "id": self._count, "image_id": image.sha256, "file_name": f"{IMAGES}/{image.sha256}.png",
            "width": image.width_px, "height": image.height_px, "license": LICENCE_ID, "question": image.question,
            "findings": known, "patient_id": image.patient_id,
        }  # fmt: skip
        self._images.write(json_line(entry))
        for one in stored:
            self._longest = max(self._longest, len(one.annotation.scanpath))
            self._last = max(self._last, one.number)
            self._latest = max(self._latest, f"{one.annotation.submitted_at:%Y-%m-%d}")
            self._annotations.write(json_line(_path(image, one, self._count)))
        counted = votes(stored)
        self._findings |= counted.keys()
        for name in (name for name, label in known.items() if label):
            found = counted[name]
            self._present.write(
                json_line({"finding": name, "image": image.sha256, "number": self._count, "yes": found.yes,
                           "no": found.no, "size": [image.width_px, image.height_px]})
            )  # fmt: skip

    def finish(self) -> None:
        """See `Sink`."""
        steps = [f"fixation_{step}" for step in range(1, self._longest + 1)]
        skeleton = [[step, step + 1] for step in range(1, self._longest)]
        path = {"id": PATHS, "name": "scanpath", "supercategory": "gaze", "keypoints": steps, "skeleton": skeleton}
        numbers = {name: number for number, name in enumerate(sorted(self._findings), start=PATHS + 1)}
        findings = [{"id": number, "name": name, "supercategory": SUPERCATEGORY} for name, number in numbers.items()]
        head: dict[str, Any] = {
            "info": {
                "description": f"{self._title}. {DESCRIPTION}", "version": "2", "url": "", "contributor": "",
                "year": int(self._latest[:4] or 0), "date_created": self._latest,
            },
            "licenses": [{"id": LICENCE_ID, "name": self._licence, "url": ""}],
            "categories": [path, *findings],
        }  # fmt: skip
        stream = self.files[0]
        for name, values in head.items():
            stream.write(("{" if name == "info" else ",\n") + f'"{name}":' + canonical_json(values))
        stream.write(',\n"images":[')
        stream.writelines(_joined(_values(self._images)))
        stream.write('],\n"annotations":[')
        stream.writelines(_joined(self._all_annotations(numbers)))
        stream.write("]}\n")
        for file in (*self.files, self._images, self._annotations, self._present):
            file.close()

    def _all_annotations(self, numbers: dict[str, int]) -> Iterator[dict[str, Any]]:
        for values in _values(self._annotations):
            values["keypoints"] += [0, 0, 0] * (self._longest - values["num_keypoints"])
            yield values
        for own_id, values in enumerate(_values(self._present), start=self._last + 1):
            width, height = values["size"]
            yield {
                "id": own_id, "image_id": values["number"], "category_id": numbers[values["finding"]], "iscrowd": 0,
                "bbox": [0, 0, width, height], "area": width * height,
                "attributes": {"image_id": values["image"], "yes": values["yes"], "no": values["no"]},
            }  # fmt: skip


def _path(image: StoredImage, one: Stored, image_number: int) -> dict[str, Any]:
    annotation, values = one.annotation, flat_values(image, one)
    width, height = annotation.image_width_px, annotation.image_height_px
    places = [(pixel_of(at.x, width, PIXEL_DIGITS), pixel_of(at.y, height, PIXEL_DIGITS)) for at in annotation.scanpath]
    columns = [min(math.floor(at.x * width), width - 1) for at in annotation.scanpath]
    rows = [min(math.floor(at.y * height), height - 1) for at in annotation.scanpath]
    left, top = min(columns), min(rows)
    wide, high = max(columns) + 1 - left, max(rows) + 1 - top  # of whole pixels, so that a single click has an area
    return {
        "id": one.number,
        "image_id": image_number,
        "category_id": PATHS,
        "iscrowd": 0,
        "num_keypoints": len(places),
        "keypoints": [value for x, y in places for value in (x, y, VISIBLE)],
        "bbox": [left, top, wide, high],
        "area": wide * high,
        "attributes": {name: values[name] for name in ATTRIBUTES},
    }


def _values(lines: IO[str]) -> Iterator[dict[str, Any]]:
    """Read what was kept on the disk, from its start."""
    lines.seek(0)
    return map(json.loads, lines)


def _joined(members: Iterator[dict[str, Any]]) -> Iterator[str]:
    """Write the members of a JSON array."""
    for index, values in enumerate(members):
        yield (",\n" if index else "\n") + json_line(values).rstrip("\n")


FORMAT = Format(
    "COCO keypoints",
    {COCO: "paths as COCO keypoints, a shorter one filled with unlabelled points; findings of whole images"},
    lambda folder, title, licence: [CocoFile(folder, title, licence)],
    with_images=True,
)
