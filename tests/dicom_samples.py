"""DICOM files made on the spot: every transfer syntax that is read, and a patient whose data must never come out."""

import struct
import warnings
import zlib
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filereader import dcmread
from pydicom.uid import (
    JPEG2000,
    UID,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

SECRET = "Wolkenstein^Oswald"


def dicom_dataset(pixels: NDArray[Any], **elements: Any) -> Dataset:
    """A data set around [rows, columns] or [rows, columns, 3]; None takes an element out."""
    dataset = Dataset()
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = "1.2.3.4.5"
    dataset.PatientName = SECRET
    dataset.PatientComments = SECRET
    dataset.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    dataset.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.BitsAllocated = dataset.BitsStored = pixels.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some values are wrong on purpose
        for keyword, value in elements.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
    if "BitsStored" in elements and "HighBit" not in elements:
        dataset.HighBit = dataset.BitsStored - 1
    return dataset


def dicom_bytes(dataset: Dataset, pixel_data: bytes, syntax: UID = ExplicitVRLittleEndian) -> bytes:
    """A Part 10 file; the pixel data is written as it is given."""
    dataset.PixelData = pixel_data
    dataset["PixelData"].VR = "OW" if dataset.get("BitsAllocated", 8) > 8 and not syntax.is_compressed else "OB"
    dataset["PixelData"].is_undefined_length = syntax.is_compressed
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    file = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def dicom(pixels: NDArray[Any], syntax: UID = ExplicitVRLittleEndian, **elements: Any) -> bytes:
    """A file with uncompressed (or deflated) pixels."""
    swapped = pixels.astype(pixels.dtype.newbyteorder(">" if syntax == ExplicitVRBigEndian else "<"))
    data = swapped.tobytes()
    return dicom_bytes(dicom_dataset(pixels, **elements), data + bytes(len(data) % 2), syntax)


def dicom_rle(pixels: NDArray[Any], **elements: Any) -> bytes:
    """A file compressed by pydicom's RLE encoder."""
    dataset = dicom_dataset(pixels, **elements)
    dataset.file_meta = FileMetaDataset()
    dataset.compress(RLELossless, arr=pixels, generate_instance_uid=False)
    return dicom_bytes(dataset, dataset.PixelData, RLELossless)


def dicom_jpeg2000(pixels: NDArray[Any], syntax: UID = JPEG2000Lossless, **elements: Any) -> bytes:
    """A file compressed by OpenJPEG."""
    dataset = dicom_dataset(pixels, **elements)
    dataset.file_meta = FileMetaDataset()
    options = {"j2k_cr": [10]} if syntax == JPEG2000 else {}
    dataset.compress(syntax, arr=pixels, generate_instance_uid=False, **options)
    return dicom_bytes(dataset, dataset.PixelData, syntax)


def dicom_frame(pixels: NDArray[Any], frame: bytes, syntax: UID, **elements: Any) -> bytes:
    """A file around a frame that was compressed elsewhere."""
    return dicom_bytes(dicom_dataset(pixels, **elements), encapsulate([frame]), syntax)


def retagged(file: bytes, **elements: Any) -> bytes:
    """The file with other elements around the same pixel data; None takes one out."""
    dataset = dcmread(BytesIO(file))
    changed = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for keyword, value in elements.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        dataset.save_as(changed, enforce_file_format=True)
    return changed.getvalue()


def named(file: bytes, syntax: UID) -> bytes:
    """The file with another transfer syntax in its header, and all else as it was."""
    said = syntax.encode() + bytes(len(syntax) % 2)
    start = file.index(b"\x02\x00\x10\x00UI") + 6
    length = struct.unpack_from("<H", file, start)[0]
    group_length = struct.unpack_from("<I", file, 140)[0] + len(said) - length
    head = file[:140] + struct.pack("<I", group_length) + file[144:start]
    return head + struct.pack("<H", len(said)) + said + file[start + 2 + length:]


def deflate(data: bytes) -> bytes:
    """Raw deflate, as PS3.5 A.5 has it."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def jpeg_lossless(pixels: NDArray[np.uint16], precision_bits: int = 16) -> bytes:
    """Lossless JPEG (process 14, predictor 1) of [rows, columns], with a flat Huffman table of 5-bit codes."""
    values = pixels.astype(np.int64)
    predicted = np.empty_like(values)
    predicted[:, 1:] = values[:, :-1]
    predicted[1:, 0] = values[:-1, 0]
    predicted[0, 0] = 1 << (precision_bits - 1)
    differences = (values - predicted + 32768) % 65536 - 32768
    bits: list[str] = []
    for difference in differences.ravel().tolist():
        category = abs(difference).bit_length()
        bits.append(f"{category:05b}")
        if 0 < category < 16:
            code = difference if difference > 0 else difference + (1 << category) - 1
            bits.append(f"{code:0{category}b}")
    stream = "".join(bits)
    stream += "1" * (-len(stream) % 8)
    scan = int(stream, 2).to_bytes(len(stream) // 8, "big").replace(b"\xff", b"\xff\0")
    rows, columns = pixels.shape
    frame = struct.pack(">HHBHHB", 0xFFC3, 11, precision_bits, rows, columns, 1) + b"\x01\x11\0"
    table = struct.pack(">HHB", 0xFFC4, 2 + 17 + 17, 0) + bytes([0, 0, 0, 0, 17, *[0] * 11]) + bytes(range(17))
    start = struct.pack(">HHB", 0xFFDA, 8, 1) + b"\x01\0" + b"\x01\0\0"
    return b"\xff\xd8" + frame + table + start + scan + b"\xff\xd9"
