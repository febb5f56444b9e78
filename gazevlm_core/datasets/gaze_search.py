"""GazeSearch: scanpaths of radiologists who search one finding in an image; made from REFLACX and EGD-CXR.

Pham et al., "GazeSearch: Radiology findings search benchmark", WACV 2025. One JSON file holds a list of objects with
name, subject, task (the finding), condition, X, Y, T and split. Positions are pixels of the image STRETCHED to 224 x
224, times seconds, and each path was cut by its publishers.

The published split is by image and finding, so that one image lies on both sides: it is told in `published_split` and
must not be used; split again by image (`datasets.splits`).
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gazevlm_core.datasets.identity import id_text, image_name
from gazevlm_core.datasets.label_policies import finding_name
from gazevlm_core.datasets.record import DatasetError, Reading, StudyRecord
from gazevlm_core.datasets.splits import TOGETHER
from gazevlm_core.datasets.text_files import TextFileError, whole_text
from gazevlm_core.scanpath import Fixation, Scanpath

SIDE_PX = 224.0
KEYS = ("name", "subject", "task", "condition", "X", "Y", "T", "split")
NAMES = {"name": image_name, "subject": id_text, "split": id_text}
PRESENT, ABSENT = "present", "absent"


class GazeSearch:
    """One record per image and finding that was searched, with the readings of all subjects.

    The scanpaths, a few megabytes, are read at once; images are not.

    Args:
        table: the JSON file.
        images: folder of the images; `name` may lack its ending.
    """

    name = "GazeSearch"

    def __init__(self, table: Path, images: Path) -> None:
        self.table, self.images = table, images
        self.dropped: Counter[str] = Counter()

    def records(self) -> Iterator[StudyRecord]:
        """Every image and finding, in the order of the file."""
        self.dropped.clear()
        groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
        for entry in self._entries():
            groups.setdefault((entry["name"], entry["task"]), []).append(entry)
        for (image_id, task), entries in groups.items():
            image = self._image(image_id)
            if image is None:
                self.dropped["image missing"] += 1
                continue
            readings = [Reading(entry["subject"], path) for entry in entries if (path := self._scanpath(entry))]
            if not readings:
                self.dropped["no fixation on the image"] += 1
                continue
            conditions = {entry["condition"] for entry in entries}
            known = {PRESENT: {finding_name(task): 1.0}, ABSENT: {finding_name(task): 0.0}}
            findings = known.get(next(iter(conditions)), {}) if len(conditions) == 1 else {}
            splits = TOGETHER.join(sorted({entry["split"] for entry in entries} - {""}))
            # patients are not told: an image stands for one
            yield StudyRecord(self.name, image_id, image_id, image, tuple(readings), findings, published_split=splits)

    def image_files(self) -> Iterator[str]:
        """Images of the file, as it names them; an ending may be missing."""
        yield from dict.fromkeys(entry["name"] for entry in self._entries())

    def _entries(self) -> list[Mapping[str, Any]]:
        try:
            entries = json.loads(whole_text(self.table))
        except TextFileError as error:
            raise DatasetError(f"{self.name}: {error}") from None
        except (ValueError, RecursionError) as error:
            raise DatasetError(f"{self.name}: {self.table.name} is no JSON: {error}") from None
        if not isinstance(entries, list):
            raise DatasetError(f"{self.name}: {self.table.name} must be a list of objects")
        for place, entry in enumerate(entries):
            missing = [key for key in KEYS if not isinstance(entry, dict) or key not in entry]
            if missing:
                raise DatasetError(f"{self.name}: {self.table.name}, object {place} lacks {missing[0]!r}")
            where = f"{self.name}: {self.table.name}, object {place}"
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

    def _image(self, image_id: str) -> Path | None:
        if Path(image_id).name != image_id:
            self.dropped["path outside the data set"] += 1
            return None
        candidates = (self.images / image_id, *(self.images / f"{image_id}{end}" for end in (".jpg", ".png", ".dcm")))
        return next((path for path in candidates if path.is_file()), None)

    def _scanpath(self, entry: Mapping[str, Any]) -> Scanpath | None:
        where = f"{self.name}: {entry['name'][:60]}, {entry['subject']}"
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
            if not (0 <= place[0] < 1 and 0 <= place[1] < 1):
                self.dropped["fixation off the image"] += 1
            elif not 0 <= duration_ms < float("inf"):
                self.dropped["fixation with a negative time"] += 1
            else:
                fixations.append(Fixation(*place, duration_ms))
        return Scanpath(tuple(fixations), "eyetracker") if fixations else None
