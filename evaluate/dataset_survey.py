"""What a data set holds: counts, labels, splits, what was dropped, and a sheet of its first images."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
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
    images, published = set[str](), dict[str, set[str]]()
    records, reports, unnamed, tried = 0, 0, 0, 0
    views: Counter[str] = Counter()
    labels: dict[str, Counter[float]] = {}  # finding -> 1.0 or 0.0 -> records
    lengths, durations_ms, unreadable, first = PathLengths(), [0.0, 0], list[str](), list[Sample]()
    for sample in islice(source.samples(), limit):
        if sample.image_id not in images:
            images.add(sample.image_id)
            first += [sample] if len(first) < SHEET_IMAGES else []
            if sample.image is not None and (opened is None or tried < opened):
                tried += 1
                unreadable += _problem(sample)
        published.setdefault(sample.patient_id, set()).update(filter(None, sample.split.split(TOGETHER)))
        records, views[sample.view] = records + 1, views[sample.view] + 1
        reports += sample.report is not None
        unnamed += sum(not reading.reader for reading in sample.readings)
        for name, value in sample.findings.items():
            labels.setdefault(name, Counter())[value] += 1
        for path in sample.scanpaths:
            lengths.count[len(path)] += 1
            known = [fixation.duration_ms for fixation in path if fixation.duration_ms is not None]
            durations_ms[0] += sum(known)
            durations_ms[1] += len(known)
    splits = decide(Member(patient, TOGETHER.join(sorted(sides))) for patient, sides in published.items())
    return {
        "dataset": source.name,
        "records": records,
        "images": len(images),
        "patients": len(published),
        "readings": lengths.readings,
        "fixations_per_reading": round(lengths.fixations / lengths.readings, 3) if lengths.readings else None,
        "mean_duration_ms": round(durations_ms[0] / durations_ms[1], 1) if durations_ms[1] else None,
        "readings_without_a_reader": unnamed,
        "gaze_tokens_for_95_percent_of_fixations": lengths.steps_that_keep() or None,
        "reports": reports,
        "labels": {
            name: {"present": count[1.0], "absent": count[0.0], "unknown": records - count[1.0] - count[0.0]}
            for name, count in sorted(labels.items())
        },
        "labels_unknown_to_the_embedded_model": sorted(set(labels) - {*FINDING_NAMES, NO_FINDING}),
        "fixations_beyond_the_embedded_model": lengths.words(GAZE_TOKENS),
        "patients_by_split": dict(sorted(Counter(splits.by_patient.values()).items())),
        "published_split": splits.note,
        "patients_leaking_in_published_split": sum(len(sides) > 1 for sides in published.values()),
        "views": dict(sorted(views.items())),
        "columns_not_read": dict(source.not_read),
        "credit": source.credit,
        "dropped": {reason: number for reason, number in sorted(source.dropped.items()) if number},
        "images_opened": tried,
        "unreadable": unreadable,
    }, first


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
        lines += ["", "columns that are no findings: " + "; ".join(f"{name}: {why}" for name, why in not_read.items())]
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
