"""Check a compressed DICOM frame before a native decoder gets it: its own header must agree with the data set's.

Otherwise a small data set could hide a picture of any size. Nothing is decoded here.
"""

import struct
from dataclasses import dataclass
from itertools import pairwise

from gazevlm_core.images.base import ImageError
from gazevlm_core.images.headers import jpeg_frame, jpeg_segments

_BROKEN = "The compressed pixels of this DICOM file are damaged or cut short; export it again."
_MISMATCH = "The compressed pixels of this DICOM file contradict its header; export it again uncompressed."
_JPEG2000_MAX_TILES = 65_535  # ISO 15444-1, A.4.2
_JPEG2000_MIN_PRECINCT = 4  # as a power of two: encoders use 2^7 and more, smaller ones only exhaust memory


@dataclass(frozen=True, slots=True)
class FrameShape:
    """What the data set says about its frame."""

    rows: int
    columns: int
    samples: int
    bits_allocated: int

    @property
    def segment_bytes(self) -> int:
        """Bytes of one byte plane."""
        return self.rows * self.columns


def check_jpeg(frame: bytes, shape: FrameShape, processes: frozenset[int]) -> None:
    """JPEG (ISO 10918-1): one frame header of the declared size, and an end.

    Args:
        frame: the codestream.
        shape: the data set's claim.
        processes: allowed start-of-frame markers (low byte).

    Raises:
        ImageError: damaged, cut short or contradicting the header.
    """
    if not frame.startswith(b"\xff\xd8"):
        raise ImageError(_BROKEN)
    headers, last = [], 0
    for marker, start, _ in jpeg_segments(frame):
        last = marker
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            headers.append(jpeg_frame(frame, start))
    if last != 0xD9 or len(headers) != 1:
        raise ImageError(_BROKEN)
    found = headers[0]
    if found.process not in processes or found.precision_bits > shape.bits_allocated:
        raise ImageError(_MISMATCH)
    if (found.height_px, found.width_px, found.components) != (shape.rows, shape.columns, shape.samples):
        raise ImageError(_MISMATCH)


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
    if -(-(x1 - tile_x0) // tile_x) * -(-(y1 - tile_y0) // tile_y) > _JPEG2000_MAX_TILES:
        raise ImageError(_BROKEN)
    for component in range(components):
        depth, step_x, step_y = struct.unpack_from(">3B", frame, 42 + 3 * component)
        if (depth & 0x7F) + 1 > shape.bits_allocated or step_x != 1 or step_y != 1:
            raise ImageError(_MISMATCH)
    _check_precincts(frame, 42 + 3 * components)


def _check_precincts(frame: bytes, position: int) -> None:
    """Walk the main header up to the first tile; COD and COC may define precincts."""
    while True:
        marker, length = struct.unpack_from(">HH", frame, position)
        if marker == 0xFF90 or not 0xFF00 <= marker:
            break
        if marker in (0xFF52, 0xFF53):
            body = frame[position + 4:position + 2 + length]
            style_at = 0 if marker == 0xFF52 else 1
            levels_at = 5 if marker == 0xFF52 else 2
            if body[style_at] & 1:
                sizes = body[levels_at + 5:levels_at + 6 + body[levels_at]]
                if any(min(size & 15, size >> 4) < _JPEG2000_MIN_PRECINCT for size in sizes[1:]):
                    raise ImageError(_BROKEN)
        position += 2 + length
    if marker != 0xFF90:
        raise ImageError(_BROKEN)


def check_rle(frame: bytes, shape: FrameShape) -> None:
    """DICOM RLE (PS3.5 annex G): as many segments as byte planes, none expanding far beyond its plane.

    Raises:
        ImageError: damaged, cut short or contradicting the header.
    """
    segments, *offsets = struct.unpack_from("<16I", frame, 0)
    if segments != shape.samples * shape.bits_allocated // 8:
        raise ImageError(_MISMATCH)
    bounds = [*offsets[:segments], len(frame)]
    for start, end in pairwise(bounds):
        if not 64 <= start <= end <= len(frame):
            raise ImageError(_BROKEN)
        if _expanded_bytes(frame, start, end, shape.segment_bytes) < shape.segment_bytes:
            raise ImageError(_BROKEN)


def _expanded_bytes(frame: bytes, start: int, end: int, wanted: int) -> int:
    """Bytes that a PackBits segment expands to; refuses it once it passes what is wanted by more than one run."""
    position, total = start, 0
    while position < end:
        control = frame[position]
        if control < 128:
            total += control + 1
            position += control + 2
        elif control > 128:
            total += 257 - control
            position += 2
        else:
            position += 1
        if total > wanted + 256:
            raise ImageError(_MISMATCH)
    return total
