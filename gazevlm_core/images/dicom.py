"""One DICOM image to upright 8-bit RGB, with pydicom's own pixel pipeline.

Grey: stored value -> modality LUT or rescale -> first VOI LUT, else first window, else the 0.5 to 99.5 percentiles
-> MONOCHROME1 inverted -> padding black. All of it acts on a table of the stored values, not on the pixels.
Pixels stay as stored: nothing is resampled where the pixel spacing is not square (positions are fractions of the image,
so only its look is stretched), and no patient orientation is applied.
"""

import zlib
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import get_frame
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
from gazevlm_core.images.codestream import FrameShape, check_jpeg, check_jpeg2000, check_rle
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
_MAX_READS, _MAX_VALUE_BYTES, _MAX_SEQUENCE_BYTES, _MAX_FRAGMENTS = 250_000, 4096, 1 << 20, 100_000
_SAVE_AS_PNG = "open it in a DICOM viewer and save the image as PNG"
_ABSURD_HEADER = f"The header of this DICOM file is absurdly large; {_SAVE_AS_PNG}."
_CONTRADICTION = "The pixels of this DICOM file contradict its header; export it again uncompressed."


class _BudgetedBytes(BytesIO):
    """A file in memory that refuses absurdly many or large reads, however deeply the elements are nested.

    Its `at_element` is pydicom's hook before each element of the top level.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._reads = 0
        self._large_allowed = False

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads += 1
        if self._reads > _MAX_READS or (size is not None and size > _MAX_SEQUENCE_BYTES and not self._large_allowed):
            raise ImageError(_ABSURD_HEADER)
        return super().read(size)

    def at_element(self, tag: int, vr: str | None, length: int) -> bool:
        """Stop behind the pixel data; refuse a value that no image needs before it is read."""
        self._large_allowed = tag == _PIXEL_DATA
        if tag in _FLOAT_PIXELS:
            raise ImageError(f"This DICOM file holds measured values, no picture; {_SAVE_AS_PNG}.")
        allowed = _MAX_SEQUENCE_BYTES if tag in _SEQUENCES else _MAX_VALUE_BYTES
        if tag in _SMALL and allowed < length != 0xFFFFFFFF:
            raise ImageError(_ABSURD_HEADER)
        return tag > _PIXEL_DATA


def decode_dicom(data: bytes, limits: ImageLimits) -> Image.Image:
    """Decode a DICOM file with one frame.

    Args:
        data: the whole file, with preamble.
        limits: caps on size, checked before decoding.

    Returns:
        RGB.

    Raises:
        ImageError: refused with a reason. Other exceptions mean that the file is damaged.
    """
    dataset = _read(data, limits)
    shape = _check_header(dataset, limits)
    _check_pixels(dataset, shape)
    pixels = pixel_array(dataset)
    if pixels.shape[:2] != (shape.rows, shape.columns):
        raise ImageError(_CONTRADICTION)
    if shape.samples == 3:
        return Image.fromarray(np.ascontiguousarray(pixels, dtype=np.uint8))
    return Image.fromarray(stored_to_grey(_stored_values(pixels, dataset), dataset)).convert("RGB")


def _read(data: bytes, limits: ImageLimits) -> Dataset:
    """The wanted elements up to the pixel data, with the transfer syntax in `file_meta`."""
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
        stream = _BudgetedBytes(_inflate(data[stream.tell():], limits))
    dataset = read_dataset(
        stream,
        syntax.is_implicit_VR,
        syntax.is_little_endian,
        stop_when=stream.at_element,
        specific_tags=[*_TAGS_READ],
    )
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def _inflate(data: bytes, limits: ImageLimits) -> bytes:
    """Inflate a deflated data set up to the cap."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(data, limits.max_inflated_bytes)
    if inflater.unconsumed_tail:
        raise ImageError(
            f"This DICOM file inflates beyond {limits.max_inflated_bytes / 2**20:g} MiB; export it uncompressed."
        )
    if not inflater.eof:
        raise ImageError("This deflated DICOM file is cut short; copy or export it again.")
    return inflated


def _check_header(dataset: Dataset, limits: ImageLimits) -> FrameShape:
    """One frame, of a kind, depth and size that is read."""
    if "PixelData" not in dataset:
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


def _check_pixels(dataset: Dataset, shape: FrameShape) -> None:
    """Refuse pixel data that would expand beyond the declared size, before a decoder sees it."""
    syntax, raw = dataset.file_meta.TransferSyntaxUID, dataset.get_item("PixelData")
    if raw is None or raw.VR not in ("OB", "OW", "OB or OW", "UN", None) or not isinstance(raw.value, bytes):
        raise ImageError("This DICOM file holds no pixels; export it again.")
    if syntax in _NATIVE:
        # 4:2:2 keeps four samples of six
        samples = 2 if dataset.PhotometricInterpretation == "YBR_FULL_422" else shape.samples
        if len(raw.value) < shape.rows * shape.columns * samples * shape.bits_allocated // 8:
            raise ImageError("This DICOM file is cut short: its pixels end too early; copy or export it again.")
        return
    # One frame needs no more than one offset: a long table of them only costs memory.
    table_bytes = int.from_bytes(raw.value[4:8], "little")
    if table_bytes > _MAX_VALUE_BYTES or raw.value.count(b"\xfe\xff\x00\xe0") > _MAX_FRAGMENTS:
        raise ImageError(_ABSURD_HEADER)
    frame = get_frame(raw.value, 0, number_of_frames=1)
    if syntax == RLELossless:
        check_rle(frame, shape)
    elif syntax in _JPEG2000:
        check_jpeg2000(frame, shape)
    else:
        check_jpeg(frame, shape, _JPEG_PROCESSES[syntax])


def _stored_values(pixels: NDArray[np.generic], dataset: Dataset) -> NDArray[np.int32]:
    """Grey pixels with the bits above BitsStored (old overlays) taken out, [rows, columns]."""
    unused = 32 - int(dataset.BitsStored)
    shifted = pixels.astype(np.uint32) << unused
    if dataset.PixelRepresentation == 1:
        return shifted.view(np.int32) >> unused
    return (shifted >> unused).astype(np.int32)
