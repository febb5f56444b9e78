"""The bubble and moving-window modes: the blurred image, and fixations where the moving disc rested.

After Kim et al., "BubbleView: an interface for crowdsourcing image importance maps", TOCHI 2017: blur of 30 to 50 px
and discs of 32 px on images of about 600 px. Both are scaled with the image here, so that every image is seen alike.

The blur is computed here and not by the browser, so that it is the same for everybody. It is a Gaussian on a reduced
copy (the blurred image holds no finer detail), which keeps a 4,000 x 4,000 image quick and its file small.

Rests are found by I-DT in the samples of the pointer. Distances are measured in radii of the disc, as I-DT measures
degrees: what the disc shows is what a fovea would see. A fixation is a run of at least 100 ms in which (max x - min x)
+ (max y - min y) is at most one radius; a gap of more than 75 ms beyond the usual interval ends it. It lies at the mean
of its samples; its duration is that of its samples plus one interval: true times of rest, though of a hand.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from gazevlm_core.annotation import PointerSample
from gazevlm_core.datasets.detection import GazeStream, Thresholds, detect_by_dispersion
from gazevlm_core.scanpath import Fixation, Scanpath

DISPERSION_RADII, SHORTEST_MS, LONGEST_GAP_MS = 1.0, 100.0, 75.0
LIMITS = Thresholds(dispersion_deg=DISPERSION_RADII, min_duration_ms=SHORTEST_MS, max_gap_ms=LONGEST_GAP_MS)
NO_REST = "The disc rested nowhere on the image: hold it still for a moment wherever you look, then submit again."
SIDE_PX = 600.0  # longer side of the images to which blur and disc refer
REDUCED_SIGMA_PX = 8  # of the reduced copy; its own averaging is then 0.2% of the blur's variance


@dataclass(frozen=True)
class BlurSettings:
    """How much is blurred, and how much a disc shows.

    Raises:
        ValueError: a number that is not positive.
    """

    sigma_px: float = 40.0  # of the Gaussian, where the image's longer side has SIDE_PX
    radius_px: float = 32.0  # of the sharp disc, likewise

    def __post_init__(self) -> None:
        if not min(self.sigma_px, self.radius_px) > 0:
            raise ValueError("blur and radius must be positive")

    def scaled(self, width_px: int, height_px: int) -> tuple[float, float]:
        """Return sigma and radius in px of an image."""
        share = max(width_px, height_px) / SIDE_PX
        return self.sigma_px * share, self.radius_px * share


def blur_image(image: Image.Image, sigma_px: float) -> Image.Image:
    """Return a blurred, usually smaller copy, to be stretched over the whole image.

    Args:
        image: "L" or "RGB".
        sigma_px: of the Gaussian, in px of `image`; beyond the edge the image is mirrored.
    """
    factor = max(sigma_px / REDUCED_SIGMA_PX, 1.0)
    size = (max(round(image.width / factor), 1), max(round(image.height / factor), 1))
    reduced = np.asarray(image.resize(size, Image.Resampling.BOX), dtype=np.float32)
    sigmas = tuple(sigma_px * small / large for small, large in zip(size[::-1], image.size[::-1], strict=True))
    smooth = gaussian_filter(reduced, sigma=(*sigmas, *[0.0] * (reduced.ndim - 2)), mode="reflect")
    return Image.fromarray(np.clip(np.rint(smooth), 0, 255).astype(np.uint8))


def window_scanpath(samples: Sequence[PointerSample], width_px: int, height_px: int, radius_px: float) -> Scanpath:
    """Return the scanpath of a moving window.

    Args:
        samples: in order of time.
        width_px, height_px: of the upright image.
        radius_px: of the disc, in px of the image.

    Raises:
        ValueError: no rest on the image.
    """
    times_ms = np.array([sample.time_ms for sample in samples])
    fractions = np.array([(sample.x, sample.y) for sample in samples]).reshape(-1, 2)
    stream = GazeStream(times_ms, fractions * (width_px / radius_px, height_px / radius_px), fractions)
    fixations, interval_ms = [], stream.interval_ms
    for run in detect_by_dispersion(stream, LIMITS):
        x, y = (float(value) for value in fractions[run].mean(axis=0))
        if 0 <= x < 1 and 0 <= y < 1:
            begun, ended = float(times_ms[run][0]), float(times_ms[run][-1])
            fixations.append(Fixation(x, y, ended - begun + interval_ms, begun))
    if not fixations:
        raise ValueError(NO_REST)
    return Scanpath(tuple(fixations), "moving window")
