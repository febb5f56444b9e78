"""Who gets which image: quotas, leases, gold, repeats, the order of the queue."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from annotate.store.model import StoreError, StoreSettings, Task
from annotate.store.store import AnnotationStore
from annotate.store.submissions import mean_agreement
from annotate.store.tasks import REPEAT_GAP, draw
from tests.annotate.conftest import OpenStore
from tests.annotate.store_maker import PATH, Clock, add_images, annotate, click_path, do_task, ingest, picture

LEFT, RIGHT = [(0.1, 0.1), (0.2, 0.6)], [(0.9, 0.9), (0.6, 0.2)]


def must(task: Task | None) -> Task:
    assert task is not None
    return task


def test_nobody_gets_an_image_twice(store: AnnotationStore) -> None:
    shas = {image.sha256 for image in add_images(store, 6)}
    for name in ("Ada", "Bob"):
        who, got = store.pseudonym(name), []
        while (task := store.next_task(who)) is not None:
            got.append(task.image.sha256)
            if len(got) == 2:
                store.skip(task.lease_id, who, "blurred")
            else:
                do_task(store, who, task, f"{name} {len(got)}")
        assert sorted(got) == sorted(shas)
        progress = store.progress(who)
        assert (progress.done, progress.skipped, progress.open_images) == (5, 1, 0)
    assert [(skip.number, skip.reason) for skip in store.skips()] == [(1, "blurred"), (2, "blurred")]
    assert {stored.kind for stored in store.stored()} == {"usual"}


def test_ones_own_images_are_not_given_as_tasks(store: AnnotationStore) -> None:
    who = store.pseudonym("Ada")
    own = store.add_image(picture(0), "mine", by=who, offered=False)
    assert not own.open
    assert store.next_task(who) is store.next_task(store.pseudonym("Bob")) is None
    offered = add_images(store, 2)
    assert offered[0].sha256 == own.sha256
    assert offered[0].open  # an admin offers it later
    (opened,) = [entry for entry in store.audit() if entry.action == "image opened"]
    assert (opened.who, opened.subject) == ("admin", own.sha256)
    assert opened.details == {"name": "mine", "question": own.question, "quota": own.quota}, "what it was before"
    store.submit(annotate(own.sha256, who, "s1"))
    assert must(store.next_task(who)).image.sha256 == offered[1].sha256  # not what they did on their own


def test_an_unfinished_task_is_given_again(open_store: OpenStore) -> None:
    clock = Clock()
    store = open_store(clock, lease_s=60, quota=1)
    who, other = store.pseudonym("Ada"), store.pseudonym("Bob")
    add_images(store, 1)
    first = must(store.next_task(who))
    assert store.next_task(other) is None
    clock.move(30)
    again = must(store.next_task(who))
    assert (again.lease_id, again.image) == (first.lease_id, first.image)
    assert again.expires_at > first.expires_at
    clock.move(100)
    assert must(store.next_task(who)).lease_id == first.lease_id  # expired, but nobody else took it
    clock.move(100)
    taken = must(store.next_task(other))
    assert taken.image == first.image
    assert store.next_task(who) is None  # now somebody else has it


def test_replicas_whose_clocks_differ_take_nothing_from_each_other(open_store: OpenStore) -> None:
    fast, slow = Clock(), Clock()
    fast.move(120)
    ahead, behind = open_store(fast, quota=1, lease_s=900), open_store(slow, quota=1, lease_s=900)
    add_images(ahead, 1)
    must(ahead.next_task(ahead.pseudonym("Ada")))
    assert behind.next_task(behind.pseudonym("Bob")) is None


def test_a_late_submission_is_kept(open_store: OpenStore) -> None:
    clock = Clock()
    store = open_store(clock, lease_s=60, quota=1)
    who, other = store.pseudonym("Ada"), store.pseudonym("Bob")
    add_images(store, 1)
    late = must(store.next_task(who))
    clock.move(61)
    do_task(store, other, must(store.next_task(other)), "s1")
    do_task(store, who, late, "s2")
    assert [stored.kind for stored in store.stored()] == ["usual", "usual"]  # one over the quota, one lease expired
    assert store.next_task(store.pseudonym("Cleo")) is None


def test_a_task_of_an_unknown_store_costs_nothing(store: AnnotationStore) -> None:
    who, (image, other) = store.pseudonym("Ada"), add_images(store, 2)
    store.submit(annotate(image.sha256, who, "s1"), "a lease of a database that was lost")
    task = must(store.next_task(who))
    assert task.image.sha256 == other.sha256
    with pytest.raises(StoreError, match="somebody else or to another image"):
        store.submit(annotate(image.sha256, who, "s2"), task.lease_id)
    do_task(store, who, task, "s3")
    do_task(store, who, task, "s4")  # a second tab
    assert [stored.kind for stored in store.stored()] == ["own", "usual", "own"]


def test_tasks_are_only_skipped_by_who_has_them(store: AnnotationStore) -> None:
    who, other = store.pseudonym("Ada"), store.pseudonym("Bob")
    add_images(store, 1, quota=1)
    task = must(store.next_task(who))
    with pytest.raises(StoreError, match="not yours"):
        store.skip(task.lease_id, other, "no")
    with pytest.raises(StoreError, match="reason for skipping is empty"):
        store.skip(task.lease_id, who, " ")
    assert store.next_task(other) is None
    store.skip(task.lease_id, who, "no lungs")
    store.skip(task.lease_id, who, "no lungs")
    assert len(store.skips()) == 1
    assert must(store.next_task(other)).image == task.image
    assert store.next_task(who) is None


def test_a_closed_image_is_withdrawn_and_comes_back(store: AnnotationStore) -> None:
    who, (image,) = store.pseudonym("Ada"), add_images(store, 1)
    must(store.next_task(who))
    store.set_open(image.sha256, False, "admin")
    assert store.next_task(who) is store.next_task(store.pseudonym("Bob")) is None
    store.set_open(image.sha256, True, "admin")
    store.set_open(image.sha256, True, "admin")
    assert must(store.next_task(store.pseudonym("Bob"))).image.sha256 == image.sha256
    assert [entry.action for entry in store.audit()] == ["image added", "image closed", "image opened"]


def test_rejected_and_removed_annotations_make_room(store: AnnotationStore) -> None:
    add_images(store, 1, quota=1)
    names = [store.pseudonym(name) for name in ("Ada", "Bob", "Cleo", "Dan")]
    do_task(store, names[0], must(store.next_task(names[0])), "s0")
    assert store.next_task(names[1]) is None
    store.review("s0", "rejected", "one click", "admin")
    do_task(store, names[1], must(store.next_task(names[1])), "s1")
    store.remove("s1", "asked for", "admin")
    do_task(store, names[2], must(store.next_task(names[2])), "s2")
    assert store.next_task(names[3]) is None
    store.restore("s1", "a mistake", "admin")
    store.remove("s2", "asked for", "admin")
    assert store.next_task(names[3]) is None  # the restored one counts again
    assert store.next_task(names[0]) is None  # who was rejected does not get it again


# ---- gold and repeats -----------------------------------------------------------------------------------------------
def test_shares_of_gold_and_repeats_are_as_chosen(open_store: OpenStore) -> None:
    store = open_store(gold_share=0.2, repeat_share=0.2, seed=3, secret="the same draws in every run")
    usual = {image.sha256 for image in add_images(store, 60)}
    gold = {store.add_image(picture(100 + seed), "gold", gold=PATH, by="admin").sha256 for seed in range(20)}
    who, kinds, got, tasks = store.pseudonym("Ada"), [], [], 50
    for number in range(tasks):
        task = must(store.next_task(who))
        assert task.image.gold is None  # not told
        assert task.image.source == ""
        do_task(store, who, task, f"s{number}")
        kept = store.find(f"s{number}")
        assert kept is not None
        kinds.append(kept.kind)
        got.append(task.image.sha256)
    for number, (kind, sha256) in enumerate(zip(kinds, got, strict=True)):
        chance = draw(3, who, number)
        early = {got[row] for row in range(number - REPEAT_GAP) if kinds[row] == "usual"}
        repeatable = early - {got[row] for row in range(number) if kinds[row] == "repeat"}
        assert kind == ("gold" if chance < 0.2 else "repeat" if chance < 0.4 and repeatable else "usual")
        assert (sha256 in gold) == (kind == "gold")
        assert (sha256 in usual) == (kind != "gold")
    assert kinds.count("gold") == sum(draw(3, who, number) < 0.2 for number in range(tasks)) > 3
    repeated = [got[number] for number in range(tasks) if kinds[number] == "repeat"]
    assert len(repeated) > 3
    assert max(Counter(got).values()) == 2
    for sha256 in repeated:
        first, second = (number for number in range(tasks) if got[number] == sha256)
        assert second - first > REPEAT_GAP
        assert (kinds[first], kinds[second]) == ("usual", "repeat")


def test_repeats_do_not_count_for_the_quota(open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store(repeat_share=1.0, quota=1)
    add_images(store, REPEAT_GAP + 1)
    who, kinds = store.pseudonym("Ada"), []
    for number in range(REPEAT_GAP + 4):
        do_task(store, who, must(store.next_task(who)), f"s{number}")
        kinds.append(store.stored(after=number)[0].kind)
    assert kinds == ["usual"] * (REPEAT_GAP + 1) + ["repeat"] * 3
    copy = AnnotationStore.open(tmp_path / "copy", settings=StoreSettings(repeat_share=1.0, gold_share=0))
    for image in store.images():
        copy.ingest([(replace(image, open=True, quota=1), store.png(image.sha256))])
    for stored in store.stored():
        ingest(copy, stored)
    task = copy.next_task(who)
    seen: set[str] = set()
    while task is not None:
        seen.add(task.image.sha256)
        do_task(copy, who, task, f"copy {len(seen)}")
        task = copy.next_task(who)
    repeated = {stored.image_sha256 for stored in store.stored() if stored.kind == "repeat"}
    assert seen == {image.sha256 for image in store.images()} - repeated, "nor is one repeated again in a copy"
    copy.close()
    assert store.counts().open_images == 0
    assert store.progress(who).done == len(kinds)


def test_gold_images_are_given_without_a_quota_and_never_at_share_zero(open_store: OpenStore) -> None:
    store = open_store(gold_share=1.0, quota=1)
    gold = store.add_image(picture(0), "gold", gold=PATH, by="admin")
    for name in ("Ada", "Bob"):
        who = store.pseudonym(name)
        do_task(store, who, must(store.next_task(who)), name)
        assert store.next_task(who) is None
    assert store.image(gold.sha256).gold == PATH
    assert open_store().next_task(store.pseudonym("Cleo")) is None
    store.set_gold(gold.sha256, None, "admin")
    assert store.image(gold.sha256).gold is None
    assert store.next_task(store.pseudonym("Cleo")) is None  # two have done it, it wants one


# ---- order ----------------------------------------------------------------------------------------------------------
def test_agreement_is_the_mean_sequence_score_of_pairs() -> None:
    assert mean_agreement([b"\1\2"]) is None
    assert mean_agreement([b"\1\2", b"\1\2"]) == 1.0
    assert mean_agreement([b"\1\2", b"\1\3"]) == 0.5
    assert mean_agreement([b"\1\2", b"\1\2", b"\5\6"]) == pytest.approx(1 / 3)  # of 1, 0 and 0


def test_images_of_low_agreement_come_first_then_those_with_fewest_annotations(store: AnnotationStore) -> None:
    quarrel, accord, single, fresh = (image.sha256 for image in add_images(store, 4))
    ada, bob, cleo = (store.pseudonym(name) for name in ("Ada", "Bob", "Cleo"))
    for sha256, paths in ((accord, (LEFT, LEFT)), (quarrel, (LEFT, RIGHT)), (single, (LEFT,))):
        for who, path in zip((ada, bob), paths, strict=False):
            store.submit(annotate(sha256, who, f"{sha256[:8]} {who}", **click_path(path)))
    order = []
    for number in range(4):
        task = must(store.next_task(cleo))
        order.append(task.image.sha256)
        do_task(store, cleo, task, f"s{number}", **click_path(LEFT))
    assert order == [quarrel, fresh, single, accord]


def test_a_rejected_path_no_longer_lowers_the_agreement(store: AnnotationStore) -> None:
    quarrel, fresh = (image.sha256 for image in add_images(store, 2))
    for name, path in (("Ada", LEFT), ("Bob", LEFT), ("Cleo", RIGHT)):
        store.submit(annotate(quarrel, store.pseudonym(name), name, **click_path(path)))
    assert must(store.next_task(store.pseudonym("Dan"))).image.sha256 == quarrel
    store.review("Cleo", "rejected", "random clicks", "admin")
    assert must(store.next_task(store.pseudonym("Eve"))).image.sha256 == fresh


def test_whoever_has_seen_much_still_finds_the_next_image(
    store: AnnotationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("annotate.store.queue.PAGE", 2)
    monkeypatch.setattr("annotate.store.queue.BUDGET", 4)
    shas = [image.sha256 for image in add_images(store, 12)]
    who = store.pseudonym("Ada")
    for number, sha256 in enumerate(shas[:11]):  # on her own, so that the queue does not know yet
        store.submit(annotate(sha256, who, f"s{number}"))
    assert must(store.next_task(who)).image.sha256 == shas[11]


def test_a_higher_priority_comes_before_all_others(store: AnnotationStore) -> None:
    quarrel, fresh, late, soon = (image.sha256 for image in add_images(store, 4))
    ada, bob, cleo = (store.pseudonym(name) for name in ("Ada", "Bob", "Cleo"))
    for who, path in ((ada, LEFT), (bob, RIGHT)):
        store.submit(annotate(quarrel, who, f"quarrel {who}", **click_path(path)))
        store.submit(annotate(soon, who, f"soon {who}", **click_path(LEFT)))
    store.set_task(soon, "admin", priority=1)
    store.set_task(late, "admin", priority=-1)
    order = []
    for number in range(4):
        task = must(store.next_task(cleo))
        order.append(task.image.sha256)
        do_task(store, cleo, task, f"s{number}", **click_path(LEFT))
    assert order == [soon, quarrel, fresh, late]
    assert store.counts().open_images == 4
    dan = store.pseudonym("Dan")
    store.set_task(soon, "admin", priority=0)
    assert must(store.next_task(dan)).image.sha256 == quarrel
    assert store.image(soon).priority == 0


def test_annotators_learn_nothing_of_the_patient(store: AnnotationStore) -> None:
    store.add_image(picture(1), "a.png", by="admin", patient_id="p 7", metadata={"sex": "F"})
    image = must(store.next_task(store.pseudonym("Ada"))).image
    assert (image.patient_id, image.metadata, image.source) == ("", {}, "")
