"""GazeSearch: scanpaths of radiologists who search one finding in an image; made from REFLACX and EGD-CXR.

Pham et al., "GazeSearch: Radiology findings search benchmark", WACV 2025. One JSON file holds a list of objects with
name, subject, task (the finding), condition, X, Y, T and split. Positions are pixels of the image STRETCHED to 224 x
224, times seconds, and each path was cut by its publishers.

The published split is by image and finding, so that one image lies on both sides: it is kept in `split` and must
not be used; split again by image (`datasets.splits`).
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gazevlm_core.datasets.files import json_list
from gazevlm_core.datasets.identity import id_text, image_name
from gazevlm_core.datasets.label_policies import finding_name
from gazevlm_core.datasets.source import IMAGE_MISSING, NO_FIXATION, OUTSIDE, DataSource, Drop
from gazevlm_core.datasets.splits import TOGETHER
from gazevlm_core.sample import DatasetError, Reading, Sample
from gazevlm_core.scanpath import Fixation, Scanpath

SIDE_PX = 224.0
KEYS = ("name", "subject", "task", "condition", "X", "Y", "T", "split")
NAMES = {"name": image_name, "subject": id_text, "split": id_text}
LABELS = {"present": 1.0, "absent": 0.0}  # of a condition
ENDINGS = ("", ".jpg", ".png", ".dcm")

_Entry = Mapping[str, Any]


class GazeSearch(DataSource):
    """One sample per image and finding that was searched, with the readings of all subjects.

    The scanpaths, a few megabytes, are read at once; images are not. Patients are not known: an image stands for one.

    Args:
        root: the JSON file.
        images: folder of the images; `name` may lack its ending.
    """

    name = "GazeSearch"
    images_apart = True

    def items(self) -> Iterator[list[_Entry]]:
        """Yield the objects about one image and finding together, in the order of the file."""
        groups: dict[tuple[str, str], list[_Entry]] = {}
        for entry in self._entries():
            groups.setdefault((entry["name"], entry["task"]), []).append(entry)
        yield from groups.values()

    def sample(self, item: list[_Entry]) -> Sample:
        """Make a sample of an image and the finding that was searched in it."""
        image_id, finding = item[0]["name"], finding_name(item[0]["task"])
        if Path(image_id).name != image_id:
            self.dropped[OUTSIDE] += 1  # and missing, too
            raise Drop(IMAGE_MISSING)
        image = next((file for end in ENDINGS if (file := self.images / f"{image_id}{end}").is_file()), None)
        if image is None:
            raise Drop(IMAGE_MISSING)
        readings = tuple(Reading(entry["subject"], path) for entry in item if (path := self._scanpath(entry)))
        if not readings:
            raise Drop(NO_FIXATION)
        labels = {LABELS.get(entry["condition"]) for entry in item}
        label = labels.pop() if len(labels) == 1 else None
        return Sample(
            image_id,
            image,
            findings={} if label is None else {finding: label},
            readings=readings,
            split=TOGETHER.join(sorted({entry["split"] for entry in item} - {""})),
        )

    def wanted(self) -> Iterator[str]:
        """Yield the images of the file, as it names them; an ending may be missing."""
        for entry in self._entries():
            yield entry["name"]

    def _entries(self) -> Sequence[_Entry]:
        table = self.root.name
        entries = json_list(self.root, KEYS)
        for place, entry in enumerate(entries):
            where = f"{table}, object {place}"
            for key, read in NAMES.items():
                try:
                    entry[key] = read(entry[key])
                except ValueError as error:
                    raise DatasetError(f"{where}: {key}: {error}") from None
            if not entry["name"] or not isinstance(entry["task"], str):
                raise DatasetError(f"{where}: name and task must be words")
            if isinstance(entry["condition"], list | dict):
                raise DatasetError(f"{where}: condition must be a word")
        return entries

    def _scanpath(self, entry: _Entry) -> Scanpath | None:
        where = f"{entry['name'][:60]}, {entry['subject']}"
        x, y, seconds = entry["X"], entry["Y"], entry["T"]
        if not all(isinstance(values, list) for values in (x, y, seconds)) or not len(x) == len(y) == len(seconds):
            raise DatasetError(f"{where}: X, Y and T must be lists of one length")
        fixations = []
        for x_px, y_px, duration_s in zip(x, y, seconds, strict=True):
            try:
                place = float(x_px) / SIDE_PX, float(y_px) / SIDE_PX
                duration_ms = 1000 * float(duration_s)
            except (TypeError, ValueError):
                raise DatasetError(f"{where}: X, Y and T must hold numbers") from None
            if not self.on_image(*place):
                continue
            if 0 <= duration_ms < float("inf"):
                fixations.append(Fixation(*place, duration_ms))
            else:
                self.dropped["fixation with a negative time"] += 1
        return Scanpath(tuple(fixations), "eyetracker") if fixations else None
