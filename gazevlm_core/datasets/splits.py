"""Splits by patient: deterministic, the same on every machine, and checked for leaks."""

import hashlib
from collections.abc import Iterable, Mapping

from gazevlm_core.datasets.record import DatasetError, StudyRecord

SPLITS: Mapping[str, float] = {"train": 0.8, "validation": 0.1, "test": 0.1}


def split_of(patient_id: str, *, seed: int = 0, shares: Mapping[str, float] = SPLITS) -> str:
    """The split of a patient, from a hash of the name alone: other patients coming or going move nobody.

    Args:
        patient_id: of the record.
        seed: another seed gives another split.
        shares: name -> share of the patients; they sum to 1.

    Raises:
        ValueError: shares that do not sum to 1, or a negative one.
    """
    if abs(sum(shares.values()) - 1) > 1e-9 or min(shares.values()) < 0:
        raise ValueError(f"shares of a split must sum to 1, got {dict(shares)}")
    digest = hashlib.sha256(f"{seed}:{patient_id}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    reached = 0.0
    for name, share in shares.items():
        reached += share
        if place < reached:
            return name
    return list(shares)[-1]  # a sum a little below 1


def check_leaks(assigned: Iterable[tuple[StudyRecord, str]]) -> None:
    """Whether no patient and no image lies in two splits.

    Args:
        assigned: records with the name of their split.

    Raises:
        DatasetError: the first that does, by name.
    """
    seen: dict[tuple[str, str], str] = {}
    for record, split in assigned:
        for kind, name in (("patient", record.patient_id), ("image", record.image_id)):
            before = seen.setdefault((kind, name), split)
            if before != split:
                raise DatasetError(f"{record.dataset}: {kind} {name} lies in {before} and in {split}")
