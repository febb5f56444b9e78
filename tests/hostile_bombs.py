"""Files that would fill the memory or the time of a careless reader, each beside an honest file of the same size.

PNG, JPEG, WebP and TIFF are here; DICOM is in `hostile_dicom_bombs`. All are made on the spot.
"""

import lzma
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from PIL import Image

from tests.hostile_corpus import SIDE_PX, grey_tiff, picture, png_chunk, saved, tiff_of

FILL_BYTES = 18 << 20  # what is written out: just below what a file may hold beside its picture
LARGE_BYTES = 60 << 20  # what is far above it, and below what a file may have at all
INFLATED_MIB = 1024  # what a compressed stream hides
MID_PX = 2000
GREY_ROWS = (b"\0" + bytes(range(SIDE_PX))) * SIDE_PX
STRIP = bytes(range(SIDE_PX)) * SIDE_PX


@dataclass(frozen=True)
class Bomb:
    """A hostile file, its group, and an honest one of the same format and size in pixels; made when asked for."""

    group: str
    name: str
    make: Callable[[], bytes]
    twin: bytes


def raster_bombs() -> Iterator[Bomb]:
    """Every raster format, each stream with surplus data, and headers of millions of parts."""
    groups = (("PNG", _pngs, _png()), ("JPEG", _jpegs, saved(picture(), "JPEG")),
              ("WEBP", _webps, saved(picture(), "WEBP")), ("TIFF", _tiffs, saved(picture("L"), "TIFF")))
    for group, bombs, twin in groups:
        for name, make in bombs():
            yield Bomb(group, name, make, twin)
        yield from _mid_sized(group)
        yield Bomb(group, "a long tail", lambda twin=twin: twin + bytes(LARGE_BYTES), twin)


def _mid_sized(group: str) -> Iterator[Bomb]:
    """Four megapixels, whose stream goes on for as long as the file may."""
    image = Image.new("L", (MID_PX, MID_PX), 7)
    for fill in (FILL_BYTES, 36 << 20, LARGE_BYTES):
        name = f"surplus of {fill >> 20} MiB, 4 MP"
        if group == "PNG":
            packed = zlib.compress(bytes(MID_PX * (MID_PX + 1)))
            yield Bomb(group, name, lambda fill=fill, packed=packed: _png(packed + bytes(fill), side_px=MID_PX),
                       _png(side_px=MID_PX))
            continue
        twin = saved(image, group)
        if group == "JPEG":
            yield Bomb(group, name, lambda fill=fill, twin=twin: twin[:-2] + b"\x55" * fill + twin[-2:], twin)
        elif group == "WEBP":
            yield Bomb(group, name, lambda fill=fill, twin=twin: _riff(_chunk(b"VP8 ", twin[20:] + bytes(fill))), twin)
        else:
            twin = saved(image, "TIFF", compression="packbits")
            yield Bomb(group, name, lambda fill=fill, twin=twin: twin + bytes(fill), twin)


def zeros(mebibytes: int, wbits: int = -zlib.MAX_WBITS, start: bytes = b"") -> bytes:
    """A deflated stream of `start` and then so many mebibytes of zeros, quickly made: one block is repeated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    first = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return first + block * mebibytes + b"\x03\0"


def _png(packed: bytes = b"", *, depth: int = 8, interlaced: int = 0, side_px: int = SIDE_PX,
         before: bytes = b"", after: bytes = b"") -> bytes:
    """A grey PNG with any compressed stream, and any chunks before and after it."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", side_px, side_px, depth, 0, 0, 0, interlaced))
    rows = GREY_ROWS if side_px == SIDE_PX else bytes(side_px * (side_px + 1))
    body = png_chunk(b"IDAT", packed or zlib.compress(rows)) + after + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + before + body


def _pngs() -> Iterator[tuple[str, Callable[[], bytes]]]:
    surplus = zeros(INFLATED_MIB, zlib.MAX_WBITS, GREY_ROWS)
    yield "surplus in the stream", lambda: _png(surplus)
    yield "surplus, interlaced", lambda: _png(surplus, interlaced=1)
    yield "surplus, 16 bits", lambda: _png(surplus, depth=16)
    parts = [png_chunk(b"IDAT", surplus[at:at + 4096]) for at in range(4096, len(surplus), 4096)]
    yield "surplus, many chunks", lambda: _png(surplus[:4096], after=b"".join(parts))
    yield "surplus beyond the end", lambda: _png(zlib.compress(GREY_ROWS) + bytes(FILL_BYTES))
    empty = zlib.compressobj()
    head = empty.compress(b"") + empty.flush(zlib.Z_SYNC_FLUSH)
    yield "millions of empty blocks", lambda: _png(head + b"\0\0\0\xff\xff" * (FILL_BYTES // 5))
    yield "second stream", lambda: _png(after=png_chunk(b"IDAT", bytes(FILL_BYTES)))
    yield "long text", lambda: _png(before=png_chunk(b"tEXt", b"Comment\0" + b"x" * FILL_BYTES))
    yield "packed text", lambda: _png(before=png_chunk(b"zTXt", b"Comment\0\0" + surplus))
    yield "packed text in words", lambda: _png(before=png_chunk(b"iTXt", b"Comment\0\1\0\0\0" + surplus))
    yield "packed profile", lambda: _png(before=png_chunk(b"iCCP", b"ICC\0\0" + surplus))
    yield "long EXIF", lambda: _png(before=png_chunk(b"eXIf", b"II*\0\x08\0\0\0\xff\xff" + b"\0" * FILL_BYTES))
    yield "long palette", lambda: _png(before=png_chunk(b"PLTE", bytes(FILL_BYTES)))
    yield "long transparency", lambda: _png(before=png_chunk(b"tRNS", bytes(FILL_BYTES)))
    yield "many palettes", lambda: _png(before=png_chunk(b"PLTE", bytes(768)) * 50_000)
    yield "a second header", lambda: _png(before=png_chunk(b"IHDR", struct.pack(">IIBBBBB", 8000, 8000, 8, 2, 0, 0, 0)))
    yield "millions of chunks", lambda: _png(before=png_chunk(b"teXt", b"") * (FILL_BYTES // 12))
    yield "trailing data", lambda: _png() + bytes(FILL_BYTES)
    yield "larger than claimed", lambda: _png(zeros(256, zlib.MAX_WBITS, bytes(65)), side_px=SIDE_PX)


def _jpegs() -> Iterator[tuple[str, Callable[[], bytes]]]:
    good, many = saved(picture(), "JPEG"), saved(picture(), "JPEG", progressive=True)
    start, end = good[:2], good[-2:]
    tables, frame = good[2:good.index(b"\xff\xc0")], good.index(b"\xff\xc0")
    comment = b"\xff\xfe\xff\xff" + bytes(65_533)
    yield "surplus in the scan", lambda: good[:-2] + b"\x55" * FILL_BYTES + end
    yield "surplus in each scan", lambda: many[:-2].replace(b"\xff\xda", b"\x55" * (1 << 20) + b"\xff\xda") + end
    yield "stuffed bytes in the scan", lambda: good[:-2] + b"\xff\0" * (FILL_BYTES // 2) + end
    yield "restarts in the scan", lambda: good[:-2] + b"\xff\xd0" * (FILL_BYTES // 2) + end
    yield "fill bytes in the scan", lambda: good[:-2] + b"\xff" * FILL_BYTES + b"\0" + end
    yield "fill bytes", lambda: start + b"\xff" * FILL_BYTES + good[2:]
    yield "stray bytes", lambda: start + bytes(FILL_BYTES) + good[2:]
    yield "stray stuffed bytes", lambda: good[:20] + b"\xff\0" * (FILL_BYTES // 2) + good[20:]
    yield "millions of empty segments", lambda: start + good[2:20] + b"\xff\xfe\0\x02" * (FILL_BYTES // 4) + good[20:]
    yield "millions of restarts", lambda: good[:20] + b"\xff\xd0" * (FILL_BYTES // 2) + good[20:]
    yield "comments", lambda: good[:20] + comment * (FILL_BYTES >> 16) + good[20:]
    yield "thousands of JFIF headers", lambda: good[:20] + b"\xff\xe0\xff\xff" + bytes(65_533) + good[20:frame] + (
        b"\xff\xe0\xff\xff" + bytes(65_533)) * (FILL_BYTES >> 16) + good[frame:]
    yield "thousands of tables", lambda: start + tables * 9_000 + good[frame:]
    yield "long tables", lambda: start + (b"\xff\xdb\xff\xfd" + (b"\0" + b"\x01" * 64) * 1007) * 600 + good[2:]
    yield "trailing data", lambda: good + bytes(FILL_BYTES)
    yield "millions of scans", lambda: many[:-2] + many[many.rindex(b"\xff\xda"):-2] * 20_000 + end


def _riff(*chunks: bytes) -> bytes:
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def _webps() -> Iterator[tuple[str, Callable[[], bytes]]]:
    lossy, lossless = saved(picture(), "WEBP"), saved(picture(), "WEBP", lossless=True)
    canvas = struct.pack("<B3x", 0x2C) + (SIDE_PX - 1).to_bytes(3, "little") * 2
    head, fill = _chunk(b"VP8X", canvas), bytes(FILL_BYTES)
    yield "surplus, lossy", lambda: _riff(_chunk(b"VP8 ", lossy[20:] + fill))
    yield "surplus, lossless", lambda: _riff(_chunk(b"VP8L", lossless[20:] + fill))
    yield "millions of chunks", lambda: _riff(head, _chunk(b"junk", b"") * (FILL_BYTES // 8), lossy[12:])
    for kind in (b"EXIF", b"XMP ", b"ICCP"):
        yield f"long {kind.decode()}", lambda kind=kind: _riff(head, _chunk(kind, fill), lossy[12:])
    yield "thousands of EXIF", lambda: _riff(head, _chunk(b"EXIF", bytes(800)) * 900, lossy[12:])
    yield "two pictures", lambda: _riff(head, lossy[12:], _chunk(b"VP8L", fill))
    yield "surplus transparency", lambda: _riff(
        _chunk(b"VP8X", b"\x10" + canvas[1:]), _chunk(b"ALPH", b"\0" + bytes(SIDE_PX**2) + fill), lossy[12:])
    yield "trailing data", lambda: lossy + fill
    yield "large canvas", lambda: _riff(
        _chunk(b"VP8X", b"\x10\0\0\0" + (7999).to_bytes(3, "little") * 2), lossy[12:])


def _surplus_tiff(file: bytes, surplus: bytes, strip: bytes | None = None, compression: int | None = None) -> bytes:
    """A little-endian TIFF of one strip, as Pillow saves it, whose strip goes on with surplus data."""
    directory = struct.unpack_from("<I", file, 4)[0]
    entries = {}
    for number in range(struct.unpack_from("<H", file, directory)[0]):
        at = directory + 2 + 12 * number
        tag, kind, _, value = struct.unpack_from("<HHII", file, at)
        entries[tag] = at, value & 0xFFFF if kind == 3 else value
    (offset_at, offset), (bytes_at, length) = entries[273], entries[279]
    content = (file[offset:offset + length] if strip is None else strip) + surplus
    changed = bytearray(file)
    struct.pack_into("<HHII", changed, offset_at, 273, 4, 1, len(file))
    struct.pack_into("<HHII", changed, bytes_at, 279, 4, 1, len(content))
    if compression is not None:
        struct.pack_into("<HHII", changed, entries[259][0], 259, 3, 1, compression)
    return bytes(changed) + content


def _tiffs() -> Iterator[tuple[str, Callable[[], bytes]]]:
    grey, fill = picture("L"), b"\x81\0" * (FILL_BYTES // 2)
    for compression in ("raw", "packbits", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "jpeg", "lzma", "zstd"):
        good = saved(grey, "TIFF", compression=None if compression == "raw" else compression)
        yield f"surplus, {compression}", lambda good=good: _surplus_tiff(good, fill)
    webp = _surplus_tiff(saved(picture(), "TIFF"), b"", saved(picture(), "WEBP", lossless=True), 50_001)
    yield "surplus, webp", lambda: _surplus_tiff(webp, fill)
    for compression in ("group3", "group4"):
        good = saved(picture("1"), "TIFF", compression=compression)
        yield f"surplus, {compression}", lambda good=good: _surplus_tiff(good, fill)
    deflated, packed = saved(grey, "TIFF", compression="tiff_adobe_deflate"), saved(grey, "TIFF", compression="lzma")
    yield "packed surplus, deflate", lambda: _surplus_tiff(deflated, b"", zeros(INFLATED_MIB, zlib.MAX_WBITS, STRIP))
    yield "packed surplus, lzma", lambda: _surplus_tiff(packed, b"", _lzma(STRIP + bytes(256 << 20)))
    window = b"\x28\xb5\x2f\xfd\0" + bytes([17 << 3]) + (len(STRIP) << 3).to_bytes(3, "little") + STRIP
    runs = b"".join((2 + (1 << 17 << 3)).to_bytes(3, "little") + b"\0" for _ in range(4000)) + b"\x01\0\0"
    zstd = saved(grey, "TIFF", compression="zstd")
    yield "large window, zstd", lambda: _surplus_tiff(zstd, b"", window + runs)
    yield "large JPEG in a strip", lambda: _surplus_tiff(
        saved(grey, "TIFF", compression="jpeg"), b"", saved(Image.new("L", (8000, 8000)), "JPEG"))
    yield "large WebP in a strip", lambda: _surplus_tiff(
        webp, b"", saved(Image.new("RGB", (8000, 8000)), "WEBP", lossless=True))
    yield "trailing data", lambda: saved(grey, "TIFF") + fill
    # Many values of many tags, all at one place of the file.
    shared = [(tag, 5, 180_000, 8) for tag in (292, 293, 332, 338, 339, 529, 530, 531, 532)]
    yield "long lists", lambda: grey_tiff(SIDE_PX, SIDE_PX, *shared, tail=STRIP + fill)
    yield "millions of strips", lambda: grey_tiff(
        SIDE_PX, SIDE_PX, (279, 4, 4_000_000, 8), (278, 3, 1, 1), tail=STRIP + fill)
    rows = tuple((273 if number % 2 else 258, 4, 1, 8) for number in range(65_000))
    yield "thousands of entries", lambda: tiff_of((256, 4, 1, SIDE_PX), (257, 4, 1, SIDE_PX), *rows, tail=STRIP)
    yield "millions of entries", lambda: _big_tiff(FILL_BYTES // 20)
    for side_px in (4096, 8000):
        tiles = (322, 4, 1, side_px), (323, 4, 1, side_px), (324, 4, 1, 8), (325, 4, 1, 4096)
        yield f"tiles of {side_px} px", lambda tiles=tiles: grey_tiff(
            SIDE_PX, SIDE_PX, *tiles, (259, 3, 1, 8), tail=zlib.compress(bytes(64 << 20)))
    small = (322, 4, 1, 1), (323, 4, 1, 1), (324, 4, 4_000_000, 8), (325, 4, 4_000_000, 8)
    yield "tiles of 1 px", lambda: grey_tiff(2000, 2000, *small, tail=STRIP + fill)


def _lzma(data: bytes) -> bytes:
    filters = [{"id": lzma.FILTER_DELTA, "dist": 1}, {"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 28}]
    return lzma.compress(data, filters=filters)


def _big_tiff(entries: int) -> bytes:
    entry = struct.pack("<HHQQ", 258, 3, 1, 8)
    return b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, entries) + entry * entries + bytes(8)
