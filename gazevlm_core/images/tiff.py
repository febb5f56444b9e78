"""Read the header of a TIFF and rewrite its directory so that only what is needed to decode it is left.

Layout after TIFF 6.0 and BigTIFF: a header of 8 or 16 bytes, then a directory of entries of 12 or 20 bytes.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gazevlm_core.images.base import MAX_PIXELS, ImageError
from gazevlm_core.images.headers import ORIENTATION_TAG, RasterHeader

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, STRIPS, SAMPLES, STRIP_ROWS = 256, 257, 258, 259, 262, 273, 277, 278
PLANES, PREDICTOR, TILE_WIDTH, TILE_HEIGHT, TILES, SAMPLE_FORMAT = 284, 317, 322, 323, 324, 339
# Sizes, bits, compression, strips and tiles, planes, predictor, palette, extra samples, JPEG tables, YCbCr sampling.
_TAGS_KEPT = frozenset({
    WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, 266, STRIPS, SAMPLES, STRIP_ROWS, 279, PLANES, 292, 293, PREDICTOR,
    320, TILE_WIDTH, TILE_HEIGHT, TILES, 325, 332, 338, SAMPLE_FORMAT, 347, 529, 530, 531, 532,
})
_PIECES_LISTED = frozenset({STRIPS, 279, TILES, 325})  # where each strip or tile lies, and its bytes
# Of the other tags: a palette of 16 bits, JPEG tables, and values by channel. Each becomes an object in the decoder.
_MOST_VALUES, _MOST_BY_CHANNEL = {320: 3 << 16, 347: 1 << 16}, 64
_MOST_ENTRIES, _MOST_PIECES = 4096, 1 << 18
_USUAL_TILE_PX = 512  # a tile may be larger than a small picture, but not by much
_FORMS = {3: "H", 4: "I", 16: "Q"}  # of the types that are integers
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
# Bits and sample format (1 unsigned, 2 signed, 3 floating point) of the grey samples that are read as bytes.
_DEEP = {
    (8, 2): "i1", (16, 1): "u2", (16, 2): "i2", (16, 3): "f2", (32, 1): "u4", (32, 2): "i4", (32, 3): "f4",
    (64, 1): "u8", (64, 2): "i8", (64, 3): "f8",
}
_PREDICTED = (5, 8, 32946, 34925, 50000)  # LZW, deflate, LZMA, zstd: only these take a predictor
_UNPACKED_BY_PIL = (1, 32773)  # none, PackBits; the others by libtiff
_BYTEWISE = (*_UNPACKED_BY_PIL, *_PREDICTED)
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
        """Return the samples, [height, width].

        Args:
            rows: [height, width in complete blocks x bytes of a sample].
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


_ABSURD = "The directory of this TIFF file is absurdly large; save it as PNG."


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


def tiff_size(data: bytes) -> tuple[int, int, int]:
    """Return width, height, and the bytes of all pixels before compression, wherever in the file the directory is.

    Raises:
        ImageError, struct.error, KeyError: as of `read_tiff`; no size.
    """
    found = _read_directory(data)
    width_px, height_px = found.numbers[WIDTH], found.numbers[HEIGHT]
    return width_px, height_px, width_px * height_px * found.numbers.get(SAMPLES, 1) * found.bits(data) // 8


def read_tiff(data: bytes) -> RasterHeader:
    """Return the header of a TIFF with one page.

    Raises:
        ImageError: several pages, or a directory that cannot be true.
        struct.error: a directory outside the file.
    """
    found = _read_directory(data)
    numbers = found.numbers
    _check_pieces(numbers, found.counts)
    apart = numbers.get(PLANES, 1) == 2 and numbers.get(SAMPLES, 1) > 1
    if apart and numbers.get(COMPRESSION, 1) in _UNPACKED_BY_PIL and found.bits(data) > 8:  # PIL takes bytes for pixels
        raise ImageError("This TIFF keeps the channels of a deep colour picture apart; save it as PNG.")
    if found.total_bytes > len(data):
        raise ImageError("This TIFF file is damaged: its directory is larger than the file; export it again.")
    deep = _deep_samples(numbers, found.counts)
    orientation = numbers.get(ORIENTATION_TAG, 1)
    header = RasterHeader(
        width_px=numbers.get(WIDTH, 0),
        height_px=numbers.get(HEIGHT, 0),
        orientation=orientation if 1 <= orientation <= 8 else 1,
        strip=found.without_the_rest(data, {} if deep is None else _as_bytes(numbers, deep)),
        white_is_zero=numbers.get(PHOTOMETRIC) == 0,
    )
    if deep is None:
        return header
    predictor = numbers.get(PREDICTOR, 1) if numbers.get(COMPRESSION, 1) in _PREDICTED else _NO_PREDICTOR
    if predictor not in (_NO_PREDICTOR, _DIFFERENCES, _FLOAT_PLANES):
        raise ImageError("This TIFF is packed in a rare way; save it as PNG.")
    block_px = max(numbers.get(TILE_WIDTH, header.width_px), 1)
    return DeepTiff(
        header.width_px, header.height_px, header.orientation, header.strip, header.white_is_zero,
        found.layout.order + deep, predictor, block_px,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Directory:
    """The one directory of a file.

    Args:
        layout: of the file.
        offset: where it begins.
        size: its bytes, with the pointer behind it.
        numbers: tag -> its number, the first one where they lie in the entry; of all tags.
        counts: tag -> how many values it has.
        kept: tag -> entry, of _TAGS_KEPT.
        total_bytes: that the values of the kept ones take.
    """

    layout: _Layout
    offset: int
    size: int
    numbers: dict[int, int]
    counts: dict[int, int]
    kept: dict[int, bytes]
    total_bytes: int

    def bits(self, data: bytes) -> int:
        """Return bits of the first channel; those of the others are alike."""
        if self.counts.get(BITS, 1) == 1:
            return self.numbers.get(BITS, 1)
        place = self.kept[BITS][self.layout.size(self.layout.head):]
        if self.layout.size("H") * self.counts[BITS] > len(place):  # they lie elsewhere
            return self.layout.read("H", data, self.layout.read(self.layout.pointer, place, 0)[0])[0]
        return self.layout.read("H", place, 0)[0]

    def without_the_rest(self, data: bytes, changed: Mapping[int, int]) -> Callable[[], bytes]:
        """Return what makes a copy of the file whose directory holds the kept tags alone, some of them with other
        numbers."""
        layout, kept = self.layout, dict(self.kept)
        for tag in changed.keys() & kept.keys():  # none is added: there may be no room for it
            entry = struct.pack(layout.order + layout.head + "I", tag, 4, 1, changed[tag])
            kept[tag] = entry.ljust(len(kept[tag]), b"\0")
        written = struct.pack(layout.order + layout.count, len(kept)) + b"".join(kept.values())
        written += bytes(self.size - len(written))  # no next page, and nothing of the rest
        view, end = memoryview(data), self.offset + len(written)
        return lambda: b"".join([view[:self.offset], written, view[end:]])


def _read_directory(data: bytes) -> _Directory:
    """Read the directory of the one page; errors as in `read_tiff`."""
    layout = _layout(data)
    offset = layout.read(layout.pointer, data, layout.first)[0]
    count_bytes, head_bytes, value_bytes = map(layout.size, (layout.count, layout.head, layout.pointer))
    entries, entry_bytes = layout.read(layout.count, data, offset)[0], head_bytes + value_bytes
    if entries > _MOST_ENTRIES:
        raise ImageError(_ABSURD)
    size = count_bytes + entries * entry_bytes
    block = data[offset:offset + size + value_bytes]
    if layout.read(layout.pointer, block, size)[0] != 0:
        raise ImageError("This TIFF has several pages; save the one page that matters as a TIFF or PNG of its own.")
    numbers: dict[int, int] = {}
    counts: dict[int, int] = {}
    kept: dict[int, bytes] = {}
    total_bytes = 0
    for at in range(count_bytes, size, entry_bytes):
        tag, kind, count = layout.read(layout.head, block, at)
        counts[tag] = count
        form = _FORMS.get(kind)
        if form is not None and layout.size(form) <= value_bytes:
            numbers[tag] = layout.read(form, block, at + head_bytes)[0]
        if tag in _TAGS_KEPT:
            kept[tag] = block[at:at + entry_bytes]
            total_bytes += count * _TYPE_BYTES.get(kind, 1)
            if tag not in _PIECES_LISTED and count > _MOST_VALUES.get(tag, _MOST_BY_CHANNEL):
                raise ImageError(_ABSURD)
    return _Directory(layout, offset, len(block), numbers, counts, kept, total_bytes)


def _deep_samples(numbers: dict[int, int], counts: dict[int, int]) -> str | None:
    """Return the kind of grey samples that are read as bytes; None for a picture that PIL reads."""
    grey = numbers.get(SAMPLES, 1) == 1 and counts.get(BITS, 1) == 1 and numbers.get(PHOTOMETRIC) in (0, 1)
    if not grey or numbers.get(COMPRESSION, 1) not in _BYTEWISE:
        return None
    return _DEEP.get((numbers.get(BITS, 1), numbers.get(SAMPLE_FORMAT, 1)))


def _as_bytes(numbers: dict[int, int], deep: str) -> dict[int, int]:
    """Return the tags under which the file is a picture of bytes, as wide as its blocks.

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


def _check_pieces(numbers: dict[int, int], counts: dict[int, int]) -> None:
    """Refuse strips and tiles that are missing, or more or larger than the picture needs."""
    width_px, height_px = numbers.get(WIDTH, 0), numbers.get(HEIGHT, 0)
    tile_width_px, tile_height_px = numbers.get(TILE_WIDTH, 0), numbers.get(TILE_HEIGHT, 0)
    too_wide = tile_width_px > max(width_px + 15, _USUAL_TILE_PX)
    too_high = tile_height_px > max(height_px + 15, _USUAL_TILE_PX)
    if too_wide or too_high or tile_width_px * tile_height_px > MAX_PIXELS:
        raise ImageError("This TIFF has absurdly large tiles; save it as PNG.")
    needed = _pieces(numbers)
    if max(counts.get(STRIPS, 0), counts.get(TILES, 0)) < needed:
        raise ImageError("This TIFF file is damaged: parts of its picture are missing; copy or export it again.")
    if needed > _MOST_PIECES or max(counts.get(tag, 0) for tag in _PIECES_LISTED) > 4 * needed + _MOST_ENTRIES:
        raise ImageError(_ABSURD)


def _pieces(numbers: dict[int, int]) -> int:
    """Return how many strips or tiles the picture needs; decoders leave the missing ones black silently."""
    width_px, height_px = numbers.get(WIDTH, 0), numbers.get(HEIGHT, 0)
    planes = numbers.get(SAMPLES, 1) if numbers.get(PLANES, 1) == 2 else 1
    if TILE_WIDTH in numbers:
        tile_width_px, tile_height_px = max(numbers[TILE_WIDTH], 1), max(numbers.get(TILE_HEIGHT, 0), 1)
        return -(-width_px // tile_width_px) * -(-height_px // tile_height_px) * planes
    return -(-height_px // max(numbers.get(STRIP_ROWS, height_px), 1)) * planes
