"""The records that rooms exchange: what an annotator drew (`Annotation`) and what a model answered (`Diagnosis`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from gazevlm_core.geometry import PatchGrid
from gazevlm_core.scanpath import Scanpath

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Client:
    """How the image was shown while an annotation was made.

    Args:
        canvas_width_px: width of the drawing surface in CSS pixels.
        canvas_height_px: height of the drawing surface in CSS pixels.
        zoom: screen pixels per image pixel.
        device_pixel_ratio: device pixels per CSS pixel.
        mode: "clicks", "bubble" or "moving window".

    Raises:
        ValueError: a size, zoom or ratio that is not positive.
    """

    canvas_width_px: int
    canvas_height_px: int
    zoom: float
    device_pixel_ratio: float
    mode: str

    def __post_init__(self) -> None:
        for name in ("canvas_width_px", "canvas_height_px", "zoom", "device_pixel_ratio"):
            if not getattr(self, name) > 0:
                raise ValueError(f"client {name} must be positive, got {getattr(self, name)!r}")


@dataclass(frozen=True)
class Annotation:
    """One reader's scanpath, findings and report on one image.

    Args:
        submission_id: chosen by the client, so that submitting twice stores once.
        image_id: name of the image in its data set.
        image_sha256: 64 hex digits of the image file's bytes.
        image_width_px: width of the upright image.
        image_height_px: height of the upright image.
        question: what the annotator was asked.
        findings: names of the findings that the annotator ticked.
        report: free text, may be empty.
        scanpath: where the annotator looked, in order.
        annotator: pseudonym.
        started_at: when the image was shown, with a time zone.
        submitted_at: when it was submitted, with a time zone, not before `started_at`.
        client: how the image was shown.
        schema_version: version of this record.

    Raises:
        ValueError: an empty id, a malformed digest, a size below 1, or times without a zone or running backwards.
    """

    submission_id: str
    image_id: str
    image_sha256: str
    image_width_px: int
    image_height_px: int
    question: str
    findings: tuple[str, ...]
    report: str
    scanpath: Scanpath
    annotator: str
    started_at: datetime
    submitted_at: datetime
    client: Client
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        for name in ("submission_id", "image_id", "annotator"):
            if not getattr(self, name).strip():
                raise ValueError(f"annotation {name} is empty")
        if len(self.image_sha256) != 64 or set(self.image_sha256) - set("0123456789abcdef"):
            raise ValueError(f"{self.image_id}: image_sha256 must be 64 lower-case hex digits")
        if self.image_width_px < 1 or self.image_height_px < 1:
            raise ValueError(f"{self.image_id}: image size must be at least 1 x 1 px")
        if self.started_at.tzinfo is None or self.submitted_at.tzinfo is None:
            raise ValueError(f"{self.image_id}: started_at and submitted_at need a time zone")
        if self.submitted_at < self.started_at:
            raise ValueError(f"{self.image_id}: submitted_at lies before started_at")


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What the model answered about one image, and where it looked before answering.

    Args:
        answer: the generated text.
        finding_probabilities: finding name -> probability in [0, 1]; empty when the finding head is untrained.
        scanpath: the path shown, or None when the gaze weights are untrained: then nothing may be drawn.
        patch_probabilities: float32 [K, rows * cols], row k is the distribution over patches of fixation k given the
            fixations before it on the path shown (it sums to 1 less the probability of stopping); None when untrained.
        fixation_probabilities: probability of each shown fixation's patch, one per fixation.
        grid: the merged patch grid.
        model_id: Hub id or folder name of the base model.
        adapter_id: name of the adapter, or None.
        notes: what the user must be told with it.
        strangeness: how unlike the training images the image is; above 1, unlike them; None where nobody can tell.

    Raises:
        ValueError: shapes that do not fit the grid or the path, or probabilities outside [0, 1].
    """

    answer: str
    finding_probabilities: Mapping[str, float]
    scanpath: Scanpath | None
    patch_probabilities: np.ndarray | None
    fixation_probabilities: tuple[float, ...]
    grid: PatchGrid
    model_id: str
    adapter_id: str | None = None
    notes: tuple[str, ...] = field(default=())
    strangeness: float | None = None

    def __post_init__(self) -> None:
        if (self.scanpath is None) != (self.patch_probabilities is None):
            raise ValueError("a diagnosis has both a scanpath and its patch probabilities, or neither")
        if self.patch_probabilities is not None and self.scanpath is not None:
            shape = self.patch_probabilities.shape
            if len(shape) != 2 or shape[1] != len(self.grid) or shape[0] < len(self.scanpath):
                raise ValueError(f"patch probabilities of shape {shape} do not fit {len(self.grid)} patches")
            if len(self.fixation_probabilities) != len(self.scanpath):
                raise ValueError("one probability per fixation is needed")
        if any(not 0.0 <= value <= 1.0 for value in self.finding_probabilities.values()):
            raise ValueError("finding probabilities must lie in [0, 1]")

    @property
    def gaze_trained(self) -> bool:
        """Whether the path means something and may be drawn."""
        return self.scanpath is not None
