"""How fast files of scanpaths are scored, and how the time grows with their number and length.

    python -m benchmarks.score_speed --paths 100000
"""

import os
import time
from importlib.util import find_spec
from typing import Annotated

import numpy as np
import typer

from benchmarks.measure import Figure
from gazevlm_core.datasets.scanpath_files import FiledPath, ScanpathFile
from gazevlm_core.evaluation.comparison import score_files
from gazevlm_core.metrics.multimatch import multimatch
from gazevlm_core.metrics.paths import pack_paths
from gazevlm_core.metrics.registry import DEFAULT_GRID
from gazevlm_core.scanpath import Fixation, Scanpath

FEW, MANY = 1_000, 10_000
SHORT, LONG = 10, 20  # fixations
USUAL = 10
MULTIMATCH_PAIRS, ORACLE_PAIRS = 2_000, 60
SIDE_PX = 1000.0


def random_file(number: int, length: int, seed: int) -> ScanpathFile:
    """Paths of `length` random fixations with durations, one per image."""
    rng = np.random.default_rng(seed)
    readings = []
    for row in range(number):
        columns = zip(rng.random((length, 2)), rng.uniform(100, 500, length), strict=True)
        fixations = tuple(Fixation(float(x), float(y), float(ms)) for (x, y), ms in columns)
        path = Scanpath(fixations, "simulated")
        readings.append(FiledPath("", path, image_id=str(row), size=(SIDE_PX, SIDE_PX), finding=f"finding {row % 5}"))
    return ScanpathFile(readings)


def seconds_to_score(number: int, length: int, jobs: int) -> float:
    """Seconds for all metrics of `number` pairs, with all floors, order gain and intervals."""
    truth, predicted = random_file(number, length, 1), random_file(number, length, 2)
    start = time.perf_counter()
    score_files(truth, predicted, grid=DEFAULT_GRID, jobs=jobs)
    return time.perf_counter() - start


def score_figures() -> list[Figure]:
    """How fast random paths are scored."""
    jobs = os.cpu_count() or 1
    seconds_to_score(FEW, SHORT, jobs)  # starts the processes
    few, many, long = (
        seconds_to_score(number, length, jobs) / number for number, length in ((FEW, USUAL), (MANY, USUAL), (FEW, LONG))
    )
    one = seconds_to_score(FEW, USUAL, 1) / FEW
    return [
        Figure("score_pairs_per_s", 1 / many, f"pairs of {USUAL} fixations, metrics and floors, {jobs} processes"),
        Figure("score_growth_with_count", many / few, f"time per pair, {MANY:,} pairs over {FEW:,}"),
        Figure("score_growth_with_length", long / few, f"time per pair, {LONG} fixations over {SHORT}"),
        Figure("score_processes_speedup", one / few, f"one process over {jobs}, {FEW:,} pairs"),
        *multimatch_figure(),
    ]


def multimatch_figure() -> list[Figure]:
    """MultiMatch against its published implementation; nothing where that is not installed."""
    if find_spec("multimatch_gaze") is None:
        typer.echo("no multimatch-gaze: MultiMatch is not compared (make test installs it)", err=True)
        return []
    from multimatch_gaze import docomparison

    files = [random_file(MULTIMATCH_PAIRS, USUAL, seed).readings for seed in (1, 2)]
    first, second = ([reading.scanpath for reading in readings] for readings in files)
    start = time.perf_counter()
    multimatch(pack_paths(first, (SIDE_PX, SIDE_PX)), pack_paths(second, (SIDE_PX, SIDE_PX)))
    own = (time.perf_counter() - start) / MULTIMATCH_PAIRS
    tables = [[_table(path) for path in paths[:ORACLE_PAIRS]] for paths in (first, second)]
    start = time.perf_counter()
    for one, other in zip(*tables, strict=True):
        docomparison(one, other, screensize=[SIDE_PX, SIDE_PX])
    published = (time.perf_counter() - start) / ORACLE_PAIRS
    return [Figure("multimatch_speed_ratio", published / own, "time per pair, multimatch-gaze over ours")]


def _table(path: Scanpath) -> np.ndarray:
    names = ("start_x", "start_y", "duration")
    rows = [(f.x * SIDE_PX, f.y * SIDE_PX, (f.duration_ms or 0.0) / 1000) for f in path]
    return np.array(rows, dtype=[(name, "f8") for name in names])


def main(paths: Annotated[int, typer.Option(help="Pairs of paths.", min=1)] = 100_000) -> None:
    """Score that many random pairs once and say how long it took."""
    jobs = os.cpu_count() or 1
    seconds = seconds_to_score(paths, USUAL, jobs)
    typer.echo(f"{paths:,} pairs of {USUAL} fixations: {seconds:.0f} s with {jobs} processes")


if __name__ == "__main__":
    typer.run(main)
