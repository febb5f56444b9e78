"""Check a compressed DICOM frame before a native decoder gets it: its own header must agree with the data set's.

Otherwise a small data set could hide a picture of any size. Only the depth may differ: the stream's own is what was
compressed, whatever the data set claims, and each check returns it. Nothing is decoded here, except for RLE.
"""

import re
import struct
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gazevlm_core.images.base import ImageError
from gazevlm_core.images.headers import JPEG_DROPPED, JpegFrame, coded_bytes, jpeg_frame, jpeg_segments, strip_jpeg

_BROKEN = "The compressed pixels of this DICOM file are damaged or cut short; export it again."
_RARE = "The pixels of this DICOM file are compressed in a rare way that is not read; export it again uncompressed."
_TOO_MUCH = "The compressed pixels of this DICOM file are absurdly large for its size; export it again uncompressed."
_MISMATCH = "The compressed pixels of this DICOM file contradict its header; export it again uncompressed."
_MAX_FRAGMENTS, _MAX_OFFSET_BYTES = 100_000, 4096
_JPEG_HIERARCHICAL = (0xDE, 0xDF)  # a size of their own beside the frame header's
# Each tile and each layer costs the decoder kilobytes, however little is in it; encoders make tiles of 128 px and more.
_JPEG2000_MAX_TILES, _JPEG2000_MIN_TILE_PX, _JPEG2000_MAX_LAYERS = 4096, 64, 256
_JPEG2000_MAX_SEGMENTS = 10_000  # of the main header
_DEEPEST = 16  # bits; more are never shown, and would take more memory
_JPEG_LS_SCAN_END = re.compile(rb"\xff+[\x80-\xcf\xd8-\xfe]")  # within a scan, 255 is followed by a bit of 0
_JPEG_LS_SEGMENTS = frozenset({0xDA, 0xDD, 0xF7, 0xF8, 0xFE, *range(0xE0, 0xF0)})
_JPEG2000_MIN_PRECINCT = 4  # as a power of two: encoders use 2^7 and more, smaller ones only exhaust memory


@dataclass(frozen=True, slots=True)
class FrameShape:
    """What the data set claims about its frame.

    Args:
        rows, columns: size in pixels.
        samples: 1 for grey, 3 for colour.
        bits_allocated: 8 or 16, of each sample.
        bits_stored: how many of them are in use.
        high_bit: the uppermost in use; bits_stored - 1 where its own is impossible.
        signed: whether samples are two's complement.
        photometric: in capitals.
        planar: 1 where colour is stored plane by plane.
    """

    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    photometric: str
    planar: int

    @property
    def frame_bytes(self) -> int:
        """Bytes of the frame before compression."""
        return self.rows * self.columns * self.samples * self.bits_allocated // 8


def check_jpeg(frame: bytes, shape: FrameShape, processes: frozenset[int]) -> tuple[bytes, int]:
    """Check a JPEG (ISO 10918-1): one frame header of the declared size, and an end.

    Args:
        frame: the codestream.
        processes: allowed start-of-frame markers (low byte).

    Returns:
        the codestream without metadata, in which a second picture may hide, and without surplus data; and bits per
        sample.

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
    if headers[0].process not in processes:
        raise ImageError(_MISMATCH)
    return strip_jpeg(frame, kept, coded_bytes(shape.columns, shape.rows)), _agreeing_depth(headers[0], shape)


def _agreeing_depth(found: JpegFrame, shape: FrameShape) -> int:
    if (found.height_px, found.width_px, found.components) != (shape.rows, shape.columns, shape.samples):
        raise ImageError(_MISMATCH)
    if not 2 <= found.precision_bits <= _DEEPEST:
        raise ImageError(_BROKEN)
    return found.precision_bits


def check_jpeg_ls(frame: bytes, shape: FrameShape) -> tuple[bytes, int]:
    """Check a JPEG-LS (ISO 14495-1): one frame header of the declared size, as many scans as components at most, and an
    end.

    Returns:
        the codestream without metadata, in which a second picture may hide, and without what follows its end; and bits
        per sample.

    Raises:
        ImageError: damaged, cut short, with mapping tables or a size beside its frame header, or contradicting it.
    """
    scans, found, kept = 0, None, []
    for marker, start, end in jpeg_segments(frame, _JPEG_LS_SCAN_END) if frame.startswith(b"\xff\xd8") else ():
        if marker not in JPEG_DROPPED:
            kept.append((marker, start, end))
        if marker == 0xD9 and found is not None and scans:
            return strip_jpeg(frame, kept, coded_bytes(shape.columns, shape.rows)), _agreeing_depth(found, shape)
        scans += marker == 0xDA
        if marker not in _JPEG_LS_SEGMENTS or scans > shape.samples or (marker == 0xF7 and found is not None):
            break
        if marker == 0xF7:
            found = jpeg_frame(frame, start)
        elif marker == 0xF8 and frame[start + 4] != 1:  # only coding parameters
            raise ImageError(_RARE)
    raise ImageError(_BROKEN)


def check_jpeg2000(frame: bytes, shape: FrameShape) -> tuple[int, bool]:
    """Check a JPEG 2000 (ISO 15444-1): image size, components, depth, tiles and precincts of a bare codestream, and an
    end.

    Returns:
        bits per sample, and whether samples are signed.

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
        raise ImageError(_RARE)
    first_depth = frame[42]
    for component in range(components):
        depth, step_x, step_y = struct.unpack_from(">3B", frame, 42 + 3 * component)
        if (depth & 0x7F) + 1 > _DEEPEST or depth != first_depth or step_x != 1 or step_y != 1:
            raise ImageError(_MISMATCH)
    _check_precincts(frame, 42 + 3 * components)
    return (first_depth & 0x7F) + 1, first_depth > 0x7F


def _check_precincts(frame: bytes, position: int) -> None:
    """Walk the main header up to the first tile; COD and COC may define precincts."""
    for _ in range(_JPEG2000_MAX_SEGMENTS):
        marker, length = struct.unpack_from(">HH", frame, position)
        if marker == 0xFF90 or not 0xFF00 <= marker:
            break
        if marker in (0xFF52, 0xFF53):
            body = frame[position + 4:position + 2 + length]
            if marker == 0xFF52 and int.from_bytes(body[2:4], "big") > _JPEG2000_MAX_LAYERS:
                raise ImageError(_RARE)
            style_at = 0 if marker == 0xFF52 else 1
            levels_at = 5 if marker == 0xFF52 else 2
            if body[style_at] & 1:
                sizes = body[levels_at + 5:levels_at + 6 + body[levels_at]]
                if any(min(size & 15, size >> 4) < _JPEG2000_MIN_PRECINCT for size in sizes[1:]):
                    raise ImageError(_RARE)
        position += 2 + length
    if marker != 0xFF90:
        raise ImageError(_BROKEN)


def read_frame(data: bytes, position: int, shape: FrameShape) -> bytes:
    """Return the one frame of encapsulated pixel data (PS3.5 annex A.4): all fragments behind the table of offsets.

    Args:
        data: the data set, little-endian.
        position: where the first item begins.

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


def expand_rle(frame: bytes, shape: FrameShape) -> tuple[bytes, int]:
    """Expand DICOM RLE (PS3.5 annex G): one or two byte planes per sample, each of at least its plane.

    Returns:
        little-endian pixels, plane by plane where there are several samples; what a segment holds beyond its plane is
        not expanded. And bits allocated per sample; the stream does not tell how many of them are in use.

    Raises:
        ImageError: damaged, cut short or contradicting the header.
    """
    segments, *offsets = struct.unpack_from("<16I", frame, 0)
    sample_bytes = segments // shape.samples
    if segments not in (shape.samples, 2 * shape.samples):
        raise ImageError(_MISMATCH)
    bounds = [*offsets[:segments], len(frame)]
    pixels = np.empty((shape.samples, shape.rows * shape.columns, sample_bytes), np.uint8)
    for number, (start, end) in enumerate(pairwise(bounds)):
        if not 64 <= start <= end <= len(frame):
            raise ImageError(_BROKEN)
        sample, place = divmod(number, sample_bytes)  # the most significant byte of a sample comes first
        pixels[sample, :, sample_bytes - 1 - place] = _expanded(frame[start:end], shape.rows * shape.columns)
    return pixels.tobytes(), 8 * sample_bytes


def _expanded(segment: bytes, plane_bytes: int) -> NDArray[np.uint8]:
    """Return a PackBits segment as one plane; Pillow reads it as one row, because runs may cross from row to row."""
    try:
        plane = Image.frombytes("L", (plane_bytes, 1), segment, "packbits", "L")
    except ValueError:
        raise ImageError(_BROKEN) from None
    return np.asarray(plane)[0]
