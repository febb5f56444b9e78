"""A DICOM file whose tags contradict its pixels, or say nothing, is shown as it should look, or refused with reason."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.filereader import dcmread
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    RLELossless,
)

from gazevlm_core.images import base, load_image
from tests.dicom_samples import (
    SECRET,
    dicom,
    dicom_frame,
    dicom_jpeg2000,
    dicom_rle,
    jpeg_lossless,
    named,
    retagged,
)

RAMP = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32)
WINDOW = {"WindowCenter": 500, "WindowWidth": 200}


def grey(file: bytes) -> NDArray[np.int64]:
    shown = np.asarray(load_image(file).image).astype(np.int64)
    assert (shown == shown[..., :1]).all()
    return shown[..., 0]


# ---- bits -----------------------------------------------------------------------------------------------------------


def film(bits: int, signed: bool) -> NDArray[Any]:
    """A smooth picture that uses every one of its bits, with an edge, [40, 48]."""
    rows, columns = np.mgrid[0:40, 0:48] / 47.0
    share = np.clip(0.5 - 0.5 * np.cos(3 * columns + 2 * rows) * (1 - 0.3 * rows), 0, 1)
    share[10:20, 12:20] = 0.9
    share[0, :2] = 0, 1
    values = np.rint(share * (2**bits - 1)).astype(np.int64) - (2 ** (bits - 1) if signed else 0)
    return values.astype(np.int16 if signed else np.uint16)


def as_lossless_jpeg(values: NDArray[Any], bits: int) -> bytes:
    words = values.astype(np.int64) & (2**bits - 1)
    return dicom_frame(values, jpeg_lossless(words.astype(np.uint16), bits), JPEGLosslessSV1)


WRITERS: dict[str, Callable[[NDArray[Any], int], bytes]] = {
    "native": lambda values, bits: dicom(values),
    "big-endian": lambda values, bits: dicom(values, ExplicitVRBigEndian),
    "deflated": lambda values, bits: dicom(values, DeflatedExplicitVRLittleEndian),
    "RLE": lambda values, bits: dicom_rle(values),
    "JPEG 2000": lambda values, bits: dicom_jpeg2000(values, BitsStored=bits),
    "JPEG lossless": as_lossless_jpeg,
}


@pytest.mark.parametrize("said_bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [10, 12, 13, 16])
@pytest.mark.parametrize("writer", WRITERS)
def test_the_picture_is_the_same_whatever_depth_the_header_says(
    writer: str, bits: int, signed: bool, said_bits: int
) -> None:
    values = film(bits, signed)
    file = retagged(WRITERS[writer](values, bits), BitsStored=said_bits, HighBit=said_bits - 1)
    np.testing.assert_array_equal(grey(file), grey(dicom(values)))


@pytest.mark.parametrize("said_bits", [8, 12, 15])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("writer", ["JPEG 2000", "JPEG lossless"])
def test_a_stream_of_noise_keeps_all_its_bits_too(writer: str, signed: bool, said_bits: int) -> None:
    values = np.random.default_rng(4).integers(0, 65536, (40, 48)).astype(np.int16 if signed else np.uint16)
    file = retagged(WRITERS[writer](values, 16), BitsStored=said_bits, HighBit=said_bits - 1)
    np.testing.assert_array_equal(grey(file), grey(dicom(values)))
    if writer == "JPEG 2000":
        np.testing.assert_array_equal(dcmread(BytesIO(file)).pixel_array, values)


@pytest.mark.parametrize("bits", [10, 12, 13])
def test_the_sign_of_a_jpeg_2000_is_that_of_the_header(bits: int) -> None:
    """The stream keeps the bits of what went in; an encoder that was told the wrong sign changes none of them."""
    negative = film(bits, signed=True)
    said_unsigned = dicom_jpeg2000((negative & (2**bits - 1)).astype(np.uint16), BitsStored=bits)
    file = retagged(said_unsigned, PixelRepresentation=1)
    np.testing.assert_array_equal(dcmread(BytesIO(file)).pixel_array, negative)
    np.testing.assert_array_equal(grey(file), grey(dicom(negative)))


@pytest.mark.parametrize("bits", [12, 16])
def test_a_sign_of_the_header_that_tears_the_picture_is_not_believed(bits: int) -> None:
    negative = film(bits, signed=True)
    file = retagged(dicom_jpeg2000(negative, BitsStored=bits), PixelRepresentation=0)
    np.testing.assert_array_equal(grey(file), grey(dicom(negative)))


def test_eight_bits_in_words_of_sixteen() -> None:
    smooth = (film(8, signed=False)).astype(np.uint8)
    stream = BytesIO()
    Image.fromarray(smooth).save(stream, "JPEG", quality=95)
    decoded = np.asarray(Image.open(stream))
    for said_bits in (8, 12, 16):
        tags = {"BitsAllocated": 16, "BitsStored": said_bits, "HighBit": said_bits - 1}
        file = dicom_frame(smooth, stream.getvalue(), JPEGBaseline8Bit, **tags)
        np.testing.assert_allclose(grey(file), decoded.astype(int), atol=1)
        for syntax, written in ((RLELossless, dicom_rle(smooth)), (JPEG2000Lossless, dicom_jpeg2000(smooth))):
            assert dcmread(BytesIO(written)).file_meta.TransferSyntaxUID == syntax
            np.testing.assert_array_equal(grey(retagged(written, **tags)), smooth)


def test_sixteen_bits_in_words_of_eight() -> None:
    values = film(16, signed=False)
    file = retagged(dicom_jpeg2000(values), BitsAllocated=8, BitsStored=8, HighBit=7)
    np.testing.assert_array_equal(grey(file), grey(dicom(values)))


@pytest.mark.parametrize("signed", [False, True])
def test_old_overlays_above_the_value_are_not_shown(signed: bool) -> None:
    values = film(12, signed)
    overlaid = (values.astype(np.int64) & 0x0FFF).astype(np.uint16)
    overlaid[5:30:3, 4:44] |= 0x8000
    overlaid[8:12, 10:30] |= 0x1000
    file = dicom(overlaid, BitsStored=12, PixelRepresentation=int(signed))
    np.testing.assert_array_equal(grey(file), grey(dicom(values, BitsStored=12)))


@pytest.mark.parametrize("writer", ["native", "JPEG lossless", "JPEG 2000"])
def test_an_overlay_that_is_declared_is_never_a_value(writer: str) -> None:
    """Even where it lies in a stream of 16 bits."""
    values = film(12, signed=False)
    overlaid = values.copy()
    overlaid[5:30, 4:44] |= 0x1000
    file = retagged(WRITERS[writer](overlaid, 16), BitsStored=12, HighBit=11)
    dataset = dcmread(BytesIO(file))
    dataset.add_new(0x60000102, "US", 12)
    declared = BytesIO()
    dataset.save_as(declared, enforce_file_format=True)
    np.testing.assert_array_equal(grey(declared.getvalue()), grey(dicom(values)))


def test_the_high_bit_says_where_the_value_lies() -> None:
    values = film(12, signed=False)
    shifted = (values << 4) | np.uint16(5)  # an overlay below the value
    np.testing.assert_array_equal(grey(dicom(shifted, BitsStored=12, HighBit=15)), grey(dicom(values)))
    for high_bit in (3, 15, 40, "", [11, 11]):  # impossible, or said of a value that lies below
        tags = {"BitsStored": 12, "HighBit": high_bit}
        np.testing.assert_array_equal(grey(retagged(dicom(values), **tags)), grey(dicom(values)))


# ---- JPEG-LS --------------------------------------------------------------------------------------------------------


def sample(name: str) -> bytes:
    path = get_testdata_file(name, download=False)
    assert path is not None
    with open(path, "rb") as file:
        return file.read()


def test_lossless_jpeg_ls_is_the_native_picture() -> None:
    compressed, native = sample("MR_small_jpeg_ls_lossless.dcm"), sample("MR_small.dcm")
    np.testing.assert_array_equal(grey(compressed), grey(native))
    narrow = retagged(compressed, BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(grey(narrow), grey(native))


@pytest.mark.parametrize("name", ["JPEGLSNearLossless_08.dcm", "JPEGLSNearLossless_16.dcm"])
def test_near_lossless_jpeg_ls_is_shown(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "MIN_SIDE_PX", 10)
    native = dicom(dcmread(BytesIO(sample(name))).pixel_array)
    shown, expected = (np.asarray(load_image(file).image) for file in (sample(name), native))
    np.testing.assert_array_equal(shown, expected)


@pytest.mark.parametrize("name", ["SC_rgb_jls_lossy_line.dcm", "SC_rgb_jls_lossy_sample.dcm"])
def test_jpeg_ls_in_colour(name: str) -> None:
    file = sample(name)
    np.testing.assert_array_equal(np.asarray(load_image(file).image), dcmread(BytesIO(file)).pixel_array)


# ---- what the pixels are --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLosslessSV1, RLELossless])
@pytest.mark.parametrize("shape", [(32, 32), (16, 16), (17, 17)])
def test_native_pixels_under_a_compressed_syntax_are_read(syntax: UID, shape: tuple[int, int]) -> None:
    for values in (film(12, signed=False)[:shape[0], :shape[1]], film(8, signed=False).astype(np.uint8)):
        file = dicom(np.ascontiguousarray(values))
        np.testing.assert_array_equal(grey(named(file, syntax)), grey(file))


@pytest.mark.parametrize("planar", [None, "", [0, 0], 7])
def test_colour_without_a_planar_configuration_is_by_pixel(planar: object) -> None:
    colour = np.random.default_rng(9).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    shown = load_image(retagged(dicom(colour), PlanarConfiguration=planar)).image
    np.testing.assert_array_equal(np.asarray(shown), colour)


@pytest.mark.parametrize("photometric", ["monochrome2", "Monochrome1", " MONOCHROME2 "])
def test_photometric_interpretation_in_small_letters(photometric: str) -> None:
    file = dicom(RAMP, PhotometricInterpretation=photometric)
    plain = dicom(RAMP, PhotometricInterpretation=photometric.strip().upper())
    np.testing.assert_array_equal(grey(file), grey(plain))


# ---- display tags ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", ["", "SAMPLED_SIGMOID", ["LINEAR", "LINEAR"], ["SIGMOID", "LINEAR"], "linear"])
def test_a_voi_function_that_says_nothing_is_linear(function: object) -> None:
    shown = grey(dicom(RAMP, VOILUTFunction=function, **WINDOW))
    np.testing.assert_array_equal(shown, grey(dicom(RAMP, **WINDOW)))
    assert shown.ravel()[[0, 512, -1]].tolist() == [0, 144, 255]


@pytest.mark.parametrize("window", [{}, WINDOW])
@pytest.mark.parametrize("rescale", [
    {"RescaleSlope": "", "RescaleIntercept": ""}, {"RescaleSlope": "", "RescaleIntercept": "0"},
    {"RescaleSlope": "1", "RescaleIntercept": ""}, {"RescaleSlope": "0", "RescaleIntercept": "0"},
    {"RescaleSlope": [2, 2], "RescaleIntercept": [7, 7]}, {"RescaleSlope": "1"}, {"RescaleIntercept": "0"},
    {"RescaleSlope": "nan", "RescaleIntercept": "0"}, {"RescaleSlope": "1e308", "RescaleIntercept": "1e308"},
    {"RescaleSlope": "1", "RescaleIntercept": "inf"},
])
def test_a_rescale_that_says_nothing_counts_as_absent(rescale: dict[str, Any], window: dict[str, Any]) -> None:
    np.testing.assert_array_equal(grey(dicom(RAMP, **rescale, **window)), grey(dicom(RAMP, **window)))


@pytest.mark.parametrize("window", [
    {"WindowCenter": [500, 500], "WindowWidth": [0, 200]}, {"WindowCenter": [500, 7, 8], "WindowWidth": 200},
])
def test_the_first_window_that_can_be_used_counts(window: dict[str, Any]) -> None:
    np.testing.assert_array_equal(grey(dicom(RAMP, **window)), grey(dicom(RAMP, **WINDOW)))


def test_an_empty_window_before_a_full_one_counts_as_absent() -> None:
    file = dicom(RAMP, WindowCenter=["", "500"], WindowWidth=["", "200"])
    np.testing.assert_array_equal(grey(file), grey(dicom(RAMP, **WINDOW)))


def test_a_modality_table_that_cannot_be_used_leaves_the_slope_its_sign() -> None:
    constant = Dataset()
    constant.LUTDescriptor, constant.LUTData = [2, 5000, 16], b"\1\0\2\0"  # far above all pixels
    falling = {"RescaleSlope": -1, "RescaleIntercept": 1023}
    np.testing.assert_array_equal(
        grey(dicom(RAMP, ModalityLUTSequence=[constant], **falling)), grey(dicom(RAMP, **falling))
    )


@pytest.mark.parametrize("window", [(-5000, 100), (50_000, 100), (512.25, 1)])
def test_a_window_that_leaves_one_grey_counts_as_absent(window: tuple[float, float]) -> None:
    file = dicom(RAMP[:, :20] & np.uint16(0xFFF0), WindowCenter=window[0], WindowWidth=window[1])
    plain = dicom(RAMP[:, :20] & np.uint16(0xFFF0))
    assert len(np.unique(grey(file))) > 1
    if window[1] > 1:
        np.testing.assert_array_equal(grey(file), grey(plain))


def test_words_in_place_of_numbers_count_as_absent_and_never_come_out() -> None:
    file = dicom(RAMP, WindowCenter="1", WindowWidth="2", RescaleSlope="1", RescaleIntercept="0")
    for tag in (b"\x28\x00\x51\x10DS\x02\x002 ", b"\x28\x00\x53\x10DS\x02\x001 "):
        assert tag in file
        worded = file.replace(tag, tag[:6] + b"\x12\x00" + SECRET.encode())
        if tag[2] == 0x53:
            np.testing.assert_array_equal(grey(worded), grey(dicom(RAMP, WindowCenter=1, WindowWidth=2)))
        else:
            np.testing.assert_array_equal(grey(worded), grey(dicom(RAMP)))


@pytest.mark.parametrize("padding", ["", [0, 0], [1, 2, 3]])
def test_padding_that_is_no_single_number_counts_as_absent(padding: object) -> None:
    inverted = {"PhotometricInterpretation": "MONOCHROME1"}
    plain = grey(dicom(RAMP, **inverted))
    np.testing.assert_array_equal(grey(dicom(RAMP, PixelPaddingValue=padding, **inverted)), plain)
    everything = dicom(RAMP, PixelPaddingValue=0, PixelPaddingRangeLimit=65535, **inverted)
    np.testing.assert_array_equal(grey(everything), plain)


def test_padding_of_a_whole_word_in_an_image_of_fewer_bits() -> None:
    values = film(12, signed=False)
    values[:, :5] = 63_536  # -2000 as 16 bits
    shown = grey(dicom(values, BitsStored=12, PixelPaddingValue=63_536, PhotometricInterpretation="MONOCHROME1"))
    assert (shown[:, :5] == 0).all()
    inner = dicom(np.ascontiguousarray(values[:, 5:]), PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(shown[:, 5:], grey(inner))


def lookup(first: int, bits: int, data: object, entries: int, vr: str = "OW") -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [entries, first, bits])
    item.add_new("LUTData", vr, data)
    return item


def test_the_depth_of_a_modality_table_does_not_matter() -> None:
    table = (np.arange(1024) * 3).astype("<u2")
    expected = grey(dicom(RAMP, RescaleSlope=3, RescaleIntercept=0, WindowCenter=1500, WindowWidth=900))
    for bits in (8, 12, 16, 0, 99):
        for data, vr in ((table.tobytes(), "OW"), (table.tolist(), "US")):
            item = lookup(0, bits, data, 1024, vr)
            file = dicom(RAMP, ModalityLUTSequence=[item], WindowCenter=1500, WindowWidth=900)
            np.testing.assert_array_equal(grey(file), expected)


def test_entries_of_eight_bits_may_be_packed_two_to_a_word() -> None:
    values = (RAMP >> 2).astype(np.uint16)
    table = (np.arange(256) ** 2 // 255).astype(np.uint8)
    for data, vr in ((table.tobytes(), "OW"), (table.view("<u2").tolist(), "US"), (table.tolist(), "US")):
        file = dicom(values, VOILUTSequence=[lookup(0, 8, data, 256, vr)])
        np.testing.assert_array_equal(grey(file), table[values])


@pytest.mark.parametrize("said", [65024, -512])
def test_the_first_value_of_a_table_may_be_below_zero(said: int) -> None:
    """Said as unsigned, 65024 is -512."""
    table = (np.arange(1024) * 64).astype("<u2")
    item = lookup(0, 16, table.tobytes(), 1024)
    item.add_new("LUTDescriptor", "SS" if said < 0 else "US", [1024, said, 16])
    file = dicom(RAMP, RescaleSlope=1, RescaleIntercept=-512, VOILUTSequence=[item])
    np.testing.assert_array_equal(grey(file), np.floor(RAMP / 1023 * 255 + 0.5))


@pytest.mark.parametrize("item", [
    lookup(0, 16, (np.arange(1024) * 64).astype("<u2").tobytes(), 4096), lookup(0, 16, b"", 1024),
    lookup(0, 16, np.full(1024, 7, "<u2").tobytes(), 1024), Dataset(),
])
@pytest.mark.parametrize("sequence", ["VOILUTSequence", "ModalityLUTSequence"])
def test_a_table_that_cannot_be_used_counts_as_absent(sequence: str, item: Dataset) -> None:
    np.testing.assert_array_equal(grey(dicom(RAMP, **{sequence: [item]}, **WINDOW)), grey(dicom(RAMP, **WINDOW)))
    item = lookup(0, 16, (np.arange(1024) * 64).astype("<u2").tobytes(), 1024)
    item.add_new("LUTDescriptor", "US", [1024, 0])
    np.testing.assert_array_equal(grey(dicom(RAMP, **{sequence: [item]}, **WINDOW)), grey(dicom(RAMP, **WINDOW)))
    np.testing.assert_array_equal(grey(dicom(RAMP, **{sequence: []}, **WINDOW)), grey(dicom(RAMP, **WINDOW)))


def test_a_table_in_big_endian_order() -> None:
    table = (1023 - np.arange(1024)) * 60
    little = dicom(RAMP, VOILUTSequence=[lookup(0, 16, table.astype("<u2").tobytes(), 1024)])
    big = dicom(RAMP, ExplicitVRBigEndian, VOILUTSequence=[lookup(0, 16, table.astype(">u2").tobytes(), 1024)])
    np.testing.assert_array_equal(grey(big), grey(little))
    assert grey(little)[0, 0] == 255


def functional(**elements: Any) -> Dataset:
    """One item of functional groups with a transformation of pixel values and a window."""
    groups, values, voi = Dataset(), Dataset(), Dataset()
    for keyword, value in elements.items():
        setattr(values if keyword.startswith("Rescale") else voi, keyword, value)
    if len(values):
        groups.PixelValueTransformationSequence = [values]
    if len(voi):
        groups.FrameVOILUTSequence = [voi]
    return groups


def test_functional_groups_go_before_the_data_set() -> None:
    """A frame's own group goes before the one that all frames share."""
    rescale = {"RescaleSlope": 2, "RescaleIntercept": -100}
    expected = grey(dicom(RAMP, **rescale, **WINDOW))
    own, both = functional(**WINDOW), functional(**rescale, WindowCenter=3, WindowWidth=4)
    for groups in (
        {"SharedFunctionalGroupsSequence": [functional(**rescale, **WINDOW)]},
        {"PerFrameFunctionalGroupsSequence": [functional(**rescale, **WINDOW)]},
        {"PerFrameFunctionalGroupsSequence": [own], "SharedFunctionalGroupsSequence": [both]},
        {"PerFrameFunctionalGroupsSequence": [own], "WindowCenter": 9, "WindowWidth": 9, **rescale},
        {"SharedFunctionalGroupsSequence": [functional(**rescale)], "PerFrameFunctionalGroupsSequence": [], **WINDOW},
    ):
        np.testing.assert_array_equal(grey(dicom(RAMP, NumberOfFrames=1, **groups)), expected)


@pytest.mark.parametrize("empty", [
    {"WindowCenter": "", "WindowWidth": ""}, {"WindowCenter": 1, "WindowWidth": 0}, {"WindowCenter": 1},
    {"RescaleSlope": "", "RescaleIntercept": ""}, {"RescaleSlope": 0},
])
def test_a_functional_group_that_says_nothing_hides_nothing(empty: dict[str, Any]) -> None:
    said = {"RescaleSlope": 2, "RescaleIntercept": -100, **WINDOW}
    expected, item = grey(dicom(RAMP, **said)), functional(**empty)
    for elements in (
        {"PerFrameFunctionalGroupsSequence": [item], **said},
        {"SharedFunctionalGroupsSequence": [item], **said},
        {"PerFrameFunctionalGroupsSequence": [item], "SharedFunctionalGroupsSequence": [functional(**said)]},
    ):
        np.testing.assert_array_equal(grey(dicom(RAMP, **elements)), expected)


@pytest.mark.parametrize("frames", ["", "1", None])
def test_no_number_of_frames_is_one_frame(frames: str | None) -> None:
    file = dicom(RAMP) if frames is None else dicom(RAMP, NumberOfFrames=frames)
    np.testing.assert_array_equal(grey(file), grey(dicom(RAMP)))
