"""Runs the experiment cell by cell: what is finished is not done again, and scores are kept as they come."""

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from evaluate.cases import Study, draw_study
from evaluate.experiment.plan import Plan
from evaluate.experiment.train import train_cell
from evaluate.finding_scores import score_findings
from evaluate.path_scores import score_paths
from evaluate.predictions import predict
from evaluate.results import finding_values, path_values
from gazevlm_core.inference import GazeEngine
from gazevlm_core.metrics.intervals import RESAMPLES, bootstrap_counts

DOMAINS = {"A": "in domain", "B": "zero-shot: other scanner, habitus and prevalence"}
CELLS_FOLDER = "cells"
PLAN_FILE, TRUTH_FILE = "plan.json", "truth.json"


class ExperimentError(ValueError):
    """A folder that belongs to another plan; the message says what to do."""


def run_experiment(plan: Plan, folder: Path, shards: Path, told: Callable[[str], None]) -> list[Path]:
    """Train and score every cell that is not there yet.

    Args:
        plan: the grid.
        folder: of the results; made if missing.
        shards: folder for drawn phantoms.
        told: gets a line about each cell.

    Returns:
        Files of all cells.

    Raises:
        ExperimentError: the folder holds cells of another plan.
    """
    cells_folder = folder / CELLS_FOLDER
    cells_folder.mkdir(parents=True, exist_ok=True)
    keep_plan(plan, folder)
    paths = [cells_folder / f"{cell.name}.json" for cell in plan.cells]
    missing = [(cell, path) for cell, path in zip(plan.cells, paths, strict=True) if not path.is_file()]
    told(f"{len(paths) - len(missing)} of {len(paths)} runs are there already")
    if not missing:
        return paths
    studies = {domain: draw_study(plan.test_seed, plan.test_images, domain) for domain in DOMAINS}
    truth = {
        domain: [{"seed": case.seed, "severities": case.severities} for case in study.cases]
        for domain, study in studies.items()
    }
    (folder / TRUTH_FILE).write_text(json.dumps(truth) + "\n", encoding="utf-8")
    try:
        for number, (cell, path) in enumerate(missing, start=len(paths) - len(missing) + 1):
            start = time.perf_counter()
            with tempfile.TemporaryDirectory(prefix="gazevlm-experiment-") as scratch:
                engine = train_cell(cell, plan, shards, Path(scratch))
            trained_s = time.perf_counter() - start
            values = {"cell": asdict(cell), "training_seconds": round(trained_s, 1), **_score(engine, studies, plan)}
            partial = path.with_suffix(".partial")
            partial.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
            partial.rename(path)
            head = values["domains"]["A"]["finding_head"]["all_severities"]["macro"]["value"]
            told(f"{number}/{len(paths)} {cell.name}: AUROC {head:.3f} in domain, {time.perf_counter() - start:.0f} s")
    finally:
        for study in studies.values():
            study.pixels.close()
    return paths


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


def _score(engine: GazeEngine, studies: dict[str, Study], plan: Plan) -> dict[str, Any]:
    counts = bootstrap_counts(plan.test_images, RESAMPLES, plan.test_seed)
    domains: dict[str, Any] = {}
    for domain, study in studies.items():
        answers = predict(engine, study, words=False)
        head = score_findings(study.cases, np.stack(answers.head_logits), answers.head_names, counts)
        paths = score_paths(study, answers, counts, plan.test_seed) if answers.gaze_trained else None
        domains[domain] = {
            "finding_head": finding_values(head),
            "scanpath": path_values(paths),
            "head_logits": np.round(np.stack(answers.head_logits), 4).tolist(),  # for paired differences
            "sequence_scores": None if paths is None else np.round(paths.per_image, 5).tolist(),
        }
    return {"domains": domains}
