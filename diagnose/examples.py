"""The example phantoms of the page: drawn at the start, never stored."""

from dataclasses import dataclass

from PIL import Image

from gazevlm_core.phantom.make import FindingRequest, make_phantom

SIZE_PX = 512


@dataclass(frozen=True)
class ExampleCase:
    """What an example shows.

    Args:
        caption: the drawn truth, in a few words; sides are the patient's.
        seed: of the phantom.
        findings: drawn into it.
    """

    caption: str
    seed: int
    findings: tuple[FindingRequest, ...]


EXAMPLE_CASES = (
    ExampleCase("No finding", 11, ()),
    ExampleCase("Cardiomegaly", 23, (FindingRequest("cardiomegaly", 0.8),)),
    ExampleCase("Left pleural effusion", 31, (FindingRequest("pleural effusion", 0.7, "left"),)),
    ExampleCase("Right pneumothorax", 47, (FindingRequest("pneumothorax", 0.8, "right"),)),
    ExampleCase("Right consolidation", 59, (FindingRequest("consolidation", 0.75, "right"),)),
    ExampleCase("Edema, pacemaker", 67, (FindingRequest("edema", 0.7), FindingRequest("support devices", 0.8,
                                                                                       detail="pacemaker"))),
)


def draw_example(case: ExampleCase) -> Image.Image:
    """The phantom as an RGB image, the same on every run."""
    phantom = make_phantom(case.seed, size_px=SIZE_PX, findings=case.findings)
    return Image.fromarray(phantom.image).convert("RGB")
