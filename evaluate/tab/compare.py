"""A model's path and a reader's on one image: where they come from, and every metric beside its floors."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from gazevlm_core.datasets.phantom import TRAINING_SEEDS, draw_case
from gazevlm_core.datasets.scanpath_files import read_scanpaths
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.images import ImageError, is_colored, load_image
from gazevlm_core.metrics.paths import UNIT_SQUARE, Size, pack_paths
from gazevlm_core.metrics.registry import DEFAULT_GRID, SHUFFLES, PathMetric, path_metrics, reverse, shuffle
from gazevlm_core.phantom.readers import READERS
from gazevlm_core.scanpath import Fixation, Scanpath

FIRST_SEED = TRAINING_SEEDS.stop  # no model was trained on these
LAST_NUMBER = 999_999
SIDE_PX = 512
RANDOM_PATHS = 8
MOST_READERS, MOST_FIXATIONS = 12, 200
MOST_PATH_MS = 120_000.0  # scores with durations take memory by the square of it
MOST_PATHS_BYTES = 2_000_000
SAME_SHAPE = 0.01  # relative difference of aspect ratios, from rounding when an image is resized
FLOORS = ("shuffled", "reversed", "uniform random", "centre")


@dataclass(frozen=True, eq=False)
class Looked:
    """An image and who looked at it.

    Args:
        caption: what the image is.
        image: upright RGB.
        readers: name -> scanpath, at least one.
    """

    caption: str
    image: Image.Image
    readers: dict[str, Scanpath]


@dataclass(frozen=True)
class MetricRow:
    """A metric of the model's path against one reader's, on one image; NaN where it is not defined.

    Args:
        name: of the metric.
        order: what it sees of the order: "sensitive", "weak" or "blind".
        better: "higher" or "lower".
        score: of the path as it is.
        order_gain: what its order is worth over shuffling, positive where it helps.
        floors: in the order of FLOORS.
        others: mean of the other readers against this one; NaN where there is none.
    """

    name: str
    order: str
    better: str
    score: float
    order_gain: float
    floors: tuple[float, ...]
    others: float


def drawn_image(number: object, domain: str) -> Looked:
    """A drawn phantom with its simulated readers.

    Raises:
        ValueError: a number or domain that does not exist.
    """
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not float(number).is_integer():
        raise ValueError(f"Give the phantom's number, from 0 to {LAST_NUMBER}.")
    if not 0 <= number <= LAST_NUMBER or domain not in ("A", "B"):
        raise ValueError(f"Phantoms have numbers from 0 to {LAST_NUMBER} and the domain A or B.")
    case = draw_case(FIRST_SEED + int(number), domain, sizes_px=(SIDE_PX,))
    names = sorted(case.finding_names)
    readers = {f"{who.name} (simulated)": paths[0] for who, paths in zip(READERS, case.readings, strict=True)}
    caption = f"Phantom {int(number)} of domain {domain}: {', '.join(names) or 'no finding'}"
    return Looked(caption, Image.fromarray(case.image).convert("RGB"), readers)


def uploaded_image(image: str | None, paths: str | None) -> Looked:
    """An uploaded image with an uploaded file of scanpaths, all of which are taken to lie on it.

    Raises:
        ValueError: a missing file, one that cannot be read, several images in the file, or too much of anything.
    """
    if image is None or paths is None:
        raise ValueError("Give both: an image, and a file of scanpaths on it (JSON lines with image_id, x, y).")
    if Path(paths).stat().st_size > MOST_PATHS_BYTES:
        raise ImageError(f"The file of scanpaths is larger than {MOST_PATHS_BYTES // 1_000_000} MB.")
    picture = load_image(image).image
    if is_colored(picture):
        raise ImageError("This is a colour picture, not a radiograph; upload a grey chest radiograph.")
    found = read_scanpaths(Path(paths))
    names = sorted({reading.image_id for reading in found.readings})
    if len(names) > 1:
        raise ValueError(f"The file holds scanpaths on {len(names)} images; give the lines of this image alone.")
    readers: dict[str, Scanpath] = {}
    for number, reading in enumerate(found.readings[:MOST_READERS], start=1):
        if len(reading.scanpath) > MOST_FIXATIONS:
            raise ValueError(f"A scanpath has more than the {MOST_FIXATIONS} fixations that can be shown; shorten it.")
        if sum(fixation.duration_ms or 0.0 for fixation in reading.scanpath) > MOST_PATH_MS:
            raise ValueError(f"A scanpath lasts more than {MOST_PATH_MS / 1000:.0f} s; duration_ms is in milliseconds.")
        _check_shape(reading.size, picture.size)
        name = reading.reader[:60] or f"reading {number}"
        readers[name if name not in readers else f"{name}, reading {number}"] = reading.scanpath
    caption = f"Uploaded image, {len(readers)} readings"
    if len(found.readings) > MOST_READERS:
        caption += f", the first of {len(found.readings)}"
    if found.off_image:
        caption += f"; {found.off_image} fixations beside the image were left out"
    return Looked(caption, picture, readers)


def _check_shape(told: Size, size: tuple[int, int]) -> None:
    """Whether an image of the size that a file tells can be the uploaded one, perhaps resized."""
    if told != UNIT_SQUARE and abs(told[0] * size[1] / (told[1] * size[0]) - 1) > SAME_SHAPE:
        (width, height), (own_width, own_height) = told, size
        raise ValueError(
            f"The scanpaths are of an image of {width:g} x {height:g} px, which cannot be this one of "
            f"{own_width} x {own_height} px."
        )


def score_pair(
    model: Scanpath, readers: Sequence[Scanpath], chosen: int, size: tuple[int, int], grid: PatchGrid = DEFAULT_GRID
) -> list[MetricRow]:
    """Every metric of the model's path against the chosen reader's.

    Args:
        model: the model's path.
        readers: all who looked at the image.
        chosen: index of the one to compare with.
        size: width and height of the image in px.
        grid: of the scores on patches.
    """
    others = [path for index, path in enumerate(readers) if index != chosen]
    own = pack_paths([model], size)
    alternatives = [
        own,
        *(shuffle(own, 0, turn) for turn in range(SHUFFLES)),
        reverse(own),
        *(pack_paths([path], size) for path in _random_paths(model)),
        pack_paths([Scanpath(tuple(Fixation(0.5, 0.5, f.duration_ms) for f in model), model.source)], size),
        *(pack_paths([path], size) for path in others),
    ]
    ends = np.cumsum([1, SHUFFLES, 1, RANDOM_PATHS, 1])
    truth = pack_paths([readers[chosen]], size)
    return [
        _row(metric, np.concatenate([metric.scores(truth, path) for path in alternatives]), ends)
        for metric in path_metrics(grid).values()
    ]


def _row(metric: PathMetric, scores: np.ndarray, ends: np.ndarray) -> MetricRow:
    """A row from the scores of the path itself and of every alternative, which end at `ends`."""
    own, *floors, others = (part.mean() if len(part) else float("nan") for part in np.split(scores, ends))
    gain, better = (own - floors[0], "higher") if metric.higher_is_better else (floors[0] - own, "lower")
    return MetricRow(
        metric.name, metric.order, better, float(own), float(gain), tuple(map(float, floors)), float(others)
    )


def _random_paths(model: Scanpath) -> list[Scanpath]:
    rng = np.random.default_rng(0)
    return [
        Scanpath(tuple(Fixation(float(x), float(y), f.duration_ms) for (x, y), f in zip(places, model, strict=True)),
                 model.source)
        for places in rng.random((RANDOM_PATHS, len(model), 2))
    ]  # fmt: skip
