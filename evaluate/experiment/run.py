"""Runs the experiment cell by cell: what is finished is not done again, and scores are kept as they come."""

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from evaluate.cases import Study, draw_study
from evaluate.experiment.order_information import order_information
from evaluate.experiment.plan import DOMAINS, IN_DOMAIN, Cell, Plan
from evaluate.experiment.train import train_cell, training_cases
from evaluate.finding_scores import score_findings
from evaluate.path_scores import score_paths
from evaluate.predictions import predict
from evaluate.results import finding_values, path_values
from evaluate.study_paths import path_metric_values
from gazevlm_core.findings import FINDING_NAMES
from gazevlm_core.inference import GazeEngine
from gazevlm_core.metrics.intervals import RESAMPLES, bootstrap_counts

CELLS_FOLDER = "cells"
PLAN_FILE, TRUTH_FILE, ORDER_FILE = "plan.json", "truth.json", "order_information.json"


class ExperimentError(ValueError):
    """A folder that belongs to another plan; the message says what to do."""


@dataclass(frozen=True)
class _Bench:
    """What every worker needs; handed over by forking, so that the test images lie in memory and on disk once."""

    plan: Plan
    studies: Mapping[str, Study]
    shards: Path
    folder: Path


def run_experiment(
    plan: Plan, folder: Path, shards: Path, told: Callable[[str], None], *, workers: int = 1
) -> list[Path]:
    """Train and score every cell that is not there yet.

    Args:
        plan: the grid.
        folder: of the results; made if missing.
        shards: folder for drawn phantoms.
        told: gets a line about each cell.
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
    told(f"{len(paths) - len(missing)} of {len(paths)} runs are there already")
    if not missing:
        return paths
    _keep_order_information(plan, folder, shards)  # draws all images before two workers could draw the same ones
    studies = {domain: draw_study(plan.test_seed, plan.test_images, domain) for domain in DOMAINS}
    truth = {
        domain: [{"seed": case.seed, "severities": case.severities} for case in study.cases]
        for domain, study in studies.items()
    }
    (folder / TRUTH_FILE).write_text(json.dumps(truth) + "\n", encoding="utf-8")
    bench, done = _Bench(plan, studies, shards, folder), len(paths) - len(missing)
    try:
        for line in _lines(bench, missing, workers):
            done += 1
            told(f"{done}/{len(paths)} {line}")
    finally:
        for study in studies.values():
            study.pixels.close()
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
    import torch

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


def _score(engine: GazeEngine, studies: Mapping[str, Study], plan: Plan, *, asked: bool) -> dict[str, Any]:
    """Scores in each domain; with `asked`, also of the answers in words, in domain A."""
    counts = bootstrap_counts(plan.test_images, RESAMPLES, plan.test_seed)
    domains: dict[str, Any] = {}
    for domain, study in studies.items():
        words = asked and domain == IN_DOMAIN
        answers = predict(engine, study, presence=words, reports=False)
        head = score_findings(study.cases, np.stack(answers.head_logits), answers.head_names, counts)
        paths = score_paths(study, answers, counts, plan.test_seed) if answers.gaze_trained else None
        text = score_findings(study.cases, np.stack(answers.yes_margins), FINDING_NAMES, counts) if words else None
        domains[domain] = {
            "answer_text": finding_values(text),
            "finding_head": finding_values(head),
            "scanpath": path_values(paths),
            # for paired differences
            "head_logits": np.round(np.stack(answers.head_logits).astype(np.float64), 3).tolist(),
            "path_metrics": None if paths is None else path_metric_values(study, answers.scanpaths, plan.test_seed),
            "sequence_scores": None if paths is None else np.round(paths.per_image, 4).tolist(),
        }
    return {"domains": domains}
