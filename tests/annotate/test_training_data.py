"""What a model is taught: who passes a choice, counted as it is written, whole or not at all, and read back by name."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from annotate.export.formats import ImageFiles
from annotate.export.formats.gaze import GazeFiles
from annotate.export.training import (
    AGAIN,
    DISAGREES,
    ELSEWHERE,
    NOT_ACCEPTED,
    OTHERS,
    REJECTED,
    REMOVED,
    StoreTrainingData,
    reasons_against,
)
from annotate.quality.agreement import agreement, scores_with_others
from annotate.quality.assess import assess_image
from annotate.quality.scores import MOST_ANNOTATORS, SEQUENCE
from annotate.store.model import StoredImage, StoreError
from annotate.store.store import AnnotationStore
from gazevlm_core.annotation import record_digest, to_values
from gazevlm_core.datasets.folder import GazeFolder
from gazevlm_core.datasets.scanpath_files import read_scanpaths
from tests.annotate.filled_store import clicks, fill, open_store, picture
from tests.annotate.store_maker import click_path
from web.training_data import DataChoice, DataCount, TrainingData

DOWN = [(0.5, 0.1), (0.5, 0.4), (0.5, 0.7), (0.5, 0.95)]
ACROSS = [(0.05, 0.5), (0.3, 0.5), (0.7, 0.5), (0.95, 0.5)]
CHOICES = (
    DataChoice(),
    DataChoice(accepted_only=True),
    DataChoice(least_agreement=0.2),
    DataChoice(accepted_only=True, least_agreement=0.05),
)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnnotationStore]:
    store = open_store(tmp_path_factory.mktemp("store"))
    fill(store)
    yield store
    store.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AnnotationStore]:
    store = open_store(tmp_path / "store")
    yield store
    store.close()


def crowd(store: AnnotationStore) -> tuple[StoredImage, dict[str, str]]:
    """One image on which Ann and Bob look down, and Cy across; and everybody's pseudonym."""
    image = store.add_image(picture(1), "a.png", by="admin")
    people = {name: store.pseudonym(name) for name in ("Ann", "Bob", "Cy")}
    for number, (name, path) in enumerate({"Ann": DOWN, "Bob": DOWN, "Cy": ACROSS}.items()):
        store.submit(clicks(image, people[name], number, findings=(), **click_path(path)))
    return image, people


def left_in(folder: Path) -> DataCount:
    """What a gaze folder holds, counted by its reader; what was left out of it cannot be seen."""
    records = list(GazeFolder(folder).samples())
    annotators = Counter(reading.reader for record in records for reading in record.readings)
    findings: Counter[str] = Counter()
    for record in records:
        findings.update({name: int(value) for name, value in record.findings.items()})
    return DataCount(len(records), annotators.total(), dict(annotators), dict(findings))


# ---- who passes -----------------------------------------------------------------------------------------------------
def test_rejected_and_removed_submissions_never_teach(filled: AnnotationStore) -> None:
    counted = StoreTrainingData(filled).count(DataChoice())
    assert (counted.images, counted.scanpaths) == (4, 7)
    assert counted.left_out == {REJECTED: 1, REMOVED: 1}


def test_accepted_only_where_that_is_asked(filled: AnnotationStore, tmp_path: Path) -> None:
    counted = StoreTrainingData(filled).write(DataChoice(accepted_only=True), tmp_path / "out")
    assert counted.left_out == {NOT_ACCEPTED: 4, REJECTED: 1, REMOVED: 1}
    written = {one.reading_id for one in read_scanpaths(tmp_path / "out" / "scanpaths.jsonl").readings}
    assert written == {one.annotation.submission_id for one in filled.stored(verdicts=["accepted"])}
    assert len(written) == counted.scanpaths == 3


def test_some_annotators_only(store: AnnotationStore) -> None:
    _, people = crowd(store)
    counted = StoreTrainingData(store).count(DataChoice(annotators=(people["Ann"], people["Cy"])))
    assert counted.annotators == {people["Ann"]: 1, people["Cy"]: 1}
    assert counted.left_out == {OTHERS: 1}


def test_one_project_only(store: AnnotationStore, tmp_path: Path) -> None:
    _, people = crowd(store)
    tubes = store.add_project("Tubes", "root").slug
    image = store.add_image(picture(9), "tube", by="root", project=tubes)
    store.submit(clicks(image, people["Ann"], 99))
    store.set_task(image.sha256, "root", project="main")  # where its image goes later is of no matter
    data = StoreTrainingData(store)
    counted = data.count(DataChoice(project=tubes))
    assert (counted.scanpaths, counted.images, counted.left_out) == (1, 1, {ELSEWHERE: 3})
    assert data.projects() == {"main": "Main", "tubes": "Tubes"}
    assert data.count(DataChoice(project="main")).scanpaths == 3
    assert data.count(DataChoice()).scanpaths == 4
    assert data.write(DataChoice(project=tubes), tmp_path / "out").scanpaths == 1
    with pytest.raises(StoreError):
        data.write(DataChoice(project="whatever"), tmp_path / "nothing")


def test_who_agrees_too_little_with_the_others_is_left_out(store: AnnotationStore) -> None:
    _, people = crowd(store)
    scores = dict(zip("ABC", scores_with_others(store.stored()).values(), strict=True))
    assert scores["A"] == scores["B"] == pytest.approx((1 + scores["C"]) / 2)  # one equal path, one that Cy's resembles
    assert scores["C"] < 0.5
    data = StoreTrainingData(store)
    counted = data.count(DataChoice(least_agreement=0.5))
    assert counted.annotators == {people["Ann"]: 1, people["Bob"]: 1}
    assert counted.left_out == {DISAGREES: 1}
    assert data.count(DataChoice(least_agreement=scores["C"])).scanpaths == 3, "at least this much is enough"
    alone = data.count(DataChoice(least_agreement=0.5, annotators=(people["Cy"],)))
    assert (alone.images, alone.left_out) == (0, {OTHERS: 2, DISAGREES: 1}), "the others count though nobody chose them"


def test_nobody_counts_twice_on_an_image(store: AnnotationStore, tmp_path: Path) -> None:
    image, people = crowd(store)
    again = store.submit(clicks(image, people["Ann"], 8, **click_path(DOWN)))
    first = next(one for one in store.stored() if one.annotation.annotator == people["Ann"])
    assert reasons_against(store.stored(), DataChoice()) == {again.number: AGAIN}
    store.review(again.submission_id, "accepted", "", people["Bob"])
    reasons = reasons_against(store.stored(), DataChoice(accepted_only=True))
    assert again.number not in reasons, "the first one that passes"
    store.review(first.annotation.submission_id, "rejected", "made up", people["Bob"])
    assert reasons_against(store.stored(), DataChoice()) == {first.number: REJECTED}


def test_where_nobody_else_looked_a_path_passes(store: AnnotationStore) -> None:
    image = store.add_image(picture(1), "a.png", by="admin")
    ann = store.pseudonym("Ann")
    for number, path in enumerate((DOWN, ACROSS)):  # a repeat is no other annotator
        store.submit(clicks(image, ann, number, **click_path(path)))
    assert scores_with_others(store.stored()) == {}
    counted = StoreTrainingData(store).count(DataChoice(least_agreement=1.0))
    assert (counted.scanpaths, counted.left_out) == (1, {AGAIN: 1})


def test_a_repeat_is_compared_with_the_others_and_never_with_oneself(store: AnnotationStore) -> None:
    image, people = crowd(store)
    store.submit(clicks(image, people["Cy"], 9, **click_path(DOWN)))
    scores = scores_with_others(store.stored())
    assert scores[store.stored()[-1].number] == 1.0
    assert len(scores) == 4


def test_rejected_paths_are_no_measure_for_others(store: AnnotationStore) -> None:
    _, people = crowd(store)
    stored = {one.annotation.annotator: one for one in store.stored()}
    store.review(stored[people["Bob"]].annotation.submission_id, "rejected", "made up", people["Ann"])
    reasons = reasons_against(store.stored(), DataChoice(least_agreement=0.5))
    assert reasons == {
        stored[people["Ann"]].number: DISAGREES,
        stored[people["Bob"]].number: REJECTED,
        stored[people["Cy"]].number: DISAGREES,
    }


def test_scores_are_those_of_the_quality_tables(store: AnnotationStore) -> None:
    image = store.add_image(picture(1), "a.png", by="admin")
    for number in range(MOST_ANNOTATORS + 3):
        store.submit(clicks(image, store.pseudonym(f"annotator {number}"), number))
    stored = store.stored()
    scores = scores_with_others(stored)
    assert scores == {row.number: row.agreement for row in assess_image(stored)}
    few = scores_with_others(stored[:5])
    assert sum(few.values()) / 5 == pytest.approx(agreement(stored[:5]).levels[SEQUENCE].value)


@pytest.mark.parametrize("agreement", [-0.1, 1.1, float("nan")])
def test_agreements_that_no_score_can_be(agreement: float) -> None:
    with pytest.raises(ValueError, match="score from 0 to 1"):
        DataChoice(least_agreement=agreement)


# ---- what is written ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("choice", CHOICES)
def test_counts_are_what_is_left_in_the_folder(filled: AnnotationStore, tmp_path: Path, choice: DataChoice) -> None:
    data: TrainingData = StoreTrainingData(filled)
    counted = data.write(choice, tmp_path / "out")
    assert counted == data.count(choice)
    found = left_in(tmp_path / "out")
    assert (found.images, found.scanpaths, found.annotators) == (counted.images, counted.scanpaths, counted.annotators)
    assert {name: number for name, number in found.findings.items() if number} == {
        name: number for name, number in counted.findings.items() if number
    }
    assert counted.scanpaths + sum(counted.left_out.values()) == len(filled.stored(include_removed=True))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["images", "scanpaths.jsonl", "studies.jsonl"]


def test_every_path_names_its_submission(filled: AnnotationStore, tmp_path: Path) -> None:
    StoreTrainingData(filled).write(DataChoice(), tmp_path / "out")
    readings = [reading for record in GazeFolder(tmp_path / "out").samples() for reading in record.readings]
    assert len(readings) == 7
    for reading in readings:
        kept = filled.find(reading.reading_id)
        assert kept is not None
        assert reading.digest == kept.receipt.digest == record_digest(to_values(kept.annotation))
        assert (reading.reader, reading.scanpath.source) == (
            kept.annotation.annotator, kept.annotation.scanpath.source,
        )  # fmt: skip
        assert [(at.x, at.y) for at in reading.scanpath] == [(at.x, at.y) for at in kept.annotation.scanpath]


def test_images_are_the_stored_ones_and_carry_no_name(filled: AnnotationStore, tmp_path: Path) -> None:
    StoreTrainingData(filled).write(DataChoice(accepted_only=True), tmp_path / "out")
    files = sorted((tmp_path / "out" / "images").iterdir())
    chosen = {one.image_sha256 for one in filled.stored(verdicts=["accepted"])}
    assert [path.stem for path in files] == sorted(chosen)
    assert all(path.read_bytes() == filled.png(path.stem) for path in files)
    lines = (tmp_path / "out" / "studies.jsonl").read_text("utf-8").splitlines()
    assert {json.loads(line)["image_id"] for line in lines} == chosen


def test_findings_are_by_majority_of_those_who_pass(store: AnnotationStore) -> None:
    image, other = (store.add_image(picture(seed), f"{seed}.png", by="admin") for seed in (1, 2))
    people = {name: store.pseudonym(name) for name in ("Ann", "Bob", "Cy")}
    for number, (name, findings) in enumerate({"Ann": ("edema",), "Bob": ("edema", "mass"), "Cy": ("mass",)}.items()):
        store.submit(clicks(other, people[name], 10 + number, findings=findings))
        store.submit(clicks(image, people[name], 20 + number, findings=findings[:1]))
    data = StoreTrainingData(store)
    assert data.count(DataChoice()).findings == {"edema": 2, "mass": 1}
    assert data.count(DataChoice(annotators=(people["Ann"],))).findings == {"edema": 2}
    tie = data.count(DataChoice(annotators=(people["Ann"], people["Cy"])))
    assert tie.findings == {"edema": 0, "mass": 0}, "named, and on no image by majority"


# ---- whole or not at all --------------------------------------------------------------------------------------------
def full(*_args: object, **_kwargs: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(("sink", "method"), [(ImageFiles, "add"), (GazeFiles, "add"), (GazeFiles, "finish")])
def test_a_full_disk_leaves_nothing(
    filled: AnnotationStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sink: type, method: str
) -> None:
    monkeypatch.setattr(sink, method, full)
    with pytest.raises(StoreError, match=r"^The training data could not be written \(No space left on device\)"):
        StoreTrainingData(filled).write(DataChoice(), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made(filled: AnnotationStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("keep me")
    with pytest.raises(StoreError, match="Cannot write beside"):
        StoreTrainingData(filled).write(DataChoice(), tmp_path / "file" / "out")
    with pytest.raises(StoreError, match="in use"):
        StoreTrainingData(filled).write(DataChoice(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_nothing_to_learn_from_is_told_with_its_reasons(filled: AnnotationStore, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\(1 rejected, 1 removed, 7 by annotators who were not chosen\); choose"):
        StoreTrainingData(filled).write(DataChoice(annotators=("nobody",)), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_store_has_nothing(store: AnnotationStore, tmp_path: Path) -> None:
    assert StoreTrainingData(store).count(DataChoice()) == DataCount()
    with pytest.raises(ValueError, match="the store has none"):
        StoreTrainingData(store).write(DataChoice(), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_images_that_teach_nothing_are_not_read(
    filled: AnnotationStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    png = type(filled).png
    monkeypatch.setattr(type(filled), "png", lambda self, sha256: read.append(sha256) or png(self, sha256))
    counted = StoreTrainingData(filled).write(DataChoice(accepted_only=True), tmp_path / "out")
    assert len(read) == counted.images == 2
