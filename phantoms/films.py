"""Public radiographs that the release learns from beside phantoms: findings, and words made of their labels.

Their folders lie in one, named as their adapters. Only patients of the training split are learned from. Nobody knows
how radiologists looked at them, so they teach no gaze.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from gazevlm_core.datasets.registry import ADAPTERS, open_dataset
from gazevlm_core.datasets.splits import TRAIN, USUAL, Member, decide
from gazevlm_core.datasets.trained_on import (
    FILM_SETS,
    PROVENANCE_FILE,
    SALT,
    TrainedOn,
    read_credits,
    write_trained_on,
)
from gazevlm_core.evaluation.matching import match_labels
from gazevlm_core.findings import FILM_FINDING_NAMES, FINDING_NAMES, QUESTIONS, presence_answer, presence_question
from gazevlm_core.sample import Sample, pixel_digest
from phantoms.augmentation import augmented
from phantoms.dataset import shrunk
from phantoms.report import report_of_labels

KNOWN_NAMES = (*FINDING_NAMES, *FILM_FINDING_NAMES)  # in the order of the release's head
CREDITS = {name: ADAPTERS[name].credit for name in FILM_SETS}


@dataclass(frozen=True, eq=False)
class Films:
    """Radiographs of several data sets.

    Args:
        training: one list for each data set, to learn from; images are held in memory, as large as training takes them.
        held_out: likewise, those of other patients.
        learned: who and what is learned from.
    """

    training: tuple[list[Sample], ...]
    held_out: tuple[list[Sample], ...]
    learned: TrainedOn


def load_films(root: Path, pixels: tuple[int, int]) -> Films:
    """Read all films, split by patient as `gazevlm evaluate` splits them.

    Args:
        root: holds a folder for each of FILM_SETS.
        pixels: fewest and most of an image, as the model's processor would resize it.

    Raises:
        DatasetError: a data set or an image that cannot be read.
    """
    training, held_out = list[list[Sample]](), list[list[Sample]]()
    all_learned, pictures = list[Sample](), set[str]()
    for name in FILM_SETS:
        samples = list(open_dataset(name, root / name).samples())
        splits = decide(map(Member.of, samples))
        matched = match_labels({label for sample in samples for label in sample.findings}, KNOWN_NAMES)
        training.append([])
        held_out.append([])
        for sample in map(matched.sample, samples):
            image, learned = sample.load(), splits.of(sample.patient_id) == TRAIN
            known = {name: value for name, value in sample.findings.items() if name in KNOWN_NAMES}
            small = Image.fromarray(shrunk(np.asarray(image.convert("L")), pixels))
            (training if learned else held_out)[-1].append(replace(sample, image=small, findings=known, boxes=()))
            if learned:
                all_learned.append(sample)
                pictures.add(pixel_digest(image))
    return Films(tuple(training), tuple(held_out), TrainedOn.of(SALT, all_learned, pictures, USUAL))


@dataclass(frozen=True)
class Known:
    """Whom the base of a training learned from, as `read_all_trained_on` gives it, and whom to thank for that."""

    learned: tuple[TrainedOn | None, ...] = ()
    credits: Mapping[str, str] = field(default_factory=dict)


def known_of_base(base: str) -> Known:
    """Return whom a base learned from, as far as its provenance says it; nobody for "", which is none.

    Raises:
        CheckpointError: there is no such base, or provenance that cannot be read.
    """
    from gazevlm_core.inference import what_is_known
    from gazevlm_core.model.checkpoint import find_beside

    if not base:
        return Known()
    beside = find_beside(base, PROVENANCE_FILE)
    return Known(tuple(what_is_known(None, base)), read_credits(beside.parent) if beside else {})


def keep_provenance(folder: Path, films: Films | None, before: Known = Known()) -> None:
    """Write beside a model whom it and its base learned from; phantoms are nobody, and their seeds are not scored.

    Args:
        folder: of the weights.
        films: that were learned from.
    """
    own, credits = ((films.learned,), CREDITS) if films else ((), {})
    write_trained_on(folder, [*own, *before.learned], {**before.credits, **credits})


def film_sample(film: Sample, rng: np.random.Generator, presence_share: float) -> Sample:
    """Return a film, a little altered, with one question: a report, or the presence of one finding (present or absent
    alike often)."""
    if rng.random() < presence_share:
        there = [name for name, value in film.findings.items() if value == 1.0]
        absent = [name for name, value in film.findings.items() if value == 0.0]
        pool = there if there and (not absent or rng.random() < 0.5) else absent
        name = pool[int(rng.integers(len(pool)))]
        question, answer = presence_question(name), presence_answer(name if pool is there else "")
    else:
        question, answer = QUESTIONS[int(rng.integers(len(QUESTIONS)))], report_of_labels(film.findings, rng)
    return augmented(replace(film, question=question, report=answer), rng)
