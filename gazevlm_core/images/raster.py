"""PNG, JPEG, WebP and TIFF to upright 8-bit RGB."""

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from gazevlm_core.images.base import ImageError, array_range, check_size, to_8_bit
from gazevlm_core.images.headers import RasterHeader, read_jpeg, read_png, read_webp
from gazevlm_core.images.tiff import DeepTiff, read_tiff

# What undoes each EXIF orientation (EXIF 2.32, section 4.6.4 A).
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DEEP_MODES = frozenset({"I;16", "I;16B", "I;16L", "I;16N", "I", "F"})


def decode_raster(data: bytes, file_format: str, reserve: Callable[[int], None]) -> Image.Image:
    """Decode one picture.

    Grey of 16 or 32 bits (integer or float) is scaled by `grey_range`; colour of 16 bits a channel keeps the upper
    8. Alpha is flattened on black. Colour profiles and gamma are not applied. What is cut short is refused; only a JPEG
    that was cut and then closed again with an end marker cannot be distinguished from a complete one.

    Args:
        file_format: "PNG", "JPEG", "WEBP" or "TIFF".
        reserve: waits until so many pixels may be decoded.

    Returns:
        RGB, upright.

    Raises:
        ImageError: refused with a reason. Other exceptions mean that the file is damaged.
    """
    header = _read_header(data, file_format)
    check_size(header.width_px, header.height_px)
    reserve(header.width_px * header.height_px)
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise ImageError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is on, so a cut file would load half grey; turn it off and try again."
        )
    file = BytesIO(header.strip())
    header = replace(header, strip=bytes)  # it held all of the file
    del data
    with Image.open(file, formats=(file_format,)) as picture:
        if not isinstance(header, DeepTiff):  # which is given to PIL as wider than it is
            check_size(*picture.size)
        picture.load()
        if isinstance(header, DeepTiff):
            rgb = _show_grey(header.samples(np.asarray(picture)), white_is_zero=header.white_is_zero)
        else:
            rgb = as_rgb(picture, white_is_zero=header.white_is_zero)
    if header.orientation in _UPRIGHT:
        rgb = rgb.transpose(_UPRIGHT[header.orientation])
    return rgb


def _read_header(data: bytes, file_format: str) -> RasterHeader:
    if file_format == "PNG":
        return read_png(data)
    if file_format == "JPEG":
        return read_jpeg(data)
    if file_format == "WEBP":
        return read_webp(data)
    return read_tiff(data)


def as_rgb(picture: Image.Image, *, white_is_zero: bool = False) -> Image.Image:
    """Return pixels that PIL holds as 8-bit RGB, in the grey levels that `load_image` gives their file.

    `convert("RGB")` would show all that is above 255 as white, and what is transparent as whatever lies under it.

    Args:
        picture: any mode; where it is not upright, it stays so.
        white_is_zero: whether deep grey is inverted.

    Raises:
        ImageError: values that are no numbers.
    """
    if picture.mode not in _DEEP_MODES:
        return _flatten(picture)
    transparent = picture.info.get("transparency")
    transparent = transparent if isinstance(transparent, int) else None
    return _show_grey(np.asarray(picture), transparent, white_is_zero=white_is_zero)


def _flatten(picture: Image.Image) -> Image.Image:
    """8-bit picture to RGB, what is transparent on black."""
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    if picture.mode == "La":
        picture = picture.convert("LA")
    rgba = picture.convert("RGBA")
    black = Image.new("RGB", rgba.size)
    black.paste(rgba, mask=rgba.getchannel("A"))
    return black


def _show_grey(values: NDArray[Any], transparent: int | None = None, *, white_is_zero: bool) -> Image.Image:
    """Turn samples into grey.

    Args:
        values: [height, width].
        transparent: the one value that PNG's tRNS declares transparent.
        white_is_zero: whether they are inverted.
    """
    if not np.isfinite(values).all():
        raise ImageError("The image holds values that are no numbers (NaN or infinite); export it again as integers.")
    if values.dtype == np.int8:  # 8 bits are shown as they are, black being the lowest
        grey = values.view(np.uint8) ^ np.uint8(0x80)
    else:
        grey = to_8_bit(values, *array_range(values))
    if white_is_zero:  # PIL inverts these only up to 8 bits
        grey = 255 - grey
    if transparent is not None:
        grey[values == transparent] = 0
    return Image.fromarray(grey).convert("RGB")
