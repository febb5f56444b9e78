"""A submission is stored once and for good, and read back as it was."""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from annotate.store.model import StoreError
from annotate.store.store import AnnotationStore
from annotate.store.submissions import CROCKFORD, receipt_id_of
from gazevlm_core.annotation import Annotation, from_values, record_digest, to_values
from tests.annotate.conftest import OpenStore
from tests.annotate.store_maker import Clock, add_images, annotate, do_task
from tests.annotation_maker import START


def filled(store: AnnotationStore, number: int) -> tuple[str, list[Annotation]]:
    """One annotator with that many submissions of their own choice, each of another image."""
    who = store.pseudonym("Ada")
    done = [annotate(image.sha256, who, f"s{row}") for row, image in enumerate(add_images(store, number))]
    for annotation in done:
        store.submit(annotation)
    return who, done


def test_what_was_submitted_is_read_back(store: AnnotationStore) -> None:
    who, done = filled(store, 3)
    stored = store.stored()
    assert [one.number for one in stored] == [1, 2, 3]
    for sent, kept in zip(done, stored, strict=True):
        assert replace(kept.annotation, submitted_at=sent.submitted_at) == sent
        assert kept.receipt.digest == record_digest(to_values(kept.annotation))
        assert (kept.kind, kept.verdict, kept.synced, kept.removed) == ("own", "pending", False, False)
        assert store.find(sent.submission_id) == store.find_receipt(kept.receipt.receipt_id) == kept
    assert store.stored(after=1, limit=1) == [stored[1]]
    assert store.stored(sha256=done[2].image_sha256) == [stored[2]]
    assert store.stored(annotator=who) == stored
    assert store.stored(annotator="reader-nobody") == store.stored(verdicts=["accepted"]) == []
    assert store.find("s9") is store.find_receipt("0" * 10) is None


def test_a_reopened_store_holds_the_same(open_store: OpenStore) -> None:
    store = open_store()
    filled(store, 2)
    before = store.stored(), store.images(), store.people(), store.counts(), store.audit()
    again = open_store()
    assert (again.stored(), again.images(), again.people(), again.counts(), again.audit()) == before


def test_the_kept_text_is_the_canonical_json(store: AnnotationStore) -> None:
    filled(store, 1)
    query = text("SELECT record, digest FROM submissions")
    record, digest = store.database.read(lambda session: session.execute(query).one())
    assert hashlib.sha256(record.encode()).hexdigest() == digest
    assert from_values(json.loads(record)) == store.stored()[0].annotation


def test_submitting_twice_stores_once(store: AnnotationStore) -> None:
    _who, (annotation,) = filled(store, 1)
    first = store.stored()[0].receipt
    assert store.submit(annotation) == first
    assert store.submit(annotation, "some lease") == first
    later = replace(annotation, started_at=START + timedelta(seconds=1), submitted_at=START + timedelta(days=1))
    assert store.submit(later) == first  # the server's times are not what the annotator did
    renamed = replace(annotation, image_id="offered since", question="Another one?")
    assert store.submit(renamed) == first  # nor are the name of the image and its question
    with pytest.raises(StoreError, match="Another annotation is stored under"):
        store.submit(replace(annotation, report="another"))
    assert store.counts().annotations == 1


def test_texts_of_any_language_are_kept(store: AnnotationStore) -> None:
    who, (annotation,) = filled(store, 1)
    report = "h\u00e9 \u4e2d\u6587 \U0001f600 \"quoted\" \\ \n\t\0 end"
    store.submit(replace(annotation, submission_id="other", report=report))
    found = store.find("other")
    assert found is not None
    assert found.annotation.report == report
    assert found.annotation.annotator == who


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"annotator": "reader-unknown"}, "does not know this annotator"),
        ({"image_sha256": "f" * 64}, "no such image"),
        ({"image_width_px": 5}, "another size"),
        ({"report": "\ud800"}, "no text"),
        ({"submission_id": "x" * 201}, "longer than 200"),
        ({"submission_id": "a\0b"}, "no text"),
        ({"report": "x" * 9_000_000}, "larger than 8 MiB"),
    ],
)
def test_what_cannot_be_stored_is_refused_in_a_sentence(
    store: AnnotationStore, change: dict[str, object], message: str
) -> None:
    _who, (annotation,) = filled(store, 1)
    with pytest.raises(StoreError, match=message) as caught:
        store.submit(replace(annotation, **{"submission_id": "new", **change}))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert store.counts().annotations == 1


def test_receipts_are_the_digest_in_crockfords_letters(store: AnnotationStore) -> None:
    assert receipt_id_of("0" * 64) == "0" * 10
    assert receipt_id_of("f" * 64) == "Z" * 10
    assert receipt_id_of("08" + "0" * 62) == "1" + "0" * 9  # 00001 in the first five bits
    assert len(CROCKFORD) == 32
    filled(store, 1)
    receipt = store.stored()[0].receipt
    spoken = receipt.receipt_id.lower().replace("0", "o").replace("1", "l")
    found = store.find_receipt(f"{spoken[:5]}-{spoken[5:]}")
    assert found is not None
    assert found.receipt == receipt


def test_the_clock_going_back_harms_nothing(open_store: OpenStore) -> None:
    clock = Clock()
    store = open_store(clock, quota=2)
    who, other = store.pseudonym("Ada"), store.pseudonym("Bob")
    add_images(store, 3)
    first, started = store.next_task(who), clock.now
    assert first is not None
    clock.move(-86_400)
    do_task(store, who, first, "s1", started_at=started)
    kept = store.find("s1")
    assert kept is not None
    assert kept.annotation.submitted_at == started  # not before it was begun
    second = store.next_task(who)
    assert second is not None
    do_task(store, who, second, "s2", started_at=clock.now)
    assert [one.receipt.submission_id for one in store.stored()] == ["s1", "s2"]  # by number, whatever the times
    given = store.next_task(other)
    assert given is not None
    clock.move(-86_400)  # the task runs longer than any new one could: its place is taken back, the task stays
    for name in "CD":
        task = store.next_task(store.pseudonym(name))
        assert task is not None
    assert store.next_task(other) is not None
    assert store.find_receipt(kept.receipt.receipt_id) == kept


def test_times_are_the_servers_and_exact(open_store: OpenStore) -> None:
    clock = Clock()
    clock.now = datetime(2026, 5, 1, 10, 0, 0, 123_457, tzinfo=UTC)
    store = open_store(clock)
    filled(store, 1)
    assert store.stored()[0].annotation.submitted_at == clock.now
    assert store.audit()[0].at == clock.now
