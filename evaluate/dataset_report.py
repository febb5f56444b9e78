"""What a data set holds: counts, labels, splits, what was dropped, and a sheet of its first images."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from gazevlm_core.datasets.source import DataSource
from gazevlm_core.datasets.splits import TOGETHER, Member, decide
from gazevlm_core.findings import FINDING_NAMES, NO_FINDING
from gazevlm_core.overlay import draw_overlay
from gazevlm_core.sample import DatasetError, Sample
from gazevlm_core.scanpath import PathLengths

SHEET_COLUMNS, TILE_PX, CAPTION_PX, GAP_PX = 4, 240, 18, 6
SHEET_IMAGES, CAPTION_LETTERS = 12, 36
OPENED = 200  # images, to see whether they can be read, where nobody asks for all
MOST_SHOWN = 10  # of them, in a table
GAZE_TOKENS = 12  # K of the embedded model


@dataclass
class DatasetReport:
    """Counts over all records.

    Args:
        name: of the data set.
        records: how many there are; readers who label differently give several records of an image.
        images, patients: different ones.
        readings: scanpaths.
        fixations: in them.
        durations_ms: sum of the known durations, and how many are known.
        reports: records with one.
        labels: finding -> [absent, present].
        splits: name of the split that all commands use -> patients.
        split_note: what became of the data set's own split; "" where it has none.
        leaking: patients that the published split has on several sides.
        dropped: reason -> how many.
        lengths: of the readings.
        unnamed: readings of which nobody says who looked.
        opened: images that were opened.
        unreadable: of those, name and reason of the ones that cannot be read.
    """

    name: str
    records: int = 0
    images: int = 0
    patients: int = 0
    readings: int = 0
    fixations: int = 0
    durations_ms: list[float] = field(default_factory=lambda: [0.0, 0.0])
    reports: int = 0
    labels: dict[str, list[int]] = field(default_factory=dict)
    splits: dict[str, int] = field(default_factory=dict)
    split_note: str = ""
    leaking: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    lengths: PathLengths = field(default_factory=PathLengths)
    unnamed: int = 0
    opened: int = 0
    unreadable: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """JSON values; a label is unknown in the records that are left."""
        total_ms, known = self.durations_ms
        return {
            "dataset": self.name,
            "records": self.records,
            "images": self.images,
            "patients": self.patients,
            "readings": self.readings,
            "fixations_per_reading": round(self.fixations / self.readings, 3) if self.readings else None,
            "mean_duration_ms": round(total_ms / known, 1) if known else None,
            "readings_without_a_reader": self.unnamed,
            "gaze_tokens_for_95_percent_of_fixations": self.lengths.steps_that_keep() or None,
            "reports": self.reports,
            "labels": {
                name: {"present": present, "absent": absent, "unknown": self.records - present - absent}
                for name, (absent, present) in sorted(self.labels.items())
            },
            "labels_unknown_to_the_embedded_model": sorted(set(self.labels) - {*FINDING_NAMES, NO_FINDING}),
            "fixations_beyond_the_embedded_model": self.lengths.words(GAZE_TOKENS),
            "patients_by_split": self.splits,
            "published_split": self.split_note,
            "patients_leaking_in_published_split": self.leaking,
            "dropped": self.dropped,
            "images_opened": self.opened,
            "unreadable": self.unreadable,
        }


def survey(
    source: DataSource, limit: int | None = None, opened: int | None = OPENED
) -> tuple[DatasetReport, list[Sample]]:
    """Walk a data set once.

    Names of images and patients are kept to count them; nothing else is.

    Args:
        source: any adapter.
        limit: how many records; None for all.
        opened: how many images are opened to see whether they can be read; None for all.

    Returns:
        The report, and the first SHEET_IMAGES records of different images.
    """
    report = DatasetReport(source.name)
    published: dict[str, set[str]] = {}
    images: dict[str, None] = {}
    first: list[Sample] = []
    for record in islice(source.samples(), limit):
        if record.image_id not in images:
            if len(first) < SHEET_IMAGES:
                first.append(record)
            if opened is None or report.opened < opened:
                _open(report, record)
        images[record.image_id] = None
        sides = published.setdefault(record.patient_id, set())
        sides.update(filter(None, record.split.split(TOGETHER)))
        _count(report, record)
    report.images, report.patients = len(images), len(published)
    splits = decide(Member(patient, TOGETHER.join(sorted(sides))) for patient, sides in published.items())
    report.splits, report.split_note = dict(sorted(Counter(splits.by_patient.values()).items())), splits.note
    report.leaking = sum(len(sides) > 1 for sides in published.values())
    report.dropped = {reason: number for reason, number in sorted(source.dropped.items()) if number}
    return report, first


def _open(report: DatasetReport, record: Sample) -> None:
    report.opened += 1
    try:
        record.load()
    except DatasetError as error:
        report.unreadable.append(str(error))


def _count(report: DatasetReport, record: Sample) -> None:
    report.records += 1
    report.readings += len(record.readings)
    report.reports += record.report is not None
    for name, value in record.findings.items():
        report.labels.setdefault(name, [0, 0])[int(value)] += 1
    for reading in record.readings:
        report.lengths.count[len(reading.scanpath)] += 1
        report.unnamed += not reading.reader
        report.fixations += len(reading.scanpath)
        known = [f.duration_ms for f in reading.scanpath if f.duration_ms is not None]
        report.durations_ms[0] += sum(known)
        report.durations_ms[1] += len(known)


def render_report(report: DatasetReport) -> str:
    """The report as text."""
    values = report.as_json()
    labels, splits, dropped = values.pop("labels"), values.pop("patients_by_split"), values.pop("dropped")
    strange, cut = values.pop("labels_unknown_to_the_embedded_model"), values.pop("fixations_beyond_the_embedded_model")
    note, opened, unreadable = (values.pop(name) for name in ("published_split", "images_opened", "unreadable"))
    lines = [f"{name.replace('_', ' '):38} {'-' if value is None else value}" for name, value in values.items()]
    lines += ["", f"{'finding':38} {'present':>8} {'absent':>8} {'unknown':>8}"]
    lines += [
        f"{name:38} {counts['present']:8} {counts['absent']:8} {counts['unknown']:8}" for name, counts in labels.items()
    ] or ["(no findings)"]
    if strange:
        lines += ["", f"names that the embedded model does not know: {', '.join(strange)}"]
    if cut:
        lines += ["", f"gaze tokens of the embedded model: {cut}"]
    lines += ["", "patients by our split: " + (", ".join(f"{name} {number}" for name, number in splits.items()) or "-")]
    lines += [note] if note else []
    lines += [f"images that cannot be read: {len(unreadable)} of {opened} that were opened"]
    lines += [f"  {why}" for why in unreadable[:MOST_SHOWN]] + ["  ..."] * (len(unreadable) > MOST_SHOWN)
    lines += ["dropped: " + (", ".join(f"{reason} {number}" for reason, number in dropped.items()) or "nothing")]
    return "\n".join(lines)


def contact_sheet(records: Iterable[Sample]) -> Image.Image:
    """The images with their first reading over them and what is known below; one that cannot be read says why.

    Raises:
        ValueError: no record.
    """
    tiles = list(_tiles(records))
    if not tiles:
        raise ValueError("a contact sheet needs at least one image")
    rows = -(-len(tiles) // SHEET_COLUMNS)
    width, height = TILE_PX + GAP_PX, TILE_PX + CAPTION_PX + GAP_PX
    sheet = Image.new("RGB", (SHEET_COLUMNS * width + GAP_PX, rows * height + GAP_PX), (32, 32, 32))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for place, (picture, caption) in enumerate(tiles):
        left, top = GAP_PX + place % SHEET_COLUMNS * width, GAP_PX + place // SHEET_COLUMNS * height
        sheet.paste(picture, (left + (TILE_PX - picture.width) // 2, top + (TILE_PX - picture.height) // 2))
        draw.text((left + 2, top + TILE_PX + 2), caption, fill=(220, 220, 220), font=font)
    return sheet


def _tiles(records: Iterable[Sample]) -> Iterator[tuple[Image.Image, str]]:
    for record in records:
        present = [name for name, value in record.findings.items() if value == 1]
        caption = ", ".join(present) or record.image_id
        try:
            picture = record.load()
        except DatasetError as error:
            picture, caption = Image.new("RGB", (TILE_PX, TILE_PX), (90, 0, 0)), str(error)
        scale = TILE_PX / max(picture.size)
        width, height = (max(1, round(side * scale)) for side in picture.size)
        small = picture.resize((width, height), Image.Resampling.LANCZOS)
        if record.readings:
            small = draw_overlay(small, record.readings[0].scanpath)
        yield small, caption if len(caption) <= CAPTION_LETTERS else caption[: CAPTION_LETTERS - 3] + "..."
