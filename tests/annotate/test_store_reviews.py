"""Reviews, removal, the audit log, the outbox, and records taken in from an export."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete, update

from annotate.blur import BlurSettings
from annotate.store.model import AuditEntry, Person, StoreError, StoreSettings
from annotate.store.project import Project
from annotate.store.store import AnnotationStore
from annotate.store.tables import AUDIT, SUBMISSIONS
from gazevlm_core.scanpath import Fixation, Scanpath
from tests.annotate.store_maker import Clock, add_images, annotate, ingest
from tests.annotation_maker import CLICK


def fill(store: AnnotationStore, number: int) -> str:
    who = store.pseudonym("Ada")
    for row, image in enumerate(add_images(store, number), start=1):
        store.submit(annotate(image.sha256, who, f"s{row}"))
    return who


def test_verdicts_are_kept_with_who_and_why(store: AnnotationStore) -> None:
    fill(store, 2)
    store.review("s1", "rejected", "one click only", "boss")
    store.review("s1", "rejected", "one click only", "boss")  # the same again is nothing new
    store.review("s2", "accepted", "", "boss")
    first, second = store.stored()
    assert (first.verdict, first.reason, first.revision) == ("rejected", "one click only", 1)
    assert store.stored(verdicts=["accepted"]) == [second]
    assert store.stored(verdicts=["rejected", "pending"]) == [first]
    told = [(entry.who, entry.action, entry.subject, entry.details) for entry in store.audit(after=2)]
    assert told == [
        ("boss", "rejected", "s1", {"reason": "one click only"}),
        ("boss", "accepted", "s2", {"reason": ""}),
    ]
    counts = store.counts()
    assert (counts.annotations, counts.accepted, counts.rejected, counts.pending) == (2, 1, 1, 0)
    for verdict, reason, message in (("rejected", " ", "reason for rejecting is empty"), ("good", "", "no verdict")):
        with pytest.raises(StoreError, match=message):
            store.review("s2", verdict, reason, "boss")  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="no such submission"):
        store.review("s9", "accepted", "", "boss")


def test_removal_erases_nothing_and_can_be_undone(store: AnnotationStore) -> None:
    who = fill(store, 2)
    before = store.find("s1")
    store.remove("s1", "asked for by mail", "boss")
    store.remove("s1", "asked for by mail", "boss")
    assert [stored.receipt.submission_id for stored in store.stored()] == ["s2"]
    assert [stored.removed for stored in store.stored(include_removed=True)] == [True, False]
    assert store.progress(who).done == 1
    store.restore("s1", "a mistake", "boss")
    after = store.find("s1")
    assert after is not None
    assert replace(after, revision=0) == before
    assert store.progress(who).done == 2
    assert [entry.action for entry in store.audit(after=2)] == ["removed", "restored"]
    with pytest.raises(StoreError, match="reason is empty"):
        store.remove("s1", "", "boss")


def test_the_next_submission_of_an_annotator_counts_where_the_first_is_rejected(
    store: AnnotationStore, tmp_path: Path
) -> None:
    (image,) = add_images(store, 1, quota=2)
    ada, ben = store.pseudonym("Ada"), store.pseudonym("Ben")
    for who, submission_id in ((ada, "s1"), (ada, "s2"), (ben, "s3")):
        store.submit(annotate(image.sha256, who, submission_id))

    def room() -> int:
        return store.progress(store.pseudonym("Cleo")).open_images

    assert room() == 0, "two annotators are enough"
    store.review("s1", "rejected", "in haste", "boss")
    assert room() == 0, "the second one of the same annotator stands for them now"
    other = AnnotationStore.open(tmp_path / "copy", settings=StoreSettings(gold_share=0, repeat_share=0))
    other.ingest([(store.image(image.sha256), store.png(image.sha256))])
    for stored in store.stored():
        ingest(other, stored)
    assert other.progress(other.pseudonym("Cleo")).open_images == 0, "as in a copy of the store"
    other.close()
    store.remove("s2", "by wish", "boss")
    assert room() == 1
    store.restore("s2", "a mistake", "boss")
    store.review("s1", "accepted", "", "boss")
    assert room() == 0
    store.review("s2", "rejected", "the first one is there again", "boss")
    assert room() == 0


def test_the_database_itself_refuses_to_forget(store: AnnotationStore) -> None:
    fill(store, 1)
    statements = [
        delete(AUDIT), update(AUDIT).values(who="nobody"), delete(SUBMISSIONS),
        update(SUBMISSIONS).values(annotation="{}"), update(SUBMISSIONS).values(number=7),
    ]  # fmt: skip
    before = store.stored(), store.audit()
    for statement in statements:

        def run(connection: Connection, statement: object = statement) -> None:
            connection.execute(statement)  # type: ignore[call-overload]

        with pytest.raises(StoreError, match="refused"):
            store.database.write(run)
    assert (store.stored(), store.audit()) == before


def test_the_outbox_holds_what_is_not_published_as_it_is(store: AnnotationStore) -> None:
    fill(store, 4)
    store.remove("s4", "before anybody saw it", "boss")
    assert [stored.number for stored in store.unsynced(2)] == [1, 2]
    assert store.counts().backlog == 3
    sent = store.unsynced()
    store.review("s2", "rejected", "meanwhile", "boss")
    store.mark_synced(sent, "shard-1")
    assert [stored.receipt.submission_id for stored in store.unsynced()] == ["s2"]
    store.mark_synced(store.unsynced(), "shard-2")
    assert store.counts().backlog == 0
    assert [stored.synced for stored in store.stored()] == [True] * 3
    store.remove("s1", "asked for", "boss")
    (removed,) = store.unsynced()
    assert (removed.number, removed.removed, removed.synced) == (1, True, False)


def test_an_export_taken_in_gives_the_same_records(store: AnnotationStore, tmp_path: Path) -> None:
    fill(store, 3)
    store.review("s2", "rejected", "one click", "boss")
    store.remove("s3", "asked for", "boss")
    exported = store.stored(include_removed=True)
    other = AnnotationStore.open(tmp_path / "other")
    with pytest.raises(StoreError, match="no such image"):
        ingest(other, exported[0])
    add_images(other, 3)
    assert [ingest(other, stored, shard="shard-1") for stored in reversed(exported)] == [True] * 3
    taken = other.stored(include_removed=True)
    assert [replace(stored, synced=False) for stored in taken] == exported
    assert all(stored.synced for stored in taken)
    assert not any(ingest(other, stored) for stored in exported)
    assert [person.name for person in other.people()] == [None]
    who = exported[0].annotation.annotator
    assert other.progress(who).done == store.progress(who).done == 2
    assert other.next_task(who) is None  # nobody gets the same image twice, in the rebuilt store either
    store.review("s1", "accepted", "", "boss")
    assert ingest(other, store.stored()[0])  # the later verdict
    kept = other.find("s1")
    assert kept is not None
    assert (kept.verdict, kept.revision, kept.number) == ("accepted", 1, 1)
    newcomer = other.pseudonym("Bob")
    other.submit(annotate(exported[0].image_sha256, newcomer, "new"))
    assert other.stored()[-1].number == 4  # behind all that was taken in
    other.close()


def test_forged_and_clashing_records_are_refused(store: AnnotationStore) -> None:
    fill(store, 2)
    first, second = store.stored()
    with pytest.raises(StoreError, match="was changed since"):
        ingest(store, replace(first, annotation=replace(first.annotation, report="forged")))
    with pytest.raises(StoreError, match="was changed since"):
        ingest(store, replace(first, receipt_id="0" * 10))
    twin = store.submit(annotate(second.image_sha256, store.pseudonym("Bob"), "twin"))
    found = store.find(twin.submission_id)
    assert found is not None
    with pytest.raises(StoreError, match="no kind"):
        ingest(store, replace(found, kind="stolen"))  # type: ignore[arg-type]
    assert store.counts().annotations == 3


def test_what_was_withdrawn_stays_withdrawn_whoever_judges_it(store: AnnotationStore) -> None:
    store.withdraw("s1", fill(store, 1))
    with pytest.raises(StoreError, match="withdrew"):
        store.review("s1", "accepted", "", "boss")  # decided a moment before
    with pytest.raises(StoreError, match="withdrew"):
        store.restore("s1", "a mistake", "boss")


def test_terms_experience_and_a_block_are_kept_and_come_back(store: AnnotationStore, tmp_path: Path) -> None:
    who = store.pseudonym("Ada")
    assert store.person(who) == Person("Ada", who)
    store.agree(who, "1 CC BY 4.0", "radiologist")
    store.agree(who, "1 CC BY 4.0", "radiologist")
    store.set_blocked(who, True, "one click on everything", "boss")
    store.set_blocked(who, True, "again", "boss")
    kept = Person("Ada", who, "radiologist", "1 CC BY 4.0", True)
    assert store.person(who) == kept
    assert [entry.action for entry in store.audit()] == ["agreed", "annotator blocked"]
    with pytest.raises(StoreError, match="Experience is one of"):
        store.agree(who, "1 CC BY 4.0", "wizard")
    with pytest.raises(StoreError, match="reason is empty"):
        store.set_blocked(who, False, " ", "boss")
    copy = AnnotationStore.open(tmp_path / "copy")
    assert copy.ingest([(replace(kept, name=None), b"")]) == [True]
    assert copy.ingest([(replace(kept, name=None), b"")]) == [False]
    assert copy.person(who) == replace(kept, name=None)
    copy.close()


def test_a_project_is_checked_and_kept(store: AnnotationStore) -> None:
    assert store.project() == Project()
    assert (Project().sigma_px, Project().radius_px) == (BlurSettings().sigma_px, BlurSettings().radius_px)
    project = Project("Apex first.", "CC0 1.0", "moving window", 20.0, 30.0, 4, ("edema",))
    store.set_project(project, "boss")
    store.set_project(project, "boss")
    assert store.project() == project
    assert [entry.action for entry in store.audit()] == ["project changed"]
    assert project.form(("fracture", "edema", "wings")) == ("edema",)
    assert Project(checklist=("wings",)).form(("edema",)) == ("edema",), "what nobody knows is not asked for"
    wrong: list[dict[str, object]] = [
        {"mode": "telepathy"}, {"sigma_px": 0}, {"radius_px": float("nan")}, {"least_clicks": 0}, {"licence": " "},
        {"instruction": "x" * 601}, {"checklist": ("edema", "edema")}, {"checklist": ("",)},
    ]  # fmt: skip
    for change in wrong:
        with pytest.raises(StoreError):
            Project(**change)  # type: ignore[arg-type]


TAKE_BACK = {
    "withdrawn": lambda store, who: store.withdraw("s1", who),
    "removed": lambda store, _who: store.remove("s1", "by wish", "boss"),
    "rejected": lambda store, _who: store.review("s1", "rejected", "in haste", "boss"),
}


@pytest.mark.parametrize("how", TAKE_BACK)
def test_a_gold_path_goes_with_the_submission_that_it_is_of(store: AnnotationStore, how: str) -> None:
    who = fill(store, 2)
    first, second = store.stored()
    for one in (first, second):
        store.set_gold(one.image_sha256, one.annotation.scanpath, "boss", gold_from=[who])
    before = store.audit()[-1].number
    TAKE_BACK[how](store, who)
    image = store.image(first.image_sha256)
    assert (image.gold, image.gold_from) == (None, ())
    assert store.image(second.image_sha256).gold == second.annotation.scanpath
    by = who if how == "withdrawn" else "boss"
    said = [(one.who, one.action, one.subject) for one in store.audit(after=before)]
    assert said == [(by, how, "s1"), (by, "gold taken away", first.image_sha256)]
    assert store.audit()[-1].details == {"reason": f"its path rested on submission 1, which was {how}"}
    assert store.next_task(store.pseudonym("Ben")) is not None, "a usual image again"
    store.set_gold(second.image_sha256, second.annotation.scanpath, "boss", gold_from=[who])
    if how != "withdrawn":
        store.review("s1", "accepted", "", "boss")
        assert store.image(first.image_sha256).gold is None, "whoever judges anew chooses it anew"


def test_a_consensus_goes_with_any_that_it_was_chosen_from_and_with_no_other(store: AnnotationStore) -> None:
    (image,) = add_images(store, 1)
    ada, ben, cleo = map(store.pseudonym, ("Ada", "Ben", "Cleo"))
    for who, submission_id in ((ada, "s1"), (ada, "s2"), (ben, "s3"), (cleo, "s4")):
        store.submit(annotate(image.sha256, who, submission_id))
    of_ben = store.stored()[2].annotation.scanpath
    store.set_gold(image.sha256, of_ben, "boss", gold_from=[ada, ben])
    store.withdraw("s2", ada)  # the first one of each was compared
    store.withdraw("s4", cleo)
    assert store.image(image.sha256).gold == of_ben
    store.withdraw("s1", ada)
    assert store.image(image.sha256).gold is None


def test_a_path_with_times_is_known_whoever_the_gold_is_said_to_be_from(store: AnnotationStore) -> None:
    who = fill(store, 1)
    times = Scanpath((Fixation(0.5, 0.5, onset_ms=0.0), Fixation(0.25, 0.5, onset_ms=310.5)), "click")
    image = store.images()[0]
    store.submit(annotate(image.sha256, who, "timed", scanpath=times, clicks=(CLICK,) * 2))
    store.set_gold(image.sha256, times, "boss")
    store.withdraw("s1", who)
    assert store.image(image.sha256).gold == times
    store.withdraw("timed", who)
    assert store.image(image.sha256).gold is None


def test_gold_goes_where_a_later_verdict_is_imported(store: AnnotationStore, tmp_path: Path) -> None:
    who = fill(store, 1)
    other = AnnotationStore.open(tmp_path / "other")
    add_images(other, 1)
    (one,) = store.stored()
    ingest(other, one)
    other.set_gold(one.image_sha256, one.annotation.scanpath, "boss", gold_from=[who])
    store.withdraw("s1", who)
    (later,) = store.stored(include_removed=True)
    assert ingest(other, later)
    assert other.image(one.image_sha256).gold is None
    assert other.audit()[-1].details["reason"].endswith("which was withdrawn")
    other.close()


def test_gold_that_was_stale_before_is_taken_away(store: AnnotationStore) -> None:
    (of_path, of_two, still), (ada, ben) = add_images(store, 3), map(store.pseudonym, ("Ada", "Ben"))
    for number, image in enumerate((of_path, of_two, still)):
        for who in (ada, ben):
            store.submit(annotate(image.sha256, who, f"{who} {number}"))
    store.submit(annotate(still.sha256, ben, "ben again"))
    paths = {one.submission_id: one.annotation.scanpath for one in store.stored()}
    store.review(f"{ada} 0", "rejected", "in haste", "boss")
    store.withdraw(f"{ben} 1", ben)
    store.remove(f"{ben} 2", "by wish", "boss")  # of him another one is left
    store.set_gold(of_path.sha256, paths[f"{ada} 0"], "boss", gold_from=[ada])
    for number, image in ((1, of_two), (2, still)):
        store.set_gold(image.sha256, paths[f"{ada} {number}"], "boss", gold_from=[ada, ben])
    before = store.audit()[-1].number
    assert store.drop_stale_gold("program") == 2
    assert [store.image(one.sha256).gold is None for one in (of_path, of_two, still)] == [True, True, False]
    told = [(one.who, one.action, one.subject, one.details["reason"]) for one in store.audit(after=before)]
    rested = "its path rested on submission {}, which was {}"
    assert told == [
        ("program", "gold taken away", of_path.sha256, rested.format(1, "rejected")),
        ("program", "gold taken away", of_two.sha256, rested.format(4, "withdrawn")),
    ]
    assert store.drop_stale_gold("program") == 0


def test_people_follow_the_log_that_comes_back(store: AnnotationStore, tmp_path: Path) -> None:
    ada, ben = store.pseudonym("Ada"), store.pseudonym("Ben")
    store.agree(ada, "1 CC0 1.0", "medical student")
    store.agree(ada, "1 CC BY 4.0", "radiologist")
    store.set_blocked(ada, True, "one click on everything", "boss")
    store.set_blocked(ben, True, "by mistake", "boss")
    store.set_blocked(ben, False, "by mistake", "boss")
    copy = AnnotationStore.open(tmp_path / "copy")
    copy.ingest([(entry, b"") for entry in store.audit()])
    for who in (ada, ben):
        assert copy.person(who) == replace(store.person(who), name=None)
    assert copy.person(ada).blocked
    assert copy.person(ada).agreed == "1 CC0 1.0\n1 CC BY 4.0"
    copy.close()


def test_of_two_stores_the_latest_decision_on_somebody_holds(store: AnnotationStore, tmp_path: Path) -> None:
    who, clock = store.pseudonym("Ada"), Clock()
    other = AnnotationStore.open(tmp_path / "other", settings=StoreSettings(secret="s"), clock=clock)
    assert other.ingest([(Person(None, who), b"")]) == [True]
    other.agree(who, "1 CC0 1.0", "radiologist")  # in 2026-05, by this clock
    other.set_blocked(who, True, "clicks anywhere", "boss")
    agreed = other.audit()[0]
    earlier, later = clock.now - timedelta(days=1), clock.now + timedelta(days=1)
    student = {"terms": "1 MIT", "experience": "medical student"}

    def come(at: datetime, action: str, **details: object) -> Person:
        other.ingest([(AuditEntry(agreed.number, at, "boss", action, who, details), b"")], merge=True)
        return other.person(who)

    assert come(earlier, "annotator let in again", reason="x").blocked
    before = come(earlier, "agreed", **student)
    assert (before.experience, sorted(before.agreed.splitlines())) == ("radiologist", ["1 CC0 1.0", "1 MIT"])
    assert not come(later, "annotator let in again", reason="x").blocked
    assert come(later, "agreed", **student).experience == "medical student"
    same = come(later + timedelta(days=1), "agreed", terms=7, experience=["wizard"])
    assert same == other.person(who), "what makes no sense changes nobody"
    other.close()
