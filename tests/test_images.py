"""Laws of loading PNG, JPEG, WebP and TIFF, and of finding image files."""

import hashlib
import logging
import subprocess
import sys
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gazevlm_core.images import ImageError, as_rgb, iter_image_files, load_image
from gazevlm_core.images.base import array_range, check_ratio, grey_range, to_8_bit
from gazevlm_core.images.headers import jpeg_segments
from gazevlm_core.images.tiff import DeepTiff
from phantoms.make import make_phantom
from tests.dicom_samples import SECRET, dicom
from tests.film_forms import FORMS
from tests.hostile_corpus import grey_tiff, picture, png_of, saved, tiff_of

UPRIGHT = np.random.default_rng(5).integers(0, 256, (24, 40, 3), dtype=np.uint8)
# How a camera stores the upright picture under each orientation (EXIF 2.32, 4.6.4 A: what row 0 and column 0 are).
STORED: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


def pixels(source: Any, **options: Any) -> NDArray[np.uint8]:
    return np.asarray(load_image(source, **options).image)


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block[274] = orientation
    block[315] = SECRET  # artist
    return block


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF"])
def test_every_orientation_comes_out_upright(file_format: str, orientation: int) -> None:
    options: dict[str, Any] = {"lossless": True} if file_format == "WEBP" else {}
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](UPRIGHT)))
    file = saved(stored, file_format, exif=exif(orientation), **options)
    np.testing.assert_array_equal(pixels(file), UPRIGHT)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_jpeg_orientation_comes_out_upright(orientation: int) -> None:
    plain = saved(Image.fromarray(UPRIGHT), "JPEG", quality=95)
    turned = saved(Image.fromarray(UPRIGHT), "JPEG", quality=95, exif=exif(orientation))
    np.testing.assert_array_equal(STORED[orientation](pixels(turned)), pixels(plain))


@pytest.mark.parametrize("block", [b"", b"II*\0", b"MM\0*\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff", b"garbage"])
def test_unreadable_exif_leaves_the_picture_as_stored(block: bytes) -> None:
    file = saved(Image.fromarray(UPRIGHT), "PNG", exif=block)
    np.testing.assert_array_equal(pixels(file), UPRIGHT)


def test_no_metadata_is_kept_or_logged(caplog: pytest.LogCaptureFixture) -> None:
    text = PngInfo()
    text.add_text("Patient", SECRET)
    options = {"exif": exif(1), "dpi": (300, 300), "icc_profile": SECRET.encode()}
    files = [
        saved(picture(), "PNG", pnginfo=text, **options),
        saved(picture(), "JPEG", comment=SECRET, **options),
        saved(picture(), "WEBP", **options),
        saved(picture(), "TIFF", description=SECRET, **options),
        saved(picture("P"), "PNG", pnginfo=text, transparency=0),
    ]
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        for file in files:
            image = load_image(file).image
            assert image.info == {}
            assert dict(image.getexif()) == {}
            assert type(image) is Image.Image
    assert [record.name for record in caplog.records] == []


def test_eight_bit_modes_keep_their_values() -> None:
    colour = picture()
    grey = np.asarray(picture("L"))
    np.testing.assert_array_equal(pixels(saved(colour, "PNG")), np.asarray(colour))
    np.testing.assert_array_equal(pixels(saved(picture("L"), "PNG"))[..., 2], grey)
    np.testing.assert_array_equal(pixels(saved(picture("1"), "PNG"))[..., 0], np.asarray(picture("1")) * 255)
    palette = colour.quantize(16)
    np.testing.assert_array_equal(pixels(saved(palette, "PNG")), np.asarray(palette.convert("RGB")))
    np.testing.assert_array_equal(pixels(saved(palette, "TIFF")), np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WEBP"])
def test_alpha_is_flattened_on_black(file_format: str) -> None:
    rgba = np.zeros((20, 20, 4), dtype=np.uint8)
    rgba[..., :3] = 200
    rgba[:5, :, 3], rgba[5:10, :, 3] = 255, 128
    options: dict[str, Any] = {"lossless": True, "exact": True} if file_format == "WEBP" else {}
    rows = pixels(saved(Image.fromarray(rgba), file_format, **options))[:, 0, 0]
    assert (rows[0], rows[7], rows[15]) == (200, 100, 0)  # 200 x 128 / 255 = 100.4


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
def test_pixels_of_pillow_are_as_load_image_shows_their_file(mode: str) -> None:
    ramp = np.linspace(0, 4095, 64 * 48).reshape(48, 64)
    deep = {"I;16": np.uint16, "I": np.int32, "F": np.float32}
    if mode in deep:
        held = Image.fromarray(ramp.astype(deep[mode]))
    elif "A" in mode:
        noise = np.random.default_rng(0).integers(0, 256, (48, 64, 4), dtype=np.uint8)
        held = Image.fromarray(noise).convert(mode)
    else:
        held = picture(mode)
    file = saved(held, "TIFF")
    np.testing.assert_array_equal(np.asarray(as_rgb(held)), pixels(file))
    with Image.open(BytesIO(file)) as opened:
        np.testing.assert_array_equal(np.asarray(as_rgb(opened)), pixels(file))
    if mode in deep:
        assert 120 < np.asarray(as_rgb(held)).mean() < 135, "a ramp, and not white from 256 on"


def test_a_transparent_value_is_black() -> None:
    grey = np.full((20, 20), 90, dtype=np.uint8)
    grey[:10] = 250
    assert pixels(saved(Image.fromarray(grey), "PNG", transparency=250))[[0, 15], 0, 0].tolist() == [0, 90]
    deep = np.linspace(1000, 2000, 400).astype(np.uint16).reshape(20, 20)
    assert pixels(saved(Image.fromarray(deep), "PNG", transparency=2000))[-1, -2:, 0].tolist() == [254, 0]


def test_cmyk_jpeg_shows_ink_on_white_paper() -> None:
    ink = np.zeros((32, 32, 4), dtype=np.uint8)
    ink[:, 16:, 0] = 255  # cyan takes the red away
    shown = pixels(saved(Image.fromarray(ink, "CMYK"), "JPEG", quality=100)).astype(int)
    np.testing.assert_allclose(shown[4, 4], [255, 255, 255], atol=3)
    np.testing.assert_allclose(shown[4, 28], [0, 255, 255], atol=3)


def test_of_a_stereo_jpeg_the_first_picture_counts() -> None:
    first, second = picture(), Image.new("RGB", (64, 64), "red")
    both = saved(first, "MPO", save_all=True, append_images=[second])
    loaded = load_image(both)
    assert loaded.format == "JPEG"
    assert loaded.image.tobytes() == load_image(saved(first, "JPEG")).image.tobytes()


# ---- deep grey ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("file_format", "dtype"), [
    ("PNG", np.uint16), ("TIFF", np.uint16), ("TIFF", ">u2"), ("TIFF", np.int32), ("TIFF", np.float32),
])
def test_deep_grey_is_shown_on_the_scale_of_its_depth(file_format: str, dtype: Any) -> None:
    """The values reach 3,819, so they have 12 bits, whatever holds them."""
    values = np.random.default_rng(6).permutation(np.arange(-20, 3820, 4).clip(0)).reshape(24, 40).astype(dtype)
    grey = pixels(saved(Image.fromarray(values), file_format))[..., 0]
    np.testing.assert_array_equal(grey, values.astype(int) >> 4)


@pytest.mark.parametrize("first", [-3000, 900, 20_000])
def test_what_has_no_scale_is_spread_over_its_own_range(first: int) -> None:
    """Below zero, or within less than a quarter of the scale."""
    values = np.random.default_rng(6).permutation(np.arange(first, first + 24 * 40)).reshape(24, 40).astype(np.int32)
    grey = pixels(saved(Image.fromarray(values), "TIFF"))[..., 0]
    in_order = grey.ravel()[np.argsort(values.ravel())].astype(int)
    np.testing.assert_array_equal(in_order, np.floor(np.arange(960) / 959 * 255 + 0.5))


@pytest.mark.parametrize(("largest", "white"), [
    (0.9, 1), (1, 1), (200, 255), (255, 255), (256, 1023), (4095, 4095), (4096, 16_383), (20_000, 65_535),
    (3e9, 2**32 - 1),
])
def test_white_is_that_of_the_depth(largest: float, white: float) -> None:
    """The upper 8 bits of whole numbers; fractions as they are."""
    ends = grey_range(0.0, largest, 0.0, largest)
    if white == 1:
        assert ends == (0.0, 1.0)
    else:
        half = (white + 1) / 2
        assert to_8_bit(np.array([0, half - 1, half, white]), *ends).tolist() == [0, 127, 128, 255]


def test_grey_range_by_hand() -> None:
    spread = np.arange(1000)
    assert array_range(spread) == (1.5, 1021.5)  # four values per grey level, the middle of 0 to 3 is black
    marked = spread.copy()
    marked[-3:] = 65535  # 0.3% of burnt-in marker must not darken the rest
    assert array_range(marked) == (1.5, 1021.5)
    assert array_range(np.where(spread < 2, 65535, 0)) == (0.0, 65535.0)  # the percentiles coincide
    assert array_range(spread - 500) == (-500.0, 499.0)
    low, high = array_range(np.where(spread < 3, 65535, spread - 500))
    assert (low, high) == (pytest.approx(-492.005), pytest.approx(497.005))
    assert array_range(np.arange(30_000, 31_000)) == (30_000.0, 30_999.0)
    assert to_8_bit(np.array([0, 5, 10, 20]), 0, 10).tolist() == [0, 128, 255, 255]
    assert to_8_bit(np.full((2, 2), 7), 7, 7).tolist() == [[0, 0], [0, 0]]


def test_tiff_whose_zero_is_white_is_inverted() -> None:
    values = np.arange(32 * 32, dtype="<u2").reshape(32, 32)
    usual = grey_tiff(32, 32, (258, 3, 1, 16), tail=values.tobytes())
    inverse = grey_tiff(32, 32, (258, 3, 1, 16), (262, 3, 1, 0), tail=values.tobytes())
    np.testing.assert_array_equal(pixels(inverse), 255 - pixels(usual))
    usual, inverse = (grey_tiff(32, 32, (262, 3, 1, kind), tail=bytes(range(256)) * 4) for kind in (1, 0))
    np.testing.assert_array_equal(pixels(inverse), 255 - pixels(usual))


def test_deep_colour_keeps_the_upper_byte() -> None:
    values = np.random.default_rng(7).integers(0, 65536, (20, 20, 3), dtype=np.uint16)
    entries = ((258, 3, 3, 0), (262, 3, 1, 2), (277, 3, 1, 3))
    file = bytearray(grey_tiff(20, 20, *entries, tail=values.astype("<u2").tobytes() + b"\x10\0\x10\0\x10\0"))
    bits_at = file.index(b"\x02\x01\x03\0\x03\0\0\0") + 8
    file[bits_at:bits_at + 4] = (len(file) - 6).to_bytes(4, "little")
    np.testing.assert_array_equal(pixels(bytes(file)), values >> 8)


@pytest.mark.parametrize("options", [
    {"compression": "tiff_lzw"}, {"compression": "tiff_deflate"}, {"compression": "packbits"}, {"big_tiff": True},
    {"compression": "tiff_adobe_deflate", "tiffinfo": {317: 2}}, {"tiffinfo": {278: 5}},
])
def test_tiff_variants_hold_the_same_picture(options: dict[str, Any]) -> None:
    np.testing.assert_array_equal(pixels(saved(picture(), "TIFF", **options)), np.asarray(picture()))


def test_tiled_tiff() -> None:
    """Four tiles of 16 x 16 make a picture of 32 x 32."""
    values = np.arange(1024, dtype=np.uint16).reshape(32, 32).astype(np.uint8)
    tiles = [values[row:row + 16, column:column + 16].tobytes() for row in (0, 16) for column in (0, 16)]
    plain = {256: 32, 257: 32, 258: 8, 259: 1, 262: 1, 277: 1, 322: 16, 323: 16}
    directory_end = 8 + 2 + 12 * (len(plain) + 2) + 4
    entries = [(tag, 3, 1, value) for tag, value in plain.items()]
    entries += [(324, 4, 4, directory_end), (325, 4, 4, directory_end + 16)]
    offsets = [directory_end + 32 + 256 * index for index in range(4)]
    tables = np.array([*offsets, *[256] * 4], dtype="<u4").tobytes()
    np.testing.assert_array_equal(pixels(tiff_of(*entries, tail=tables + b"".join(tiles)))[..., 0], values)


def test_interlaced_png_is_complete() -> None:
    """Adam7 of a 17 x 16 picture of zeros: the seven passes hold 3x2, 2x2, 5x2, 4x4, 9x4, 8x8 and 17x8 pixels."""
    passes = [(3, 2), (2, 2), (5, 2), (4, 4), (9, 4), (8, 8), (17, 8)]
    rows = b"".join(bytes(1 + columns) * lines for columns, lines in passes)
    for stream, loads in ((rows, True), (rows[:-1], False)):
        file = bytearray(png_of(17, 16, stream))
        file[28] = 1  # interlaced
        file[29:33] = zlib.crc32(file[12:29]).to_bytes(4, "big")
        if loads:
            assert pixels(bytes(file)).shape == (16, 17, 3)
        else:
            with pytest.raises(ImageError, match="cut short"):
                load_image(bytes(file))


# ---- sources ------------------------------------------------------------------------------------------------------


def test_all_sources_give_the_same(tmp_path: Path) -> None:
    file = saved(picture(), "PNG")
    path = tmp_path / "picture.png"
    path.write_bytes(file)
    link = tmp_path / "link"
    link.symlink_to(path)
    stream = BytesIO(b"before" + file)
    stream.seek(6)
    with path.open("rb", buffering=0) as raw:
        loaded = [load_image(source) for source in (file, str(path), path, link, stream, raw)]
    assert {image.sha256 for image in loaded} == {hashlib.sha256(file).hexdigest()}
    assert {image.image.tobytes() for image in loaded} == {picture().tobytes()}
    assert {(image.width_px, image.height_px, image.format, image.image.mode) for image in loaded} == {
        (64, 64, "PNG", "RGB")
    }


def test_the_content_decides_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "really_a_jpeg.png"
    path.write_bytes(saved(picture(), "JPEG"))
    assert load_image(path).format == "JPEG"
    assert load_image(saved(picture(), "WEBP"), name="x.dcm").format == "WEBP"
    with pytest.raises(ImageError, match=r"PDF document, although its name ends in \.png"):
        load_image(b"%PDF-1.4", name=f"{SECRET}.PNG")


def test_threads_do_not_disturb_each_other() -> None:
    files = [saved(picture(), "PNG"), dicom(np.asarray(picture("L"))), b"%PDF"] * 8

    def digest(file: bytes) -> str:
        try:
            return hashlib.sha256(load_image(file).image.tobytes()).hexdigest()
        except ImageError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(digest, files)) == [digest(file) for file in files[:3]] * 8


def test_import_is_light() -> None:
    code = "import sys, gazevlm_core.images; print([n for n in ('pydicom', 'torch', 'scipy') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# ---- finding files ------------------------------------------------------------------------------------------------


def test_iter_image_files(tmp_path: Path) -> None:
    uid_file = dicom(np.zeros((20, 20), dtype=np.uint8))
    for name, content in {
        "b.PNG": b"", "a.jpg": b"", "notes.txt": b"", ".hidden.png": b"", "deep/z.dcm": b"", "deep/er/y.tiff": b"",
        "1.2.840.113": uid_file, "scan": uid_file, "README": b"no image", "script.py": uid_file, ".git/x.png": b"",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "deep" / "loop").symlink_to(tmp_path)
    (tmp_path / "folder.png").mkdir()
    found = [path.relative_to(tmp_path).as_posix() for path in iter_image_files([tmp_path])]
    assert found == ["1.2.840.113", "a.jpg", "b.PNG", "scan", "deep/z.dcm", "deep/er/y.tiff"]


def test_named_files_are_given_back_as_they_are(tmp_path: Path) -> None:
    named = [tmp_path / "missing.png", tmp_path / "notes.txt"]
    named[1].write_bytes(b"text")
    assert list(iter_image_files([named[1], str(named[0])])) == [named[1], named[0]]
    assert list(iter_image_files([tmp_path])) == []


def test_stray_bytes_between_jpeg_segments_are_passed_over() -> None:
    """As Pillow and browsers do; also where a segment's own length is too short for what it holds."""
    ways = (picture(), {"exif": exif(3)}), (picture("L"), {}), (picture(), {"progressive": True})
    for image, options in ways:
        good = saved(image, "JPEG", **options)
        expected = load_image(good).image
        starts = [start for _, start, _ in jpeg_segments(good)]
        for junk in (b"\0\0\0", b"hello", b"\xff\xff\xff", b"\xff\0", b"\0" * 20_000):
            parts = [good[start:end] for start, end in pairwise([*starts, len(good)])]
            strewn = b"\xff\xd8" + parts[0] + b"".join(junk + part for part in parts[1:-1]) + parts[-1]
            assert load_image(strewn).image.tobytes() == expected.tobytes()
        short = b"\xff\xed\0\x06" + b"Photoshop 3.0" + bytes(3)  # says 6, and holds more
        assert load_image(good[:2] + good[2:20] + short + good[20:]).image.tobytes() == expected.tobytes()


def test_a_jpeg_marker_without_a_meaning_is_passed_over() -> None:
    file = BytesIO()
    Image.fromarray(np.arange(1024, dtype=np.uint16).reshape(32, 32).astype(np.uint8)).save(file, "JPEG")
    honest = file.getvalue()
    marked = honest[:2] + b"\xff\x01" + honest[2:]
    np.testing.assert_array_equal(*(np.asarray(load_image(data).image) for data in (marked, honest)))


@pytest.mark.parametrize("order", ["<", ">"])
def test_deep_channels_that_are_kept_apart_are_never_shown_wrong(order: str) -> None:
    colour = np.random.default_rng(4).integers(0, 256, (3, 32, 40)).astype(np.uint16) * 257
    options: dict[str, Any] = {"photometric": "rgb", "planarconfig": "separate", "byteorder": order}
    plain, packed = BytesIO(), BytesIO()
    tifffile.imwrite(plain, colour, **options)
    tifffile.imwrite(packed, colour, compression="zlib", **options)
    with pytest.raises(ImageError, match="keeps the channels of a deep colour picture apart; save it as PNG"):
        load_image(plain.getvalue())
    np.testing.assert_array_equal(load_image(packed.getvalue()).image, (colour >> 8).transpose(1, 2, 0))


def test_surplus_behind_the_last_row_of_a_png_changes_nothing() -> None:
    rows = (b"\0" + bytes(range(64))) * 64
    plain = pixels(png_of(64, 64, rows))
    np.testing.assert_array_equal(pixels(png_of(64, 64, rows + bytes(3_000_000))), plain)
    noise = np.random.default_rng(1).bytes(100_000)
    np.testing.assert_array_equal(pixels(png_of(64, 64, rows + noise)), plain)


def test_the_longest_strip_that_the_backbone_takes() -> None:
    assert pixels(saved(Image.new("L", (3200, 16)), "PNG")).shape == (16, 3200, 3)
    with pytest.raises(ImageError, match=r"strip of 16 x 3201 px"):
        load_image(saved(Image.new("L", (16, 3201)), "PNG"))
    with pytest.raises(ImageError, match="more than 200 times as long as wide"):
        check_ratio(60_000, 1)


# ---- one film -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_a_film_is_one_picture_in_every_form(form: str) -> None:
    film = make_phantom(3, size_px=120).image
    loaded = load_image(FORMS[form](film)).image
    np.testing.assert_array_equal(np.asarray(loaded), np.repeat(film[..., None], 3, axis=2))


# ---- TIFF samples ---------------------------------------------------------------------------------------------------

SHARES = np.linspace(0, 1, 40 * 37).reshape(40, 37)
SAMPLES = {
    "u1": SHARES * 255, "i1": SHARES * 255 - 128, "u2": SHARES * 65_535, "i2": SHARES * 65_535 - 32_768,
    "u4": SHARES * (2**32 - 1), "i4": SHARES * 65_535, "u8": SHARES * 65_535, "i8": SHARES * 65_535 - 9e9, "f2": SHARES,
    "f4": SHARES * 255, "f8": SHARES,
}  # fmt: skip


@pytest.mark.parametrize("dtype", SAMPLES)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_every_kind_of_tiff_sample_shows_the_same_picture(dtype: str, order: str, photometric: str) -> None:
    expected = SHARES * 255 if photometric == "minisblack" else 255 - SHARES * 255
    variants: list[dict[str, Any]] = [{}, {"compression": "zlib"}, {"compression": "zlib", "tile": (16, 16)}]
    if order == "<":  # PIL reads no big-endian BigTIFF
        variants.append({"bigtiff": True})
    for options in variants:
        file = BytesIO()
        tifffile.imwrite(file, SAMPLES[dtype].astype(dtype), byteorder=order, photometric=photometric, **options)
        np.testing.assert_allclose(pixels(file.getvalue())[..., 0], expected, atol=1)


@pytest.mark.parametrize(("dtype", "predictor"), [("u2", 2), ("i4", 2), ("f4", 2), ("f4", 3)])
@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate"])
def test_tiff_samples_with_a_predictor(dtype: str, predictor: int, compression: str) -> None:
    values = SAMPLES[dtype].astype(dtype)
    file = saved(Image.fromarray(values), "TIFF", compression=compression, tiffinfo={317: predictor})
    np.testing.assert_array_equal(pixels(file), pixels(saved(Image.fromarray(values), "TIFF")))


@pytest.mark.parametrize("dtype", ["<u2", ">u2", "|i1", "<f4", ">f8"])
def test_predictors_run_within_a_tile(dtype: str) -> None:
    """TIFF 6.0, section 14, and Adobe's technical note 3: tiles of 16 columns, of which the last is filled up."""
    sample_bytes = np.dtype(dtype).itemsize
    values = np.random.default_rng(1).integers(0, 256, (5, 32 * sample_bytes), dtype=np.uint8).view(dtype)
    blocks = values.reshape(5, 2, 16)
    words = blocks.view(f"{dtype[0]}u{sample_bytes}")
    differences = words.copy()
    differences[..., 1:] = words[..., 1:] - words[..., :-1]
    planes = np.ascontiguousarray(blocks.astype(blocks.dtype.newbyteorder(">")))[..., None].view(np.uint8)
    planes = planes.swapaxes(2, 3).reshape(5, 2, -1)
    plane_differences = planes.copy()
    plane_differences[..., 1:] = planes[..., 1:] - planes[..., :-1]
    for predictor, packed in ((1, words), (2, differences), (3, plane_differences)):
        header = DeepTiff(30, 5, 1, b"", False, dtype, predictor, 16)
        rows = np.ascontiguousarray(packed).reshape(5, -1).view(np.uint8)
        assert header.samples(rows).tobytes() == values[:, :30].astype(np.dtype(dtype).newbyteorder("=")).tobytes()


def test_a_deep_tiff_that_would_unpack_to_too_much_is_refused() -> None:
    with pytest.raises(ImageError, match="128 MB"):
        load_image(grey_tiff(8000, 6000, (258, 3, 1, 32), (339, 3, 1, 3), tail=bytes(64)))
