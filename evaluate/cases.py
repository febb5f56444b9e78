"""The phantoms that an evaluation sees: which seeds, what is true of them, and their images on disk."""

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image

from gazevlm_core.findings import NO_FINDING, SUBTLE_BELOW
from gazevlm_core.scanpath import Scanpath
from phantoms.dataset import TRAINING_SEEDS, PhantomCase, draw_cases

# Seed S of an evaluation stands for the phantoms FIRST_SEED + S * BLOCK + (0, 1, 2, ...): no two evaluations share one,
# and none with S >= 0 meets training. The second half of a block holds the phantoms behind constant floors.
FIRST_SEED = TRAINING_SEEDS.stop
BLOCK = 1_000_000
MOST_IMAGES = BLOCK // 2
LARGEST_SEED = 2**40
IMAGE_SIDE_PX = 512
READINGS_PER_READER = 2  # the second one gives the ceiling
OTHER_PHANTOMS = 100  # behind constant floors
OTHER_SIDE_PX = 256  # their images are not used


@dataclass(frozen=True)
class StudyCase:
    """What is true of one phantom.

    Args:
        seed: of the phantom.
        severities: finding name -> severity in (0, 1].
        sides: finding name -> the patient's side.
        readings: [reader][reading].
    """

    seed: int
    severities: dict[str, float]
    sides: dict[str, str]
    readings: tuple[tuple[Scanpath, ...], ...]

    @classmethod
    def of(cls, case: PhantomCase) -> "StudyCase":
        """The truth of a drawn case, without its pixels."""
        severities = {finding.name: finding.severity for finding in case.findings}
        return cls(case.seed, severities, {finding.name: finding.side for finding in case.findings}, case.readings)

    @property
    def leading(self) -> str:
        """The most severe finding, or "no finding"."""
        return max(self.severities, key=lambda name: self.severities[name], default=NO_FINDING)

    @property
    def clear_findings(self) -> frozenset[str]:
        """Findings of moderate or worse severity."""
        return frozenset(name for name, severity in self.severities.items() if severity >= SUBTLE_BELOW)

    @property
    def subtle_findings(self) -> frozenset[str]:
        """Findings that are there, but subtle."""
        return frozenset(self.severities) - self.clear_findings


class PixelFile:
    """Images one after another in a temporary file, so that memory does not grow with their number."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()
        self._places: list[tuple[int, tuple[int, ...]]] = []

    def append(self, pixels: np.ndarray) -> None:
        """Add a uint8 [H, W] image at the end."""
        self._places.append((self._file.seek(0, 2), pixels.shape))
        self._file.write(np.ascontiguousarray(pixels).tobytes())
        self._file.flush()

    def image(self, index: int) -> Image.Image:
        """The index-th image as RGB."""
        offset, (height, width) = self._places[index]
        data = os.pread(self._file.fileno(), height * width, offset)  # forked processes share the file's position
        pixels = np.frombuffer(data, np.uint8).reshape(height, width)
        return Image.fromarray(pixels).convert("RGB")

    def size(self, index: int) -> tuple[int, int]:
        """Width and height of the index-th image in px."""
        _, (height, width) = self._places[index]
        return width, height

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()


class Study:
    """The cases of an evaluation; a context manager, because its images lie in a temporary file.

    Args:
        cases: truth of each image.
        others: cases of other phantoms, behind constant floors.
        pixels: one image per case.
    """

    def __init__(self, cases: Sequence[StudyCase], others: Sequence[StudyCase], pixels: PixelFile) -> None:
        self.cases, self.others, self.pixels = tuple(cases), tuple(others), pixels

    def __enter__(self) -> "Study":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pixels.close()


def phantom_seeds(seed: int, num_images: int) -> tuple[range, range]:
    """Seeds of the phantoms that are scored, and of those behind constant floors.

    Raises:
        ValueError: too many images, or a seed whose phantoms training has seen or might see.
    """
    if not 1 <= num_images <= MOST_IMAGES:
        raise ValueError(f"--n must lie in 1 to {MOST_IMAGES}, got {num_images}")
    if seed > LARGEST_SEED:
        raise ValueError(f"--seed must be at most {LARGEST_SEED}, got {seed}")
    first = FIRST_SEED + seed * BLOCK
    scored = range(first, first + num_images)
    others = range(first + MOST_IMAGES, first + MOST_IMAGES + OTHER_PHANTOMS)
    for seeds in (scored, others):
        if seeds.start < TRAINING_SEEDS.stop and seeds.stop > TRAINING_SEEDS.start:
            raise ValueError(f"--seed {seed} stands for phantoms that training has seen; take a seed >= 0")
    if seed < 0:
        raise ValueError(f"--seed must be >= 0, got {seed}")
    return scored, others


def draw_study(
    seed: int,
    num_images: int,
    domain: str = "A",
    *,
    part: range | None = None,
    workers: int = 2,
    drawn: Callable[[], None] = lambda: None,
) -> Study:
    """Draw all phantoms once, for all models.

    Args:
        seed: S of the evaluation.
        num_images: how many are scored.
        domain: "A" or "B".
        part: numbers of those to draw, for one of several processes; None for all.
        workers: processes that draw.
        drawn: called after each image.

    Raises:
        ValueError: as in `phantom_seeds`.
    """
    scored, others = phantom_seeds(seed, num_images)
    options: dict[str, Any] = {"workers": workers, "readings_per_reader": READINGS_PER_READER}
    pool = [StudyCase.of(case) for case in draw_cases(others, domain, sizes_px=(OTHER_SIDE_PX,), **options)]
    pixels, cases = PixelFile(), []
    own = scored if part is None else scored[part.start : part.stop]
    for case in draw_cases(own, domain, sizes_px=(IMAGE_SIDE_PX,), **options):
        pixels.append(case.image)
        cases.append(StudyCase.of(case))
        drawn()
    return Study(cases, pool, pixels)
