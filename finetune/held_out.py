"""Scores on the held-out images, from what the base and the adapter say of them, each beside its floors."""

from collections.abc import Mapping, Sequence

import numpy as np

from finetune.cases import Case
from finetune.floors import Floors, Path, finding_loss, on_grid, uniform_loss
from finetune.look import Looked
from finetune.records import Measure, Verdict
from gazevlm_core.metrics.labels import auroc
from gazevlm_core.metrics.sequence import sequence_scores

SHUFFLES = 8
CHANCE = 0.5
SEQUENCE, ORDER, AUROC, ADDED = "sequence score", "order gain", "AUROC", "AUROC of added findings"
MAIN = (SEQUENCE, AUROC, ADDED)  # what the verdict goes by
CONSTANT_FLOOR = "the best path of the training images, on every image"
SHUFFLED_FLOOR = "its own path, shuffled"
CHANCE_FLOOR = "chance"
UNIFORM_FLOOR = "every patch alike"
PREVALENCE_FLOOR = "how often training images have it"
TYPICAL_FLOOR = "the usual duration of training fixations"


# ---- measures -------------------------------------------------------------------------------------------------------
def measures(
    cases: Sequence[Case], adapter: Looked, base: Looked, floors: Floors, added: Sequence[str], seed: int
) -> list[Measure]:
    """All figures of the held-out images.

    Args:
        cases: the images, with their readings and labels.
        adapter, base: what the two say of them.
        floors: from the training images.
        added: findings that the base lacks; it tells them by chance.
        seed: of the shuffled floors.
    """
    found = _path_measures(cases, adapter, base, floors, seed)
    found += _auroc_measures(cases, adapter, base, added)
    return found + _loss_measures(cases, adapter, base, floors)


def _path_measures(
    cases: Sequence[Case], adapter: Looked, base: Looked, floors: Floors, seed: int
) -> list[Measure]:
    read = [index for index, case in enumerate(cases) if case.record.readings]
    if not read or not any(adapter.diagnoses[index].gaze_trained for index in read):
        return []
    grids = [adapter.diagnoses[index].grid for index in read]
    targets = [
        [on_grid(reading.scanpath, grid) for reading in cases[index].record.readings]
        for index, grid in zip(read, grids, strict=True)
    ]
    own, own_shuffled = _scores(adapter, read, targets, seed)
    before, before_shuffled = _scores(base, read, targets, seed)
    beside = {SHUFFLED_FLOOR: own_shuffled} if own_shuffled is not None else {}
    constant = [path for grid in grids if (path := floors.constant_path(grid)) is not None]
    if constant:
        beside[CONSTANT_FLOOR] = _mean_score(constant, targets)
    gain = None if own is None or own_shuffled is None else own - own_shuffled
    gain_before = None if before is None or before_shuffled is None else before - before_shuffled
    return [Measure(SEQUENCE, own, before, beside), Measure(ORDER, gain, gain_before, {SHUFFLED_FLOOR: 0.0})]


def _scores(
    looked: Looked, read: Sequence[int], targets: Sequence[Sequence[Path]], seed: int
) -> tuple[float | None, float | None]:
    """Sequence score of the shown paths and of the same ones in random orders; None where none is shown."""
    shown = [looked.diagnoses[index] for index in read]
    if not all(one.scanpath is not None for one in shown):
        return None, None
    paths = [on_grid(one.scanpath, one.grid) for one in shown if one.scanpath is not None]
    rng = np.random.default_rng(seed)
    shuffled = [
        _mean_score([tuple(int(patch) for patch in rng.permutation(path)) for path in paths], targets)
        for _ in range(SHUFFLES)
    ]
    return _mean_score(paths, targets), float(np.mean(shuffled))


def _mean_score(paths: Sequence[Path], targets: Sequence[Sequence[Path]]) -> float:
    """Mean over images of the mean sequence score with the image's readings."""
    return float(np.mean([
        sequence_scores([path] * len(others), list(others)).mean() for path, others in zip(paths, targets, strict=True)
    ]))  # fmt: skip


def _auroc_measures(
    cases: Sequence[Case], adapter: Looked, base: Looked, added: Sequence[str]
) -> list[Measure]:
    """AUROC of every finding that held-out images both have and lack; first the means of old and of added ones."""
    ours, theirs = adapter.probabilities(), base.probabilities()
    names = sorted({name for case in cases for name in case.record.findings} & set(ours[0] if ours else ()))
    each: list[Measure] = []
    for name in names:
        known = [index for index, case in enumerate(cases) if name in case.record.findings]
        labels = np.array([cases[index].record.findings[name] for index in known])
        if len(np.unique(labels)) < 2:
            continue
        own = auroc(labels, np.array([ours[index][name] for index in known]))
        before = CHANCE if name in added else None
        if name in theirs[0]:
            before = auroc(labels, np.array([theirs[index][name] for index in known]))
        each.append(Measure(f"{AUROC}: {name}", own, before, {CHANCE_FLOOR: CHANCE}))
    new = [one for one in each if one.name.removeprefix(f"{AUROC}: ") in added]
    old = [one for one in each if one not in new]
    means = [_mean_auroc(name, some) for name, some in ((AUROC, old), (ADDED, new)) if some]
    return [*means, *each]


def _mean_auroc(name: str, each: Sequence[Measure]) -> Measure:
    values = [one.value for one in each if one.value is not None]
    bases = [one.base for one in each if one.base is not None]
    before = float(np.mean(bases)) if len(bases) == len(each) else None
    return Measure(name, float(np.mean(values)), before, {CHANCE_FLOOR: CHANCE})


def _loss_measures(cases: Sequence[Case], adapter: Looked, base: Looked, floors: Floors) -> list[Measure]:
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


def _finding_loss(cases: Sequence[Case], adapter: Looked, base: Looked, floors: Floors) -> list[Measure]:
    """Cross-entropy of the probabilities of findings that both tell; of all where the base tells none of them."""
    ours, theirs = adapter.probabilities(), base.probabilities()
    names = {name for case in cases for name in case.record.findings} & set(ours[0] if ours else ())
    both = names & set(theirs[0] if theirs else ())
    names = both or names
    if not names:
        return []
    before = finding_loss(cases, theirs, names) if both else None
    floor = finding_loss(cases, [floors.prevalences(names)] * len(cases), names)
    return [_nats("finding loss", finding_loss(cases, ours, names), before, {PREVALENCE_FLOOR: floor})]


def _nats(name: str, value: float, base: float | None, floors: Mapping[str, float]) -> Measure:
    return Measure(name, value, base, floors, False, "nats")


def judge(found: Sequence[Measure], images: int) -> Verdict:
    """Whether an adapter is better than its base: by the mean gain of the main measures.

    A base that shows no path or tells no finding counts as the best floor of that measure.

    Args:
        found: from `measures`.
        images: held-out images behind them.
    """
    gains, words = [], []
    for one in found:
        if one.name not in MAIN or one.value is None:
            continue
        before = one.base if one.base is not None else max(one.floors.values(), default=0.0)
        gains.append(one.value - before)
        words.append(f"{one.name} {before:.3f} to {one.value:.3f}")
    if not gains:
        return Verdict(False, f"Nothing could be compared with the base on {images} held-out images.")
    better = float(np.mean(gains)) > 0
    said = "better than its base" if better else "no better than its base"
    return Verdict(better, f"It is {said} on {images} held-out images: {', '.join(words)}.")


def selection_score(found: Sequence[Measure]) -> float | None:
    """What early stopping goes by: the mean of the main measures; None where there is none."""
    values = [one.value for one in found if one.name in MAIN and one.value is not None]
    return float(np.mean(values)) if values else None
