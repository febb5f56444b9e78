"""The images and scanpaths that a run learns from: data sets of any kind, mixed, checked, and split by patient."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

from PIL import Image

from finetune.config import FinetuneConfig
from gazevlm_core.datasets.label_table import not_read_words
from gazevlm_core.datasets.registry import ADAPTERS, open_dataset
from gazevlm_core.datasets.splits import TOGETHER, TRAIN, Member, SplitRule, decide, groups_of
from gazevlm_core.datasets.trained_on import TrainedOn, rgb_digest
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.ranks import ALONE, Ranks
from gazevlm_core.sample import DatasetError, Sample, pixel_digest
from gazevlm_core.scanpath import PathLengths
from web.formatting import counted

FOLDER = "folder"
NAMED_READERS = 12  # in an error
NAMED_IMAGES = 3  # in a log


@dataclass(frozen=True, eq=False)
class Split:
    """Cases to learn from and cases to score on; no patient and no picture is in both.

    Args:
        train, held_out: the cases.
        not_read: of each data set, the columns of its table that are no findings, and why; empty where nobody asked.
    """

    train: tuple[Sample, ...]
    held_out: tuple[Sample, ...]
    not_read: tuple[Mapping[str, str], ...] = ()


def go_on() -> None:
    """Go on: the check between images of a run that nobody can stop."""


def no_message(text: str) -> None:
    """Drop a message."""


def read_cases(
    config: FinetuneConfig,
    check: Callable[[], None] = go_on,
    tell: Callable[[str], None] = no_message,
    ranks: Ranks = ALONE,
    not_read: list[Mapping[str, str]] | None = None,
) -> list[Sample]:
    """Return all images of the mix to learn from, in the data sets' order; those that cannot be read are left out.

    Args:
        config: which data sets and annotators.
        check: called before each image; may raise to end.
        tell: gets a sentence for each data set of which something is left out: which images, and why.
        ranks: the processes that share the decoding.
        not_read: gets, of each data set, the columns of its table that are no findings, and why.

    Raises:
        DatasetError: nothing can be read, nothing is left, no annotator has a name that was given, or the same picture
            is labelled both ways.
    """
    mix = []
    for spec in config.annotations:
        samples, columns = _samples(spec, tell)
        mix.append(samples)
        if not_read is not None:
            not_read.append(columns)
    check_readers(config, {reading.reader for samples in mix for sample in samples for reading in sample.readings})
    cases: list[Sample] = []
    for part, (spec, samples) in enumerate(zip(config.annotations, mix, strict=True)):
        chosen, unreadable = merged(_chosen(samples, config), tell), list[str]()
        pictures = ranks.share(chosen, readable_picture, check)
        found = []
        for sample, picture in zip(chosen, pictures, strict=True):
            if isinstance(picture, str):
                unreadable.append(picture)
            else:
                digest, size_px = picture
                found.append(replace(sample, part=part, digest=digest, size_px=size_px))
        if unreadable and not found:
            raise DatasetError(f"{spec}: no image can be read; the first: {unreadable[0]}")
        if unreadable:
            named = "; ".join(unreadable[:NAMED_IMAGES]) + ("; ..." if len(unreadable) > NAMED_IMAGES else "")
            tell(f"Left out, since they cannot be read: {counted(len(unreadable), 'image')} ({named})")
        if not found:
            who = f" by {', '.join(config.annotators)}" if config.annotators else ""
            raise DatasetError(f"{spec}: no image there has a scanpath{who}, a finding or a report; choose other data")
        cases += found
    check_labels(cases)
    if not any(case.readings or case.findings for case in cases):
        raise DatasetError("the data hold neither scanpaths nor findings; a gaze adapter needs one of them")
    return cases


def _samples(spec: str, tell: Callable[[str], None]) -> tuple[list[Sample], Mapping[str, str]]:
    """Return what a data set says of the images of which it says anything, and the columns of its table that are no
    findings; a report without a word says nothing."""
    name, root, images = parse_spec(spec)
    source = open_dataset(name, root, images)
    samples = [
        sample if (sample.report or "").strip() else replace(sample, report=None) for sample in source.samples()
    ]
    dropped = ", ".join(f"{reason} {count}" for reason, count in sorted(source.dropped.items()) if count)
    if dropped:
        tell(f"Left out of {source.name}: {dropped}")
    if source.not_read:
        tell(f"Columns of {source.name} that are no findings: {not_read_words(source.not_read)}")
    kept = [sample for sample in samples if sample.readings or sample.findings or sample.report]
    if kept and len(kept) < len(samples):
        silent = counted(len(samples) - len(kept), "record")
        tell(f"Left out of {source.name}, since nobody says anything of them: {silent}")
    return kept, source.not_read


def _chosen(samples: Sequence[Sample], config: FinetuneConfig) -> list[Sample]:
    """Keep what chosen annotators read; labels and words of other images were others' where there are readings."""
    wanted = {*config.annotators, *config.held_out_annotators}
    if not config.annotators or not any(sample.readings for sample in samples):
        return list(samples)
    kept = [_readings_by(sample, wanted.__contains__) for sample in samples]
    return [sample for sample in kept if sample.readings]


def check_readers(config: FinetuneConfig, readers: Collection[str]) -> None:
    """Check that the annotators of a configuration are among those of the data.

    Raises:
        DatasetError: the first that is not, with those that there are.
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
        raise DatasetError(f"no scanpath is by {unknown[0]}; {there}")


def parse_spec(spec: str) -> tuple[str, Path, Path | None]:
    """Return name, root and folder of images of "ROOT", "NAME=ROOT" or "NAME=ROOT,IMAGES"."""
    name, equals, rest = spec.partition("=")
    if not equals or name not in ADAPTERS:
        return FOLDER, Path(spec), None
    root, comma, images = rest.partition(",")
    return name, Path(root), Path(images) if comma else None


def readable_picture(sample: Sample) -> tuple[str, tuple[int, int]] | str:
    """Return as `picture_of`, or why the image cannot be read."""
    try:
        return picture_of(sample)
    except DatasetError as error:
        return f"{sample.dataset}, image {error}"


def picture_of(sample: Sample) -> tuple[str, tuple[int, int]]:
    """Return digest and size of a sample's pixels.

    Where the digest is known, as in an export of annotations, nothing is decoded: `Sample.load` compares the two when
    the pixels are used.

    Raises:
        DatasetError: it cannot be read.
    """
    if sample.digest and isinstance(sample.image, Path | bytes):
        try:
            file = BytesIO(sample.image) if isinstance(sample.image, bytes) else sample.image
            with Image.open(file, formats=("PNG",)) as header:
                return sample.digest, header.size
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            pass  # decoding says what is wrong
    image = sample.load()
    return pixel_digest(image), image.size


def merged(samples: Iterable[Sample], tell: Callable[[str], None] = no_message) -> list[Sample]:
    """Return one sample per image, of those that some data sets yield per reading.

    Labels are those of more than half of the readers who say anything, as in exported annotations; a tie leaves one
    out. The first report stays: an image has one answer.

    Args:
        tell: gets a sentence on labels that are left out.
    """
    by_image: dict[tuple[object, ...], list[Sample]] = {}
    for sample in samples:
        by_image.setdefault((sample.image_id, sample.patient_id, sample.image), []).append(sample)
    ties = Counter[str]()
    found = [_merged(some, ties) for some in by_image.values()]
    if ties:
        named = ", ".join(f"{name} {count}" for name, count in sorted(ties.items()))
        tell(f"Labels left out, since as many readers say yes as no: {named}")
    return found


def _merged(samples: Sequence[Sample], ties: Counter[str]) -> Sample:
    values: dict[str, list[float]] = {}
    for sample in samples:
        for name, value in sample.findings.items():
            values.setdefault(name, []).append(value)
    sides = {side for sample in samples for side in sample.split.split(TOGETHER)}
    shares = {name: sum(labels) / len(labels) for name, labels in values.items()}
    ties.update(name for name, share in shares.items() if share == 0.5)
    return replace(
        samples[0],
        readings=tuple(reading for sample in samples for reading in sample.readings),
        findings={name: float(share > 0.5) for name, share in shares.items() if share != 0.5},
        report=next((sample.report for sample in samples if sample.report), None),
        boxes=tuple(box for sample in samples for box in sample.boxes),
        split=TOGETHER.join(sorted(sides - {""})),
    )


def check_labels(cases: Sequence[Sample]) -> None:
    """Check that one picture is labelled in one way, under all names that it goes by.

    Raises:
        DatasetError: the first picture that is said to have and not to have a finding.
    """
    seen: dict[tuple[str, str], tuple[float, str]] = {}
    for case in cases:
        for name, value in case.findings.items():
            before, image_id = seen.setdefault((case.digest, name), (value, case.image_id))
            if before != value:
                raise DatasetError(
                    f"the picture of {image_id} and of {case.image_id} is the same, and is said to have "
                    f"{name} and not to have it; correct one of them"
                )


def rule_of(config: FinetuneConfig) -> SplitRule:
    """Return what a run's split is drawn by."""
    return SplitRule(config.seed, config.held_out_share)


def split_cases(cases: Sequence[Sample], config: FinetuneConfig, tell: Callable[[str], None] = no_message) -> Split:
    """Split by patient, as `splits.decide` does for all commands: learn from TRAIN, score on what is held out.

    Pictures that are alike go the same way, whatever their names. A name is the same patient in all data sets of a
    mix, since several share MIMIC's patients. Scanpaths of held-out annotators are never learned, nor is what else they
    say of images that nobody else read; where there are any, they alone are scored against.

    Args:
        cases: all of them.
        tell: gets a sentence on the data's own split, where there is one.

    Raises:
        DatasetError: fewer than two patients, or nobody left on a side.
    """
    splits = decide(map(Member.of, cases), rule_of(config))
    if splits.groups < 2:
        raise DatasetError("the data hold one patient alone; a second one is needed to score on")
    if splits.note:
        tell(f"Splitting by patient: {splits.note}")
    sides = [splits.of(case.patient_id) for case in cases]
    train, held_out = (
        [case for case, side in zip(cases, sides, strict=True) if (side == TRAIN) is wanted] for wanted in (True, False)
    )
    if not train:
        raise DatasetError(
            "the data's own split has no training images; give others, or take the split out of the data"
        )
    hidden = set(config.held_out_annotators)
    kept = []
    for case in train:
        left = _readings_by(case, lambda reader: reader not in hidden)
        if left.readings or not case.readings:  # else its labels and words are a hidden annotator's
            kept.append(left)
    if hidden:
        held_out = [_readings_by(case, lambda reader: reader in hidden) for case in held_out]
    if not kept or not held_out:
        raise DatasetError("nothing is left to learn from once the held-out annotators are taken out; hold out fewer")
    return Split(tuple(kept), tuple(held_out))


def without_learned(
    split: Split, learned: Sequence[TrainedOn | None], tell: Callable[[str], None] = no_message
) -> Split:
    """Return a split that holds out nobody and nothing that the base itself has learned from.

    Args:
        learned: what the base was trained on, see `Base.trained_on`; a model that an adapter was merged into may have
            been split by another seed.
        tell: gets a sentence on what is left out, and where nobody knows.

    Raises:
        DatasetError: nothing is left to score on.
    """
    if None in learned:
        tell("What the base was trained on is not known: held-out images may be among it")
    known = [one for one in learned if one is not None]
    kept = [case for case in split.held_out if not any(_has_learned(one, case) for one in known)]
    if not kept:
        raise DatasetError(
            "the base has learned from the pictures or patients of all images that would be held out; give the split "
            f"that it was trained with (seed {known[0].rule.seed}, held_out_share {known[0].rule.held_out_share:g}), "
            "or other data"
        )
    if left_out := len(split.held_out) - len(kept):
        tell(
            f"Left out of {len(split.held_out)} held-out images, since the base has learned from their pictures or "
            f"from patients of their ids: {left_out}"
        )
    return replace(split, held_out=tuple(kept))


def _has_learned(one: TrainedOn, case: Sample) -> bool:
    return one.has_patient(case) or case.digest in one.pictures or one.has_picture(case.load())


def _readings_by(case: Sample, wanted: Callable[[str], bool]) -> Sample:
    return replace(case, readings=tuple(reading for reading in case.readings if wanted(reading.reader)))


def path_lengths(cases: Sequence[Sample], grid_of: Callable[[Sample], PatchGrid] | None = None) -> PathLengths:
    """Return how long the readings of some cases are.

    Args:
        grid_of: of a model without repeats, by which fixations next to each other in one patch are one.
    """
    if grid_of is None:
        return PathLengths.of(path for case in cases for path in case.scanpaths)
    return PathLengths.of(grid_of(case).merge_repeats(path) for case in cases for path in case.scanpaths)


def cut_words(lengths: PathLengths, steps: int, *, repeats: bool) -> str:
    """Say what of readings lies beyond K; "" where nothing does.

    Args:
        lengths: in steps of the model.
        steps: K.
        repeats: of the model.
    """
    cut = lengths.words(steps)
    return f"{cut}; fixations next to each other in one patch count as one" if cut and not repeats else cut


def patient_groups(cases: Sequence[Sample]) -> list[str]:
    """Return the group of each case: patients that share a name or a picture are one."""
    groups = groups_of([Member(case.patient_id, picture=case.digest) for case in cases])
    return [groups[case.patient_id] for case in cases]


def fingerprint(cases: Sequence[Sample], digest_of: Callable[[Sample], str] = lambda case: case.digest) -> str:
    """Return the SHA-256 of everything that is learned or scored on: pictures, paths, labels, words and questions.

    Args:
        cases: in order.
        digest_of: tells pictures apart.
    """
    digest = hashlib.sha256()
    for case in cases:
        paths = [[reading.reader, [[f.x, f.y, f.duration_ms] for f in reading.scanpath]] for reading in case.readings]
        values = [case.part, case.patient_id, digest_of(case), paths, sorted(case.findings.items()), case.report]
        values += [case.question] if case.question else []  # else as earlier versions had it
        digest.update(json.dumps(values).encode())
    return digest.hexdigest()


def has_fingerprint(cases: Sequence[Sample], noted: str) -> bool:
    """Return whether a fingerprint that was noted is that of the data; earlier versions named pictures otherwise."""
    return noted == fingerprint(cases) or noted == fingerprint(cases, lambda case: rgb_digest(case.load()))
