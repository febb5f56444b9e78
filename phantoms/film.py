"""From the displayed image to a file in some archive: tone, labels, blinds, resampling and compression (domain R).

Nothing here moves a pixel: the image keeps its outline, or is stretched as a whole.
"""

import io
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from phantoms.projection import Field
from phantoms.shape import monotone_cubic

LEVELS = np.arange(256)
MIDDLE = (0.18, 0.82, 0.13, 0.87)  # rows and columns of the chest, from which the tone is chosen
WORDS = (
    *("AP", "PA", "PORTABLE", "AP PORTABLE", "MOBILE", "UPRIGHT", "ERECT", "SEMI-ERECT", "SUPINE", "CHEST AP", "INSP"),
    *("L", "R", "LEFT", "BH", "DX", "S", "3", "#2", "CR 01", "19:22", "08:41", "KV59", "KV120"),
)


def archived(film: Field, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return a film as it may come out of an archive, uint8 [*shape].

    Args:
        film: [H, W] in grey levels (0 to 255), bone bright; changed in place.
        shape: height and width of the result.
        rng: decides on everything, whatever the image.
    """
    if rng.random() < 0.2:
        film = _add_bands(film, rng)
    _cover(film, rng)
    picture = Image.fromarray(np.clip(film + 0.5, 0.0, 255.0).astype(np.uint8))
    if rng.random() < 0.65:
        _label(picture, rng)
    if rng.random() < 0.3:  # kept at a lower resolution for a while
        share = rng.uniform(0.4, 0.95)
        picture = picture.resize((round(picture.width * share), round(picture.height * share)), _filter(rng))
    if picture.size != shape[::-1]:
        picture = picture.resize(shape[::-1], _filter(rng))
    if rng.random() < 0.45:
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=int(rng.integers(35, 96)))
        picture = Image.open(stream)
    finished = np.asarray(picture)
    return 255 - finished if rng.random() < 0.015 else finished


def random_tone(image: np.ndarray, rng: np.random.Generator) -> Field:
    """Return a film's grey levels [256] by displayed level: a smooth curve to random percentiles 10, 50, 90 of the
    chest.

    Args:
        image: uint8 [H, W], bone bright.
        rng: of the curve.
    """
    height, width = image.shape
    top, bottom, left, right = np.round(np.multiply(MIDDLE, (height, height, width, width))).astype(int)
    dark, medium, bright = np.percentile(image[top:bottom:3, left:right:3], (10, 50, 90))
    new_bright = np.clip(rng.normal(194, 25), 130, 248)
    new_dark = np.clip(rng.normal(98, 32), 15, new_bright - 50)
    gain = (new_bright - new_dark) / max(bright - dark, 1.0)
    natural = (medium - dark) / max(bright - dark, 1.0)
    new_medium = new_dark + np.clip(natural + rng.normal(0.1, 0.1), 0.25, 0.85) * (new_bright - new_dark)
    black = np.clip(rng.normal(0.0, 0.25), 0.0, 0.9) * new_dark
    white = min(new_bright + rng.uniform(0.2, 1.5) * gain * (255.0 - bright) + 4.0, 255.0)
    knots = np.maximum.accumulate([-1.0, dark + 0.01, medium + 0.02, bright + 0.03, 256.0])
    curve = monotone_cubic(knots, np.array([black, new_dark, new_medium, new_bright, white]), LEVELS.astype(float))
    return curve.astype(np.float32)


def _add_bands(film: Field, rng: np.random.Generator) -> Field:
    """Return lines of an anti-scatter grid or of a plate reader, and a slope of brightness across the field."""
    height, width = film.shape
    at = np.arange(width if rng.random() < 0.5 else height, dtype=np.float32)
    lines = rng.uniform(0.0, 2.5) * np.sin(at * rng.uniform(0.6, 3.1)) + rng.normal(0, rng.uniform(0.0, 1.5), len(at))
    lines += rng.normal(0, 14.0) * (at / len(at) - 0.5)
    return film + (lines[None, :] if len(at) == width else lines[:, None]).astype(np.float32) * (film > 8)


def _cover(film: Field, rng: np.random.Generator) -> None:
    """Blinds: each side may be covered by an edge that is not quite parallel to it; in place."""
    height, width = film.shape
    level = 255.0 if rng.random() < 0.07 else abs(rng.normal(0, 8.0))
    shares = (0.85, 0.8, 0.85, 0.4) if rng.random() < 0.2 else (0.12, 0.12, 0.12, 0.04)  # left, top, right, bottom
    for side in range(4):
        if rng.random() > shares[side]:
            continue
        depth, slope = rng.uniform(0.0, 0.055), rng.normal(0, 0.03)
        across, along = (height, width) if side % 2 else (width, height)
        edge = depth * across + slope * (np.arange(along, dtype=np.float32) - along / 2)
        reach = min(max(int(edge.max()) + 1, 0), across)
        covered = np.arange(reach, dtype=np.float32)[None, :] < edge[:, None]  # [along, reach]
        view = film.T if side % 2 else film
        view = view[:, :reach] if side < 2 else view[:, across - reach :][:, ::-1]
        view[covered] = level


def _label(picture: Image.Image, rng: np.random.Generator) -> None:
    """Letters, circled or on a plate, and arrows, near the edges of the film; in place."""
    draw, side = ImageDraw.Draw(picture), max(picture.size)
    for _ in range(int(rng.integers(1, 4))):
        words = "\n".join(rng.choice(WORDS, int(rng.integers(1, 3))))
        font = _font(int(np.clip(side * rng.uniform(0.012, 0.036), 6, 64)))
        x0, y0, x1, y1 = draw.multiline_textbbox((0, 0), words, font=font)
        free_x, free_y = max(picture.width - x1 + x0, 1), max(picture.height - y1 + y0, 1)
        edge, along = rng.beta(0.7, 9.0), rng.random()
        x, y = (edge, along) if rng.random() < 0.5 else (along, edge * 0.8)
        at = (free_x * (x if rng.random() < 0.5 else 1 - x) - x0, free_y * (y if rng.random() < 0.85 else 1 - y) - y0)
        ink, ground = int(rng.integers(190, 256)), int(rng.integers(0, 30))
        if rng.random() < 0.15:
            ink, ground = ground, ink
        box = (at[0] + x0 - 3, at[1] + y0 - 3, at[0] + x1 + 3, at[1] + y1 + 3)
        plate = rng.random()
        if plate < 0.12:
            draw.rectangle(box, fill=ground)
        elif plate < 0.25:
            draw.ellipse(box, fill=ground if plate < 0.2 else None, outline=ink)
        draw.multiline_text(at, words, fill=ink, font=font)


@cache
def _font(size_px: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size_px)


def _filter(rng: np.random.Generator) -> Image.Resampling:
    kinds = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS, Image.Resampling.BOX)
    return kinds[int(rng.integers(len(kinds)))]
