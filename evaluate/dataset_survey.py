"""What a data set holds: counts, labels, splits, what was dropped, and a sheet of its first images."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from PIL import Image, ImageOps

from gazevlm_core.datasets.label_table import not_read_words
from gazevlm_core.datasets.source import DataSource
from gazevlm_core.datasets.splits import TOGETHER, Member, decide
from gazevlm_core.findings import NO_FINDING
from gazevlm_core.options import MODELS_FOLDER, NANO
from gazevlm_core.overlay import draw_overlay
from gazevlm_core.sample import DatasetError, Sample
from gazevlm_core.scanpath import PathLengths
from phantoms.contact_sheet import TILE_FILTER, lay_out

SHEET_COLUMNS, TILE_PX = 4, 240
SHEET_IMAGES, CAPTION_LETTERS = 12, 36
OPENED = 200  # images, to see whether they can be read, where nobody asks for all
MOST_SHOWN = 10  # of them, in a table
AT_MOST = "at most {cut}; fixations next to each other in one patch are one step to it"


def survey(
    source: DataSource, limit: int | None = None, opened: int | None = OPENED
) -> tuple[dict[str, Any], list[Sample]]:
    """Walk a data set once, and count. Names of images and patients are kept to count them; nothing else is.

    Args:
        source: any adapter.
        limit: how many records; None for all. Readers who label differently give several records of an image.
        opened: how many images are opened to see whether they can be read; None for all.

    Returns:
        The counts as JSON values, and the first SHEET_IMAGES samples of different images.
    """
    counter = _Counter(opened)
    for sample in islice(source.samples(), limit):
        counter.add(sample)
    return {"dataset": source.name, **counter.counts(source)}, counter.first


class _Counter:
    """What was counted so far; `opened` as in `survey`."""

    def __init__(self, opened: int | None) -> None:
        self._most_opened = opened
        self.first = list[Sample]()
        self._images, self._published = set[str](), dict[str, set[str]]()
        self._records = self._reports = self._unnamed = self._opened = 0
        self._views = Counter[str]()
        self._labels = dict[str, Counter[float]]()  # finding -> 1.0 or 0.0 -> records
        self._lengths, self._unreadable = PathLengths(), list[str]()
        self._total_ms, self._durations = 0.0, 0

    def add(self, sample: Sample) -> None:
        if sample.image_id not in self._images:
            self._add_image(sample)
        self._published.setdefault(sample.patient_id, set()).update(filter(None, sample.split.split(TOGETHER)))
        self._records += 1
        self._views[sample.view] += 1
        self._reports += sample.report is not None
        self._unnamed += sum(not reading.reader for reading in sample.readings)
        for name, value in sample.findings.items():
            self._labels.setdefault(name, Counter())[value] += 1
        for path in sample.scanpaths:
            self._lengths.count[len(path)] += 1
            known = [fixation.duration_ms for fixation in path if fixation.duration_ms is not None]
            self._total_ms += sum(known)
            self._durations += len(known)

    def _add_image(self, sample: Sample) -> None:
        self._images.add(sample.image_id)
        self.first += [sample] if len(self.first) < SHEET_IMAGES else []
        if sample.image is not None and (self._most_opened is None or self._opened < self._most_opened):
            self._opened += 1
            self._unreadable += _problem(sample)

    def counts(self, source: DataSource) -> dict[str, Any]:
        """Return all counts as JSON values."""
        lengths, published, embedded = self._lengths, self._published, _embedded_gaze()
        cut = lengths.words(embedded["num_gaze_tokens"])
        if cut and not embedded["repeats"]:  # images, whose patches would tell, are not all opened
            cut = AT_MOST.format(cut=cut)
        known = {*embedded["finding_names"], NO_FINDING}
        splits = decide(Member(patient, TOGETHER.join(sorted(sides))) for patient, sides in published.items())
        return {
            "records": self._records,
            "images": len(self._images),
            "patients": len(published),
            "readings": lengths.readings,
            "fixations_per_reading": round(lengths.fixations / lengths.readings, 3) if lengths.readings else None,
            "mean_duration_ms": round(self._total_ms / self._durations, 1) if self._durations else None,
            "readings_without_a_reader": self._unnamed,
            "gaze_tokens_for_95_percent_of_fixations": lengths.steps_that_keep() or None,
            "reports": self._reports,
            "labels": {
                name: {"present": count[1.0], "absent": count[0.0], "unknown": self._records - count[1.0] - count[0.0]}
                for name, count in sorted(self._labels.items())
            },
            "labels_unknown_to_the_embedded_model": sorted(set(self._labels) - known),
            "fixations_beyond_the_embedded_model": cut,
            "patients_by_split": dict(sorted(Counter(splits.by_patient.values()).items())),
            "published_split": splits.note,
            "patients_leaking_in_published_split": sum(len(sides) > 1 for sides in published.values()),
            "views": dict(sorted(self._views.items())),
            "columns_not_read": dict(source.not_read),
            "credit": source.credit,
            "dropped": {reason: number for reason, number in sorted(source.dropped.items()) if number},
            "images_opened": self._opened,
            "unreadable": self._unreadable,
        }


def _embedded_gaze() -> dict[str, Any]:
    """Return the gaze section of the embedded model's configuration; reading it takes no torch."""
    return json.loads((MODELS_FOLDER / NANO / "config.json").read_text(encoding="utf-8"))["gaze"]


def _problem(sample: Sample) -> list[str]:
    """Return why the image cannot be read; nothing where it can."""
    try:
        sample.load()
    except DatasetError as error:
        return [str(error)]
    return []


def survey_text(counts: Mapping[str, Any]) -> str:
    """Return the counts of `survey` for a terminal."""
    values = dict(counts)
    labels, splits, dropped = values.pop("labels"), values.pop("patients_by_split"), values.pop("dropped")
    unknown, cut = values.pop("labels_unknown_to_the_embedded_model"), values.pop("fixations_beyond_the_embedded_model")
    note, opened, unreadable = (values.pop(name) for name in ("published_split", "images_opened", "unreadable"))
    credit, views, not_read = (values.pop(name) for name in ("credit", "views", "columns_not_read"))
    lines = [f"{name.replace('_', ' '):38} {'-' if value is None else value}" for name, value in values.items()]
    lines += ["", f"{'finding':38} {'present':>8} {'absent':>8} {'unknown':>8}"]
    lines += [
        f"{name:38} {counts['present']:8} {counts['absent']:8} {counts['unknown']:8}" for name, counts in labels.items()
    ] or ["(no findings)"]
    if any(views):
        lines += ["", "views: " + ", ".join(f"{view or 'unknown'} {number}" for view, number in views.items())]
    if not_read:
        lines += ["", f"columns that are no findings: {not_read_words(not_read)}"]
    if unknown:
        lines += ["", f"names that the embedded model does not know: {', '.join(unknown)}"]
    if cut:
        lines += ["", f"gaze tokens of the embedded model: {cut}"]
    lines += ["", "patients by our split: " + (", ".join(f"{name} {number}" for name, number in splits.items()) or "-")]
    lines += [note] if note else []
    lines += [f"images that cannot be read: {len(unreadable)} of {opened} that were opened"]
    lines += [f"  {why}" for why in unreadable[:MOST_SHOWN]] + ["  ..."] * (len(unreadable) > MOST_SHOWN)
    lines += ["dropped: " + (", ".join(f"{reason} {number}" for reason, number in dropped.items()) or "nothing")]
    lines += ["", credit] if credit else []
    return "\n".join(lines)


def contact_sheet(records: Iterable[Sample]) -> Image.Image:
    """Return the images with their first reading over them and what is known below; one that cannot be read says why.

    Raises:
        ValueError: no record.
    """
    return lay_out(map(_tile, records), SHEET_COLUMNS, TILE_PX)


def _tile(record: Sample) -> tuple[Image.Image, str]:
    present = [name for name, value in record.findings.items() if value == 1]
    caption = ", ".join(present) or record.image_id
    try:
        picture = record.load()
    except DatasetError as error:
        picture, caption = Image.new("RGB", (TILE_PX, TILE_PX), (90, 0, 0)), str(error)
    # before the path is drawn, whose lines keep their width
    picture = ImageOps.contain(picture, (TILE_PX, TILE_PX), TILE_FILTER)
    if record.readings:
        picture = draw_overlay(picture, record.readings[0].scanpath)
    return picture, caption if len(caption) <= CAPTION_LETTERS else caption[: CAPTION_LETTERS - 3] + "..."
