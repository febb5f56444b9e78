"""The practice image: a drawn radiograph on which nothing is kept, so that somebody sees how it goes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from PIL import Image

from annotate.feedback import DrawnFinding, drawn_findings
from annotate.store.model import StoredImage
from gazevlm_core.options import DEFAULT_QUESTION
from gazevlm_core.sample import pixel_digest
from phantoms.make import FindingRequest, make_phantom

SEED, SIZE_PX, NAME = 910_100, 512, "practice image"
SHOWN = (FindingRequest("pleural effusion", severity=0.8, side="right"),)
NEAR = 0.03  # of the image: a click this far beside the frame still looks at what is in it


@dataclass(frozen=True, eq=False)
class Practice:
    """The image, and what it was drawn with."""

    image: StoredImage
    pixels: Image.Image
    truth: tuple[DrawnFinding, ...]


@cache
def practice() -> Practice:
    """Draw it, once."""
    phantom = make_phantom(SEED, size_px=SIZE_PX, findings=SHOWN)
    pixels = Image.fromarray(phantom.image)
    image = StoredImage(
        sha256=pixel_digest(pixels), name=NAME, width_px=pixels.width, height_px=pixels.height,
        question=DEFAULT_QUESTION, open=False, gold=None, source="", quota=1,
    )  # fmt: skip
    return Practice(image, pixels, drawn_findings(phantom))


def practice_feedback(places: Sequence[tuple[float, float]], findings: Sequence[str]) -> str:
    """Say how somebody did on the practice image.

    Args:
        places: where they looked, in fractions of the image.
        findings: that they ticked.
    """
    truth = practice().truth
    fixated = [one.name for one in truth if any(_near(place, one.box) for place in places)]
    seen = [one.name for one in truth if one.name in findings]
    name = truth[0].name
    if fixated and seen:
        return f"You looked at the {name} and ticked it. That is all there is to it."
    if fixated:
        return f"You looked at the {name} (framed), and did not tick it."
    if seen:
        return f"You ticked the {name}; it lies in the frame, where you did not look."
    return f"There is a {name} in the frame."


def _near(place: tuple[float, float], box: tuple[float, float, float, float]) -> bool:
    x, y = place
    return box[0] - NEAR <= x <= box[2] + NEAR and box[1] - NEAR <= y <= box[3] + NEAR
