"""Asking a model about the images of a data set, record by record; images are never held together in memory."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image

from evaluate.predictions import presence_margins
from evaluate.step_scores import StepLooks, look_along
from gazevlm_core.datasets.identity import picture_digest
from gazevlm_core.datasets.record import StudyRecord
from gazevlm_core.datasets.scanpath_files import FiledPath
from gazevlm_core.datasets.trained_on import TrainedOn
from gazevlm_core.findings import NO_FINDING, REPORT_QUESTION
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.images import ImageError, load_image
from gazevlm_core.inference import EncodedImage, GazeEngine
from gazevlm_core.options import DiagnoseOptions
from gazevlm_core.ranks import ALONE, Ranks, in_turns

UNREADABLE = "image that cannot be read"
TRAINED_PICTURE = "picture that the adapter was trained on"


@dataclass(frozen=True, eq=False)
class Answer:
    """What is known about a record, and what a model says about its image.

    Args:
        image_id, patient_id: of the record.
        labels: finding -> 1.0 or 0.0.
        head: finding -> logit of the finding head; empty where it is untrained.
        margins: finding -> log P("Yes") - log P("No") as the first word of the answer, for the findings in `labels`.
        grid: the model's, on this image.
        path: shown scanpath with the size of the image; None where the gaze is untrained.
        readings: of the record, with the size of the image.
        looks: the model's distributions along the readings; None where the gaze is untrained or there is none.
    """

    image_id: str
    patient_id: str
    labels: Mapping[str, float]
    head: Mapping[str, float]
    margins: Mapping[str, float]
    grid: PatchGrid
    path: FiledPath | None
    readings: tuple[FiledPath, ...]
    looks: StepLooks | None


@dataclass
class Asked:
    """Answers to all records, what was left out, and why images cannot be read, in a sentence for each."""

    answers: list[Answer] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)


def ask_records(
    engine: GazeEngine,
    records: Iterable[StudyRecord],
    *,
    batch_size: int = 16,
    asked: Callable[[int], object] = lambda count: None,
    ranks: Ranks = ALONE,
    trained: Sequence[TrainedOn] = (),
) -> Asked:
    """Ask a model about every record; every process returns the answers of all.

    An image that cannot be read is counted, named and left out; so is a picture that the model was trained on.

    Args:
        engine: the model, with its adapter if it has one.
        records: from an adapter; walked once.
        batch_size: images at once.
        asked: called with the number of records of each finished batch.
        ranks: the processes that share the records.
        trained: what the model and its adapter were trained on.
    """
    learned = {picture for one in trained for picture in one.pictures}
    own: list[Asked] = []
    for batch in ranks.batches(records, batch_size):
        result = Asked()
        loaded = list(_loaded(batch, result, learned))
        if loaded:
            result.answers = _ask_batch(engine, [record for record, _ in loaded], [image for _, image in loaded])
        own.append(result)
        asked(len(batch))
    whole = Asked()
    for result in in_turns(ranks.gather(own)):
        whole.answers += result.answers
        whole.dropped += result.dropped
        whole.unreadable += result.unreadable
    return whole


def filed_readings(record: StudyRecord, size: tuple[float, float]) -> tuple[FiledPath, ...]:
    """Readings in the form of scanpath files; the finding is the first one present, "no finding", or unknown."""
    present = sorted(name for name, value in record.findings.items() if value == 1)
    finding = present[0] if present else NO_FINDING if record.findings else ""
    return tuple(
        FiledPath(record.image_id, reading.reader, reading.scanpath, size, finding) for reading in record.readings
    )


def _loaded(
    batch: Sequence[StudyRecord], result: Asked, learned: Collection[str]
) -> Iterator[tuple[StudyRecord, Image.Image]]:
    for record in batch:
        try:
            image = load_image(record.image_path).image
        except (ImageError, OSError) as error:
            result.dropped[UNREADABLE] += 1
            result.unreadable.append(f"{record.image_id}: {error}")
            continue
        if learned and picture_digest(image) in learned:
            result.dropped[TRAINED_PICTURE] += 1
            continue
        yield record, image


@torch.no_grad()
def _ask_batch(engine: GazeEngine, records: Sequence[StudyRecord], images: Sequence[Image.Image]) -> list[Answer]:
    config = engine.gaze_config
    encoded = engine.encode_images(images)
    names = sorted({name for record in records for name in record.findings})
    margins = presence_margins(engine, encoded, names) if names else np.zeros((len(records), 0))
    prefilled = engine.prefill(encoded, [REPORT_QUESTION] * len(encoded))
    heads: list[dict[str, float]] = [{} for _ in records]
    if prefilled.gaze_hidden is not None and config.findings_trained:
        logits = engine.model.finding_logits(prefilled).tolist()
        heads = [dict(zip(config.finding_names, one, strict=True)) for one in logits]
    described = engine.describe(prefilled, encoded, DiagnoseOptions())
    answers = []
    for row, (record, image, picture, head, said_first) in enumerate(
        zip(records, encoded, images, heads, described, strict=True)
    ):
        size = (float(picture.width), float(picture.height))
        shown = said_first.scanpath
        readings = filed_readings(record, size)
        looks = None
        if shown is not None and readings:
            looks = look_along(engine.model.pointer_field(prefilled, row), [_patches(r, image) for r in readings])
        said = dict(zip(names, margins[row].tolist(), strict=True))
        answers.append(
            Answer(
                record.image_id,
                record.patient_id,
                record.findings,
                head,
                {name: said[name] for name in record.findings},
                image.grid,
                None if shown is None else FiledPath(record.image_id, "", shown, size, ""),
                readings,
                looks,
            )
        )
    return answers


def _patches(reading: FiledPath, image: EncodedImage) -> list[int]:
    return [image.grid.index_of(fixation) for fixation in reading.scanpath]
