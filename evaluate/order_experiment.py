"""The experiment: does the order of gaze help? None, random, shuffled and original gaze with everything else equal.

A grid of cells, each of which is trained from nothing on phantoms that no other seed sees, and scored; what is finished
is not done again.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainingArguments, set_seed

from evaluate.gaze_probes import order_information
from evaluate.phantoms import PhantomSet, phantom_seeds
from gazevlm_core.evaluation.findings import score_graded
from gazevlm_core.evaluation.graded import graded_paths
from gazevlm_core.evaluation.predict import predict
from gazevlm_core.evaluation.report import BASE
from gazevlm_core.findings import FINDING_NAMES, QUESTIONS, presence_question
from gazevlm_core.inference import GazeEngine
from gazevlm_core.metrics.intervals import RESAMPLES, bootstrap_counts
from gazevlm_core.model.checkpoint import Checkpoint
from gazevlm_core.model.configuration_gazevlm import GazeConfig
from gazevlm_core.options import Precision
from gazevlm_core.sample import Sample
from gazevlm_core.training.collator import GazeCollator
from gazevlm_core.training.gaze_order import GazeOrder, in_order
from gazevlm_core.training.trainer import GazeTrainer
from phantoms.case import DOMAINS
from phantoms.dataset import PATCH_PX, SHARD_CASES, TRAINING_SEEDS, PhantomCase, PhantomShards, training_sample
from phantoms.nano_parts import (
    IMAGE_PIXELS,
    SMALLEST_IMAGE_PIXELS,
    nano_model,
    nano_processor,
    quick_products,
    quick_vision,
    train_tokenizer,
)

IN_DOMAIN = "A"
FIRST_SEED = TRAINING_SEEDS.start + 500_000  # the embedded checkpoint was trained on those before
SEED_BLOCK = 10_000
SIZE_PX = 256
TEST_BATCH = 64
CELLS_FOLDER = "cells"
PLAN_FILE, TRUTH_FILE, ORDER_FILE = "plan.json", "truth.json", "order_information.json"
# What an ablation changes of the gaze configuration. Smoothing by 0.7 patches leaves 0.33 of the target on its patch.
ABLATIONS: Mapping[str, Mapping[str, Any]] = {
    "4 gaze tokens": {"num_gaze_tokens": 4},
    "8 gaze tokens": {"num_gaze_tokens": 8},
    "no stop": {"stops": False},
    "smoothed targets": {"target_sigma_patches": 0.7},
    "visual pointer keys": {"pointer_keys": "visual"},
    "linear index head": {"pointer_keys": "index", "index_patches": IMAGE_PIXELS // PATCH_PX**2},
    "no previous patch": {"use_previous_patch": False},
}


@dataclass(frozen=True)
class Cell:
    """One training run.

    Args:
        order: of the gaze that supervises it.
        images: how many it is trained on.
        seed: of its images, weights and order of examples; runs of one seed and size differ in nothing but `order`.
        variant: name of an ablation in `Plan.variants`, or BASE.
    """

    order: GazeOrder
    images: int
    seed: int
    variant: str = BASE

    @property
    def name(self) -> str:
        """For files, e.g. "base-original-0300-seed1"."""
        return f"{self.variant.replace(' ', '-')}-{self.order.value}-{self.images:04d}-seed{self.seed}"


@dataclass(frozen=True)
class Plan:
    """The whole experiment.

    Args:
        sizes: numbers of training images.
        seeds: of the runs; at least two for an interval.
        orders: of the gaze.
        variants: ablation -> fields of `GazeConfig` that it changes; run with original gaze and the largest size alone.
        steps, warmup_steps, decay_steps: of each run, whatever its number of images.
        batch_size: examples per step.
        learning_rate: the highest.
        presence_share: of the examples ask whether one finding is there, the others for a report.
        test_images: scored per domain, the same for all runs.
        test_seed: S of `evaluate.phantoms.phantom_seeds`.

    Raises:
        ValueError: an empty grid, or numbers below 1.
    """

    sizes: Sequence[int] = (100, 300, 1000)
    seeds: Sequence[int] = (0, 1, 2)
    orders: Sequence[GazeOrder] = tuple(GazeOrder)
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    steps: int = 640
    warmup_steps: int = 64
    decay_steps: int = 192
    batch_size: int = 4
    learning_rate: float = 1e-3
    presence_share: float = 0.7
    test_images: int = 300
    test_seed: int = 2603

    def __post_init__(self) -> None:
        if not self.sizes or not self.seeds or not self.orders:
            raise ValueError("an experiment needs sizes, seeds and orders")
        if min(*self.sizes, self.steps, self.batch_size, self.test_images) < 1:
            raise ValueError("sizes, steps, batch size and test images must be at least 1")

    def asks_in_words(self, cell: Cell) -> bool:
        """Whether a run is also asked about findings in words, to compare the answers with the finding head."""
        return cell.variant == BASE and cell.images == max(self.sizes)

    @property
    def cells(self) -> list[Cell]:
        """All runs: seed by seed, so that an unfinished experiment compares whole seeds."""
        grid = [
            Cell(order, images, seed) for seed in self.seeds for images in self.sizes for order in self.orders
        ]
        ablations = [
            Cell(GazeOrder.ORIGINAL, max(self.sizes), seed, variant) for seed in self.seeds for variant in self.variants
        ]
        return grid + ablations


# ---- training -------------------------------------------------------------------------------------------------------
def training_cases(folder: Path, seed: int, images: int) -> list[PhantomCase]:
    """Phantoms of a run, drawn where they are missing; a smaller number is the beginning of a larger one."""
    first = FIRST_SEED + seed * SEED_BLOCK
    whole = -(-images // SHARD_CASES) * SHARD_CASES
    bounds = (SMALLEST_IMAGE_PIXELS, IMAGE_PIXELS)
    pool = PhantomShards(folder, range(first, first + whole), sizes_px=(SIZE_PX,), model_pixels=bounds)
    pool.make()
    return pool.load()[:images]


class OrderedExamples:
    """A map-style data set: the cases in turn, asked anew each time, with their gaze in the cell's order."""

    def __init__(self, cases: Sequence[PhantomCase], cell: Cell, plan: Plan) -> None:
        self.cases, self.cell, self.plan = cases, cell, plan

    def __len__(self) -> int:
        return self.plan.steps * self.plan.batch_size

    def __getitem__(self, index: int) -> Sample:
        place = index % len(self.cases)
        rng = np.random.default_rng([self.cell.seed, index])
        sample = training_sample(self.cases[place], rng, self.plan.presence_share)
        return in_order(sample, self.cell.order, (self.cell.seed, place))


def train_cell(cell: Cell, plan: Plan, shards: Path, scratch: Path) -> GazeEngine:
    """Train one cell.

    Args:
        cell: what is trained.
        plan: how.
        shards: folder for drawn phantoms.
        scratch: empty folder for the trainer.

    Returns:
        An engine around the trained weights, in full precision.
    """
    cases = training_cases(shards, cell.seed, cell.images)
    set_seed(cell.seed)
    config = gaze_config(cell, plan)
    processor = nano_processor(train_tokenizer(_texts(cases)))
    model = nano_model(processor, config)
    quick_vision(model)
    data = OrderedExamples(cases, cell, plan)
    collator = GazeCollator(processor, config, use_gaze=config.gaze_trained)
    arguments = training_arguments(cell, plan, scratch)
    with quick_products():
        GazeTrainer(model=model, args=arguments, train_dataset=data, data_collator=collator).train()
    return GazeEngine(Checkpoint(model.eval(), processor, cell.name, Precision.FP32))


def gaze_config(cell: Cell, plan: Plan) -> GazeConfig:
    """Return the gaze configuration of a cell, with what its ablation changes."""
    gaze = cell.order is not GazeOrder.NONE
    usual = GazeConfig(
        num_gaze_tokens=12, finding_names=FINDING_NAMES, pointer_dim=96, gaze_trained=gaze, findings_trained=True,
        dwell_trained=gaze, finding_weight=3.0, trained_on=f"{cell.images} drawn phantoms, {cell.order.value} gaze",
        known_questions=(*QUESTIONS, *map(presence_question, FINDING_NAMES)),
    )  # fmt: skip
    return usual if cell.variant == BASE else replace(usual, **plan.variants[cell.variant])


def training_arguments(cell: Cell, plan: Plan, scratch: Path) -> TrainingArguments:
    """Return the trainer's arguments; nothing in them depends on the gaze."""
    return TrainingArguments(
        output_dir=str(scratch), max_steps=plan.steps, per_device_train_batch_size=plan.batch_size,
        learning_rate=plan.learning_rate, lr_scheduler_type="warmup_stable_decay",
        lr_scheduler_kwargs={"num_decay_steps": plan.decay_steps, "min_lr_ratio": 0.01},
        warmup_steps=plan.warmup_steps, weight_decay=0.05, adam_beta2=0.98, logging_steps=50, save_strategy="no",
        seed=cell.seed, remove_unused_columns=False, label_names=["labels"], report_to="none",
        use_cpu=not torch.cuda.is_available(), disable_tqdm=True,
    )  # fmt: skip


def _texts(cases: Sequence[PhantomCase]) -> list[str]:
    """What the tokenizer is trained on: the reports of the training images, and every question."""
    texts = [text for case in cases for text in (*case.reports, *case.presence_answers.values())]
    return texts + [*QUESTIONS, *map(presence_question, FINDING_NAMES)] * 50


# ---- running --------------------------------------------------------------------------------------------------------
class ExperimentError(ValueError):
    """A folder that belongs to another plan; the message says what to do."""


@dataclass(frozen=True)
class _Bench:
    """What every worker needs; handed over by forking, so that the test images lie in memory and on disk once."""

    plan: Plan
    studies: Mapping[str, PhantomSet]
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
        workers: processes, each training a cell of its own on one thread; more than one need `fork`. Two of them took
            some 23 examples a second on two cores, one process on two threads 20.

    Returns:
        Files of all cells.

    Raises:
        ExperimentError: the folder holds cells of another plan.
    """
    (folder / CELLS_FOLDER).mkdir(parents=True, exist_ok=True)
    keep_plan(plan, folder)
    paths = [cell_path(folder, cell) for cell in plan.cells]
    missing = [cell for cell, path in zip(plan.cells, paths, strict=True) if not path.is_file()]
    log(f"{len(paths) - len(missing)} of {len(paths)} runs are there already")
    if not missing:
        return paths
    _keep_order_information(plan, folder, shards)  # draws all images before two workers could draw the same ones
    seeds, _ = phantom_seeds(plan.test_seed, plan.test_images)
    studies = {domain: PhantomSet(plan.test_seed, plan.test_images, domain) for domain in DOMAINS}
    truth = {
        domain: [{"seed": seed, "severities": one.severities} for seed, one in zip(seeds, study.samples, strict=True)]
        for domain, study in studies.items()
    }
    (folder / TRUTH_FILE).write_text(json.dumps(truth) + "\n", encoding="utf-8")
    bench, done = _Bench(plan, studies, shards, folder), len(paths) - len(missing)
    try:
        for line in _lines(bench, missing, workers):
            done += 1
            log(f"{done}/{len(paths)} {line}")
    finally:
        for study in studies.values():
            study.close()
    return paths


def _keep_order_information(plan: Plan, folder: Path, shards: Path) -> None:
    """Draw every seed's images; once, measure what the order of gaze tells about their findings."""
    cases = [case for seed in plan.seeds for case in training_cases(shards, seed, max(plan.sizes))]
    path = folder / ORDER_FILE
    if path.is_file() and json.loads(path.read_text(encoding="utf-8"))["images"] == len(cases):
        return
    with ProcessPoolExecutor(1, get_context("fork")) as pool:  # its threads must not live in a process that forks later
        values = pool.submit(order_information, cases).result()
    path.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def cell_path(folder: Path, cell: Cell) -> Path:
    """File of a finished run."""
    return folder / CELLS_FOLDER / f"{cell.name}.json"


def _lines(bench: _Bench, cells: Sequence[Cell], workers: int) -> Iterator[str]:
    """Run the cells, and say a line about each as it is finished."""
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


def _run_in_worker(cell: Cell) -> str:
    return _run_cell(_worker_bench[0], cell)


def _run_cell(bench: _Bench, cell: Cell) -> str:
    start, path = time.perf_counter(), cell_path(bench.folder, cell)
    with tempfile.TemporaryDirectory(prefix="gazevlm-experiment-") as scratch:
        engine = train_cell(cell, bench.plan, bench.shards, Path(scratch))
    trained_s = time.perf_counter() - start
    scores = _score(engine, bench.studies, bench.plan, asked=bench.plan.asks_in_words(cell))
    values = {"cell": asdict(cell), "training_seconds": round(trained_s, 1), **scores}
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(values, separators=(",", ":")) + "\n", encoding="utf-8")
    partial.rename(path)
    head = scores["domains"][IN_DOMAIN]["finding_head"]["all_severities"]["macro"]["value"]
    return f"{cell.name}: AUROC {head:.3f} in domain, {time.perf_counter() - start:.0f} s"


def keep_plan(plan: Plan, folder: Path) -> None:
    """Write the plan beside its results; cells of one folder are all trained and scored alike.

    More seeds, sizes, orders and ablations may be added later.

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


def _score(engine: GazeEngine, studies: Mapping[str, PhantomSet], plan: Plan, *, asked: bool) -> dict[str, Any]:
    """Return the scores in each domain; with `asked`, also of the answers in words, in domain A."""
    counts = bootstrap_counts(plan.test_images, RESAMPLES, plan.test_seed)
    steps, domains = engine.gaze_config.num_gaze_tokens, dict[str, Any]()
    for domain, study in studies.items():
        questions = FINDING_NAMES if asked and domain == IN_DOMAIN else ()
        found = predict(engine, study.samples, batch_size=TEST_BATCH, questions=questions).found
        logits = [one.finding_logits for one in found]
        names = list(logits[0])
        paths, per_image = graded_paths(found, study.samples, study.others, steps, counts, plan.test_seed)
        text = None
        if questions:
            text, _ = score_graded(study.samples, [one.yes_margins for one in found], FINDING_NAMES, counts)
        values = None if paths is None else paths.to_values()
        domains[domain] = {
            "answer_text": None if text is None else text.to_values(),
            "finding_head": score_graded(study.samples, logits, names, counts)[0].to_values(),
            "path_metrics": None if values is None else values.pop("metrics"),
            "scanpath": "untrained" if values is None else values,
            # for paired differences
            "head_logits": np.round([[image[name] for name in names] for image in logits], 3).tolist(),
            "sequence_scores": None if per_image is None else np.round(per_image, 4).tolist(),
        }
    return {"domains": domains}
