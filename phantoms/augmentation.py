"""Augmentation: images as they are seen again in training, a little turned, moved, enlarged, noisy, of another tone.

Thousands of images are each seen many times. Left as they are, a model knows them by heart and has no need to look.
"""

from dataclasses import replace

import numpy as np
from PIL import Image

from gazevlm_core.sample import Sample
from gazevlm_core.scanpath import Fixation

MOST_DEGREES, MOST_SHIFT, MOST_ZOOM, MOST_GAMMA = 6.0, 0.04, 0.08, 0.3
MOST_NOISE = 5.0  # standard deviation in grey levels
LAST = 1 - 1e-6  # largest coordinate of a fixation that is moved


def augmented(sample: Sample, rng: np.random.Generator) -> Sample:
    """Return a sample with another picture of the same things; its masks and readings move along.

    The picture turns about its middle by at most MOST_DEGREES, moves by MOST_SHIFT of its sides and is enlarged or
    reduced by exp(MOST_ZOOM), then gets a gamma within exp(MOST_GAMMA) and white noise. Fixations that would leave it
    stay at its edge. What is seen small instead of it is changed alike.
    """
    seed = int(rng.integers(2**63))
    small = None if sample.small is None else _augmented(sample.small, np.random.default_rng(seed))
    return replace(_augmented(sample, np.random.default_rng(seed)), small=small)


def _augmented(sample: Sample, rng: np.random.Generator) -> Sample:
    image = sample.load().convert("L")
    angle, zoom = np.radians(rng.uniform(-MOST_DEGREES, MOST_DEGREES)), np.exp(rng.uniform(-MOST_ZOOM, MOST_ZOOM))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) / zoom
    size, middle = np.array(image.size), np.array(image.size) / 2
    shift = rng.uniform(-MOST_SHIFT, MOST_SHIFT, 2) * size + middle - turn @ middle  # pixels: old = turn @ new + shift
    gamma = np.exp(rng.uniform(-MOST_GAMMA, MOST_GAMMA))
    noise = rng.normal(0.0, rng.uniform(0.0, MOST_NOISE), (image.height, image.width))
    tone = 255 * (np.asarray(_moved(image, turn, shift), np.float64) / 255) ** gamma + noise
    masks = {}
    for name, mask in sample.masks.items():
        cell = size / mask.shape[::-1]
        moved = _moved(Image.fromarray(mask), turn * cell / cell[:, None], shift / cell)
        masks[name] = np.asarray(moved)
    back = np.linalg.inv(turn)

    def moved_place(one: Fixation) -> Fixation:
        x, y = ((back @ (np.array([one.x, one.y]) * size - shift)) / size).clip(0.0, LAST)
        return replace(one, x=float(x), y=float(y))

    readings = tuple(
        replace(one, scanpath=replace(one.scanpath, fixations=tuple(map(moved_place, one.scanpath))))
        for one in sample.readings
    )
    picture = Image.fromarray(tone.round().clip(0, 255).astype(np.uint8))
    return replace(sample, image=picture, masks=masks, readings=readings, digest="")


def _moved(image: Image.Image, turn: np.ndarray, shift: np.ndarray) -> Image.Image:
    """Return an image whose pixel `new` is that at `turn @ new + shift`; black from outside."""
    (a, b), (c, d) = turn.tolist()
    rows = (a, b, float(shift[0]), c, d, float(shift[1]))
    return image.transform(image.size, Image.Transform.AFFINE, rows, Image.Resampling.BILINEAR, fillcolor=0)
