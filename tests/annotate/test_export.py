"""An export holds what the store holds, in every format; the gaze files feed training; nothing is left half done."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image
from sqlalchemy import Table

from annotate.export import folder as folder_module
from annotate.export import formats as formats_package
from annotate.export.folder import export_store, images_with_submissions
from annotate.export.formats.csv import FIXATION_HEADS, FORMULA_STARTS, plain_cell
from annotate.export.lines import json_line, line_of, read_line
from annotate.export.verify import receipt_sentence
from annotate.store.model import LINE_NAMES, AuditEntry, Person, Skip, Stored, StoredImage, StoreError
from annotate.store.store import AnnotationStore
from annotate.store.tables import AUDIT, IMAGES, PEOPLE, SKIPS, SUBMISSIONS
from annotate.votes import labels
from gazevlm_core.annotation import record_digest, to_values
from gazevlm_core.datasets.folder import GazeFolder
from gazevlm_core.datasets.scanpath_files import read_scanpaths
from gazevlm_core.images import load_image
from gazevlm_core.sample import DatasetError
from gazevlm_core.scanpath import Fixation, Scanpath
from tests.annotate.filled_store import HOSTILE, REPORT, clicks, fill, open_store, picture
from tests.annotate.store_maker import click_path


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


# ---- one declaration of each value -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("value", "table", "elsewhere"),
    [
        (StoredImage, IMAGES, set()), (Stored, SUBMISSIONS, set()), (Skip, SKIPS, {"image_sha256", "annotator"}),
        (AuditEntry, AUDIT, set()), (Person, PEOPLE, set()),
    ],
)  # fmt: skip
def test_every_field_of_a_value_is_a_column_of_its_table(value: type, table: Table, elsewhere: set[str]) -> None:
    assert {one.name for one in fields(value)} - set(table.c.keys()) == elsewhere


def test_every_field_is_part_of_a_line_and_comes_back(store: AnnotationStore) -> None:
    stored = store.stored(include_removed=True)
    values = [
        *store.images(), *stored, *(one.verdict_update() for one in stored), *store.skips(), *store.audit(),
        *store.people(),
    ]  # fmt: skip
    for value in values:
        line = line_of(value)
        names = {LINE_NAMES.get(one.name, one.name) for one in fields(value)} - {"synced"}
        assert set(line) - {"image_id"} == names - {"image_id"}
        assert read_line(type(value), json.loads(json_line(line))) == value


def test_every_field_of_an_image_and_of_a_submission_is_a_column_of_the_parquet_files(everything: Path) -> None:
    schema = pq.read_schema(everything / "data" / "train-00000.parquet")
    nested = schema.field("annotations").type.value_type
    for value, columns in ((StoredImage, set(schema.names)), (Stored, {one.name for one in nested})):
        assert {LINE_NAMES.get(one.name, one.name) for one in fields(value)} - {"synced"} <= columns


def test_every_format_is_found_by_its_module_and_told_in_the_data_card(everything: Path) -> None:
    modules = {path.stem for path in Path(formats_package.__file__).parent.glob("*.py")} - {"__init__"}
    assert set(formats_package.NAMES) == set(formats_package.formats()) == modules
    assert json.loads((everything / "export.json").read_text())["formats"] == list(formats_package.NAMES)
    card = (everything / "README.md").read_text("utf-8")
    for one in formats_package.formats().values():
        for name in one.files:
            assert (everything / name).exists()
            assert f"- `{name}`: " in card


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


def test_gold_is_published_where_all_that_it_rests_on_is(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    image = store.add_image(picture(1), "case", by="boss")
    people = [store.pseudonym(name) for name in ("Ada", "Ben", "Cleo")]
    made = [clicks(image, who, number) for number, who in enumerate(people)]
    for one in made:
        store.submit(one)
    ada, ben, cleo = people
    store.review(made[0].submission_id, "accepted", "", "boss")
    store.review(made[1].submission_id, "accepted", "", "boss")

    def published(path: Scanpath, *gold_from: str) -> bool:
        store.set_gold(image.sha256, path, "boss", gold_from=gold_from)
        ((found, _stored),) = images_with_submissions(store, "accepted")
        assert found.gold in (None, path)
        assert (found.gold is None) <= (found.gold_from == ())
        return found.gold is not None

    of_ada, of_cleo = made[0].scanpath, made[2].scanpath
    assert published(Scanpath((Fixation(0.1, 0.2),), "eyetracker")), "of nobody here"
    assert published(of_ada, ada)
    assert published(of_ada, ada, ben)
    assert published(of_ada), "its times tell whose it is"
    assert not published(of_cleo), "its times tell whose it is, and hers is pending"
    assert not published(of_cleo, cleo)
    assert not published(of_ada, ada, ben, cleo), "chosen from one that is not published"
    assert not published(of_cleo, ada, ben), "whatever is said"
    store.close()


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


def test_the_card_opens_a_flat_form(store: AnnotationStore, everything: Path, tmp_path: Path) -> None:
    import datasets

    assert datasets.get_dataset_config_names(str(everything)) == ["default", "flat"]
    flat = datasets.load_dataset(str(everything), "flat", split="train", cache_dir=str(tmp_path))
    kept = store.stored(include_removed=True)
    assert sorted(flat["number"]) == [one.number for one in kept]
    by_number = {one.number: one for one in kept}
    plain = (datasets.Value, datasets.List)
    assert all(isinstance(feature, plain) for feature in flat.features.values())
    for row in flat:
        one = by_number[row["number"]]
        annotation, path = one.annotation, one.annotation.scanpath
        assert (row["image_id"], row["reader"], row["question"], row["kind"]) == (
            one.image_sha256, annotation.annotator, annotation.question, one.kind,
        )  # fmt: skip
        assert (everything / row["file_name"]).is_file()
        for name in ("x", "y", "onset_ms", "duration_ms"):
            assert row[name] == [getattr(fixation, name) for fixation in path], name
        assert row["findings"] == list(annotation.findings)
        asked = annotation.findings_asked
        assert row["findings_asked"] == (None if asked is None else list(asked))
    text = (everything / "README.md").read_text("utf-8")
    code = text.split("```python\n")[1].split("```")[0].replace("FOLDER", str(everything))
    code = code.replace("split=", f"cache_dir={str(tmp_path)!r}, split=")
    shown: dict = {}
    exec(code, shown)
    assert (len(shown["images"]), len(shown["paths"])) == (4, 9)


def test_card_says_what_there_is(everything: Path, accepted: Path) -> None:
    text = (everything / "README.md").read_text("utf-8")
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["license"] == "cc-by-4.0"
    assert [(one["config_name"], one["data_files"][0]["path"]) for one in front["configs"]] == [
        ("default", "data/*.parquet"), ("flat", "flat/*.parquet"),
    ]  # fmt: skip
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


def test_a_click_at_the_edge_is_on_the_image_in_pixels_too(tmp_path: Path) -> None:
    edge = 1 - 2**-40  # as far as a click can be moved on the page
    store = open_store(tmp_path / "store")
    image = store.add_image(picture(1), "a", by="admin")
    who = store.pseudonym("somebody")
    store.submit(clicks(image, who, 1, **click_path([(edge, edge), (0.5, 0.5)])))
    out = export_store(store, tmp_path / "out", formats=["csv", "coco"]).folder
    store.close()
    first = rows(out / "fixations.csv")[0]
    (entry,) = [one for one in json.loads((out / "coco.json").read_text("utf-8"))["annotations"] if "keypoints" in one]
    for x_px, y_px in ((float(first["x_px"]), float(first["y_px"])), entry["keypoints"][:2]):
        assert x_px < image.width_px
        assert y_px < image.height_px


def test_coco_keypoints(store: AnnotationStore, everything: Path) -> None:
    coco = json.loads((everything / "coco.json").read_text("utf-8"))
    category, *_findings = coco["categories"]
    assert category["keypoints"] == ["fixation_1", "fixation_2", "fixation_3", "fixation_4"]
    assert category["skeleton"] == [[1, 2], [2, 3], [3, 4]]
    images = {image["id"]: image for image in coco["images"]}
    assert {image["file_name"] for image in images.values()} <= set(files(everything))
    kept = {one.number: one for one in store.stored(include_removed=True)}
    paths = [entry for entry in coco["annotations"] if entry["category_id"] == category["id"]]
    assert {entry["id"] for entry in paths} == set(kept)
    for entry in paths:
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


def test_coco_is_whole(store: AnnotationStore, everything: Path) -> None:
    coco = json.loads((everything / "coco.json").read_text("utf-8"))
    assert {"info", "licenses", "images", "annotations", "categories"} == set(coco)
    assert coco["info"]["description"].startswith("Click scanpaths.")
    assert coco["licenses"] == [{"id": 1, "name": "cc-by-4.0", "url": ""}]
    names = {category["id"]: category["name"] for category in coco["categories"]}
    assert len(names) == len(coco["categories"])
    assert {"scanpath", "edema", "nodule"} <= set(names.values())
    assert len({entry["id"] for entry in coco["annotations"]}) == len(coco["annotations"])
    found: dict[str, set[str]] = {image["image_id"]: set() for image in coco["images"]}
    sizes = {image["id"]: (image["image_id"], image["width"], image["height"]) for image in coco["images"]}
    for entry in coco["annotations"]:
        sha256, width, height = sizes[entry["image_id"]]
        left, top, wide, high = entry["bbox"]
        assert wide > 0
        assert high > 0
        assert entry["area"] == wide * high
        assert left >= 0
        assert top >= 0
        assert left + wide <= width
        assert top + high <= height
        assert entry["attributes"]["image_id"] == sha256
        if names[entry["category_id"]] != "scanpath":
            assert entry["bbox"] == [0, 0, width, height]
            found[sha256].add(names[entry["category_id"]])
    for image in coco["images"]:
        known = labels(store.stored(sha256=image["image_id"]))
        assert image["findings"] == known
        assert found[image["image_id"]] == {name for name, label in known.items() if label}
    assert any(found.values())


def test_a_single_click_has_a_box(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    image = store.add_image(picture(1), "a.png", by="admin")
    places = [[(0.5, 0.5)], [(0.2, 0.1), (0.2, 0.9)], [(0.999999, 0.999999)]]
    for number, points in enumerate(places):
        store.submit(clicks(image, store.pseudonym(str(number)), number, **click_path(points)))
    coco = json.loads((export_store(store, tmp_path / "out", formats=["coco"]).folder / "coco.json").read_text("utf-8"))
    boxes = [entry["bbox"] for entry in coco["annotations"] if entry["category_id"] == 1]
    assert boxes == [[30, 20, 1, 1], [12, 4, 1, 33], [59, 39, 1, 1]]
    assert coco["licenses"][0]["name"] == "unknown"
    store.close()


# ---- one name for one image -----------------------------------------------------------------------------------------
def test_an_image_has_one_name_in_every_file(store: AnnotationStore, everything: Path, tmp_path: Path) -> None:
    ids = {image.sha256 for image in store.images()}
    some = {one.image_sha256 for one in store.stored(include_removed=True)}
    for name in ("images", "records", "scanpaths", "studies", "skips"):
        found = {line["image_id"] for line in lines(everything / f"{name}.jsonl")}
        assert found, name
        assert found <= ids, name
    assert {line["image_id"] for line in lines(everything / "images.jsonl")} == ids
    assert {line["image_id"] for line in lines(everything / "records.jsonl")} == some
    for name in ("annotations", "fixations"):
        assert {row["image_id"] for row in rows(everything / f"{name}.csv")} == some, name
    assert {image["image_id"] for image in json.loads((everything / "coco.json").read_text("utf-8"))["images"]} == ids
    assert {path.stem for path in (everything / "images").iterdir()} == ids
    for folder in ("data", "flat"):
        found = pq.read_table(everything / folder, columns=["image_id"])["image_id"].to_pylist()
        assert set(found) == (ids if folder == "data" else some), folder


# ---- training -------------------------------------------------------------------------------------------------------
def test_the_folder_adapter_reads_it(store: AnnotationStore, everything: Path) -> None:
    source = GazeFolder(everything)
    records = {record.image_id: record for record in source.samples()}
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


def test_paths_tell_times_mode_kind_and_question(store: AnnotationStore, everything: Path) -> None:
    for line in lines(everything / "scanpaths.jsonl"):
        one = store.find(line["submission_id"])
        assert one is not None
        annotation, path = one.annotation, one.annotation.scanpath
        assert (line["mode"], line["kind"], line["question"]) == (annotation.client.mode, one.kind, annotation.question)
        assert line["onset_ms"] == [fixation.onset_ms for fixation in path]
        durations = [fixation.duration_ms for fixation in path]
        assert line.get("duration_ms") == (durations if any(durations) else None)
    read = read_scanpaths(everything / "scanpaths.jsonl").readings
    found = {reading.reading_id: reading.scanpath for reading in read}
    assert found == {one.annotation.submission_id: one.annotation.scanpath
                     for one in store.stored() if one.verdict != "rejected"}  # fmt: skip
    assert {line["question"] for line in lines(everything / "studies.jsonl")} >= {"What is wrong?"}


def test_a_reader_counts_once_on_an_image(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    image = store.add_image(picture(1), "a.png", by="admin")
    ann, bob = store.pseudonym("Ann"), store.pseudonym("Bob")
    for number, who in enumerate((ann, bob, ann)):
        store.submit(clicks(image, who, number))
    source = GazeFolder(export_store(store, tmp_path / "out").folder)
    (record,) = source.samples()
    ids = [one.annotation.submission_id for one in store.stored()]
    assert [reading.reading_id for reading in record.readings] == ids[:2]
    assert source.dropped["further submission of a reader"] == 1
    store.close()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"image_id": "a", "x": [0.5, 0.6], "y": [0.5, 0.6], "onset_ms": [9, 3]}', "must not run backwards"),
        ('{"image_id": "a", "x": [0.5, 0.6], "y": [0.5, 0.6], "onset_ms": [9]}', "lists of one length"),
        ('{"image_id": "a", "x": 0.5, "y": 0.5, "onset_ms": "soon"}', "'soon' is no number"),
    ],
)
def test_onsets_are_checked(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "paths.jsonl").write_text(line)
    with pytest.raises(DatasetError, match=message):
        read_scanpaths(tmp_path / "paths.jsonl")


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
    with pytest.raises(DatasetError, match=r"line 1: source must be one of eyetracker, click"):
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
    found = receipt_sentence(store, one.receipt_id.lower())
    assert found == f"Submission {one.number} is kept here. Receipt {one.receipt_id}, SHA-256 {one.digest}."
    assert "no submission" in receipt_sentence(store, "0000000000")
