"""One evaluation on a real data set: split by patient, predict, score findings and paths beside their floors."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from gazevlm_core.datasets.scanpath_files import FiledPath, ScanpathFile
from gazevlm_core.datasets.source import DataSource
from gazevlm_core.datasets.splits import HELD_OUT, SPLITS, TEST, TRAIN, USUAL, VALIDATION, Member, Splits, decide
from gazevlm_core.datasets.trained_on import TrainedOn
from gazevlm_core.evaluation.comparison import score_files
from gazevlm_core.evaluation.faithfulness import measure_samples
from gazevlm_core.evaluation.findings import score_labels
from gazevlm_core.evaluation.floors import ConstantPaths
from gazevlm_core.evaluation.groups import BASELINE, score_groups
from gazevlm_core.evaluation.matching import Matched, match_labels
from gazevlm_core.evaluation.path_scores import score_steps
from gazevlm_core.evaluation.plain_baseline import (
    MOST_TRAINING_IMAGES,
    baseline_logits,
    cross_validated,
    thumbnails,
)
from gazevlm_core.evaluation.pointing import score_pointing
from gazevlm_core.evaluation.predict import TRAINED_PICTURE, Prediction, Predictions, predict
from gazevlm_core.evaluation.report import (
    HEAD,
    MOST_ENTRIES,
    SOURCES,
    TEXT,
    DatasetPaths,
    DatasetReport,
    DatasetScores,
    Group,
    Labels,
    Unscored,
    score_of,
)
from gazevlm_core.evaluation.views import Viewer
from gazevlm_core.findings import NO_FINDING
from gazevlm_core.inference import GazeEngine
from gazevlm_core.metrics.intervals import RESAMPLES, patient_counts
from gazevlm_core.metrics.paths import UNIT_SQUARE, Size
from gazevlm_core.ranks import ALONE, Ranks
from gazevlm_core.sample import DatasetError, Sample

ALL = "all"
TRAINED_PATIENT = "record of a patient whom the model was trained on"
NO_PATIENTS = "no image names its patient, so each counts as a patient of its own, in intervals too"
NAMED_IMAGES = 20  # that cannot be read
NAMED_COLUMNS = 8  # that are not scored, where nothing is
MOST_TRAINING_READINGS = 5_000  # behind constant floors; bounds memory


@dataclass(eq=False)
class SplitDataset:
    """A data set split by patient, without those whom a model was trained on.

    Args:
        open_source: opens the data set; called once for each pass over it.
        trained: what the adapter and the model were trained on; None where one of them does not tell. The split is
            drawn as the training drew it.
    """

    open_source: Callable[[], DataSource]
    trained: Sequence[TrainedOn | None] = ()
    left_out: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.learned = [one for one in self.trained if one is not None]
        rule = self.learned[0].rule if self.learned else USUAL
        self.label_names: set[str] = set()
        self.has_places = False  # readings or boxes
        source = self.open_source()
        self.splits: Splits = decide(map(self._member, source.samples()), rule)
        self.usual_split = ALL if source.zero_shot and None not in self.trained else TEST
        self.not_read = source.not_read
        self.note = "; ".join(filter(None, (self.splits.note, "" if source.names_patients else NO_PATIENTS)))

    def _member(self, sample: Sample) -> Member:
        self.label_names.update(sample.findings)
        self.has_places |= bool(sample.readings or sample.boxes)
        return Member.of(sample)

    def samples(self, source: DataSource, split: str, *, count: bool = False) -> Iterator[Sample]:
        """Return the samples of a split, without those of patients who were learned from.

        Args:
            source: open.
            split: one of `SPLITS`, HELD_OUT or ALL.
            count: whether those are counted in `left_out`.
        """
        wanted = {ALL: tuple(SPLITS), HELD_OUT: (VALIDATION, TEST)}.get(split, (split,))
        for sample in source.samples():
            if self.splits.of(sample.patient_id) not in wanted:
                continue
            if any(one.has_patient(sample) for one in self.learned):
                self.left_out[TRAINED_PATIENT] += count
                continue
            yield sample

    def training_samples(self) -> Iterator[Sample]:
        """Return some samples of the training split, also of patients who were learned from."""
        records = (one for one in self.open_source().samples() if self.splits.of(one.patient_id) == TRAIN)
        return islice(records, MOST_TRAINING_IMAGES)

    def training_readings(self, in_steps: Callable[[Sample], Sample]) -> list[FiledPath]:
        """Return readings of the training split, for constant floors; no image is opened.

        Args:
            in_steps: brings readings into the steps of the model, as those that are scored are.
        """
        records = (record for record in self.open_source().samples() if self.splits.of(record.patient_id) == TRAIN)
        readings = (reading for record in records for reading in filed_readings(in_steps(record), UNIT_SQUARE))
        return list(islice(readings, MOST_TRAINING_READINGS))


def filed_readings(sample: Sample, size: Size) -> list[FiledPath]:
    """Return readings as in scanpath files; the finding is the first one present, "no finding", or unknown."""
    present = sorted(name for name, value in sample.findings.items() if value == 1)
    finding = present[0] if present else NO_FINDING if sample.findings else ""
    return [
        FiledPath(reading.reader, reading.scanpath, image_id=sample.image_id, size=size, finding=finding)
        for reading in sample.readings
    ]


def evaluate_dataset(
    open_source: Callable[[], DataSource],
    engine: GazeEngine, *,
    split: str | None = None, limit: int | None = None, batch_size: int = 16, seed: int = 0,
    progress: Callable[[int], object] = lambda count: None, ranks: Ranks = ALONE,
    trained: Sequence[TrainedOn | None] = (), faithfulness: int = 0,
) -> DatasetReport | None:  # fmt: skip
    """Return everything that `gazevlm evaluate --dataset NAME` prints; None but on the main process.

    Args:
        open_source, trained: as in `SplitDataset`.
        engine: the model, with its adapter if it has one.
        split: one of `SPLITS`, by patient and as fine-tuning splits; HELD_OUT, validation and test together; or ALL.
            The last two leave F1 out, since no image is left for its threshold. None takes ALL for a folder with a
            table of labels that has no split of its own, else TEST.
        limit: records that are scored at most, and as many for thresholds.
        batch_size: images at once.
        seed: of random floors and intervals.
        progress: called with the number of records of each finished batch.
        ranks: the processes that share the records.
        faithfulness: on how many records at most it is measured how far the path is believed.

    Raises:
        DatasetError: a data set that cannot be read, an unknown split, one of which no record is left, or labels none
            of which is a finding of the model where there is nothing else to score.
    """
    if split not in (None, *SPLITS, HELD_OUT, ALL):
        raise DatasetError(f"there is no split {split!r}; choose one of: {', '.join(SPLITS)}, {HELD_OUT}, {ALL}")
    started = time.perf_counter()
    source = open_source()
    data = SplitDataset(open_source, trained)
    split, matched = split or data.usual_split, matched_labels(data.label_names, engine)
    words = _label_words(data, matched)
    if engine.gaze_config.findings_trained and words and not (matched.finding_of or data.has_places or faithfulness):
        raise DatasetError(_nothing_to_score(source.name, words))
    options: dict[str, Any] = {"batch_size": batch_size, "progress": progress, "ranks": ranks, "trained": data.learned}

    def ask(samples: Iterator[Sample]) -> Predictions:
        return predict(engine, map(matched.sample, islice(samples, limit)), **options)

    predicted = ask(data.samples(source, split, count=True))
    found, left_out = predicted.found, data.left_out
    left_out[TRAINED_PICTURE] += predicted.dropped[TRAINED_PICTURE]
    if not found:
        raise DatasetError(_nothing_left(source.name, split, left_out.total(), predicted.unreadable))
    thresholds = split in (TEST, TRAIN) and any(one.sample.findings for one in found)
    others = ask(data.samples(open_source(), VALIDATION)).found if thresholds else []
    measured = None
    if faithfulness:
        some = islice(data.samples(open_source(), split), min(faithfulness, limit or faithfulness))
        measured = measure_samples(Viewer(engine), map(matched.sample, some), seed=seed, **options)
    if not ranks.is_main:
        return None
    return DatasetReport(
        dataset=source.name, split=split, records=len(found), images=len({one.sample.image_id for one in found}),
        patients=len({one.sample.patient_id for one in found}), validation_records=len(others), resamples=RESAMPLES,
        model=engine.checkpoint.model_id, adapter=engine.adapter_id,
        dropped=dict(sorted((source.dropped | predicted.dropped | left_out).items())),
        split_note=data.note, trained_on_left_out=None if None in trained else left_out.total(),
        unreadable=predicted.unreadable[:NAMED_IMAGES], labels=words, credit=source.credit,
        faithfulness=measured, seconds=round(time.perf_counter() - started, 1),
        **_scored(found, others, data, split, matched, engine, seed),
    )  # fmt: skip


def _scored(
    found: Sequence[Prediction], others: Sequence[Prediction], data: SplitDataset, split: str, matched: Matched,
    engine: GazeEngine, seed: int,
) -> dict[str, Any]:  # fmt: skip
    """Return the fields of a report that are figures."""
    counts = patient_counts(np.array([one.sample.patient_id for one in found]), RESAMPLES, seed)
    scores = DatasetScores(
        finding_head=_labels(found, others, counts, lambda one: one.finding_logits),
        answer_text=_labels(found, others, counts, lambda one: one.yes_margins),
        scanpath=_scanpath(found, data, split, counts, seed, engine),
    )
    groups, pointing = _groups(found, data, split, matched, counts), score_pointing(found, counts)
    return {"scores": scores, "groups": groups, "pointing": pointing}


def matched_labels(labels: set[str], engine: GazeEngine) -> Matched:
    """Return what labels of a data set mean among the findings that a model was trained to find."""
    config = engine.gaze_config
    if not config.findings_trained:
        return Matched({}, {})
    name = engine.checkpoint.model_id if config.known_questions else f"the finding head of {engine.checkpoint.model_id}"
    return match_labels(labels, config.finding_names, name)


def _label_words(data: SplitDataset, matched: Matched) -> dict[str, str]:
    """Return as what each label is scored where its name is another one, and why others are not scored."""
    words = {label: f"scored as {finding}" for label, finding in matched.finding_of.items() if label != finding}
    words |= {label: f"not scored: {why}" for label, why in {**matched.why_not, **data.not_read}.items()}
    return {label[:200]: text[:2000] for label, text in islice(words.items(), MOST_ENTRIES)}


def _groups(
    found: Sequence[Prediction], data: SplitDataset, split: str, matched: Matched, counts: np.ndarray
) -> dict[str, Group]:
    """Return the AUROC of head, words and plain baseline side by side, by view."""
    samples = [one.sample for one in found]
    sources = {SOURCES[HEAD]: [one.finding_logits for one in found], SOURCES[TEXT]: [one.yes_margins for one in found]}
    names = sorted({name for one in samples for name in one.findings} & {name for of in sources.values() for one in of
                                                                         for name in one})  # fmt: skip
    if not names:
        return {}
    pixels = np.stack([one.pixels for one in found if one.pixels is not None])
    labels = [one.findings for one in samples]
    if split in (ALL, TRAIN):
        logits = cross_validated(pixels, labels, [one.patient_id for one in samples], names)
    else:
        training, training_labels = thumbnails(map(matched.sample, data.training_samples()))
        logits = baseline_logits(pixels, training, training_labels, names)
    rows = [{name: float(values[row]) for name, values in logits.items()} for row in range(len(found))]
    return score_groups(samples, {**sources, BASELINE: rows}, counts)


def _labels(
    found: Sequence[Prediction],
    others: Sequence[Prediction],
    counts: np.ndarray,
    logits: Callable[[Prediction], Mapping[str, float]],
) -> Labels | None:
    labels, other_labels = ([one.sample.findings for one in some] for some in (found, others))
    own, other_logits = ([logits(one) for one in some] for some in (found, others))
    return score_labels(labels, own, other_labels, other_logits, counts)


def _nothing_to_score(name: str, words: Mapping[str, str]) -> str:
    why = "; ".join(f"{label}: {what}" for label, what in islice(words.items(), NAMED_COLUMNS))
    return f"{name} has neither a label that the model can be scored on nor readings ({why})"


def _nothing_left(name: str, split: str, learned: int, unreadable: Sequence[str]) -> str:
    if learned and unreadable:
        return (
            f"of {name} in split {split}, the model was trained on the patients or pictures of {learned} records, "
            f"and the images of {len(unreadable)} cannot be read (the first: {unreadable[0]}); nothing is left"
        )
    if unreadable:
        return f"{name} has no record in split {split} whose image can be read; the first: {unreadable[0]}"
    if learned:
        return (
            f"the model was trained on the patients or pictures of all {learned} records of {name} in split {split}; "
            "nothing is left to score it on, so give images that it has not seen"
        )
    return f"{name} has no readable record in split {split}; try --split {ALL}"


def _scanpath(
    found: Sequence[Prediction], data: SplitDataset, split: str, counts: np.ndarray, seed: int, engine: GazeEngine
) -> DatasetPaths | Unscored:
    """Return scores of the shown paths; a word where there is nothing to score."""
    if not engine.gaze_config.gaze_trained:
        return "untrained"
    read = [one for one in found if one.sample.readings]
    if not read:
        return "no readings"
    shown = {
        one.sample.image_id: FiledPath("", one.scanpath, image_id=one.sample.image_id, size=one.size)
        for one in read
        if one.scanpath is not None
    }
    grid, _ = Counter(one.grid for one in read).most_common(1)[0]  # training images are not opened to learn theirs
    usual = next(one for one in read if one.grid == grid)
    training = [] if split in (ALL, TRAIN) else data.training_readings(usual.in_steps)
    results = score_files(
        ScanpathFile([reading for one in read for reading in filed_readings(one.sample, one.size)]),
        ScanpathFile(list(shown.values())),
        training=ScanpathFile(training) if training else None,
        seed=seed,
        patients={one.sample.image_id: one.sample.patient_id for one in read},
    )
    steps = None
    if training:
        constants = ConstantPaths([reading.scanpath for reading in training])
        rows = np.array([bool(one.sample.readings) for one in found])
        along, grids = [one.steps for one in read if one.steps is not None], [one.grid for one in read]
        estimates = score_steps(along, grids, constants, engine.gaze_config.num_gaze_tokens, counts[:, rows])
        steps = {name: score_of(estimate) for name, estimate in estimates.items()}
    return DatasetPaths(**results.__dict__, steps=steps)
