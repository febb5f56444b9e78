"""The blurred image of the bubble and moving-window modes.

After Kim et al., "BubbleView: an interface for crowdsourcing image importance maps", TOCHI 2017: blur of 30 to 50 px
and discs of 32 px on images of about 600 px. Both are scaled with the image here, so that every image is seen alike.

The blur is computed here and not by the browser, so that it is the same for everybody. It is a Gaussian on a reduced
copy (the blurred image holds no finer detail), which keeps a 4,000 x 4,000 image quick and its file small.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

REDUCED_SIGMA_PX = 8  # of the reduced copy; its own averaging is then 0.2% of the blur's variance


@dataclass(frozen=True)
class BlurSettings:
    """How much is blurred, and how much a disc shows.

    Args:
        sigma_px: of the Gaussian, where the image's longer side is `side_px`.
        radius_px: of the sharp disc, likewise.
        side_px: the side to which both refer.

    Raises:
        ValueError: a number that is not positive.
    """

    sigma_px: float = 40.0
    radius_px: float = 32.0
    side_px: float = 600.0

    def __post_init__(self) -> None:
        if not min(self.sigma_px, self.radius_px, self.side_px) > 0:
            raise ValueError("blur, radius and side must be positive")

    def scaled(self, width_px: int, height_px: int) -> tuple[float, float]:
        """Sigma and radius in px of an image."""
        share = max(width_px, height_px) / self.side_px
        return self.sigma_px * share, self.radius_px * share


def blurred(image: Image.Image, sigma_px: float) -> Image.Image:
    """A blurred, usually smaller copy, to be stretched over the whole image.

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
