"""Is an image in colour? Radiographs are grey, perhaps with one tint all over, or with small coloured marks."""

import numpy as np
from PIL import Image

# Twelve real radiographs stay below 0.025, tinted ones lower still; a tabby cat lies at 0.069, other photographs
# above 0.08.
COLORED_FROM = 0.045
SIDE_PX = 64


def colorfulness(image: Image.Image) -> float:
    """Mean range of the three channels about grey, in [0, 1], less what follows from the grey value alone (a tint).

    Args:
        image: any mode and size.
    """
    small = image.convert("RGB").resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX)
    channels = np.asarray(small, np.float64).reshape(-1, 3) / 255.0
    grey = channels.mean(axis=1)
    chroma = channels - grey[:, None]
    tint = np.stack([np.ones_like(grey), grey], axis=1)  # one colour all over, or one that grows with the brightness
    chroma -= tint @ np.linalg.lstsq(tint, chroma, rcond=None)[0]
    return float((chroma.max(axis=1) - chroma.min(axis=1)).mean())


def is_colored(image: Image.Image) -> bool:
    """Whether an image is too colourful for a radiograph."""
    return colorfulness(image) > COLORED_FROM
