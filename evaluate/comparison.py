"""What predicted scanpaths are compared with: readings, and for floors and ceiling, other paths in their place."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gazevlm_core.datasets.identity import same_images
from gazevlm_core.datasets.scanpath_files import FiledPath, ScanpathFile, ScanpathFileError
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.metrics.alignment import chunks
from gazevlm_core.metrics.compare import CENTRE, REVERSED, SHUFFLED, UNIFORM
from gazevlm_core.metrics.paths import PathBatch, pack_paths
from gazevlm_core.metrics.registry import reverse, shuffle

TURNS = 4  # random paths, shuffles, and other images for each path
OWN, CEILING = "own", "ceiling"
MODE = "most frequent place of each step, other images"
TRAINED_MODE = "most frequent place of each step, training set"
SAME_FINDING, OTHER_IMAGE = "another image's reading, same finding", "another image's reading"
EVERY = np.True_  # all pairs

Alternative = tuple[PathBatch, np.ndarray | np.bool_]  # a path for each pair, and which pairs have one


@dataclass(frozen=True, eq=False)
class Pairs:
    """P pairs to score.

    Args:
        truth: readings.
        others: a path for each of them.
        image: int64 [P], number of the image.
        there: bool [P], which pairs count.
    """

    truth: PathBatch
    others: PathBatch
    image: np.ndarray
    there: np.ndarray | np.bool_


class Comparison:
    """All pairs of a predicted path and a reading of the same image.

    Holds arrays and names alone, so that it goes to other processes in no time.

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
        self.grid, self.seed = grid, seed
        own, shown = _called_alike(truth.readings, predicted.readings)
        names = {reading.image_id for reading in own}
        paths = [reading for reading in shown if reading.image_id in names]
        if not paths:
            raise ScanpathFileError("the two files have no image_id in common; compare their image_id values")
        self.unmatched = len(predicted.readings) - len(paths)
        images = {image_id: number for number, image_id in enumerate(dict.fromkeys(path.image_id for path in paths))}
        readings = [reading for reading in own if reading.image_id in images]
        self.image_ids, self.num_images = list(images), len(images)
        self.truth, self.truth_image = _packed(readings), _numbers(readings, images)
        self.predicted, predicted_image = _packed(paths), _numbers(paths, images)
        by_image = _groups(self.truth_image)
        pairs = [(row, other) for row, image in enumerate(predicted_image.tolist()) for other in by_image[image]]
        self.own, self.other = np.array(pairs, dtype=np.int64).T
        if not np.array_equal(self.predicted.sizes[self.own], self.truth.sizes[self.other]):
            raise ScanpathFileError("the files disagree on an image's size; give both the same width_px, height_px")
        self.pair_image = self.truth_image[self.other]
        self._readers = [reading.reader for reading in readings]
        self._findings = [reading.finding for reading in readings]
        self._steps = _packed(training.readings) if training else self.truth
        self._step_images = None if training else self.truth_image
        self._mode = TRAINED_MODE if training else MODE
        self._other = SAME_FINDING if all(self._findings) else OTHER_IMAGE

    @property
    def floors(self) -> list[str]:
        """Names of the floors."""
        return list(self._alternatives())

    @property
    def parts(self) -> list[tuple[str, int]]:
        """All that is scored: a name (OWN, a floor, CEILING) and a turn each, the arguments of `pairs`."""
        floors = [(name, turn) for name, (_, turns) in self._alternatives().items() for turn in range(turns)]
        return [(OWN, 0), *floors, (CEILING, 0)]

    def pairs(self, name: str, turn: int) -> Pairs:
        """One of the parts: the same however often and wherever it is asked for."""
        if name == CEILING:
            first, second = self._reader_pairs()
            return Pairs(self.truth[first], self.truth[second], self.truth_image[first], EVERY)
        if name == OWN:
            return Pairs(self.truth[self.other], self.predicted[self.own], self.pair_image, EVERY)
        others, there = self._alternatives()[name][0](turn)
        return Pairs(self.truth[self.other], others, self.pair_image, there)

    def _alternatives(self) -> dict[str, tuple[Callable[[int], Alternative], int]]:
        """Name of each floor -> what gives its paths for all pairs, by turn, and how many turns there are."""
        return {
            UNIFORM: (self._uniform, TURNS),
            CENTRE: (self._centre, 1),
            self._mode: (self._modes, 1),
            self._other: (self._others, TURNS),
            SHUFFLED: (lambda turn: (shuffle(self.predicted, self.seed, turn)[self.own], EVERY), TURNS),
            REVERSED: (lambda turn: (reverse(self.predicted)[self.own], EVERY), 1),
        }

    def _reader_pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows of every two readings of an image by different readers, both ways round."""
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
        """Paths given as fractions, one per pair, on the images of the pairs."""
        sizes = self.truth.sizes[self.other]
        return PathBatch(fractions * sizes[:, None, :], durations_ms, lengths, sizes)

    def _uniform(self, turn: int) -> Alternative:
        own = self.predicted[self.own]
        rng = np.random.default_rng([self.seed, 2, turn])
        return self._moved(rng.random(own.xy.shape), own.durations_ms, own.lengths), EVERY

    def _centre(self, turn: int) -> Alternative:
        own = self.predicted[self.own]
        return self._moved(np.full(own.xy.shape, 0.5), own.durations_ms, own.lengths), EVERY

    def _modes(self, turn: int) -> Alternative:
        """The most frequent patch of each step and its median duration, as long as readings usually are."""
        steps = self._steps
        length = max(1, int(np.median(steps.lengths)))
        centers = np.array([self.grid.center_of(cell) for cell in range(len(self.grid))])
        fractions = centers[self._frequent(length)][self.pair_image]  # [pairs, length, 2]
        timed = np.isfinite(steps.durations_ms[:, :length])
        durations_ms = np.array(
            [np.median(steps.durations_ms[timed[:, k], k]) if timed[:, k].any() else np.nan for k in range(length)]
        )
        pairs = len(self.own)
        return self._moved(fractions, np.tile(durations_ms, (pairs, 1)), np.full(pairs, length)), EVERY

    def _frequent(self, length: int) -> np.ndarray:
        """The most frequent patch of each step for each image, int64 [N, length]; an image does not vote for itself."""
        steps = self._steps
        cells = np.where(steps.inside, self.grid.indices_of(steps.xy / steps.sizes[:, None, :]), -1)[:, :length]
        rows, step = np.nonzero(cells >= 0)
        cell = cells[rows, step]
        votes = np.zeros((length, len(self.grid)), dtype=np.int64)
        np.add.at(votes, (step, cell), 1)
        if self._step_images is None:
            return np.broadcast_to(votes.argmax(axis=1), (self.num_images, length))
        images, best = self._step_images[rows], np.empty((self.num_images, length), dtype=np.int64)
        for part in chunks(self.num_images, votes.size):
            here = (images >= part.start) & (images < part.stop)
            left = np.repeat(votes[None], len(best[part]), axis=0)
            np.subtract.at(left, (images[here] - part.start, step[here], cell[here]), 1)
            best[part] = left.argmax(axis=2)
        return best

    def _others(self, turn: int) -> Alternative:
        """Readings of the images that follow in the file, among those with the same finding."""
        groups: dict[str, list[int]] = defaultdict(list)
        first = {image: rows[0] for image, rows in _groups(self.truth_image).items()}
        for image, row in first.items():
            groups[self._findings[row] if self._other == SAME_FINDING else ""].append(image)
        partner = np.full(self.num_images, -1)
        for group in groups.values():
            if turn < len(group) - 1:
                for place, image in enumerate(group):
                    partner[image] = first[group[(place + turn + 1) % len(group)]]
        chosen = partner[self.pair_image]
        batch = self.truth[np.maximum(chosen, 0)]
        moved = self._moved(batch.xy / batch.sizes[:, None, :], batch.durations_ms, batch.lengths)
        return moved, chosen >= 0


def _called_alike(*parts: Sequence[FiledPath]) -> list[list[FiledPath]]:
    """Readings with one name for each image, the first that is met, whether a file gives its ending or not."""
    try:
        names = same_images(reading.image_id for part in parts for reading in part)
    except ValueError as error:
        raise ScanpathFileError(str(error)) from None
    first: dict[str, str] = {}
    for given, name in names.items():
        first.setdefault(name, given)
    return [[replace(one, image_id=first[names[one.image_id]]) for one in part] for part in parts]


def _packed(readings: Sequence[FiledPath]) -> PathBatch:
    return pack_paths([reading.scanpath for reading in readings], [reading.size for reading in readings])


def _numbers(readings: Sequence[FiledPath], images: dict[str, int]) -> np.ndarray:
    return np.array([images[reading.image_id] for reading in readings], dtype=np.int64)


def _groups(images: np.ndarray) -> dict[int, list[int]]:
    groups: dict[int, list[int]] = defaultdict(list)
    for row, image in enumerate(images.tolist()):
        groups[image].append(row)
    return groups
