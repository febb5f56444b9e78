"""Load one image from a path, bytes or a stream, with one clear error for whatever may be wrong with it."""

import hashlib
import logging
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from gazevlm_core.images.base import DEFAULT_LIMITS, ImageError, ImageLimits
from gazevlm_core.images.raster import decode_raster
from gazevlm_core.images.sniff import sniff_format
from gazevlm_core.images.source import DAMAGED, read_source
from gazevlm_core.images.turns import decoding_turn

_DECODERS = ("PIL", "pydicom", "pylibjpeg", "libjpeg", "openjpeg")
_LATE_LOGGERS = ("pylibjpeg.utils", "openjpeg.utils")  # made while the first DICOM file is decoded
_IGNORE_WARNINGS = ("ignore", None, Warning, re.compile(rf"({'|'.join(_DECODERS)}|gazevlm_core\.images)"), 0)
_loading = threading.local()


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """An image ready for the model.

    Args:
        image: RGB, 8 bits, upright, without any metadata (`info` is empty).
        width_px, height_px: size of `image`.
        sha256: hex digest of the file's bytes.
        format: "PNG", "JPEG", "WEBP", "TIFF" or "DICOM".
    """

    image: Image.Image
    width_px: int
    height_px: int
    sha256: str
    format: str


def load_image(
    source: str | Path | bytes | BinaryIO,
    *,
    name: str | None = None,
    limits: ImageLimits = DEFAULT_LIMITS,
) -> LoadedImage:
    """Load one image; the content decides what it is, whatever its name says.

    Many at once take turns, see `gazevlm_core.images.turns`.

    Args:
        source: a path (symbolic links are followed), the file's bytes, or a stream read from where it stands.
        name: the file's name where the source is bytes or a stream; only its ending is used, to word an error.
        limits: caps, checked before any pixel is decoded.

    Returns:
        The image, upright by its EXIF orientation.

    Raises:
        ImageError: what is wrong and what to do, in one sentence.
    """
    with open_image(source, name=name, limits=limits) as loaded:
        return loaded


@contextmanager
def open_image(
    source: str | Path | bytes | BinaryIO,
    *,
    name: str | None = None,
    limits: ImageLimits = DEFAULT_LIMITS,
) -> Iterator[LoadedImage]:
    """`load_image`, for a caller that makes something large of the image: its turn lasts until the context ends."""
    shown_name = str(source) if name is None and isinstance(source, str | Path) else name or ""
    suffix = os.path.splitext(shown_name)[1].lower()
    with _quiet_decoders():
        contents = [read_source(source, suffix, limits)]  # the decoder takes it out: at most 64 MiB it may let go of
    file_format, digest = sniff_format(contents[0], suffix), hashlib.sha256(contents[0]).hexdigest()
    with decoding_turn() as wait_turn:
        picture = _decode_quietly(contents, file_format, limits, wait_turn)
        yield LoadedImage(picture, picture.width, picture.height, digest, file_format)


def _decode_quietly(
    contents: list[bytes], file_format: str, limits: ImageLimits, wait_turn: Callable[[int], None]
) -> Image.Image:
    """The picture, or one clear error; decoders neither log nor warn."""
    picture: Image.Image | None = None
    refusal = ImageError(DAMAGED.format(format=file_format))
    with _quiet_decoders():
        try:
            picture = _decode(contents, file_format, limits, wait_turn)
        except ImageError as error:
            refusal = type(error)(str(error))
        except MemoryError:
            raise
        except Exception:
            picture = None  # decoders raise whatever they like on a hostile file, with its content in the text
    if picture is None:  # raised out here, so that no decoder's message hangs on it as a cause
        raise refusal
    picture.info.clear()
    return picture


def _decode(
    contents: list[bytes], file_format: str, limits: ImageLimits, wait_turn: Callable[[int], None]
) -> Image.Image:
    if file_format != "DICOM":
        return decode_raster(contents.pop(), file_format, limits, wait_turn)
    from gazevlm_core.images.dicom import decode_dicom  # pydicom takes half a second to import

    return decode_dicom(contents.pop(), limits, wait_turn)


class _SilenceWhileLoading(logging.Filter):
    """Drops the records of a thread that is decoding: they hold tags and values."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(_loading, "depth", 0)


_SILENCE = _SilenceWhileLoading()


@contextmanager
def _quiet_decoders() -> Iterator[None]:
    """Let no decoder log or warn. Nothing is restored afterwards, so threads cannot undo each other's silence."""
    _loading.depth = getattr(_loading, "depth", 0) + 1
    for name in [*_DECODERS, *_LATE_LOGGERS, *logging.root.manager.loggerDict]:
        if name.partition(".")[0] in _DECODERS:
            logging.getLogger(name).addFilter(_SILENCE)
    if not warnings.filters or warnings.filters[0] != _IGNORE_WARNINGS:
        warnings.filterwarnings("ignore", module=_IGNORE_WARNINGS[3].pattern)
    try:
        yield
    finally:
        _loading.depth -= 1
