"""Who is learned from and who is scored on: one rule for all commands, by patient, the same on every machine.

Fine-tuning learns from TRAIN and scores on the rest; evaluating scores on TEST, with thresholds from VALIDATION. A data
set's own split is honoured where it is one by patient. What it lacks is taken from its training patients: a set that
ships training and test images alone gets its validation images from the former.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gazevlm_core.sample import Sample

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS: Mapping[str, float] = {TRAIN: 0.8, VALIDATION: 0.1, TEST: 0.1}
HELD_OUT = "held-out"  # validation and test together: what fine-tuning does not learn from
BOTH = "train_val"  # of a published split: for training and validation
# What publishers and people call the sides.
CALLED: Mapping[str, str] = {
    "train": TRAIN, "training": TRAIN, "trainval": BOTH, "train_val": BOTH, "train-val": BOTH,
    "val": VALIDATION, "valid": VALIDATION, "validate": VALIDATION, "validation": VALIDATION, "dev": VALIDATION,
    "test": TEST, "testing": TEST, "held-out": TEST, "held_out": TEST, "holdout": TEST, "hold-out": TEST,
}  # fmt: skip
TOGETHER = "+"  # in a sample's published split: it lies on both sides
NAMED = 3  # in a note


@dataclass(frozen=True)
class SplitRule:
    """What a split is drawn by.

    Args:
        seed: another seed gives another split.
        held_out_share: share of the patients who are not learned from: half of them for validation, half for tests.

    Raises:
        ValueError: a share that is not between 0 and 1.
    """

    seed: int = 0
    held_out_share: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.held_out_share < 1:
            raise ValueError(f"the held-out share must lie between 0 and 1, got {self.held_out_share}")

    @property
    def shares(self) -> Mapping[str, float]:
        """Name of a split -> its share of the patients."""
        half = self.held_out_share / 2
        return {TRAIN: 1 - self.held_out_share, VALIDATION: half, TEST: half}


USUAL = SplitRule()


@dataclass(frozen=True)
class Member:
    """One image to be split.

    Args:
        patient_id: of its sample.
        published: the split that its data set ships with, as it is written there; "" for none.
        picture: `pixel_digest`; patients who share a picture go the same way. "" where it is not known.
    """

    patient_id: str
    published: str = ""
    picture: str = ""

    @classmethod
    def of(cls, sample: Sample) -> "Member":
        """Return what of a sample matters, with its picture where that is known."""
        return cls(sample.patient_id, sample.split, sample.digest)


@dataclass(frozen=True)
class Splits:
    """The split of every patient.

    Args:
        by_patient: patient -> TRAIN, VALIDATION or TEST.
        groups: how many go their own ways: patients who share a picture are one.
        note: what became of the data set's own split, in one sentence; "" where it has none.
    """

    by_patient: Mapping[str, str]
    groups: int
    note: str = ""

    def of(self, patient_id: str) -> str:
        """Return the split of a patient who was there when it was decided."""
        return self.by_patient[patient_id]


def split_of(patient_id: str, *, seed: int = 0, shares: Mapping[str, float] = SPLITS) -> str:
    """Return the split of a patient, from a hash of the name alone: other patients coming or going move nobody.

    Args:
        seed: another seed gives another split.
        shares: name -> share of the patients; they sum to 1.

    Raises:
        ValueError: shares that do not sum to 1, or a negative one.
    """
    if abs(sum(shares.values()) - 1) > 1e-9 or min(shares.values()) < 0:
        raise ValueError(f"shares of a split must sum to 1, got {dict(shares)}")
    place = int.from_bytes(_digest(seed, patient_id)[:8], "big") / 2**64
    reached = 0.0
    for name, share in shares.items():
        reached += share
        if place < reached:
            return name
    return list(shares)[-1]  # a sum a little below 1


def decide(members: Iterable[Member], rule: SplitRule = USUAL) -> Splits:
    """Decide the split of everybody; the one place where this is done.

    A patient's side is `split_of`, or what the data set says. Where several patients are there, somebody is in TRAIN
    and somebody in TEST, whom the hash alone may have put elsewhere. A published split that has a patient on several
    sides is none by patient, and is not used.

    Args:
        members: all images; of a mix of data sets, those of all.
        rule: what it is drawn by.
    """
    members, names_of = list(members), dict[str, set[str]]()
    for member in members:
        names_of.setdefault(member.patient_id, set()).update(filter(None, member.published.split(TOGETHER)))
    group_of = groups_of(members)
    published: dict[str, set[str]] = {}
    for patient, names in names_of.items():
        published.setdefault(group_of[patient], set()).update(names)
    sides, note = _honoured(published)
    placed = {group: _side(group, sides, rule) for group in published}
    _fill(placed, {group for group, side in sides.items() if side in (VALIDATION, TEST)}, rule)
    return Splits({patient: placed[group] for patient, group in group_of.items()}, len(placed), note)


def groups_of(members: Iterable[Member]) -> dict[str, str]:
    """Return patient -> whom they go with: patients who share a picture are one, led by the first in the alphabet."""
    from scipy.cluster.hierarchy import DisjointSet  # late: importing this module must be quick

    members, sets = list(members), DisjointSet()
    for member in members:
        patient = (0, member.patient_id)  # before (1, ...), which stands for a picture
        sets.add(patient)
        if member.picture:
            sets.add((1, member.picture))
            sets.merge(patient, (1, member.picture))
    leaders = {patient: min(group)[1] for group in sets.subsets() for kind, patient in group if kind == 0}
    return {member.patient_id: leaders[member.patient_id] for member in members}


def _honoured(published: Mapping[str, set[str]]) -> tuple[dict[str, str], str]:
    """Return the side by group where a usable published split has one, and a note on that split."""
    names = sorted({name for own in published.values() for name in own})
    unknown = [name for name in names if name.lower() not in CALLED]
    sides = {group: _sides(own) for group, own in published.items()}
    leaking = sorted(group for group, own in sides.items() if len(own) > 1)
    if not names:
        return {}, ""
    unnamed = f"; {', '.join(unknown[:NAMED])} {'mean' if len(unknown) > 1 else 'means'} no side" if unknown else ""
    if leaking:
        some = ", ".join(leaking[:NAMED]) + (", ..." if len(leaking) > NAMED else "")
        many = "1 patient" if len(leaking) == 1 else f"{len(leaking)} patients"
        return {}, f"the data's own split has {many} on several sides ({some}), so it is not used{unnamed}"
    known = {group: next(iter(own)) for group, own in sides.items() if own}
    if not known:
        return {}, f"the data's own split is not used{unnamed}"
    lacking = sorted({VALIDATION, TEST} - set(known.values()))
    drawn = f"; it has no {' and no '.join(lacking)} images, which are drawn from its training patients"
    drawn = drawn if lacking and {TRAIN, BOTH} & set(known.values()) else ""
    return known, f"the data's own split is used{drawn}{unnamed}"


def _sides(names: set[str]) -> set[str]:
    """Return the sides of published names; BOTH is none beside one of the two that it holds."""
    own = {CALLED[name.lower()] for name in names if name.lower() in CALLED}
    return own - {BOTH} if own & {TRAIN, VALIDATION} else own


def _side(group: str, sides: Mapping[str, str], rule: SplitRule) -> str:
    """Return where a group goes, before anybody is moved."""
    drawn = split_of(group, seed=rule.seed, shares=rule.shares)
    published = sides.get(group)
    if published in (VALIDATION, TEST):
        return published
    if published is None:
        return drawn
    there = set(sides.values())
    missing = {VALIDATION, TEST} - there if published == TRAIN and BOTH not in there else {VALIDATION} - there
    return drawn if drawn in missing else TRAIN


def _fill(placed: dict[str, str], fixed: set[str], rule: SplitRule) -> None:
    """Let nobody be missing from TRAIN and TEST, in place: the first by hash of those who are not `fixed` moves."""
    if len(placed) < 2:
        return
    for side, givers in ((TRAIN, (TEST, VALIDATION)), (TEST, (VALIDATION, TRAIN))):
        if side in placed.values() or (side == TRAIN and fixed == set(placed)):
            continue
        for giver in givers:
            movable = [group for group, own in placed.items() if own == giver and group not in fixed]
            left = sum(own == giver for own in placed.values()) - 1
            if movable and (left or giver == VALIDATION):
                placed[min(movable, key=lambda group: _digest(rule.seed, group))] = side
                break


def _digest(seed: int, group: str) -> bytes:
    return hashlib.sha256(f"{seed}:{group}".encode()).digest()
