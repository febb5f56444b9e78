"""Small gaze folders and cases for tests of fine-tuning."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from finetune.cases import picture_of
from finetune.config import FinetuneConfig
from gazevlm_core.datasets.folder import write_gaze_folder
from gazevlm_core.sample import DatasetError, Reading, Sample
from gazevlm_core.scanpath import Fixation, Scanpath

Points = Sequence[tuple[float, float]]
HERE: Points = ((0.2, 0.3), (0.7, 0.6))
OTHER: Points = ((0.9, 0.1), (0.4, 0.4), (0.1, 0.8))


def picture(seed: int, width: int = 64, height: int = 64) -> Image.Image:
    """Noise, another one for each seed."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def path_of(points: Points, durations_ms: Sequence[float | None] | None = None) -> Scanpath:
    """A click path."""
    known = durations_ms or [None] * len(points)
    return Scanpath(tuple(Fixation(x, y, ms) for (x, y), ms in zip(points, known, strict=True)), "click")


@dataclass
class Study:
    """One image of a folder.

    Args:
        name: of the file, without its ending.
        pixels: seed of its picture.
        patient: its patient; None for the image's own name.
        readings: annotator -> points.
    """

    name: str
    pixels: int
    patient: str | None = None
    findings: Mapping[str, float] = field(default_factory=dict)
    report: str | None = None
    readings: Mapping[str, Points] = field(default_factory=dict)
    size: tuple[int, int] = (64, 64)


def submission_digest(image: str, reader: str) -> str:
    """What stands for the digest of a submission's record."""
    return hashlib.sha256(f"{image} {reader}".encode()).hexdigest()


def write_folder(folder: Path, studies: Sequence[Study]) -> Path:
    """A gaze folder as the export of annotations writes it."""
    return write_gaze_folder(folder, (
        make_case(
            study.name, picture(study.pixels, *study.size), findings=study.findings, report=study.report,
            readings=[(who, path_of(points)) for who, points in study.readings.items()], patient=study.patient,
        )
        for study in studies
    ))  # fmt: skip


def configure(*annotations: object, **values: Any) -> FinetuneConfig:
    """A configuration on data sets."""
    return FinetuneConfig.from_values({"annotations": [str(one) for one in annotations] or ["data"], **values})


def make_case(
    name: str,
    image: Path | Image.Image | None = None,
    *,
    findings: Mapping[str, float] | None = None,
    readings: Sequence[tuple[str, Scanpath]] = (),
    report: str | None = None,
    dataset: int = 0,
    patient: str | None = None,
    size_px: tuple[int, int] = (64, 64),
) -> Sample:
    """A case without a folder; one without an image cannot be loaded, and has the size that is given."""
    read = tuple(
        Reading(who, path, f"{name}-{who}", submission_digest(name, who)) for who, path in readings
    )
    sample = Sample(
        name, image or Path("nowhere"), report=report, findings=dict(findings or {}), readings=read,
        patient_id=patient or name, dataset="folder", part=dataset,
    )  # fmt: skip
    digest, size_px = picture_of(sample) if image else (hashlib.sha256(name.encode()).hexdigest(), size_px)
    return replace(sample, digest=digest, size_px=size_px)


def many(count: int = 40, per_patient: int = 2) -> list[Study]:
    """Images of several annotators, a few of each patient."""
    return [
        Study(
            f"i{n:02}", n, f"p{n // per_patient:02}", {"edema": float(n % 2)}, "Some words.",
            {"owl": HERE, "fox": OTHER},
        )
        for n in range(count)
    ]  # fmt: skip


def names(cases: Sequence[Sample]) -> list[str]:
    """Of their images."""
    return [case.image_id for case in cases]


def readers(cases: Sequence[Sample]) -> set[str]:
    """Of all their readings."""
    return {reading.reader for case in cases for reading in case.readings}


def one_sentence(error: DatasetError) -> str:
    """What an error says, which is on one line."""
    text = str(error)
    assert text
    assert "\n" not in text
    return text
