"""Gaze as lists in JSON: readings of SIIM's radiographs, with or without the images, and photographs of crowds."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from evaluate.dataset_survey import survey
from gazevlm_core.datasets.eye_crowd import MANY, EyeCrowd
from gazevlm_core.datasets.registry import open_dataset
from gazevlm_core.datasets.siim_gaze import SiimGaze
from gazevlm_core.datasets.source import DataSource
from gazevlm_core.sample import Box, DatasetError, Sample
from tests.datasets.label_tables import write_dicom, write_picture

SHARED = Path(__file__).resolve().parents[3] / "shared/data/gaze"


def siim(root: Path, **changed: Any) -> Path:
    first = {"image_id": "1.2", "pneumothorax": 1, "x": [0.5, 1.02, 0.75], "y": [0.5, 0.5, 0.25], "t": [2, 1, 1]}
    second = {"image_id": "1.3", "pneumothorax": 0, "x": [0.1], "y": [0.2], "t": [1]}
    (root / "scanpaths.json").write_text(json.dumps([{**first, **changed}, second]))
    masks = {"1.2": [f"{1024 * 256 + 512} 128", "words"]}
    (root / "pneumothorax_rle_1024.json").write_text(json.dumps(masks))
    return root


def test_readings_of_siim_without_images(tmp_path: Path) -> None:
    source = open_dataset("siim-gaze", siim(tmp_path))
    first, second = source.samples()
    assert [(one.x, one.y, one.duration_ms) for one in first.readings[0].scanpath] == [
        (0.5, 0.5, None), (0.25, 0.75, None),
    ]  # fmt: skip
    assert first.boxes == (Box("pneumothorax", 0.25, 0.5, 1 / 1024, 0.125),)
    assert (first.image, first.findings, second.findings) == (None, {"pneumothorax": 1.0}, {"pneumothorax": 0.0})
    assert source.dropped == {"fixation off the image": 1, "mask not readable": 1}
    counts, _ = survey(source)
    assert (counts["images_opened"], counts["mean_duration_ms"]) == (0, None)
    with pytest.raises(DatasetError, match="there is no image; give the folder"):
        first.load()


def test_readings_of_siim_with_images(tmp_path: Path) -> None:
    root = siim(tmp_path)
    write_dicom(tmp_path / "dicom/study/series/1.2.dcm")
    source = open_dataset("siim-gaze", root, tmp_path / "dicom")
    (sample,) = source.samples()
    assert sample.load().size == (16, 16)
    assert source.dropped["image missing"] == 1
    assert list(source.image_files()) == ["*/*/1.2.dcm", "*/*/1.3.dcm"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"pneumothorax": 2}, "1.2: pneumothorax is '2', expected 0 or 1"),
        ({"x": [0.5]}, "x and y must be lists of numbers of one length"),
        ({"x": ["a", 1, 1]}, "x and y must be lists of numbers of one length"),
    ],
)
def test_what_is_wrong_with_siim_is_named(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        list(SiimGaze(siim(tmp_path, **changed)).samples())


def crowd(root: Path, **changed: Any) -> DataSource:
    entry = {"image": "001.jpg", "viewer": 0, "x": [0.5, 0.25], "y": [0.5, 0.75], "ms": [260, 169]}
    (root / "scanpaths.json").write_text(json.dumps([entry, {**entry, "viewer": 1, **changed}]))
    face = {"left": 256, "top": 192, "width": 128, "height": 96, "center": [1, 1]}
    faces = [{"image": "001.jpg", "n_faces": MANY, "faces": [face]}]
    (root / "faces.json").write_text(json.dumps(faces))
    write_picture(root / "images/001.jpg")
    return EyeCrowd(root)


def test_photographs_of_crowds(tmp_path: Path) -> None:
    source = crowd(tmp_path, ms=[None, -1])
    (sample,) = source.samples()
    assert [reading.reader for reading in sample.readings] == ["0", "1"]
    assert [one.duration_ms for one in sample.readings[0].scanpath] == [260.0, 169.0]
    assert [one.duration_ms for one in sample.readings[1].scanpath] == [None, None]
    assert sample.findings == {"many faces": 1.0}
    assert sample.boxes == (Box("face", 0.25, 0.25, 0.125, 0.125),)
    (tmp_path / "faces.json").unlink()
    (sample,) = source.samples()
    assert (sample.findings, sample.boxes) == ({}, ())


def test_what_is_wrong_with_crowds_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="ms must be a list as long as x and y"):
        list(crowd(tmp_path, ms=[1]).samples())
    (tmp_path / "scanpaths.json").write_text('[{"image": "a"}]')
    with pytest.raises(DatasetError, match=r"EyeCrowd: scanpaths.json, object 0 lacks 'viewer'"):
        list(EyeCrowd(tmp_path).samples())


def share_in_boxes(pairs: Iterable[tuple[Sample, Sample]]) -> float:
    """Mean share of the fixations on one film that lie in a box of another."""
    shares = []
    for read, marked in pairs:
        path = read.scanpaths[0].fixations
        shares.append(sum(any(
            box.x <= one.x < box.x + box.width and box.y <= one.y < box.y + box.height for box in marked.boxes
        ) for one in path) / len(path))  # fmt: skip
    return sum(shares) / len(shares)


@pytest.mark.skipif(not SHARED.is_dir(), reason="no recordings of gaze in ../shared/data/gaze")
def test_the_recordings_themselves() -> None:
    readings = list(open_dataset("siim-gaze", SHARED / "siim").samples())
    assert (len(readings), sum(bool(one.boxes) for one in readings)) == (1250, 268)
    ill = [one for one in readings if one.boxes]
    own, elsewhere = (share_in_boxes(zip(ill, [*ill[shift:], *ill[:shift]], strict=True)) for shift in (0, 100))
    assert own > 2 * elsewhere, "their axes: radiologists look at the pneumothorax that is there"
    photographs = list(open_dataset("eyecrowd", SHARED / "eyecrowd").samples())
    assert (len(photographs), sum(len(one.readings) for one in photographs)) == (500, 7997)
