"""One DICOM image to upright 8-bit RGB, with pydicom's own decoders.

Grey: word -> stored value -> modality LUT or rescale -> first VOI LUT, else first window, else the scale of the depth
-> MONOCHROME1 inverted -> padding black. All of it acts on a table of the words, not on the pixels.
Pixels stay as stored: nothing is resampled where the pixel spacing is not square (positions are fractions of the image,
so only its appearance is stretched), and no patient orientation is applied.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filereader import read_dataset
from pydicom.pixels import get_decoder
from pydicom.tag import Tag
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
    JPEGLSNearLossless,
    RLELossless,
)

from gazevlm_core.images.base import ImageError, check_size
from gazevlm_core.images.codestream import (
    FrameShape,
    check_jpeg,
    check_jpeg2000,
    check_jpeg_ls,
    expand_rle,
    read_frame,
)
from gazevlm_core.images.dicom_display import read_display, single_number, single_text
from gazevlm_core.images.dicom_tone import stored_values, words_to_grey
from gazevlm_core.images.file_types import DICOM_MAGIC, DICOM_MAGIC_OFFSET

_REQUIRED = (
    "SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated", "BitsStored",
    "PixelRepresentation",
)
# Only these are read; everything about the patient is skipped over.
_READ = (
    *_REQUIRED, "PlanarConfiguration", "NumberOfFrames", "HighBit", "PixelPaddingValue", "PixelPaddingRangeLimit",
    "RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "VOILUTFunction", "ModalityLUTSequence",
    "VOILUTSequence", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "PixelData",
)
_OVERLAY_POSITIONS = [Tag(0x6000 + 2 * plane, 0x0102) for plane in range(16)]
_TRANSFER_SYNTAX, _CHARACTER_SET, _PIXEL_DATA = 0x00020010, 0x00080005, 0x7FE00010
_FLOAT_PIXELS = (0x7FE00008, 0x7FE00009)
_TABLES = (0x00283000, 0x00283010)  # modality and VOI look-up tables
_GROUPS = (0x52009229, 0x52009230)  # functional groups
_TAGS_READ = [*map(Tag, _READ), *_OVERLAY_POSITIONS]
_SMALL = frozenset({_CHARACTER_SET, *_TAGS_READ}) - {_PIXEL_DATA}
_NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
_JPEG_PROCESSES = {
    JPEGBaseline8Bit: frozenset({0xC0}),
    JPEGExtended12Bit: frozenset({0xC0, 0xC1}),
    JPEGLossless: frozenset({0xC3}),
    JPEGLosslessSV1: frozenset({0xC3}),
}
_JPEG2000 = (JPEG2000Lossless, JPEG2000)
_JPEG_LS = (JPEGLSLossless, JPEGLSNearLossless)
# (samples per pixel, photometric interpretation)
_KINDS = (
    (1, "MONOCHROME1"), (1, "MONOCHROME2"),
    (3, "RGB"), (3, "YBR_FULL"), (3, "YBR_FULL_422"), (3, "YBR_ICT"), (3, "YBR_RCT"),
)
# An image's header has hundreds of elements; each costs about three reads, and up to a kilobyte once parsed.
_MAX_READS, _MAX_BYTES_READ = 60_000, 8 << 20
_MAX_VALUE_BYTES, _MAX_GROUP_BYTES, _MAX_SEQUENCE_BYTES = 4096, 1 << 16, 1 << 20
_INFLATE_STEP = 1 << 16
_MAX_INFLATED_HEADER_BYTES = 4 << 20  # of a deflated data set, up to its pixels
_SAVE_AS_PNG = "open it in a DICOM viewer and save the image as PNG"
_ABSURD_HEADER = f"The header of this DICOM file is absurdly large; {_SAVE_AS_PNG}."
_ITEM = b"\xfe\xff\x00\xe0"
_CUT_SHORT = "This DICOM file is cut short: its pixels end too early; copy or export it again."
_COMPRESSED_AS_NATIVE = "This DICOM file says that its pixels are not compressed, but they are; export it again."
_NATIVE_AS_COMPRESSED = (
    "This DICOM file says that its pixels are compressed, but they are not, and are not as many as its rows and "
    "columns; export it again."
)
_CONTRADICTION = "The pixels of this DICOM file contradict its header; export it again uncompressed."
# VR, length and first byte of the pixel data; None where there is none.
_Place = tuple[str | None, int, int] | None
_UNDEFINED_LENGTH = 0xFFFFFFFF


class _BudgetedBytes(BytesIO):
    """A file in memory that refuses absurdly many or large reads, however deeply the elements are nested.

    Its `at_element` is pydicom's hook before each element of the top level.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._reads, self._bytes_read = 0, 0
        self.pixels: _Place = None

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size > _MAX_SEQUENCE_BYTES:
            raise ImageError(_ABSURD_HEADER)
        self._reads, self._bytes_read = self._reads + 1, self._bytes_read + size
        if self._reads > _MAX_READS or self._bytes_read > _MAX_BYTES_READ:
            raise ImageError(_ABSURD_HEADER)
        return super().read(size)

    def at_element(self, tag: int, vr: str | None, length: int) -> bool:
        """Stop before the value of the pixel data; refuse a value that no image needs before it is read."""
        if tag in _FLOAT_PIXELS:
            raise ImageError(f"This DICOM file holds measured values, no picture; {_SAVE_AS_PNG}.")
        allowed = _MAX_SEQUENCE_BYTES if tag in _TABLES else _MAX_GROUP_BYTES if tag in _GROUPS else _MAX_VALUE_BYTES
        if tag in _SMALL and allowed < length != _UNDEFINED_LENGTH:
            raise ImageError(_ABSURD_HEADER)
        if tag == _PIXEL_DATA:
            self.pixels = vr, length, self.tell()
        return tag >= _PIXEL_DATA


def decode_dicom(data: bytes, reserve: Callable[[int], None]) -> Image.Image:
    """Decode a DICOM file with one frame.

    Args:
        data: the file, with preamble.
        reserve: waits until so many pixels may be decoded.

    Returns:
        RGB.

    Raises:
        ImageError: refused with a reason. Other exceptions mean that the file is damaged.
    """
    dataset, place, content = _read(data)
    shape = _check_header(dataset, place)
    reserve(shape.rows * shape.columns)
    source = _check_pixels(dataset.file_meta.TransferSyntaxUID, shape, place, content)
    del data, content  # what is needed of the file has been copied
    pixels = _decode(source, shape)
    if pixels.shape[:2] != (shape.rows, shape.columns):
        raise ImageError(_CONTRADICTION)
    if shape.samples == 3:
        return Image.fromarray(np.ascontiguousarray(pixels, dtype=np.uint8))
    overlaid = any(shape.bits_stored <= (single_number(dataset, tag) or 0) for tag in _OVERLAY_POSITIONS)
    stored = stored_values(pixels, shape, source.stream_bits, source.stream_signed, overlaid)
    display = read_display(dataset, little_endian=dataset.file_meta.TransferSyntaxUID != ExplicitVRBigEndian)
    return Image.fromarray(words_to_grey(pixels, stored, display, shape.photometric == "MONOCHROME1")).convert("RGB")


def dicom_size(data: bytes) -> tuple[int, int]:
    """Return width and height alone, checked, of a file.

    Raises:
        ImageError: refused with a reason. Other exceptions mean that the file is damaged.
    """
    dataset, place, _ = _read(data)
    shape = _check_header(dataset, place)
    return shape.columns, shape.rows


def _read(data: bytes) -> tuple[Dataset, _Place, Callable[[int], bytes]]:
    """Return the wanted elements up to the pixel data, with the transfer syntax in `file_meta`.

    Returns:
        the data set; where its pixel data is; what gives the encoded data set, or so many bytes of it or more.
    """
    stream = _BudgetedBytes(data)
    stream.seek(DICOM_MAGIC_OFFSET + len(DICOM_MAGIC))
    meta = read_dataset(
        stream, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2, specific_tags=[Tag(_TRANSFER_SYNTAX)]
    )
    syntax = meta.get("TransferSyntaxUID")
    if not isinstance(syntax, UID):
        raise ImageError(f"This DICOM file does not say how it is encoded (no transfer syntax); {_SAVE_AS_PNG}.")
    if syntax not in (*_NATIVE, *_JPEG_PROCESSES, *_JPEG2000, *_JPEG_LS, RLELossless):
        raise ImageError(
            f"The pixels of this DICOM file are compressed in a way that is not read; {_SAVE_AS_PNG}, "
            "or export it uncompressed."
        )
    if syntax == DeflatedExplicitVRLittleEndian:
        content = partial(_inflate, memoryview(data)[stream.tell():])
        stream = _BudgetedBytes(content(_MAX_INFLATED_HEADER_BYTES))
    else:
        content = partial(_all_of, data)
    dataset = read_dataset(
        stream,
        syntax.is_implicit_VR,
        syntax.is_little_endian,
        stop_when=stream.at_element,
        specific_tags=[*_TAGS_READ],
    )
    if stream.pixels is None and stream.tell() >= _MAX_INFLATED_HEADER_BYTES and syntax.is_deflated:
        raise ImageError(_ABSURD_HEADER)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset, stream.pixels, content


def _all_of(data: bytes, _: int) -> bytes:
    return data


def _inflate(data: memoryview, wanted_bytes: int) -> bytes:
    """Return the beginning of a deflated data set; what follows it is not read."""
    inflater, parts, missing = zlib.decompressobj(-zlib.MAX_WBITS), [], wanted_bytes
    for start in range(0, len(data), _INFLATE_STEP):
        if missing <= 0 or inflater.eof:
            break
        parts.append(inflater.decompress(data[start:start + _INFLATE_STEP], missing))
        missing -= len(parts[-1])
    return b"".join(parts)


def _check_header(dataset: Dataset, place: _Place) -> FrameShape:
    """Return one frame, of a kind, depth and size that is read."""
    if place is None:
        raise ImageError(
            "This DICOM file holds no complete image (it is a report or an index, or cut short); export the image."
        )
    for keyword in _REQUIRED:
        if not _has_value(dataset, keyword):
            raise ImageError(f"This DICOM file has no {keyword}, so its pixels cannot be read; export it again.")
    if _has_value(dataset, "NumberOfFrames") and _integer(dataset, "NumberOfFrames") > 1:
        raise ImageError("This DICOM file has several frames; export the one frame that matters as a file of its own.")
    bits_allocated, bits_stored = _integer(dataset, "BitsAllocated"), _integer(dataset, "BitsStored")
    high_bit, planar = single_number(dataset, "HighBit"), single_number(dataset, "PlanarConfiguration")
    signed = _integer(dataset, "PixelRepresentation")
    possible = high_bit is not None and bits_stored - 1 <= high_bit < bits_allocated
    shape = FrameShape(
        rows=_integer(dataset, "Rows"),
        columns=_integer(dataset, "Columns"),
        samples=_integer(dataset, "SamplesPerPixel"),
        bits_allocated=bits_allocated,
        bits_stored=bits_stored,
        high_bit=int(high_bit) if high_bit is not None and possible else bits_stored - 1,
        signed=signed == 1,
        photometric=single_text(dataset, "PhotometricInterpretation"),
        planar=1 if planar == 1 else 0,
    )
    check_size(shape.columns, shape.rows)
    if (shape.samples, shape.photometric) not in _KINDS:
        raise ImageError(f"The colour model of this DICOM file is not read; {_SAVE_AS_PNG}.")
    allowed_bits = (8, 16) if shape.samples == 1 else (8,)
    if bits_allocated not in allowed_bits or not 1 <= bits_stored <= bits_allocated:
        raise ImageError(f"The pixel depth of this DICOM file is not read; {_SAVE_AS_PNG}.")
    if signed not in (0, 1):
        raise ImageError(f"This DICOM file does not say whether its pixels are signed; {_SAVE_AS_PNG}.")
    return shape


def _has_value(dataset: Dataset, keyword: str) -> bool:
    element = dataset.get_item(keyword)
    return element is not None and element.value not in (None, b"", "")


def _integer(dataset: Dataset, keyword: str) -> int:
    """Return the integer that an element must have."""
    number = single_number(dataset, keyword)
    if number is None or number != int(number):
        raise ImageError(f"The {keyword} of this DICOM file is no single whole number; export it again.")
    return int(number)


@dataclass(frozen=True, slots=True)
class _Source:
    """Pixel data that has been checked.

    Args:
        value: of the element, one frame, no more of it than the declared size needs.
        vr: of the element.
        syntax: how it is really encoded.
        word_bits: 8 or 16, of a decoded sample.
        planar: 1 where colour is stored plane by plane.
        photometric: how it is really coloured.
        stream_bits: bits per sample as the stream tells them; None where it does not (native, RLE).
        stream_signed: whether samples are signed, as only JPEG 2000 tells.
    """

    value: bytes
    vr: str
    syntax: UID
    word_bits: int
    planar: int
    photometric: str
    stream_bits: int | None = None
    stream_signed: bool | None = None


def _check_pixels(syntax: UID, shape: FrameShape, place: _Place, content: Callable[[int], bytes]) -> _Source:
    """Return the pixels, no more of them than the declared size needs, checked before a decoder sees them."""
    vr, length, start = place or ("", 0, 0)
    if vr not in ("OB", "OW", "OB or OW", "UN", None):
        raise ImageError("This DICOM file holds no pixels; export it again.")
    vr = vr if vr in ("OB", "OW") else "OW"
    encapsulated = content(start + len(_ITEM))[start:start + len(_ITEM)] == _ITEM
    if syntax in _NATIVE or length != _UNDEFINED_LENGTH:
        photometric, native_bytes = shape.photometric, shape.frame_bytes
        if photometric == "YBR_FULL_422":
            if length in (native_bytes, native_bytes + native_bytes % 2):  # all samples are there after all
                photometric = "YBR_FULL"
            else:
                native_bytes = native_bytes // 3 * 2  # 4:2:2 keeps four samples of six
        padded_bytes = native_bytes + native_bytes % 2
        if syntax not in _NATIVE:
            # Some writers name a syntax and then do not compress; such data are little-endian.
            if length not in (native_bytes, padded_bytes):
                raise ImageError(_CONTRADICTION if encapsulated else _NATIVE_AS_COMPRESSED)
            syntax = ExplicitVRLittleEndian
        value = content(start + padded_bytes)[start:start + min(length, padded_bytes)]
        if length == _UNDEFINED_LENGTH or len(value) < native_bytes:
            raise ImageError(_COMPRESSED_AS_NATIVE if encapsulated else _CUT_SHORT)
        return _Source(value, vr, syntax, shape.bits_allocated, shape.planar, photometric)
    frame = read_frame(content(start), start, shape)
    if syntax == RLELossless:
        value, bits = expand_rle(frame, shape)
        photometric = "YBR_FULL" if shape.photometric == "YBR_FULL_422" else shape.photometric  # planes are alike
        source = _Source(value, "OW", ExplicitVRLittleEndian, bits, 1, photometric)
    else:
        signed: bool | None = None
        if syntax in _JPEG2000:
            bits, signed = check_jpeg2000(frame, shape)
        elif syntax in _JPEG_LS:
            frame, bits = check_jpeg_ls(frame, shape)
        else:
            frame, bits = check_jpeg(frame, shape, _JPEG_PROCESSES[syntax])
        photometric = shape.photometric
        if photometric in ("YBR_ICT", "YBR_RCT") and syntax in (JPEGBaseline8Bit, JPEGExtended12Bit):
            photometric = "YBR_FULL"  # these two are JPEG 2000's own
        word_bits = 8 if bits <= 8 else 16
        source = _Source(encapsulate([frame]), "OB", syntax, word_bits, shape.planar, photometric, bits, signed)
    if shape.samples == 3 and bits > 8:
        raise ImageError(f"The pixel depth of this DICOM file is not read; {_SAVE_AS_PNG}.")
    return source


def _decode(source: _Source, shape: FrameShape) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Return words as the stream holds them, [rows, columns], or colour as RGB, [rows, columns, 3].

    pydicom gets nothing of the data set but what has been checked; bits and signs are sorted out afterwards.
    """
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = source.syntax
    image.Rows, image.Columns, image.SamplesPerPixel = shape.rows, shape.columns, shape.samples
    image.PhotometricInterpretation, image.PixelRepresentation = source.photometric, 0
    image.BitsAllocated = image.BitsStored = source.word_bits
    image.HighBit = source.word_bits - 1
    if shape.samples > 1:
        image.PlanarConfiguration = source.planar
    image.PixelData = source.value
    image["PixelData"].VR = source.vr
    image["PixelData"].is_undefined_length = source.syntax.is_encapsulated
    pixels, _ = get_decoder(source.syntax).as_array(image, index=0)
    if source.word_bits == 8:
        return pixels.astype(np.uint8, copy=False)
    return pixels.astype(np.uint16, copy=False)
