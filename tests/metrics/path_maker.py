"""Random scanpaths for the tests of the metrics."""

import numpy as np

from gazevlm_core.metrics.paths import PathBatch, pack_paths
from gazevlm_core.scanpath import Fixation, Scanpath


def random_paths(number: int, seed: int, *, least: int = 1, most: int = 14, cells: int | None = None) -> list[Scanpath]:
    """Paths of `least` to `most` fixations with durations; `cells` puts them on the centres of a grid of that side."""
    rng = np.random.default_rng(seed)
    paths = []
    for length in rng.integers(least, most + 1, number):
        xy = rng.random((length, 2))
        if cells:
            xy = (np.floor(xy * cells) + 0.5) / cells
        durations = rng.uniform(100, 600, length)
        fixations = [Fixation(float(x), float(y), float(ms)) for (x, y), ms in zip(xy, durations, strict=True)]
        paths.append(Scanpath(tuple(fixations), "simulated"))
    return paths


def batch_of(*points: tuple[float, float], size: tuple[float, float] = (1.0, 1.0)) -> PathBatch:
    """One path without durations."""
    return pack_paths([Scanpath(tuple(Fixation(x, y) for x, y in points), "simulated")], size)
