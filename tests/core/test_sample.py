"""A sample is checked at birth, reads its image once, and has one digest of pixels."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gazevlm_core.sample import DatasetError, Reading, Sample, pixel_digest
from gazevlm_core.scanpath import Fixation, Scanpath

PATH = Scanpath((Fixation(0.25, 0.5),), "click")


def test_a_digest_is_of_mode_size_and_pixels_and_grey_is_grey_in_any_mode() -> None:
    grey = Image.frombytes("L", (2, 1), b"\x07\x09")
    assert pixel_digest(grey) == hashlib.sha256(b"L 2x1\n\x07\x09").hexdigest()
    assert pixel_digest(grey.convert("RGB")) == pixel_digest(grey)
    assert pixel_digest(Image.frombytes("L", (1, 2), b"\x07\x09")) != pixel_digest(grey)
    color = Image.frombytes("RGB", (1, 1), b"\x01\x02\x03")
    assert pixel_digest(color) == hashlib.sha256(b"RGB 1x1\n\x01\x02\x03").hexdigest()
    with pytest.raises(ValueError, match="mode RGBA"):
        pixel_digest(color.convert("RGBA"))


def test_a_sample_whose_patient_is_unknown_is_one_of_its_own() -> None:
    assert Sample("a").patient_id == "a"
    assert Sample("a", patient_id="p").patient_id == "p"


@pytest.mark.parametrize("findings", [{"edema": 1.5}, {"edema": float("nan")}, {"edema": -0.1}])
def test_findings_are_probabilities(findings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="edema"):
        Sample("a", findings=findings)


def test_readings_have_a_source_a_verdict_and_a_whole_digest() -> None:
    reading = Reading("r1", PATH, verdict="accepted")
    assert reading.source == "click"
    assert Sample("a", readings=(reading,)).scanpaths == (PATH,)
    with pytest.raises(ValueError, match="verdict"):
        Reading("r1", PATH, verdict="perhaps")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="64"):
        Reading("r1", PATH, digest="abc")


def test_an_image_is_checked_against_the_digest_that_it_goes_by(tmp_path: Path) -> None:
    image = Image.fromarray(np.arange(320, dtype=np.uint16).astype(np.uint8).reshape(16, 20))
    file = tmp_path / "a.png"
    image.save(file)
    sample = Sample("a", file, dataset="folder", digest=pixel_digest(image))
    assert sample.load().tobytes() == image.convert("RGB").tobytes()
    Image.new("L", (20, 16)).save(file)
    with pytest.raises(DatasetError, match="a: its pixels are not those of digest"):
        sample.load()
    file.unlink()
    with pytest.raises(DatasetError, match="a: There is no such file"):
        sample.load()
