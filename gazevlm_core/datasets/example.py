"""The one record that every data set yields."""

from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image

from gazevlm_core.scanpath import Scanpath


@dataclass(frozen=True, eq=False)
class Example:
    """One image with one question, and whatever is known about it. A missing part masks its loss, nothing else.

    Args:
        image_id: name of the image within its data set, for messages.
        image: upright RGB image.
        question: what is asked.
        answer: what should be answered, or None.
        findings: finding name -> 1.0 present, 0.0 absent; names that are left out are unknown.
        scanpaths: any number of readings of the image.
    """

    image_id: str
    image: Image.Image
    question: str
    answer: str | None
    findings: Mapping[str, float]
    scanpaths: tuple[Scanpath, ...]
