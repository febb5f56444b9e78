"""Read what matters from the headers of JPEG and WebP, and take the rest out before a decoder sees it.

PNG and TIFF have modules of their own. The size is known before any pixel is decoded. Comments, EXIF, XMP, colour
profiles and thumbnails never reach the decoder (WebP's is not asked for them): nothing of them can be kept, logged or
used to exhaust memory. Only the orientation is read from EXIF.
A broken header raises `struct.error` or `IndexError`; the caller reports it as a damaged file.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from gazevlm_core.images.base import ImageError

ORIENTATION_TAG = 274
# A progressive JPEG needs about ten scans; each costs a pass over the whole image.
MAX_JPEG_SCANS = 100

_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_READABLE = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})  # baseline, extended, progressive, their arithmetic forms
_JPEG_DROPPED = frozenset({*range(0xE1, 0xEE), 0xEF, 0xFE})  # metadata; APP0 (JFIF) and APP14 (Adobe) tell the colours
_JPEG_ENTROPY_END = re.compile(rb"\xff+[\x01-\xcf\xd8-\xfe]")


@dataclass(frozen=True, slots=True)
class RasterHeader:
    """Size, orientation and a copy of the file without metadata.

    Args:
        width_px, height_px: as stored, before the orientation is applied.
        orientation: EXIF orientation 1 to 8; 1 where none can be read.
        stripped: the file with only what is needed to decode it.
        white_is_zero: TIFF whose value 0 is white.
    """

    width_px: int
    height_px: int
    orientation: int
    stripped: bytes
    white_is_zero: bool = False


@dataclass(frozen=True, slots=True)
class JpegFrame:
    """The frame header of a JPEG: process (the SOF marker's low byte), bits per sample, size and components."""

    process: int
    precision_bits: int
    width_px: int
    height_px: int
    components: int


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end) of each segment of the first image; a scan's segment holds its entropy-coded data.

    Stops after the end-of-image marker; what follows (a phone's depth map or video) is not looked at.

    Raises:
        ImageError: no marker where one must be, or more scans than any encoder makes.
    """
    position, scans = 2, 0
    while position < len(data):
        start = position
        if data[position] != 0xFF:
            raise ImageError("This JPEG file is damaged; copy or export it again.")
        while data[position] == 0xFF:
            position += 1
        marker = data[position]
        position += 1
        if marker == 0xD9:
            yield marker, start, position
            return
        if marker != 0x01 and not 0xD0 <= marker <= 0xD7:
            position += struct.unpack_from(">H", data, position)[0]
        if marker == 0xDA:
            scans += 1
            if scans > MAX_JPEG_SCANS:
                raise ImageError(f"This JPEG has more than {MAX_JPEG_SCANS} scans; save it as baseline JPEG or PNG.")
            found = _JPEG_ENTROPY_END.search(data, position)
            position = found.start() if found else len(data)
        yield marker, start, position


def jpeg_frame(data: bytes, start: int) -> JpegFrame:
    """The frame header whose segment begins at `start`."""
    while data[start] == 0xFF:
        start += 1
    precision, height_px, width_px, components = struct.unpack_from(">BHHB", data, start + 3)
    return JpegFrame(data[start], precision, width_px, height_px, components)


def read_jpeg(data: bytes) -> RasterHeader:
    """Header of a JPEG; of several pictures in one file (MPO, gain maps) the first counts.

    Raises:
        ImageError: no frame, or a kind of JPEG that is not read outside DICOM.
    """
    kept, orientation = [data[:2]], 1
    frame: JpegFrame | None = None
    for marker, start, end in jpeg_segments(data):
        if marker in _JPEG_FRAMES:
            frame = jpeg_frame(data, start)
            if marker not in _JPEG_READABLE or frame.precision_bits != 8:
                raise ImageError("This JPEG is lossless or deeper than 8 bits; save it as PNG or 8-bit JPEG.")
        elif marker == 0xE1 and data[start + 4:start + 10] == b"Exif\0\0":
            orientation = exif_orientation(data[start + 10:end])
        if marker not in _JPEG_DROPPED:
            kept.append(data[start:end])
    if frame is None:
        raise ImageError("This JPEG file is cut short before its picture begins; copy or export it again.")
    return RasterHeader(frame.width_px, frame.height_px, orientation, b"".join(kept))


def read_webp(data: bytes) -> RasterHeader:
    """Header of a WebP. The largest of the sizes that it names counts.

    Raises:
        ImageError: animated, cut short, or without a picture.
    """
    end_of_file = 8 + struct.unpack_from("<I", data, 4)[0]
    if end_of_file > len(data):
        raise ImageError("This WebP file is cut short; copy or export it again.")
    sizes, orientation, position = [(0, 0)], 1, 12
    while position + 8 <= end_of_file:
        kind, length = struct.unpack_from("<4sI", data, position)
        body = position + 8
        if kind == b"VP8X":
            sizes.append((1 + int.from_bytes(data[body + 4:body + 7], "little"),
                          1 + int.from_bytes(data[body + 7:body + 10], "little")))
        elif kind == b"VP8 ":
            width_px, height_px = struct.unpack_from("<HH", data, body + 6)
            sizes.append((width_px & 0x3FFF, height_px & 0x3FFF))  # the two upper bits ask for a scaled display
        elif kind == b"VP8L":
            bits = struct.unpack_from("<I", data, body + 1)[0]
            sizes.append((1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)))
        elif kind in (b"ANIM", b"ANMF"):
            raise ImageError("This WebP is animated; save the one frame that matters as PNG.")
        elif kind == b"EXIF":
            orientation = exif_orientation(data[body:body + length])
        position = body + length + length % 2
    width_px, height_px = max(size[0] for size in sizes), max(size[1] for size in sizes)
    return RasterHeader(width_px, height_px, orientation, data[:end_of_file])


def exif_orientation(exif: bytes) -> int:
    """The orientation of an EXIF block, 1 to 8.

    A block that cannot be read, or that holds none, leaves the picture as it is stored (1), as browsers do.
    """
    block = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None:
        return 1
    try:
        offset = struct.unpack_from(f"{order}I", block, 4)[0]
        for index in range(struct.unpack_from(f"{order}H", block, offset)[0]):
            tag, kind, count, value = struct.unpack_from(f"{order}HHIH", block, offset + 2 + 12 * index)
            if tag == ORIENTATION_TAG and kind == 3 and count == 1 and 1 <= value <= 8:
                return int(value)
    except struct.error:
        return 1
    return 1
