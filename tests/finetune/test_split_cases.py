"""Cases are split so that nothing that is scored on was learned."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from finetune.cases import read_cases, rule_of, split_cases, without_learned
from finetune.provenance import trained_on
from gazevlm_core.datasets.splits import TEST, TRAIN, VALIDATION, Member, decide
from gazevlm_core.sample import DatasetError, Sample
from tests.finetune.case_maker import (
    HERE,
    Study,
    configure,
    make_case,
    names,
    one_sentence,
    path_of,
    readers,
    write_folder,
)


@pytest.mark.parametrize("seed", range(12))
def test_no_patient_and_no_picture_is_on_both_sides(seed: int) -> None:
    cases = [
        # patients of three images in both data sets, and every fifth picture is one of another patient's
        replace(make_case(f"i{n}", patient=f"p{n % 30}", dataset=n // 30 % 2, readings=[("owl", path_of(HERE))]),
                digest=f"{n if n % 5 else (n * 7) % 90:064x}")
        for n in range(90)
    ]  # fmt: skip
    config = configure("one", "two", held_out_share=0.3, seed=seed)
    split = split_cases(cases, config)
    assert sorted([*names(split.train), *names(split.held_out)]) == sorted(names(cases))
    for known in (lambda case: case.patient_id, lambda case: case.digest):
        assert not {known(case) for case in split.train} & {known(case) for case in split.held_out}
    again = split_cases(cases, config)
    assert names(again.train) == names(split.train)
    assert names(split_cases(cases[::-1], config).held_out) == names(split.held_out)[::-1]


def test_nothing_is_held_out_that_the_base_has_learned_from(folder: Path) -> None:
    first, other = (configure(folder, seed=seed, held_out_share=0.5) for seed in (0, 1))
    cases, told = read_cases(first), list[str]()
    before = split_cases(cases, first)
    learned = trained_on(first, before)
    drawn = split_cases(cases, other)
    scored = without_learned(drawn, [learned], told.append)
    assert scored.train == drawn.train
    assert {case.patient_id for case in drawn.held_out} & {case.patient_id for case in before.train}
    assert {case.patient_id for case in scored.held_out} == {
        case.patient_id for case in drawn.held_out if case.patient_id in {one.patient_id for one in before.held_out}
    }
    (words,) = told
    assert words.endswith(f": {len(drawn.held_out) - len(scored.held_out)}")
    own = without_learned(before, [learned], told.append)
    assert (names(own.held_out), len(told)) == (names(before.held_out), 1), "its own split stays"
    renamed = [replace(case, patient_id=f"other {case.patient_id}") for case in drawn.held_out]
    found = without_learned(replace(drawn, held_out=tuple(renamed)), [learned])
    assert names(found.held_out) == names(scored.held_out)  # known by their pictures
    with pytest.raises(DatasetError, match=r"seed 0, held_out_share 0\.5"):
        without_learned(replace(before, held_out=before.train), [learned])
    without_learned(before, [None], told.append)
    assert "not known" in told[-1]


def test_equal_pictures_go_together_whatever_they_are_called(tmp_path: Path) -> None:
    first = write_folder(tmp_path / "one", [Study(f"a{n}", n, f"p{n}", readings={"owl": HERE}) for n in range(20)])
    second = write_folder(tmp_path / "two", [Study(f"z{n}", n, f"q{n}", readings={"fox": HERE}) for n in range(20)])
    cases = read_cases(configure(first, second))
    sides = set()
    for seed in range(6):
        split = split_cases(cases, configure(first, second, seed=seed, held_out_share=0.5))
        held_out = {name[1:] for name in names(split.held_out)}
        assert not held_out & {name[1:] for name in names(split.train)}
        assert len(split.held_out) == 2 * len(held_out)
        sides.add(frozenset(held_out))
    assert len(sides) == 6  # another seed gives another split


def test_others_coming_and_going_move_nobody(folder: Path) -> None:
    cases = read_cases(configure(folder))
    for seed in range(4):
        whole = split_cases(cases, configure(folder, seed=seed))
        part = split_cases(cases[::3], configure(folder, seed=seed))
        if part.train and part.held_out and set(names(part.held_out)) & set(names(whole.held_out)):
            assert set(names(part.held_out)) <= set(names(whole.held_out))


def test_the_share_is_about_what_was_asked_for() -> None:
    cases = [make_case(f"i{n}", findings={"edema": 1.0}) for n in range(1000)]
    for share in (0.1, 0.2, 0.5):
        held_out = split_cases(cases, configure(held_out_share=share)).held_out
        assert len(held_out) / 1000 == pytest.approx(share, abs=0.04)


@pytest.mark.parametrize("share", [0.001, 0.2, 0.999])
def test_two_patients_are_one_on_each_side(share: float) -> None:
    cases = [make_case(f"i{n}", patient=f"p{n % 2}", findings={"edema": 1.0}) for n in range(6)]
    for seed in range(10):
        split = split_cases(cases, configure(held_out_share=share, seed=seed))
        assert (len(split.train), len(split.held_out)) == (3, 3)


def test_one_patient_cannot_be_split() -> None:
    for cases in (
        [make_case(f"i{n}", patient="p", findings={"edema": 1.0}) for n in range(6)],
        [replace(make_case(f"i{n}", findings={"edema": 1.0}), digest="5" * 64) for n in range(6)],
    ):
        with pytest.raises(DatasetError, match="one patient") as caught:
            split_cases(cases, configure())
        one_sentence(caught.value)


def test_held_out_annotators_are_never_learned_and_alone_scored_against(folder: Path) -> None:
    config = configure(folder, held_out_annotators=["owl"])
    split = split_cases(read_cases(config), config)
    assert readers(split.train) == {"fox"}
    assert readers(split.held_out) == {"owl"}
    everybody = split_cases(read_cases(configure(folder)), configure(folder))
    assert readers(everybody.train) == readers(everybody.held_out) == {"owl", "fox"}
    assert names(everybody.held_out) == names(split.held_out)


def test_all_annotators_held_out_leave_nothing(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "set", [Study(f"a{n}", n, readings={"owl": HERE}) for n in range(8)])
    config = configure(folder, held_out_annotators=["owl"])
    with pytest.raises(DatasetError, match="hold out fewer"):
        split_cases(read_cases(config), config)


def with_split(cases: Sequence[Sample], split: Callable[[int], str]) -> list[Sample]:
    return [replace(case, split=split(n)) for n, case in enumerate(cases)]


def test_a_split_of_the_data_is_honoured_and_told(folder: Path) -> None:
    plain = read_cases(configure(folder))
    told: list[str] = []
    split = split_cases(with_split(plain, lambda n: "test" if n < 4 else "Train"), configure(folder), told.append)
    assert {"i00", "i01", "i02", "i03"} <= set(names(split.held_out))
    assert told == [
        "Splitting by patient: the data's own split is used; it has no validation images, which are drawn from its "
        "training patients"
    ]
    told.clear()
    leaking = split_cases(with_split(plain, lambda n: "test" if n == 4 else "train"), configure(folder), told.append)
    assert names(leaking.train) == names(split_cases(plain, configure(folder)).train)
    assert "has 1 patient on several sides (p02), so it is not used" in told[0]
    with pytest.raises(DatasetError, match="has no training images"):
        split_cases(with_split(plain, lambda n: "test"), configure(folder))


def test_what_is_learned_from_is_never_what_evaluating_tests(folder: Path) -> None:
    """Whatever the seed and the share: the split of a run is that of `gazevlm evaluate`."""
    cases = read_cases(configure(folder))
    for seed, share in ((0, 0.2), (5, 0.2), (0, 0.5)):
        config = configure(folder, seed=seed, held_out_share=share)
        split = split_cases(cases, config)
        evaluated = decide((Member.of(case) for case in cases), rule_of(config))
        sides = {case.image_id: evaluated.of(case.patient_id) for case in cases}
        assert {sides[name] for name in names(split.train)} == {TRAIN}
        assert {sides[name] for name in names(split.held_out)} == {VALIDATION, TEST}
