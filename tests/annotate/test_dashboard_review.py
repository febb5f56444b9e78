"""Review: the next one, its detail, verdicts with their entries in the audit log, and the survey of a store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from annotate.dashboard import quality, review_detail
from annotate.dashboard.bulk import Judged, OthersSeenError, Seen
from annotate.dashboard.page import DashboardService
from annotate.dashboard.quality import agreement_table, annotator_chart, annotator_table, finding_table, image_table
from annotate.quality.scores import SEQUENCE
from annotate.store.lookup import latest_audit
from annotate.store.model import StoreError
from annotate.store.store import AnnotationStore
from gazevlm_core.findings import FINDING_NAMES
from gazevlm_core.scanpath import Fixation, Scanpath
from tests.annotate.dashboard_maker import ADMIN, ANNOTATOR, REVIEWER, make_service
from tests.annotate.filled_store import clicks, open_store, picture
from web.identity import NotAllowed
from web.markup import table

HOSTILE = "<img src=x onerror=alert(1)>"
NAMES = ("Ada", "Ben", "Cleo", "Dora", "Emil")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AnnotationStore]:
    """Two images, five annotators who look at the same places, one of them carelessly."""
    store = open_store(tmp_path / "data")
    people = [store.pseudonym(name) for name in NAMES]
    for number in range(2):
        image = store.add_image(picture(number), f"{HOSTILE} {number}", by=people[0])
        for row, who in enumerate(people):
            path = Scanpath(tuple(Fixation(0.1 + 0.2 * k + 0.01 * row, 0.5 + 0.05 * number) for k in range(4)), "click")
            if who == people[-1]:
                path = Scanpath((Fixation(0.9, 0.1 + 0.01 * number),), "click")
            change = {"scanpath": path, "clicks": clicks(image, who, 1).clicks[: len(path)]}
            store.submit(clicks(image, who, 10 * number + row, report=HOSTILE, findings_asked=FINDING_NAMES, **change))
    yield store
    store.close()


@pytest.fixture
def service(store: AnnotationStore, tmp_path: Path) -> DashboardService:
    return make_service(store, tmp_path / "data")


def seen(store: AnnotationStore, submission_id: str) -> Seen:
    found = store.find(submission_id)
    assert found is not None
    return Seen(submission_id, found.revision, found.number)


def test_a_reviewer_works_through_what_is_pending(service: DashboardService, store: AnnotationStore) -> None:
    after, numbers = 0, []
    for left in range(10, 0, -1):
        found = service.review.next(REVIEWER, "pending", after)
        assert found.submission_id is not None
        assert (found.left, found.again) == (left, False)
        looked = seen(store, found.submission_id)
        service.review.decide(REVIEWER, "accept", looked)
        numbers.append(looked.number)
        after = looked.number
    assert numbers == list(range(1, 11))
    assert service.review.next(REVIEWER, "pending", after).submission_id is None
    first = service.review.next(REVIEWER, "accepted", 10)
    assert (first.again, seen(store, first.submission_id or "").number) == (True, 1)


def test_every_verdict_is_in_the_audit_log(service: DashboardService, store: AnnotationStore) -> None:
    who = store.pseudonym("local:rita")
    submission_id = store.stored()[0].annotation.submission_id
    steps = (
        ("accept", "accepted", ""), ("reopen", "pending", ""), ("reject", "rejected", "Clicked at random."),
        ("remove", "removed", "By wish."), ("restore", "restored", "It was fine."),
    )  # fmt: skip
    for name, action, reason in steps:
        service.review.decide(REVIEWER, name, seen(store, submission_id), reason)
        entry = latest_audit(store, 1, subject=submission_id)[0]
        assert (entry.who, entry.action, entry.details) == (who, action, {"reason": reason})
        kept = store.find(submission_id)
        assert kept is not None
        assert kept.removed == (name == "remove")
    assert (kept.verdict, kept.reason) == ("rejected", "Clicked at random.")
    assert [entry.action for entry in service.review.detail(REVIEWER, submission_id).history] == [
        action for _, action, _ in reversed(steps)
    ]  # fmt: skip


def test_a_reviewer_is_told_that_gold_went(service: DashboardService, store: AnnotationStore) -> None:
    first, second = store.stored()[:2]
    store.set_gold(first.image_sha256, first.annotation.scanpath, "boss", gold_from=[first.annotation.annotator])
    assert not service.review.decide(REVIEWER, "reject", seen(store, second.submission_id), "not this one")
    assert not service.review.decide(REVIEWER, "accept", seen(store, first.submission_id))
    assert service.review.decide(REVIEWER, "remove", seen(store, first.submission_id), "by wish")
    view = service.images.view(ADMIN, first.image_sha256)
    assert view.gold_gone == "its path rested on submission 1, which was removed"
    service.images.set_gold(ADMIN, first.image_sha256, store.stored()[-6].submission_id)
    assert service.images.view(ADMIN, first.image_sha256).gold_gone == ""
    service.images.clear_gold(ADMIN, first.image_sha256)
    assert service.images.view(ADMIN, first.image_sha256).gold_gone == "", "an admin asked for that"


@pytest.mark.parametrize("name", ["reject", "remove", "restore"])
def test_a_reason_is_needed(service: DashboardService, store: AnnotationStore, name: str) -> None:
    looked = seen(store, store.stored()[0].annotation.submission_id)
    before = store.audit()
    for reason in ("", "  \n", "x" * 2001):
        with pytest.raises(StoreError, match=r"empty|longer"):
            service.review.decide(REVIEWER, name, looked, reason)
    assert store.audit() == before


def test_what_changed_meanwhile_is_not_judged(service: DashboardService, store: AnnotationStore) -> None:
    looked = seen(store, store.stored()[0].annotation.submission_id)
    service.review.decide(ADMIN, "reject", looked, "Too quick.")
    for decision in ("accept", "remove"):
        with pytest.raises(StoreError, match="meanwhile"):
            service.review.decide(REVIEWER, decision, looked, "why")
    with pytest.raises(StoreError, match="Choose a submission"):
        service.review.decide(REVIEWER, "accept", None)
    service.review.decide(REVIEWER, "remove", seen(store, looked.submission_id), "why")
    with pytest.raises(StoreError, match="restore it first"):
        service.review.decide(REVIEWER, "accept", seen(store, looked.submission_id))


def test_removed_ones_are_found_again_and_restored(service: DashboardService, store: AnnotationStore) -> None:
    submission_id = store.stored()[3].annotation.submission_id
    service.review.decide(REVIEWER, "remove", seen(store, submission_id), "why")
    assert service.review.next(REVIEWER, "removed").submission_id == submission_id
    detail = service.review.detail(REVIEWER, submission_id)
    assert submission_id not in detail.quality
    assert detail.agreement is not None
    assert detail.agreement.annotators == 4
    service.review.decide(REVIEWER, "restore", seen(store, submission_id), "fine")
    assert service.review.next(REVIEWER, "removed").submission_id is None


def test_a_submission_is_found_by_what_people_have(service: DashboardService, store: AnnotationStore) -> None:
    one = store.stored()[6]
    own = one.annotation.submission_id
    for text in ("7", one.receipt.receipt_id.lower(), own, f" {own} "):
        assert service.review.find(REVIEWER, text) == own
    first = store.stored(sha256=one.image_sha256)[0].annotation.submission_id
    assert service.review.find(REVIEWER, one.image_sha256[:8].upper()) == first
    for text in ("", "999", "abc", "%", "_" * 8, "0" * 64):
        with pytest.raises(StoreError, match="Nothing is found"):
            service.review.find(REVIEWER, text)
    with pytest.raises(StoreError, match="no such submission"):
        service.review.detail(REVIEWER, "no")
    with pytest.raises(StoreError, match="none of these"):
        service.review.next(REVIEWER, "whatever")  # type: ignore[arg-type]


def test_flagged_ones_come_one_by_one_and_leave_when_judged(service: DashboardService, store: AnnotationStore) -> None:
    careless = {one.number for one in store.stored(annotator=store.pseudonym("Emil"))}
    rows = service.quality.compute(REVIEWER).survey.submissions
    odd = sorted(row.number for row in rows if row.flags or row.outliers)
    assert careless <= set(odd)
    assert len(odd) < len(rows)
    found, after = [], 0
    for left in range(len(odd), 0, -1):
        one = service.review.next(REVIEWER, "flagged", after)
        assert one.left == left
        looked = seen(store, one.submission_id or "")
        service.review.decide(REVIEWER, "reject", looked, "One click.")
        found.append(looked.number)
        after = looked.number
    assert found == odd
    assert service.review.next(REVIEWER, "flagged").submission_id is None


def test_one_project_is_reviewed_judged_and_compared_by_itself(
    service: DashboardService, store: AnnotationStore
) -> None:
    image = store.add_image(picture(7), "tube", by="root", project=store.add_project("Tubes", "root").slug)
    path = Scanpath((Fixation(0.9, 0.1),), "click")
    who = store.pseudonym("Emil")
    tube = clicks(image, who, 99, scanpath=path, clicks=clicks(image, who, 1).clicks[:1])
    store.submit(tube)
    found = service.review.next(REVIEWER, "pending", project="tubes")
    assert (found.submission_id, found.left) == (tube.submission_id, 1)
    assert service.review.next(REVIEWER, "pending", project="main").left == 10
    assert service.review.next(REVIEWER, "pending").left == 11
    number = seen(store, tube.submission_id).number
    assert service.review.next(REVIEWER, "pending", number, "tubes").again, "from the start of the project"
    counted = service.bulk.count(REVIEWER, None, project="tubes")
    assert ([one.submission_id for one in counted.ones], counted.whose) == ([tube.submission_id], "in project tubes")
    own = service.quality.compute(REVIEWER, "tubes")
    assert [one.submission_id for one in own.survey.submissions] == [tube.submission_id]
    assert service.quality.latest(REVIEWER) is None, "that is of all"
    assert len(service.quality.compute(REVIEWER).survey.submissions) == 11
    assert service.quality.latest(REVIEWER, "tubes") == own
    assert service.review.next(REVIEWER, "flagged", project="tubes").left == 1
    service.bulk.decide(REVIEWER, "accepted", counted, None)
    assert service.review.next(REVIEWER, "pending", project="tubes").submission_id is None
    assert service.review.next(REVIEWER, "pending").left == 10
    with pytest.raises(StoreError, match="no such project"):
        service.quality.compute(REVIEWER, "whatever")


def test_the_detail_shows_consensus_and_everybody_and_escapes_what_came_from_outside(
    service: DashboardService, store: AnnotationStore
) -> None:
    last = store.stored()[4].annotation.submission_id
    detail = service.review.detail(REVIEWER, last)
    assert detail.consensus is not None
    two = review_detail.paths_of(detail, everybody=False)
    assert [path.role for path in two] == ["model", "reader"]
    assert two[0].name == "Consensus of 5"
    everybody = review_detail.paths_of(detail, everybody=True)
    assert len(everybody) == 6, "the consensus is one of the five again, under its own name"
    assert float(detail.heat.sum()) == pytest.approx(1)
    assert review_detail.heat_figure(detail) is not None
    shown = "".join(
        table(make(detail))
        for make in (review_detail.submission_table, review_detail.answer_table, review_detail.agreement_table)
    )
    assert HOSTILE not in shown
    assert "few fixations" in shown
    own = detail.consensus.submission_id
    assert "itself" in review_detail.paths_of(service.review.detail(REVIEWER, own), everybody=False)[0].name


def test_an_image_with_very_many_submissions_is_shown_in_part(
    service: DashboardService, store: AnnotationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(review_detail, "MOST_SCORED", 3)
    detail = service.review.detail(REVIEWER, store.stored()[0].annotation.submission_id)
    assert ([one.number for one in detail.stored], detail.total) == ([1, 4, 5], 5)


def test_the_survey_is_kept_until_something_changes(service: DashboardService, store: AnnotationStore) -> None:
    assert service.quality.latest(REVIEWER) is None
    first = service.quality.compute(REVIEWER)
    assert service.quality.compute(REVIEWER) is first
    assert service.quality.latest(REVIEWER) is first
    one = store.stored()[0]
    service.review.decide(REVIEWER, "reject", seen(store, one.annotation.submission_id), "why")
    stale = service.quality.latest(REVIEWER)
    assert stale is not None
    assert not stale.current
    again = service.quality.compute(REVIEWER)
    assert again.current
    assert again.survey != first.survey
    store.set_gold(one.image_sha256, one.annotation.scanpath, store.pseudonym("Ada"))
    assert service.quality.compute(REVIEWER) is not again, "gold changes the scores"


def test_the_survey_shows_pseudonyms_and_the_lowest_agreement_first(service: DashboardService) -> None:
    quality = service.quality.compute(REVIEWER)
    values = [image.levels[SEQUENCE].value for image in quality.images()]
    assert values == sorted(values)
    shown = "".join(table(make(quality)) for make in (agreement_table, annotator_table, image_table))
    assert "reader-" in shown
    assert not any(name in shown for name in NAMES)
    assert HOSTILE not in shown
    figure = annotator_chart(quality.survey)
    assert figure is not None
    assert sum(len(trace.x) for trace in figure.data) == 5


def test_a_store_too_large_for_a_page_names_the_tool(
    service: DashboardService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality, "MOST_SURVEYED", 9)
    with pytest.raises(StoreError, match="gazevlm annotations stats"):
        service.quality.compute(REVIEWER)
    with pytest.raises(StoreError, match="gazevlm annotations stats"):
        service.review.next(REVIEWER, "flagged")


def test_many_are_judged_at_once_by_filters(service: DashboardService, store: AnnotationStore) -> None:
    bulk, first = service.bulk, store.stored()[-1]  # of the careless one
    shown = seen(store, first.submission_id)
    of_annotator = bulk.count(REVIEWER, shown, same_annotator=True, same_image=False)
    assert len(of_annotator.ones) == 2
    both = bulk.count(REVIEWER, shown, same_annotator=True, same_image=True)
    assert [one.submission_id for one in both.ones] == [first.submission_id]
    flagged = bulk.count(REVIEWER, None, same_annotator=False, same_image=False, odd="flagged")
    usual = bulk.count(REVIEWER, None, same_annotator=False, same_image=False, odd="not flagged")
    assert len(flagged.ones) + len(usual.ones) == 10
    assert {one.submission_id for one in of_annotator.ones} <= {one.submission_id for one in flagged.ones}, "one click"
    with pytest.raises(StoreError, match="reason for rejecting"):
        bulk.decide(REVIEWER, "rejected", of_annotator, shown, " ")
    with pytest.raises(StoreError, match="Count"):
        bulk.decide(REVIEWER, "accepted", None, shown)
    store.review(first.submission_id, "accepted", "", "somebody else")
    done = bulk.decide(REVIEWER, "rejected", of_annotator, shown, "one click is no reading")
    assert done == Judged(1, 1, 0), "one had changed"
    rejected = store.stored(verdicts=["rejected"])
    assert [one.reason for one in rejected] == ["one click is no reading"]
    assert latest_audit(store, 1)[0].who == store.pseudonym("local:rita")
    with pytest.raises(StoreError, match="Choose a submission"):
        bulk.count(REVIEWER, None, same_annotator=True, same_image=False)
    with pytest.raises(NotAllowed):
        bulk.count(ANNOTATOR, shown, same_annotator=True, same_image=False)
    with pytest.raises(NotAllowed):
        bulk.decide(ANNOTATOR, "accepted", usual, None)


def test_a_verdict_on_many_is_refused_once_somebody_elses_submission_is_shown(
    service: DashboardService, store: AnnotationStore
) -> None:
    bulk, careless = service.bulk, store.stored()[-1]
    shown = seen(store, careless.submission_id)
    other = next(one for one in store.stored() if one.annotation.annotator != careless.annotation.annotator)
    same_image = next(one for one in store.stored() if one.image_sha256 == careless.image_sha256)
    of_annotator = bulk.count(REVIEWER, shown, same_annotator=True)
    on_image = bulk.count(REVIEWER, shown, same_image=True)
    of_all = bulk.count(REVIEWER, shown)
    who, digest = careless.annotation.annotator, careless.image_sha256[:10]
    assert [one.whose for one in (of_annotator, on_image, of_all)] == [f"of {who}", f"on image {digest}", ""]
    assert bulk.count(REVIEWER, shown, same_annotator=True, same_image=True).whose == f"of {who} on image {digest}"
    for counted, now in ((of_annotator, seen(store, same_image.submission_id)), (of_annotator, None),
                         (on_image, seen(store, other.submission_id)), (on_image, None)):  # fmt: skip
        with pytest.raises(OthersSeenError, match=f"is {counted.whose}, and another submission"):
            bulk.decide(REVIEWER, "accepted", counted, now)
    assert store.counts().accepted == 0
    assert bulk.decide(REVIEWER, "accepted", on_image, seen(store, same_image.submission_id)) == Judged(5, 0, 0)
    assert bulk.decide(REVIEWER, "rejected", of_all, None, "begin again") == Judged(5, 5, 0), "whatever is shown"


def test_a_verdict_on_many_tells_of_the_gold_that_went(service: DashboardService, store: AnnotationStore) -> None:
    for one in store.stored()[:5:4]:  # two on the first image, of which one is gold
        store.set_gold(one.image_sha256, one.annotation.scanpath, "boss", gold_from=[one.annotation.annotator])
    other = store.stored()[5]
    store.set_gold(other.image_sha256, other.annotation.scanpath, "boss", gold_from=[other.annotation.annotator])
    everything = service.bulk.count(REVIEWER, None)
    assert service.bulk.decide(REVIEWER, "rejected", everything, None, "begin again") == Judged(10, 0, 2)
    told = "10 submissions are rejected. 2 images are no longer gold: the known path rested on what was rejected."
    assert Judged(10, 0, 2).in_words("rejected", everything) == told
    told = "1 submission is accepted. 2 had changed meanwhile and were left."
    assert Judged(1, 2, 0).in_words("accepted", None) == told


def test_what_came_after_the_latest_comparison_is_neither_flagged_nor_not(
    service: DashboardService, store: AnnotationStore
) -> None:
    service.quality.compute(REVIEWER)
    image = store.images()[0]
    one_click = {"scanpath": Scanpath((Fixation(0.5, 0.5),), "click"), "clicks": clicks(image, "x", 1).clicks[:1]}
    store.submit(clicks(image, store.pseudonym("Fay"), 99, **one_click))
    found = [service.bulk.count(REVIEWER, None, odd=odd) for odd in ("flagged", "not flagged")]
    assert sum(len(one.ones) for one in found) == 10
    assert [one.unchecked for one in found] == [1, 1]
    assert service.bulk.count(REVIEWER, None).unchecked == 0


def test_an_annotator_is_blocked_and_let_in_again(service: DashboardService, store: AnnotationStore) -> None:
    bulk, first = service.bulk, store.stored()[0]
    shown, who = seen(store, first.submission_id), first.annotation.annotator
    with pytest.raises(NotAllowed):
        bulk.block(ANNOTATOR, shown, True, "why not")
    with pytest.raises(StoreError, match="reason is empty"):
        bulk.block(REVIEWER, shown, True, " ")
    assert bulk.block(REVIEWER, shown, True, "clicks anywhere") == who
    assert store.person(who).blocked
    bulk.block(REVIEWER, shown, False, "they explained")
    assert not store.person(who).blocked


def test_agreement_on_findings_stands_beside_that_on_paths(service: DashboardService, store: AnnotationStore) -> None:
    rows = finding_table(service.quality.compute(REVIEWER)).rows
    assert rows
    assert all(row[1] == "2" for row in rows), "both images have votes of five"


def test_where_no_two_were_asked_the_table_of_findings_says_so(
    service: DashboardService, store: AnnotationStore
) -> None:
    for one in store.stored():
        store.remove(one.annotation.submission_id, "withdrawn", store.pseudonym(NAMES[0]))
    (row,) = finding_table(service.quality.compute(REVIEWER)).rows
    assert row[:2] == ["nothing that two were asked for", "0"]
