"""Read what matters from the headers of JPEG, WebP and PNG, and take the rest out before a decoder sees it.

TIFF has a module of its own. The size is known before any pixel is decoded. Comments, EXIF, XMP, colour profiles and
thumbnails never reach the decoder, nor does more of a compressed stream than the size can need: nothing of them can be
kept, logged or used to exhaust memory. Only the orientation is read from EXIF. Pillow's lazy open has no such bounds:
it reads every tag and segment (an EXIF block of 64 KB can take 310 MB, a TIFF of 1 MB a gigabyte), and shows a PNG
whose pixels end early as black.
A broken header raises `struct.error`, `KeyError` or `IndexError`; the caller reports it as a damaged file.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from gazevlm_core.images.base import ImageError

ORIENTATION_TAG = 274
# A progressive JPEG needs about ten scans; each costs a pass over the image.
MAX_JPEG_SCANS = 100

JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_READABLE = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})  # baseline, extended, progressive, their arithmetic forms
# Metadata, and 0x01, which means nothing, and which PIL does not know; APP0 (JFIF) and APP14 (Adobe) tell the colours.
JPEG_DROPPED = frozenset({0x01, *range(0xE1, 0xEE), 0xEF, 0xFE})
_JPEG_MARKER = re.compile(rb"\xff[\x01-\xfe]")  # fill bytes and stray ones are passed over, as by libjpeg
_JPEG_ENTROPY_END = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
# An honest picture needs a few dozen segments; one with much metadata about a thousand (each holds up to 64 KiB).
_MAX_JPEG_SEGMENTS, _MAX_WEBP_CHUNKS = 10_000, 1000
LONGEST_EXIF = 1 << 16  # as in a JPEG; the orientation stands in its first directory
_MAX_JPEG_TABLE_BYTES = 1 << 20  # of all that is kept beside the scans
_WEBP_KEPT, _WEBP_ALPHA = (b"VP8X", b"ALPH", b"VP8 ", b"VP8L"), 0x10
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = {b"IHDR": 13, b"PLTE": 768, b"tRNS": 256}  # what is kept beside the pixels, and its bytes
_MAX_PNG_CHUNKS = 100_000
_PNG_CUT_SHORT = "This PNG file is cut short or damaged; copy or export it again."
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
# First column and row, and steps, of the seven passes of an interlaced picture (PNG specification, 8.2).
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_INFLATE_STEP, _PIECE_BYTES = 1 << 20, 1 << 16


@dataclass(frozen=True, slots=True)
class RasterHeader:
    """Size, orientation and how to make a copy of the file without metadata.

    Args:
        width_px, height_px: as stored, before the orientation is applied.
        orientation: EXIF orientation 1 to 8; 1 where none can be read.
        strip: makes a copy of the file with only what is needed to decode it; raises `ImageError` where that is not
            there, or is far more than the size can need.
        white_is_zero: TIFF whose value 0 is white.
    """

    width_px: int
    height_px: int
    orientation: int
    strip: Callable[[], bytes]
    white_is_zero: bool = False


@dataclass(frozen=True, slots=True)
class JpegFrame:
    """The frame header of a JPEG: process (the SOF marker's low byte), bits per sample, size and components."""

    process: int
    precision_bits: int
    width_px: int
    height_px: int
    components: int


def jpeg_segments(data: bytes, scan_end: re.Pattern[bytes] = _JPEG_ENTROPY_END) -> Iterator[tuple[int, int, int]]:
    """Yield (marker, start, end) of each segment of the first image; a scan's segment holds its entropy-coded data.

    A segment begins with one 0xFF and the marker; what stands between two of them is left out, as by other readers.
    Stops after the end-of-image marker; what follows (a phone's depth map or video) is not read.

    Raises:
        ImageError: a segment of no length, or more scans or segments than any encoder makes.
    """
    position, scans = 2, 0
    for _ in range(_MAX_JPEG_SEGMENTS):
        found = _JPEG_MARKER.search(data, position)
        if found is None:
            return
        start, position, marker = found.start(), found.end(), data[found.start() + 1]
        if marker == 0xD9:
            yield marker, start, position
            return
        if marker != 0x01 and not 0xD0 <= marker <= 0xD8:
            length = struct.unpack_from(">H", data, position)[0]
            if length < 2:
                raise ImageError("This JPEG file is damaged; copy or export it again.")
            position += length
        if marker == 0xDA:
            scans += 1
            if scans > MAX_JPEG_SCANS:
                raise ImageError(f"This JPEG has more than {MAX_JPEG_SCANS} scans; save it as baseline JPEG or PNG.")
            found = scan_end.search(data, position)
            position = found.start() if found else len(data)
        yield marker, start, position
    raise ImageError(f"This JPEG is made of more than {_MAX_JPEG_SEGMENTS:,} segments; export it again.")


def jpeg_frame(data: bytes, start: int) -> JpegFrame:
    """Return the frame header whose segment begins at `start`."""
    precision, height_px, width_px, components = struct.unpack_from(">BHHB", data, start + 4)
    return JpegFrame(data[start + 1], precision, width_px, height_px, components)


def read_jpeg(data: bytes) -> RasterHeader:
    """Return the header of a JPEG; of several pictures in one file (MPO, gain maps) the first counts.

    Raises:
        ImageError: no frame, or a kind of JPEG that is not read outside DICOM.
    """
    kept, orientation = [], 1
    frame: JpegFrame | None = None
    for marker, start, end in jpeg_segments(data):
        if marker in JPEG_FRAMES:
            frame = jpeg_frame(data, start)
            if marker not in _JPEG_READABLE or frame.precision_bits != 8:
                raise ImageError("This JPEG is lossless or deeper than 8 bits; save it as PNG or 8-bit JPEG.")
        elif marker == 0xE1 and data[start + 4:start + 10] == b"Exif\0\0":
            orientation = exif_orientation(data[start + 10:end])
        if marker not in JPEG_DROPPED:
            kept.append((marker, start, end))
    if frame is None:
        raise ImageError("This JPEG file is cut short before its picture begins; copy or export it again.")
    size = frame.width_px, frame.height_px
    return RasterHeader(*size, orientation, partial(strip_jpeg, data, kept, coded_bytes(*size)))


def strip_jpeg(data: bytes, segments: Iterable[tuple[int, int, int]], room: int) -> bytes:
    """Return a JPEG of these segments alone.

    Args:
        data: the file that they are in.
        segments: (marker, start, end), as `jpeg_segments` gives them.
        room: bytes for all scans.

    Raises:
        ImageError: absurdly large scans or tables.
    """
    view, tables = memoryview(data), _MAX_JPEG_TABLE_BYTES
    parts: list[bytes | memoryview] = [b"\xff\xd8"]
    for marker, start, end in segments:
        if marker == 0xDA:
            room -= end - start
        else:
            tables -= end - start
        if room < 0 or tables < 0:  # nothing is cut off: a later scan may be a part of the picture
            raise ImageError("This JPEG is far larger than its picture can need; export it again.")
        parts.append(view[start:end])
    return b"".join(parts)


def coded_bytes(width_px: int, height_px: int) -> int:
    """Return more bytes than any encoder makes of a picture of this size, whatever it shows."""
    return (1 << 18) + 8 * width_px * height_px


def read_webp(data: bytes) -> RasterHeader:
    """Return the header of a WebP. The largest of the sizes that it names counts.

    Raises:
        ImageError: animated, cut short, or without a picture.
    """
    end_of_file = 8 + struct.unpack_from("<I", data, 4)[0]
    if end_of_file > len(data):
        raise ImageError("This WebP file is cut short; copy or export it again.")
    sizes, orientation, position = [(0, 0)], 1, 12
    kept: dict[bytes, tuple[int, int]] = {}  # where the content of each chunk is, the first of a kind
    for _ in range(_MAX_WEBP_CHUNKS):
        if position + 8 > end_of_file:
            break
        kind, length = struct.unpack_from("<4sI", data, position)
        body = position + 8
        if kind in _WEBP_KEPT:
            kept.setdefault(kind, (body, min(body + length, end_of_file)))
            sizes.append(webp_size(data, position))
        if kind in (b"ANIM", b"ANMF"):
            raise ImageError("This WebP is animated; save the one frame that matters as PNG.")
        if kind == b"EXIF":
            orientation = exif_orientation(data[body:body + min(length, LONGEST_EXIF)])
        position = body + length + length % 2
    else:
        raise ImageError(f"This WebP is made of more than {_MAX_WEBP_CHUNKS:,} chunks; export it again.")
    size = max(size[0] for size in sizes), max(size[1] for size in sizes)
    room = (1 << 18) + 17 * size[0] * size[1] // 4  # noise with transparency takes four bytes a pixel
    return RasterHeader(*size, orientation, partial(_strip_webp, data, kept, room))


def webp_size(data: bytes, position: int) -> tuple[int, int]:
    """Return the size that the chunk at this position names, (0, 0) where it names none."""
    kind, body = data[position:position + 4], position + 8
    if kind == b"VP8X":
        width_px, height_px = (int.from_bytes(data[at:at + 3], "little") for at in (body + 4, body + 7))
        return 1 + width_px, 1 + height_px
    if kind == b"VP8 ":
        width_px, height_px = struct.unpack_from("<HH", data, body + 6)
        return width_px & 0x3FFF, height_px & 0x3FFF  # the two upper bits ask for a scaled display
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, body + 1)[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return 0, 0


def _strip_webp(data: bytes, kept: dict[bytes, tuple[int, int]], room: int) -> bytes:
    """Return a WebP of its picture alone; what a chunk holds beyond the bytes that it can need is cut off."""
    view = memoryview(data)
    parts: list[bytes | memoryview] = []
    for kind, (start, end) in kept.items():
        content = view[start:min(end, start + room)]
        if kind == b"VP8X":  # of its flags, only the one of transparency is still true
            content = memoryview(bytes([content[0] & _WEBP_ALPHA]) + bytes(content[1:10]))
        parts += [struct.pack("<4sI", kind, len(content)), content, bytes(len(content) % 2)]
    return b"".join([struct.pack("<4sI4s", b"RIFF", 4 + sum(map(len, parts)), b"WEBP"), *parts])


def exif_orientation(exif: bytes) -> int:
    """Return the orientation of an EXIF block, 1 to 8.

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


def read_png(data: bytes) -> RasterHeader:
    """Return the header of a PNG.

    Raises:
        ImageError: animated, cut short, or made of absurdly many chunks.
        struct.error, KeyError: a chunk that is too short, or no header.
    """
    orientation, position = 1, len(_PNG_SIGNATURE)
    kept: dict[bytes, bytes] = {}
    packed: list[tuple[int, int]] = []  # from and to, of each part of the compressed pixels
    for _ in range(_MAX_PNG_CHUNKS):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data) or length > _PNG_KEPT.get(kind, length):
            break
        if kind in _PNG_KEPT:
            kept.setdefault(kind, data[position:end])
        elif kind == b"IDAT":
            packed.append((position + 8, end - 4))
        elif kind == b"acTL" and struct.unpack_from(">I", data, position + 8)[0] > 1:
            raise ImageError("This PNG is animated; save the one frame that matters as a plain PNG.")
        elif kind == b"eXIf":
            orientation = exif_orientation(data[position + 8:min(end - 4, position + 8 + LONGEST_EXIF)])
        elif kind == b"IEND":
            width_px, height_px = struct.unpack_from(">II", kept[b"IHDR"], 8)
            return RasterHeader(width_px, height_px, orientation, partial(_strip_png, data, kept, packed))
        position = end
    raise ImageError(_PNG_CUT_SHORT)


def _strip_png(data: bytes, kept: dict[bytes, bytes], packed: list[tuple[int, int]]) -> bytes:
    """Return the picture without metadata, and without what its compressed stream holds beyond the last row.

    A stream that ends before the last row is refused: decoders leave the rest black silently.

    Raises:
        ImageError: too few pixels, or a stream that is far longer than they need.
        struct.error, KeyError, zlib.error: damaged.
    """
    total = missing = _png_row_bytes(kept[b"IHDR"])
    inflater, checksum, room = zlib.decompressobj(), zlib.crc32(b"IDAT"), 2 * total + _INFLATE_STEP
    parts: list[bytes | memoryview] = []
    for part in _png_pieces(data, packed):
        parts.append(part)
        checksum = zlib.crc32(part, checksum)
        room -= len(part)
        rest: bytes | memoryview = part
        while rest and missing >= 0 and not inflater.eof:
            missing -= len(inflater.decompress(rest, _INFLATE_STEP))
            rest = inflater.unconsumed_tail
        if missing < 0 or inflater.eof:
            break
        if room < 0:
            raise ImageError("This PNG is far larger than its picture; export it again.")
    if missing > 0:
        missing -= len(inflater.decompress(b"", missing))  # what the last bytes still hold back
    if missing > 0:
        raise ImageError(_PNG_CUT_SHORT)
    head = [_PNG_SIGNATURE, *(kept[kind] for kind in _PNG_KEPT if kind in kept)]
    tail = struct.pack(">II4sI", checksum, 0, b"IEND", zlib.crc32(b"IEND"))
    return b"".join([*head, struct.pack(">I4s", sum(map(len, parts)), b"IDAT"), *parts, tail])


def _png_row_bytes(header: bytes) -> int:
    """Return bytes of all rows before compression, each with its filter."""
    width_px, height_px, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", header, 8)
    bits = depth * _PNG_CHANNELS[colour]
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = [(-(-(width_px - x) // step_x), -(-(height_px - y) // step_y)) for x, y, step_x, step_y in passes]
    return sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0)


def _png_pieces(data: bytes, packed: list[tuple[int, int]]) -> Iterator[memoryview]:
    """Yield the compressed pixels in small pieces, none of them copied."""
    view = memoryview(data)
    for start, end in packed:
        for at in range(start, end, _PIECE_BYTES):
            yield view[at:min(at + _PIECE_BYTES, end)]
