"""Predicted scanpaths against readings by every metric of the registry, beside floors, order gain and ceiling.

`compare_paths` takes the paths of one image, `score_files` those of many; both ask the floors of
`evaluation.floors` for paths in the place of the predicted ones.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gazevlm_core.datasets.identity import same_images
from gazevlm_core.datasets.scanpath_files import FiledPath, ScanpathFile
from gazevlm_core.evaluation.floors import CENTRE, PAIR_FLOORS, REVERSED, SHUFFLED, UNIFORM, PairFloor, Pairs
from gazevlm_core.evaluation.report import Metric, PathReport, Score
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.alignment import chunks
from gazevlm_core.metrics.intervals import RESAMPLES, mean_estimate, patient_counts
from gazevlm_core.metrics.paths import PathBatch, Size, pack_paths
from gazevlm_core.metrics.registry import DEFAULT_GRID, Order, PathMetric, all_scores, path_metrics
from gazevlm_core.sample import DatasetError
from gazevlm_core.scanpath import Scanpath

FLOOR_REPEATS = 4  # random paths, shuffles, and other images for each path
FLOOR_REPEATS_OF_ONE = 32  # one image has no others to average over
MOST_COUNTS = 20_000_000  # numbers in the table of resamples; bounds memory
OWN, CEILING = "own", "ceiling"
MODE = "most frequent place of each step, other images"
TRAINED_MODE = "most frequent place of each step, training set"
SAME_FINDING, OTHER_IMAGE = "another image's reading, same finding", "another image's reading"


# ---- one image ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class ComparedScore:
    """One score of a path against readings of its image; NaN where it is not defined.

    Args:
        name: of the score.
        order: what it sees of the order of fixations.
        higher_is_better: False for distances.
        value: mean over the readings.
        order_gain: `value` less the mean of the path shuffled, with the sign turned for distances.
        floors: name -> mean score of paths that know less, in the order of PAIR_FLOORS.
        ceiling: mean score of other readers' paths of the image.
    """

    name: str
    order: Order
    higher_is_better: bool
    value: float
    order_gain: float
    floors: dict[str, float]
    ceiling: float


def compare_paths(
    model: Scanpath,
    readings: Sequence[Scanpath],
    others: Sequence[Scanpath],
    size: Size,
    grid: PatchGrid = DEFAULT_GRID,
    *,
    names: Collection[str] | None = None,
    seed: int = 0,
) -> list[ComparedScore]:
    """Return the scores of a path against readings of the same image.

    Args:
        model: the path that is scored.
        readings: at least one that it is scored against.
        others: paths of other readers of the image, for the ceiling.
        size: width and height of the image in px.
        names: of the scores; None for all.
    """
    pairs = Pairs(pack_paths(readings, size), pack_paths([model], size), np.zeros(len(readings), np.int64), seed)
    metrics = [metric for metric in path_metrics(grid).values() if names is None or metric.name in names]
    own = _means(metrics, pairs.truth, [pairs.own])
    floors = {name: _means(metrics, pairs.truth, floor_paths(floor, pairs, FLOOR_REPEATS_OF_ONE))
              for name, floor in PAIR_FLOORS.items()}  # fmt: skip
    ceiling = _means(metrics, pairs.truth, [pack_paths([other] * len(readings), size) for other in others])
    return [
        ComparedScore(
            metric.name, metric.order, metric.higher_is_better, own[row],
            metric.gain(own[row], floors[SHUFFLED][row]),
            {name: means[row] for name, means in floors.items()}, ceiling[row],
        )
        for row, metric in enumerate(metrics)
    ]  # fmt: skip


def floor_paths(floor: PairFloor, pairs: Pairs, repeats: int) -> list[PathBatch]:
    """Return what a floor predicts for pairs: once, or `repeats` times where it is random."""
    return [floor.predict(pairs, repeat) for repeat in range(repeats if floor.random else 1)]


def _means(metrics: Sequence[PathMetric], truth: PathBatch, batches: Sequence[PathBatch]) -> list[float]:
    """Return the mean of each metric over the pairs of all batches, of what is defined; NaN where nothing is."""
    if not batches:
        return [float("nan")] * len(metrics)
    scores = all_scores(metrics, joined([truth] * len(batches)), joined(batches))
    return [float(known.mean()) if len(known := one[~np.isnan(one)]) else float("nan") for one in scores.values()]


def joined(batches: Sequence[PathBatch]) -> PathBatch:
    """Return batches as one, padded alike: a score takes its steps per fixation, not per pair."""
    longest = max(batch.xy.shape[1] for batch in batches)

    def padded(table: np.ndarray, fill: float) -> np.ndarray:
        more = [(0, 0), (0, longest - table.shape[1]), *[(0, 0)] * (table.ndim - 2)]
        return np.pad(table, more, constant_values=fill)

    return PathBatch(
        np.concatenate([padded(batch.xy, 0.0) for batch in batches]),
        np.concatenate([padded(batch.durations_ms, np.nan) for batch in batches]),
        np.concatenate([batch.lengths for batch in batches]),
        np.concatenate([batch.sizes for batch in batches]),
    )


# ---- many images ----------------------------------------------------------------------------------------------------
def score_files(
    truth: ScanpathFile,
    predicted: ScanpathFile,
    *,
    training: ScanpathFile | None = None,
    grid: PatchGrid = DEFAULT_GRID,
    seed: int = 0,
    patients: Mapping[str, str] | None = None,
    jobs: int = 1,
) -> PathReport:
    """Return every metric with its interval, floors, order gain and ceiling; errors as in `Comparison`.

    Args:
        truth, predicted, training, grid, seed: as in `Comparison`.
        patients: image -> patient, who are drawn again for the intervals; None draws images.
        jobs: processes that score; the results do not depend on it.
    """
    compared = Comparison(truth.readings, predicted.readings, training.readings if training else None, grid, seed)
    resamples = max(200, min(RESAMPLES, MOST_COUNTS // compared.num_images))
    owners = [(patients or {}).get(image_id, image_id) for image_id in compared.image_ids]
    counts = patient_counts(np.array(owners), resamples, seed)
    means = image_means(compared, jobs)

    def mean(scores: np.ndarray) -> Score:
        return Score.of(mean_estimate(scores, counts))

    metrics = {}
    for name, metric in path_metrics(grid).items():
        own, floors = means[OWN][name], {floor: means[floor][name] for floor in compared.floors}
        metrics[name] = Metric.of(
            mean_estimate(own, counts),
            order=metric.order,
            better=metric.better,
            order_gain=mean(metric.gain(own, floors[SHUFFLED])),
            ceiling_other_reader=mean(means[CEILING][name]),
            floors={floor: mean(scores) for floor, scores in floors.items()},
        )
    return PathReport(
        images=compared.num_images,
        pairs=len(compared.pairs.rows),
        grid=[grid.rows, grid.cols],
        resamples=resamples,
        dropped={
            "off_image_fixations": truth.off_image + predicted.off_image,
            "empty_paths": truth.empty + predicted.empty,
            "predicted_paths_without_truth": compared.unmatched,
            "readings_without_predicted_path": compared.unanswered,
        },
        metrics=metrics,
    )


class Comparison:
    """All pairs of a predicted path and a reading of the same image, and of other paths in its place.

    Holds arrays and names alone, so that it goes to other processes in no time.

    Args:
        truth: readings.
        predicted: paths of the same images; images without a reading, and readings of images without a path, are
            left out and counted.
        training: readings for the floor of the most frequent places; None takes those of the other images in `truth`.
        grid: of the scores on patches.
        seed: of the random floors.

    Raises:
        DatasetError: no image in common, or sizes that disagree.
    """

    def __init__(
        self,
        truth: Sequence[FiledPath],
        predicted: Sequence[FiledPath],
        training: Sequence[FiledPath] | None,
        grid: PatchGrid,
        seed: int,
    ) -> None:
        self.grid = grid
        own, shown = _called_alike(truth, predicted)
        names = {reading.image_id for reading in own}
        paths = [reading for reading in shown if reading.image_id in names]
        if not paths:
            raise DatasetError("the two files have no image_id in common; compare their image_id values")
        self.unmatched = len(predicted) - len(paths)
        images = {image_id: number for number, image_id in enumerate(dict.fromkeys(path.image_id for path in paths))}
        readings = [reading for reading in own if reading.image_id in images]
        self.image_ids, self.num_images = list(images), len(images)
        self.unanswered = len(own) - len(readings)
        self.truth, batch = _packed(readings), _packed(paths)
        self.truth_image = np.array([images[reading.image_id] for reading in readings], dtype=np.int64)
        by_image = _groups(self.truth_image)
        pairs = [(row, other) for row, path in enumerate(paths) for other in by_image[images[path.image_id]]]
        rows, other = np.array(pairs, dtype=np.int64).T
        if not np.array_equal(batch.sizes[rows], self.truth.sizes[other]):
            raise DatasetError("the files disagree on an image's size; give both the same width_px, height_px")
        self.pairs = Pairs(self.truth[other], batch, rows, seed)
        self.pair_image = self.truth_image[other]
        self._readers = [reading.reader for reading in readings]
        self._findings = [reading.finding for reading in readings]
        self._steps = _packed(training) if training else self.truth
        self._step_images = None if training else self.truth_image
        self._mode = TRAINED_MODE if training else MODE
        self._other = SAME_FINDING if all(self._findings) else OTHER_IMAGE

    @property
    def floors(self) -> list[str]:
        """Names of the floors."""
        return [UNIFORM, CENTRE, self._mode, self._other, SHUFFLED, REVERSED,
                *(name for name in PAIR_FLOORS if name not in (UNIFORM, CENTRE, SHUFFLED, REVERSED))]  # fmt: skip

    @property
    def parts(self) -> list[tuple[str, int]]:
        """All that is scored: a name (OWN, a floor, CEILING) and a repeat each, the arguments of `part`."""
        random = {self._other, *(name for name, floor in PAIR_FLOORS.items() if floor.random)}
        floors = [(name, repeat) for name in self.floors for repeat in range(FLOOR_REPEATS if name in random else 1)]
        return [(OWN, 0), *floors, (CEILING, 0)]

    def part(self, name: str, repeat: int) -> tuple[PathBatch, PathBatch, np.ndarray, np.ndarray]:
        """Return a part, the same however often it is asked for: readings, paths, numbers of images, which pairs count.
        """
        truth, every = self.pairs.truth, np.ones(len(self.pair_image), dtype=bool)
        if name == CEILING:
            first, second = self._reader_pairs()
            return self.truth[first], self.truth[second], self.truth_image[first], np.ones(len(first), dtype=bool)
        if name == OWN:
            return truth, self.pairs.own, self.pair_image, every
        if name == self._mode:
            modes, there = self._modes()
            return truth, modes, self.pair_image, there
        if name == self._other:
            others, there = self._others(repeat)
            return truth, others, self.pair_image, there
        return truth, PAIR_FLOORS[name].predict(self.pairs, repeat), self.pair_image, every

    def _reader_pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Return rows of every two readings of an image by different readers, both ways round."""
        readers = self._readers
        pairs = [
            (a, b)
            for group in _groups(self.truth_image).values()
            for a in group
            for b in group
            if a != b and (readers[a] != readers[b] or not readers[a])
        ]
        first, second = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        return first, second

    def _moved(self, fractions: np.ndarray, durations_ms: np.ndarray, lengths: np.ndarray) -> PathBatch:
        """Return paths given as fractions, one per pair, on the images of the pairs."""
        sizes = self.pairs.truth.sizes
        return PathBatch(fractions * sizes[:, None, :], durations_ms, lengths, sizes)

    def _modes(self) -> tuple[PathBatch, np.ndarray]:
        """Return the most frequent patch of each step with its median duration, as long as readings usually are, and
        which pairs have one: it ends where other images have no further step, and there may be no other image."""
        steps = self._steps
        length = max(1, int(np.median(steps.lengths)))
        patches, lengths = self._frequent(length)
        fractions, lengths = self.grid.centers()[patches][self.pair_image], lengths[self.pair_image]
        timed = np.isfinite(steps.durations_ms[:, :length])
        durations_ms = np.array(
            [np.median(steps.durations_ms[timed[:, k], k]) if timed[:, k].any() else np.nan for k in range(length)]
        )
        table = np.tile(durations_ms, (len(self.pair_image), 1))
        return self._moved(fractions, table, np.maximum(lengths, 1)), lengths > 0

    def _frequent(self, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the most frequent patch of each step for each image, int64 [N, length], and how many steps have one,
        int64 [N]; none votes for itself."""
        steps = self._steps
        cells = np.where(steps.inside, self.grid.indices_of(steps.xy / steps.sizes[:, None, :]), -1)[:, :length]
        rows, step = np.nonzero(cells >= 0)
        cell = cells[rows, step]
        votes = np.zeros((length, len(self.grid)), dtype=np.int64)
        np.add.at(votes, (step, cell), 1)
        if self._step_images is None:
            return np.broadcast_to(votes.argmax(axis=1), (self.num_images, length)), np.full(self.num_images, length)
        images, best = self._step_images[rows], np.empty((self.num_images, length), dtype=np.int64)
        lengths = np.empty(self.num_images, dtype=np.int64)
        for part in chunks(self.num_images, votes.size):
            here = (images >= part.start) & (images < part.stop)
            left = np.repeat(votes[None], len(best[part]), axis=0)
            np.subtract.at(left, (images[here] - part.start, step[here], cell[here]), 1)
            best[part] = left.argmax(axis=2)
            lengths[part] = np.logical_and.accumulate(left.any(axis=2), axis=1).sum(axis=1)
        return best, lengths

    def _others(self, repeat: int) -> tuple[PathBatch, np.ndarray]:
        """Return readings of the images that follow, among those with the same finding, and which pairs have one."""
        groups: dict[str, list[int]] = defaultdict(list)
        first = {image: rows[0] for image, rows in _groups(self.truth_image).items()}
        for image, row in first.items():
            groups[self._findings[row] if self._other == SAME_FINDING else ""].append(image)
        partner = np.full(self.num_images, -1)
        for group in groups.values():
            if repeat < len(group) - 1:
                for place, image in enumerate(group):
                    partner[image] = first[group[(place + repeat + 1) % len(group)]]
        chosen = partner[self.pair_image]
        batch = self.truth[np.maximum(chosen, 0)]
        return self._moved(batch.xy / batch.sizes[:, None, :], batch.durations_ms, batch.lengths), chosen >= 0


def image_means(compared: Comparison, jobs: int = 1) -> dict[str, dict[str, np.ndarray]]:
    """Return the mean scores of every image, over its pairs and repeats.

    Args:
        compared: what is scored.
        jobs: processes; each takes the next part, and the sums are added in the order of the parts.

    Returns:
        Name (OWN, a floor, CEILING) -> metric -> float64 [N]; NaN where nothing is defined.
    """
    names = list(path_metrics(compared.grid))
    totals = {name: np.zeros((2, len(names), compared.num_images)) for name in (OWN, *compared.floors, CEILING)}
    for (name, _), sums in zip(compared.parts, _all_sums(compared, jobs), strict=True):
        totals[name] += sums
    means: dict[str, dict[str, np.ndarray]] = {}
    for name, (sums, numbers) in totals.items():
        table = np.divide(sums, numbers, out=np.full(sums.shape, np.nan), where=numbers > 0)
        means[name] = dict(zip(names, table, strict=True))
    return means


def _all_sums(compared: Comparison, jobs: int) -> Iterable[np.ndarray]:
    if jobs == 1:
        return (_sums(compared, part) for part in compared.parts)
    from joblib import Parallel, delayed  # comes with scikit-learn

    found: Iterator[np.ndarray] = Parallel(n_jobs=jobs, return_as="generator")(
        delayed(_sums)(compared, part) for part in compared.parts
    )
    return found


def _sums(compared: Comparison, part: tuple[str, int]) -> np.ndarray:
    """Return sums of defined scores, and how many there are, of each metric and image: float64 [2, M, N]."""
    truth, paths, images, there = compared.part(*part)
    scores = all_scores(path_metrics(compared.grid).values(), truth, paths)
    table = np.zeros((2, len(scores), compared.num_images))
    for row, values in enumerate(scores.values()):
        known = ~np.isnan(values) & there
        table[0, row] = np.bincount(images[known], values[known], compared.num_images)
        table[1, row] = np.bincount(images[known], minlength=compared.num_images)
    return table


def _called_alike(*parts: Sequence[FiledPath]) -> list[list[FiledPath]]:
    """Return readings with one name for each image, the first that is met, whether a file gives its ending or not."""
    try:
        names = same_images(reading.image_id for part in parts for reading in part)
    except ValueError as error:
        raise DatasetError(str(error)) from None
    first: dict[str, str] = {}
    for given, name in names.items():
        first.setdefault(name, given)
    return [[replace(one, image_id=first[names[one.image_id]]) for one in part] for part in parts]


def _packed(readings: Sequence[FiledPath]) -> PathBatch:
    return pack_paths([reading.scanpath for reading in readings], [reading.size for reading in readings])


def _groups(images: np.ndarray) -> dict[int, list[int]]:
    groups: dict[int, list[int]] = defaultdict(list)
    for row, image in enumerate(images.tolist()):
        groups[image].append(row)
    return groups
