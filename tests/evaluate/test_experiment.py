"""The experiment: what differs between its runs and what does not, resuming, and a report of what came out."""

import json
import os
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import pairwise
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from evaluate import order_experiment
from evaluate.order_experiment import (
    PLAN_FILE,
    VARIANTS,
    Cell,
    ExperimentError,
    Plan,
    cell_path,
    finetune_values,
    in_model_steps,
    keep_plan,
    model_grid,
    read_plan,
    run_experiment,
)
from evaluate.order_report import (
    PAGE,
    REPORT,
    RESULTS,
    Scored,
    command_of,
    experiment_markdown,
    read_cells,
    summarise,
)
from finetune.config import FinetuneConfig
from finetune.examples import ordered_cases
from gazevlm_core.datasets.folder import write_gaze_folder
from gazevlm_core.evaluation.floors import on_grid
from gazevlm_core.evaluation.report import ExperimentReport
from gazevlm_core.inference import GazeEngine
from gazevlm_core.training.gaze_order import GazeOrder
from phantoms.dataset import PhantomCase, draw_case

WITHOUT, WITH = VARIANTS
PLAN = Plan(sizes=(10,), seeds=(0, 1), steps=6, batch_size=2, test_images=12,
            orders=(GazeOrder.ORIGINAL, GazeOrder.NONE))  # fmt: skip


def test_cells_are_a_grid_seed_by_seed() -> None:
    plan = Plan(sizes=(10, 20), seeds=(0, 1))
    names = [cell.name for cell in plan.cells]
    assert len(names) == len(set(names)) == 2 * 2 * 2 * 4
    assert names[0] == "without-glimpses-original-0010-seed0"
    assert names[-1] == "with-glimpses-none-0020-seed1"
    assert [cell.seed for cell in plan.cells] == [0] * 16 + [1] * 16
    assert [plan.steps_of(images) for images in (100, 400)] == [150, 300]
    with pytest.raises(ValueError, match="needs sizes"):
        Plan(sizes=())
    with pytest.raises(ValueError, match="at least 1"):
        Plan(steps=0)
    with pytest.raises(ValueError, match="no variant 'big'"):
        Plan(variants=("big",))


@pytest.fixture(scope="module")
def cases() -> list[PhantomCase]:
    return [draw_case(order_experiment.FIRST_SEED + seed, sizes_px=(128,)) for seed in range(10)]


def test_readings_are_the_steps_of_the_model_and_one_reader_s_first(cases: list[PhantomCase]) -> None:
    for case in cases:
        grid, sample = model_grid(case.image), in_model_steps(case, 24)
        paths = [on_grid(path, grid) for path in sample.scanpaths]
        assert all(len(path) <= 24 for path in paths)
        assert all(first != second for path in paths for first, second in pairwise(path))
    assert len({in_model_steps(case, 24).readings[0].reader for case in cases[:6]}) == 6


def test_runs_differ_in_their_gaze_alone(cases: list[PhantomCase], tmp_path: Path) -> None:
    samples = [in_model_steps(case, 24) for case in cases[:4]]
    folder = write_gaze_folder(tmp_path / "annotations", samples)
    values = {order: finetune_values(Cell(order, 4, 0, WITH), PLAN, folder) for order in GazeOrder}
    assert all({**one, "gaze_order": ""} == {**values[GazeOrder.ORIGINAL], "gaze_order": ""} for one in values.values())
    learned = {order: ordered_cases(samples, FinetuneConfig.from_values(one)) for order, one in values.items()}
    for number, sample in enumerate(samples):
        own = [sorted((fixation.x, fixation.y) for fixation in path) for path in sample.scanpaths]
        mixed = learned[GazeOrder.SHUFFLED][number].scanpaths
        assert [sorted((fixation.x, fixation.y) for fixation in path) for path in mixed] == own, "the same places"
        assert mixed != sample.scanpaths
        assert learned[GazeOrder.ORIGINAL][number].scanpaths == sample.scanpaths
        assert learned[GazeOrder.NONE][number].scanpaths == ()
    plain, close = (finetune_values(Cell(GazeOrder.ORIGINAL, 4, 0, one), PLAN, folder) for one in VARIANTS)
    assert (plain["num_glimpses"], close["num_glimpses"]) == (0, 6)


def test_a_folder_keeps_to_one_plan(tmp_path: Path) -> None:
    keep_plan(PLAN, tmp_path)
    keep_plan(replace(PLAN, seeds=(0, 1, 2), sizes=(4, 8)), tmp_path)
    with pytest.raises(ExperimentError, match="another steps; give a new folder"):
        keep_plan(replace(PLAN, steps=3), tmp_path)
    with pytest.raises(ExperimentError, match="another drawing"):
        keep_plan(replace(PLAN, drawing=PLAN.drawing + 1), tmp_path)


def test_a_report_is_of_the_plan_that_its_runs_were_made_by(tmp_path: Path) -> None:
    keep_plan(PLAN, tmp_path)
    plan = read_plan(tmp_path)
    assert (list(plan.sizes), list(plan.seeds), plan.steps, plan.orders) == ([10], [0, 1], 6, list(PLAN.orders))
    assert plan.cells == PLAN.cells
    assert command_of(plan, Path("o ut")) == (
        "gazevlm experiment --out 'o ut' --sizes 10 --orders original --orders none --seeds 2 --steps 6 "
        "--test-images 12"
    )
    assert command_of(Plan(), Path("out")) == "gazevlm experiment --out out"
    values = json.loads((tmp_path / PLAN_FILE).read_text())
    (tmp_path / PLAN_FILE).write_text(json.dumps({name: one for name, one in values.items() if name != "path"}))
    with pytest.raises(ExperimentError, match=r"plan.json is of another version: path"):
        read_plan(tmp_path)

    from cli.main import app

    refused = CliRunner().invoke(app, ["experiment", "--out", str(tmp_path), "--report-only", "--test-images", "50"])
    assert refused.exit_code == 2
    assert "by a plan that lies beside them; leave out --test-images" in refused.stderr


def test_the_shipped_report_says_what_its_runs_say(repository: Path, tmp_path: Path) -> None:
    shipped = repository / "reports" / "order-experiment"
    cells = read_cells([cell_path(shipped, cell) for cell in read_plan(shipped).cells])
    floors, order = (json.loads((shipped / name).read_text()) for name in ("floors.json", "order_information.json"))
    summary = summarise(cells, floors, read_plan(shipped), order)
    assert summary == json.loads((shipped / RESULTS).read_text())
    report = ExperimentReport.model_validate(summary)
    command = command_of(read_plan(shipped), Path("reports/order-experiment"))
    assert experiment_markdown(report, read_plan(shipped), command) == (shipped / REPORT).read_text()


def test_intervals_draw_seeds_and_images_and_differences_are_paired() -> None:
    rng = np.random.default_rng(0)
    noise, picks = rng.normal(size=(2, 500)), rng.integers(2, size=(500, 2))
    seeds = np.array([0, 1])
    first = Scored(np.array([0.8, 0.9]), 0.85 + noise, seeds)
    second = Scored(np.array([0.7, 0.8]), 0.75 + noise, seeds)
    less = first.less(second).mean(picks)
    assert (less.value, less.low, less.high) == pytest.approx((0.1, 0.1, 0.1)), "what is common to both is gone"
    assert first.mean(picks).high - first.mean(picks).low > 1
    later = Scored(np.array([0.5, 0.6]), 0.5 + noise, np.array([1, 2]))
    assert first.less(later).seeds.tolist() == [1], "unfinished: seeds that only one has are left out"
    assert first.less(later).values.tolist() == pytest.approx([0.4])


def test_seeds_are_planned_by_how_far_they_scatter() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(0.0, 1.0, 400)
    values *= 0.02 / values.std()
    quiet = Scored(values, values[:, None] + rng.normal(0.0, 1e-4, 1000), np.arange(400))
    needed = quiet.seeds_needed(0.01)
    assert needed == pytest.approx((1.96 * 0.02 / 0.01) ** 2, rel=0.15)
    drawn = rng.normal(0.0, 0.02, (int(needed or 0), 4000)).mean(axis=0)
    assert np.quantile(np.abs(drawn), 0.95) == pytest.approx(0.01, rel=0.15), "so many give the width"
    noisy = Scored(values, values[:, None] + rng.normal(0.0, 0.01, 1000), np.arange(400))
    assert noisy.seeds_needed(0.01) is None, "the images alone scatter further"


def _fork_a_worker(out: Connection) -> None:
    fork, start = get_context("fork"), order_experiment._start_worker
    with ProcessPoolExecutor(1, fork, initializer=start, initargs=(None,)) as pool:
        out.send(pool.submit(os.getpid).result())
        pool.submit(time.sleep, 60).result()


def test_workers_end_with_the_process_that_forked_them() -> None:
    here, there = get_context("fork").Pipe()
    parent = get_context("fork").Process(target=_fork_a_worker, args=(there,))
    parent.start()
    worker = here.recv()
    parent.kill()
    parent.join()
    for _ in range(300):
        state = Path(f"/proc/{worker}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.1)
    os.kill(worker, 9)
    raise AssertionError("the worker was still there after half a minute")


def train_one_seed(monkeypatch: pytest.MonkeyPatch, adapters: Path) -> None:
    """Let runs of later seeds take the adapters of the first, with findings the other way round: each takes a while."""
    train = order_experiment.train_cell

    def train_cell(cell: Cell, plan: Plan, shards: Path, scratch: Path) -> GazeEngine:
        adapter = adapters / replace(cell, seed=0).name
        if cell.seed == 0:
            engine = train(cell, plan, shards, scratch)
            shutil.copytree(scratch / "adapter", adapter)
            return engine
        engine = GazeEngine.load(plan.base, adapter=adapter)
        engine.model.gaze_heads.finding.weight.data.neg_()
        return engine

    monkeypatch.setattr(order_experiment, "train_cell", train_cell)


@pytest.mark.slow
def test_all_of_it_resumes_and_reports(
    cases: list[PhantomCase], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_one_seed(monkeypatch, tmp_path / "adapters")
    monkeypatch.setattr(order_experiment, "training_cases", lambda folder, seed, images: cases[:images])
    tested = {domain: [draw_case(77 + seed, domain, sizes_px=(128,)) for seed in range(12)] for domain in ("A", "B")}
    monkeypatch.setattr(order_experiment, "scored_cases", lambda folder, plan, domain: tested[domain])
    lines: list[str] = []
    first = replace(PLAN, seeds=(0,), variants=(WITH,))
    paths = run_experiment(first, tmp_path, tmp_path / "shards", lines.append)
    written = {path: path.read_bytes() for path in paths}
    paths = run_experiment(PLAN, tmp_path, tmp_path / "shards", lines.append, workers=2)
    assert lines[0] == "0 of 2 runs are there already"
    assert "2 of 8 runs are there already" in lines
    assert {path: path.read_bytes() for path in written} == written, "finished runs are not done again"
    floors, order = (json.loads((tmp_path / name).read_text()) for name in ("floors.json", "order_information.json"))
    summary = summarise(read_cells(paths), floors, PLAN, order)
    for domain in ("A", "B"):
        runs = {(run["order"], run["variant"]): run for run in summary["domains"][domain]["runs"]}
        assert set(runs) == {(order, variant) for order in ("original", "none") for variant in VARIANTS}
        assert "sequence score" not in runs["none", WITH]
        assert runs["original", WITH]["seeds"] == 2
        assert {"best constant path", "its own path shuffled"} <= set(runs["original", WITHOUT]["floors"])
        for entry in summary["domains"][domain]["differences"]:
            assert (entry["score"], entry["first"], entry["second"]) == ("macro AUROC", "original", "none")
            one, other = (
                np.array(runs[order, entry["variant"]]["macro AUROC"]["by_seed"]) for order in ("original", "none")
            )
            assert entry["by_seed"] == pytest.approx((one - other).tolist(), abs=2e-5)
            assert one[0] != one[1], "each seed's own"

    from cli.main import app

    result = CliRunner().invoke(app, ["experiment", "--out", str(tmp_path), "--report-only"])
    assert result.exit_code == 0, result.output
    results = json.loads((tmp_path / RESULTS).read_text())
    assert results["runs"] == 8
    report = (tmp_path / REPORT).read_text()
    assert report.startswith("# The order of gaze\n\nLearning where people look ")
    assert "| 10 | original | 2 |" in report
    assert "Measured on drawn phantoms, not on patients." in report
    assert "drawn in an earlier way" not in report
    assert "drawn in an earlier way" in experiment_markdown(
        ExperimentReport.model_validate(results | {"drawing": PLAN.drawing - 1}), PLAN, "command"
    )
    command = f"`gazevlm experiment --out {tmp_path.as_posix()} --sizes 10 --orders original --orders none --seeds 2 "
    assert command in report
    assert "Steps of 2 examples: 2 for 10 images. 12 test images per domain." in report
    page = (tmp_path / PAGE).read_text()
    assert page.count("<div id=") >= 3
    assert "http" not in page.split("<script")[0]
    missing = CliRunner().invoke(app, ["experiment", "--out", str(tmp_path / "new"), "--report-only"])
    assert missing.exit_code == 1
    assert "holds no finished run" in missing.stderr
