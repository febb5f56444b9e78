"""Scores on the held-out images, from what the base and the adapter say of them, each beside its floors."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from finetune.floors import Floors, Path, finding_loss, on_grid, uniform_loss
from finetune.look import Looked
from finetune.records import BASE, Gain, Measure
from finetune.verdict import ADDED, AUROC, CHANCE, MAIN, SEQUENCE, Resampled
from gazevlm_core.metrics.labels import auroc
from gazevlm_core.metrics.sequence import sequence_scores
from gazevlm_core.sample import Sample

SHUFFLES = 8
ORDER = "order gain"
CONSTANT_FLOOR = "the best path of the training images, on every image"
SHUFFLED_FLOOR = "its own path, shuffled"
CHANCE_FLOOR = "chance"
UNIFORM_FLOOR = "every patch alike"
PREVALENCE_FLOOR = "how often training images have it"
TYPICAL_FLOOR = "the usual duration of training fixations"


# ---- measures -------------------------------------------------------------------------------------------------------
def measures(
    cases: Sequence[Sample], adapter: Looked, base: Looked, floors: Floors, added: Sequence[str], seed: int
) -> list[Measure]:
    """All figures of the held-out images. What a base does not show has no figure of the base's, only floors.

    Args:
        cases: the images, with their readings and labels.
        adapter, base: what the two say of them.
        floors: from the training images.
        added: findings that the base lacks.
        seed: of the shuffled floors, and of the intervals.
    """
    if not cases:
        return []
    drawn = Resampled.of(cases, seed)
    found = _path_measures(cases, adapter, base, floors, seed, drawn)
    found += _auroc_measures(cases, adapter, base, added, drawn)
    return found + _loss_measures(cases, adapter, base, floors)


def _path_measures(
    cases: Sequence[Sample], adapter: Looked, base: Looked, floors: Floors, seed: int, drawn: Resampled
) -> list[Measure]:
    read = [index for index, case in enumerate(cases) if case.readings]
    if not read or not any(adapter.diagnoses[index].gaze_trained for index in read):
        return []
    grids = [adapter.diagnoses[index].grid for index in read]
    targets = [
        [on_grid(reading.scanpath, grid) for reading in cases[index].readings]
        for index, grid in zip(read, grids, strict=True)
    ]
    own, own_shuffled = _scores(adapter, read, targets, seed)
    before, before_shuffled = _scores(base, read, targets, seed)
    beside = {SHUFFLED_FLOOR: own_shuffled} if own_shuffled is not None else {}
    constant = [path for grid in grids if (path := floors.constant_path(grid)) is not None]
    if constant:
        beside[CONSTANT_FLOOR] = _path_scores(constant, targets)
    means = {name: float(scores.mean()) for name, scores in beside.items()}
    sequence = Measure(SEQUENCE, _mean(own), _mean(before), means)
    if own is not None:
        against = BASE if before is not None else max(means, key=means.__getitem__)
        other = before if before is not None else beside[against]
        ours, theirs = np.full(len(cases), np.nan), np.full(len(cases), np.nan)
        ours[read], theirs[read] = own, other
        sequence = replace(sequence, gain=drawn.mean_gain(ours, theirs, against))
    gain = None if own is None or own_shuffled is None else float((own - own_shuffled).mean())
    gain_before = None if before is None or before_shuffled is None else float((before - before_shuffled).mean())
    return [sequence, Measure(ORDER, gain, gain_before, {SHUFFLED_FLOOR: 0.0})]


def _mean(scores: np.ndarray | None) -> float | None:
    return None if scores is None else float(scores.mean())


def _scores(
    looked: Looked, read: Sequence[int], targets: Sequence[Sequence[Path]], seed: int
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Sequence scores [N] of the shown paths and of the same ones in random orders; None where none is shown."""
    shown = [looked.diagnoses[index] for index in read]
    if not all(one.scanpath is not None for one in shown):
        return None, None
    paths = [on_grid(one.scanpath, one.grid) for one in shown if one.scanpath is not None]
    rng = np.random.default_rng(seed)
    shuffled = [
        _path_scores([tuple(int(patch) for patch in rng.permutation(path)) for path in paths], targets)
        for _ in range(SHUFFLES)
    ]
    return _path_scores(paths, targets), np.mean(shuffled, axis=0)


def _path_scores(paths: Sequence[Path], targets: Sequence[Sequence[Path]]) -> np.ndarray:
    """Per image the mean sequence score with the image's readings, float64 [N]."""
    return np.array([
        sequence_scores([path] * len(others), list(others)).mean() for path, others in zip(paths, targets, strict=True)
    ])  # fmt: skip


def _auroc_measures(
    cases: Sequence[Sample], adapter: Looked, base: Looked, added: Sequence[str], drawn: Resampled
) -> list[Measure]:
    """AUROC of every finding that held-out images both have and lack; first the means of old and of added ones."""
    ours, theirs = adapter.probabilities(), base.probabilities()
    names = sorted({name for case in cases for name in case.findings} & set(ours[0] if ours else ()))
    each: dict[str, Measure] = {}
    for name in names:
        known = [index for index, case in enumerate(cases) if name in case.findings]
        labels = np.array([cases[index].findings[name] for index in known])
        if len(np.unique(labels)) < 2:
            continue
        own = auroc(labels, np.array([ours[index][name] for index in known]))
        before = auroc(labels, np.array([theirs[index][name] for index in known])) if name in theirs[0] else None
        each[name] = Measure(f"{AUROC}: {name}", own, before, {CHANCE_FLOOR: CHANCE})
    groups = {AUROC: [name for name in each if name not in added], ADDED: [name for name in each if name in added]}
    means = [
        replace(_mean_auroc(name, [each[one] for one in some]), gain=_auroc_gain(cases, ours, theirs, some, drawn))
        for name, some in groups.items() if some
    ]  # fmt: skip
    return [*means, *each.values()]


def _auroc_gain(
    cases: Sequence[Sample], ours: Sequence[Mapping[str, float]], theirs: Sequence[Mapping[str, float]],
    names: Sequence[str], drawn: Resampled,
) -> Gain:  # fmt: skip
    """Of the findings that both tell, where there are any; else of all of them over chance."""
    both = [name for name in names if name in theirs[0]]
    names = both or names
    labels = np.array([[case.findings.get(name, np.nan) for name in names] for case in cases])
    own = np.array([[said[name] for name in names] for said in ours])
    if not both:
        return drawn.auroc_gain(labels, own, None, CHANCE_FLOOR)
    return drawn.auroc_gain(labels, own, np.array([[said[name] for name in names] for said in theirs]), BASE)


def _mean_auroc(name: str, each: Sequence[Measure]) -> Measure:
    values = [one.value for one in each if one.value is not None]
    bases = [one.base for one in each if one.base is not None]
    before = float(np.mean(bases)) if len(bases) == len(each) else None
    return Measure(name, float(np.mean(values)), before, {CHANCE_FLOOR: CHANCE})


def _loss_measures(cases: Sequence[Sample], adapter: Looked, base: Looked, floors: Floors) -> list[Measure]:
    """Losses. Those of gaze have no base that aims at something else: as many steps, and targets as wide, are alike."""
    beside: dict[str, dict[str, float | None]] = {
        "gaze_loss": {UNIFORM_FLOOR: uniform_loss(cases, [one.grid for one in adapter.diagnoses], adapter.aims)},
        "dwell_loss": {TYPICAL_FLOOR: floors.dwell_loss(cases, adapter.aims.steps)},
    }
    found = []
    for name, value in adapter.losses.items():
        comparable = name == "text_loss" or adapter.aims == base.aims
        before = base.losses.get(name) if comparable else None
        known = {floor: figure for floor, figure in beside.get(name, {}).items() if figure is not None}
        found.append(_nats(name.replace("_", " "), value, before, known))
    return found + _finding_loss(cases, adapter, base, floors)


def _finding_loss(cases: Sequence[Sample], adapter: Looked, base: Looked, floors: Floors) -> list[Measure]:
    """Cross-entropy of the probabilities of findings that both tell; of all where the base tells none of them."""
    ours, theirs = adapter.probabilities(), base.probabilities()
    names = {name for case in cases for name in case.findings} & set(ours[0] if ours else ())
    both = names & set(theirs[0] if theirs else ())
    names = both or names
    if not names:
        return []
    before = finding_loss(cases, theirs, names) if both else None
    floor = finding_loss(cases, [floors.prevalences(names)] * len(cases), names)
    return [_nats("finding loss", finding_loss(cases, ours, names), before, {PREVALENCE_FLOOR: floor})]


def _nats(name: str, value: float, base: float | None, floors: Mapping[str, float]) -> Measure:
    return Measure(name, value, base, floors, False, "nats")


def selection_score(found: Sequence[Measure]) -> float | None:
    """What early stopping goes by: the mean of the main measures; None where there is none."""
    values = [one.value for one in found if one.name in MAIN and one.value is not None]
    return float(np.mean(values)) if values else None
