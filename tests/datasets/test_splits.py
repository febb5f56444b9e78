"""Splits: by patient, deterministic, near their shares; leaks are found."""

from collections import Counter
from pathlib import Path

import pytest

from gazevlm_core.datasets.record import DatasetError, StudyRecord
from gazevlm_core.datasets.splits import SPLITS, check_leaks, split_of

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


def record(image_id: str, patient_id: str) -> StudyRecord:
    return StudyRecord("test", image_id, patient_id, Path("x.png"))


def test_leaks_are_named() -> None:
    check_leaks([(record("a", "1"), "train"), (record("b", "1"), "train"), (record("c", "2"), "test")])
    with pytest.raises(DatasetError, match="patient 1 lies in train and in test"):
        check_leaks([(record("a", "1"), "train"), (record("b", "1"), "test")])
    with pytest.raises(DatasetError, match="image a lies in train and in test"):
        check_leaks([(record("a", "1"), "train"), (record("a", "2"), "test")])
