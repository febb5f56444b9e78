"""The service of Teach on a store: tasks, own images, submissions of others, looks before and after, scores."""

import io
import math
import threading
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from annotate.export.folder import images_with_submissions
from annotate.feedback import NOBODY_ELSE, truth_of
from annotate.payload import Submission, checked
from annotate.quality.assess import check, outside_share
from annotate.store.model import StoredImage, StoreSettings
from annotate.store.project import Project
from annotate.store.store import AnnotationStore
from annotate.tab.page import feedback_answer
from annotate.tab.service import BUSY, PREDICTIONS_AT_ONCE, AnnotationService, ShownAs
from annotate.votes import labels
from gazevlm_core.annotation import to_values
from gazevlm_core.evaluation.floors import PAIR_FLOORS
from gazevlm_core.findings import FINDING_NAMES
from gazevlm_core.records import Diagnosis
from phantoms.make import make_phantom
from tests.annotate.annotate_page import MODEL, MODEL_PATH, UNTRAINED, Facts, Stub, Stubs, ask, local_gate
from tests.annotate.submission_maker import ID, make_click, make_submission
from web.identity import LIMITS, NotAllowed, Visitor


@dataclass
class Asked:
    """A request with cookies."""

    cookies: dict[str, str] = field(default_factory=dict)
    client: None = None
    session: None = None


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AnnotationStore]:
    store = AnnotationStore.open(tmp_path / "store", settings=StoreSettings(gold_share=0, repeat_share=0))
    yield store
    store.close()


@pytest.fixture
def service(store: AnnotationStore) -> AnnotationService:
    return AnnotationService(store, Stubs(), ask, local_gate(store))


def radiograph(seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (60, 80), np.uint8))


def signed(service: AnnotationService, name: str) -> Visitor:
    return service.who(Asked({"gazevlm_name": name}), "read")


def send(service: AnnotationService, person: Visitor, image: StoredImage, **change: Any) -> Any:
    change = {"shown_at": service.shown(person, image.sha256, ShownAs(datetime.now(UTC))), **change}
    return service.submit(person, checked(Submission, make_submission(person.pseudonym, image.sha256, **change)))


def test_a_task_from_its_lease_to_its_receipt(service: AnnotationService, store: AnnotationStore) -> None:
    image = store.add_image(radiograph(), "case", by="test")
    person = signed(service, "Ann")
    opened = service.next_task(person, store.project())
    assert opened is not None
    assert (opened.image.sha256, opened.blurred.sigma_px) == (image.sha256, 40 * 80 / 600)
    shown = Image.open(io.BytesIO(opened.png))
    assert shown.tobytes() == radiograph().tobytes()
    receipt = send(service, person, image, lease_id=opened.lease_id)
    assert send(service, person, image, lease_id=opened.lease_id) == receipt, "twice stores once"
    (stored,) = store.stored()
    assert (stored.kind, stored.annotation.annotator) == ("usual", person.pseudonym)
    places = [(one.x, one.y, one.onset_ms) for one in stored.annotation.scanpath]
    assert places == [(0.25, 0.5, 500), (0.7, 0.3, 1250.5)]
    assert stored.annotation.clicks[0].zoom == 1.5
    assert service.progress(person, store.project()).done == 1
    assert service.next_task(person, store.project()) is None


def test_nobody_submits_for_another(service: AnnotationService, store: AnnotationStore) -> None:
    image = store.add_image(radiograph(), "case", by="test")
    ann, bob = signed(service, "Ann"), signed(service, "Bob")
    with pytest.raises(ValueError, match="another name"):
        service.submit(bob, checked(Submission, make_submission(ann.pseudonym, image.sha256)))
    task = service.next_task(ann, store.project())
    assert task is not None
    with pytest.raises(ValueError, match="somebody else"):
        send(service, bob, image, lease_id=task.lease_id)
    assert store.stored() == []
    with pytest.raises(ValueError, match="not yours"):
        service.skip(bob, task.lease_id or "", "mine")
    send(service, ann, image, lease_id=task.lease_id)
    with pytest.raises(ValueError, match="Another annotation"):
        send(service, bob, image)  # under the same submission id
    assert [one.annotation.annotator for one in store.stored()] == [ann.pseudonym]


def test_what_makes_no_sense_is_refused(service: AnnotationService, store: AnnotationStore) -> None:
    image = store.add_image(radiograph(), "case", by="test")
    ann = signed(service, "Ann")
    refused: dict[str, dict[str, Any]] = {
        "no click": {"clicks": []},
        "backwards": {"clicks": [make_click(onset_ms=500), make_click(onset_ms=499)]},
        "unless it was inserted": {"clicks": [make_click(onset_ms=None)]},
        "from the list": {"findings": ["<img src=x>"]},
        "once each": {"findings": ["edema", "edema"]},
        'Tick "no finding" alone': {"findings": ["edema", "no finding"]},
        "control characters": {"report": "a\x00b"},
        "90 days": {"shown_at": service.shown(ann, image.sha256, ShownAs(datetime.now(UTC) - timedelta(days=91)))},
        "moving-window mode alone": {"samples": [[0.0, 0.5, 0.5]]},
        "no clicks in the moving": {"mode": "moving window", "samples": [[0.0, 0.5, 0.5]]},
        "Nothing was looked at": {"mode": "moving window", "clicks": []},
        "apart": {"mode": "moving window", "clicks": [], "samples": [[0.0, 0.5, 0.5], [1.0, 0.5, 0.5]]},
        "before the image": {"mode": "moving window", "clicks": [], "samples": [[-1.0, 0.5, 0.5]]},
        "far off": {"mode": "moving window", "clicks": [], "samples": [[0.0, 101.0, 0.5]]},
        "rested nowhere": {"mode": "moving window", "clicks": [], "samples": [[0.0, 0.5, 0.5]]},
    }
    for words, change in refused.items():
        with pytest.raises(ValueError, match=words):
            send(service, ann, image, **change)
    with pytest.raises(ValueError, match="image"):
        service.submit(ann, checked(Submission, make_submission(ann.pseudonym, "f" * 64)))
    assert store.stored() == []
    send(service, ann, image, report="<script>alert(1)</script>\r\nnext\x0c", findings=["no finding"], confidence=None)
    (stored,) = store.stored()
    assert stored.annotation.report == "<script>alert(1)</script>\nnext", "text is kept as text"
    assert stored.annotation.findings == ()


def test_a_page_may_stay_open_over_a_weekend(service: AnnotationService, store: AnnotationStore) -> None:
    image = store.add_image(radiograph(), "case", by="test")
    three_days_ms = 3 * 24 * 3600 * 1000.0
    send(service, signed(service, "Ann"), image, clicks=[make_click(), make_click(onset_ms=three_days_ms)])
    assert [one.onset_ms for one in store.stored()[0].annotation.scanpath] == [500, three_days_ms]


def test_when_an_image_was_shown_is_what_the_server_said(service: AnnotationService, store: AnnotationStore) -> None:
    image, other = (store.add_image(radiograph(seed), "case", by="test") for seed in (1, 2))
    ann, bob, now = signed(service, "Ann"), signed(service, "Bob"), datetime.now(UTC)
    told = service.shown(ann, image.sha256, ShownAs(now))
    earlier = told.replace(now.isoformat(), (now - timedelta(hours=1)).isoformat())
    of_bob, of_other = service.shown(bob, image.sha256, ShownAs(now)), service.shown(ann, other.sha256, ShownAs(now))
    for forged in ("yesterday", "", now.isoformat(), now.replace(tzinfo=None).isoformat(), earlier, of_bob, of_other):
        with pytest.raises(ValueError, match="did not get this image under your name"):
            send(service, ann, image, shown_at=forged)
        with pytest.raises(ValueError, match="did not get this image under your name"):
            service.reopen(ann, image.sha256, forged)
    assert service.reopen(ann, image.sha256, told).image == image
    send(service, ann, image, shown_at=service.shown(ann, image.sha256, ShownAs(now + timedelta(hours=9))))
    began = store.stored()[0].annotation
    assert now <= began.started_at <= began.submitted_at <= datetime.now(UTC), "the clock was set back meanwhile"


def test_presses_beside_the_image_are_counted(service: AnnotationService, store: AnnotationStore) -> None:
    image = store.add_image(radiograph(), "case", by="test")
    client = {**make_submission("", "")["client"], "outside_clicks": 3}
    send(service, signed(service, "Ann"), image, client=client)
    annotation = store.stored()[0].annotation
    assert (annotation.client.outside_clicks, outside_share(annotation)) == (3, 0.6)
    assert "off the image" in {flag.name for flag in check(annotation)}


def test_names_of_files_are_not_in_what_is_published(service: AnnotationService, store: AnnotationStore) -> None:
    image = store.add_image(radiograph(), "DOE_JANE_1970.png", source="zip DOE", by="test")
    send(service, signed(service, "Ann"), image)
    store.review(ID, "accepted", "", "test")
    (published, (kept,)), *_ = images_with_submissions(store, "accepted")
    assert "DOE" not in f"{published} {to_values(kept.annotation)}"
    assert next(images_with_submissions(store))[0].name == "DOE_JANE_1970.png", "a full copy has it"


def test_no_images_of_ones_own_on_a_disk_that_is_nearly_full(
    service: AnnotationService, store: AnnotationStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "own.png"
    radiograph().save(path)
    monkeypatch.setattr(type(store), "free_bytes", lambda self: 1e9)
    with pytest.raises(ValueError, match="no space for your own images"):
        service.open_own(signed(service, "Ann"), store.project(), path, "What?")
    assert store.images() == []


def test_findings_of_ones_own(store: AnnotationStore) -> None:
    image = store.add_image(radiograph(), "case", by="test")
    service = AnnotationService(store, Stubs(), ask, local_gate(store), findings=("hiatal hernia",))
    twice = AnnotationService(store, Stubs(), ask, local_gate(store), findings=("edema", "no finding", "hiatal hernia"))
    assert twice.findings == service.findings
    asked = [*FINDING_NAMES, "hiatal hernia"]
    send(service, signed(service, "Ann"), image, findings=["hiatal hernia", "edema"], findings_asked=asked[::-1])
    assert store.stored()[0].annotation.findings == ("edema", "hiatal hernia")
    assert store.stored()[0].annotation.findings_asked == tuple(asked)
    with pytest.raises(ValueError, match="from the list"):
        send(service, signed(service, "Bob"), image, findings=["hernia"], submission_id=ID.replace("0b", "0c"))


def test_what_the_form_asked_is_what_it_showed(store: AnnotationStore) -> None:
    image = store.add_image(radiograph(), "case", by="test")
    opened = AnnotationService(store, Stubs(), ask, local_gate(store))
    later = AnnotationService(store, Stubs(), ask, local_gate(store), findings=("hiatal hernia",))
    ann, bob, cy = (signed(opened, name) for name in ("Ann", "Bob", "Cy"))
    receipt = send(later, ann, image, findings=["no finding"])
    (kept,) = store.stored()
    assert kept.annotation.findings_asked == FINDING_NAMES, "the page was opened before the server asked for more"
    assert send(opened, ann, image, findings=["no finding"]) == receipt, "the list is no part of the content"
    ids = [ID.replace("0b", digits) for digits in ("0c", "0d")]
    send(opened, bob, image, findings=["edema"], findings_asked=["edema", "gone since"], submission_id=ids[0])
    assert store.find(ids[0]).annotation.findings_asked == ("edema",)
    with pytest.raises(ValueError, match="the form did not ask for"):
        send(opened, cy, image, findings=["fracture"], findings_asked=["edema"], submission_id=ids[1])


def test_a_page_that_does_not_tell_what_it_asked_makes_the_record_of_its_time(
    service: AnnotationService, store: AnnotationStore
) -> None:
    image = store.add_image(radiograph(), "case", by="test")
    ann = signed(service, "Ann")
    receipt = send(service, ann, image, findings=["no finding"], findings_asked=None)
    (kept,) = store.stored()
    assert (kept.annotation.schema_version, kept.annotation.findings_asked) == (2, None)
    assert labels(store.stored()) == dict.fromkeys(FINDING_NAMES, 0)
    assert send(service, ann, image, findings=["no finding"]) == receipt, "the same page, loaded anew"


def test_other_readers_count_once(service: AnnotationService, store: AnnotationStore) -> None:
    image = store.add_image(radiograph(), "case", by="test")
    ann, bob = signed(service, "Ann"), signed(service, "Bob")
    for number in range(3):
        send(service, bob, image, submission_id=ID.replace("0b", f"1{number}"))
    send(service, ann, image)
    found = service.feedback(ann, ID, "")
    assert [one.name for one in found.against] == ["the other readers"]
    assert (found.readers, found.others["edema"].no, found.found) == (1, 1, None)
    assert "no such model" in found.trouble
    assert "the other readers" in found.sentence


def test_the_blur_of_the_record_is_the_servers(service: AnnotationService, store: AnnotationStore) -> None:
    image = store.add_image(radiograph(), "case", by="test")
    ann = signed(service, "Ann")
    samples = [[20.0 * k, 0.5, 0.5] for k in range(20)]
    send(service, ann, image, mode="moving window", clicks=[], samples=samples)
    send(service, ann, image, mode="bubble", submission_id=ID.replace("0b", "0c"))
    moving, bubble = (one.annotation for one in store.stored())
    for one in (moving, bubble):
        assert (one.client.blur_sigma_px, one.client.radius_px) == (40 * 80 / 600, 32 * 80 / 600)
    assert len(moving.samples) == 20
    assert [(one.onset_ms, one.duration_ms) for one in moving.scanpath] == [(0, 400)]


def test_a_path_is_told_after_a_submission_alone(service: AnnotationService, store: AnnotationStore) -> None:
    image = store.add_image(radiograph(), "case", by="test")
    ann, bob = signed(service, "Ann"), signed(service, "Bob")
    assert len(service.grid(image.sha256, MODEL)) == 64
    with pytest.raises(ValueError, match="no submission of yours"):
        service.feedback(ann, ID, MODEL)
    send(service, ann, image)
    after = service.feedback(ann, ID, MODEL)
    assert after.found is not None
    assert after.found.scanpath == MODEL_PATH
    assert after.own_path == store.stored()[0].annotation.scanpath
    with pytest.raises(ValueError, match="no submission of yours"):
        service.feedback(bob, ID, MODEL)
    untrained = service.feedback(ann, ID, UNTRAINED)
    assert untrained.found is not None
    assert untrained.found.scanpath is None
    assert "untrained" in untrained.trouble
    assert untrained.sentence == NOBODY_ELSE
    with pytest.raises(ValueError, match="no such model"):
        service.grid(image.sha256, "../model")
    with pytest.raises(ValueError, match=r"\."):
        service.grid("f" * 64, MODEL)


def test_of_an_image_unlike_the_training_nothing_of_the_model_is_compared(store: AnnotationStore) -> None:
    image = store.add_image(radiograph(), "case", by="test")
    score = 1.5

    def looked(*asked: Any) -> Generator[Diagnosis, None, None]:
        for record in ask(*asked):
            likely, notes = {"pneumothorax": 0.97}, ("The adapter changed how it sees.",)
            yield replace(record, finding_probabilities=likely, ood_score=score, notes=notes)

    service = AnnotationService(store, Stubs(), looked, local_gate(store))
    ann, bob = signed(service, "Ann"), signed(service, "Bob")
    send(service, ann, image)
    alone = service.feedback(ann, ID, MODEL)
    assert (alone.found, alone.against, alone.sentence) == (None, (), NOBODY_ELSE)
    assert "unlike those that stub learnt from" in alone.trouble
    shown = feedback_answer(alone)
    assert (shown["trouble"], shown["asked_model"], shown["grid"]) == (alone.trouble, False, None)
    assert "pneumothorax" not in [row["name"] for row in shown["findings"]]
    assert [path["name"] for path in shown["paths"]] == ["You"]
    send(service, bob, image, submission_id=ID.replace("0b", "0c"))
    assert [one.name for one in service.feedback(ann, ID, MODEL).against] == ["the other readers"]
    score = 1.0  # the limit itself is like the training
    service = AnnotationService(store, Stubs(), looked, local_gate(store))
    usual = service.feedback(ann, ID, MODEL)
    assert usual.found is not None
    assert usual.trouble == "The adapter changed how it sees.", "what else the model notes is said"
    assert feedback_answer(usual)["asked_model"]


def test_scores_have_floors_and_are_ones_own(service: AnnotationService, store: AnnotationStore) -> None:
    image = store.add_image(radiograph(), "case", by="test")
    ann, bob = signed(service, "Ann"), signed(service, "Bob")
    exact = [make_click(one.x, one.y, 100.0 * k) for k, one in enumerate(MODEL_PATH)]
    send(service, ann, image, clicks=exact)
    found = service.feedback(ann, ID, MODEL)
    assert found.sentence == "Closer to the model than your clicks in random order."
    (against,) = found.against
    rows = {row.name: row for row in against.rows}
    assert rows["sequence score"].value == 1, "the model's own path"
    assert rows["DTW distance"].value == pytest.approx(0)
    for row in against.rows:
        assert tuple(row.floors) == tuple(PAIR_FLOORS)
        assert not any(math.isnan(value) for value in row.floors.values())
    assert rows["sequence score"].floors["own path shuffled"] < 1
    send(service, bob, image, submission_id=ID.replace("0b", "0c"))
    assert [one.name for one in service.feedback(ann, ID, MODEL).against] == ["the model", "the other readers"]


def test_the_sentence_says_which_floor_a_path_does_not_pass(
    service: AnnotationService, store: AnnotationStore
) -> None:
    image = store.add_image(radiograph(), "case", by="test")
    ann = signed(service, "Ann")
    reverse = [make_click(one.x, one.y, 100.0 * k) for k, one in enumerate(reversed(MODEL_PATH.fixations))]
    elsewhere = [make_click(0.05, 0.05 + 0.02 * k, 100.0 * k) for k in range(4)]
    for number, (clicks, said) in enumerate(
        [(reverse, "than your clicks in random order."), (elsewhere, "than random places."), (exact_one(), "no order")]
    ):
        submission_id = ID.replace("0b", f"2{number}")
        send(service, ann, image, clicks=clicks, submission_id=submission_id)
        assert said in (words := service.feedback(ann, submission_id, MODEL).sentence), words
        assert words.startswith(("No closer", "One place"))


def exact_one() -> list[dict[str, Any]]:
    """A single click, where the model looks first."""
    return [make_click(MODEL_PATH.fixations[0].x, MODEL_PATH.fixations[0].y, 5.0)]


def test_a_drawn_image_tells_its_truth_and_no_other_does(service: AnnotationService, store: AnnotationStore) -> None:
    phantom = next(made for seed in range(20) if (made := make_phantom(seed, size_px=96)).findings)
    drawn = store.add_image(Image.fromarray(phantom.image), f"phantom {phantom.seed}", by="test")
    other = store.add_image(radiograph(), f"phantom {phantom.seed}", by="test")
    tiny = store.add_image(Image.new("L", (20, 20), 7), "phantom 1", by="test")
    assert truth_of(tiny) is None, "no phantom is so small"
    ann = signed(service, "Ann")
    send(service, ann, drawn)
    truth = service.feedback(ann, ID, MODEL).truth
    assert truth is not None
    assert [(one.name, one.box) for one in truth] == [(one.name, one.box) for one in phantom.findings]
    send(service, ann, other, submission_id=ID.replace("0b", "0c"))
    assert service.feedback(ann, ID.replace("0b", "0c"), MODEL).truth is None, "a name alone is no proof"


def test_a_draft_goes_on_with_the_question_and_the_blur_that_it_was_begun_with(
    service: AnnotationService, store: AnnotationStore
) -> None:
    image = store.add_image(radiograph(), "case", question="Where is the tube?", by="test")
    ann = signed(service, "Ann")
    service.agree(ann, store.project(), store.project().terms, "radiologist")
    before = service.next_task(ann, store.project())
    assert before is not None
    store.set_task(image.sha256, question="Is there a/an \N{GREEK SMALL LETTER OMEGA}?", quota=3, by="root")
    store.set_project(Project(sigma_px=20, radius_px=50), "root")
    again, after = service.reopen(ann, image.sha256, before.shown), service.reopen(
        ann, image.sha256, service._opened(ann, store.image(image.sha256), store.project()).shown
    )
    assert (again.image.question, again.blurred.radius_px) == ("Where is the tube?", before.blurred.radius_px)
    assert again.blurred.png == before.blurred.png != after.blurred.png
    assert after.image.question.endswith("\N{GREEK SMALL LETTER OMEGA}?")
    send(service, ann, image, shown_at=before.shown, mode="bubble")
    send(service, ann, image, shown_at=after.shown, mode="bubble", submission_id=ID.replace("0b", "0c"))
    first, second = (one.annotation for one in store.stored())
    assert (first.question, second.question) == ("Where is the tube?", after.image.question)
    assert second.client.radius_px == after.blurred.radius_px != first.client.radius_px


def test_own_images(service: AnnotationService, store: AnnotationStore, tmp_path: Path) -> None:
    ann, path = signed(service, "Ann"), tmp_path / "Wolkenstein.png"
    radiograph(3).save(path)
    opened = service.open_own(ann, store.project(), path, "  What do you see? ")
    assert opened.lease_id is None
    assert (opened.image.name, opened.image.question) == ("own image", "What do you see?")
    assert service.next_task(signed(service, "Bob"), store.project()) is None, "an own image is no task for others"
    assert service.reopen(ann, opened.image.sha256, opened.shown).png == opened.png
    path.write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"\."):
        service.open_own(ann, store.project(), path, "What?")
    with pytest.raises(ValueError, match="question"):
        service.open_own(ann, store.project(), path, "  ")


def test_too_much_is_refused_before_anything_is_done(service: AnnotationService) -> None:
    ann = Asked({"gazevlm_name": "Ann"})
    for _ in range(LIMITS["submit"].amount):
        service.who(ann, "submit")
    with pytest.raises(NotAllowed, match="wait a moment"):
        service.who(ann, "submit")


def test_a_busy_model_keeps_nobody_waiting(store: AnnotationStore) -> None:
    image = store.add_image(radiograph(), "case", by="test")
    begun, go = threading.Semaphore(0), threading.Event()

    def slow(*question: Any) -> Iterator[Any]:
        begun.release()
        assert go.wait(60)
        yield from ask(*question)

    service = AnnotationService(store, Stubs(), slow, local_gate(store))
    ann = signed(service, "Ann")
    with ThreadPoolExecutor(PREDICTIONS_AT_ONCE) as pool:
        running = [pool.submit(service.grid, image.sha256, MODEL) for _ in range(PREDICTIONS_AT_ONCE)]
        for _ in running:
            begun.acquire()
        with pytest.raises(ValueError, match="busy"):
            service.grid(image.sha256, MODEL)
        send(service, ann, image)
        assert service.feedback(ann, ID, MODEL).trouble == BUSY, "all else is told without it"
        go.set()
        assert all(len(one.result()) == 64 for one in running)
    assert len(service.grid(image.sha256, MODEL)) == 64


def test_a_name_is_needed_and_makes_the_pseudonym(service: AnnotationService) -> None:
    with pytest.raises(ValueError, match="Choose a name"):
        service.who(Asked(), "read")
    ann = signed(service, "Ann%20Other")
    assert ann.name == "Ann Other"
    assert "Ann" not in ann.pseudonym
    assert signed(service, "Ann Other").pseudonym == ann.pseudonym


def test_a_look_is_kept_until_an_adapter_of_that_name_is_another_one(store: AnnotationStore) -> None:
    image = store.add_image(radiograph(), "case", by="test")
    asked: list[str] = []

    class Retrained(Stubs):
        stamp = 1

        def choices(self) -> Mapping[str, Stub]:
            return {MODEL: Stub(Facts(True), self.stamp)}

    def counted(name: str, *others: Any) -> Iterator[Any]:
        asked.append(name)
        return ask(name, *others)

    models = Retrained()
    service = AnnotationService(store, models, counted, local_gate(store))  # type: ignore[arg-type]
    for stamp, looks in ((1, 1), (1, 1), (2, 2), (2, 2), (1, 2)):
        models.stamp = stamp
        service.grid(image.sha256, MODEL)
        assert len(asked) == looks
