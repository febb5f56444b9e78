"""Labels are what the annotators said: one vote each on every finding that the form asked for, the same everywhere."""

import csv
import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from annotate.export.folder import export_store
from annotate.export.training import AGAIN, StoreTrainingData
from annotate.store.model import StoredImage
from annotate.store.store import AnnotationStore
from annotate.votes import FIRST_VERSION_FINDINGS, Votes, findings_in_words, first_of_each, labels, votes
from benchmarks.votes import crowd_figures
from finetune.cases import fingerprint, read_cases
from finetune.config import FinetuneConfig
from gazevlm_core.annotation import FIRST_VERSION
from gazevlm_core.datasets.folder import GazeFolder
from gazevlm_core.findings import FINDING_NAMES
from tests.annotate.filled_store import clicks, fill, open_store, picture
from web.training_data import DataChoice

ASKED = ("edema", "lung opacity", "nodule")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AnnotationStore]:
    store = open_store(tmp_path / "store")
    yield store
    store.close()


@pytest.fixture
def image(store: AnnotationStore) -> StoredImage:
    return store.add_image(picture(1), "a.png", by="admin", question="What do you see?")


def say(store: AnnotationStore, image: StoredImage, name: str, *findings: str, **change: Any) -> str:
    """Hand in what somebody ticked; the submission's id."""
    number = 1000 + len(store.stored(include_removed=True))
    change = {"findings_asked": ASKED, "question": image.question, **change}
    return store.submit(clicks(image, store.pseudonym(name), number, findings=findings, **change)).submission_id


def studies(folder: Path) -> dict[str, dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "studies.jsonl").read_text("utf-8").splitlines()]
    return {line["image_id"]: line for line in lines}


# ---- one rule -------------------------------------------------------------------------------------------------------
def test_three_of_four_who_see_nothing_make_it_absent_everywhere(
    store: AnnotationStore, image: StoredImage, tmp_path: Path
) -> None:
    for name in ("Ann", "Bob", "Cy"):
        say(store, image, name)
    say(store, image, "Dan", "lung opacity")
    assert labels(store.stored()) == {"edema": 0, "lung opacity": 0, "nodule": 0}
    out = export_store(store, tmp_path / "out").folder
    assert studies(out)[image.sha256]["findings"] == {"edema": 0, "lung opacity": 0, "nodule": 0}
    (record,) = GazeFolder(out).samples()
    assert record.findings == {"edema": 0.0, "lung opacity": 0.0, "nodule": 0.0}
    coco = json.loads((out / "coco.json").read_text("utf-8"))
    assert coco["images"][0]["findings"] == {"edema": 0, "lung opacity": 0, "nodule": 0}
    assert {entry["category_id"] for entry in coco["annotations"]} == {1}, "no finding is on the image"
    rows = csv.DictReader(io.StringIO((out / "annotations.csv").read_text("utf-8")))
    told = [(row["findings"], row["findings_asked"]) for row in rows]
    assert told == [(words, "; ".join(ASKED)) for words in ("no finding",) * 3 + ("lung opacity",)]
    data = StoreTrainingData(store)
    assert data.write(DataChoice(), tmp_path / "taught").findings == {"lung opacity": 0}
    assert studies(tmp_path / "taught") == studies(out)


@pytest.mark.parametrize(
    ("counted", "label"),
    [
        (Votes(3, 1), 1), (Votes(1, 3), 0), (Votes(2, 2), None), (Votes(0, 0), None), (Votes(0, 1), 0),
        (Votes(1, 0, 1), None), (Votes(2, 0, 1), 1), (Votes(1, 2, 5), 0), (Votes(0, 0, 4), None),
    ],
)  # fmt: skip
def test_votes_and_labels(counted: Votes, label: int | None) -> None:
    assert counted.label == label


def test_a_label_is_told_only_where_it_is_the_same_whatever_was_asked() -> None:
    for yes, no, perhaps in itertools.product(range(5), repeat=3):
        said_no = [no + more for more in range(perhaps + 1)]  # so many of them were asked
        worlds = {None if yes == against else int(yes > against) for against in said_no}
        assert Votes(yes, no, perhaps).label == (worlds.pop() if len(worlds) == 1 else None), (yes, no, perhaps)


def test_what_nobody_was_asked_for_is_unknown(store: AnnotationStore, image: StoredImage) -> None:
    say(store, image, "Ann", "edema", findings_asked=("edema",))
    say(store, image, "Bob", findings_asked=("edema", "fracture"))
    say(store, image, "Cy", "edema", findings_asked=("edema", "fracture"))
    assert votes(store.stored()) == {"edema": Votes(2, 1), "fracture": Votes(0, 2)}
    assert labels(store.stored()) == {"edema": 1, "fracture": 0}


# ---- one vote -------------------------------------------------------------------------------------------------------
def test_a_repeat_changes_no_vote(store: AnnotationStore, image: StoredImage, tmp_path: Path) -> None:
    say(store, image, "Ann", "edema")
    say(store, image, "Ann")
    say(store, image, "Ann")
    assert labels(store.stored())["edema"] == 1
    counted = StoreTrainingData(store).write(DataChoice(), tmp_path / "taught")
    assert (counted.scanpaths, counted.left_out, counted.findings) == (1, {AGAIN: 2}, {"edema": 1})


def test_a_refused_or_removed_submission_gives_its_vote_to_the_next(store: AnnotationStore, image: StoredImage) -> None:
    first, second = say(store, image, "Ann", "edema"), say(store, image, "Ann", "nodule")
    say(store, image, "Ann")
    assert [one.annotation.submission_id for one in first_of_each(store.stored())] == [first]
    store.review(first, "rejected", "made up", "admin")
    assert labels(store.stored()) == {"edema": 0, "lung opacity": 0, "nodule": 1}
    store.remove(second, "by wish", "admin")
    assert set(labels(store.stored(include_removed=True)).values()) == {0}


# ---- records that do not tell what was asked ------------------------------------------------------------------------
def test_records_of_the_version_before_asked_for_the_findings_of_their_time(
    store: AnnotationStore, image: StoredImage
) -> None:
    before = {"findings_asked": None, "schema_version": FIRST_VERSION}
    say(store, image, "Ann", **before)
    say(store, image, "Bob", "edema", "hiatal hernia", **before)
    say(store, image, "Cy", **before)
    assert set(FIRST_VERSION_FINDINGS) == set(FINDING_NAMES), "as long as the form has asked for the same"
    counted = votes(store.stored())
    assert counted["edema"] == Votes(1, 2)
    assert counted["hiatal hernia"] == Votes(1, 0, 2), "it may or may not have been on the form of the others"
    assert labels(store.stored()) == dict.fromkeys(FIRST_VERSION_FINDINGS, 0)
    assert [findings_in_words(one.annotation) for one in store.stored()] == [
        "no finding", "edema; hiatal hernia", "no finding",
    ]  # fmt: skip


def test_where_nothing_is_known_of_the_form_an_empty_list_says_nothing(
    store: AnnotationStore, image: StoredImage
) -> None:
    say(store, image, "Ann", findings_asked=None)
    assert labels(store.stored()) == {}
    assert findings_in_words(store.stored()[0].annotation) == ""
    say(store, image, "Bob", "edema", findings_asked=None)
    assert labels(store.stored()) == {}
    say(store, image, "Cy", "edema", findings_asked=None)
    assert labels(store.stored()) == {"edema": 1}


# ---- the same labels wherever they are taken from -------------------------------------------------------------------
def test_training_sees_the_same_in_an_export_as_in_the_store(store: AnnotationStore, tmp_path: Path) -> None:
    fill(store)
    for number, image in enumerate(store.images()):
        for name in ("Ann", "Bob", "Cy"):
            say(store, image, name, *(("edema", "nodule")[: (number + len(name)) % 3]))
        say(store, image, "Ann", "lung opacity")
    out = export_store(store, tmp_path / "out").folder
    counted = StoreTrainingData(store).write(DataChoice(), tmp_path / "taught")
    assert studies(out) == studies(tmp_path / "taught")
    cases = [read_cases(FinetuneConfig(annotations=(str(folder),))) for folder in (out, tmp_path / "taught")]
    assert fingerprint(cases[0]) == fingerprint(cases[1])
    assert [case.findings for case in cases[0]] == [
        {name: float(label) for name, label in labels(store.stored(sha256=case.image_id)).items()}
        for case in cases[0]
    ]
    assert sum(len(case.readings) for case in cases[0]) == counted.scanpaths
    for case in cases[0]:
        readers = [reading.reader for reading in case.readings]
        assert len(set(readers)) == len(readers), "nobody counts twice on an image"


def test_the_report_of_an_image_is_of_somebody_whom_the_labels_bear_out(
    store: AnnotationStore, image: StoredImage, tmp_path: Path
) -> None:
    say(store, image, "Ann", "lung opacity", report="An opacity.")
    say(store, image, "Bob", report="Clear lungs.")
    say(store, image, "Cy", report="Nothing to see.")
    out = export_store(store, tmp_path / "out").folder
    assert studies(out)[image.sha256]["report"] == "Clear lungs."


def test_a_report_is_taught_with_the_question_that_it_answers(
    store: AnnotationStore, image: StoredImage, tmp_path: Path
) -> None:
    from finetune.examples import draw_epochs, report_question  # late: torch

    other = store.add_image(picture(2), "b.png", by="admin")
    for one, report in ((image, "A tube."), (other, "Clear.")):
        say(store, one, "Ann", findings_asked=(), report=report)
    out = export_store(store, tmp_path / "out").folder
    questions = {one.sha256: one.question for one in (image, other)}
    assert {sha256: line["question"] for sha256, line in studies(out).items()} == questions
    cases = read_cases(FinetuneConfig(annotations=(str(out),)))
    drawn = {(questions[case.image_id], case.report) for case in cases}
    draws = draw_epochs(cases, FinetuneConfig(annotations=(str(out),)), 8)
    assert {(draw.question, draw.answer) for draw in draws} == drawn
    assert all(report_question(case) == questions[case.image_id] for case in cases)


def test_labels_are_right_where_a_crowd_is_right(tmp_path: Path) -> None:
    found = crowd_figures(tmp_path, images=12, voters=12)
    assert found.voters_right > 0.9 * found.pairs
    assert found.share >= 0.99
    assert found.given_on_tie == 0
