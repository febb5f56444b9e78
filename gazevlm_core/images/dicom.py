"""One DICOM image to upright 8-bit RGB, with pydicom's own pixel pipeline.

Grey: stored value -> modality LUT or rescale -> first VOI LUT, else first window, else the 0.5 to 99.5 percentiles
-> MONOCHROME1 inverted -> padding black. All of it acts on a table of the stored values, not on the pixels.
Pixels stay as stored: nothing is resampled where the pixel spacing is not square (positions are fractions of the image,
so only its look is stretched), and no patient orientation is applied.
"""

import zlib
from collections.abc import Callable
from functools import partial
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filereader import read_dataset
from pydicom.pixels.utils import pixel_array
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
    RLELossless,
)

from gazevlm_core.images.base import ImageError, ImageLimits, check_size
from gazevlm_core.images.codestream import FrameShape, check_jpeg, check_jpeg2000, expand_rle, read_frame
from gazevlm_core.images.dicom_tone import stored_to_grey
from gazevlm_core.images.sniff import DICOM_MAGIC, DICOM_MAGIC_OFFSET

_REQUIRED = (
    "SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated", "BitsStored",
    "PixelRepresentation",
)
# Only these are read; everything about the patient is skipped over.
_READ = (
    *_REQUIRED, "PlanarConfiguration", "NumberOfFrames", "HighBit", "PixelPaddingValue", "PixelPaddingRangeLimit",
    "RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "VOILUTFunction", "ModalityLUTSequence",
    "VOILUTSequence", "PixelData",
)
_TRANSFER_SYNTAX, _CHARACTER_SET, _PIXEL_DATA = 0x00020010, 0x00080005, 0x7FE00010
_FLOAT_PIXELS = (0x7FE00008, 0x7FE00009)
_SEQUENCES = (0x00283000, 0x00283010)  # modality and VOI look-up tables
_TAGS_READ = [Tag(keyword) for keyword in _READ]
_SMALL = frozenset({_CHARACTER_SET, *_TAGS_READ}) - {_PIXEL_DATA}
_NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
_JPEG_PROCESSES = {
    JPEGBaseline8Bit: frozenset({0xC0}),
    JPEGExtended12Bit: frozenset({0xC0, 0xC1}),
    JPEGLossless: frozenset({0xC3}),
    JPEGLosslessSV1: frozenset({0xC3}),
}
_JPEG2000 = (JPEG2000Lossless, JPEG2000)
# (samples per pixel, photometric interpretation)
_KINDS = (
    (1, "MONOCHROME1"), (1, "MONOCHROME2"),
    (3, "RGB"), (3, "YBR_FULL"), (3, "YBR_FULL_422"), (3, "YBR_ICT"), (3, "YBR_RCT"),
)
# An image's header has hundreds of elements; each costs about three reads, and up to a kilobyte once parsed.
_MAX_READS, _MAX_BYTES_READ, _MAX_VALUE_BYTES, _MAX_SEQUENCE_BYTES = 60_000, 8 << 20, 4096, 1 << 20
_INFLATE_STEP = 1 << 16
_MAX_INFLATED_HEADER_BYTES = 4 << 20  # of a deflated data set, up to its pixels
_SAVE_AS_PNG = "open it in a DICOM viewer and save the image as PNG"
_ABSURD_HEADER = f"The header of this DICOM file is absurdly large; {_SAVE_AS_PNG}."
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
        allowed = _MAX_SEQUENCE_BYTES if tag in _SEQUENCES else _MAX_VALUE_BYTES
        if tag in _SMALL and allowed < length != _UNDEFINED_LENGTH:
            raise ImageError(_ABSURD_HEADER)
        if tag == _PIXEL_DATA:
            self.pixels = vr, length, self.tell()
        return tag >= _PIXEL_DATA


def decode_dicom(data: bytes, limits: ImageLimits, wait_turn: Callable[[int], None]) -> Image.Image:
    """Decode a DICOM file with one frame.

    Args:
        data: the whole file, with preamble.
        limits: caps on size, checked before decoding.
        wait_turn: waits until so many pixels may be decoded.

    Returns:
        RGB.

    Raises:
        ImageError: refused with a reason. Other exceptions mean that the file is damaged.
    """
    dataset, place, content = _read(data)
    shape = _check_header(dataset, place, limits)
    wait_turn(shape.rows * shape.columns)
    _put_pixels(dataset, shape, place, content)
    del data, content  # what is needed of the file has been copied
    pixels = pixel_array(dataset)
    if pixels.shape[:2] != (shape.rows, shape.columns):
        raise ImageError(_CONTRADICTION)
    if shape.samples == 3:
        return Image.fromarray(np.ascontiguousarray(pixels, dtype=np.uint8))
    return Image.fromarray(stored_to_grey(_stored_values(pixels, dataset), dataset)).convert("RGB")


def dicom_size(start: bytes, limits: ImageLimits) -> tuple[int, int]:
    """Width and height alone, checked, from the first bytes of a file.

    Raises:
        ImageError: refused with a reason. Other exceptions mean that the file is damaged.
    """
    dataset, place, _ = _read(start)
    if place is None:
        raise ImageError(_ABSURD_HEADER)
    shape = _check_header(dataset, place, limits)
    return shape.columns, shape.rows


def _read(data: bytes) -> tuple[Dataset, _Place, Callable[[int], bytes]]:
    """The wanted elements up to the pixel data, with the transfer syntax in `file_meta`.

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
    if syntax not in (*_NATIVE, *_JPEG_PROCESSES, *_JPEG2000, RLELossless):
        raise ImageError(
            f"The pixels of this DICOM file are compressed in a way that is not read; {_SAVE_AS_PNG}, "
            "or export it uncompressed."
        )
    if syntax == DeflatedExplicitVRLittleEndian:
        content = partial(_inflate, memoryview(data)[stream.tell():])
        stream = _BudgetedBytes(content(_MAX_INFLATED_HEADER_BYTES))
    else:
        content = partial(_whole, data)
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


def _whole(data: bytes, _: int) -> bytes:
    return data


def _inflate(data: memoryview, wanted_bytes: int) -> bytes:
    """The beginning of a deflated data set; what follows it is not looked at."""
    inflater, parts, missing = zlib.decompressobj(-zlib.MAX_WBITS), [], wanted_bytes
    for start in range(0, len(data), _INFLATE_STEP):
        if missing <= 0 or inflater.eof:
            break
        parts.append(inflater.decompress(data[start:start + _INFLATE_STEP], missing))
        missing -= len(parts[-1])
    return b"".join(parts)


def _check_header(dataset: Dataset, place: _Place, limits: ImageLimits) -> FrameShape:
    """One frame, of a kind, depth and size that is read."""
    if place is None:
        raise ImageError(
            "This DICOM file holds no complete image (it is a report or an index, or cut short); export the image."
        )
    for keyword in _REQUIRED:
        if dataset.get(keyword) is None:
            raise ImageError(f"This DICOM file has no {keyword}, so its pixels cannot be read; export it again.")
    if int(dataset.get("NumberOfFrames") or 1) != 1:
        raise ImageError("This DICOM file has several frames; export the one frame that matters as a file of its own.")
    shape = FrameShape(
        rows=int(dataset.Rows),
        columns=int(dataset.Columns),
        samples=int(dataset.SamplesPerPixel),
        bits_allocated=int(dataset.BitsAllocated),
    )
    check_size(shape.columns, shape.rows, limits)
    photometric = dataset.PhotometricInterpretation
    if (shape.samples, photometric) not in _KINDS:
        raise ImageError(f"The colour model of this DICOM file is not read; {_SAVE_AS_PNG}.")
    allowed_bits = (8, 16) if shape.samples == 1 else (8,)
    bits_stored = int(dataset.BitsStored)
    if shape.bits_allocated not in allowed_bits or not 1 <= bits_stored <= shape.bits_allocated:
        raise ImageError(f"The pixel depth of this DICOM file is not read; {_SAVE_AS_PNG}.")
    if int(dataset.get("HighBit", bits_stored - 1)) != bits_stored - 1 or dataset.PixelRepresentation not in (0, 1):
        raise ImageError(f"This DICOM file packs its pixels in an unusual way; {_SAVE_AS_PNG}.")
    return shape


def _put_pixels(dataset: Dataset, shape: FrameShape, place: _Place, content: Callable[[int], bytes]) -> None:
    """Put the pixels into the data set, no more than the declared size needs, checked before a decoder sees them."""
    vr, length, start = place or ("", 0, 0)
    if vr not in ("OB", "OW", "OB or OW", "UN", None):
        raise ImageError("This DICOM file holds no pixels; export it again.")
    syntax = dataset.file_meta.TransferSyntaxUID
    if (length == _UNDEFINED_LENGTH) != syntax.is_encapsulated:
        raise ImageError(_CONTRADICTION)
    if syntax in _NATIVE:
        # 4:2:2 keeps four samples of six
        samples = 2 if dataset.PhotometricInterpretation == "YBR_FULL_422" else shape.samples
        needed = shape.rows * shape.columns * samples * shape.bits_allocated // 8
        value = content(start + needed)[start:start + min(length, needed)]
        if len(value) < needed:
            raise ImageError("This DICOM file is cut short: its pixels end too early; copy or export it again.")
        dataset.add_new(_PIXEL_DATA, vr or "OW", value)
        return
    frame = read_frame(content(start), start, shape)
    if syntax == RLELossless:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.PlanarConfiguration = 1  # of no meaning where there is one sample
        dataset.add_new(_PIXEL_DATA, "OW", expand_rle(frame, shape))
        return
    if syntax in _JPEG2000:
        check_jpeg2000(frame, shape)
    else:
        frame = check_jpeg(frame, shape, _JPEG_PROCESSES[syntax])
    dataset.add_new(_PIXEL_DATA, "OB", encapsulate([frame]))
    dataset["PixelData"].is_undefined_length = True


def _stored_values(pixels: NDArray[np.generic], dataset: Dataset) -> NDArray[np.int32]:
    """Grey pixels with the bits above BitsStored (old overlays) taken out, [rows, columns]."""
    unused = 32 - int(dataset.BitsStored)
    shifted = pixels.astype(np.uint32) << unused
    if dataset.PixelRepresentation == 1:
        return shifted.view(np.int32) >> unused
    return (shifted >> unused).astype(np.int32)
