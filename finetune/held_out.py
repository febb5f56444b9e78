"""Scores on the held-out images, of what the base and the adapter predict of them, each beside its floors.

Paths are held against readings in the steps of the model, as evaluating does (`evaluation.predict.in_steps`): to one
without repeats, consecutive fixations in one patch are one step, in readings and floors as in its own paths.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from finetune.predict import Aims, Predictions
from finetune.records import BASE, Gain, Measure, write_json
from finetune.verdict import ADDED, MAIN, Resampled
from gazevlm_core.evaluation.floors import SHUFFLES, ConstantPaths, on_grid, shuffled_path
from gazevlm_core.evaluation.floors import Path as GridPath
from gazevlm_core.evaluation.path_scores import mean_scores
from gazevlm_core.evaluation.predict import in_steps
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.labels import CHANCE, auroc
from gazevlm_core.metrics.registry import AUROC, SEQUENCE
from gazevlm_core.sample import Sample
from gazevlm_core.scanpath import Scanpath

ORDER = "order gain"
BEST, SCORES = "best", "selection.json"
CONSTANT_FLOOR = "the best path of the training images, on every image"
SHUFFLED_FLOOR = "its own path, shuffled"
CHANCE_FLOOR = "chance"
UNIFORM_FLOOR = "every patch alike"
PREVALENCE_FLOOR = "how often training images have it"
TYPICAL_FLOOR = "the usual duration of training fixations"
LEAST_P = 1e-7  # of a probability that float32 rounded to 0
MOST_PATHS = 200  # all pairs of these are compared, on every grid that occurs
Probabilities = Sequence[Mapping[str, float]]  # finding -> probability, per image


class Floors:
    """Predictors that know nothing but the training images; made once for a run.

    Args:
        train: the images; none for no such floors.
        seed: draws MOST_PATHS of their scanpaths, where there are more.
    """

    def __init__(self, train: Sequence[Sample], seed: int) -> None:
        paths = [path for sample in train for path in sample.scanpaths]
        if len(paths) > MOST_PATHS:
            chosen = np.random.default_rng([seed, 3]).choice(len(paths), MOST_PATHS, replace=False)
            paths = [paths[index] for index in sorted(chosen.tolist())]
        self._paths, self._train = paths, train
        self._constants: dict[tuple[PatchGrid, bool], ConstantPaths] = {}
        self._usual_logs: dict[tuple[PatchGrid, bool], float | None] = {}

    def best_path(self, grid: PatchGrid, *, repeats: bool = True) -> GridPath | None:
        """Return the constant path of a grid, in the steps of a model with or without repeats; None where nobody
        looked."""
        if not self._paths:
            return None
        if (grid, repeats) not in self._constants:
            paths = self._paths if repeats else list(map(grid.merge_repeats, self._paths))
            self._constants[grid, repeats] = ConstantPaths(paths)
        return self._constants[grid, repeats].best(grid)

    def prevalences(self, names: Collection[str]) -> dict[str, float]:
        """Return the share of the training images that have each finding, with one more that has it and one that
        lacks it: what never occurred is not impossible."""
        known = {name: [one.findings[name] for one in self._train if name in one.findings] for name in names}
        return {name: (sum(values) + 1) / (len(values) + 2) for name, values in known.items()}

    def dwell_loss(self, samples: Sequence[Sample], grids: Sequence[PatchGrid], aims: Aims) -> float | None:
        """Return the smooth-L1 distance of log durations to their median in training; None where one is unknown.

        Args:
            samples: with their readings in the steps of the model.
            grids: of each; training durations are those of the steps on the one that occurs most.
            aims: of the model.
        """
        durations = _durations_ms((path for sample in samples for path in sample.scanpaths), aims.steps)
        if not durations:
            return None
        usual_log = self._usual_log(Counter(grids).most_common(1)[0][0], repeats=aims.repeats)
        if usual_log is None:
            return None
        apart = np.abs(np.log(durations) - usual_log)
        return float(np.where(apart < 1, apart**2 / 2, apart - 0.5).mean())

    def _usual_log(self, grid: PatchGrid, *, repeats: bool) -> float | None:
        """Return the median logarithm of training durations; None where none is known."""
        if (grid, repeats) not in self._usual_logs:
            paths = (path for sample in self._train for path in sample.scanpaths)
            known = _durations_ms(paths if repeats else map(grid.merge_repeats, paths), None)
            self._usual_logs[grid, repeats] = float(np.median(np.log(known))) if known else None
        return self._usual_logs[grid, repeats]


def _durations_ms(paths: Iterable[Scanpath], steps: int | None) -> list[float]:
    """Return the known durations of the first fixations of readings."""
    fixations = [fixation for path in paths for fixation in path.fixations[:steps]]
    return [fixation.duration_ms for fixation in fixations if fixation.duration_ms]


def measures(
    samples: Sequence[Sample], adapter: Predictions, base: Predictions, floors: Floors, added: Sequence[str], seed: int
) -> list[Measure]:
    """Return all figures of the held-out images. What a base does not show has no figure of the base's, only floors.

    Args:
        samples: the images, with their readings and labels.
        adapter, base: what the two predict of them.
        floors: from the training images.
        added: findings that the base lacks.
        seed: of the shuffled floors, and of the intervals.
    """
    if not samples:
        return []
    drawn = Resampled.of(samples, seed)
    samples = [
        in_steps(sample, one.grid, repeats=adapter.aims.repeats)
        for sample, one in zip(samples, adapter.diagnoses, strict=True)
    ]
    found = _path_measures(samples, adapter, base, floors, seed, drawn)
    found += _auroc_measures(samples, adapter, base, added, drawn)
    return found + _loss_measures(samples, adapter, base, floors)


# ---- paths ----------------------------------------------------------------------------------------------------------
def _path_measures(
    samples: Sequence[Sample], adapter: Predictions, base: Predictions, floors: Floors, seed: int, drawn: Resampled
) -> list[Measure]:
    read = [index for index, sample in enumerate(samples) if sample.readings]
    if not read or not any(adapter.diagnoses[index].gaze_trained for index in read):
        return []
    grids = [adapter.diagnoses[index].grid for index in read]
    targets = [[on_grid(path, grid) for path in samples[index].scanpaths]
               for index, grid in zip(read, grids, strict=True)]  # fmt: skip
    own, own_shuffled = _path_scores(adapter, read, targets, seed)
    before, before_shuffled = _path_scores(base, read, targets, seed)
    beside = {SHUFFLED_FLOOR: own_shuffled} if own_shuffled is not None else {}
    constant = [floors.best_path(grid, repeats=adapter.aims.repeats) for grid in grids]
    if all(path is not None for path in constant):
        beside[CONSTANT_FLOOR] = mean_scores([[path] for path in constant if path is not None], targets)
    means = {name: float(scores.mean()) for name, scores in beside.items()}
    sequence = Measure(SEQUENCE, _mean(own), _mean(before), means)
    if own is not None:
        against = BASE if before is not None else max(means, key=means.__getitem__)
        ours, theirs = np.full(len(samples), np.nan), np.full(len(samples), np.nan)
        ours[read], theirs[read] = own, before if before is not None else beside[against]
        sequence = replace(sequence, gain=drawn.mean_gain(ours, theirs, against))
    gain, gain_before = (None if scores is None or mixed is None else scores - mixed
                         for scores, mixed in ((own, own_shuffled), (before, before_shuffled)))  # fmt: skip
    return [sequence, Measure(ORDER, _mean(gain), _mean(gain_before), {SHUFFLED_FLOOR: 0.0})]


def _mean(scores: np.ndarray | None) -> float | None:
    return None if scores is None else float(scores.mean())


def _path_scores(
    looked: Predictions, read: Sequence[int], targets: Sequence[Sequence[GridPath]], seed: int
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return sequence scores [N] of the shown paths and of the same ones in random orders; None where none is shown."""
    shown = [looked.diagnoses[index] for index in read]
    paths = [on_grid(one.scanpath, one.grid) for one in shown if one.scanpath is not None]
    if len(paths) < len(shown):
        return None, None
    rng = np.random.default_rng(seed)
    shuffled = [mean_scores([[shuffled_path(path, rng)] for path in paths], targets) for _ in range(SHUFFLES)]
    return mean_scores([[path] for path in paths], targets), np.mean(shuffled, axis=0)


# ---- findings -------------------------------------------------------------------------------------------------------
def _auroc_measures(
    samples: Sequence[Sample], adapter: Predictions, base: Predictions, added: Sequence[str], drawn: Resampled
) -> list[Measure]:
    """Return the AUROC of every finding that held-out images both have and lack, behind the means of old and added."""
    ours, theirs = adapter.probabilities(), base.probabilities()
    each: dict[str, Measure] = {}
    for name in _known_names(samples, ours):
        known = [index for index, sample in enumerate(samples) if name in sample.findings]
        labels = np.array([samples[index].findings[name] for index in known])
        if len(np.unique(labels)) < 2:
            continue
        own, before = (
            auroc(labels, np.array([predicted[index][name] for index in known])) if name in predicted[0] else None
            for predicted in (ours, theirs)
        )
        each[name] = Measure(f"{AUROC}: {name}", own, before, {CHANCE_FLOOR: CHANCE})
    groups = {AUROC: [name for name in each if name not in added], ADDED: [name for name in each if name in added]}
    means = []
    for group, names in groups.items():
        if names:
            of_base = [name for name in names if name in theirs[0]]
            gain, judged = _auroc_gain(samples, ours, theirs if of_base else None, of_base or names, drawn)
            if judged:
                gain = replace(gain, findings=len(judged), left_out=len(names) - len(judged))
            told = [each[name] for name in judged or of_base or names]
            own, before = _mean_of([one.value for one in told]), _mean_of([one.base for one in told])
            means.append(Measure(group, own, before, {CHANCE_FLOOR: CHANCE}, gain=gain))
    return [*means, *each.values()]


def _mean_of(values: Sequence[float | None]) -> float | None:
    """Return the mean of figures; None where one is missing."""
    known = [one for one in values if one is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _known_names(samples: Sequence[Sample], predicted: Probabilities) -> list[str]:
    """Return the findings that are both labelled and predicted."""
    return sorted({name for sample in samples for name in sample.findings} & set(predicted[0] if predicted else ()))


def _auroc_gain(
    samples: Sequence[Sample], ours: Probabilities, theirs: Probabilities | None, names: Sequence[str], drawn: Resampled
) -> tuple[Gain, list[str]]:
    """Return the gain in the mean AUROC of findings, over chance where nobody else predicts them, and the findings that
    are judged; none without an interval."""
    labels = np.array([[sample.findings.get(name, np.nan) for name in names] for sample in samples])

    def table(predicted: Probabilities) -> np.ndarray:
        return np.array([[one[name] for name in names] for one in predicted])

    own, other = table(ours), None if theirs is None else table(theirs)
    gain = drawn.auroc_gain(labels, own, other, CHANCE_FLOOR if other is None else BASE)
    return gain, [] if gain.value is None else [names[column] for column in drawn.judged(labels)]


# ---- losses ---------------------------------------------------------------------------------------------------------
def _loss_measures(samples: Sequence[Sample], adapter: Predictions, base: Predictions, floors: Floors) -> list[Measure]:
    """Return losses. Those of gaze have no base that aims at something else: as many steps, and targets as wide, are
    alike."""
    grids, aims = [one.grid for one in adapter.diagnoses], adapter.aims
    beside: dict[str, tuple[str, float | None]] = {
        "gaze_loss": (UNIFORM_FLOOR, uniform_loss(samples, grids, aims)),
        "dwell_loss": (TYPICAL_FLOOR, floors.dwell_loss(samples, grids, aims)),
    }
    found = []
    for name, value in adapter.losses.items():
        comparable = name == "text_loss" or adapter.aims == base.aims
        floor, figure = beside.get(name, ("", None))
        known = {} if figure is None else {floor: figure}
        found.append(_nats(name.replace("_", " "), value, base.losses.get(name) if comparable else None, known))
    return found + _finding_loss(samples, adapter.probabilities(), base.probabilities(), floors)


def _finding_loss(
    samples: Sequence[Sample], ours: Probabilities, theirs: Probabilities, floors: Floors
) -> list[Measure]:
    """Return the cross-entropy of the findings that both predict; of all where the base predicts none of them."""
    names = _known_names(samples, ours)
    both = [name for name in names if theirs and name in theirs[0]]
    names = both or names
    if not names:
        return []
    before = finding_loss(samples, theirs, names) if both else None
    floor = finding_loss(samples, [floors.prevalences(names)] * len(samples), names)
    return [_nats("finding loss", finding_loss(samples, ours, names), before, {PREVALENCE_FLOOR: floor})]


def _nats(name: str, value: float, base: float | None, floors: Mapping[str, float]) -> Measure:
    return Measure(name, value, base, floors, False, "nats")


def uniform_loss(samples: Sequence[Sample], grids: Sequence[PatchGrid], aims: Aims) -> float | None:
    """Return the pointer's loss where every patch that may be next, and the end, are as likely; None where nobody
    looked. Readings are in the steps of the model."""
    logs: list[float] = []
    for sample, grid in zip(samples, grids, strict=True):
        others = len(grid) - (not aims.repeats and len(grid) > 1)  # a step may not stay where no patch is repeated
        for path in sample.scanpaths:
            steps = min(len(path) + aims.stops, aims.steps)
            logs += [math.log(len(grid)), *[math.log(others + aims.stops)] * (steps - 1)]  # no path ends at once
    return float(np.mean(logs)) if logs else None


def finding_loss(samples: Sequence[Sample], probabilities: Probabilities, names: Sequence[str]) -> float:
    """Return the mean cross-entropy in nats of the labels of some findings, of which there is one at least."""
    losses = []
    for sample, predicted in zip(samples, probabilities, strict=True):
        for name in (name for name in names if name in sample.findings):
            p = min(max(predicted[name], LEAST_P), 1 - LEAST_P)
            losses.append(-math.log(p if sample.findings[name] else 1 - p))
    return float(np.mean(losses))


def selection_score(found: Sequence[Measure]) -> float | None:
    """Return what early stopping goes by: the mean of the main measures; None where there is none."""
    values = [one.value for one in found if one.name in MAIN and one.value is not None]
    return float(np.mean(values)) if values else None


class Selection:
    """Early stopping: keeps the best scoring so far, also across a resume; over when it was not beaten for a while.

    Args:
        run: folder of the run; the best adapters so far lie there, see `best_folder`.
        patience: scorings without a better one after which it is over; 0 for never, and then nothing is kept.
        first_step: that the run goes on from; later scorings of an earlier try are forgotten.
        save: writes the adapter as it is now to a folder; every process calls it.
        writes: False on all but the main process.
    """

    def __init__(
        self, run: Path, patience: int, first_step: int, save: Callable[[Path], None], *, writes: bool = True
    ) -> None:
        self._run, self._patience, self._save, self._writes = run, patience, save, writes
        self._scores: list[tuple[int, float]] = []
        path = run / SCORES
        if path.is_file():
            self._scores = [(step, score) for step, score in json.loads(path.read_text()) if step <= first_step]

    @property
    def best_step(self) -> int | None:
        """Step of the best scoring, the first one on a tie; None where nothing is kept."""
        return max(self._scores, key=lambda one: (one[1], -one[0]))[0] if self._scores else None

    def best_folder(self) -> Path:
        """Return where the adapter of the best scoring lies. Each has its own: a resumed run may begin before the last
        one."""
        return self._run / BEST / f"step-{self.best_step}"

    def take(self, found: Sequence[Measure], step: int) -> None:
        """Take one scoring in; one without a main measure is passed over."""
        score = selection_score(found)
        if not self._patience or score is None:
            return
        earlier = [one for one in self._scores if one[0] < step]  # a kill may have come between this and a checkpoint
        self._scores = [*earlier, (step, score)]
        if self.best_step == step:
            self._save(self.best_folder())
        if self._writes:
            write_json(self._run / SCORES, self._scores)

    @property
    def is_over(self) -> bool:
        """Whether the best scoring was not beaten for long enough."""
        steps = [one for one, _ in self._scores]
        return self.best_step is not None and len(steps) - 1 - steps.index(self.best_step) >= self._patience
