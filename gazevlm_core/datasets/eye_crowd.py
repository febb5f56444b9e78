"""EyeCrowd: 500 colour photographs of crowds, seen freely for five seconds by 16 people each.

Jiang, Xu, Zhao, "Saliency in crowd", ECCV 2014; MIT licence; https://github.com/NUS-VIP/saliency-in-crowd. Read here,
as made of its `fixations.mat` and `labels.mat`:

    images/          001.jpg, 002.jpg, ..., any size
    scanpaths.json   list of {image, viewer, x, y, ms}: fractions of the image, duration of each fixation
    faces.json       optional: list of {image, n_faces, faces: [{left, top, width, height}]}, px of 1024 x 768

The finding is "many faces": MANY and more, which half of the photographs have.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from gazevlm_core.datasets.files import find_file, json_list
from gazevlm_core.datasets.identity import id_text
from gazevlm_core.datasets.siim_gaze import fractions
from gazevlm_core.datasets.source import NO_FIXATION, DataSource, corner_and_size, find_image, need_folder
from gazevlm_core.sample import DatasetError, Reading, Sample
from gazevlm_core.scanpath import Fixation, Scanpath

IMAGES, PATHS, FACES = "images", "scanpaths.json", "faces.json"
KEYS, FACE_KEYS = ("image", "viewer", "x", "y", "ms"), ("image", "n_faces", "faces")
SIZE_PX = (1024, 768)
FINDING, FACE, MANY = "many faces", "face", 13

_Entry = Mapping[str, Any]


class EyeCrowd(DataSource):
    """One sample per photograph, with the readings of all viewers; nobody is a patient, so each stands for itself.

    Args:
        root: folder of the files.
    """

    name = "EyeCrowd"
    credit = (
        "Jiang M, Xu J, Zhao Q. Saliency in Crowd. ECCV 2014, https://github.com/NUS-VIP/saliency-in-crowd (MIT)."
    )

    def items(self) -> Iterator[tuple[str, list[_Entry], _Entry]]:
        """Yield each photograph with its readings and faces, in the order of the readings.

        Raises:
            DatasetError: no readings, no folder of images, or a file that is not as above.
        """
        need_folder(self.root, IMAGES)
        readings: dict[str, list[_Entry]] = {}
        for entry in json_list(find_file(self.root, PATHS), KEYS):
            readings.setdefault(str(entry["image"]), []).append(entry)
        path = self.root / FACES
        faces = {entry["image"]: entry for entry in (json_list(path, FACE_KEYS) if path.is_file() else ())}
        for image, own in readings.items():
            yield image, own, faces.get(image, {})

    def sample(self, item: tuple[str, list[_Entry], _Entry]) -> Sample:
        """Make a sample of a photograph."""
        image_id, entries, faces = item
        image = find_image(image_id, self.root / IMAGES)
        readings = tuple(
            Reading(id_text(entry["viewer"]), path) for entry in entries if (path := self._path(entry)) is not None
        )
        marks = []
        for face in faces.get("faces", ()):
            edges = corner_and_size(self.edges([str(face.get(key)) for key in ("left", "top", "width", "height")]))
            marks.append((FACE, edges, ""))
        return Sample(
            image_id,
            image,
            findings={FINDING: float(faces["n_faces"] >= MANY)} if faces else {},
            readings=readings,
            boxes=self.boxes(marks, SIZE_PX),
        )

    def wanted(self) -> Iterator[str]:
        """Yield the photographs of the readings."""
        for entry in json_list(find_file(self.root, PATHS), KEYS):
            yield f"{IMAGES}/{entry['image']}"

    def _path(self, entry: _Entry) -> Scanpath | None:
        """Return a viewer's path; None, counted, where no fixation is left."""
        where = f"{PATHS}, {str(entry['image'])[:64]}"
        x, y = fractions(entry, where)
        durations = entry["ms"]
        if not isinstance(durations, list) or len(durations) != len(x):
            raise DatasetError(f"{where}: ms must be a list as long as x and y")
        fixations = []
        for place_x, place_y, ms in zip(x, y, durations, strict=True):
            if self.on_image(place_x, place_y):
                known = isinstance(ms, int | float) and math.isfinite(ms) and ms >= 0
                fixations.append(Fixation(place_x, place_y, float(ms) if known else None))
        self.dropped[NO_FIXATION] += not fixations
        return Scanpath(tuple(fixations), "eyetracker") if fixations else None
