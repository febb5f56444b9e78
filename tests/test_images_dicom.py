"""Laws of loading DICOM: the same picture in every transfer syntax, and grey levels by hand."""

import logging
import struct
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.filereader import dcmread
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
)

from gazevlm_core.images import ImageError, load_image
from tests.dicom_samples import (
    SECRET,
    dicom,
    dicom_bytes,
    dicom_dataset,
    dicom_frame,
    dicom_jpeg2000,
    dicom_rle,
    jpeg_lossless,
    named,
    retagged,
)

ROWS, COLUMNS = 40, 48
GREY = np.random.default_rng(8).integers(0, 4096, (ROWS, COLUMNS), dtype=np.uint16)
COLOUR = np.random.default_rng(9).integers(0, 256, (ROWS, COLUMNS, 3), dtype=np.uint8)
RAMP = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32)


def grey(file: bytes) -> NDArray[np.int64]:
    """The one channel of a grey picture; all three are equal."""
    shown = np.asarray(load_image(file).image).astype(np.int64)
    assert (shown == shown[..., :1]).all()
    return shown[..., 0]


def linear_window(values: NDArray[Any], center: float, width: float) -> NDArray[Any]:
    """PS3.3 C.11.2.1.2.1, written out."""
    share = (values - (center - 0.5)) / (width - 1) + 0.5
    return np.floor(np.clip(share, 0, 1) * 255 + 0.5)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
@pytest.mark.parametrize("values", [GREY, GREY.astype(np.int16) - 2000, (GREY >> 4).astype(np.uint8)])
def test_uncompressed_syntaxes_hold_the_same_picture(syntax: UID, values: NDArray[Any]) -> None:
    np.testing.assert_array_equal(grey(dicom(values, syntax)), grey(dicom(values)))


def test_lossless_compression_changes_nothing() -> None:
    expected = grey(dicom(GREY))
    np.testing.assert_array_equal(grey(dicom_rle(GREY)), expected)
    np.testing.assert_array_equal(grey(dicom_jpeg2000(GREY)), expected)
    for syntax in (JPEGLossless, JPEGLosslessSV1):
        np.testing.assert_array_equal(grey(dicom_frame(GREY, jpeg_lossless(GREY), syntax)), expected)
    signed = GREY.astype(np.int16) - 2000
    expected = grey(dicom(signed))
    np.testing.assert_array_equal(grey(dicom_rle(signed)), expected)
    np.testing.assert_array_equal(grey(dicom_jpeg2000(signed)), expected)


def test_colour_keeps_its_values() -> None:
    np.testing.assert_array_equal(np.asarray(load_image(dicom(COLOUR)).image), COLOUR)
    np.testing.assert_array_equal(np.asarray(load_image(dicom_rle(COLOUR)).image), COLOUR)
    by_plane = dicom(np.ascontiguousarray(COLOUR.transpose(2, 0, 1)).reshape(COLOUR.shape), PlanarConfiguration=1)
    np.testing.assert_array_equal(np.asarray(load_image(by_plane).image), COLOUR)


def test_luma_chroma_becomes_colour() -> None:
    ybr = np.asarray(Image.fromarray(COLOUR).convert("YCbCr"))
    expected = np.asarray(Image.fromarray(ybr, "YCbCr").convert("RGB")).astype(int)
    shown = np.asarray(load_image(dicom(ybr, PhotometricInterpretation="YBR_FULL")).image)
    np.testing.assert_allclose(shown, expected, atol=2)


def test_lossy_compression_stays_close() -> None:
    smooth = np.asarray(Image.fromarray(COLOUR).resize((6, 5)).resize((COLUMNS, ROWS), Image.Resampling.BICUBIC))
    file = BytesIO()
    Image.fromarray(smooth).save(file, "JPEG", quality=95, subsampling=0)
    baseline = dicom_frame(smooth, file.getvalue(), JPEGBaseline8Bit, PhotometricInterpretation="YBR_FULL_422")
    np.testing.assert_allclose(np.asarray(load_image(baseline).image), smooth.astype(int), atol=12)
    lossy = dicom_jpeg2000(smooth, JPEG2000, PhotometricInterpretation="YBR_ICT")
    assert np.abs(np.asarray(load_image(lossy).image) - smooth.astype(int)).mean() < 6


@pytest.mark.parametrize("elements", [
    {}, {"WindowCenter": 1000, "WindowWidth": 700}, {"RescaleSlope": 2, "RescaleIntercept": 5},
])
def test_monochrome1_is_monochrome2_inverted(elements: dict[str, Any]) -> None:
    plain = grey(dicom(GREY, **elements))
    inverted = grey(dicom(GREY, PhotometricInterpretation="MONOCHROME1", **elements))
    np.testing.assert_array_equal(inverted, 255 - plain)


def test_without_a_window_the_depth_tells_black_and_white() -> None:
    """0, 1, ..., 1023 have 10 bits; below zero there is no scale but the smallest and the largest value."""
    np.testing.assert_array_equal(grey(dicom(RAMP)), RAMP >> 2)
    expected = np.floor(RAMP / 1023 * 255 + 0.5)
    np.testing.assert_array_equal(grey(dicom(RAMP.astype(np.int16) - 600)), expected)
    np.testing.assert_array_equal(grey(dicom(RAMP.astype(np.uint8))), RAMP % 256)


@pytest.mark.parametrize("file", [dicom, dicom_rle, lambda film: dicom(film.astype(np.uint16), BitsStored=8)])
def test_eight_bits_are_shown_as_they_are_like_those_of_a_png(file: Any) -> None:
    pale = (100 + (GREY >> 7)).astype(np.uint8)
    np.testing.assert_array_equal(grey(file(pale)), pale)


def test_window_by_hand() -> None:
    np.testing.assert_array_equal(
        grey(dicom(RAMP, WindowCenter=500, WindowWidth=200)), linear_window(RAMP, 500, 200)
    )
    rescaled = dicom(RAMP, WindowCenter=500, WindowWidth=200, RescaleSlope="0.5", RescaleIntercept="-10")
    np.testing.assert_array_equal(grey(rescaled), linear_window(RAMP * 0.5 - 10, 500, 200))
    signed = dicom(RAMP.astype(np.int16) - 600, WindowCenter=-40, WindowWidth=400)
    np.testing.assert_array_equal(grey(signed), linear_window(RAMP - 600.0, -40, 400))


def test_the_first_of_several_windows_counts() -> None:
    both = dicom(RAMP, WindowCenter=[500, 100], WindowWidth=[200, 50])
    np.testing.assert_array_equal(grey(both), linear_window(RAMP, 500, 200))


def test_other_window_functions() -> None:
    exact = grey(dicom(RAMP, WindowCenter=500, WindowWidth=200, VOILUTFunction="LINEAR_EXACT"))
    np.testing.assert_array_equal(exact, np.floor(np.clip((RAMP - 500.0) / 200 + 0.5, 0, 1) * 255 + 0.5))
    sigmoid = grey(dicom(RAMP, WindowCenter=500, WindowWidth=200, VOILUTFunction="SIGMOID"))
    np.testing.assert_array_equal(sigmoid, np.floor(255 / (1 + np.exp(-4 * (RAMP - 500.0) / 200)) + 0.5))


@pytest.mark.parametrize("window", [
    {"WindowCenter": 500, "WindowWidth": 0}, {"WindowCenter": "nan", "WindowWidth": 5}, {"WindowCenter": 500},
    {"WindowCenter": "", "WindowWidth": ""},
])
def test_a_window_that_says_nothing_counts_as_absent(window: dict[str, Any]) -> None:
    np.testing.assert_array_equal(grey(dicom(RAMP, **window)), grey(dicom(RAMP)))


def test_a_negative_slope_turns_the_greys_around() -> None:
    np.testing.assert_array_equal(
        grey(dicom(RAMP, RescaleSlope=-1, RescaleIntercept=1023)), grey(dicom(1023 - RAMP))
    )


def lookup(table: NDArray[Any], first: int, bits: int) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(table), first, bits])
    item.add_new("LUTData", "OW", table.astype("<u2").tobytes())
    return item


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_voi_table_by_hand(bits: int) -> None:
    """A square-root table from 100 on with as many bits as said; it goes before the window."""
    top = 2**bits - 1
    table = np.rint(np.sqrt(np.arange(600) / 599) * top).astype(np.uint16)
    file = dicom(RAMP, VOILUTSequence=[lookup(table, 100, bits)], WindowCenter=1, WindowWidth=2)
    expected = np.floor(table[np.clip(RAMP.astype(int) - 100, 0, 599)] / top * 255 + 0.5)
    np.testing.assert_array_equal(grey(file), expected)


def test_modality_table_goes_before_the_window() -> None:
    table = (np.arange(1024) * 3).astype(np.uint16)
    file = dicom(RAMP, ModalityLUTSequence=[lookup(table, 0, 16)], WindowCenter=1500, WindowWidth=900)
    np.testing.assert_array_equal(grey(file), linear_window(RAMP * 3.0, 1500, 900))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_moves_nothing(photometric: str) -> None:
    padded = GREY.copy()
    padded[:, :8] = 60_000
    shown = grey(dicom(padded, PixelPaddingValue=60_000, PhotometricInterpretation=photometric))
    assert (shown[:, :8] == 0).all()
    inner = grey(dicom(np.ascontiguousarray(GREY[:, 8:]), PhotometricInterpretation=photometric))
    np.testing.assert_array_equal(shown[:, 8:], inner)


def test_padding_range_and_signed_padding() -> None:
    inverted = {"PhotometricInterpretation": "MONOCHROME1"}
    for ends in ((0, 300), (300, 0)):
        ranged = grey(dicom(RAMP, PixelPaddingValue=ends[0], PixelPaddingRangeLimit=ends[1], **inverted)).ravel()
        assert (ranged[:301] == 0).all()
        assert ranged[301] == 255 - (301 >> 2)
    signed = RAMP.astype(np.int16)
    signed[0, :] = -2000
    assert (grey(dicom(signed, PixelPaddingValue=-2000, **inverted))[0] == 0).all()
    assert (grey(dicom(np.full((20, 20), 7, np.uint8), PixelPaddingValue=7)) == 0).all()


def test_bits_above_the_stored_ones_are_ignored() -> None:
    overlaid = GREY | np.uint16(0x8000)
    np.testing.assert_array_equal(grey(dicom(overlaid, BitsStored=12)), grey(dicom(GREY, BitsStored=12)))
    signed = (GREY.astype(np.int16) - 2000) & 0x0FFF  # 12 bits, their sign bit not carried on
    np.testing.assert_array_equal(
        grey(dicom(signed.astype(np.int16), BitsStored=12)), grey(dicom(GREY.astype(np.int16) - 2000, BitsStored=12))
    )


def test_pixel_spacing_changes_nothing() -> None:
    np.testing.assert_array_equal(grey(dicom(GREY, PixelSpacing=[0.1, 0.2])), grey(dicom(GREY)))


def test_no_tag_is_kept_logged_or_warned_of(caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder) -> None:
    odd = dicom(GREY, RescaleSlope="1.00000000000000000001", RescaleIntercept="0", AccessionNumber=SECRET * 2)
    recwarn.clear()
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        image = load_image(odd, name=SECRET).image
        with pytest.raises(ImageError):
            load_image(odd[:-40])
    assert image.info == {}
    assert [str(warning.message) for warning in recwarn] == []
    assert SECRET not in caplog.text
    assert [record.name for record in caplog.records if record.name.partition(".")[0] == "pydicom"] == []


def test_a_frame_in_many_fragments() -> None:
    frame = jpeg_lossless(GREY)
    split = dicom_bytes(dicom_dataset(GREY), encapsulate([frame], fragments_per_frame=7), JPEGLosslessSV1)
    np.testing.assert_array_equal(grey(split), grey(dicom(GREY, ExplicitVRLittleEndian)))


def with_pixel_data(file: bytes, vr: bytes, data: bytes) -> bytes:
    """The file with a value of its own at its end, of any length."""
    order = "<" if b"\xe0\x7f\x10\x00" in file else ">"
    tag = struct.pack(f"{order}HH", 0x7FE0, 0x0010)
    return file[:file.rindex(tag)] + tag + vr + b"\0\0" + struct.pack(f"{order}I", len(data)) + data


@pytest.mark.parametrize("surplus", [b"", b"\0"])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEGBaseline8Bit, JPEGLSLossless])
def test_an_odd_number_of_pixels_with_and_without_padding(syntax: UID, surplus: bytes) -> None:
    odd = (GREY[:39, :47] >> 4).astype(np.uint8)
    file = with_pixel_data(dicom(odd), b"OB", odd.tobytes() + surplus)
    np.testing.assert_array_equal(grey(named(file, syntax)), odd)


def test_an_odd_number_of_bytes_in_big_endian_words() -> None:
    odd = (GREY[:39, :47] >> 4).astype(np.uint8)
    swapped = np.frombuffer(odd.tobytes() + b"\0", ">u2").astype("<u2").tobytes()
    np.testing.assert_array_equal(grey(with_pixel_data(dicom(odd, ExplicitVRBigEndian), b"OW", swapped)), odd)


@pytest.mark.parametrize("writer", [dicom, dicom_rle])
@pytest.mark.parametrize("columns", [COLUMNS, COLUMNS - 1])
def test_chroma_that_is_there_in_full_is_not_taken_for_half(writer: Any, columns: int) -> None:
    colour = np.ascontiguousarray(COLOUR[:, :columns])
    whole = writer(colour, PhotometricInterpretation="YBR_FULL")
    half = retagged(whole, PhotometricInterpretation="YBR_FULL_422")
    np.testing.assert_array_equal(*(np.asarray(load_image(file).image) for file in (half, whole)))


def test_a_jpeg_never_has_the_colours_of_jpeg_2000() -> None:
    stream = BytesIO()
    Image.fromarray(COLOUR).save(stream, "JPEG", subsampling=0)
    files = [
        dicom_frame(COLOUR, stream.getvalue(), JPEGBaseline8Bit, PhotometricInterpretation=said)
        for said in ("YBR_ICT", "YBR_RCT", "YBR_FULL")
    ]
    *others, expected = (np.asarray(load_image(file).image) for file in files)
    for other in others:
        np.testing.assert_array_equal(other, expected)


def jpeg_ls_sample() -> tuple[bytes, bytes]:
    """A file, and its frame."""
    path = get_testdata_file("MR_small_jpeg_ls_lossless.dcm", download=False)
    assert path is not None
    with open(path, "rb") as file:
        data = file.read()
    return data, next(generate_frames(dcmread(BytesIO(data)).PixelData, number_of_frames=1))


def test_metadata_of_jpeg_ls_never_reach_the_decoder() -> None:
    """The decoder takes boxes of application segment 11 for parts of the picture."""
    file, frame = jpeg_ls_sample()
    box = b"JP" + struct.pack(">HII4s", 1, 1, 16, b"RESI") + b"abcdefgh"
    segment = struct.pack(">HH", 0xFFEB, 2 + len(box)) + box
    boxed = retagged(file, PixelData=encapsulate([frame[:2] + segment + frame[2:] + frame]))
    np.testing.assert_array_equal(grey(boxed), grey(file))


def test_what_is_whole_but_rare_is_not_called_damaged() -> None:
    file, frame = jpeg_ls_sample()
    table = struct.pack(">HHBBB", 0xFFF8, 5 + 256, 2, 1, 1) + bytes(range(256))
    scan = frame.index(b"\xff\xda")
    mapped = retagged(file, PixelData=encapsulate([frame[:scan] + table + frame[scan:]]))
    with pytest.raises(ImageError, match="compressed in a rare way that is not read; export it again uncompressed"):
        load_image(mapped)
