"""Scores of one file of scanpaths against another, each beside its floors, its order gain and the readers' ceiling."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gazevlm_core.datasets.scanpath_files import FiledPath, ScanpathFile, ScanpathFileError
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.intervals import RESAMPLES, Estimate, mean_estimate, patient_counts
from gazevlm_core.metrics.paths import PathBatch, pack_paths
from gazevlm_core.metrics.registry import PathMetric, path_metrics, reverse, shuffle

TURNS = 4  # random paths, shuffles, and other images for each path
MOST_COUNTS = 20_000_000  # numbers in the table of resamples; bounds memory
UNIFORM, CENTRE, MODE = "uniform random", "everything at the centre", "most frequent place of each step, other images"
TRAINED_MODE = "most frequent place of each step, training set"
SAME_FINDING, OTHER_IMAGE = "another image's reading, same finding", "another image's reading"
EVERY = np.True_  # all pairs
SHUFFLED, REVERSED = "own path shuffled", "own path reversed"

Alternative = tuple[PathBatch, np.ndarray | np.bool_]  # a path for each pair, and which pairs have one


class Comparison:
    """All pairs of a predicted path and a reading of the same image.

    Args:
        truth: readings.
        predicted: paths of the same images; images without a reading are left out and counted.
        training: readings for the floor of the most frequent places; None takes those of the other images in `truth`.
        grid: of the scores on patches.
        seed: of the random floors.

    Raises:
        ScanpathFileError: no image in common, or sizes that disagree.
    """

    def __init__(
        self,
        truth: ScanpathFile,
        predicted: ScanpathFile,
        training: ScanpathFile | None,
        grid: PatchGrid,
        seed: int,
    ) -> None:
        self.grid, self.seed, self.has_training = grid, seed, training is not None
        names = {reading.image_id for reading in truth.readings}
        paths = [reading for reading in predicted.readings if reading.image_id in names]
        if not paths:
            raise ScanpathFileError("the two files have no image_id in common; compare their image_id values")
        self.unmatched = len(predicted.readings) - len(paths)
        images = {image_id: number for number, image_id in enumerate(dict.fromkeys(path.image_id for path in paths))}
        self.readings = [reading for reading in truth.readings if reading.image_id in images]
        self.image_ids = list(images)
        self.num_images = len(images)
        self.truth, self.truth_image = _packed(self.readings), _numbers(self.readings, images)
        self.predicted, predicted_image = _packed(paths), _numbers(paths, images)
        by_image = _groups(self.truth_image)
        pairs = [(row, other) for row, image in enumerate(predicted_image.tolist()) for other in by_image[image]]
        self.own, self.other = np.array(pairs, dtype=np.int64).T
        if not np.array_equal(self.predicted.sizes[self.own], self.truth.sizes[self.other]):
            raise ScanpathFileError("the files disagree on an image's size; give both the same width_px, height_px")
        self.pair_image = self.truth_image[self.other]
        source = training.readings if training else self.readings
        self._steps, self._step_images = _packed(source), None if training else self.truth_image

    def floors(self) -> dict[str, Callable[[], Iterator[Alternative]]]:
        """Name of each floor -> its alternatives to the predicted path of every pair."""
        known = all(reading.finding for reading in self.readings)
        return {
            UNIFORM: self._uniform,
            CENTRE: self._centre,
            TRAINED_MODE if self.has_training else MODE: self._modes,
            SAME_FINDING if known else OTHER_IMAGE: self._others,
            SHUFFLED: lambda: ((shuffle(self.predicted, self.seed, turn)[self.own], EVERY) for turn in range(TURNS)),
            REVERSED: lambda: iter([(reverse(self.predicted)[self.own], EVERY)]),
        }

    def per_image(self, metric: PathMetric, alternatives: Iterator[Alternative]) -> np.ndarray:
        """Mean score of all pairs and alternatives of each image, float64 [N]; NaN where none is defined."""
        sums, numbers = np.zeros(self.num_images), np.zeros(self.num_images)
        truth = self.truth[self.other]
        for batch, there in alternatives:
            scores = metric.scores(truth, batch)
            known = ~np.isnan(scores) & there
            sums += np.bincount(self.pair_image[known], scores[known], self.num_images)
            numbers += np.bincount(self.pair_image[known], minlength=self.num_images)
        return np.divide(sums, numbers, out=np.full(self.num_images, np.nan), where=numbers > 0)

    def ceiling(self, metric: PathMetric) -> np.ndarray:
        """Mean score of each reading against those of other readers of the image, float64 [N]; NaN with one reader."""
        readers = [reading.reader for reading in self.readings]
        pairs = [
            (a, b)
            for group in _groups(self.truth_image).values()
            for a in group
            for b in group
            if a != b and (readers[a] != readers[b] or not readers[a])
        ]
        if not pairs:
            return np.full(self.num_images, np.nan)
        first, second = np.array(pairs, dtype=np.int64).T
        scores, images = metric.scores(self.truth[first], self.truth[second]), self.truth_image[first]
        known = ~np.isnan(scores)
        numbers = np.bincount(images[known], minlength=self.num_images)
        sums = np.bincount(images[known], scores[known], self.num_images)
        return np.divide(sums, numbers, out=np.full(self.num_images, np.nan), where=numbers > 0)

    def _moved(self, fractions: np.ndarray, durations_ms: np.ndarray, lengths: np.ndarray) -> PathBatch:
        """Paths given as fractions, one per pair, on the images of the pairs."""
        sizes = self.truth.sizes[self.other]
        return PathBatch(fractions * sizes[:, None, :], durations_ms, lengths, sizes)

    def _uniform(self) -> Iterator[Alternative]:
        own = self.predicted[self.own]
        for turn in range(TURNS):
            rng = np.random.default_rng([self.seed, 2, turn])
            yield self._moved(rng.random(own.xy.shape), own.durations_ms, own.lengths), EVERY

    def _centre(self) -> Iterator[Alternative]:
        own = self.predicted[self.own]
        yield self._moved(np.full(own.xy.shape, 0.5), own.durations_ms, own.lengths), EVERY

    def _modes(self) -> Iterator[Alternative]:
        """The most frequent patch of each step and its median duration, as long as readings usually are."""
        steps = self._steps
        cells = np.where(steps.inside, self.grid.indices_of(steps.xy / steps.sizes[:, None, :]), -1)
        length = max(1, int(np.median(steps.lengths)))
        votes = np.zeros((length, len(self.grid)), dtype=np.int64)
        table = cells[:, :length]
        rows, step = np.nonzero(table >= 0)
        np.add.at(votes, (step, table[rows, step]), 1)
        lefts = np.broadcast_to(votes, (self.num_images, *votes.shape))
        if self._step_images is not None:  # an image does not vote for itself
            lefts = lefts.copy()
            np.subtract.at(lefts, (self._step_images[rows], step, table[rows, step]), 1)
        centers = np.array([self.grid.center_of(cell) for cell in range(len(self.grid))])
        fractions = centers[lefts.argmax(axis=2)][self.pair_image]  # [pairs, length, 2]
        timed = np.isfinite(steps.durations_ms[:, :length])
        durations_ms = np.array(
            [np.median(steps.durations_ms[timed[:, k], k]) if timed[:, k].any() else np.nan for k in range(length)]
        )
        pairs = len(self.own)
        yield self._moved(fractions, np.tile(durations_ms, (pairs, 1)), np.full(pairs, length)), EVERY

    def _others(self) -> Iterator[Alternative]:
        """Readings of the images that follow in the file, among those with the same finding."""
        groups: dict[str, list[int]] = defaultdict(list)
        known = all(reading.finding for reading in self.readings)
        first = {image: rows[0] for image, rows in _groups(self.truth_image).items()}
        for image, row in first.items():
            groups[self.readings[row].finding if known else ""].append(image)
        partner = np.full((TURNS, self.num_images), -1)
        for group in groups.values():
            for place, image in enumerate(group):
                for turn in range(min(TURNS, len(group) - 1)):
                    partner[turn, image] = first[group[(place + turn + 1) % len(group)]]
        for turn in range(TURNS):
            chosen = partner[turn, self.pair_image]
            batch = self.truth[np.maximum(chosen, 0)]
            moved = self._moved(batch.xy / batch.sizes[:, None, :], batch.durations_ms, batch.lengths)
            yield moved, chosen >= 0


def score_files(
    truth: ScanpathFile,
    predicted: ScanpathFile,
    *,
    training: ScanpathFile | None = None,
    grid: PatchGrid,
    seed: int = 0,
    patients: Mapping[str, str] | None = None,
    jobs: int = 1,
) -> dict[str, Any]:
    """Every metric with its interval, floors, order gain and ceiling, as JSON values; errors as in `Comparison`.

    Args:
        truth, predicted, training, grid, seed: as in `Comparison`.
        patients: image -> patient, who are drawn again for the intervals; None draws images.
        jobs: processes that score, each a metric of its own; the results do not depend on it.
    """
    compared = Comparison(truth, predicted, training, grid, seed)
    resamples = max(200, min(RESAMPLES, MOST_COUNTS // compared.num_images))
    owners = [(patients or {}).get(image_id, image_id) for image_id in compared.image_ids]
    counts = patient_counts(np.array(owners), resamples, seed)
    names = list(path_metrics(grid))
    if jobs == 1:
        metrics = {name: _metric_values(compared, name, counts) for name in names}
    else:
        from joblib import Parallel, delayed  # comes with scikit-learn

        scored = Parallel(n_jobs=jobs)(delayed(_metric_values)(compared, name, counts) for name in names)
        metrics = dict(zip(names, scored, strict=True))
    return {
        "images": compared.num_images,
        "pairs": len(compared.own),
        "grid": [grid.rows, grid.cols],
        "resamples": resamples,
        "dropped": {
            "off_image_fixations": truth.off_image + predicted.off_image,
            "empty_paths": truth.empty + predicted.empty,
            "predicted_paths_without_truth": compared.unmatched,
        },
        "metrics": metrics,
    }


def _metric_values(compared: Comparison, name: str, counts: np.ndarray) -> dict[str, Any]:
    """One metric with its interval, floors, order gain and ceiling."""
    metric = path_metrics(compared.grid)[name]
    own = compared.per_image(metric, iter([(compared.predicted[compared.own], EVERY)]))
    floors = {floor: compared.per_image(metric, paths()) for floor, paths in compared.floors().items()}
    gain = own - floors[SHUFFLED] if metric.higher_is_better else floors[SHUFFLED] - own
    return {
        "order": metric.order,
        "better": "higher" if metric.higher_is_better else "lower",
        **_json(mean_estimate(own, counts)),
        "order_gain": _json(mean_estimate(gain, counts)),
        "ceiling_other_reader": _json(mean_estimate(compared.ceiling(metric), counts)),
        "floors": {floor: _json(mean_estimate(scores, counts)) for floor, scores in floors.items()},
    }


def _packed(readings: Sequence[FiledPath]) -> PathBatch:
    return pack_paths([reading.scanpath for reading in readings], [reading.size for reading in readings])


def _numbers(readings: Sequence[FiledPath], images: dict[str, int]) -> np.ndarray:
    return np.array([images[reading.image_id] for reading in readings], dtype=np.int64)


def _groups(images: np.ndarray) -> dict[int, list[int]]:
    groups: dict[int, list[int]] = defaultdict(list)
    for row, image in enumerate(images.tolist()):
        groups[image].append(row)
    return groups


def _json(estimate: Estimate) -> dict[str, Any]:
    if np.isnan(estimate.value):
        return {"value": None, "interval": None}
    return {"value": round(estimate.value, 6), "interval": [round(estimate.low, 6), round(estimate.high, 6)]}
