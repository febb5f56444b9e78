"""DICOM files that must be refused: each tries to mislead, exhaust or crash the reader in its own way."""

import struct
from collections.abc import Iterator

import numpy as np
from pydicom.uid import (
    MPEG4HP41,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from tests.dicom_samples import (
    deflate,
    dicom,
    dicom_bytes,
    dicom_dataset,
    dicom_frame,
    dicom_jpeg2000,
    dicom_rle,
    jpeg_lossless,
    named,
)

GREY = np.random.default_rng(2).integers(0, 4096, (40, 48), dtype=np.uint16)
COLOUR = np.random.default_rng(3).integers(0, 256, (40, 48, 3), dtype=np.uint8)
JPEG_XL = b"1.2.840.10008.1.2.4.110"
_SMALL_TAGS = 200_000


def hostile_dicoms() -> Iterator[tuple[str, bytes, str]]:
    """(file name, content, a pattern that the error must hold)."""
    yield from _wrong_headers()
    yield from _wrong_files()
    yield from _wrong_frames()


def _wrong_headers() -> Iterator[tuple[str, bytes, str]]:
    yield "frames.dcm", dicom(np.vstack([GREY, GREY]), Rows=40, NumberOfFrames="2"), "several frames"
    yield "frames_in_words.dcm", dicom(GREY, NumberOfFrames="1") .replace(b"IS\x02\x001 ", b"IS\x02\x00xy"), "NumberOfF"
    yield "absurd_size.dcm", dicom(GREY, Rows=65535, Columns=65535), "16384"
    yield "many_pixels.dcm", dicom(GREY, Rows=16000, Columns=16000), "megapixels"
    yield "zero_rows.dcm", dicom(GREY, Rows=0), "no pixels"
    yield "tiny.dcm", dicom(GREY[:8, :8]), "8 x 8"
    yield "no_rows.dcm", dicom(GREY, Rows=None), "Rows"
    yield "no_photometric.dcm", dicom(GREY, PhotometricInterpretation=None), "PhotometricInterpretation"
    yield "secret_photometric.dcm", dicom(GREY, PhotometricInterpretation="WOLKENSTEIN"), "colour model"
    yield "palette.dcm", dicom(GREY.astype(np.uint8), PhotometricInterpretation="PALETTE COLOR"), "colour model"
    yield "three_bits.dcm", dicom(GREY, BitsAllocated=3, BitsStored=3), "depth"
    yield "no_bits.dcm", dicom(GREY, BitsStored=0, HighBit=0), "depth"
    yield "deep.dcm", dicom(GREY.astype(np.uint32)), "depth"
    yield "two_heights.dcm", dicom(GREY, Rows=[40, 40]), "Rows"
    yield "more_stored_than_allocated.dcm", dicom(GREY, BitsStored=17), "depth"
    yield "too_short.dcm", dicom(GREY, Rows=400), "too early"


def _wrong_files() -> Iterator[tuple[str, bytes, str]]:
    good = dicom(GREY)
    yield "preamble_only.dcm", bytes(128) + b"DICM", "transfer syntax"
    yield "cut_header.dcm", good[:400], "cut short"
    yield "cut_pixels.dcm", good[:-1000], "too early"
    dataset = dicom_dataset(GREY)
    file = dicom_bytes(dataset, b"")
    yield "no_pixel_data.dcm", file[: file.rindex(b"\xe0\x7f\x10\x00")], "no complete image"
    yield "empty_pixel_data.dcm", file, "export"
    floats = dicom_dataset(GREY)
    floats.FloatPixelData = GREY.astype("<f4").tobytes()
    yield "float_pixels.dcm", dicom_bytes(floats, b""), "measured values"
    video, jpeg_ls = (dicom_frame(GREY, b"\xff\xd8" + bytes(50), syntax) for syntax in (MPEG4HP41, JPEGLSLossless))
    yield "mpeg.dcm", video, "compressed in a way"
    yield "jpeg_ls.dcm", jpeg_ls, "damaged"
    yield "jpeg_xl.dcm", video.replace(MPEG4HP41.encode(), JPEG_XL), "compressed in a way"
    yield "made_up.dcm", jpeg_ls.replace(JPEGLSLossless.encode(), b"1.2.840.10008.1.2.4.99"), "compressed in a way"
    start = good.index(b"\x08\x00\x16\x00")
    deflated = dicom(GREY, DeflatedExplicitVRLittleEndian)
    deflated_start = end_of_meta(deflated)
    bomb = struct.pack("<HH2sHI", 0x0009, 0x0010, b"OB", 0, 300 * 2**20) + bytes(300 * 2**20)
    yield "deflate_bomb.dcm", deflated[:deflated_start] + deflate(bomb), "absurdly large"
    yield "cut_deflate.dcm", deflated[:deflated_start] + deflate(good[start:])[:-500], "cut short"
    yield "not_deflated.dcm", deflated[:deflated_start] + good[start:], "damaged"
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    nested = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF)
    yield "deep_sequences.dcm", good[:start] + (nested + item) * 5000 + good[start:], "damaged"
    crowd = b"".join(struct.pack("<HH2sH", 0x0009, tag & 0xFFFF, b"LO", 0) for tag in range(_SMALL_TAGS))
    yield "crowded_sequence.dcm", good[:start] + nested + (item + crowd) * 3 + good[start:], "absurdly large"
    implicit = dicom(GREY, ImplicitVRLittleEndian)
    window = struct.pack("<HHI", 0x0028, 0x1050, 2_000_000) + b"1\\" * 1_000_000
    pixels_at = implicit.rindex(b"\xe0\x7f\x10\x00")
    yield "million_windows.dcm", implicit[:pixels_at] + window + implicit[pixels_at:], "absurdly large"


def end_of_meta(file: bytes) -> int:
    """Where the data set begins: behind the file meta group, whose length is its first element."""
    return 144 + struct.unpack_from("<I", file, 140)[0]


def _wrong_frames() -> Iterator[tuple[str, bytes, str]]:
    lossless = jpeg_lossless(GREY)
    compressed = dicom_frame(GREY, lossless, JPEGLosslessSV1)
    yield "compressed_as_native.dcm", named(compressed, ExplicitVRLittleEndian), "but they are;"
    native = GREY.tobytes()
    for name, pixel_data in (("short", native[:-2]), ("long", native + bytes(2)), ("bare_frame", lossless + b"\0")):
        file = dicom_bytes(dicom_dataset(GREY), pixel_data[:len(pixel_data) // 2 * 2])
        yield f"{name}_called_jpeg.dcm", named(file, JPEGLosslessSV1), "they are not"
    yield "other_syntax.dcm", dicom_frame(GREY, lossless, JPEGBaseline8Bit), "contradict"
    yield "no_jpeg.dcm", dicom_frame(GREY, bytes(500), JPEGLosslessSV1), "damaged"
    yield "cut_jpeg.dcm", dicom_frame(GREY, lossless[:-300], JPEGLosslessSV1), "damaged"
    frame = lossless.index(b"\xff\xc3")
    larger = lossless[:frame + 5] + b"\xff\xff\xff\xff" + lossless[frame + 9:]
    yield "jpeg_bomb.dcm", dicom_frame(GREY, larger, JPEGLosslessSV1), "contradict"
    jpeg2000 = dicom_jpeg2000(GREY)
    size = jpeg2000.index(b"\xff\x4f\xff\x51") + 8
    huge = b"\x7f\xff\xff\xff"
    yield "jpeg2000_bomb.dcm", jpeg2000[:size] + huge + huge + jpeg2000[size + 8:], "contradict"
    yield "jpeg2000_tiles.dcm", jpeg2000[:size + 16] + b"\0\0\0\0" * 2 + jpeg2000[size + 24:], "damaged"
    end = jpeg2000.rindex(b"\xff\xd9")
    yield "cut_jpeg2000.dcm", jpeg2000[: end - 100] + bytes(102) + jpeg2000[end + 2:], "damaged"
    rle = dicom_rle(GREY)
    header = rle.rindex(b"\xe0\x7f\x10\x00") + 12 + 8 + 4 + 8  # the offset table holds one offset
    yield "rle_segments.dcm", rle[:header] + b"\x0f" + rle[header + 1:], "contradict"
    yield "rle_offsets.dcm", rle[:header + 4] + b"\xff\xff\xff\xff" + rle[header + 8:], "damaged"
    short = struct.pack("<16I", 2, 64, 66, *[0] * 13) + b"\x81\0" * 2
    yield "rle_short.dcm", dicom_frame(GREY, short, RLELossless), "damaged"
    fragments = b"\xfe\xff\x00\xe0\0\0\0\0" * 100_001
    yield "many_fragments.dcm", dicom_bytes(dicom_dataset(GREY), fragments, RLELossless), "absurdly large"
    yield "no_fragments.dcm", dicom_bytes(dicom_dataset(GREY), b"\xfe\xff\x00\xe0\0\0\0\0", RLELossless), "damaged"
    yield "colour_as_16_bits.dcm", dicom(COLOUR.astype(np.uint16), ExplicitVRLittleEndian), "depth"
