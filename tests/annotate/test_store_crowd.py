"""Many annotators at once, on two replicas of one database: nothing is lost, doubled or given out too often."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import event

from annotate.store.database import FairLock
from annotate.store.model import Stored, StoreError, StoreSettings
from annotate.store.store import AnnotationStore
from gazevlm_core.annotation import Annotation
from tests.annotate.conftest import OpenStore, Postgres
from tests.annotate.store_maker import Clock, add_images, annotate, do_task, picture

ANNOTATORS, EACH = 50, 20


def at_once(work: Sequence[Callable[[], object]]) -> list[object]:
    """What each gives, all started together."""
    barrier = threading.Barrier(len(work))

    def run(one: Callable[[], object]) -> object:
        barrier.wait()
        return one()

    with ThreadPoolExecutor(len(work)) as pool:
        return list(pool.map(run, work))


class Follower:
    """Reads on from the last number it knows while others write."""

    def __init__(self, store: AnnotationStore) -> None:
        self.store = store
        self.read: list[Stored] = []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.follow)
        self.thread.start()

    def follow(self) -> None:
        while not self.stop.wait(0.2):
            self.read_on()

    def read_on(self) -> None:
        self.read += self.store.stored(after=self.read[-1].number if self.read else 0)

    def finish(self) -> list[Stored]:
        self.stop.set()
        self.thread.join()
        self.read_on()
        return self.read


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_fifty_annotators_lose_and_double_nothing(open_store: OpenStore) -> None:
    quota, images = 7, 150
    replicas = [open_store(quota=quota), open_store(quota=quota)]
    shas = {image.sha256 for image in add_images(replicas[0], images)}
    names = [replicas[0].pseudonym(f"annotator {number}") for number in range(ANNOTATORS)]
    follower = Follower(replicas[1])

    def annotator(number: int) -> list[str]:
        store, who, got = replicas[number % 2], names[number], []
        for turn in range(EACH):
            task = store.next_task(who)
            assert task is not None
            annotation = do_task(store, who, task, f"{who} {turn}")
            got.append(annotation.image_sha256)
        return got

    try:
        given = at_once([lambda number=number: annotator(number) for number in range(ANNOTATORS)])
    finally:
        followed = follower.finish()
    stored = replicas[0].stored(limit=10_000)
    assert [one.number for one in stored] == list(range(1, ANNOTATORS * EACH + 1))
    assert [one.receipt for one in followed] == [one.receipt for one in stored]  # who reads on misses nothing
    assert len({one.receipt.submission_id for one in stored}) == len(stored)
    assert {one.kind for one in stored} == {"usual"}
    assert all(len(set(got)) == EACH for got in given)  # type: ignore[arg-type]
    per_image = Counter(one.image_sha256 for one in stored)
    assert set(per_image) <= shas
    assert max(per_image.values()) <= quota
    assert {replicas[0].progress(who).done for who in names} == {EACH}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_quota_is_exceeded_by_no_more_than_the_expired_leases(open_store: OpenStore) -> None:
    clock = Clock()
    replicas = [open_store(clock, quota=3, lease_s=60), open_store(clock, quota=3, lease_s=60)]
    add_images(replicas[0], 30)
    names = [replicas[0].pseudonym(f"annotator {number}") for number in range(ANNOTATORS)]
    tasks = at_once([lambda number=number: replicas[number % 2].next_task(names[number]) for number in range(50)])
    late = {number: task for number, task in enumerate(tasks) if number % 3 == 0}
    assert None not in tasks
    at_once([lambda n=n: do_task(replicas[n % 2], names[n], tasks[n], f"a{n}") for n in range(50) if n not in late])
    clock.move(61)  # the others' tasks expire, and their images are given to whoever comes next

    def go_on(number: int) -> None:
        if number in late:
            do_task(replicas[number % 2], names[number], late[number], f"late {number}")  # type: ignore[arg-type]
        turn = 0
        while (task := replicas[number % 2].next_task(names[number])) is not None:
            do_task(replicas[number % 2], names[number], task, f"b{number} {turn}")
            turn += 1

    at_once([lambda number=number: go_on(number) for number in range(ANNOTATORS)])
    per_image = Counter(one.image_sha256 for one in replicas[0].stored(limit=10_000))
    expired = Counter(task.image.sha256 for task in late.values())  # type: ignore[union-attr]
    assert len(per_image) == 30
    for sha256, number in per_image.items():
        assert 3 <= number <= 3 + expired[sha256]


def test_one_submission_sent_many_times_at_once_is_stored_once(open_store: OpenStore) -> None:
    replicas = [open_store(), open_store()]
    who, (image,) = replicas[0].pseudonym("Ada"), add_images(replicas[0], 1)
    annotation = annotate(image.sha256, who, "once")
    receipts = at_once([lambda number=number: replicas[number % 2].submit(annotation) for number in range(16)])
    assert set(receipts) == {replicas[0].stored()[0].receipt}
    assert len(replicas[0].stored()) == 1


def test_writers_are_served_in_the_order_in_which_they_came() -> None:
    lock, served, came = FairLock(), [], []

    def wait(number: int) -> None:
        came.append(number)
        with lock:
            served.append(number)

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(20)]
    with lock:
        for number, thread in enumerate(threads):
            thread.start()
            while len(lock._waiting) <= number:
                time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert served == came == list(range(20))
    with lock:
        assert not lock._waiting


def submit_together(store: AnnotationStore, annotations: Sequence[Annotation]) -> tuple[list[object], int]:
    """What each submission led to, all waiting for one turn of SQLite's; and how many transactions that took."""
    begun: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        begun.extend([statement] if statement == "BEGIN IMMEDIATE" else [])

    def submit(annotation: Annotation) -> object:
        try:
            return store.submit(annotation)
        except StoreError as error:
            return str(error)

    event.listen(store.database.engine, "before_cursor_execute", note)
    with ThreadPoolExecutor(len(annotations)) as pool:
        with store.database._write_lock:
            found = [pool.submit(submit, annotation) for annotation in annotations]
            while len(store.database._waiting) < len(annotations):
                time.sleep(0.001)
        return [one.result() for one in found], len(begun)


def test_who_waits_together_is_stored_in_one_transaction_and_nobodys_error_is_anothers(tmp_path: Path) -> None:
    store = AnnotationStore.open(tmp_path)
    image, *_ = add_images(store, 1)
    names = [store.pseudonym(f"annotator {number}") for number in range(10)]
    receipts, transactions = submit_together(store, [annotate(image.sha256, who, who) for who in names])
    assert transactions == 1
    assert receipts == [store.find(who).receipt for who in names]  # type: ignore[union-attr]
    assert sorted(one.number for one in receipts) == list(range(1, 11))  # type: ignore[attr-defined]
    annotations = [annotate(image.sha256, who, f"{who} again") for who in (*names[:5], "nobody", *names[5:])]
    found, transactions = submit_together(store, annotations)
    assert found.pop(5) == "The store does not know this annotator; sign in again."
    assert found == [store.find(f"{who} again").receipt for who in names]  # type: ignore[union-attr]
    assert transactions == 12  # together, then each alone
    assert sorted(one.number for one in store.stored()) == list(range(1, 21))
    store.close()


def test_one_person_in_many_tabs_has_one_task(open_store: OpenStore) -> None:
    replicas = [open_store(), open_store()]
    add_images(replicas[0], 10)
    who = replicas[0].pseudonym("Ada")
    tasks = at_once([lambda number=number: replicas[number % 2].next_task(who) for number in range(12)])
    assert len({task.lease_id for task in tasks}) == 1  # type: ignore[attr-defined]


def test_the_same_people_and_images_come_at_once(open_store: OpenStore) -> None:
    replicas = [open_store(), open_store()]
    found = at_once([lambda number=number: replicas[number % 2].pseudonym(f"p{number % 3}") for number in range(12)])
    assert len(set(found)) == len(replicas[0].people()) == 3
    added = at_once([lambda number=number: add_images(replicas[number % 2], 3) for number in range(8)])
    assert all(images == added[0] for images in added)
    assert len(replicas[0].images()) == 3


def test_no_two_transactions_wait_for_each_other(postgres: Postgres, tmp_path: Path) -> None:
    postgres.sql("CREATE DATABASE crowd")
    clock = Clock()
    settings = StoreSettings(quota=2, lease_s=60, repeat_share=0.2)
    replicas = [AnnotationStore.open(tmp_path, postgres.url("crowd"), settings, clock) for _ in range(2)]
    images = add_images(replicas[0], 12)
    names = [replicas[0].pseudonym(f"annotator {number}") for number in range(12)]

    def work(number: int) -> None:
        store, who = replicas[number % 2], names[number]
        for turn in range(6):
            clock.move(20)  # tasks expire all the time
            task = store.next_task(who)
            image = images[(number + turn) % 12] if task is None else task.image
            store.submit(annotate(image.sha256, who, f"{number} {turn}"), task.lease_id if task else None)
            store.review(f"{number} {turn}", "rejected", "to make room again", who)
            if number % 4 == 0:
                store.add_image(picture(100 + number + turn), "more", by=who)

    at_once([lambda number=number: work(number) for number in range(12)])
    for store in replicas:
        store.close()
    assert int(postgres.sql("SELECT deadlocks FROM pg_stat_database WHERE datname = 'crowd'")) == 0
