"""The experiment: does the order of gaze help? None, random, shuffled and original gaze with everything else equal.

A grid of runs of `gazevlm finetune` on a base that has learned findings and words, but no gaze. Each learns from
phantoms that no other seed sees, and is scored on the same others; what is finished is not done again.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields, replace
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image

from evaluate.phantoms import phantom_seeds
from gazevlm_core.datasets.folder import write_gaze_folder
from gazevlm_core.datasets.splits import TRAIN, VALIDATION
from gazevlm_core.evaluation.floors import (
    BEST_CONSTANT,
    OWN_SHUFFLED,
    SHUFFLES,
    UNIFORM_PATCHES,
    ConstantPaths,
    on_grid,
    shuffled_path,
)
from gazevlm_core.evaluation.path_scores import mean_scores
from gazevlm_core.evaluation.predict import Prediction, predict
from gazevlm_core.evaluation.report import AUROC_NAME, BITS_NAME, Score
from gazevlm_core.findings import FINDING_NAMES
from gazevlm_core.geometry import PatchGrid
from gazevlm_core.inference import EncodedImage, GazeEngine
from gazevlm_core.metrics.intervals import bootstrap_counts
from gazevlm_core.metrics.labels import macro_auroc
from gazevlm_core.metrics.registry import SEQUENCE, map_scores
from gazevlm_core.options import DiagnoseOptions, PathChoice
from gazevlm_core.sample import Reading, Sample, pixel_digest
from gazevlm_core.training.gaze_order import GazeOrder
from phantoms.case import DOMAINS
from phantoms.dataset import (
    DRAWING,
    PATCH_PX,
    SHARD_CASES,
    TRAINING_SEEDS,
    PhantomCase,
    PhantomShards,
    sample_of,
    shrunk,
)
from phantoms.nano_parts import IMAGE_PIXELS, SMALLEST_IMAGE_PIXELS
from phantoms.order_information import ESTIMATORS, order_information

FIRST_SEED = TRAINING_SEEDS.start + 500_000  # the embedded checkpoints were trained on those before
SEED_BLOCK = 10_000
SIZE_PX = 456  # twice the small image, which glimpses are cut from
HELD_OUT = 2  # of a run's images, which the command wants to score for itself; nothing here rests on them
TEST_BATCH = 64
CELLS_FOLDER = "cells"
PLAN_FILE, FLOORS_FILE, ORDER_FILE = "plan.json", "floors.json", "order_information.json"
STEP_SCORE = "bits"  # of `MAP_METRICS`
OTHER_READER, USUAL_STEP = "another reader", "bits of the usual step"  # beside them
RESAMPLED = 1000  # times, of each score of a run
CONSTANT_PATHS = 200  # readings of other images that floors know: all pairs of them are compared
# Whether words and findings rest on glimpses at the path, or the path stands beside them, as in the paper.
VARIANTS: Mapping[str, int] = {"without glimpses": 0, "with glimpses": 6}


@dataclass(frozen=True)
class Cell:
    """One training run.

    Args:
        order: of the gaze that supervises it.
        images: how many it is given, HELD_OUT of which it does not learn from.
        seed: of its images, weights and order of examples; runs of one seed, size and variant differ in nothing but
            `order`.
        variant: one of VARIANTS.
    """

    order: GazeOrder
    images: int
    seed: int
    variant: str

    @property
    def name(self) -> str:
        """For files, e.g. "with-glimpses-original-0300-seed1"."""
        return f"{self.variant.replace(' ', '-')}-{self.order.value}-{self.images:04d}-seed{self.seed}"


@dataclass(frozen=True)
class Plan:
    """The whole experiment.

    Args:
        sizes: numbers of training images.
        seeds: of the runs; at least two for an interval.
        orders: of the gaze.
        variants: of the model, from VARIANTS.
        base: a checkpoint that was never shown gaze.
        num_gaze_tokens: K. Readings are cut there before their order is changed, so that all orders hold the same
            places.
        steps: of a run with 100 images; others take more with the root of their number.
        batch_size: examples per step.
        learning_rate, heads_learning_rate: the heads begin from nothing.
        test_images: scored per domain, the same for all runs.
        test_seed: S of `evaluate.phantoms.phantom_seeds`.
        path: which path is scored; kept with the results, so that runs scored by another are never among them.
        drawing: of phantoms and their readers, kept for the same reason; see `phantoms.dataset.DRAWING`.

    Raises:
        ValueError: an empty grid, an unknown variant, or numbers below 1.
    """

    sizes: Sequence[int] = (100, 300, 1000)
    seeds: Sequence[int] = tuple(range(10))
    orders: Sequence[GazeOrder] = tuple(GazeOrder)
    variants: Sequence[str] = tuple(VARIANTS)
    base: str = "gazevlm-nano-no-gaze"
    num_gaze_tokens: int = 24
    steps: int = 150
    batch_size: int = 8
    learning_rate: float = 1e-3
    heads_learning_rate: float = 3e-3
    test_images: int = 2000
    test_seed: int = 2603
    path: PathChoice = DiagnoseOptions().path
    drawing: int = DRAWING

    def __post_init__(self) -> None:
        if not self.sizes or not self.seeds or not self.orders or not self.variants:
            raise ValueError("an experiment needs sizes, seeds, orders and variants")
        if unknown := sorted(set(self.variants) - set(VARIANTS)):
            raise ValueError(f"there is no variant {unknown[0]!r}; give some of: {', '.join(VARIANTS)}")
        if min(*self.sizes, self.steps, self.batch_size, self.test_images, self.num_gaze_tokens) < 1:
            raise ValueError("sizes, steps, batch size, gaze tokens and test images must be at least 1")

    def steps_of(self, images: int) -> int:
        """Return the optimizer steps of a run with so many images."""
        return max(1, round(self.steps * math.sqrt(images / 100)))

    @property
    def cells(self) -> list[Cell]:
        """All runs: seed by seed, so that an unfinished experiment compares whole seeds."""
        return [
            Cell(order, images, seed, variant)
            for seed in self.seeds
            for variant in self.variants
            for images in self.sizes
            for order in self.orders
        ]


# ---- images ---------------------------------------------------------------------------------------------------------
def training_cases(folder: Path, seed: int, images: int) -> list[PhantomCase]:
    """Return the phantoms of a run, drawn where they are missing; a smaller number is the beginning of a larger one."""
    first = FIRST_SEED + seed * SEED_BLOCK
    return _drawn(folder, range(first, first + images), "A")


def scored_cases(folder: Path, plan: Plan, domain: str) -> list[PhantomCase]:
    """Return the phantoms of a domain that every run is scored on."""
    seeds, _ = phantom_seeds(plan.test_seed, plan.test_images)
    return _drawn(folder / f"test-{domain}", seeds, domain)


def _drawn(folder: Path, seeds: range, domain: str) -> list[PhantomCase]:
    whole = -(-len(seeds) // SHARD_CASES) * SHARD_CASES
    pool = PhantomShards(folder, range(seeds.start, seeds.start + whole), domain=domain, sizes_px=(SIZE_PX,))
    pool.make()
    return pool.load()[: len(seeds)]


def model_grid(image: np.ndarray) -> PatchGrid:
    """Return the grid of image tokens that the embedded architecture makes of an image [H, W]."""
    height, width = shrunk(image, (SMALLEST_IMAGE_PIXELS, IMAGE_PIXELS)).shape
    return PatchGrid(height // PATCH_PX, width // PATCH_PX)


def in_model_steps(case: PhantomCase, num_steps: int) -> Sample:
    """Return a phantom whose readings are the steps that a model can take: one for each patch in a row, the first K.

    The first reader of all is another one for each phantom.
    """
    grid, sample = model_grid(case.image), sample_of(case)
    readings = [_cut(reading, grid, num_steps) for reading in sample.readings]
    first = case.seed % len(readings)
    return replace(sample, image_id=str(case.seed), readings=(*readings[first:], *readings[:first]))


def _cut(reading: Reading, grid: PatchGrid, num_steps: int) -> Reading:
    path = grid.merge_repeats(reading.scanpath)
    return replace(reading, scanpath=replace(path, fixations=path.fixations[:num_steps]))


# ---- one run --------------------------------------------------------------------------------------------------------
class ExperimentError(ValueError):
    """A folder that belongs to another plan, or a run that failed; the message says what to do."""


class _FrozenTowerEngine(GazeEngine):
    """An engine that keeps what the vision tower, which no run changes, makes of the test images."""

    kept: ClassVar[dict[str, tuple[torch.Tensor, torch.Tensor]]] = {}

    def encode_images(self, images: Sequence[Image.Image]) -> list[EncodedImage]:
        digests = [pixel_digest(image) for image in images]
        missing = {digest: image for digest, image in zip(digests, images, strict=True) if digest not in self.kept}
        if missing:
            for digest, one in zip(missing, super().encode_images(list(missing.values())), strict=True):
                self.kept[digest] = (one.tokens, one.grid_thw)
        found = []
        for digest, image in zip(digests, images, strict=True):
            tokens, grid_thw = self.kept[digest]
            (grid,) = self.processor.grids(grid_thw[None])
            found.append(EncodedImage(tokens, grid_thw, grid, self.fine(image, grid)))
        return found


def finetune_values(cell: Cell, plan: Plan, annotations: Path) -> dict[str, Any]:
    """Return the configuration of a run; nothing in it depends on the gaze but `gaze_order`."""
    return {
        "annotations": [str(annotations)], "base": plan.base, "gaze_order": cell.order.value,
        "num_gaze_tokens": plan.num_gaze_tokens, "num_glimpses": VARIANTS[cell.variant],
        "max_steps": plan.steps_of(cell.images), "batch_size": plan.batch_size, "learning_rate": plan.learning_rate,
        "heads_learning_rate": plan.heads_learning_rate, "freeze_vision": True, "retain": 0.0, "evaluations": 1,
        "checkpoints": 1, "seed": cell.seed,
    }  # fmt: skip


def train_cell(cell: Cell, plan: Plan, shards: Path, scratch: Path) -> GazeEngine:
    """Train one cell by `gazevlm finetune` and load what it wrote.

    Args:
        shards: folder for drawn phantoms.
        scratch: empty folder for annotations and adapter.

    Raises:
        ExperimentError: the training failed; the message says why.
    """
    cases = training_cases(shards, cell.seed, cell.images)
    samples = [in_model_steps(case, plan.num_gaze_tokens) for case in cases]
    split = [
        replace(one, readings=one.readings[:1], split=VALIDATION if number < HELD_OUT else TRAIN)
        for number, one in enumerate(samples)
    ]
    values = finetune_values(cell, plan, write_gaze_folder(scratch / "annotations", split))
    config, adapter = scratch / "run.yaml", scratch / "adapter"
    config.write_text(json.dumps(values), encoding="utf-8")  # JSON is YAML
    command = [sys.executable, "-m", "finetune", "--config", str(config), "--out", str(adapter)]
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    with subprocess.Popen(
        command, env={**os.environ, **threads}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as training:
        _trainings.append(training)
        said = training.communicate()[1].splitlines()
        _trainings.remove(training)
    if training.returncode:
        raise ExperimentError(f"{cell.name}: {said[-1] if said else 'the training ended without a word'}")
    return _FrozenTowerEngine.load(plan.base, adapter=adapter)


_trainings: list[subprocess.Popen[str]] = []  # of this process


def score_cell(found: Sequence[Prediction], samples: Sequence[Sample], seed: int) -> dict[str, Any]:
    """Return what a run scores on the images of one domain, as JSON values: each score with its resamples (of the same
    images for all runs, so that differences are paired), AUROC of each finding, and its own path shuffled.

    Args:
        seed: of the resamples and the shuffles.
    """
    counts = bootstrap_counts(len(samples), RESAMPLED, seed)
    labels = np.array([[one.findings[name] for name in FINDING_NAMES] for one in samples])
    logits = np.array([[one.finding_logits[name] for name in FINDING_NAMES] for one in found])
    areas = macro_auroc(labels, logits, FINDING_NAMES, counts)
    scores = {AUROC_NAME: _resampled(areas.macro.value, areas.samples)}
    per_finding = {name: round(one.value, 5) for name, one in areas.per_finding.items()}
    shown = [one.scanpath for one in found if one.scanpath is not None]
    if len(shown) < len(found):
        return {"scores": scores, "per_finding": per_finding, OWN_SHUFFLED: None}
    rng = np.random.default_rng(seed)
    grids = [one.grid for one in found]
    targets = [[on_grid(path, grid) for path in one.scanpaths] for one, grid in zip(samples, grids, strict=True)]
    paths = [on_grid(path, grid) for path, grid in zip(shown, grids, strict=True)]
    mixed = [[shuffled_path(path, rng) for _ in range(SHUFFLES)] for path in paths]
    steps = [one.steps for one in found if one.steps is not None]
    bits, numbers = np.array([(one.scores[STEP_SCORE].sum(), len(one.steps)) for one in steps]).T
    own = mean_scores([[path] for path in paths], targets)
    scores[SEQUENCE] = _resampled(own.mean(), counts @ own / len(own))
    scores[BITS_NAME] = _resampled(bits.sum() / numbers.sum(), (counts @ bits) / (counts @ numbers))
    shuffled = round(float(mean_scores(mixed, targets).mean()), 5)
    return {"scores": scores, "per_finding": per_finding, OWN_SHUFFLED: shuffled}


def _resampled(value: float, samples: np.ndarray) -> dict[str, Any]:
    return {"value": round(float(value), 5), "samples": np.round(samples, 4).tolist()}


# ---- running --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Bench:
    """What every worker needs; handed over by forking, so that the test images lie in memory once."""

    plan: Plan
    samples: Mapping[str, Sequence[Sample]]
    shards: Path
    folder: Path


def run_experiment(
    plan: Plan, folder: Path, shards: Path, log: Callable[[str], None], *, workers: int = 1
) -> list[Path]:
    """Train and score every cell that is not there yet.

    Args:
        plan: the grid.
        folder: of the results; made if missing.
        shards: folder for drawn phantoms.
        log: gets a line about each cell.
        workers: processes, each training a cell of its own on one thread; more than one need `fork`.

    Returns:
        Files of all cells.

    Raises:
        ExperimentError: the folder holds cells of another plan, or a training failed.
    """
    (folder / CELLS_FOLDER).mkdir(parents=True, exist_ok=True)
    keep_plan(plan, folder)
    paths = [cell_path(folder, cell) for cell in plan.cells]
    missing = [cell for cell, path in zip(plan.cells, paths, strict=True) if not path.is_file()]
    log(f"{len(paths) - len(missing)} of {len(paths)} runs are there already")
    if not missing:
        return paths
    samples = {
        domain: [in_model_steps(case, plan.num_gaze_tokens) for case in scored_cases(shards, plan, domain)]
        for domain in DOMAINS
    }
    _keep_floors(plan, samples, folder)
    log(f"{sum(map(len, samples.values()))} test images are drawn")
    bench, done = _Bench(plan, samples, shards, folder), len(paths) - len(missing)
    for seed in dict.fromkeys(cell.seed for cell in missing):
        training_cases(shards, seed, max(plan.sizes))  # before two workers could draw the same ones
        for line in _lines(bench, [cell for cell in missing if cell.seed == seed], workers):
            done += 1
            log(f"{done}/{len(paths)} {line}")
    return paths


def _keep_floors(plan: Plan, samples: Mapping[str, Sequence[Sample]], folder: Path) -> None:
    """Write the floors of paths on the test images, and what the order of their readings tells, where it is missing."""
    if (folder / ORDER_FILE).is_file():
        return
    floors = {domain: _floors(some, plan.num_gaze_tokens) for domain, some in samples.items()}
    (folder / FLOORS_FILE).write_text(json.dumps(floors, indent=1) + "\n", encoding="utf-8")
    with ProcessPoolExecutor(1, get_context("fork")) as pool:  # its threads must not live in a process that forks later
        values = pool.submit(_order_values, samples[next(iter(DOMAINS))]).result()
    (folder / ORDER_FILE).write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def _order_values(samples: Sequence[Sample]) -> dict[str, Any]:
    """Return what one reading of each image tells of its findings, with its order and without, by estimator."""
    places = [np.array([(fixation.x, fixation.y) for fixation in one.readings[0].scanpath]) for one in samples]
    labels = np.array([[one.findings[name] for name in FINDING_NAMES] for one in samples])
    estimators = {}
    for estimator, features in ESTIMATORS.items():
        try:
            found = order_information(places, labels, FINDING_NAMES, features)
        except ValueError:  # too few images for any finding
            continue
        estimators[estimator] = {kind: Score.of(one).to_values() for kind, one in found.items()}
    return {"images": len(samples), "estimators": estimators}


def _floors(samples: Sequence[Sample], num_steps: int) -> dict[str, float]:
    """Return what a path scores that knows the readings of other images, or those of other readers of this one."""
    half = len(samples) // 2
    grids = [model_grid(np.asarray(one.load().convert("L"))) for one in samples]
    constants = ConstantPaths([one.readings[0].scanpath for one in samples[half:][:CONSTANT_PATHS]], num_steps)
    targets = [[on_grid(path, grid) for path in one.scanpaths] for one, grid in zip(samples, grids, strict=True)]
    rng, known = np.random.default_rng(num_steps), list(zip(targets[:half], grids[:half], strict=True))
    chance = [[tuple(rng.integers(len(grid), size=len(paths[0])).tolist())] for paths, grid in known]
    tables = {grid: constants.histogram(grid, num_steps) for _, grid in known}
    bits = np.concatenate([
        map_scores(tables[grid][: len(path)], np.array(path))[STEP_SCORE] for paths, grid in known for path in paths
    ])  # fmt: skip
    means = {
        UNIFORM_PATCHES: mean_scores(chance, targets[:half]),
        BEST_CONSTANT: mean_scores([[constants.best(grid)] for grid in grids[:half]], targets[:half]),
        OTHER_READER: mean_scores([paths[:1] for paths in targets], [paths[1:] for paths in targets]),
        USUAL_STEP: bits,
    }  # fmt: skip
    return {name: round(float(values.mean()), 5) for name, values in means.items()}


def cell_path(folder: Path, cell: Cell) -> Path:
    """Return the file of a finished run."""
    return folder / CELLS_FOLDER / f"{cell.name}.json"


def _lines(bench: _Bench, cells: Sequence[Cell], workers: int) -> Iterator[str]:
    """Run the cells, and give a line about each as it is finished."""
    if workers == 1:
        yield from (_run_cell(bench, cell) for cell in cells)
        return
    # Forked before torch has computed anything: its threads would not survive it.
    pool = ProcessPoolExecutor(workers, get_context("fork"), initializer=_start_worker, initargs=(bench,))
    with pool:
        jobs = [pool.submit(_run_in_worker, cell) for cell in cells]
        try:
            yield from (job.result() for job in as_completed(jobs))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


_worker_bench: list[_Bench] = []


def _start_worker(bench: _Bench) -> None:
    torch.set_num_threads(1)
    _worker_bench.append(bench)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when the process that forked it is gone, however it ended: no one would read its results."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    for training in _trainings:
        training.kill()
    os._exit(1)


def _run_in_worker(cell: Cell) -> str:
    return _run_cell(_worker_bench[0], cell)


def _run_cell(bench: _Bench, cell: Cell) -> str:
    start, path, plan = time.perf_counter(), cell_path(bench.folder, cell), bench.plan
    domains: dict[str, Any] = {}
    options = DiagnoseOptions(path=plan.path)
    with tempfile.TemporaryDirectory(prefix="gazevlm-experiment-") as scratch:
        engine = train_cell(cell, plan, bench.shards, Path(scratch))
        trained_s = time.perf_counter() - start
        for domain, samples in bench.samples.items():
            found = predict(engine, samples, batch_size=TEST_BATCH, questions=(), options=options).found
            domains[domain] = score_cell(found, samples, plan.test_seed)
    values = {"cell": asdict(cell), "training_seconds": round(trained_s, 1), "domains": domains}
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(values, separators=(",", ":")) + "\n", encoding="utf-8")
    partial.rename(path)
    return f"{cell.name}: trained in {trained_s:.0f} s, all in {time.perf_counter() - start:.0f} s"


def read_plan(folder: Path) -> Plan:
    """Return the plan that the runs in a folder were made with.

    Raises:
        ExperimentError: none is there, or one of another version.
    """
    path = folder / PLAN_FILE
    if not path.is_file():
        raise ExperimentError(f"{folder} holds no finished run; run the experiment first")
    values = json.loads(path.read_text(encoding="utf-8"))
    if other := sorted({one.name for one in fields(Plan)} ^ set(values)):
        raise ExperimentError(f"{path} is of another version: {', '.join(other)}")
    orders = [GazeOrder(one) for one in values["orders"]]
    return Plan(**{**values, "orders": orders, "path": PathChoice(values["path"])})


def keep_plan(plan: Plan, folder: Path) -> None:
    """Write the plan beside its results; cells of one folder are all trained and scored alike.

    More seeds, sizes, orders and variants may be added later.

    Raises:
        ExperimentError: the folder holds another plan.
    """
    path, values = folder / PLAN_FILE, json.loads(json.dumps(asdict(plan)))
    grid = {"sizes", "seeds", "orders", "variants"}
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = [name for name in values if name not in grid and before.get(name) != values[name]]
        if changed:
            raise ExperimentError(f"{folder} holds runs with another {changed[0]}; give a new folder or the same value")
    path.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
