"""All bytes of an image file, from wherever it comes, but no more than its picture can need."""

import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path

from gazevlm_core.images.base import ImageError, ImageLimits, check_size
from gazevlm_core.images.headers import JPEG_FRAMES, coded_bytes, jpeg_frame, jpeg_segments, webp_size
from gazevlm_core.images.sniff import sniff_format
from gazevlm_core.images.tiff import tiff_size

DAMAGED = "This {format} file is damaged, cut short or of a rare kind; export it again, or save it as PNG."
SPARE_BYTES = 20 << 20  # for metadata; what is smaller is read at once


def read_source(source: object, suffix: str, limits: ImageLimits) -> bytes:
    """All bytes of a path, bytes or a binary stream.

    A file of more than SPARE_BYTES is held against the size in its header before the rest of it is read.

    Args:
        source: what `load_image` takes.
        suffix: the name's ending, to word an error.
        limits: caps.

    Raises:
        ImageError: not to be read, or larger than it may be.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        _check_bytes(len(source), limits.max_bytes)
        data = bytes(source)
        if len(data) > SPARE_BYTES:
            _check_room(len(data), data, suffix, limits)
        return data
    if isinstance(source, str | Path):
        return _read_file(source, suffix, limits)
    return _read_stream(source, suffix, limits)


def _check_bytes(length: int, most_bytes: int) -> None:
    if length > most_bytes:
        limit = f"{most_bytes / 2**20:g} MiB"
        raise ImageError(f"The file is larger than the limit of {limit}; make it smaller and try again.")


def _check_room(
    length: int, start: bytes, suffix: str, limits: ImageLimits, read_at: Callable[[int, int], bytes] | None = None
) -> None:
    """Refuse a file that is far larger than a picture of its size can be.

    Args:
        length: bytes of the file.
        start: at least its first SPARE_BYTES, or all of it.
        suffix: the name's ending, to word an error.
        limits: caps.
        read_at: gives so many bytes of the file from an offset; reads `start` by default.

    Raises:
        ImageError: too large, or a header that is damaged or refused.
    """
    file_format = sniff_format(start, suffix)
    size: tuple[int, int, int] | None = None
    try:
        size = _size(start, file_format, limits, read_at or (lambda offset, count: start[offset:offset + count]))
    except ImageError:
        raise
    except Exception:
        size = None  # as in `load_image`: no parser's message hangs on the error
    if size is None:
        raise ImageError(DAMAGED.format(format=file_format))
    width_px, height_px, most_bytes = size
    check_size(width_px, height_px, limits)
    if length > SPARE_BYTES + most_bytes:
        raise ImageError(
            f"The file has {length / 2**20:.0f} MiB, far more than a picture of {width_px} x {height_px} px can need; "
            "export the picture alone."
        )


def _size(
    start: bytes, file_format: str, limits: ImageLimits, read_at: Callable[[int, int], bytes]
) -> tuple[int, int, int]:
    """Width and height that the header names first, and more bytes than any encoder makes of such a picture."""
    if file_format == "TIFF":
        width_px, height_px, raw_bytes = tiff_size(start, read_at)
        return width_px, height_px, 2 * raw_bytes
    if file_format == "DICOM":
        from gazevlm_core.images.dicom import dicom_size  # pydicom takes half a second to import

        width_px, height_px = dicom_size(start, limits)
    elif file_format == "PNG":
        width_px, height_px = struct.unpack_from(">II", start, 16)
    elif file_format == "WEBP":
        width_px, height_px = webp_size(start, 12)
    else:
        frame = next(jpeg_frame(start, at) for marker, at, _ in jpeg_segments(start) if marker in JPEG_FRAMES)
        width_px, height_px = frame.width_px, frame.height_px
    return width_px, height_px, coded_bytes(width_px, height_px)


def _read_file(path: str | Path, suffix: str, limits: ImageLimits) -> bytes:
    """Bytes of a regular file; what is no regular file is never opened."""
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise ImageError("This is a folder, not an image; give an image file, or check that it may be listed.")
        if not stat.S_ISREG(status.st_mode):
            raise ImageError("This is a pipe, socket or device, not a file; give an image file.")
        _check_bytes(status.st_size, limits.max_bytes)
        with open(path, "rb") as file:
            if status.st_size > SPARE_BYTES:
                number = file.fileno()
                start = os.pread(number, SPARE_BYTES, 0)
                _check_room(
                    status.st_size, start, suffix, limits, lambda offset, count: os.pread(number, count, offset)
                )
                del start
            data = file.read(limits.max_bytes + 1)
        _check_bytes(len(data), limits.max_bytes)
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


def _read_stream(stream: object, suffix: str, limits: ImageLimits) -> bytes:
    """Bytes from a stream, one more than the cap at most."""
    read = getattr(stream, "read", None)
    if not callable(read):
        raise ImageError("An image is a path, bytes or a binary stream; give one of these.")
    start = _read_up_to(read, min(SPARE_BYTES, limits.max_bytes) + 1)
    if len(start) <= SPARE_BYTES:
        _check_bytes(len(start), limits.max_bytes)
        return start
    late = sniff_format(start, suffix) == "TIFF"  # its directory may be at the end
    if not late:
        _check_room(len(start), start, suffix, limits)
    data = start + _read_up_to(read, limits.max_bytes + 1 - len(start))
    _check_bytes(len(data), limits.max_bytes)
    _check_room(len(data), data, suffix, limits)
    return data


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
