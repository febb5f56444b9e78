"""One patient and how he is imaged: everything about a phantom that is decided before a ray is traced."""

import zlib
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from gazevlm_core.findings import Side

Domain = Literal["A", "B", "R"]
DOMAIN_WORDS = {"A": "as in training", "B": "another scanner, heavier patients, other findings more often"}
DOMAINS: tuple[str, ...] = tuple(DOMAIN_WORDS)  # that models are evaluated on
RANDOMISED = "R"  # appearance, habitus, technique and prevalence as wide as films have them: to train on


@dataclass(frozen=True)
class Habitus:
    """Build of the patient.

    Args:
        scale: overall size; 1 is a lung 25 cm high.
        width: chest width for its height.
        fat_mm: extra soft tissue of the chest wall on each side.
        breast: 0 for none, else the size of the breast shadows relative to a medium one.
        inspiration: 0 is usual; -1 shallow, 1 deep.
        heart_ratio: cardiothoracic ratio without disease.
        bone: bone mineral relative to a young adult.
        unfolding: 0 to 1, elongation of the aorta with age.
    """

    scale: float
    width: float
    fat_mm: float
    breast: float
    inspiration: float
    heart_ratio: float
    bone: float
    unfolding: float


@dataclass(frozen=True)
class Technique:
    """How the radiograph was taken.

    Args:
        anteroposterior: bedside view; else posteroanterior.
        focus_mm: distance from focal spot to detector.
        rotation_deg: turn of the patient about the vertical axis.
        tilt_deg: tilt in the image plane.
        exposure: photons relative to a well exposed image.
        aspect: width / height of the image.
        zoom: free margin around the chest; 1 is tight.
        shift: offset of the field from the chest's centre, as fractions of the field.
        shutter: covered margins (left, top, right, bottom) as fractions of the image.
        marker: "L" or "R".
        marker_at: marker position as fractions of the free corner.
        margins: field beyond the lungs (left, top, right, bottom) in mm of a medium patient; None takes it from
            aspect, zoom and shift.
        marker_size: height of the marker as a share of the image's longer side; 0 for none.
        square: the image is stretched to a square, as some archives keep it.
    """

    anteroposterior: bool
    focus_mm: float
    rotation_deg: float
    tilt_deg: float
    exposure: float
    aspect: float
    zoom: float
    shift: tuple[float, float]
    shutter: tuple[float, float, float, float]
    marker: Literal["L", "R"]
    marker_at: tuple[float, float]
    margins: tuple[float, float, float, float] | None = None
    marker_size: float = 0.045
    square: bool = False


@dataclass(frozen=True)
class FindingSpec:
    """A finding that was decided upon: what, where, how strong; see PlacedFinding for the terms."""

    name: str
    side: Side
    zone: str
    severity: float
    detail: str = ""

    @property
    def signs(self) -> tuple[float, ...]:
        """-1 for the patient's right (image left), +1 for the left."""
        return {"right": (-1.0,), "left": (1.0,), "both": (-1.0, 1.0), "midline": (1.0,)}[self.side]


@dataclass(frozen=True)
class Case:
    """A phantom before it is drawn."""

    seed: int
    domain: Domain
    habitus: Habitus
    technique: Technique
    findings: tuple[FindingSpec, ...]

    def stream(self, name: str) -> np.random.Generator:
        """Return the random stream of this case under a name; a draw in one stream never shifts another."""
        return stream(self.seed, self.domain, name)

    def without(self, name: str) -> "Case":
        """Return the same case without one finding, for comparisons."""
        return replace(self, findings=tuple(spec for spec in self.findings if spec.name != name))


def stream(seed: int, domain: str, name: str) -> np.random.Generator:
    """Return a generator that depends on seed, domain and name only, the same on every run and machine."""
    return np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(f"{domain}/{name}".encode())]))
