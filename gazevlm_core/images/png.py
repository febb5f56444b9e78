"""Read the header of a PNG, take the metadata out, and make sure that its pixels are all there."""

import struct
import zlib
from collections.abc import Iterator
from functools import partial

from gazevlm_core.images.base import ImageError
from gazevlm_core.images.headers import LONGEST_EXIF, RasterHeader, exif_orientation

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LONGEST = {b"IHDR": 13, b"PLTE": 768, b"tRNS": 256}  # what is kept beside the pixels, and its bytes
_MAX_CHUNKS = 100_000
_CUT_SHORT = "This PNG file is cut short or damaged; copy or export it again."
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
# First column and row, and steps, of the seven passes of an interlaced picture (PNG specification, 8.2).
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_INFLATE_STEP, _PIECE_BYTES = 1 << 20, 1 << 16


def read_png(data: bytes) -> RasterHeader:
    """Header of a PNG.

    Raises:
        ImageError: animated, cut short, or made of absurdly many chunks.
        struct.error, KeyError: a chunk that is too short, or no header.
    """
    orientation, position = 1, len(_SIGNATURE)
    kept: dict[bytes, bytes] = {}
    packed: list[tuple[int, int]] = []  # from and to, of each part of the compressed pixels
    for _ in range(_MAX_CHUNKS):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data) or length > _LONGEST.get(kind, length):
            break
        if kind in _LONGEST:
            kept.setdefault(kind, data[position:end])
        elif kind == b"IDAT":
            packed.append((position + 8, end - 4))
        elif kind == b"acTL" and struct.unpack_from(">I", data, position + 8)[0] > 1:
            raise ImageError("This PNG is animated; save the one frame that matters as a plain PNG.")
        elif kind == b"eXIf":
            orientation = exif_orientation(data[position + 8:min(end - 4, position + 8 + LONGEST_EXIF)])
        elif kind == b"IEND":
            width_px, height_px = struct.unpack_from(">II", kept[b"IHDR"], 8)
            return RasterHeader(width_px, height_px, orientation, partial(_strip, data, kept, packed))
        position = end
    raise ImageError(_CUT_SHORT)


def _strip(data: bytes, kept: dict[bytes, bytes], packed: list[tuple[int, int]]) -> bytes:
    """The picture without metadata, and without what its compressed stream holds beyond the last row.

    A stream that ends before the last row is refused: decoders leave the rest black without a word.

    Raises:
        ImageError: too few pixels, or a stream that is far longer than they need.
        struct.error, KeyError, zlib.error: damaged.
    """
    total = missing = _row_bytes(kept[b"IHDR"])
    inflater, checksum, room = zlib.decompressobj(), zlib.crc32(b"IDAT"), 2 * total + _INFLATE_STEP
    parts: list[bytes | memoryview] = []
    for part in _pieces(data, packed):
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
        raise ImageError(_CUT_SHORT)
    head = [_SIGNATURE, *(kept[kind] for kind in _LONGEST if kind in kept)]
    tail = struct.pack(">II4sI", checksum, 0, b"IEND", zlib.crc32(b"IEND"))
    return b"".join([*head, struct.pack(">I4s", sum(map(len, parts)), b"IDAT"), *parts, tail])


def _row_bytes(header: bytes) -> int:
    """Bytes of all rows before compression, each with its filter."""
    width_px, height_px, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", header, 8)
    bits = depth * _CHANNELS[colour]
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = [(-(-(width_px - x) // step_x), -(-(height_px - y) // step_y)) for x, y, step_x, step_y in passes]
    return sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0)


def _pieces(data: bytes, packed: list[tuple[int, int]]) -> Iterator[memoryview]:
    """The compressed pixels in small pieces, none of them copied."""
    view = memoryview(data)
    for start, end in packed:
        for at in range(start, end, _PIECE_BYTES):
            yield view[at:min(at + _PIECE_BYTES, end)]
