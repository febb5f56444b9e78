"""Checks, outliers, agreement, consensus and annotators compared: hand-computed numbers."""

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from annotate.quality.agreement import agreement, consensus, heat_map
from annotate.quality.assess import (
    DOUBLED,
    DURATION,
    FAST,
    FEW,
    FIXATIONS,
    IDENTICAL,
    OUTSIDE,
    SCORE,
    Limits,
    assess_image,
    check,
    doubled_share,
    fences,
    flag_identical,
    repeat_scores,
)
from annotate.quality.scores import CENTRE, JACCARD, OTHER_IMAGE, SCANMATCH, SEQUENCE, SHUFFLED, UNIFORM
from annotate.quality.survey import HEADS, compare_annotators
from annotate.store.model import Stored
from gazevlm_core.annotation import Client, PointerSample
from gazevlm_core.scanpath import Fixation, Scanpath
from tests.annotation_maker import CLICK, START, make_annotation

OTHER = hashlib.sha256(b"another").hexdigest()


def patch(index: int) -> tuple[float, float]:
    """Centre of a patch of the 8 x 8 grid."""
    row, col = divmod(index, 8)
    return (col + 0.5) / 8, (row + 0.5) / 8


def path(*patches: int) -> Scanpath:
    places = [patch(index) for index in patches]
    return Scanpath(tuple(Fixation(x, y, onset_ms=400.0 * step) for step, (x, y) in enumerate(places)), "click")


def stored(number: int, annotator: str, patches: Sequence[int], *, seconds: float = 9, kind: str = "usual",
           verdict: str = "pending", **change: Any) -> Stored:  # fmt: skip
    annotation = make_annotation(
        submission_id=f"s{number}", annotator=annotator, scanpath=path(*patches), clicks=(CLICK,) * len(patches),
        submitted_at=START + timedelta(seconds=seconds), **change,
    )  # fmt: skip
    return Stored(number, f"R{number:09d}", "0" * 64, kind, verdict, "", False, 0, annotation)


def window(outside: int, samples: int = 10) -> Any:
    places = [1.2 if index < outside else 0.5 for index in range(samples)]
    return make_annotation(
        scanpath=Scanpath((Fixation(0.5, 0.5, 300.0, 0.0),) * 3, "moving window"), clicks=(),
        samples=tuple(PointerSample(30.0 * step, x, 0.5) for step, x in enumerate(places)),
        client=Client(600, 450, 1.0, 1.0, "moving window", 40.0, 32.0),
    )  # fmt: skip


# ---- checks ---------------------------------------------------------------------------------------------------------
def names(flags: Any) -> set[str]:
    return {flag.name for flag in flags}


def test_a_good_submission_has_no_flag() -> None:
    assert check(stored(1, "a", [1, 20, 40]).annotation) == ()


@pytest.mark.parametrize(("count", "few"), [(2, True), (3, False)])
def test_few_fixations(count: int, few: bool) -> None:
    assert (FEW in names(check(stored(1, "a", range(count)).annotation))) is few


@pytest.mark.parametrize(("seconds", "fast"), [(2.9, True), (3.0, False)])
def test_too_fast(seconds: float, fast: bool) -> None:
    assert (FAST in names(check(stored(1, "a", [1, 20, 40], seconds=seconds).annotation))) is fast


@pytest.mark.parametrize(("outside", "flagged"), [(0, False), (2, False), (3, True)])
def test_samples_beside_the_image(outside: int, flagged: bool) -> None:
    flags = check(window(outside), Limits(most_outside=0.25))
    assert (OUTSIDE in names(flags)) is flagged


def test_doubled_clicks() -> None:
    assert doubled_share(stored(1, "a", [5, 5, 5, 9]).annotation) == 0.5
    assert doubled_share(stored(1, "a", [5, 9, 5, 9]).annotation) == 0.0  # coming back is looking again
    assert DOUBLED in names(check(stored(1, "a", [5, 5, 5, 9]).annotation))


def test_identical_submissions_are_found_across_images_and_people() -> None:
    some = [
        stored(1, "a", [1, 2, 3]), stored(2, "b", [1, 2, 3], image_sha256=OTHER), stored(3, "b", [3, 2, 1]),
        stored(4, "c", [7]), stored(5, "d", [7]),
    ]  # fmt: skip
    rows = [row for one in some for row in assess_image([one])]
    assert {row.submission_id for row in flag_identical(rows) if IDENTICAL in names(row.flags)} == {"s1", "s2"}


# ---- outliers -------------------------------------------------------------------------------------------------------
def outliers(group: Sequence[Stored]) -> list[tuple[str, str]]:
    """Annotator and quantity of whatever stands apart."""
    return [(row.annotator, one.quantity) for row in assess_image(group) for one in row.outliers]


def test_fences_are_three_interquartile_ranges_out() -> None:
    assert fences([1, 2, 3, 4, 5]) == (2 - 6, 4 + 6)
    assert fences([1, 2, 3]) is None
    assert fences([7, 7, 7, 7]) is None


def test_outliers_stand_apart_from_the_others() -> None:
    usual = [stored(n, f"a{n}", [1, 2, 3, 4, 5, *range(20, 20 + n)], seconds=10 + n) for n in range(1, 6)]
    assert outliers(usual) == []
    slow = stored(9, "slow", [1, 2, 3, 4, 5, 20, 21], seconds=600)
    assert outliers([*usual, slow]) == [("slow", DURATION)]
    long = stored(9, "long", [1, 2, 3, 4, 5, *range(10, 60)], seconds=12)
    assert ("long", FIXATIONS) in outliers([*usual, long])


def test_a_path_unlike_all_others_is_an_outlier_by_score_and_the_best_one_is_not() -> None:
    paths = [[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 7], [1, 2, 3, 4, 8, 6], [1, 2, 3, 9, 5, 7], [1, 2, 3, 4, 5, 6, 7]]
    crowd = [stored(n, f"a{n}", one) for n, one in enumerate(paths, start=1)]
    apart = stored(9, "odd", [60, 61, 62, 63, 59, 58])
    assert outliers([*crowd, apart]) == [("odd", SCORE)]


# ---- agreement ------------------------------------------------------------------------------------------------------
def test_agreement_is_the_mean_over_pairs() -> None:
    group = [stored(1, "a", [1, 2, 3, 4]), stored(2, "b", [1, 2, 3, 4]), stored(3, "c", [4, 3, 2, 1])]
    found = agreement(group)
    assert (found.annotators, found.pairs) == (3, 3)
    assert found.levels[SEQUENCE].value == pytest.approx((1 + 0.25 + 0.25) / 3)  # backwards: one of four in order
    assert found.levels[JACCARD].value == pytest.approx(1.0)  # blind to order
    assert [found.levels[name].order for name in (SEQUENCE, SCANMATCH, JACCARD)] == ["sensitive", "sensitive", "blind"]


def test_floors_know_less() -> None:
    forward = [0, 9, 18, 27, 36, 45, 54, 63]
    group = [stored(n, f"a{n}", forward) for n in range(4)]
    sequence = agreement(group, elsewhere=[path(7, 6, 5)]).levels[SEQUENCE]
    jaccard = agreement(group, elsewhere=[path(7, 6, 5)]).levels[JACCARD]
    assert sequence.value == jaccard.value == 1.0
    assert sequence.floors[OTHER_IMAGE] == 0.0
    assert sequence.floors[CENTRE] == pytest.approx(1 / 8)  # the centre lies in patch 36
    assert 0.2 < sequence.floors[SHUFFLED] < 0.8
    assert jaccard.floors[SHUFFLED] == 1.0  # order-blind
    assert 0 <= sequence.floors[UNIFORM] < 0.4
    assert sequence.best_floor == sequence.floors[SHUFFLED]


def test_one_annotator_agrees_with_nobody_and_one_image_has_no_other() -> None:
    assert agreement([stored(1, "a", [1, 2])]).levels[SEQUENCE].value is None
    assert agreement([stored(1, "a", [1, 2]), stored(2, "b", [1, 2])]).levels[SEQUENCE].floors[OTHER_IMAGE] is None
    with pytest.raises(ValueError, match="one image"):
        agreement([stored(1, "a", [1, 2]), stored(2, "b", [1, 2], image_sha256=OTHER)])


def test_repeats_and_rejected_paths_do_not_count() -> None:
    group = [
        stored(1, "a", [1, 2]), stored(2, "b", [1, 2]), stored(3, "a", [9, 8], kind="repeat"),
        stored(4, "c", [60, 61], verdict="rejected"),
    ]  # fmt: skip
    found = agreement(group)
    assert (found.annotators, found.levels[SEQUENCE].value) == (2, 1.0)


# ---- consensus ------------------------------------------------------------------------------------------------------
def test_consensus_is_the_medoid() -> None:
    paths = {"a": [1, 2, 3], "b": [9, 9, 9], "c": [1, 2, 4], "d": [1, 2, 3, 4]}
    group = [stored(number, name, one) for number, (name, one) in enumerate(paths.items(), start=1)]
    found = consensus(group)
    assert found.submission_id == "s4"
    assert found.scanpath == path(1, 2, 3, 4)
    assert found.score == pytest.approx((0.75 + 0 + 0.75) / 3)
    assert "medoid" not in found.how, "said in plain words"
    assert "4 annotators" in found.how
    assert consensus(group[:1]).how == "the only path there is"
    assert consensus([stored(1, "a", [1, 2], verdict="rejected")]) is None


def test_heat_lies_where_people_looked() -> None:
    heat = heat_map([stored(1, "a", [0, 0]), stored(2, "b", [0, 63])])
    assert heat.shape == (36, 48)  # 640 x 480
    assert heat.sum() == pytest.approx(1.0)
    row, col = np.unravel_index(heat.argmax(), heat.shape)
    assert (row, col) == (36 // 16, 48 // 16)
    assert heat[:9, :12].sum() == pytest.approx(0.75, abs=0.01)
    sharp = heat_map([stored(1, "a", [0])], sigma_cells=0)
    assert (sharp > 0).sum() == 1


# ---- annotators -----------------------------------------------------------------------------------------------------
def test_gold_repeats_and_annotators() -> None:
    gold = Scanpath(path(1, 2, 3, 4).fixations, "eyetracker")
    group = [
        stored(1, "a", [1, 2, 3, 4], seconds=10), stored(2, "b", [4, 3, 2, 1], seconds=20),
        stored(3, "a", [1, 2, 3, 9], seconds=30, kind="repeat", verdict="accepted"),
    ]  # fmt: skip
    assert repeat_scores(group) == {"s3": 0.75}
    rows = assess_image(group, gold, elsewhere=[path(60, 61)])
    assert [row.gold.value for row in rows] == [1.0, 0.25, 0.75]
    assert rows[0].gold.floors[OTHER_IMAGE] == 0.0
    a, b = compare_annotators(rows)
    assert (a.annotator, a.submissions, a.accepted, a.median_s, a.gold_images, a.repeats) == ("a", 2, 1, 20, 2, 1)
    assert (a.gold_score, a.self_consistency, b.self_consistency) == (0.875, 0.75, None)
    assert (a.agreement, b.agreement) == (0.25, 0.25)
    assert b.gold_score == 0.25
    assert len(a.row()) == len(HEADS)


def test_who_contributed_to_the_gold_path_gets_no_gold_score() -> None:
    group = [stored(1, "a", [1, 2, 3, 4]), stored(2, "b", [1, 2, 3, 9]), stored(3, "c", [4, 3, 2, 1])]
    again = stored(4, "a", [1, 2, 3, 9], kind="repeat")
    gold = path(1, 2, 3, 5)
    rows = assess_image([*group, again], gold, gold_from=("a", "b"))
    assert [row.gold and row.gold.value for row in rows] == [None, None, 0.25, None]
    a, b, c = compare_annotators(rows)
    assert (a.gold_score, b.gold_score, c.gold_score) == (None, None, 0.25)
    assert (a.gold_images, c.gold_images) == (0, 1)
    own = assess_image(group, group[1].annotation.scanpath)
    assert [row.gold is None for row in own] == [False, True, False], "it is theirs, though nobody wrote that down"


def test_nothing_gives_nothing() -> None:
    assert flag_identical([]) == []
    assert compare_annotators([]) == []
    assert assess_image([]) == []
