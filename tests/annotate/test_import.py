"""Importing an export gives the identical store; hostile files are refused line by line, and never half imported."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotate import opening
from annotate.export.folder import export_store
from annotate.export.importer import BadExportError, import_folder
from annotate.export.verify import verify_export
from annotate.store.model import StoreError
from annotate.store.store import AnnotationStore
from gazevlm_core.annotation import record_digest
from gazevlm_core.scanpath import Fixation, Scanpath
from tests.annotate.filled_store import clicks, fill, open_store, picture
from web.settings import Settings


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnnotationStore]:
    store = open_store(tmp_path_factory.mktemp("store"))
    fill(store)
    yield store
    store.close()


@pytest.fixture(scope="module")
def written(store: AnnotationStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_store(store, tmp_path_factory.mktemp("out") / "export", names=True).folder


@pytest.fixture
def export(written: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(written, tmp_path / "export"))


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[AnnotationStore]:
    store = open_store(tmp_path / "empty")
    yield store
    store.close()


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def everything(store: AnnotationStore) -> dict[str, Any]:
    """All that a store says of itself, but for what is published and who has a task."""
    counts = {name: value for name, value in asdict(store.counts()).items() if name != "backlog"}
    return {
        "records": [replace(one, synced=False) for one in store.stored(include_removed=True)],
        "images": store.images(),
        "skips": store.skips(),
        "audit": store.audit(),
        "people": sorted(store.people(), key=lambda one: one.pseudonym),
        "counts": counts,
        "done": {one.pseudonym: (store.progress(one.pseudonym).done, store.progress(one.pseudonym).skipped)
                 for one in store.people()},
    }  # fmt: skip


@pytest.mark.parametrize("source", ["jsonl", "parquet"])
def test_the_imported_store_is_identical(
    store: AnnotationStore, written: Path, store_url: str, tmp_path: Path, source: Any
) -> None:
    empty = open_store(tmp_path / "empty", store_url)
    done = import_folder(empty, written, source=source)
    assert done.added == {"people": 5, "images": 4, "submissions": 9, "skips": 1, "audit": 14}
    assert done.bad == []
    assert everything(empty) == everything(store)
    for image in store.images():
        assert np.array_equal(np.asarray(empty.pixels(image.sha256)), np.asarray(store.pixels(image.sha256)))
    for one in store.stored(include_removed=True):
        assert empty.find_receipt(one.receipt.receipt_id) == replace(one, synced=False)
    again = export_store(empty, tmp_path / "again", names=True).folder
    assert files(again) == files(written)
    empty.close()


def test_importing_twice_changes_nothing(written: Path, empty: AnnotationStore) -> None:
    import_folder(empty, written)
    before = everything(empty)
    done = import_folder(empty, written)
    assert not done.added
    assert done.known["submissions"] == 9
    assert everything(empty) == before


def test_the_imported_store_goes_on(written: Path, empty: AnnotationStore, store: AnnotationStore) -> None:
    import_folder(empty, written)
    ada = empty.pseudonym("Ada")
    assert ada == store.pseudonym("Ada")
    image = empty.images()[0]
    receipt = empty.submit(clicks(image, ada, 99))
    assert receipt.number == 10  # no number twice
    empty.review(f"{receipt.submission_id}", "accepted", "", ada)
    assert [entry.number for entry in empty.audit()] == list(range(1, 16))


def test_stale_gold_of_an_export_goes(empty: AnnotationStore, tmp_path: Path) -> None:
    store = open_store(tmp_path / "stale")
    fill(store)
    one = store.stored(verdicts=["accepted"])[0]
    store.review(one.submission_id, "rejected", "in haste", "admin")
    store.set_gold(one.image_sha256, one.annotation.scanpath, "admin", gold_from=[one.annotation.annotator])
    import_folder(empty, export_store(store, tmp_path / "out").folder)
    assert store.image(one.image_sha256).gold is not None
    store.close()
    assert empty.image(one.image_sha256).gold is None


def test_an_accepted_export_can_be_imported(store: AnnotationStore, empty: AnnotationStore, tmp_path: Path) -> None:
    folder = export_store(store, tmp_path / "accepted", which="accepted", formats=["parquet"]).folder
    import_folder(empty, folder)
    assert [one.receipt for one in empty.stored()] == [one.receipt for one in store.stored(verdicts=["accepted"])]


def test_a_pseudonymous_export_has_no_names(store: AnnotationStore, empty: AnnotationStore, tmp_path: Path) -> None:
    import_folder(empty, export_store(store, tmp_path / "out", formats=["jsonl"]).folder)
    assert {person.name for person in empty.people()} == {None}


def test_what_was_asked_and_whose_gold_it_is_come_back(
    written: Path, empty: AnnotationStore, store: AnnotationStore
) -> None:
    import_folder(empty, written)
    asked = [one.annotation.findings_asked for one in empty.stored(include_removed=True)]
    assert asked == [one.annotation.findings_asked for one in store.stored(include_removed=True)]
    assert {None, ("edema", "nodule")} == set(asked)
    (gold,) = [image for image in empty.images() if image.gold is not None]
    assert len(gold.gold_from) == 2
    assert gold == store.image(gold.sha256)


# ---- into a store that holds something ------------------------------------------------------------------------------
@pytest.fixture
def starters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AnnotationStore]:
    """A store that a page has just opened, with smaller images."""
    monkeypatch.setattr(opening, "STARTER_PX", 64)
    opened = opening.open_teaching(Settings(data=tmp_path / "starters"))
    yield opened.store
    opened.store.close()


@pytest.mark.parametrize("source", ["jsonl", "parquet"])
def test_an_export_goes_into_a_store_that_holds_only_the_starters(
    store: AnnotationStore, written: Path, starters: AnnotationStore, tmp_path: Path, source: Any
) -> None:
    first, log = starters.images(), starters.audit()
    done = import_folder(starters, written, source=source)
    assert done.bad == []
    assert done.added["submissions"] == 9
    was, now = everything(store), everything(starters)
    assert now["records"] == was["records"]
    assert now["skips"] == was["skips"]
    assert now["images"] == sorted([*was["images"], *first], key=lambda one: one.sha256)
    assert now["audit"][: len(log)] == log
    came = [replace(entry, number=0) for entry in now["audit"][len(log) :]]
    assert came == [replace(entry, number=0) for entry in was["audit"]]
    assert [entry.number for entry in now["audit"]] == list(range(1, len(log) + 15)), "no number twice"
    again = import_folder(starters, written, source=source)
    assert not again.added
    assert everything(starters) == now
    whole = export_store(starters, tmp_path / "whole", names=True).folder
    copy = open_store(tmp_path / "copy")
    import_folder(copy, whole)
    assert everything(copy) == now
    assert files(export_store(copy, tmp_path / "again", names=True).folder) == files(whole)
    copy.close()


def test_starters_become_what_the_export_says_of_them_unless_somebody_touched_them_here(
    starters: AnnotationStore, tmp_path: Path
) -> None:
    other = opening.open_teaching(Settings(data=tmp_path / "other")).store
    one, two, three = [image.sha256 for image in other.images()[:3]]
    path = Scanpath((Fixation(0.5, 0.5),), "eyetracker")
    for sha256 in (one, two):
        other.set_gold(sha256, path, "admin")
    other.set_open(three, False, "admin")
    folder = export_store(other, tmp_path / "out").folder
    starters.set_open(two, False, "admin")
    import_folder(starters, folder)
    assert (starters.image(one), starters.image(three)) == (other.image(one), other.image(three))
    assert (starters.image(two).gold, starters.image(two).open) == (None, False)
    other.close()


def test_an_export_of_the_version_before_is_read(export: Path, empty: AnnotationStore, store: AnnotationStore) -> None:
    def lines_of(name: str, change: Callable[[dict], None]) -> None:
        for number in range(1, len((export / name).read_text("utf-8").splitlines()) + 1):
            change_line(export / name, number, change)

    def old_image(values: dict) -> None:
        values["sha256"] = values.pop("image_id")
        del values["gold_from"]

    lines_of("images.jsonl", old_image)
    lines_of("records.jsonl", lambda values: values.pop("image_id") and None)
    lines_of("skips.jsonl", lambda values: values.update(image_sha256=values.pop("image_id")))
    manifest = json.loads((export / "export.json").read_text("utf-8"))
    (export / "export.json").write_text(json.dumps({**manifest, "version": 1}))
    import_folder(empty, export)
    was, now = everything(store), everything(empty)
    was["images"] = [replace(image, gold_from=()) for image in was["images"]]
    assert now == was


# ---- bad files ------------------------------------------------------------------------------------------------------
def change_line(path: Path, number: int, change: Callable[[dict], object]) -> None:
    lines = path.read_text("utf-8").splitlines()
    values = json.loads(lines[number - 1])
    other = change(values)
    lines[number - 1] = other if isinstance(other, str) else json.dumps(values)
    path.write_text("\n".join(lines) + "\n", "utf-8")


def set_report(values: dict) -> None:
    values["record"]["report"] = "forged"


def set_report_and_digest(values: dict) -> None:
    set_report(values)
    values["digest"] = record_digest(values["record"])


def set_size(values: dict) -> None:
    values["record"]["image_width_px"] += 1
    values["digest"] = record_digest(values["record"])


BAD_RECORDS = [
    (lambda values: "{", "no JSON"),
    (lambda values: "[1]", "no JSON object"),
    (lambda values: "[" * 100_000, "nested too deep"),
    (lambda values: '{"a": NaN}', "number that is none"),
    (lambda values: '{"a": ' + "9" * 5000 + "}", "number that is none"),
    (lambda values: values.pop("verdict") and None, "verdict: Field required"),
    (lambda values: values.update(extra=1), "extra"),
    (lambda values: values.update(number="1"), "number"),
    (lambda values: values.update(number=0), "number: Input should be"),
    (lambda values: values.update(number=2**63), "number: Input should be"),
    (lambda values: values.update(verdict="great"), "verdict"),
    (lambda values: values.update(reason="\0"), "no text"),
    (lambda values: values.update(reason="\ud800"), "reason|no text|surrogate|JSON"),
    (lambda values: values.update(receipt="0000000000"), "was changed .* its receipt"),
    (lambda values: values["record"].update(schema_version=99), "schema_version"),
    (lambda values: values.update(image_id="0" * 64), "image_id is not the image_sha256"),
    (lambda values: values["record"]["scanpath"].update(fixations=[]), "at least one fixation"),
    (set_report, "its digest is another one"),
    (set_report_and_digest, "was changed .* its receipt"),
]


@pytest.mark.parametrize(("change", "message"), BAD_RECORDS)
def test_a_bad_record_is_told_with_its_line_and_nothing_is_imported(
    export: Path, empty: AnnotationStore, change: Callable[[dict], object], message: str
) -> None:
    change_line(export / "records.jsonl", 4, change)
    with pytest.raises(BadExportError, match="nothing was imported") as caught:
        import_folder(empty, export)
    assert len(caught.value.lines) == 1
    assert caught.value.lines[0].startswith("records.jsonl, line 4: ")
    assert "\n" not in caught.value.lines[0]
    assert re.search(message, caught.value.lines[0])
    assert empty.counts().images == empty.counts().people == 0


def test_skip_bad_leaves_out_and_counts(export: Path, empty: AnnotationStore, store: AnnotationStore) -> None:
    change_line(export / "records.jsonl", 2, set_report)
    change_line(export / "records.jsonl", 5, lambda values: "{")
    bad = [json.loads(line)["number"] for line in (export / "records.jsonl").read_text("utf-8").splitlines()[1:2]]
    done = import_folder(empty, export, skip_bad=True)
    assert [line.partition(":")[0] for line in done.bad] == ["records.jsonl, line 2", "records.jsonl, line 5"]
    assert done.added["submissions"] == 7
    assert bad[0] not in [one.number for one in empty.stored(include_removed=True)]


def test_every_bad_line_is_told(export: Path, empty: AnnotationStore) -> None:
    change_line(export / "records.jsonl", 2, set_report)
    change_line(export / "skips.jsonl", 1, lambda values: values.update(at="yesterday"))
    change_line(export / "audit.jsonl", 3, lambda values: values.update(number=1))
    with pytest.raises(BadExportError) as caught:
        import_folder(empty, export)
    starts = [line.partition(":")[0] for line in caught.value.lines]
    assert starts == ["records.jsonl, line 2", "skips.jsonl, line 1", "audit.jsonl, line 3"]


def test_another_picture_is_refused(export: Path, empty: AnnotationStore, store: AnnotationStore) -> None:
    sha256 = store.images()[0].sha256
    picture(77).save(export / "images" / f"{sha256}.png")
    with pytest.raises(BadExportError, match=r"[Pp]icture of image .* is another one"):
        import_folder(empty, export)
    (export / "images" / f"{sha256}.png").write_bytes(b"not a picture")
    with pytest.raises(BadExportError, match=r"images\.jsonl, line 1"):
        import_folder(empty, export)
    (export / "images" / f"{sha256}.png").unlink()
    with pytest.raises(BadExportError, match="No such file"):
        import_folder(empty, export)


def test_a_file_that_was_cut_short_is_noticed(export: Path, empty: AnnotationStore) -> None:
    path = export / "records.jsonl"
    path.write_text("".join(path.read_text("utf-8").splitlines(keepends=True)[:-1]), "utf-8")
    with pytest.raises(BadExportError, match=r"tells of .* 9 submissions, of which 8 can be read"):
        import_folder(empty, export)


def test_a_damaged_parquet_is_told(export: Path, empty: AnnotationStore) -> None:
    path = export / "data" / "train-00000.parquet"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BadExportError, match=r"data/train-00000\.parquet, row 1: it cannot be read"):
        import_folder(empty, export, source="parquet")


def test_another_submission_under_the_same_id_is_refused(
    written: Path, empty: AnnotationStore, store: AnnotationStore
) -> None:
    taken = store.stored()[0].annotation
    who = empty.pseudonym("Eve")
    image = empty.add_image(store.pixels(taken.image_sha256), "a", by=who)
    empty.submit(clicks(image, who, 1, submission_id=taken.submission_id))
    with pytest.raises(BadExportError, match="the store has another submission"):
        import_folder(empty, written)
    assert empty.counts().annotations == 1


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": "other", "version": 1}', '{"format": "gazevlm-export"}'])
def test_what_is_no_export_is_refused(tmp_path: Path, empty: AnnotationStore, text: str) -> None:
    with pytest.raises(StoreError, match=r"export\.json"):
        import_folder(empty, tmp_path / "nowhere")
    (tmp_path / "export.json").write_text(text)
    with pytest.raises(StoreError, match="give a folder that `export` wrote"):
        import_folder(empty, tmp_path)


# ---- verify ---------------------------------------------------------------------------------------------------------
def test_verify_finds_every_receipt(written: Path, store: AnnotationStore) -> None:
    for one in store.stored(include_removed=True):
        result = verify_export(written, one.receipt.receipt_id.lower(), one.receipt.digest[:16])
        assert result.found is not None
        assert result.found.number == one.number
        assert (result.records, result.bad) == (9, [])
        assert verify_export(written, one.receipt.receipt_id, "f" * 64).found is None
    assert verify_export(written, "0000000000").found is None


def test_verify_notices_every_kind_of_change(export: Path) -> None:
    assert verify_export(export).bad == []
    change_line(export / "records.jsonl", 3, set_report)
    (export / "skips.jsonl").unlink()
    (export / "fixations.csv").write_text("gone")
    (export / "data" / "train-00001.parquet").write_bytes((export / "data" / "train-00000.parquet").read_bytes())
    (export / "LICENSE").write_text("whoever publishes an export may add this")
    bad = verify_export(export).bad
    assert [line for line in bad if line.endswith("is new")] == ["data/train-00001.parquet is new"]
    assert any(line.startswith("records.jsonl, line 3") for line in bad)
    assert {"skips.jsonl is missing", "fixations.csv was changed", "records.jsonl was changed"} <= set(bad)
