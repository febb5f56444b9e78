"""When two are the same: ids, names of images, text of any encoding; the same in every file that comes in."""

import math
import unicodedata
from pathlib import Path

import pytest

from gazevlm_core.datasets.files import read_text, text_lines
from gazevlm_core.datasets.identity import ImageNames, id_text, image_name, same_images, without_ending
from gazevlm_core.sample import DatasetError

COMPOSED, APART = (unicodedata.normalize(form, "Müller") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    "nothing", [None, math.nan, "", "  ", "nan", "NaN", "null", "None", "<NA>", "NA", "NULL", "N/A", "NaT"]
)
def test_only_what_is_blank_is_absent(nothing: object) -> None:
    assert id_text(nothing) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (0.0, "0"), ("0", "0"), (-0.0, "0"), (1, "1"), (1.0, "1"), ("1.0", "1"), (" 1 ", "1"),
        ("1.50", "1.50"), (1.5, "1.5"), ("007", "007"), ("1.2.0", "1.2.0"), (10**17, "1" + "0" * 17),
        (1e17, "1" + "0" * 17), ("Nan", "Nan"), (APART, COMPOSED),
    ],
)  # fmt: skip
def test_one_id_is_written_in_many_ways(value: object, text: str) -> None:
    assert id_text(value) == text
    assert id_text(text) == text


@pytest.mark.parametrize("value", [True, [], {}, math.inf, -math.inf, "p\ud800"])
def test_what_names_nobody_is_refused(value: object) -> None:
    for read in (id_text, image_name):
        with pytest.raises(ValueError, match=r"is no (name and no number|text: it holds half of a character)"):
            read(value)


@pytest.mark.parametrize(
    ("value", "name"),
    [("sub\\a.png", "sub/a.png"), ("./a", "a"), (7, "7"), (7.0, "7"), ("7.0", "7.0"), (APART, COMPOSED), (" a ", "a"),
     (".//a", "a"), ("sub//a", "sub/a"), ("sub/./a", "sub/a"), ("/a", "/a"), (".", "")],
)
def test_names_of_images(value: object, name: str) -> None:
    assert image_name(value) == name


def test_an_ending_is_that_of_an_image() -> None:
    assert [without_ending(name) for name in ("a.png", "a.DCM", "1.2.840.10", "a/.png", "a.csv", ".png")] == [
        "a", "a", "1.2.840.10", "a/.png", "a.csv", ".png",
    ]  # fmt: skip


def test_an_image_is_found_with_and_without_its_ending() -> None:
    images = ImageNames(["a.png", "b.png", "b.jpg", "1.2.3"])
    assert [images.find(name) for name in ("a", "a.png", "a.dcm", "b.png", "1.2.3", "1.2.3.dcm", "c")] == [
        "a", "a", "a", "b.png", "1.2.3", "1.2.3", None,
    ]  # fmt: skip
    assert [images.own(name) for name in ("a.png", "b.jpg")] == ["a", "b.jpg"]
    with pytest.raises(ValueError, match="two images are called b; give their endings"):
        images.find("b")
    assert same_images(["a", "a.png", "c", "d.jpg", "d.png"]) == {
        "a": "a", "a.png": "a", "c": "c", "d.jpg": "d.jpg", "d.png": "d.png",
    }  # fmt: skip


def test_text_is_utf_8_or_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    for mark in (b"", b"\xef\xbb\xbf"):
        path.write_bytes(mark + "ä,b\r\n1,2\rx,y\n".encode())
        assert list(text_lines(path)) == ["ä,b\r\n", "1,2\r", "x,y\n"]
    for encoding, said in (
        ("utf-16", "table.csv is text in UTF-16; save it as UTF-8"),
        ("utf-32", "table.csv is text in UTF-32; save it as UTF-8"),
        ("utf-16-le", "table.csv, line 1 is no text in UTF-8"),
        ("latin-1", r"table.csv, line 2 is no text in UTF-8 \(byte 0xe4\); save it as UTF-8"),
    ):
        path.write_bytes("a,b\nä,c\n".encode(encoding))
        with pytest.raises(DatasetError, match=said) as caught:
            read_text(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(DatasetError, match="cannot read"):
        read_text(tmp_path / "nowhere")
