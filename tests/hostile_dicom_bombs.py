"""DICOM files of every transfer syntax that would fill the memory or the time of a careless reader."""

import struct
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
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
)
from tests.hostile_bombs import FILL_BYTES, INFLATED_MIB, LARGE_BYTES, Bomb, zeros
from tests.hostile_corpus import picture, saved
from tests.hostile_dicom import end_of_meta

SIDE_PX = 64
DEEP = np.random.default_rng(4).integers(0, 4096, (SIDE_PX, SIDE_PX), dtype=np.uint16)
GREY = DEEP.astype(np.uint8)
ITEM, END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"
UNDEFINED = b"\xff\xff\xff\xff"
Maker = Callable[[], bytes]


def dicom_bombs() -> Iterator[Bomb]:
    """Every transfer syntax with surplus data; headers that are deep, long or of millions of elements."""
    for group, bombs in (("DICOM native", _natives()), ("DICOM deflated", _deflated()), ("DICOM header", _headers()),
                         ("DICOM of 4 MP", _mid_sized()),
                         ("DICOM RLE", _rles()), ("DICOM JPEG", _jpegs()), ("DICOM JPEG 2000", _jpeg2000s())):
        for name, make, twin in bombs:
            yield Bomb(group, name, make, twin)


def _natives() -> Iterator[tuple[str, Maker, bytes]]:
    for syntax in (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian):
        twin = dicom(DEEP, syntax)
        raw = dicom_dataset(DEEP)
        yield f"surplus, {syntax.name}", lambda raw=raw, syntax=syntax: dicom_bytes(
            raw, DEEP.tobytes() + bytes(FILL_BYTES), syntax), twin
    twin = dicom(DEEP)
    for fill in (FILL_BYTES, LARGE_BYTES):
        yield f"trailing data, {fill >> 20} MiB", lambda fill=fill: twin + bytes(fill), twin
    colour = np.stack([GREY] * 3, axis=-1)
    yield "surplus, colour", lambda: dicom_bytes(
        dicom_dataset(colour), colour.tobytes() + bytes(FILL_BYTES)), dicom(colour)


def _deflated() -> Iterator[tuple[str, Maker, bytes]]:
    twin = dicom(DEEP, DeflatedExplicitVRLittleEndian)
    meta, start = twin[:end_of_meta(twin)], dicom(DEEP)[end_of_meta(dicom(DEEP)):]
    length = struct.pack("<I", DEEP.nbytes)
    pixels = start.rindex(b"\xe0\x7f\x10\x00OW\0\0" + length) + 8
    more = start[:pixels] + struct.pack("<I", INFLATED_MIB << 20) + start[pixels + 4:]
    private = struct.pack("<HH2sHI", 0x0009, 0x0010, b"OB", 0, INFLATED_MIB << 20)
    yield "surplus in the pixels", lambda: meta + zeros(INFLATED_MIB, start=more), twin
    yield "surplus behind the pixels", lambda: meta + zeros(INFLATED_MIB, start=start), twin
    yield "surplus before the pixels", lambda: meta + zeros(INFLATED_MIB, start=private), twin
    yield "surplus beyond the end", lambda: meta + deflate(start) + bytes(FILL_BYTES), twin


def _mid_sized() -> Iterator[tuple[str, Maker, bytes]]:
    deep = np.zeros((2000, 2000), np.uint16)
    grey = deep.astype(np.uint8)
    base = saved(Image.fromarray(grey), "JPEG")
    for fill in (7 << 20, FILL_BYTES, LARGE_BYTES):
        name = f"surplus of {fill >> 20} MiB, 4 MP"
        yield f"{name}, native", lambda fill=fill: dicom_bytes(
            dicom_dataset(deep), deep.tobytes() + bytes(fill)), dicom(deep)
        yield f"{name}, JPEG", lambda fill=fill: dicom_frame(
            grey, base[:-2] + b"\x55" * fill + base[-2:], JPEGBaseline8Bit), dicom_frame(grey, base, JPEGBaseline8Bit)
        packed = dicom_jpeg2000(deep)
        frame = packed[packed.index(b"\xff\x4f\xff\x51"):packed.rindex(b"\xff\xd9") + 2]
        yield f"{name}, JPEG 2000", lambda fill=fill, frame=frame: dicom_frame(
            deep, frame[:-2] + bytes(fill) + frame[-2:], JPEG2000Lossless), packed


def _headers() -> Iterator[tuple[str, Maker, bytes]]:
    twin = dicom(DEEP)
    start = twin.index(b"\x08\x00\x16\x00")
    head, tail = twin[:start], twin[start:]
    sequence = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF)
    lut = struct.pack("<HH2sHI", 0x0028, 0x3010, b"SQ", 0, 0xFFFFFFFF)
    element = struct.pack("<HH2sH", 0x0009, 0x0011, b"LO", 0)
    private = struct.pack("<HH2sH", 0x0009, 0x0010, b"OB", 0)
    item = ITEM + UNDEFINED
    many = FILL_BYTES // 8
    yield "nested sequences", lambda: head + (sequence + item) * 200_000 + tail, twin
    yield "nested tables", lambda: head + (lut + item) * 200_000 + tail, twin
    yield "millions of elements", lambda: head + element * many + tail, twin
    yield "millions of elements in a sequence", lambda: head + sequence + item + element * many + tail, twin
    crowd = b"".join(struct.pack("<HH2sH", 0x0009, tag, b"LO", 0) for tag in range(0x11, 0xFFFF))
    yield "thousands of different elements", lambda: head + sequence + (item + crowd) * 40 + tail, twin
    yield "millions of items", lambda: head + sequence + (ITEM + bytes(4)) * many + tail, twin
    yield "a long value", lambda: head + private + struct.pack("<I", FILL_BYTES) + bytes(FILL_BYTES) + tail, twin
    yield "a longer value", lambda: head + private + struct.pack("<I", LARGE_BYTES) + bytes(LARGE_BYTES) + tail, twin
    yield "a long value without length", lambda: head + private + UNDEFINED + bytes(FILL_BYTES) + END + tail, twin
    yield "a value of many fragments", lambda: head + private + UNDEFINED + (ITEM + bytes(4)) * many + END + tail, twin
    place = twin.rindex(b"\xe0\x7f\x10\x00OW")
    for tag, vr in ((0x00281050, b"DS"), (0x00281053, b"DS"), (0x00080005, b"CS")):
        group, number = divmod(tag, 1 << 16)
        long = struct.pack("<HH2sH", group, number, vr, 65_534) + b"1\\" * 32_767
        at = start if group == 8 else place
        yield f"a list of {number:04x}", lambda long=long, at=at: twin[:at] + long + twin[at:], twin


def _encapsulated(pixels: np.ndarray, syntax: UID, *fragments: bytes) -> bytes:
    items = b"".join(ITEM + struct.pack("<I", len(part)) + part for part in (b"", *fragments))
    return dicom_bytes(dicom_dataset(pixels), items + END, syntax)


def _rles() -> Iterator[tuple[str, Maker, bytes]]:
    def rle(*segments: bytes) -> bytes:
        offsets = [64]
        for segment in segments[:-1]:
            offsets.append(offsets[-1] + len(segment))
        return struct.pack("<16I", len(segments), *offsets, *[0] * (15 - len(segments))) + b"".join(segments)

    twin, runs = dicom_rle(DEEP), b"\x81\x07" * (SIDE_PX**2 // 128)
    yield "surplus runs", lambda: _encapsulated(DEEP, RLELossless, rle(runs + b"\x81\0" * 30_000, runs)), twin
    yield "runs of nothing", lambda: dicom_frame(DEEP, rle(b"\x80" * FILL_BYTES + runs, runs), RLELossless), twin
    long = runs + b"\x81\0" * (FILL_BYTES // 2)
    yield "surplus of the size", lambda: dicom_frame(DEEP, rle(runs, long), RLELossless), twin
    yield "millions of fragments", lambda: _encapsulated(DEEP, RLELossless, *[b""] * (FILL_BYTES // 8)), twin
    yield "a long table of offsets", lambda: dicom_bytes(
        dicom_dataset(DEEP), ITEM + struct.pack("<I", FILL_BYTES) + bytes(FILL_BYTES) + END, RLELossless), twin
    yield "trailing fragments", lambda: _encapsulated(DEEP, RLELossless, rle(runs, runs), bytes(FILL_BYTES)), twin
    large = np.zeros((3000, 3000), np.uint16)
    nothing = b"\x80" * (10 << 20) + b"\x81\0" * (3000 * 3000 // 128 + 1)
    yield "runs of nothing, 9 MP", lambda: dicom_frame(large, rle(nothing, nothing), RLELossless), dicom_frame(
        large, rle(*[b"\x81\0" * (3000 * 3000 // 128 + 1)] * 2), RLELossless)


def _jpegs() -> Iterator[tuple[str, Maker, bytes]]:
    lossless, base = jpeg_lossless(DEEP), saved(picture("L"), "JPEG")
    ways = ((JPEGBaseline8Bit, GREY, base), (JPEGExtended12Bit, GREY, base), (JPEGLossless, DEEP, lossless),
            (JPEGLosslessSV1, DEEP, lossless))
    second = saved(picture("L").resize((8000, 8000)), "JPEG")
    for syntax, pixels, frame in ways:
        twin, name = dicom_frame(pixels, frame, syntax), syntax.name.partition("(")[0].strip()[-30:]

        def wrapped(frame: bytes, pixels: np.ndarray = pixels, syntax: UID = syntax) -> bytes:
            return _encapsulated(pixels, syntax, frame + bytes(len(frame) % 2))

        yield f"surplus in the scan, {name}", lambda w=wrapped, f=frame: w(f[:-2] + b"\x55" * FILL_BYTES + f[-2:]), twin
        yield f"small surplus, {name}", lambda w=wrapped, f=frame: w(f[:-2] + b"\x55" * 30_000 + f[-2:]), twin
        yield f"trailing data, {name}", lambda w=wrapped, f=frame: w(f + bytes(FILL_BYTES)), twin
        yield f"trailing fragments, {name}", lambda f=frame, p=pixels, s=syntax: _encapsulated(
            p, s, f + bytes(len(f) % 2), *[bytes(1 << 20)] * (FILL_BYTES >> 20)), twin
        yield f"empty segments, {name}", lambda w=wrapped, f=frame: w(f[:2] + b"\xff\xfe\0\x02" * 16_000 + f[2:]), twin
        box = b"\xff\xeb" + struct.pack(">H", 60_000) + b"JP\0\x01\0\0\0\x01" + b"\0\0\xea\x00RESI" + second[:59_974]
        boxed = frame[:2] + box[:60_002] + frame[2:]
        yield f"a second picture in a box, {name}", lambda w=wrapped, f=boxed: w(f), twin
        hierarchy = struct.pack(">HHBHHB", 0xFFDE, 11, 8, 16_000, 16_000, 1) + b"\x01\x11\0"
        yield f"a larger hierarchy, {name}", lambda w=wrapped, f=frame, h=hierarchy: w(f[:2] + h + f[2:]), twin
    yield "surplus, JPEG-LS", lambda: dicom_frame(DEEP, b"\xff\xd8" + bytes(FILL_BYTES), JPEGLSLossless), dicom(DEEP)


def _jpeg2000s() -> Iterator[tuple[str, Maker, bytes]]:
    for syntax in (JPEG2000Lossless, JPEG2000):
        twin = dicom_jpeg2000(DEEP, syntax)
        start, end = twin.index(b"\xff\x4f\xff\x51"), twin.rindex(b"\xff\xd9") + 2
        frame = twin[start:end]

        def wrapped(frame: bytes, syntax: UID = syntax, pixels: np.ndarray = DEEP) -> bytes:
            return _encapsulated(pixels, syntax, frame + bytes(len(frame) % 2))

        name = syntax.name[-14:]
        yield f"surplus in the stream, {name}", lambda w=wrapped, f=frame: w(f[:-2] + bytes(FILL_BYTES) + f[-2:]), twin
        yield f"small surplus, {name}", lambda w=wrapped, f=frame: w(f[:-2] + bytes(60_000) + f[-2:]), twin
        yield f"trailing data, {name}", lambda w=wrapped, f=frame: w(f + bytes(FILL_BYTES)), twin
        tile_at = 4 + 2 + 2 + 2 + 16
        tiles = frame[:tile_at - 2] + struct.pack(">II", 1, 1) + frame[tile_at + 6:]
        yield f"tiles of 1 px, {name}", lambda w=wrapped, f=tiles: w(f), twin
        coding = frame.index(b"\xff\x52")
        layers = frame[:coding + 6] + b"\xff\xff" + frame[coding + 8:]
        yield f"thousands of layers, {name}", lambda w=wrapped, f=layers: w(f), twin
        few = frame[:coding + 6] + b"\x01\0" + frame[coding + 8:]
        yield f"hundreds of layers, {name}", lambda w=wrapped, f=few: w(f), twin
        comments = frame[:coding] + b"\xff\x64\0\x04\0\x01" * 12_000 + frame[coding:]
        yield f"thousands of comments, {name}", lambda w=wrapped, f=comments: w(f), twin
