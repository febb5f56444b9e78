"""One image with what is known about it: what every source of data yields, and what training and evaluation take.

Phantoms, data sets, gaze folders and exports all give `Sample`s; a collator turns them into tensors. Free of torch.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from gazevlm_core.annotation import DIGEST_DIGITS, is_digest
from gazevlm_core.scanpath import Scanpath, Source

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

Verdict = Literal["", "pending", "accepted", "rejected"]
VERDICTS: tuple[str, ...] = get_args(Verdict)


class DatasetError(ValueError):
    """Data that cannot be used; one sentence that names the file, image or column and says what was expected."""


@dataclass(frozen=True)
class Reading:
    """How one reader looked at an image.

    Args:
        reader: pseudonym; "" where it is not known who looked.
        scanpath: on the upright image; its `source` says how it was recorded.
        reading_id: of the reading, or of the submission that it was; "" where it has none.
        digest: SHA-256 of the submission's record, 64 hex digits; "" where it is not known.
        verdict: of a reviewer; "" where nobody reviews.

    Raises:
        ValueError: a malformed digest, or an unknown verdict.
    """

    reader: str
    scanpath: Scanpath
    reading_id: str = ""
    digest: str = ""
    verdict: Verdict = ""

    def __post_init__(self) -> None:
        if self.digest and not is_digest(self.digest):
            raise ValueError(f"digest must be {DIGEST_DIGITS} lower-case hex digits, a SHA-256")
        if self.verdict not in VERDICTS:
            raise ValueError(f"unknown verdict {self.verdict!r}; expected one of {', '.join(filter(None, VERDICTS))}")

    @property
    def source(self) -> Source:
        """How the path was recorded, such as "eyetracker" or "click"."""
        return self.scanpath.source


@dataclass(frozen=True)
class Box:
    """A place that somebody marked.

    Args:
        name: of what is marked.
        x, y: upper left corner, as fractions of the upright image, clipped to it.
        width, height: as fractions, positive.
        reader: who marked it; "" where it is not known.
    """

    name: str
    x: float
    y: float
    width: float
    height: float
    reader: str = ""


@dataclass(frozen=True)
class Sample:
    """One image with one question, and whatever is known about it. A missing part masks its loss and scores.

    Args:
        image_id: of the image within its data set; readers who label it differently give several samples of it.
        image: a file, its bytes or pixels, which are read by `load`; None where only the readings are known.
        question: that `report` answers; "" for the usual one.
        report: the text that answers it, or None.
        findings: finding name -> 1.0 present, 0.0 absent, or a probability between; what is left out is unknown.
        readings: any number.
        boxes: marked places.
        masks: finding -> uint8 [R, C], how much of each cell of a grid over the image it covers, 255 for all.
        patient_id: images of one patient never lie on both sides of a split; the image's own id where unknown.
        split: that the data set ships with, as it is written there, or "".
        view: of a radiograph: "AP", "PA", ...; "" where it is not known.
        dataset: name of the data set.
        part: position of its data set in a mix of several.
        digest: `pixel_digest` of its pixels; "" until somebody needs it.
        size_px: width and height of the upright image; None until somebody needs them.
        small: what the model sees small, where that is another picture than the one that it glimpses at and answers
            for: the same patient with or without a finding, to learn that glimpses decide.

    Raises:
        ValueError: no image_id, a finding that is no probability, or a malformed digest.
    """

    image_id: str
    image: "Path | bytes | Image.Image | None" = None
    question: str = ""
    report: str | None = None
    findings: Mapping[str, float] = field(default_factory=dict)
    readings: tuple[Reading, ...] = ()
    boxes: tuple[Box, ...] = ()
    masks: "Mapping[str, np.ndarray]" = field(default_factory=dict, compare=False)  # arrays have no one truth
    patient_id: str = ""
    split: str = ""
    view: str = ""
    dataset: str = ""
    part: int = 0
    digest: str = ""
    size_px: tuple[int, int] | None = None
    small: "Sample | None" = None

    def __post_init__(self) -> None:
        if not self.image_id:
            raise ValueError("a sample needs an image_id")
        if not self.patient_id:
            object.__setattr__(self, "patient_id", self.image_id)
        for name, value in self.findings.items():
            if not 0.0 <= value <= 1.0:  # also refuses NaN
                raise ValueError(f"{self.image_id}: finding {name} must lie in [0, 1], got {value!r}")
        if self.digest and not is_digest(self.digest):
            raise ValueError(f"{self.image_id}: digest must be {DIGEST_DIGITS} lower-case hex digits, a SHA-256")

    @property
    def scanpaths(self) -> tuple[Scanpath, ...]:
        """The path of each reading."""
        return tuple(reading.scanpath for reading in self.readings)

    def load(self) -> "Image.Image":
        """Return the upright RGB image; where `digest` is known, its pixels are checked against it.

        Raises:
            DatasetError: it cannot be read, or has other pixels than it had, or than its name promises.
        """
        from PIL import Image

        from gazevlm_core.images import ImageError, as_rgb, load_image

        if self.image is None:
            raise DatasetError(f"{self.image_id}: there is no image; give the folder of the images, with --images")
        if isinstance(self.image, Image.Image):
            return as_rgb(self.image)
        try:
            image = load_image(self.image).image
        except (ImageError, OSError) as error:
            raise DatasetError(f"{self.image_id}: {error}") from None
        if self.digest and pixel_digest(image) != self.digest:
            raise DatasetError(
                f"{self.image_id}: its pixels are not those of digest {self.digest[:12]}; restore the file"
            )
        return image


def pixel_digest(image: "Image.Image") -> str:
    """Return the SHA-256 of an image's pixels, the same whatever file they lie in: the project's one digest of pixels.

    Of "MODE WxH\\n" and then the bytes, by rows, channels together; an image whose channels are equal counts as "L".

    Args:
        image: upright, mode "L" or "RGB", 8 bits per channel.

    Raises:
        ValueError: another mode.
    """
    if image.mode not in ("L", "RGB"):
        raise ValueError(f"an image of mode {image.mode} has no digest; load it with load_image")
    plain = grey_if_equal(image)
    digest = hashlib.sha256(f"{plain.mode} {plain.width}x{plain.height}\n".encode())
    digest.update(plain.tobytes())
    return digest.hexdigest()


def grey_if_equal(image: "Image.Image") -> "Image.Image":
    """Return an RGB image as "L" where its channels are equal; any other as it is."""
    channels = image.split()
    first = channels[0].tobytes()
    return channels[0] if all(channel.tobytes() == first for channel in channels[1:]) else image
