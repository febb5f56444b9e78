"""One evaluation on a real data set: split by patient, ask the model, score findings and paths beside their floors."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from typing import Any

import numpy as np

from evaluate.datasets.ask import TRAINED_PICTURE, Answer, Asked, ask_records, filed_readings
from evaluate.datasets.labels import HEAD, TEXT, score_labels
from evaluate.results import estimate_values
from evaluate.score_files import score_files
from evaluate.step_scores import score_steps
from gazevlm_core.datasets.scanpath_files import ScanpathFile
from gazevlm_core.datasets.source import DataSource
from gazevlm_core.datasets.splits import HELD_OUT, SPLITS, TEST, TRAIN, USUAL, VALIDATION, Member, Splits, decide
from gazevlm_core.datasets.trained_on import TrainedOn
from gazevlm_core.inference import GazeEngine
from gazevlm_core.metrics.intervals import CONFIDENCE, RESAMPLES, patient_counts
from gazevlm_core.metrics.paths import UNIT_SQUARE
from gazevlm_core.metrics.registry import DEFAULT_GRID
from gazevlm_core.ranks import ALONE, Ranks
from gazevlm_core.sample import DatasetError, Sample

ALL = "all"
TRAINED_PATIENT = "record of a patient whom the adapter was trained on"
NAMED_IMAGES = 20  # that cannot be read
MOST_TRAINING_READINGS = 5_000  # behind constant floors; bounds memory

Opener = Callable[[], DataSource]


def evaluate_dataset(
    open_source: Opener,
    engine: GazeEngine,
    *,
    split: str = TEST,
    limit: int | None = None,
    batch_size: int = 16,
    seed: int = 0,
    asked: Callable[[int], object] = lambda count: None,
    ranks: Ranks = ALONE,
    trained: Sequence[TrainedOn | None] = (),
) -> dict[str, Any] | None:
    """Everything that `gazevlm evaluate --dataset NAME` prints, as plain values; None but on the main process.

    Args:
        open_source: opens the data set; called once for each pass over it.
        engine: the model, with its adapter if it has one.
        split: one of `SPLITS`, by patient and as fine-tuning splits; HELD_OUT, validation and test together; or ALL.
            The last two leave F1 out, since no image is left for its threshold.
        limit: records that are scored at most, and as many for thresholds.
        batch_size: images at once.
        seed: of random floors and intervals.
        asked: called with the number of records of each finished batch.
        ranks: the processes that share the records.
        trained: what the adapter and the model were trained on, which is left out; None where one of them does not
            tell. The split is drawn as the training drew it.

    Raises:
        DatasetError: a data set that cannot be read, an unknown split, or one of which no record is left.
    """
    if split not in (*SPLITS, HELD_OUT, ALL):
        raise DatasetError(f"there is no split {split!r}; choose one of: {', '.join(SPLITS)}, {HELD_OUT}, {ALL}")
    started = time.perf_counter()
    source = open_source()
    learned = [one for one in trained if one is not None]
    splits = decide(map(Member.of, open_source().samples()), learned[0].rule if learned else USUAL)
    left_out: Counter[str] = Counter()
    chosen = _of_split(source, split, splits, limit, learned, left_out)
    found = ask_records(engine, chosen, batch_size=batch_size, asked=asked, ranks=ranks, trained=learned)
    left_out[TRAINED_PICTURE] += found.dropped[TRAINED_PICTURE]
    if not found.answers:
        raise DatasetError(_nothing_left(source.name, split, left_out.total(), found.unreadable))
    validation = Asked()
    if split in (TEST, TRAIN) and any(answer.labels for answer in found.answers):
        others = _of_split(open_source(), VALIDATION, splits, limit, learned, Counter())
        validation = ask_records(engine, others, batch_size=batch_size, asked=asked, ranks=ranks, trained=learned)
    if not ranks.is_main:
        return None
    dropped = source.dropped | found.dropped | left_out
    counts = patient_counts(np.array([answer.patient_id for answer in found.answers]), RESAMPLES, seed)
    return {
        "dataset": source.name,
        "split": split,
        "records": len(found.answers),
        "images": len({answer.image_id for answer in found.answers}),
        "patients": len({answer.patient_id for answer in found.answers}),
        "validation_records": len(validation.answers),
        "resamples": RESAMPLES,
        "confidence": CONFIDENCE,
        "model": engine.checkpoint.model_id,
        "adapter": engine.adapter_id,
        "dropped": {reason: number for reason, number in sorted(dropped.items()) if number},
        "split_note": splits.note,
        "trained_on_left_out": None if None in trained else left_out.total(),
        "unreadable": found.unreadable[:NAMED_IMAGES],
        "scores": {
            HEAD: score_labels(found.answers, validation.answers, HEAD, counts),
            TEXT: score_labels(found.answers, validation.answers, TEXT, counts),
            "scanpath": _scanpath(found.answers, lambda: _training_readings(open_source, splits), split, counts, seed,
                                  engine),
        },
        "seconds": round(time.perf_counter() - started, 1),
    }


def _of_split(
    source: DataSource,
    split: str,
    splits: Splits,
    limit: int | None,
    learned: Sequence[TrainedOn],
    left_out: Counter[str],
) -> Iterator[Sample]:
    """Records of a split, without those of patients who were learned from, which are counted."""
    wanted = {ALL: tuple(SPLITS), HELD_OUT: (VALIDATION, TEST)}.get(split, (split,))

    def chosen() -> Iterator[Sample]:
        for record in source.samples():
            if splits.of(record.patient_id) not in wanted:
                continue
            if any(one.has_patient(record.patient_id) for one in learned):
                left_out[TRAINED_PATIENT] += 1
                continue
            yield record

    return islice(chosen(), limit)


def _nothing_left(name: str, split: str, learned: int, unreadable: Sequence[str]) -> str:
    if learned and unreadable:
        return (
            f"of {name} in split {split}, the adapter was trained on the patients or pictures of {learned} records, "
            f"and the images of {len(unreadable)} cannot be read (the first: {unreadable[0]}); nothing is left"
        )
    if unreadable:
        return f"{name} has no record in split {split} whose image can be read; the first: {unreadable[0]}"
    if learned:
        return (
            f"the adapter was trained on the patients or pictures of all {learned} records of {name} in split {split}; "
            "nothing is left to score it on, so give images that it has not seen"
        )
    return f"{name} has no readable record in split {split}; try --split {ALL}"


def _training_readings(open_source: Opener, splits: Splits) -> ScanpathFile:
    """Readings of the training split, for constant floors; no image is opened."""
    records = _of_split(open_source(), TRAIN, splits, None, (), Counter())
    readings = (reading for record in records for reading in filed_readings(record, UNIT_SQUARE))
    return ScanpathFile(list(islice(readings, MOST_TRAINING_READINGS)))


def _scanpath(
    answers: Sequence[Answer],
    training_readings: Callable[[], ScanpathFile],
    split: str,
    counts: np.ndarray,
    seed: int,
    engine: GazeEngine,
) -> dict[str, Any] | str:
    """Scores of the shown paths; a word where there is nothing to score."""
    if not engine.gaze_config.gaze_trained:
        return "untrained"
    looked = [answer for answer in answers if answer.readings]
    if not looked:
        return "no readings"
    paths = {answer.image_id: answer.path for answer in looked if answer.path is not None}
    training = None if split in (ALL, TRAIN) else training_readings()
    results = score_files(
        ScanpathFile([reading for answer in looked for reading in answer.readings]),
        ScanpathFile(list(paths.values())),
        training=training if training and training.readings else None,
        grid=DEFAULT_GRID,
        seed=seed,
        patients={answer.image_id: answer.patient_id for answer in looked},
    )
    rows = np.array([bool(answer.readings) for answer in answers])
    return {**results, "steps": _steps(looked, training, counts[:, rows], engine.gaze_config.num_gaze_tokens)}


def _steps(
    looked: Sequence[Answer], training: ScanpathFile | None, counts: np.ndarray, num_steps: int
) -> dict[str, Any] | None:
    """Conditional scores; None without a training split to take the histogram from."""
    if training is None or not training.readings:
        return None
    looks = [answer.looks for answer in looked if answer.looks is not None]
    others = [reading.scanpath for reading in training.readings]
    scores = score_steps(looks, [answer.grid for answer in looked], others, num_steps, counts)
    return {name: estimate_values(getattr(scores, name)) for name in asdict(scores)}

