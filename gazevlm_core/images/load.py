"""Load one image from a path, bytes or a stream, with one clear error for whatever may be wrong with it."""

import hashlib
import logging
import os
import re
import stat
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from gazevlm_core.images.base import MAX_BYTES, ImageError, check_size
from gazevlm_core.images.decode_limit import limit_decoding
from gazevlm_core.images.file_types import sniff_format
from gazevlm_core.images.headers import JPEG_FRAMES, coded_bytes, jpeg_frame, jpeg_segments, webp_size
from gazevlm_core.images.raster import decode_raster
from gazevlm_core.images.tiff import tiff_size

DAMAGED = "This {format} file is damaged, cut short or of a rare kind; export it again, or save it as PNG."
SPARE_BYTES = 20 << 20  # for metadata; what is smaller is never too large for its picture
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


def load_image(source: str | Path | bytes | BinaryIO, *, name: str | None = None) -> LoadedImage:
    """Load one image; the content decides what it is, whatever its name.

    Many at once wait for each other, see `gazevlm_core.images.decode_limit`.

    Args:
        source: a path (symbolic links are followed), the file's bytes, or a stream read from where it stands.
        name: the file's name where the source is bytes or a stream; only its ending is used, to word an error.

    Returns:
        The image, upright by its EXIF orientation.

    Raises:
        ImageError: what is wrong and what to do, in one sentence.
    """
    with open_image(source, name=name) as loaded:
        return loaded


@contextmanager
def open_image(source: str | Path | bytes | BinaryIO, *, name: str | None = None) -> Iterator[LoadedImage]:
    """Load an image, as `load_image`, for whoever makes something large of the image: its pixels are reserved until the
    context ends."""
    shown_name = str(source) if name is None and isinstance(source, str | Path) else name or ""
    suffix = os.path.splitext(shown_name)[1].lower()
    with _quiet_decoders():
        contents = [read_source(source)]  # the decoder takes it out: at most 64 MiB it may let go of
        file_format, digest = sniff_format(contents[0], suffix), hashlib.sha256(contents[0]).hexdigest()
        if len(contents[0]) > SPARE_BYTES:
            _check_room(contents[0], file_format)
    with limit_decoding() as reserve:
        picture = _decode_quietly(contents, file_format, reserve)
        yield LoadedImage(picture, picture.width, picture.height, digest, file_format)


def _decode_quietly(contents: list[bytes], file_format: str, reserve: Callable[[int], None]) -> Image.Image:
    """Return the picture, or one clear error; decoders neither log nor warn."""
    picture: Image.Image | None = None
    refusal = ImageError(DAMAGED.format(format=file_format))
    with _quiet_decoders():
        try:
            if file_format == "DICOM":
                from gazevlm_core.images.dicom import decode_dicom  # pydicom takes half a second to import

                picture = decode_dicom(contents.pop(), reserve)
            else:
                picture = decode_raster(contents.pop(), file_format, reserve)
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


def read_source(source: object) -> bytes:
    """Return all bytes of a path, bytes or a binary stream.

    Args:
        source: what `load_image` takes.

    Raises:
        ImageError: not to be read, or larger than it may be.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        _check_bytes(len(source))
        return bytes(source)
    if isinstance(source, str | Path):
        return _read_file(source)
    read = getattr(source, "read", None)
    if not callable(read):
        raise ImageError("An image is a path, bytes or a binary stream; give one of these.")
    data = _read_up_to(read, MAX_BYTES + 1)
    _check_bytes(len(data))
    return data


def _check_bytes(length: int) -> None:
    if length > MAX_BYTES:
        limit = f"{MAX_BYTES / 2**20:g} MiB"
        raise ImageError(f"The file is larger than the limit of {limit}; make it smaller and try again.")


def _check_room(data: bytes, file_format: str) -> None:
    """Refuse a file that is far larger than a picture of its size can be.

    Raises:
        ImageError: too large, or a header that is damaged or refused.
    """
    size: tuple[int, int, int] | None = None
    try:
        size = _size(data, file_format)
    except ImageError:
        raise
    except Exception:
        size = None  # as in `load_image`: no parser's message hangs on the error
    if size is None:
        raise ImageError(DAMAGED.format(format=file_format))
    width_px, height_px, most_bytes = size
    check_size(width_px, height_px)
    if len(data) > SPARE_BYTES + most_bytes:
        raise ImageError(
            f"The file has {len(data) / 2**20:.0f} MiB, far more than a picture of {width_px} x {height_px} px can "
            "need; export the picture alone."
        )


def _size(data: bytes, file_format: str) -> tuple[int, int, int]:
    """Return width and height that the header names first, and more bytes than any encoder makes of such a picture."""
    if file_format == "TIFF":
        width_px, height_px, raw_bytes = tiff_size(data)
        return width_px, height_px, 2 * raw_bytes
    if file_format == "DICOM":
        from gazevlm_core.images.dicom import dicom_size  # pydicom takes half a second to import

        width_px, height_px = dicom_size(data)
    elif file_format == "PNG":
        width_px, height_px = struct.unpack_from(">II", data, 16)
    elif file_format == "WEBP":
        width_px, height_px = webp_size(data, 12)
    else:
        frame = next(jpeg_frame(data, at) for marker, at, _ in jpeg_segments(data) if marker in JPEG_FRAMES)
        width_px, height_px = frame.width_px, frame.height_px
    return width_px, height_px, coded_bytes(width_px, height_px)


def _read_file(path: str | Path) -> bytes:
    """Return bytes of a regular file; what is no regular file is never opened."""
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise ImageError("This is a folder, not an image; give an image file, or check that it may be listed.")
        if not stat.S_ISREG(status.st_mode):
            raise ImageError("This is a pipe, socket or device, not a file; give an image file.")
        _check_bytes(status.st_size)
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
        _check_bytes(len(data))
        return data
    except FileNotFoundError:
        reason = "There is no such file; check its path."
    except PermissionError:
        reason = "The file may not be read; check its permissions."
    except ImageError as error:
        reason = str(error)
    except (OSError, ValueError):  # a NUL byte, a name too long, a loop of links
        reason = "The path leads to no file that can be read; check it."
    raise ImageError(reason)


def _read_up_to(read: Callable[[int], object], count: int) -> bytes:
    """So many bytes, fewer where the stream ends."""
    parts: list[bytes] = []
    while count > 0:
        try:
            part = read(count)
        except (OSError, ValueError):  # closed, or not open for reading
            part = None
        if not isinstance(part, bytes):
            raise ImageError("The stream gives no bytes; open the file in binary mode and try again.")
        if not part:
            break
        parts.append(part[:count])
        count -= len(part)
    return b"".join(parts)
