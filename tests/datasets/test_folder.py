"""Anybody's data: folder and parquet; what is missing masks nothing else, and what is wrong is named."""

import io
import json
from collections.abc import Iterable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from gazevlm_core.datasets.folder import GazeFolder
from gazevlm_core.datasets.record import DatasetError
from gazevlm_core.images import load_image


def lines(path: Path, rows: Iterable[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (30, 20)).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("cats/one.png", "two.jpg", "three.png"):
        picture(tmp_path / "images" / name)
    lines(
        tmp_path / "scanpaths.jsonl",
        [
            {"image_id": "cats/one", "reader": "r1", "x": [0.5], "y": [0.5], "duration_ms": [200]},
            {"image_id": "two.jpg", "reader": "r1", "x": 15, "y": 5, "width_px": 30, "height_px": 20},
            {"image_id": "cats/one", "reader": "r2", "x": [0.25, 1.5], "y": [0.75, 0.5]},
            {"image_id": "two.jpg", "reader": "r1", "x": 3, "y": 15, "width_px": 30, "height_px": 20},
            {"image_id": "nobody", "x": [0.5], "y": [0.5]},
        ],
    )
    lines(
        tmp_path / "studies.jsonl",
        [
            {"image_id": "cats/one", "patient_id": 7, "findings": {"cat": 1, "dog": 0, "fox": None}, "split": "test"},
            {"image_id": "three", "report": "A picture."},
        ],
    )
    return tmp_path


def test_a_folder_of_anything(root: Path) -> None:
    source = GazeFolder(root)
    one, three, two = source.records()
    assert [record.image_id for record in (one, three, two)] == ["cats/one", "three", "two.jpg"]
    assert [(reading.reader, len(reading.scanpath)) for reading in one.readings] == [("r1", 1), ("r2", 1)]
    assert (one.patient_id, one.report, one.published_split) == ("7", None, "test")
    assert one.findings == {"cat": 1.0, "dog": 0.0}
    assert (three.readings, three.findings, three.report, three.patient_id) == ((), {}, "A picture.", "three")
    assert [(f.x, f.y) for f in two.readings[0].scanpath] == [(0.5, 0.25), (0.1, 0.75)]
    assert source.dropped["fixation off the image"] == 1
    assert source.dropped["scanpaths or study without an image"] == 1
    assert [record.image_id for record in GazeFolder(root).records()] == ["cats/one", "three", "two.jpg"]


def test_images_alone_are_enough(root: Path) -> None:
    for name in ("scanpaths.jsonl", "studies.jsonl"):
        (root / name).unlink()
    assert [record.readings for record in GazeFolder(root).records()] == [(), (), ()]


def test_parquet_files_hold_images_too(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    stream = io.BytesIO()
    Image.new("L", (30, 20), 99).save(stream, "PNG")
    packed = tmp_path_factory.mktemp("parquet")
    (packed / "scanpaths.jsonl").write_bytes((root / "scanpaths.jsonl").read_bytes())
    columns = {"image_id": ["cats/one", "two.jpg"], "image": [{"bytes": stream.getvalue(), "path": "x"}] * 2}
    pyarrow.parquet.write_table(pyarrow.table(columns), packed / "a.parquet")
    one, two = GazeFolder(packed).records()
    assert (len(one.readings), len(two.readings)) == (2, 1)
    assert load_image(one.image_path).image.size == (30, 20)
    pyarrow.parquet.write_table(pyarrow.table({"image_id": ["a"]}), packed / "b.parquet")
    with pytest.raises(DatasetError, match=r"b\.parquet lacks the column 'image'"):
        list(GazeFolder(packed).records())
    (packed / "b.parquet").write_bytes(b"no parquet")
    with pytest.raises(DatasetError, match=r"cannot read b\.parquet"):
        list(GazeFolder(packed).records())


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("scanpaths.jsonl", "{", "scanpaths.jsonl, line 1 is no JSON"),
        ("scanpaths.jsonl", '{"image_id": "three", "x": [1], "y": ["a"]}', "'a' is no number"),
        ("studies.jsonl", "3", "studies.jsonl, line 1 needs an image_id"), ("studies.jsonl", "{", "line 1 is no JSON"),
        ("studies.jsonl", '{"image_id": "three", "findings": {"a": 2}}', "three: findings must be names with 1, 0"),
        ("studies.jsonl", '{"image_id": "three", "report": 4}', "report must be words"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(root: Path, name: str, text: str, words: str) -> None:
    (root / name).write_text(text)
    with pytest.raises(DatasetError, match=words):
        list(GazeFolder(root).records())


def test_no_images_and_images_of_one_name(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    picture(root / "images" / "three.jpg")
    with pytest.raises(DatasetError, match="two images are called three"):
        list(GazeFolder(root).records())
    with pytest.raises(DatasetError, match=r"holds neither images/ nor \*.parquet"):
        GazeFolder(tmp_path_factory.mktemp("empty"))


def test_a_path_may_name_its_submission(root: Path) -> None:
    digest = "ab" * 32
    one = {"image_id": "three", "reader": "r", "x": [0.5], "y": [0.5], "submission_id": "s1", "digest": digest}
    steps = [{"image_id": "two.jpg", "reader": "r", "x": x, "y": 0.5, "submission_id": name}
             for x, name in ((0.1, "s2"), (0.2, "s3"), (0.3, "s2"))]  # fmt: skip
    lines(root / "scanpaths.jsonl", [one, *steps])
    found = {record.image_id: record.readings for record in GazeFolder(root).records()}
    assert [(reading.reading_id, reading.digest) for reading in found["three"]] == [("s1", digest)]
    assert [(reading.reading_id, [f.x for f in reading.scanpath]) for reading in found["two.jpg"]] == [
        ("s2", [0.1, 0.3]), ("s3", [0.2]),
    ]  # fmt: skip
    for wrong, message in (({"digest": digest[1:]}, "64 lower-case hex"), ({"submission_id": []}, "must be a name")):
        lines(root / "scanpaths.jsonl", [{**one, **wrong}])
        with pytest.raises(DatasetError, match=message):
            list(GazeFolder(root).records())
    lines(root / "scanpaths.jsonl", [{**steps[0], "digest": digest}, steps[2]])
    with pytest.raises(DatasetError, match="another digest"):
        list(GazeFolder(root).records())
