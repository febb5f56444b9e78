"""One film in the forms in which films come."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from pydicom.uid import JPEGLosslessSV1

from tests.dicom_samples import dicom, dicom_frame, dicom_jpeg2000, jpeg_lossless


def _pil(pixels: NDArray[Any], file_format: str, **options: Any) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, file_format, **options)
    return file.getvalue()


def _tiff(pixels: NDArray[Any], **options: Any) -> bytes:
    file = BytesIO()
    tifffile.imwrite(file, pixels, photometric=options.pop("photometric", "minisblack"), **options)
    return file.getvalue()


def _of_bits(film: NDArray[np.uint8], bits: int) -> NDArray[np.uint16]:
    return np.rint(film / 255.0 * (2**bits - 1)).astype(np.uint16)


# Each takes a film of 8 bits, [rows, columns].
FORMS: dict[str, Callable[[NDArray[np.uint8]], bytes]] = {
    "PNG of 8 bits": lambda film: _pil(film, "PNG"),
    "PNG of 16 bits, 257 times": lambda film: _pil(film * np.uint16(257), "PNG"),
    "PNG of 16 bits, 256 times": lambda film: _pil(film * np.uint16(256), "PNG"),
    "PNG of 12 bits in 16": lambda film: _pil(_of_bits(film, 12), "PNG"),
    "PNG of 12 bits in 16, 16 times": lambda film: _pil(film * np.uint16(16), "PNG"),
    "WebP": lambda film: _pil(film, "WEBP", lossless=True),
    "TIFF of 8 bits": lambda film: _tiff(film),
    "TIFF of 14 bits in 16, big-endian": lambda film: _tiff(_of_bits(film, 14), byteorder=">", compression="zlib"),
    "TIFF of 16 bits, white is zero": lambda film: _tiff(65_535 - film * np.uint16(257), photometric="miniswhite"),
    "TIFF of 32 bits": lambda film: _tiff(film * np.uint32(2**24 + 2**16 + 2**8 + 1)),
    "TIFF of fractions": lambda film: _tiff((film / 255).astype(np.float32)),
    "TIFF of 64-bit floats up to 65,535": lambda film: _tiff(film * 257.0),
    "TIFF of signed bytes": lambda film: _tiff((film.astype(np.int16) - 128).astype(np.int8)),
    "DICOM of 8 bits": lambda film: dicom(film),
    "DICOM of 12 bits": lambda film: dicom(_of_bits(film, 12), BitsStored=12),
    "DICOM of 12 bits with a window": lambda film: dicom(
        _of_bits(film, 12), BitsStored=12, WindowCenter=2048, WindowWidth=4096
    ),
    "DICOM of 12 bits, inverted": lambda film: dicom(
        4095 - _of_bits(film, 12), BitsStored=12, PhotometricInterpretation="MONOCHROME1"
    ),
    "DICOM of JPEG 2000, 16 bits": lambda film: dicom_jpeg2000(film * np.uint16(257)),
    "DICOM of JPEG lossless, 16 bits": lambda film: dicom_frame(
        film * np.uint16(257), jpeg_lossless(film * np.uint16(257)), JPEGLosslessSV1
    ),
}
