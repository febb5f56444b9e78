"""Readings of 1,250 SIIM-ACR radiographs by radiologists, each image read once and to its end, with the order kept.

Saab, Hooper, Sohoni, Parmar, Pogatchnik, Wu, Dunnmon, Zhang, Rubin, Re, "Observational supervision for medical image
classification using gaze data", MICCAI 2021; eye tracker Tobii Pro Nano, 60 Hz. Read here:

    scanpaths.json               list of {image_id, pneumothorax 0 or 1, x, y, t}; fractions of the image
    pneumothorax_rle_1024.json   optional: image_id -> list of masks, as in `datasets.siim`

What the file calls `x` is the distance from the top, and `y` that from the left. So read, 11% of the fixations on the
268 films with a pneumothorax lie in its mask, 7.7 times its area and 2.9 times as many as of another film's reading; as
the names say it would be 3%, 1.9 and 1.3. Over all films the places are then alike left and right, as the lungs are.

`t` counts samples within 0.05 of the first one, not time, so that no duration is known. The images are SIIM's DICOM
files, which may be missing: then readings and labels are there, and nothing that needs pixels.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from gazevlm_core.datasets.files import find_file, json_list, parse_json, read_text
from gazevlm_core.datasets.siim import FINDING, SIDE_PX, UNREADABLE, decode_runs, edges_around
from gazevlm_core.datasets.source import (
    IMAGE_MISSING,
    NO_FIXATION,
    OUTSIDE,
    SIIM,
    DataSource,
    Drop,
    index_files,
    leaves_root,
)
from gazevlm_core.sample import Box, DatasetError, Reading, Sample
from gazevlm_core.scanpath import Fixation, Scanpath

PATHS, MASKS = "scanpaths.json", "pneumothorax_rle_1024.json"
KEYS = ("image_id", "pneumothorax", "x", "y")


class SiimGaze(DataSource):
    """One sample per reading, in the order of the file.

    Finding "pneumothorax" is 1.0 or 0.0. A mask becomes one box around it; one that cannot be read is counted. Readers
    and patients are not known, so every image is a patient. Without a folder of images `image` is None.

    Args:
        root: folder of the two files.
        images: folder of SIIM's DICOM files, in any folders below it; None if there are none.
    """

    name = "SIIM gaze"
    id_space = SIIM
    credit = (
        "Saab K, Hooper S, Sohoni N, et al. Observational Supervision for Medical Image Classification using Gaze "
        "Data. MICCAI 2021 (readings, Apache-2.0), on images and masks of the SIIM-ACR Pneumothorax Segmentation "
        "challenge, whose rules hold for them."
    )
    images_apart, images_optional = True, True

    def __init__(self, root: Path, images: Path | None = None) -> None:
        super().__init__(root, images)
        self.has_images = images is not None

    def items(self) -> Iterator[tuple[Mapping[str, Any], list[str]]]:
        """Yield each reading with the masks of its image.

        Raises:
            DatasetError: no file of readings, or one that is not as above.
        """
        entries = json_list(find_file(self.root, PATHS), KEYS)
        path = self.root / MASKS
        masks = parse_json(read_text(path), MASKS) if path.is_file() else {}
        if not isinstance(masks, dict):
            raise DatasetError(f"{MASKS} must be an object of image_id and masks")
        for entry in entries:
            own = masks.get(entry["image_id"], [])
            if not isinstance(own, list) or not all(isinstance(one, str) for one in own):
                raise DatasetError(f"{MASKS}, {str(entry['image_id'])[:64]}: masks must be a list of texts")
            yield entry, own

    def sample(self, item: tuple[Mapping[str, Any], list[str]]) -> Sample:
        """Make a sample of a reading; `Drop` leaves out one without a fixation, or whose image is missing."""
        entry, masks = item
        image_id, label = str(entry["image_id"]), entry["pneumothorax"]
        if label not in (0, 1):
            raise DatasetError(f"{PATHS}, {image_id[:64]}: pneumothorax is {str(label)[:40]!r}, expected 0 or 1")
        image = self._image(image_id)
        from_top, from_left = fractions(entry, f"{PATHS}, {image_id[:64]}")
        places = zip(from_left, from_top, strict=True)
        path = tuple(Fixation(x, y) for x, y in places if self.on_image(x, y))
        if not path:
            raise Drop(NO_FIXATION)
        return Sample(
            image_id,
            image,
            findings={FINDING: float(label)},
            readings=(Reading("", Scanpath(path, "eyetracker")),),
            boxes=self._boxes(masks),
        )

    def wanted(self) -> Iterator[str]:
        """Yield the images of the readings, below SIIM's folders of studies and series."""
        for entry in json_list(find_file(self.root, PATHS), KEYS):
            yield f"*/*/{entry['image_id']}.dcm"

    def _image(self, image_id: str) -> Path | None:
        if not self.has_images:
            return None
        if leaves_root(image_id):
            raise Drop(OUTSIDE)
        if image_id not in self._index:
            raise Drop(IMAGE_MISSING)
        return self._index[image_id]

    def _boxes(self, masks: list[str]) -> tuple[Box, ...]:
        marks = []
        for text in masks:
            try:
                marks.append((FINDING, edges_around(decode_runs(text)), ""))
            except ValueError:
                self.dropped[UNREADABLE] += 1
        return self.boxes(marks, (SIDE_PX, SIDE_PX))

    @cached_property
    def _index(self) -> dict[str, Path]:
        return index_files(self.images, ".dcm")


def fractions(entry: Mapping[str, Any], where: str) -> tuple[list[float], list[float]]:
    """Return x and y of an entry.

    Raises:
        DatasetError: no lists of numbers of one length.
    """
    x, y = entry["x"], entry["y"]
    lists = isinstance(x, list) and isinstance(y, list) and len(x) == len(y)
    if not lists or not all(isinstance(one, int | float) for one in (*x, *y)):
        raise DatasetError(f"{where}: x and y must be lists of numbers of one length")
    return x, y
