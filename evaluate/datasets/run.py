"""One evaluation on a real data set: split by patient, ask the model, score findings and paths beside their floors."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from typing import Any

import numpy as np

from evaluate.datasets.ask import Answer, Asked, ask_records, filed_readings
from evaluate.datasets.labels import HEAD, TEXT, score_labels
from evaluate.results import estimate_values
from evaluate.score_files import score_files
from evaluate.step_scores import score_steps
from gazevlm_core.datasets.record import DatasetError, StudyRecord, StudySource
from gazevlm_core.datasets.scanpath_files import ScanpathFile
from gazevlm_core.datasets.splits import SPLITS, split_of
from gazevlm_core.inference import GazeEngine
from gazevlm_core.metrics.intervals import CONFIDENCE, RESAMPLES, patient_counts
from gazevlm_core.metrics.paths import UNIT_SQUARE
from gazevlm_core.metrics.registry import DEFAULT_GRID
from gazevlm_core.ranks import ALONE, Ranks

ALL = "all"
VALIDATION, TRAINING = "validation", "train"
MOST_TRAINING_READINGS = 5_000  # behind constant floors; bounds memory

Opener = Callable[[], StudySource]


def evaluate_dataset(
    open_source: Opener,
    engine: GazeEngine,
    *,
    split: str = "test",
    limit: int | None = None,
    batch_size: int = 16,
    seed: int = 0,
    asked: Callable[[int], object] = lambda count: None,
    ranks: Ranks = ALONE,
) -> dict[str, Any] | None:
    """Everything that `gazevlm evaluate --dataset NAME` prints, as plain values; None but on the main process.

    Args:
        open_source: opens the data set; called once for each pass over it.
        engine: the model, with its adapter if it has one.
        split: one of `SPLITS`, by patient; or ALL, which leaves F1 out, since no image is left for its threshold.
        limit: records that are scored at most, and as many for thresholds.
        batch_size: images at once.
        seed: of random floors and intervals.
        asked: called with the number of records of each finished batch.
        ranks: the processes that share the records.

    Raises:
        DatasetError: a data set that cannot be read, an unknown split, or one without a record.
    """
    if split not in (*SPLITS, ALL):
        raise DatasetError(f"there is no split {split!r}; choose one of: {', '.join(SPLITS)}, {ALL}")
    started = time.perf_counter()
    source = open_source()
    found = ask_records(engine, _of_split(source, split, limit), batch_size=batch_size, asked=asked, ranks=ranks)
    if not found.answers:
        raise DatasetError(f"{source.name} has no readable record in split {split}; try --split {ALL}")
    validation = Asked()
    if split not in (ALL, VALIDATION) and any(answer.labels for answer in found.answers):
        others = _of_split(open_source(), VALIDATION, limit)
        validation = ask_records(engine, others, batch_size=batch_size, asked=asked, ranks=ranks)
    if not ranks.is_main:
        return None
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
        "dropped": {reason: number for reason, number in sorted((source.dropped + found.dropped).items()) if number},
        "scores": {
            HEAD: score_labels(found.answers, validation.answers, HEAD, counts),
            TEXT: score_labels(found.answers, validation.answers, TEXT, counts),
            "scanpath": _scanpath(found.answers, open_source, split, counts, seed, engine),
        },
        "seconds": round(time.perf_counter() - started, 1),
    }


def _of_split(source: StudySource, split: str, limit: int | None) -> Iterator[StudyRecord]:
    chosen = (record for record in source.records() if split in (ALL, split_of(record.patient_id)))
    return islice(chosen, limit)


def _training_readings(open_source: Opener) -> ScanpathFile:
    """Readings of the training split, for constant floors; no image is opened."""
    records = _of_split(open_source(), TRAINING, None)
    readings = (reading for record in records for reading in filed_readings(record, UNIT_SQUARE))
    return ScanpathFile(list(islice(readings, MOST_TRAINING_READINGS)))


def _scanpath(
    answers: Sequence[Answer],
    open_source: Opener,
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
    training = None if split in (ALL, TRAINING) else _training_readings(open_source)
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

