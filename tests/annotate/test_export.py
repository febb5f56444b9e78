"""An export holds what the store holds, in every format; the gaze files feed training; nothing is left half done."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from annotate.export import folder as folder_module
from annotate.export.folder import export_store
from annotate.export.receipts import check_receipt
from annotate.export.tables import FIXATION_HEADS, FORMULA_STARTS, plain_cell
from annotate.store.store import AnnotationStore
from annotate.store.types import StoreError
from gazevlm_core.annotation import record_digest, to_values
from gazevlm_core.datasets.folder import GazeFolder
from gazevlm_core.datasets.scanpath_files import ScanpathFileError, read_scanpaths
from gazevlm_core.images import load_image
from tests.annotate.filled_store import HOSTILE, REPORT, fill, open_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnnotationStore]:
    store = open_store(tmp_path_factory.mktemp("store"))
    fill(store)
    yield store
    store.close()


@pytest.fixture(scope="module")
def everything(store: AnnotationStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_store(store, tmp_path_factory.mktemp("out") / "all", licence="cc-by-4.0").folder


@pytest.fixture(scope="module")
def accepted(store: AnnotationStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_store(store, tmp_path_factory.mktemp("out") / "accepted", which="accepted").folder


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_bytes().decode(), newline="")))


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---- JSON lines -----------------------------------------------------------------------------------------------------
def test_every_record_is_there_with_its_receipt(store: AnnotationStore, everything: Path) -> None:
    kept = {one.number: one for one in store.stored(include_removed=True)}
    found = lines(everything / "records.jsonl")
    assert sorted(line["number"] for line in found) == sorted(kept)
    assert len(kept) == 9
    for line in found:
        one = kept[line["number"]]
        assert line["record"] == to_values(one.annotation)
        assert record_digest(line["record"]) == line["digest"] == one.receipt.digest
        assert (line["receipt"], line["kind"], line["verdict"]) == (one.receipt.receipt_id, one.kind, one.verdict)
        assert (line["reason"], line["removed"], line["revision"]) == (one.reason, one.removed, one.revision)


def test_names_stay_here_unless_asked_for(store: AnnotationStore, everything: Path, tmp_path: Path) -> None:
    assert all(line["name"] is None for line in lines(everything / "people.jsonl"))
    for name, content in files(everything).items():
        for person in (b"Ada", b"Cleo", b"Root"):
            assert person not in content, name
    told = export_store(store, tmp_path / "names", names=True, formats=["csv"]).folder
    assert {line["name"] for line in lines(told / "people.jsonl")} == {"Ada", "Ben", "Cleo", "=Dan", "Root"}
    assert "do not publish" in (told / "README.md").read_text("utf-8")


def test_accepted_is_for_publishing(store: AnnotationStore, accepted: Path) -> None:
    found = lines(accepted / "records.jsonl")
    assert {line["verdict"] for line in found} == {"accepted"}
    assert len(found) == 3
    assert len(lines(accepted / "images.jsonl")) == len(list((accepted / "images").iterdir())) == 2
    assert not any((accepted / name).exists() for name in ("audit.jsonl", "skips.jsonl", "people.jsonl"))
    assert b"clicking at random" not in b"".join(files(accepted).values())


def test_the_same_store_gives_the_same_bytes(store: AnnotationStore, everything: Path, tmp_path: Path) -> None:
    again = export_store(store, tmp_path / "again", licence="cc-by-4.0").folder
    assert files(again) == files(everything)


def test_images_are_the_stored_pixels(store: AnnotationStore, everything: Path) -> None:
    for line in lines(everything / "images.jsonl"):
        loaded = load_image(everything / "images" / f"{line['image_id']}.png").image
        kept = store.pixels(line["image_id"]).convert("RGB")
        assert np.array_equal(np.asarray(loaded), np.asarray(kept))


# ---- parquet and the card -------------------------------------------------------------------------------------------
def test_parquet_is_a_dataset_with_an_image_feature(store: AnnotationStore, everything: Path, tmp_path: Path) -> None:
    import datasets

    loaded = datasets.load_dataset(str(everything), split="train", cache_dir=str(tmp_path))
    assert isinstance(loaded.features["image"], datasets.Image)
    assert len(loaded) == 4
    by_digest = {row["image_id"]: row for row in loaded}
    for image in store.images():
        row = by_digest[image.sha256]
        assert isinstance(row["image"], Image.Image)
        assert np.array_equal(np.asarray(row["image"]), np.asarray(store.pixels(image.sha256)))
        kept = store.stored(sha256=image.sha256, include_removed=True)
        assert [one["receipt"] for one in row["annotations"]] == [one.receipt.receipt_id for one in kept]
        for one, stored in zip(row["annotations"], kept, strict=True):
            assert [(at["x"], at["y"], at["onset_ms"], at["duration_ms"]) for at in one["fixations"]] == [
                (at.x, at.y, at.onset_ms, at.duration_ms) for at in stored.annotation.scanpath
            ]
            assert record_digest(json.loads(one["record"])) == stored.receipt.digest


def test_card_says_what_there_is(everything: Path, accepted: Path) -> None:
    text = (everything / "README.md").read_text("utf-8")
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["license"] == "cc-by-4.0"
    assert front["configs"][0]["data_files"][0]["path"] == "data/*.parquet"
    assert front["size_categories"] == ["n<1K"]
    assert "4 images, 9 submissions with 34 fixations by 4 annotators; 1 of the submissions were taken out" in text
    assert "apostrophe in front" in text
    told = (accepted / "README.md").read_text("utf-8")
    assert yaml.safe_load(told.split("---\n")[1])["license"] == "unknown"
    assert "Ask whoever published this" in told
    named = {line.split("`")[1] for line in text.splitlines() if line.startswith("- `") and "`:" in line}
    assert named | {"README.md"} == {path.name for path in everything.iterdir()}


# ---- tables ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("start", FORMULA_STARTS)
def test_no_cell_begins_a_formula(start: str) -> None:
    assert plain_cell(f"{start}1+1") == f"'{start}1+1"
    assert plain_cell(f"  {start}1+1") == f"'  {start}1+1"
    assert plain_cell(f"a{start}") == f"a{start}"
    assert plain_cell("") == ""


def test_annotations_table(store: AnnotationStore, everything: Path) -> None:
    found = {int(row["number"]): row for row in rows(everything / "annotations.csv")}
    for one in store.stored(include_removed=True):
        row, annotation = found[one.number], one.annotation
        assert row["receipt"] == one.receipt.receipt_id
        assert row["reader"] == annotation.annotator
        assert row["removed"] == str(one.removed).lower()
        assert row["report"] == ("'" if annotation.report == HOSTILE else "") + annotation.report
        assert row["confidence"] == str(annotation.confidence or "")
    cells = [cell for row in found.values() for cell in row.values()]
    assert not any(cell.startswith(tuple("=+-@\t\r\n")) for cell in cells)
    assert "'" + HOSTILE in cells
    assert "'@SUM(A1)" in cells
    assert REPORT in cells


def test_fixation_table(store: AnnotationStore, everything: Path) -> None:
    found = rows(everything / "fixations.csv")
    assert tuple(found[0]) == FIXATION_HEADS
    for one in store.stored(include_removed=True):
        mine = [row for row in found if row["submission_id"] == one.annotation.submission_id]
        assert [int(row["index"]) for row in mine] == list(range(1, len(one.annotation.scanpath) + 1))
        for row, at in zip(mine, one.annotation.scanpath, strict=True):
            assert row["image_id"] == one.image_sha256
            assert float(row["x_px"]) == pytest.approx(at.x * one.annotation.image_width_px, abs=5e-4)
            assert float(row["y_px"]) == pytest.approx(at.y * one.annotation.image_height_px, abs=5e-4)
            assert row["onset_ms"] == str(at.onset_ms)
            assert row["duration_ms"] == ("" if at.duration_ms is None else str(at.duration_ms))


def test_coco_keypoints(store: AnnotationStore, everything: Path) -> None:
    coco = json.loads((everything / "coco.json").read_text("utf-8"))
    (category,) = coco["categories"]
    assert category["keypoints"] == ["fixation_1", "fixation_2", "fixation_3", "fixation_4"]
    assert category["skeleton"] == [[1, 2], [2, 3], [3, 4]]
    images = {image["id"]: image for image in coco["images"]}
    assert {image["file_name"] for image in images.values()} <= set(files(everything))
    kept = {one.number: one for one in store.stored(include_removed=True)}
    assert {entry["id"] for entry in coco["annotations"]} == set(kept)
    for entry in coco["annotations"]:
        annotation = kept[entry["id"]].annotation
        image = images[entry["image_id"]]
        assert image["file_name"] == f"images/{annotation.image_sha256}.png"
        assert len(entry["keypoints"]) == 3 * 4
        assert entry["num_keypoints"] == len(annotation.scanpath)
        first = annotation.scanpath.fixations[0]
        assert entry["keypoints"][0] == pytest.approx(first.x * image["width"], abs=5e-4)
        assert entry["keypoints"][2::3].count(2) == len(annotation.scanpath)
        left, top, width, height = entry["bbox"]
        assert all(left - 0.01 <= at.x * image["width"] <= left + width + 0.01 for at in annotation.scanpath)
        assert all(top - 0.01 <= at.y * image["height"] <= top + height + 0.01 for at in annotation.scanpath)


# ---- training -------------------------------------------------------------------------------------------------------
def test_the_folder_adapter_reads_it(store: AnnotationStore, everything: Path) -> None:
    source = GazeFolder(everything)
    records = {record.image_id: record for record in source.records()}
    assert sum(source.dropped.values()) == 0
    assert set(records) == {image.sha256 for image in store.images()}
    for image in store.images():
        record = records[image.sha256]
        usable = [one for one in store.stored(sha256=image.sha256) if one.verdict != "rejected"]
        assert [reading.reader for reading in record.readings] == [one.annotation.annotator for one in usable]
        for reading, one in zip(record.readings, usable, strict=True):
            assert reading.scanpath.source == one.annotation.scanpath.source
            assert [(at.x, at.y, at.duration_ms) for at in reading.scanpath] == [
                (at.x, at.y, at.duration_ms) for at in one.annotation.scanpath
            ]
        written = [one.annotation.report for one in usable if one.annotation.report]
        assert record.report == (written[0] if written else None)
    assert REPORT in {record.report for record in records.values()}


def test_gazevlm_score_reads_it(store: AnnotationStore, everything: Path) -> None:
    found = read_scanpaths(everything / "scanpaths.jsonl")
    assert len(found.readings) == 7  # nine, less a rejected and a removed one
    assert (found.off_image, found.empty) == (0, 0)
    assert sorted({reading.scanpath.source for reading in found.readings}) == ["click", "moving window"]


def test_a_scanpath_file_says_how_paths_were_made(tmp_path: Path) -> None:
    path = tmp_path / "paths.jsonl"
    lines = ['{"image_id": "a", "x": 0.5, "y": 0.5, "source": "bubble"}', '{"image_id": "b", "x": 0.5, "y": 0.5}']
    path.write_text("\n".join(lines))
    assert [one.scanpath.source for one in read_scanpaths(path).readings] == ["bubble", "eyetracker"]
    path.write_text('{"image_id": "a", "x": 0.5, "y": 0.5, "source": ["guess"]}\n')
    with pytest.raises(ScanpathFileError, match=r"line 1: source must be one of eyetracker, click"):
        read_scanpaths(path)


# ---- whole or not at all --------------------------------------------------------------------------------------------
def test_an_export_that_fails_leaves_nothing(store: AnnotationStore, tmp_path: Path, monkeypatch) -> None:
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder_module, "render_card", full)
    with pytest.raises(StoreError, match=r"No space left on device.*nothing was left"):
        export_store(store, tmp_path / "out", formats=["jsonl"])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_and_unknown_formats_are_refused(store: AnnotationStore, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(StoreError, match="in use"):
        export_store(store, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(StoreError, match="xml was asked for"):
        export_store(store, tmp_path / "out", formats=["xml"])
    (tmp_path / "empty").mkdir()
    assert (export_store(store, tmp_path / "empty", formats=["csv"]).folder / "annotations.csv").is_file()


def test_an_empty_store_can_be_exported(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    done = export_store(store, tmp_path / "out")
    assert done.counts["submissions"] == 0
    assert json.loads((done.folder / "coco.json").read_text())["annotations"] == []
    store.close()


# ---- receipts -------------------------------------------------------------------------------------------------------
def test_receipts_are_looked_up_without_their_content(store: AnnotationStore) -> None:
    one = store.stored()[0]
    found = check_receipt(store, one.receipt.receipt_id.lower())
    assert (found.present, found.number, found.digest) == (True, one.number, one.receipt.digest)
    assert one.receipt.digest in found.sentence
    assert one.verdict not in found.sentence
    missing = check_receipt(store, "0000000000")
    assert not missing.present
    assert "no submission" in missing.sentence
