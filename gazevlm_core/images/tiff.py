"""Read the header of a TIFF and rewrite its directory so that only what is needed to decode it is left.

Layout after TIFF 6.0 and BigTIFF: a header of 8 or 16 bytes, then a directory of entries of 12 or 20 bytes.
"""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gazevlm_core.images.base import ImageError, ImageLimits
from gazevlm_core.images.headers import ORIENTATION_TAG, RasterHeader

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, STRIPS, SAMPLES, STRIP_ROWS = 256, 257, 258, 259, 262, 273, 277, 278
PLANES, PREDICTOR, TILE_WIDTH, TILE_HEIGHT, TILES, SAMPLE_FORMAT = 284, 317, 322, 323, 324, 339
# Sizes, bits, compression, strips and tiles, planes, predictor, palette, extra samples, JPEG tables, YCbCr sampling.
_TAGS_KEPT = frozenset({
    WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, 266, STRIPS, SAMPLES, STRIP_ROWS, 279, PLANES, 292, 293, PREDICTOR,
    320, TILE_WIDTH, TILE_HEIGHT, TILES, 325, 332, 338, SAMPLE_FORMAT, 347, 529, 530, 531, 532,
})
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
# Bits and sample format (1 unsigned, 2 signed, 3 floating point) of the grey samples that are read as bytes.
_DEEP = {
    (8, 2): "i1", (16, 1): "u2", (16, 2): "i2", (16, 3): "f2", (32, 1): "u4", (32, 2): "i4", (32, 3): "f4",
    (64, 1): "u8", (64, 2): "i8", (64, 3): "f8",
}
_PREDICTED = (5, 8, 32946, 34925, 50000)  # LZW, deflate, LZMA, zstd: only these take a predictor
_BYTEWISE = (1, 32773, *_PREDICTED)  # none, PackBits
_NO_PREDICTOR, _DIFFERENCES, _FLOAT_PLANES = 1, 2, 3
_MOST_DEEP_BYTES = 2 * 64_000_000  # what 64 megapixels of 16 bits take


@dataclass(frozen=True, slots=True)
class DeepTiff(RasterHeader):
    """Header of a grey TIFF of other samples than unsigned bytes, rewritten as a picture of bytes.

    PIL decodes few of these kinds, and some of them wrongly (signed bytes as unsigned, compressed big-endian ones in
    the wrong order). So it is given rows of plain bytes to unpack, and what they mean is sorted out here.

    Args:
        dtype: of a sample in the file.
        predictor: how neighbours were subtracted before packing: 1 (not), 2 (samples) or 3 (planes of bytes).
        block_px: within how many columns that happened.
    """

    dtype: str = "<u2"
    predictor: int = _NO_PREDICTOR
    block_px: int = 1

    def samples(self, rows: NDArray[np.uint8]) -> NDArray[Any]:
        """The samples, [height, width].

        Args:
            rows: [height, width in whole blocks x bytes of a sample].
        """
        dtype = np.dtype(self.dtype)
        blocks = rows.reshape(len(rows), -1, self.block_px * dtype.itemsize)
        if self.predictor == _DIFFERENCES:
            words = blocks.view(f"{dtype.byteorder if dtype.itemsize > 1 else '|'}u{dtype.itemsize}")
            native = words.astype(words.dtype.newbyteorder("="))
            values = np.cumsum(native, axis=2, dtype=native.dtype).view(dtype.newbyteorder("="))
        elif self.predictor == _FLOAT_PLANES:  # the planes begin with the uppermost byte, in either byte order
            planes = np.cumsum(blocks, axis=2, dtype=np.uint8).reshape(*blocks.shape[:2], dtype.itemsize, self.block_px)
            values = np.ascontiguousarray(planes.swapaxes(2, 3)).view(dtype.newbyteorder(">"))
        else:
            values = blocks.view(dtype)
        return values.reshape(len(rows), -1)[:, :self.width_px].astype(dtype.newbyteorder("="))


@dataclass(frozen=True, slots=True)
class _Layout:
    """Formats of one flavour: byte order, count of entries, one entry (tag, type, count), pointer, first pointer."""

    order: str
    count: str
    head: str
    pointer: str
    first: int

    def size(self, form: str) -> int:
        return struct.calcsize(self.order + form)

    def read(self, form: str, data: bytes, offset: int) -> tuple[int, ...]:
        return struct.unpack_from(self.order + form, data, offset)


def _layout(data: bytes) -> _Layout:
    order = "<" if data.startswith(b"II") else ">"
    if b"+" in data[2:4]:
        return _Layout(order, count="Q", head="HHQ", pointer="Q", first=8)
    return _Layout(order, count="H", head="HHI", pointer="I", first=4)


def read_tiff(data: bytes, limits: ImageLimits) -> RasterHeader:
    """Header of a TIFF with one page.

    Raises:
        ImageError: several pages, or a directory that cannot be true.
        struct.error: a directory outside the file.
    """
    layout = _layout(data)
    offset = layout.read(layout.pointer, data, layout.first)[0]
    entries = layout.read(layout.count, data, offset)[0]
    head_bytes, value_bytes = layout.size(layout.head), layout.size(layout.pointer)
    begin, entry_bytes = offset + layout.size(layout.count), head_bytes + value_bytes
    end = begin + entries * entry_bytes
    if layout.read(layout.pointer, data, end)[0] != 0:
        raise ImageError("This TIFF has several pages; save the one page that matters as a TIFF or PNG of its own.")
    numbers: dict[int, int] = {}
    counts: dict[int, int] = {}
    kept: dict[int, bytes] = {}
    total_bytes = 0
    for start in range(begin, end, entry_bytes):
        tag, kind, count = layout.read(layout.head, data, start)
        counts[tag] = count
        form = {3: "H", 4: "I", 16: "Q"}.get(kind)
        if form is not None and layout.size(form) <= value_bytes:
            numbers[tag] = layout.read(form, data, start + head_bytes)[0]
        if tag in _TAGS_KEPT:
            kept[tag] = data[start:start + entry_bytes]
            total_bytes += count * _TYPE_BYTES.get(kind, 1)
    if total_bytes > len(data):
        raise ImageError("This TIFF file is damaged: its directory is larger than the file; export it again.")
    if numbers.get(TILE_WIDTH, 0) * numbers.get(TILE_HEIGHT, 0) > limits.max_pixels:
        raise ImageError("This TIFF has absurdly large tiles; save it as PNG.")
    if max(counts.get(STRIPS, 0), counts.get(TILES, 0)) < _pieces(numbers):
        raise ImageError("This TIFF file is damaged: parts of its picture are missing; copy or export it again.")
    deep = _deep_samples(numbers, counts)
    changed = {} if deep is None else _as_bytes(numbers, deep)
    for tag in changed.keys() & kept.keys():  # none is added: there may be no room for it
        value = changed[tag]
        kept[tag] = struct.pack(layout.order + layout.head + "I", tag, 4, 1, value).ljust(entry_bytes, b"\0")
    directory = struct.pack(layout.order + layout.count, len(kept)) + b"".join(kept.values())
    directory += bytes(end + value_bytes - offset - len(directory))  # no next page, and nothing of the rest
    orientation = numbers.get(ORIENTATION_TAG, 1)
    stripped = data[:offset] + directory + data[offset + len(directory):]
    size = (numbers.get(WIDTH, 0), numbers.get(HEIGHT, 0))
    upright = orientation if 1 <= orientation <= 8 else 1
    white_is_zero = numbers.get(PHOTOMETRIC) == 0
    if deep is None:
        return RasterHeader(*size, upright, stripped, white_is_zero)
    predictor = numbers.get(PREDICTOR, 1) if numbers.get(COMPRESSION, 1) in _PREDICTED else _NO_PREDICTOR
    if predictor not in (_NO_PREDICTOR, _DIFFERENCES, _FLOAT_PLANES):
        raise ImageError("This TIFF is packed in a rare way; save it as PNG.")
    block_px = max(numbers.get(TILE_WIDTH, size[0]), 1)
    return DeepTiff(*size, upright, stripped, white_is_zero, layout.order + deep, predictor, block_px)


def _deep_samples(numbers: dict[int, int], counts: dict[int, int]) -> str | None:
    """The kind of grey samples that are read as bytes; None for a picture that PIL reads."""
    grey = numbers.get(SAMPLES, 1) == 1 and counts.get(BITS, 1) == 1 and numbers.get(PHOTOMETRIC) in (0, 1)
    if not grey or numbers.get(COMPRESSION, 1) not in _BYTEWISE:
        return None
    return _DEEP.get((numbers.get(BITS, 1), numbers.get(SAMPLE_FORMAT, 1)))


def _as_bytes(numbers: dict[int, int], deep: str) -> dict[int, int]:
    """The tags under which the file is a picture of bytes, as wide as its whole blocks.

    Raises:
        ImageError: too large.
    """
    sample_bytes, block_px = np.dtype(deep).itemsize, max(numbers.get(TILE_WIDTH, numbers.get(WIDTH, 0)), 1)
    width_px = -(-numbers.get(WIDTH, 0) // block_px) * block_px
    if width_px * sample_bytes * numbers.get(HEIGHT, 0) > _MOST_DEEP_BYTES:
        raise ImageError(f"This TIFF unpacks to more than {_MOST_DEEP_BYTES / 1e6:g} MB; save it as PNG of 16 bits.")
    return {
        WIDTH: width_px * sample_bytes, TILE_WIDTH: block_px * sample_bytes, BITS: 8, PHOTOMETRIC: 1, SAMPLE_FORMAT: 1,
        PREDICTOR: _NO_PREDICTOR,
    }


def _pieces(numbers: dict[int, int]) -> int:
    """How many strips or tiles the picture needs; decoders leave the missing ones black without a word."""
    width_px, height_px = numbers.get(WIDTH, 0), numbers.get(HEIGHT, 0)
    planes = numbers.get(SAMPLES, 1) if numbers.get(PLANES, 1) == 2 else 1
    if TILE_WIDTH in numbers:
        tile_width_px, tile_height_px = max(numbers[TILE_WIDTH], 1), max(numbers.get(TILE_HEIGHT, 0), 1)
        return -(-width_px // tile_width_px) * -(-height_px // tile_height_px) * planes
    return -(-height_px // max(numbers.get(STRIP_ROWS, height_px), 1)) * planes
