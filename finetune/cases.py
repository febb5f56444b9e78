"""The images and scanpaths that a run learns from: data sets of any kind, mixed, checked, and split by patient."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from finetune.config import FinetuneConfig
from gazevlm_core.datasets.identity import picture_digest
from gazevlm_core.datasets.path_lengths import PathLengths
from gazevlm_core.datasets.record import DatasetError, StudyRecord
from gazevlm_core.datasets.registry import ADAPTERS, open_dataset
from gazevlm_core.datasets.splits import TOGETHER, TRAIN, Member, SplitRule, Splits, decide, groups_of
from gazevlm_core.images import ImageError, load_image
from gazevlm_core.ranks import ALONE, Ranks

FOLDER = "folder"
NAMED_READERS = 12  # in an error
NAMED_IMAGES = 3  # in a log


class DataError(ValueError):
    """Data that nothing can be learned from; one sentence that says what to do."""


@dataclass(frozen=True, eq=False)
class Case:
    """One image with what is known about it.

    Args:
        dataset: position of its data set in the mix.
        record: readings of all readers, and labels.
        digest: SHA-256 of its pixels as the model sees them (RGB, upright) and of their size.
        size_px: width and height of these pixels.
    """

    dataset: int
    record: StudyRecord
    digest: str
    size_px: tuple[int, int]

    def load(self) -> Image.Image:
        """Its upright RGB image.

        Raises:
            DataError: it cannot be read, or not any more.
        """
        return _image(self.record)


@dataclass(frozen=True, eq=False)
class Split:
    """Cases to learn from and cases to score on; no patient and no picture is in both."""

    train: tuple[Case, ...]
    held_out: tuple[Case, ...]


def go_on() -> None:
    """What is asked between images where nobody can want an end."""


def silent(text: str) -> None:
    """What is told where nobody listens."""


def read_cases(
    config: FinetuneConfig,
    check: Callable[[], None] = go_on,
    tell: Callable[[str], None] = silent,
    ranks: Ranks = ALONE,
) -> list[Case]:
    """All images of the mix that teach something, in the data sets' order; those that cannot be read are left out.

    Args:
        config: which data sets and annotators.
        check: called before each image; may raise to end.
        tell: gets a sentence for each data set of which something is left out: which images, and why.
        ranks: the processes that share the decoding.

    Raises:
        DataError: nothing can be read, nothing is left, no annotator has a name that was given, or the same picture is
            labelled both ways.
    """
    mix = [_records(spec, tell) for spec in config.annotations]
    check_readers(config, {reading.reader for records in mix for record in records for reading in record.readings})
    cases: list[Case] = []
    for number, (spec, records) in enumerate(zip(config.annotations, mix, strict=True)):
        chosen, unreadable = merged(_chosen(records, config)), list[str]()
        pictures = ranks.share(chosen, readable_picture, check)
        found = []
        for record, picture in zip(chosen, pictures, strict=True):
            if isinstance(picture, str):
                unreadable.append(picture)
            else:
                found.append(Case(number, record, *picture))
        if unreadable and not found:
            raise DataError(f"{spec}: no image can be read; the first: {unreadable[0]}")
        if unreadable:
            some = "1 image" if len(unreadable) == 1 else f"{len(unreadable)} images"
            tell(f"Left out, since they cannot be read: {some} ({listed(unreadable)})")
        if not found:
            who = f" by {', '.join(config.annotators)}" if config.annotators else ""
            raise DataError(f"{spec}: no image there has a scanpath{who}, a finding or a report; choose other data")
        cases += found
    check_labels(cases)
    if not any(case.record.readings for case in cases) and not any(case.record.findings for case in cases):
        raise DataError("the data hold neither scanpaths nor findings; a gaze adapter needs one of them")
    return cases


def listed(names: Sequence[str], most: int = NAMED_IMAGES) -> str:
    """The first of many, in one line."""
    return "; ".join(names[:most]) + ("; ..." if len(names) > most else "")


def _records(spec: str, tell: Callable[[str], None]) -> list[StudyRecord]:
    """What a data set says of the images of which it says anything; a report without a word says nothing."""
    name, root, images = parse_spec(spec)
    try:
        source = open_dataset(name, root, images)
        records = [
            record if (record.report or "").strip() else replace(record, report=None) for record in source.records()
        ]
    except DatasetError as error:
        raise DataError(str(error)) from None
    dropped = ", ".join(f"{reason} {count}" for reason, count in sorted(source.dropped.items()) if count)
    if dropped:
        tell(f"Left out of {source.name}: {dropped}")
    return [record for record in records if record.readings or record.findings or record.report]


def _chosen(records: Sequence[StudyRecord], config: FinetuneConfig) -> list[StudyRecord]:
    """What chosen annotators read. Labels and words of other images were others', where a data set has readings."""
    wanted = {*config.annotators, *config.held_out_annotators}
    if not config.annotators or not any(record.readings for record in records):
        return list(records)
    kept = [
        replace(record, readings=tuple(reading for reading in record.readings if reading.reader in wanted))
        for record in records
    ]
    return [record for record in kept if record.readings]


def check_readers(config: FinetuneConfig, readers: Collection[str]) -> None:
    """Whether the annotators of a configuration are among those of the data.

    Raises:
        DataError: the first that is not, with those that there are.
    """
    known = sorted(set(readers) - {""})
    unknown = [name for name in (*config.annotators, *config.held_out_annotators) if name not in known]
    if unknown:
        first = known[:NAMED_READERS]
        more = f" and {len(known) - len(first)} others" if len(known) > len(first) else ""
        nobody = ", and others of which the data do not say who read" if "" in readers else ""
        there = f"there are those of {', '.join(first)}{more}{nobody}" if known else "the data have none at all"
        if not known and readers:
            there = "the data do not say who read, so no reader can be chosen; leave out annotators"
        raise DataError(f"no scanpath is by {unknown[0]}; {there}")


def parse_spec(spec: str) -> tuple[str, Path, Path | None]:
    """Name, root and folder of images of "ROOT", "NAME=ROOT" or "NAME=ROOT,IMAGES"."""
    name, equals, rest = spec.partition("=")
    if not equals or name not in ADAPTERS:
        return FOLDER, Path(spec), None
    root, comma, images = rest.partition(",")
    return name, Path(root), Path(images) if comma else None


def readable_picture(record: StudyRecord) -> tuple[str, tuple[int, int]] | str:
    """As `picture_of`, or why the image cannot be read."""
    try:
        return picture_of(record)
    except DataError as error:
        return str(error)


def picture_of(record: StudyRecord) -> tuple[str, tuple[int, int]]:
    """Digest and size of a record's picture; see `Case`.

    Raises:
        DataError: it cannot be read.
    """
    image = _image(record)
    return picture_digest(image), (image.width, image.height)


def _image(record: StudyRecord) -> Image.Image:
    try:
        return load_image(record.image_path).image
    except (ImageError, OSError) as error:
        raise DataError(f"{record.dataset}, image {record.image_id}: {error}") from None


def merged(records: Iterable[StudyRecord]) -> list[StudyRecord]:
    """One record per image, of those that some data sets yield per reading.

    Labels are those of more than half of the readers who say anything, as in exported annotations; a tie leaves one
    out. The first report stays: an image has one answer.
    """
    by_image: dict[tuple[object, ...], list[StudyRecord]] = {}
    for record in records:
        by_image.setdefault((record.image_id, record.patient_id, record.image_path), []).append(record)
    return [_merged(some) for some in by_image.values()]


def _merged(records: Sequence[StudyRecord]) -> StudyRecord:
    values: dict[str, list[float]] = {}
    for record in records:
        for name, value in record.findings.items():
            values.setdefault(name, []).append(value)
    sides = {side for record in records for side in record.published_split.split(TOGETHER)}
    shares = {name: sum(said) / len(said) for name, said in values.items()}
    return replace(
        records[0],
        readings=tuple(reading for record in records for reading in record.readings),
        findings={name: float(share > 0.5) for name, share in shares.items() if share != 0.5},
        report=next((record.report for record in records if record.report), None),
        boxes=tuple(box for record in records for box in record.boxes),
        published_split=TOGETHER.join(sorted(sides - {""})),
    )


def check_labels(cases: Sequence[Case]) -> None:
    """Whether one picture is labelled in one way, under all names that it goes by.

    Raises:
        DataError: the first picture that is said to have and not to have a finding.
    """
    seen: dict[tuple[str, str], tuple[float, str]] = {}
    for case in cases:
        for name, value in case.record.findings.items():
            before, image_id = seen.setdefault((case.digest, name), (value, case.record.image_id))
            if before != value:
                raise DataError(
                    f"the picture of {image_id} and of {case.record.image_id} is the same, and is said to have "
                    f"{name} and not to have it; correct one of them"
                )


def rule_of(config: FinetuneConfig) -> SplitRule:
    """What a run's split is drawn by."""
    return SplitRule(config.seed, config.held_out_share)


def decide_cases(cases: Sequence[Case], config: FinetuneConfig) -> Splits:
    """Where every patient goes: the rule of all commands, for cases whose pictures are known."""
    members = [Member(case.record.patient_id, case.record.published_split, case.digest) for case in cases]
    return decide(members, rule_of(config))


def split_cases(cases: Sequence[Case], config: FinetuneConfig, tell: Callable[[str], None] = silent) -> Split:
    """Split by patient, as `splits.decide` does for all commands: learn from TRAIN, score on what is held out.

    Pictures that are alike go the same way, whatever their names. A name is the same patient in all data sets of a
    mix, since several share MIMIC's patients. Scanpaths of held-out annotators are never learned, nor is what else they
    say of images that nobody else read; where there are any, they alone are scored against.

    Args:
        cases: all of them.
        config: of the run.
        tell: gets a sentence on the data's own split, where there is one.

    Raises:
        DataError: fewer than two patients, or nobody left on a side.
    """
    splits = decide_cases(cases, config)
    if splits.groups < 2:
        raise DataError("the data hold one patient alone; a second one is needed to score on")
    if splits.note:
        tell(f"Splitting by patient: {splits.note}")
    sides = [splits.of(case.record.patient_id) for case in cases]
    train, held_out = (
        [case for case, side in zip(cases, sides, strict=True) if (side == TRAIN) is wanted] for wanted in (True, False)
    )
    if not train:
        raise DataError("the data's own split has no training images; give others, or take the split out of the data")
    hidden = set(config.held_out_annotators)
    taught = []
    for case in train:
        left = _readings_by(case, lambda reader: reader not in hidden)
        if left.record.readings or not case.record.readings:  # else its labels and words are a hidden annotator's
            taught.append(left)
    if hidden:
        held_out = [_readings_by(case, lambda reader: reader in hidden) for case in held_out]
    if not taught or not held_out:
        raise DataError("nothing is left to learn from once the held-out annotators are taken out; hold out fewer")
    return Split(tuple(taught), tuple(held_out))


def _readings_by(case: Case, wanted: Callable[[str], bool]) -> Case:
    readings = tuple(reading for reading in case.record.readings if wanted(reading.reader))
    return replace(case, record=replace(case.record, readings=readings))


def path_lengths(cases: Sequence[Case]) -> PathLengths:
    """How long the readings of some cases are."""
    return PathLengths.of(reading.scanpath for case in cases for reading in case.record.readings)


def patient_groups(cases: Sequence[Case]) -> list[str]:
    """The group of each case: patients that share a name or a picture are one."""
    groups = groups_of([Member(case.record.patient_id, picture=case.digest) for case in cases])
    return [groups[case.record.patient_id] for case in cases]


def fingerprint(cases: Sequence[Case]) -> str:
    """SHA-256 of everything that is learned or scored on: pictures, paths, labels, words and questions, in order."""
    digest = hashlib.sha256()
    for case in cases:
        record = case.record
        paths = [
            [reading.reader, [[f.x, f.y, f.duration_ms] for f in reading.scanpath]] for reading in record.readings
        ]
        values = [case.dataset, record.patient_id, case.digest, paths, sorted(record.findings.items()), record.report]
        values += [record.question] if record.question else []  # else as earlier versions had it
        digest.update(json.dumps(values).encode())
    return digest.hexdigest()
