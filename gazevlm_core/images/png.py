"""Read the header of a PNG, take the metadata out, and make sure that its pixels are all there."""

import struct
import zlib

from gazevlm_core.images.base import ImageError
from gazevlm_core.images.headers import RasterHeader, exif_orientation

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHUNKS_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_MAX_CHUNKS = 100_000
_CUT_SHORT = "This PNG file is cut short or damaged; copy or export it again."
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
# First column and row, and steps, of the seven passes of an interlaced picture (PNG specification, 8.2).
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_INFLATE_STEP = 1 << 20


def read_png(data: bytes) -> RasterHeader:
    """Header of a PNG.

    Raises:
        ImageError: animated, cut short, or made of absurdly many chunks.
        struct.error: a chunk that is too short.
    """
    width_px, height_px, orientation, position = 0, 0, 1, len(_SIGNATURE)
    kept = [_SIGNATURE]
    for _ in range(_MAX_CHUNKS):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            break
        if kind == b"IHDR":
            width_px, height_px = struct.unpack_from(">II", data, position + 8)
        elif kind == b"acTL" and struct.unpack_from(">I", data, position + 8)[0] > 1:
            raise ImageError("This PNG is animated; save the one frame that matters as a plain PNG.")
        elif kind == b"eXIf":
            orientation = exif_orientation(data[position + 8:end - 4])
        if kind in _CHUNKS_KEPT:
            kept.append(data[position:end])
        if kind == b"IEND":
            return RasterHeader(width_px, height_px, orientation, b"".join(kept))
        position = end
    raise ImageError(_CUT_SHORT)


def check_png_pixels(stripped: bytes) -> None:
    """Refuse a picture whose compressed stream ends before its last row: decoders leave the rest black without a word.

    Args:
        stripped: a PNG as `read_png` gives it, of a size that has been checked.

    Raises:
        ImageError: too few pixels.
        struct.error, KeyError, zlib.error: damaged.
    """
    width_px, height_px, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", stripped, 16)
    bits = depth * _CHANNELS[colour]
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = [(-(-(width_px - x) // step_x), -(-(height_px - y) // step_y)) for x, y, step_x, step_y in passes]
    missing = sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0)
    inflater, position = zlib.decompressobj(), len(_SIGNATURE)
    while position < len(stripped):
        length, kind = struct.unpack_from(">I4s", stripped, position)
        packed = stripped[position + 8:position + 8 + length] if kind == b"IDAT" else b""
        while packed and missing > 0 and not inflater.eof:
            missing -= len(inflater.decompress(packed, _INFLATE_STEP))
            packed = inflater.unconsumed_tail
        position += 12 + length
    if missing > len(inflater.flush()):
        raise ImageError(_CUT_SHORT)
