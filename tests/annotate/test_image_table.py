"""Patients and metadata by a table: what is taken, what is refused and why, and where it goes."""

import json
from pathlib import Path

import pytest

from annotate.dashboard.image_table import sentence, tables
from annotate.export.folder import export_store
from annotate.store import image_table
from annotate.store.image_table import DESCRIBED, Described, describe_images
from annotate.store.imports import run_next_import
from annotate.store.model import FOUND_AT, StoreError
from annotate.store.store import AnnotationStore
from gazevlm_core.datasets.folder import GazeFolder
from tests.annotate.dashboard_maker import ADMIN, ANNOTATOR, NOBODY, REVIEWER, make_service
from tests.annotate.store_maker import annotate, picture
from web.identity import NotAllowed

AT = {"ward a": "p1/view.png", "ward b": "p2/view.png"}


@pytest.fixture
def images(store: AnnotationStore) -> dict[str, str]:
    """Digests of three images, two of which have the same file name."""
    plain = store.add_image(picture(1), "film.png", by="admin").sha256
    named = {
        ward: store.add_image(picture(seed), "view.png", metadata={FOUND_AT: path}, by="admin").sha256
        for seed, (ward, path) in enumerate(AT.items(), start=2)
    }
    return {"film": plain, **named}


def take(store: AnnotationStore, folder: Path, text: str | bytes, *, replace_known: bool = False) -> Described:
    path = folder / "patients.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return describe_images(store, path, "admin", replace_known=replace_known)


def refused(done: Described) -> dict[int, str]:
    return {one.line: one.why for one in done.refused}


def test_a_table_tells_patients_views_and_whatever_else(
    store: AnnotationStore, images: dict[str, str], tmp_path: Path
) -> None:
    table = f"file;Patient ID;View Position;age\nFILM;7.0;postero;61\np1/view.png;8;;n/a\n{images['ward b']};8;LL;\n"
    done = take(store, tmp_path, "\ufeff" + table)
    assert (done.changed, done.same, done.refused) == (3, 0, ())
    assert done.columns == {"file": "the image", "Patient ID": "the patient", "View Position": "view", "age": "age"}
    film, first, second = (store.image(images[name]) for name in ("film", *AT))
    assert (film.patient_id, film.metadata) == ("7", {"age": "61", "view": "PA"})
    assert (first.patient_id, first.metadata) == ("8", {FOUND_AT: "p1/view.png"})
    assert second.metadata == {FOUND_AT: "p2/view.png", "view": "lateral"}
    assert (film.name, film.question, film.quota) == ("film.png", film.question, 12)
    again = take(store, tmp_path, table)
    assert (again.changed, again.same, again.refused) == (0, 3, ())
    assert sum(one.action == DESCRIBED for one in store.audit()) == 3


def test_a_number_that_is_an_image_by_accident_is_not_its_name(store: AnnotationStore, tmp_path: Path) -> None:
    digests = [store.add_image(picture(10 + one), f"{one}.png", by="admin").sha256 for one in range(4)]
    rows = [f"{one};{3 - one}.png;p{3 - one}" for one in range(4)]
    done = take(store, tmp_path, "\n".join(["sep=;", "id;image;patient", *rows]))
    assert (done.columns["image"], done.changed) == ("the image", 4)
    assert [store.image(one).patient_id for one in digests] == ["p0", "p1", "p2", "p3"]
    late = "\n".join(["file,ward", *(f"gone-{one}.png,x" for one in range(300)), "2.png,b"])
    assert take(store, tmp_path, late).changed == 1, "the first rows are about others"


def test_rows_that_cannot_be_taken_are_told_and_the_others_are_taken(
    store: AnnotationStore, images: dict[str, str], tmp_path: Path
) -> None:
    done = take(store, tmp_path, "\n".join((
        "image_id,patient,note", "film.png,7,fine", "view.png,8,", "none.png,9,", ",9,", "film.png,8,",
        "p1/view.png,=1+1,", "p1/view.png,1,@SUM(A1)", "p1/view.png,1,a\u202eb", "p1/view.png,1,a,b",
        f"p1/view.png,{'x' * 101},", f"p1/view.png,1,{'x' * 501}", "f" * 64 + ",1,", "p3/view.png,1,",
        'p2/view.png,3,"open', "p1/view.png,4,", "",
    )))  # fmt: skip
    assert (done.changed, done.same) == (1, 0)
    why = refused(done)
    assert list(why) == [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16]
    for line, part in {
        3: "several images", 4: "no image here", 5: "names no image", 6: "line 2 tells another patient", 7: "formula",
        8: "formula", 9: "cannot be seen", 10: "4 values for 3 columns", 11: "longer than 100", 12: "longer than 500",
        13: "no image here", 14: "no image here", 16: "quotation mark",
    }.items():  # fmt: skip
        assert part in why[line]
    assert store.image(images["film"]).metadata == {"note": "fine"}
    assert all(store.image(images[name]).patient_id == "" for name in AT)
    assert sentence(done) == "1 row is new, 0 were known, 13 are refused."
    assert "several images are called so" in tables(done)


def test_what_is_known_gives_way_only_when_that_is_said(
    store: AnnotationStore, images: dict[str, str], tmp_path: Path
) -> None:
    take(store, tmp_path, "file,patient,age\nfilm.png,7,61\n")
    done = take(store, tmp_path, "file,patient,age\nfilm.png,8,61\n")
    assert refused(done) == {2: "another patient is known of it already"}
    assert store.image(images["film"]).patient_id == "7"
    assert take(store, tmp_path, "file,patient,age\nfilm.png,8,\n", replace_known=True).changed == 1
    film = store.image(images["film"])
    assert (film.patient_id, film.metadata) == ("8", {"age": "61"}), "an empty cell takes nothing away"
    assert store.audit()[-1].details == {"was": {"patient_id": "7", "metadata": {"age": "61"}}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no row below"),
        (b"file,patient\n", "no row below"),
        (b"colour,patient\nred,1\n", "No column of the table names images"),
        (b"file,patient\nother.png,1\n", "No column of the table names images"),
        (b"file,patient,Patient\nfilm.png,1,2\n", "Two columns of the table are called"),
        (b"file,patient,\nfilm.png,1,2\n", "name of a column is empty"),
        (b"file,=cmd()\nfilm.png,1\n", "begins with =, as a formula does"),
        (b"file," + b"x" * 61 + b"\nfilm.png,1\n", "longer than 60"),
        (",".join(["file", *map(str, range(50))]).encode() + b"\nfilm.png\n", "51 columns"),
        (b"file,patient\nfilm.png,\xff\n", "no text in UTF-8"),
        ("file,patient\nfilm.png,1\n".encode("utf-16"), "UTF-16"),
        (b"file,patient\nfilm.png,\0\n", "a byte of zeros"),
        (b"file,patient\nfilm.png," + b"x" * 200_000 + b"\n", "no CSV file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "no text in UTF-8"),
        (b"file,patient\n" + b"film.png,1\n" * 50_001, "more than 50,000 rows"),
        (b"x" * (16 * 2**20 + 1), "larger than 16 MiB"),
    ],
)
@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_what_is_no_table_is_refused_in_one_sentence(
    store: AnnotationStore, images: dict[str, str], tmp_path: Path, content: bytes, message: str
) -> None:
    before = store.images(), store.audit()
    with pytest.raises(StoreError, match=message) as caught:
        take(store, tmp_path, content)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
    assert (store.images(), store.audit()) == before


def test_an_image_takes_no_more_metadata_than_it_may(
    store: AnnotationStore, images: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_table, "PART", 1)
    for first in (0, 30):
        names = [f"m{number}" for number in range(first, first + 30)]
        done = take(store, tmp_path, ",".join(["file", *names]) + "\nfilm" + ",1" * 30 + "\n")
    assert refused(done) == {2: "the image would have more than 40 metadata"}
    assert len(store.image(images["film"]).metadata) == 30


def test_an_import_keeps_the_folders_of_a_file_for_tables(store: AnnotationStore, tmp_path: Path) -> None:
    for seed, patient in enumerate(("p1", "p2")):
        (tmp_path / "in" / patient).mkdir(parents=True)
        picture(seed).save(tmp_path / "in" / patient / "view.png")
    picture(5).save(tmp_path / "in" / "top.png")
    store.queue_import("folder", str(tmp_path / "in"), "admin")
    done = run_next_import(store)
    assert done is not None
    assert done.added == 3
    assert {image.name for image in store.images()} == {"view.png", "top.png"}, "folders may tell the finding"
    assert take(store, tmp_path, "file,patient\np1/view.png,1\np2/view,2\ntop.png,2\n").changed == 3
    assert sorted(image.patient_id for image in store.images()) == ["1", "2", "2"]


def test_training_learns_the_patient_and_publishing_a_code(
    store: AnnotationStore, images: dict[str, str], tmp_path: Path
) -> None:
    table = "file,patient,view,split,born\nfilm.png,Jane Doe,AP,test,1961\np1/view.png,Jane Doe,,test,\n"
    take(store, tmp_path, table + "p2/view.png,Joe,,train,\n")
    who = store.pseudonym("Ada")
    for number, sha256 in enumerate(images.values()):
        store.submit(annotate(sha256, who, f"s{number}"))
        store.review(f"s{number}", "accepted", "", "admin")
    whole = export_store(store, tmp_path / "whole").folder
    samples = {sample.digest: sample for sample in GazeFolder(whole).samples()}
    film, first, second = (samples[images[name]] for name in ("film", *AT))
    assert (film.patient_id, film.view, film.split) == ("Jane Doe", "AP", "test")
    assert (first.patient_id, second.patient_id) == ("Jane Doe", "Joe")
    out = export_store(store, tmp_path / "out", which="accepted").folder
    text = b"".join(path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file())
    for secret in (b"Jane", b"Joe", b"1961", b"p1/view"):
        assert secret not in text
    lines = [json.loads(line) for line in (out / "studies.jsonl").read_text().splitlines()]
    codes = {line["image_id"]: line["patient_id"] for line in lines}
    assert codes[images["film"]] == codes[images["ward a"]] != codes[images["ward b"]]
    assert all(code.startswith("patient-") for code in codes.values())


def test_admins_alone_take_tables(store: AnnotationStore, images: dict[str, str], tmp_path: Path) -> None:
    service, path = make_service(store, tmp_path / "data").imports, tmp_path / "table.csv"
    path.write_text("file,patient\nfilm.png,7\n")
    for claim in (NOBODY, ANNOTATOR, REVIEWER):
        with pytest.raises(NotAllowed):
            service.describe(claim, path)
    for none in (None, tmp_path, tmp_path / "none.csv"):
        with pytest.raises(StoreError, match="Choose a table"):
            service.describe(ADMIN, none)
    assert service.describe(ADMIN, path).changed == 1
    assert store.audit()[-1].who == store.pseudonym("local:root")
