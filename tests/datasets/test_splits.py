"""Splits: by patient, deterministic, near their shares; leaks are found."""

from collections import Counter

import pytest

from gazevlm_core.datasets.splits import (
    SPLITS,
    TEST,
    TRAIN,
    VALIDATION,
    Member,
    SplitRule,
    decide,
    split_of,
)

PATIENTS = [f"p{number}" for number in range(4000)]


def test_shares_are_met_and_nobody_moves_when_others_come() -> None:
    counts = Counter(map(split_of, PATIENTS))
    for name, share in SPLITS.items():
        assert counts[name] / len(PATIENTS) == pytest.approx(share, abs=0.02)
    assert split_of("p7") == "train"  # the same on every machine
    assert sum(split_of(patient, seed=1) != split_of(patient) for patient in PATIENTS) > 1000


def test_other_shares() -> None:
    halves = {"a": 0.5, "b": 0.5}
    assert {split_of(patient, shares=halves) for patient in PATIENTS[:50]} == {"a", "b"}
    with pytest.raises(ValueError, match="sum to 1"):
        split_of("p", shares={"a": 0.5})


# ---- one rule for all ----------------------------------------------------------------------------------------------
def members(published: dict[str, str]) -> list[Member]:
    return [Member(patient, side) for patient, side in published.items()]


def test_without_a_published_split_the_hash_decides() -> None:
    splits = decide(Member(patient) for patient in PATIENTS)
    assert splits.by_patient == {patient: split_of(patient) for patient in PATIENTS}
    assert (splits.note, splits.groups) == ("", len(PATIENTS))
    rule = SplitRule(3, 0.5)
    other = decide([Member(patient) for patient in PATIENTS], rule)
    assert other.by_patient == {patient: split_of(patient, seed=3, shares=rule.shares) for patient in PATIENTS}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("count", [2, 3, 5])
def test_of_few_patients_somebody_is_learned_from_and_somebody_tested(seed: int, count: int) -> None:
    for share in (0.01, 0.2, 0.99):
        found = set(decide([Member(f"p{n}") for n in range(count)], SplitRule(seed, share)).by_patient.values())
        assert {TRAIN, TEST} <= found


def test_patients_who_share_a_picture_go_together() -> None:
    chain = [Member(f"p{n}", picture=f"d{picture}") for n in range(30) for picture in (n, n + 1)]
    alone = [Member(f"q{n}", picture=f"e{n}") for n in range(200)]
    splits = decide([*chain, *alone])
    assert splits.groups == 201
    assert len({splits.of(f"p{n}") for n in range(30)}) == 1
    assert splits == decide([*alone[::-1], *chain[::-1]]), "in any order"


def test_a_published_split_is_honoured() -> None:
    called = ["Train", "validate", "TEST", "val", "training"]
    published = {f"p{n}": called[n % 5] for n in range(50)}
    splits = decide(members(published))
    sides = [TRAIN, VALIDATION, TEST, VALIDATION, TRAIN]
    assert splits.by_patient == {f"p{n}": sides[n % 5] for n in range(50)}
    assert splits.note == "the data's own split is used"
    more = decide([*members(published), Member("new")])
    assert more.of("new") == split_of("new"), "who is in none is drawn"


@pytest.mark.parametrize(
    ("called", "lacking"),
    [(("train", "test"), VALIDATION), (("train_val", "test"), VALIDATION), (("train", "val"), TEST)],
)
def test_what_a_published_split_lacks_comes_from_its_training_patients(called: tuple[str, str], lacking: str) -> None:
    published = {patient: called[n % 4 == 0] for n, patient in enumerate(PATIENTS)}
    splits = decide(members(published))
    kept = TEST if lacking == VALIDATION else VALIDATION
    for patient, side in published.items():
        if side == called[1]:
            assert splits.of(patient) == kept
        else:
            assert splits.of(patient) == (lacking if split_of(patient) == lacking else TRAIN)
    assert f"it has no {lacking} images, which are drawn from its training patients" in splits.note


def test_a_table_of_training_images_alone_is_split_by_the_hash() -> None:
    splits = decide(members(dict.fromkeys(PATIENTS, "train")))
    assert splits.by_patient == {patient: split_of(patient) for patient in PATIENTS}
    assert "it has no test and no validation images" in splits.note


def test_a_published_split_that_leaks_or_means_nothing_is_not_used_and_said() -> None:
    leaking = [*members(dict.fromkeys(PATIENTS, "train")), Member("p3", "test"), Member("p5", "test+train")]
    splits = decide(leaking)
    assert splits.by_patient == {patient: split_of(patient) for patient in PATIENTS}
    assert splits.note == "the data's own split has 2 patients on several sides (p3, p5), so it is not used"
    folds = decide(members({patient: str(n % 2) for n, patient in enumerate(PATIENTS)}))
    assert folds.by_patient == splits.by_patient
    assert folds.note == "the data's own split is not used; 0, 1 mean no side"


@pytest.mark.parametrize(("called", "side"), [("train", TRAIN), ("val", VALIDATION)])
def test_a_part_of_what_is_for_training_and_validation_is_no_other_side(called: str, side: str) -> None:
    usual = members({patient: ("train_val", "test")[n % 4 == 0] for n, patient in enumerate(PATIENTS)})
    splits = decide([*usual, Member("p1", called), Member("new", "val")])
    assert splits.of("p1") == side
    assert splits.note.startswith("the data's own split is used")
    assert "p1" in decide([*usual, Member("p1", called), Member("p1", "test")]).note


def test_a_test_set_alone_is_a_test_set() -> None:
    assert set(decide(members(dict.fromkeys(PATIENTS[:9], "test"))).by_patient.values()) == {TEST}


@pytest.mark.parametrize("share", [0, 1, -0.1])
def test_a_share_lies_between_none_and_all(share: float) -> None:
    with pytest.raises(ValueError, match="must lie between 0 and 1"):
        SplitRule(0, share)
