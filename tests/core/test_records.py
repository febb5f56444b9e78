"""Annotations and diagnoses are validated at birth."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from gazevlm_core.geometry import PatchGrid
from gazevlm_core.records import Annotation, Client, Diagnosis
from gazevlm_core.scanpath import Fixation, Scanpath

START = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
PATH = Scanpath((Fixation(0.1, 0.2), Fixation(0.3, 0.4)), "click")


def annotation() -> Annotation:
    return Annotation(
        submission_id="s1",
        image_id="i1",
        image_sha256="0" * 64,
        image_width_px=640,
        image_height_px=480,
        question="Where do you look?",
        findings=("pneumothorax",),
        report="",
        scanpath=PATH,
        annotator="reader-1",
        started_at=START,
        submitted_at=START + timedelta(seconds=9),
        client=Client(600, 450, 1.0, 2.0, "clicks"),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"submission_id": " "}, "submission_id is empty"),
        ({"image_sha256": "xyz"}, "64 lower-case hex"),
        ({"image_sha256": "A" * 64}, "64 lower-case hex"),
        ({"image_width_px": 0}, "at least 1 x 1"),
        ({"started_at": datetime(2026, 1, 2)}, "time zone"),
        ({"submitted_at": START - timedelta(seconds=1)}, "before started_at"),
    ],
)
def test_annotations_with_wrong_parts_are_refused(change: dict, message: str) -> None:
    assert annotation().schema_version == 1
    with pytest.raises(ValueError, match=message):
        replace(annotation(), **change)


def test_a_client_needs_positive_sizes() -> None:
    with pytest.raises(ValueError, match="zoom must be positive"):
        Client(600, 450, 0.0, 1.0, "clicks")


def diagnosis(**change: object) -> Diagnosis:
    values: dict = {
        "answer": "Normal.",
        "finding_probabilities": {"edema": 0.25},
        "scanpath": PATH,
        "patch_probabilities": np.zeros((4, 6), dtype=np.float32),
        "fixation_probabilities": (0.5, 0.25),
        "grid": PatchGrid(2, 3),
        "model_id": "m",
    }
    return Diagnosis(**{**values, **change})


def test_an_untrained_model_has_neither_path_nor_distributions() -> None:
    assert diagnosis().gaze_trained
    assert not diagnosis(scanpath=None, patch_probabilities=None, fixation_probabilities=()).gaze_trained
    with pytest.raises(ValueError, match="or neither"):
        diagnosis(scanpath=None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch_probabilities": np.zeros((4, 5))}, "do not fit 6 patches"),
        ({"patch_probabilities": np.zeros((1, 6))}, "do not fit 6 patches"),
        ({"fixation_probabilities": (0.5,)}, "one probability per fixation"),
        ({"finding_probabilities": {"edema": 1.2}}, r"lie in \[0, 1\]"),
    ],
)
def test_diagnoses_with_wrong_parts_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        diagnosis(**change)
