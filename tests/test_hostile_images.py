"""Whatever is thrown at the loader, it answers with one sentence, writes nothing and goes on."""

import gc
import logging
import os
import re
import struct
import subprocess
import sys
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from gazevlm_core.images import ImageError, base, load, load_image
from gazevlm_core.images.load import SPARE_BYTES
from tests.dicom_samples import SECRET, dicom
from tests.hostile_corpus import HostileFile, build_corpus, picture, saved

ACTIONS = (
    "copy", "export", "save", "use", "give", "check", "make it", "unpack", "open it", "download", "fetch", "cut out",
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> list[HostileFile]:
    return build_corpus(tmp_path_factory.mktemp("hostile"))


def snapshot(folder: Path) -> list[tuple[str, int, int]]:
    return sorted((entry.name, entry.stat(follow_symlinks=False).st_size, entry.stat(follow_symlinks=False).st_mtime_ns)
                  for entry in os.scandir(folder))


def refusal(path: Path) -> str:
    with pytest.raises(ImageError) as caught:
        load_image(path)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None  # a decoder's message could hold a tag value
    return str(caught.value)


def test_every_file_gets_one_sentence(
    corpus: list[HostileFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = corpus[0].path.parent
    before = snapshot(folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    failures = []
    gc.collect()  # what earlier tests left behind would warn here when it is freed
    with warnings.catch_warnings(record=True) as warned, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        for hostile in corpus:
            try:
                text = refusal(hostile.path)
            except (Exception, pytest.fail.Exception) as error:
                failures.append(f"{hostile.path.name[:40]}: {error!r}")
                continue
            lines_up = re.fullmatch(r"[A-Z][^\n]*[\w)]\.", text) and not re.search(r"\. ", text)
            acts = any(action in text.split(maxsplit=3)[-1] for action in ACTIONS)
            tells = re.search(hostile.mentions, text)
            leaks = re.search(rf"/|{re.escape(SECRET[:6])}|{re.escape(hostile.path.stem)}\b\.", text, re.IGNORECASE)
            if not lines_up or not acts or not tells or leaks:
                failures.append(f"{hostile.path.name[:40]} (expected {hostile.mentions}): {text}")
    assert not failures, "\n".join(failures)
    assert [str(warning.message) for warning in warned] == []
    assert [record.name for record in caplog.records if record.name.partition(".")[0] in ("PIL", "pydicom")] == []
    assert SECRET not in caplog.text
    assert snapshot(folder) == before
    assert list(tmp_path.iterdir()) == []
    assert load_image(saved(picture(), "PNG")).image.tobytes() == picture().tobytes()


def test_corpus_is_large(corpus: list[HostileFile]) -> None:
    assert len(corpus) >= 80
    assert len({hostile.path for hostile in corpus}) == len(corpus)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_no_cut_file_loads(file_format: str) -> None:
    """Wherever a file is cut, nothing half grey comes out."""
    whole = saved(picture(), file_format)
    for length in range(0, len(whole) - 60, 97):
        with pytest.raises(ImageError):
            load_image(whole[:length])


def test_surplus_data_take_no_memory() -> None:
    """Streams that hide a gigabyte, or go on for megabytes, beside honest images of the same size."""
    command = [sys.executable, "-m", "benchmarks.hostile", "--only", "surplus in the"]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    files, _, shown, crashes, above_mb, _ = done.stdout.split("all", 1)[1].split()
    assert int(files) >= 9
    assert int(shown) >= 2
    assert int(crashes) == 0
    assert int(above_mb) <= 64


@pytest.mark.parametrize("way", ["path", "bytes", "stream"])
def test_a_file_far_larger_than_its_picture_is_refused(way: str, tmp_path: Path) -> None:
    """Whatever it is; what a picture of that size can need is read, and so is some metadata."""
    deep = np.zeros((64, 64), np.uint16)
    files = [saved(picture(), file_format) for file_format in ("PNG", "JPEG", "WEBP", "TIFF")]
    for number, file in enumerate([*files, dicom(deep)]):
        for spare, refused in ((SPARE_BYTES - len(file), False), (SPARE_BYTES + (1 << 19), True)):
            content = file + bytes(spare)
            path = tmp_path / f"{number}"
            path.write_bytes(content)
            source = {"path": path, "bytes": content, "stream": BytesIO(content)}[way]
            if not refused:
                assert load_image(source).image.size == (64, 64)
                continue
            with pytest.raises(ImageError, match="far more than a picture of 64 x 64"):
                load_image(source)


def test_a_large_tiff_whose_directory_is_at_its_end(tmp_path: Path) -> None:
    grey = np.random.default_rng(6).integers(0, 256, (5000, 5000), dtype=np.uint8)
    head = b"II*\0" + struct.pack("<I", 8 + grey.nbytes)
    entries = ((256, 4, 1, 5000), (257, 4, 1, 5000), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8),
               (277, 3, 1, 1), (278, 4, 1, 5000), (279, 4, 1, grey.nbytes))
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    path = tmp_path / "end.tif"
    path.write_bytes(head + grey.tobytes() + directory)
    for source in (path, BytesIO(path.read_bytes())):
        np.testing.assert_array_equal(np.asarray(load_image(source).image)[..., 0], grey)


def test_truncated_images_stay_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(ImageError, match="LOAD_TRUNCATED_IMAGES is on"):
        load_image(saved(picture(), "JPEG"))


def test_byte_cap_counts_before_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "MAX_BYTES", 100)
    sparse = tmp_path / "sparse.png"
    with sparse.open("wb") as file:
        file.truncate(10 * 2**40)  # ten tebibytes that take no room
    for source in (sparse, bytes(101), BytesIO(bytes(101))):
        with pytest.raises(ImageError, match="larger than the limit of"):
            load_image(source)


def test_pixel_cap_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    image = saved(Image.new("L", (40, 30)), "PNG")
    monkeypatch.setattr(base, "MAX_PIXELS", 1200)
    assert load_image(image).width_px == 40
    monkeypatch.setattr(base, "MAX_PIXELS", 1199)
    with pytest.raises(ImageError, match="40 x 30 px"):
        load_image(image)
    monkeypatch.setattr(base, "MAX_SIDE_PX", 39)
    with pytest.raises(ImageError, match="39 px a side"):
        load_image(image)


@pytest.mark.parametrize("source", [None, 3, 2.5, ["a.png"], object(), {"read": 1}])
def test_other_sources_are_refused(source: object) -> None:
    with pytest.raises(ImageError, match="path, bytes or a binary stream"):
        load_image(source)


def test_streams_that_do_not_stream(tmp_path: Path) -> None:
    path = tmp_path / "text.png"
    path.write_text("text")
    closed = BytesIO(b"x")
    closed.close()
    with path.open() as text_stream:
        for stream in (text_stream, closed):
            with pytest.raises(ImageError, match="binary mode"):
                load_image(stream)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_mutated_files_are_images_or_get_one_sentence(file_format: str) -> None:
    rng = np.random.default_rng(11)
    whole = np.frombuffer(saved(picture(), file_format), dtype=np.uint8)
    sentences = []
    for _ in range(60):
        mutated = whole.copy()
        places = rng.integers(0, min(len(whole), 400), 4)
        mutated[places] = rng.integers(0, 256, 4)
        try:
            assert load_image(mutated.tobytes()).image.mode == "RGB"
        except ImageError as error:
            sentences.append(str(error))
    assert sentences, "none of them was damaged"
    assert all("\n" not in sentence and sentence.endswith(".") for sentence in sentences)
