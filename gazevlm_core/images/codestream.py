"""Check a compressed DICOM frame before a native decoder gets it: its own header must agree with the data set's.

Otherwise a small data set could hide a picture of any size. Nothing is decoded here, except for RLE.
"""

import struct
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gazevlm_core.images.base import ImageError
from gazevlm_core.images.headers import JPEG_DROPPED, coded_bytes, jpeg_frame, jpeg_segments, strip_jpeg

_BROKEN = "The compressed pixels of this DICOM file are damaged or cut short; export it again."
_TOO_MUCH = "The compressed pixels of this DICOM file are absurdly large for its size; export it again uncompressed."
_MISMATCH = "The compressed pixels of this DICOM file contradict its header; export it again uncompressed."
_MAX_FRAGMENTS, _MAX_OFFSET_BYTES = 100_000, 4096
_JPEG_HIERARCHICAL = (0xDE, 0xDF)  # a size of their own beside the frame header's
# Each tile and each layer costs the decoder kilobytes, however little is in it; encoders make tiles of 128 px and more.
_JPEG2000_MAX_TILES, _JPEG2000_MIN_TILE_PX, _JPEG2000_MAX_LAYERS = 4096, 64, 256
_JPEG2000_MAX_SEGMENTS = 10_000  # of the main header
_JPEG2000_MIN_PRECINCT = 4  # as a power of two: encoders use 2^7 and more, smaller ones only exhaust memory


@dataclass(frozen=True, slots=True)
class FrameShape:
    """What the data set says about its frame."""

    rows: int
    columns: int
    samples: int
    bits_allocated: int

    @property
    def frame_bytes(self) -> int:
        """Bytes of the frame before compression."""
        return self.rows * self.columns * self.samples * self.bits_allocated // 8


def check_jpeg(frame: bytes, shape: FrameShape, processes: frozenset[int]) -> bytes:
    """JPEG (ISO 10918-1): one frame header of the declared size, and an end.

    Returns:
        the codestream without metadata, in which a second picture may hide.

    Args:
        frame: the codestream.
        shape: the data set's claim.
        processes: allowed start-of-frame markers (low byte).

    Raises:
        ImageError: damaged, cut short or contradicting the header.
    """
    if not frame.startswith(b"\xff\xd8"):
        raise ImageError(_BROKEN)
    headers, kept, last = [], [], 0
    for marker, start, end in jpeg_segments(frame):
        last = marker
        if marker not in JPEG_DROPPED:
            kept.append((marker, start, end))
        if marker in _JPEG_HIERARCHICAL:
            raise ImageError(_MISMATCH)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            headers.append(jpeg_frame(frame, start))
    if last != 0xD9 or len(headers) != 1:
        raise ImageError(_BROKEN)
    found = headers[0]
    if found.process not in processes or found.precision_bits > shape.bits_allocated:
        raise ImageError(_MISMATCH)
    if (found.height_px, found.width_px, found.components) != (shape.rows, shape.columns, shape.samples):
        raise ImageError(_MISMATCH)
    return strip_jpeg(frame, kept, coded_bytes(shape.columns, shape.rows))


def check_jpeg2000(frame: bytes, shape: FrameShape) -> None:
    """JPEG 2000 (ISO 15444-1): image size, components, depth, tiles and precincts of a bare codestream, and an end.

    Raises:
        ImageError: damaged, cut short, boxed as JP2, or contradicting the header.
    """
    if frame[4:8] == b"jP  ":
        raise ImageError("The pixels of this DICOM file are wrapped as a JP2 file; export it again uncompressed.")
    if not frame.startswith(b"\xff\x4f\xff\x51") or b"\xff\xd9" not in frame.rstrip(b"\0")[-3:]:
        raise ImageError(_BROKEN)
    x1, y1, x0, y0, tile_x, tile_y, tile_x0, tile_y0, components = struct.unpack_from(">8IH", frame, 8)
    if (y1 - y0, x1 - x0, components) != (shape.rows, shape.columns, shape.samples):
        raise ImageError(_MISMATCH)
    if not tile_x or not tile_y or tile_x0 > x0 or tile_y0 > y0:
        raise ImageError(_BROKEN)
    tiles = -(-(x1 - tile_x0) // tile_x) * -(-(y1 - tile_y0) // tile_y)
    if tiles > _JPEG2000_MAX_TILES or (tiles > 64 and min(tile_x, tile_y) < _JPEG2000_MIN_TILE_PX):
        raise ImageError(_BROKEN)
    for component in range(components):
        depth, step_x, step_y = struct.unpack_from(">3B", frame, 42 + 3 * component)
        if (depth & 0x7F) + 1 > shape.bits_allocated or step_x != 1 or step_y != 1:
            raise ImageError(_MISMATCH)
    _check_precincts(frame, 42 + 3 * components)


def _check_precincts(frame: bytes, position: int) -> None:
    """Walk the main header up to the first tile; COD and COC may define precincts."""
    for _ in range(_JPEG2000_MAX_SEGMENTS):
        marker, length = struct.unpack_from(">HH", frame, position)
        if marker == 0xFF90 or not 0xFF00 <= marker:
            break
        if marker in (0xFF52, 0xFF53):
            body = frame[position + 4:position + 2 + length]
            if marker == 0xFF52 and int.from_bytes(body[2:4], "big") > _JPEG2000_MAX_LAYERS:
                raise ImageError(_BROKEN)
            style_at = 0 if marker == 0xFF52 else 1
            levels_at = 5 if marker == 0xFF52 else 2
            if body[style_at] & 1:
                sizes = body[levels_at + 5:levels_at + 6 + body[levels_at]]
                if any(min(size & 15, size >> 4) < _JPEG2000_MIN_PRECINCT for size in sizes[1:]):
                    raise ImageError(_BROKEN)
        position += 2 + length
    if marker != 0xFF90:
        raise ImageError(_BROKEN)


def read_frame(data: bytes, position: int, shape: FrameShape) -> bytes:
    """The one frame of encapsulated pixel data (PS3.5 annex A.4): all fragments behind the table of offsets.

    Args:
        data: the data set, little-endian.
        position: where the first item begins.
        shape: the data set's claim.

    Raises:
        ImageError: damaged, cut short, or of far more fragments or bytes than the frame can need.
    """
    room, view = 2 * shape.frame_bytes + (1 << 16), memoryview(data)
    parts: list[memoryview] = []
    for number in range(_MAX_FRAGMENTS + 1):
        if position + 8 > len(data):
            break
        tag, length = struct.unpack_from("<4sI", data, position)
        start, position = position + 8, position + 8 + length
        if tag == b"\xfe\xff\xdd\xe0":
            return b"".join(parts[1:])
        if tag != b"\xfe\xff\x00\xe0" or position > len(data):
            break
        room -= length
        # One frame needs no more than one offset: a long table of them only costs memory.
        if room < 0 or (number == 0 and length > _MAX_OFFSET_BYTES):
            raise ImageError(_TOO_MUCH)
        parts.append(view[start:position])
    else:
        raise ImageError(_TOO_MUCH)
    raise ImageError(_BROKEN)


def expand_rle(frame: bytes, shape: FrameShape) -> bytes:
    """DICOM RLE (PS3.5 annex G): as many segments as byte planes, each of at least its plane.

    Returns:
        little-endian pixels, plane by plane where there are several samples; what a segment holds beyond its plane is
        not expanded.

    Raises:
        ImageError: damaged, cut short or contradicting the header.
    """
    segments, *offsets = struct.unpack_from("<16I", frame, 0)
    sample_bytes = shape.bits_allocated // 8
    if segments != shape.samples * sample_bytes:
        raise ImageError(_MISMATCH)
    bounds = [*offsets[:segments], len(frame)]
    pixels = np.empty((shape.samples, shape.rows * shape.columns, sample_bytes), np.uint8)
    for number, (start, end) in enumerate(pairwise(bounds)):
        if not 64 <= start <= end <= len(frame):
            raise ImageError(_BROKEN)
        sample, place = divmod(number, sample_bytes)  # the most significant byte of a sample comes first
        pixels[sample, :, sample_bytes - 1 - place] = _expanded(frame[start:end], shape.rows * shape.columns)
    return pixels.tobytes()


def _expanded(segment: bytes, plane_bytes: int) -> NDArray[np.uint8]:
    """A PackBits segment as one plane; Pillow reads it as one row, because runs may cross from row to row."""
    try:
        plane = Image.frombytes("L", (plane_bytes, 1), segment, "packbits", "L")
    except ValueError:
        raise ImageError(_BROKEN) from None
    return np.asarray(plane)[0]
