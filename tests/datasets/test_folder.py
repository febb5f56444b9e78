"""Anybody's data: folder and parquet; what is missing masks nothing else, and what is wrong is named."""

import io
import json
import math
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from gazevlm_core.datasets.folder import GazeFolder
from gazevlm_core.datasets.label_policies import CHEXPERT_LABELS, chexpert_findings
from gazevlm_core.images import load_image
from gazevlm_core.sample import DatasetError


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
    one, three, two = source.samples()
    assert [record.image_id for record in (one, three, two)] == ["cats/one", "three", "two"]
    assert [(reading.reader, len(reading.scanpath)) for reading in one.readings] == [("r1", 1), ("r2", 1)]
    assert (one.patient_id, one.report, one.split) == ("7", None, "test")
    assert one.findings == {"cat": 1.0, "dog": 0.0}
    assert (three.readings, three.findings, three.report, three.patient_id) == ((), {}, "A picture.", "three")
    assert [(f.x, f.y) for f in two.readings[0].scanpath] == [(0.5, 0.25), (0.1, 0.75)]
    assert source.dropped["fixation off the image"] == 1
    assert source.dropped["scanpaths or study without an image"] == 1
    assert [record.image_id for record in GazeFolder(root).samples()] == ["cats/one", "three", "two"]


def test_images_alone_are_enough(root: Path) -> None:
    for name in ("scanpaths.jsonl", "studies.jsonl"):
        (root / name).unlink()
    assert [record.readings for record in GazeFolder(root).samples()] == [(), (), ()]


def test_parquet_files_hold_images_too(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    stream = io.BytesIO()
    Image.new("L", (30, 20), 99).save(stream, "PNG")
    packed = tmp_path_factory.mktemp("parquet")
    (packed / "scanpaths.jsonl").write_bytes((root / "scanpaths.jsonl").read_bytes())
    columns = {"image_id": ["cats/one", "two.jpg"], "image": [{"bytes": stream.getvalue(), "path": "x"}] * 2}
    pyarrow.parquet.write_table(pyarrow.table(columns), packed / "a.parquet")
    one, two = GazeFolder(packed).samples()
    assert (len(one.readings), len(two.readings)) == (2, 1)
    assert load_image(one.image).image.size == (30, 20)
    pyarrow.parquet.write_table(pyarrow.table({"image_id": ["a"]}), packed / "b.parquet")
    with pytest.raises(DatasetError, match=r"b\.parquet lacks the column 'image'"):
        list(GazeFolder(packed).samples())
    (packed / "b.parquet").write_bytes(b"no parquet")
    with pytest.raises(DatasetError, match=r"cannot read b\.parquet"):
        list(GazeFolder(packed).samples())


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
        list(GazeFolder(root).samples())


def test_no_images_and_images_of_one_name(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    picture(root / "images" / "three.jpg")
    with pytest.raises(DatasetError, match="two images are called three"):
        list(GazeFolder(root).samples())
    with pytest.raises(DatasetError, match=r"holds neither images/ nor \*.parquet"):
        list(GazeFolder(tmp_path_factory.mktemp("empty")).samples())


def test_a_path_may_name_its_submission(root: Path) -> None:
    digest = "ab" * 32
    one = {"image_id": "three", "reader": "r", "x": [0.5], "y": [0.5], "submission_id": "s1", "digest": digest}
    steps = [{"image_id": "two.jpg", "reader": "r", "x": x, "y": 0.5, "submission_id": name}
             for x, name in ((0.1, "s2"), (0.2, "s3"), (0.3, "s2"))]  # fmt: skip
    lines(root / "scanpaths.jsonl", [one, *steps])
    found = {record.image_id: record.readings for record in GazeFolder(root).samples()}
    assert [(reading.reading_id, reading.digest) for reading in found["three"]] == [("s1", digest)]
    assert [(reading.reading_id, [f.x for f in reading.scanpath]) for reading in found["two"]] == [
        ("s2", [0.1, 0.3]), ("s3", [0.2]),
    ]  # fmt: skip
    for wrong, message in (({"digest": digest[1:]}, "64 lower-case hex"), ({"submission_id": []}, "must be a name")):
        lines(root / "scanpaths.jsonl", [{**one, **wrong}])
        with pytest.raises(DatasetError, match=message):
            list(GazeFolder(root).samples())
    lines(root / "scanpaths.jsonl", [{**steps[0], "digest": digest}, steps[2]])
    with pytest.raises(DatasetError, match="another digest"):
        list(GazeFolder(root).samples())


# ---- the same, however it is written -------------------------------------------------------------------------------
@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """Two images and no more."""
    for name in ("a.png", "b.png"):
        picture(tmp_path / "images" / name)
    return tmp_path


def patients(root: Path, *ids: object) -> list[str]:
    lines(root / "studies.jsonl", ({"image_id": name, "patient_id": one} for name, one in zip("ab", ids, strict=True)))
    return [record.patient_id for record in GazeFolder(root).samples()]


@pytest.mark.parametrize("ids", [(0, 0), (0, "0"), (0.0, 0), (1.0, 1), ("1.0", 1), (" p", "p "), ("1.0", "1")])
def test_one_patient_is_one_patient(pair: Path, ids: tuple[object, object]) -> None:
    first, second = patients(pair, *ids)
    assert first == second
    assert first not in ("a", "b", "")


@pytest.mark.parametrize("nobody", [None, math.nan, "", " ", "nan"])
def test_unknown_patients_are_not_one(pair: Path, nobody: object) -> None:
    assert patients(pair, nobody, nobody) == ["a", "b"]


def test_an_id_that_is_none_is_named(pair: Path) -> None:
    with pytest.raises(DatasetError, match=r"studies.jsonl, line 2: patient_id: True is no name"):
        patients(pair, "p", True)


@pytest.mark.parametrize(("split", "text"), [(0, "0"), (1.0, "1"), (math.nan, ""), (None, ""), (" test ", "test")])
def test_a_split_is_text(pair: Path, split: object, text: str) -> None:
    lines(pair / "studies.jsonl", [{"image_id": "a", "split": split, "report": math.nan, "findings": {"x": math.nan}}])
    record = next(GazeFolder(pair).samples())
    assert (record.split, record.report, record.findings) == (text, None, {})


@pytest.mark.parametrize(
    ("file", "path_id", "study_id"),
    [
        ("c.png", "c", "c.png"),
        ("c.png", "c.png", "c"),
        ("c.dcm", "c.png", "c"),
        ("sub/c.png", "sub\\c.png", "./sub/c"),
        (unicodedata.normalize("NFD", "Müller.png"), unicodedata.normalize("NFC", "Müller"), "Müller.png"),
        (unicodedata.normalize("NFC", "Müller.png"), unicodedata.normalize("NFD", "Müller"), "Müller.png"),
        ("12.png", 12, 12.0),
        ("12.png", "12.0", 12),
        ("sub/c.png", "sub//c", ".\\sub\\c.png"),
    ],
)
def test_an_image_is_one_whatever_a_file_calls_it(tmp_path: Path, file: str, path_id: object, study_id: object) -> None:
    picture((tmp_path / "images" / file).with_suffix(".png"))
    (tmp_path / "images" / file).with_suffix(".png").rename(tmp_path / "images" / file)
    lines(tmp_path / "scanpaths.jsonl", [{"image_id": path_id, "x": [0.5], "y": [0.5]}])
    lines(tmp_path / "studies.jsonl", [{"image_id": study_id, "patient_id": 5, "findings": {"edema": 1}}])
    source = GazeFolder(tmp_path)
    (record,) = source.samples()
    assert (len(record.readings), record.patient_id, record.findings) == (1, "5", {"edema": 1.0})
    assert source.dropped["scanpaths or study without an image"] == 0


def test_fixations_of_one_path_under_two_names_are_one_path(pair: Path) -> None:
    lines(pair / "scanpaths.jsonl", [{"image_id": name, "reader": "r", "x": x, "y": 0.5} for name, x in
                                     (("a", 0.1), ("a.png", 0.2), ("a", 0.3))])  # fmt: skip
    (reading,) = next(GazeFolder(pair).samples()).readings
    assert [fixation.x for fixation in reading.scanpath] == [0.1, 0.2, 0.3]


@pytest.mark.parametrize("second", ["a", "a.png", "./a"])
def test_two_studies_of_one_image_are_named(pair: Path, second: str) -> None:
    lines(pair / "studies.jsonl", [{"image_id": "a"}, {"image_id": "b"}, {"image_id": second, "findings": {"x": 1}}])
    with pytest.raises(DatasetError, match=r"studies.jsonl, lines 1 and 3 are both about a; keep one"):
        list(GazeFolder(pair).samples())


def test_a_repeated_scanpath_is_told_and_counts_once(pair: Path) -> None:
    path = {"image_id": "a", "reader": "r", "x": [0.1, 0.2], "y": [0.3, 0.4], "duration_ms": [200, 300]}
    others = [{**path, "image_id": "a.png"}, {**path, "reader": "s"}, {**path, "x": [0.2, 0.2]}]
    lines(pair / "scanpaths.jsonl", [path, *others])
    source = GazeFolder(pair)
    assert [reading.reader for reading in next(source.samples()).readings] == ["r", "s", "r"]
    next(iter(source.samples()))
    assert source.dropped["repeated scanpath"] == 1


def test_a_study_without_findings_says_nothing_of_them(pair: Path) -> None:
    lines(pair / "studies.jsonl", [{"image_id": "a", "findings": math.nan}, {"image_id": "b", "findings": None}])
    assert [record.findings for record in GazeFolder(pair).samples()] == [{}, {}]
    lines(pair / "studies.jsonl", [{"image_id": "a", "findings": {" ": 1}}])
    with pytest.raises(DatasetError, match="a: a finding has no name"):
        list(GazeFolder(pair).samples())


@pytest.mark.parametrize("name", ["scanpaths", "studies"])
@pytest.mark.parametrize(("encoding", "said"), [("utf-16", "is text in UTF-16"), ("latin-1", "line 1 is no text")])
def test_text_that_is_not_utf_8_is_one_sentence(pair: Path, name: str, encoding: str, said: str) -> None:
    row = {"image_id": "a", "x": [0.5], "y": [0.5], "report": "Ödem"}
    (pair / f"{name}.jsonl").write_bytes(json.dumps(row, ensure_ascii=False).encode(encoding))
    with pytest.raises(DatasetError, match=rf"folder: {name}.jsonl.* {said}.*save it as UTF-8") as caught:
        list(GazeFolder(pair).samples())
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_is_skipped(pair: Path) -> None:
    for name in ("scanpaths", "studies"):
        row = {"image_id": "a", "x": [0.5], "y": [0.5], "report": "Ödem"}
        (pair / f"{name}.jsonl").write_bytes(b"\xef\xbb\xbf" + json.dumps(row, ensure_ascii=False).encode())
    record = next(GazeFolder(pair).samples())
    assert (len(record.readings), record.report) == (1, "Ödem")


# ---- what findings mean --------------------------------------------------------------------------------------------
def test_no_finding_says_nothing_of_support_devices_as_in_the_tables(tmp_path: Path) -> None:
    labels = [
        {"No Finding": 1, "Support Devices": 1}, {"No Finding": 1}, {"Edema": 1, "Support Devices": 0},
        {"no finding": 1, "support devices": 0, "edema": 0}, {"no finding": 1, "support devices": 1, "edema": 1},
    ]  # fmt: skip
    for number in range(len(labels)):
        picture(tmp_path / "images" / f"{number}.png")
    studies = [json.dumps({"image_id": str(number), "findings": one}) for number, one in enumerate(labels)]
    (tmp_path / "studies.jsonl").write_text("\n".join(studies))
    source = GazeFolder(tmp_path)
    found = [record.findings for record in source.samples()]
    assert found == [
        {"edema": 0.0, "support devices": 1.0}, {"edema": 0.0}, {"edema": 1.0, "support devices": 0.0},
        {"edema": 0.0, "support devices": 0.0}, {},
    ]  # fmt: skip
    assert source.dropped["no finding and a finding"] == 1
    for one, known in zip(labels[:2], found, strict=False):
        row = dict.fromkeys(CHEXPERT_LABELS, "") | {name: str(value) for name, value in one.items()}
        table = chexpert_findings(row, "here")
        assert table is not None
        assert {name: table.get(name) for name in ("edema", "support devices")} == {
            name: known.get(name) for name in ("edema", "support devices")
        }


def test_no_finding_is_none_and_contradicts_a_finding(pair: Path) -> None:
    lines(pair / "studies.jsonl", [
        {"image_id": "a", "findings": {"No Finding": 1}},
        {"image_id": "b", "findings": {"Pulmonary Edema": 1, "fox": 0}},
    ])  # fmt: skip
    normal, ill = GazeFolder(pair).samples()
    assert (normal.findings, ill.findings) == ({"edema": 0.0, "fox": 0.0}, {"edema": 1.0, "fox": 0.0})
    lines(pair / "studies.jsonl", [{"image_id": "a", "findings": {"no finding": 1, "fox": 1}}])
    source = GazeFolder(pair)
    assert next(source.samples()).findings == {}
    assert source.dropped["no finding and a finding"] == 1


@pytest.mark.parametrize(
    ("findings", "said"),
    [({"edema": -1}, "edema is -1; leave out what is unsure"), ({"Edema": 1, "edema": 0}, "say of edema, under two")],
)
def test_findings_that_are_unsure_or_disagree_are_named(pair: Path, findings: dict[str, int], said: str) -> None:
    lines(pair / "studies.jsonl", [{"image_id": "a", "findings": findings}])
    with pytest.raises(DatasetError, match=f"a: findings .*{said}"):
        list(GazeFolder(pair).samples())
