"""Files that must be refused with one clear sentence, all made on the spot."""

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.hostile_dicom import hostile_dicoms

SIDE_PX = 64


@dataclass(frozen=True)
class HostileFile:
    """A path to something that is no usable image, and a word that its error must hold."""

    path: Path
    mentions: str


def build_corpus(folder: Path) -> list[HostileFile]:
    """Write every hostile file into a folder; more than 80 of them."""
    corpus = []
    for group in (_not_images(), _pngs(), _jpegs(), _webps(), _tiffs(), hostile_dicoms()):
        for name, content, mentions in group:
            path = folder / name
            path.write_bytes(content)
            corpus.append(HostileFile(path, mentions))
    return [*corpus, *_not_files(folder)]


def picture(mode: str = "RGB") -> Image.Image:
    """A picture that compresses to more than a header."""
    noise = np.random.default_rng(0).integers(0, 256, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
    return Image.fromarray(noise).convert(mode)


def saved(image: Image.Image, file_format: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of(width_px: int, height_px: int, rows: bytes, *extra: bytes) -> bytes:
    """A grey 8-bit PNG with any claim about its size."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width_px, height_px, 8, 0, 0, 0, 0))
    body = png_chunk(b"IDAT", zlib.compress(rows, 9)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + body


def tiff_of(*entries: tuple[int, int, int, int], tail: bytes = b"", next_page: int = 0) -> bytes:
    """A little-endian TIFF from (tag, type, count, value or offset); the tail begins at the end of the directory."""
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return b"II*\0\x08\0\0\0" + directory + struct.pack("<I", next_page) + tail


def grey_tiff(width_px: int, height_px: int, *extra: tuple[int, int, int, int], tail: bytes) -> bytes:
    """An uncompressed one-strip grey TIFF; `extra` entries are added or replace the usual ones."""
    usual = {256: (256, 4, 1, width_px), 257: (257, 4, 1, height_px), 258: (258, 3, 1, 8), 259: (259, 3, 1, 1),
             262: (262, 3, 1, 1), 273: (273, 4, 1, 0), 277: (277, 3, 1, 1), 278: (278, 4, 1, height_px),
             279: (279, 4, 1, len(tail))}
    usual |= {entry[0]: entry for entry in extra}
    usual[273] = (273, 4, 1, 8 + 2 + 12 * len(usual) + 4)
    return tiff_of(*usual.values(), tail=tail)


def _not_images() -> Iterator[tuple[str, bytes, str]]:
    yield "empty.png", b"", "empty"
    yield "drawing.svg", b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>', "SVG"
    yield "svg_as.png", b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', r"SVG.*\.png"
    yield "svg16.png", '<svg xmlns="http://www.w3.org/2000/svg"/>'.encode("utf-16"), "SVG"
    yield "page.jpg", b"<!DOCTYPE html><html><body>404</body></html>", r"web page.*\.jpg"
    yield "scan.pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj", "PDF"
    yield "zip_as.png", b"PK\x03\x04\x14\0\0\0\x08\0" + bytes(64), r"ZIP.*\.png"
    yield "gzip_as.dcm", b"\x1f\x8b\x08\0" + bytes(64), "gzip"
    frames = [picture("P"), Image.new("P", (SIDE_PX, SIDE_PX))]
    yield "animated.gif", saved(frames[0], "GIF", save_all=True, append_images=frames[1:]), "GIF"
    yield "still.gif", saved(frames[0], "GIF"), "GIF"
    yield "picture.bmp", saved(picture(), "BMP"), "BMP"
    yield "photo.heic", b"\0\0\0\x18ftypheic" + bytes(64), "HEIC"
    yield "movie.mp4", b"\0\0\0\x18ftypisom" + bytes(64), "video"
    yield "picture.jxl", b"\xff\x0a" + bytes(64), "JPEG XL"
    yield "picture.jp2", saved(picture(), "JPEG2000"), "JPEG 2000"
    yield "picture.psd", b"8BPS\0\x01" + bytes(64), "Photoshop"
    yield "pointer.png", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"
    yield "notes.txt", b"not an image at all\n", "text"
    yield "noise.png", np.random.default_rng(1).bytes(4096), r"no image format.*\.png"
    yield "zeros.tif", bytes(4096), "no image format"
    yield "one_byte.jpg", b"\xff", "no image format"
    yield "no_letters.dcm", bytes(200), "DICM"
    yield "sound.webp", b"RIFF\x24\0\0\0WAVEfmt " + bytes(64), "sound"


def _pngs() -> Iterator[tuple[str, bytes, str]]:
    good = saved(picture(), "PNG")
    yield "signature_only.png", good[:8], "export"
    yield "cut_in_half.png", good[: len(good) // 2], "cut short"
    yield "no_end.png", good[:-12], "cut short"
    middle = len(good) // 2
    yield "flipped_byte.png", good[:middle] + bytes([good[middle] ^ 0xFF]) + good[middle + 1:], "damaged"
    yield "bad_header_sum.png", good[:29] + b"\0\0\0\0" + good[33:], "damaged"
    yield "zero_width.png", png_of(0, 64, b""), "no pixels"
    yield "zero_height.png", png_of(64, 0, b""), "no pixels"
    yield "tiny.png", saved(Image.new("L", (15, 400)), "PNG"), "15 x 400"
    yield "strip.png", saved(Image.new("L", (3300, 16)), "PNG"), "strip of 3300 x 16 px"
    yield "thin.png", saved(Image.new("L", (1, 60_000)), "PNG"), "1 x 60000 px"
    yield "surplus_header.png", good[:33] + png_chunk(b"PLTE", bytes(771)) + good[33:], "damaged"
    yield "long.png", saved(Image.new("L", (16_385, 16)), "PNG"), "16384"
    yield "many_pixels.png", saved(Image.new("1", (9000, 9000)), "PNG"), "64 megapixels"
    yield "huge_claim.png", png_of(2**31 - 1, 2**31 - 1, b"\0" * 100), "16384"
    yield "bomb.png", png_of(16_000, 16_000, bytes(16_000 * 1_000)), "megapixels"
    yield "too_few_rows.png", png_of(64, 64, bytes(65 * 10)), "cut short"
    yield "wrong_stream.png", good[:41] + bytes(len(good) - 57) + good[-16:], "damaged"
    yield "no_data.png", b"\x89PNG\r\n\x1a\n" + good[8:33] + png_chunk(b"IEND", b""), "damaged"
    yield "wrong_depth.png", good[:24] + b"\x07" + good[25:29] + struct.pack(">I", zlib.crc32(good[12:24] + b"\x07"
                                                                            + good[25:29])) + good[33:], "damaged"
    yield "endless_chunk.png", good[:33] + b"\x7f\xff\xff\xffIDAT" + good[41:], "cut short"
    yield "many_chunks.png", good[:33] + png_chunk(b"teXt", b"") * 100_001 + good[33:], "damaged"
    frames = [picture(), Image.new("RGB", (SIDE_PX, SIDE_PX))]
    yield "animated.png", saved(frames[0], "PNG", save_all=True, append_images=frames[1:]), "animated"


def _jpegs() -> Iterator[tuple[str, bytes, str]]:
    good = saved(picture(), "JPEG")
    yield "cut_in_half.jpg", good[: len(good) // 2], "cut short"
    yield "header_only.jpg", good[:200], "cut short"
    yield "start_only.jpg", b"\xff\xd8\xff", "cut short"
    frame = good.index(b"\xff\xc0")
    yield "huge_claim.jpg", good[:frame + 5] + b"\xff\xff\xff\xff" + good[frame + 9:], "16384"
    yield "zero_height.jpg", good[:frame + 5] + b"\0\0" + good[frame + 7:], "no pixels"
    yield "lossless.jpg", good[:frame] + b"\xff\xc3" + good[frame + 2:], "lossless"
    yield "deep.jpg", good[:frame + 4] + b"\x0c" + good[frame + 5:], "8 bits"
    progressive = saved(picture(), "JPEG", progressive=True)
    scan = progressive[progressive.rindex(b"\xff\xda"):-2]
    yield "many_segments.jpg", good[:2] + b"\xff\xfe\0\x02" * 10_001 + good[2:], "segments"
    yield "empty_segment.jpg", good[:2] + b"\xff\xfe\0\x01" + good[2:], "damaged"
    yield "many_tables.jpg", good[:2] + b"\xff\xdb\xff\xff" + bytes(65_533) + good[2:], "damaged"
    yield "many_scans.jpg", progressive[:-2] + scan * 200 + b"\xff\xd9", "scans"
    yield "no_tables.jpg", good[:2] + good[frame:], "damaged"
    yield "tiny.jpg", saved(Image.new("L", (8, 8)), "JPEG"), "8 x 8"


def _webps() -> Iterator[tuple[str, bytes, str]]:
    good = saved(picture(), "WEBP", lossless=True)
    frames = [picture(), Image.new("RGB", (SIDE_PX, SIDE_PX))]
    yield "animated.webp", saved(frames[0], "WEBP", save_all=True, append_images=frames[1:]), "animated"
    yield "cut_in_half.webp", good[: len(good) // 2], "cut short"
    chunks = b"WEBP" + b"junk\0\0\0\0" * 1001 + good[12:]
    yield "many_chunks.webp", b"RIFF" + struct.pack("<I", len(chunks)) + chunks, "chunks"
    yield "header_only.webp", b"RIFF\x04\0\0\0WEBP", "no pixels"
    canvas = b"VP8X\x0a\0\0\0" + bytes(4) + b"\xff\xff\xff" + b"\xff\xff\0"
    body = b"WEBP" + canvas + good[12:]
    yield "huge_canvas.webp", b"RIFF" + struct.pack("<I", len(body)) + body, "16384"
    yield "broken_stream.webp", good[:40] + bytes(len(good) - 40), "damaged"


def _tiffs() -> Iterator[tuple[str, bytes, str]]:
    good = saved(picture(), "TIFF")
    pixels = bytes(SIDE_PX * SIDE_PX)
    yield "several_pages.tif", saved(picture(), "TIFF", save_all=True, append_images=[picture()]), "several pages"
    yield "endless_pages.tif", tiff_of((256, 4, 1, 64), (257, 4, 1, 64), next_page=8), "several pages"
    yield "cut_in_half.tif", good[: len(good) // 2], "export"
    yield "cut_deflate.tif", saved(picture(), "TIFF", compression="tiff_deflate")[:-600], "export"
    yield "header_only.tif", b"II*\0\x08\0\0\0", "damaged"
    yield "directory_outside.tif", b"MM\0*\xff\xff\xff\xf0" + bytes(100), "damaged"
    yield "big_directory_outside.tif", b"II+\0\x08\0\0\0" + b"\xff" * 8 + bytes(100), "damaged"
    yield "no_size.tif", tiff_of((258, 3, 1, 8), tail=pixels), "no pixels"
    yield "huge_claim.tif", grey_tiff(2**31, 2**31, tail=pixels), "16384"
    yield "many_pixels.tif", grey_tiff(10_000, 10_000, tail=pixels), "megapixels"
    yield "too_few_pixels.tif", grey_tiff(SIDE_PX, SIDE_PX, tail=pixels[:100]), "cut short"
    tiles = ((322, 4, 1, 2**30), (323, 4, 1, 2**30), (324, 4, 1, 8), (325, 4, 1, 8))
    yield "huge_tiles.tif", grey_tiff(SIDE_PX, SIDE_PX, *tiles, (259, 3, 1, 8), tail=pixels), "tiles"
    yield "many_entries.tif", tiff_of(*[(700, 4, 1, 8)] * 5000, tail=pixels), "absurdly"
    yield "long_list.tif", grey_tiff(SIDE_PX, SIDE_PX, (338, 3, 2000, 8), tail=pixels), "absurdly"
    yield "many_strips.tif", grey_tiff(SIDE_PX, SIDE_PX, (279, 1, 4500, 8), tail=pixels * 2), "absurdly"
    yield "missing_strips.tif", grey_tiff(SIDE_PX, 640, (278, 4, 1, SIDE_PX), tail=pixels), "missing"
    yield "huge_tables.tif", grey_tiff(SIDE_PX, SIDE_PX, (347, 7, 2**32 - 1, 8), tail=pixels), "directory"
    yield "rare_samples.tif", grey_tiff(SIDE_PX, SIDE_PX, (277, 3, 1, 9), tail=pixels * 9), "rare"
    yield "rare_compression.tif", grey_tiff(SIDE_PX, SIDE_PX, (259, 3, 1, 34887), tail=pixels), "rare"
    values = np.ones((SIDE_PX, SIDE_PX), dtype=np.float32)
    values[3, 3] = np.nan
    yield "not_a_number.tif", saved(Image.fromarray(values), "TIFF"), "NaN"
    values[3, 3] = np.inf
    yield "infinite.tif", saved(Image.fromarray(values), "TIFF"), "infinite"


def _not_files(folder: Path) -> Iterator[HostileFile]:
    (folder / "a_folder.png").mkdir()
    os.mkfifo(folder / "a_pipe.png")
    (folder / "to_nothing.png").symlink_to(folder / "nothing.png")
    (folder / "to_itself.png").symlink_to(folder / "to_itself.png")
    yield HostileFile(folder / "a_folder.png", "folder")
    yield HostileFile(folder / "a_pipe.png", "pipe")
    yield HostileFile(folder / "to_nothing.png", "no such file")
    yield HostileFile(folder / "to_itself.png", "path")
    yield HostileFile(folder / "missing.png", "no such file")
    yield HostileFile(folder / "nul\0byte.png", "path")
    yield HostileFile(folder / ("n" * 300 + ".png"), "path")
    yield HostileFile(Path("/dev/zero"), "device")
