"""What is known about a phantom: its findings, where they lie, and the landmarks a reader visits."""

from dataclasses import dataclass

import numpy as np

from gazevlm_core.findings import Grade, Side, grade_of


@dataclass(frozen=True)
class PlacedFinding:
    """One finding drawn into a phantom.

    Args:
        name: one of FINDING_NAMES or HELD_OUT_FINDING_NAMES.
        side: the PATIENT's side; the patient's left is on the right of the image.
        zone: where, in a report's words, without the side: "upper", "mid", "lower", "apical", "basal", "perihilar",
            "retrocardiac", "lateral", "central".
        severity: (0, 1]; near 0 is barely visible.
        box: (x0, y0, x1, y1) as fractions of the image, around the visible change.
        foci: (x, y) points as fractions of the image that a reader who sees the finding fixates, most telling first.
        mask: bool [H, W] at the image's resolution; True where the finding changes the image.
        detail: the kind in a report's words, e.g. "central venous catheter" or "pacemaker"; "" where there is none.
    """

    name: str
    side: Side
    zone: str
    severity: float
    box: tuple[float, float, float, float]
    foci: tuple[tuple[float, float], ...]
    mask: np.ndarray
    detail: str = ""

    @property
    def grade(self) -> Grade:
        """"subtle", "moderate" or "severe"."""
        return grade_of(self.severity)


@dataclass(frozen=True)
class Phantom:
    """A drawn frontal chest radiograph with its ground truth.

    Args:
        seed: the number that makes this phantom, the same on every run and machine.
        domain: "A", "B" (other scanner, habitus and prevalence, for zero-shot tests), or "R" (randomised).
        image: uint8 [H, W], bone bright, as displayed on a workstation.
        findings: what was drawn, in the order of FINDING_NAMES (then held-out names); empty means "no finding".
        landmarks: (x, y) fractions by name, from the anatomy as projected: "right apex", "left apex",
            "right upper lung", "right mid lung", "right lower lung" (and left), "right hilum", "left hilum",
            "trachea", "carina", "aortic knob", "heart", "right heart border", "left heart border",
            "right costophrenic angle", "left costophrenic angle", "right diaphragm", "left diaphragm",
            "upper spine", "lower spine", "right clavicle", "left clavicle", "right lateral ribs",
            "left lateral ribs", "gastric bubble". "right" is the patient's right (image left).
    """

    seed: int
    domain: str
    image: np.ndarray
    findings: tuple[PlacedFinding, ...]
    landmarks: dict[str, tuple[float, float]]
