"""The experiment: what differs between its runs and what does not, resuming, and a report of what came out."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from evaluate import order_experiment
from evaluate.order_experiment import Cell, ExperimentError, OrderedExamples, Plan, keep_plan, run_experiment
from evaluate.order_report import PAGE, REPORT, RESULTS, Scored, read_cells, read_truth, summarise
from gazevlm_core.evaluation.report import BASE
from gazevlm_core.training.gaze_order import GazeOrder
from phantoms.dataset import PhantomCase, draw_case

PLAN = Plan(
    sizes=(4,), seeds=(0, 1), steps=2, warmup_steps=1, decay_steps=1, batch_size=2, test_images=12,
    orders=(GazeOrder.ORIGINAL, GazeOrder.NONE), variants={"no stop": {"stops": False}},
)  # fmt: skip


def test_cells_are_a_grid_seed_by_seed_with_ablations_behind() -> None:
    plan = Plan(sizes=(10, 20), seeds=(0, 1), variants={"short": {"num_gaze_tokens": 6}})
    names = [cell.name for cell in plan.cells]
    assert len(names) == len(set(names)) == 2 * 2 * 4 + 2
    assert names[0] == "base-original-0010-seed0"
    assert names[-1] == "short-original-0020-seed1"
    assert [cell.seed for cell in plan.cells[:16]] == [0] * 8 + [1] * 8
    with pytest.raises(ValueError, match="needs sizes"):
        Plan(sizes=())
    with pytest.raises(ValueError, match="at least 1"):
        Plan(steps=0)


@pytest.fixture(scope="module")
def cases() -> list[PhantomCase]:
    return [draw_case(order_experiment.FIRST_SEED + seed, sizes_px=(128,)) for seed in range(4)]


def test_runs_differ_in_their_gaze_alone(cases: list[PhantomCase]) -> None:
    kinds = {order: OrderedExamples(cases, Cell(order, 4, 0), PLAN) for order in GazeOrder}
    original = kinds[GazeOrder.ORIGINAL]
    assert len(original) == 4
    for order, examples in kinds.items():
        for index in range(4):
            one, other = original[index], examples[index]
            assert (one.question, one.report, one.findings) == (other.question, other.report, other.findings)
            assert np.array_equal(np.asarray(one.image), np.asarray(other.image))
            lengths = [len(path) for path in other.scanpaths]
            assert lengths == ([] if order is GazeOrder.NONE else [len(path) for path in one.scanpaths])
            assert (one.scanpaths == other.scanpaths) is (order is GazeOrder.ORIGINAL)
    again = OrderedExamples(cases, Cell(GazeOrder.SHUFFLED, 4, 0), replace(PLAN, steps=99))
    assert again[4].scanpaths == kinds[GazeOrder.SHUFFLED][0].scanpaths, "the same shuffle in every epoch"


def test_a_folder_keeps_to_one_plan(tmp_path: Path) -> None:
    keep_plan(PLAN, tmp_path)
    keep_plan(replace(PLAN, seeds=(0, 1, 2), sizes=(4, 8)), tmp_path)
    with pytest.raises(ExperimentError, match="another steps; give a new folder"):
        keep_plan(replace(PLAN, steps=3), tmp_path)


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


@pytest.mark.slow
def test_the_whole_of_it_resumes_and_reports(
    cases: list[PhantomCase], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_experiment, "training_cases", lambda folder, seed, images: cases[:images])
    told: list[str] = []
    first = replace(PLAN, seeds=(0,))
    paths = run_experiment(first, tmp_path, tmp_path / "shards", told.append)
    written = {path: path.read_bytes() for path in paths}
    paths = run_experiment(PLAN, tmp_path, tmp_path / "shards", told.append, workers=2)
    assert told[0] == "0 of 3 runs are there already"
    assert "3 of 6 runs are there already" in told
    assert {path: path.read_bytes() for path in written} == written, "finished runs are not done again"
    summary = summarise(read_cells(paths), read_truth(tmp_path), PLAN)
    for domain in ("A", "B"):
        runs = {(run["order"], run["variant"]): run for run in summary["domains"][domain]["runs"]}
        assert set(runs) == {("original", BASE), ("none", BASE), ("original", "no stop")}
        assert "sequence score" not in runs["none", BASE]
        assert runs["original", BASE]["seeds"] == 2
        assert {"its own path shuffled", "order gain"} <= set(runs["original", BASE]["sequence_floors"])
        (entry,) = summary["domains"][domain]["differences"]
        assert (entry["score"], entry["first"], entry["second"]) == ("macro AUROC", "original", "none")
        one, other = (np.array(runs[order, BASE]["macro AUROC"]["by_seed"]) for order in ("original", "none"))
        assert entry["by_seed"] == pytest.approx((one - other).tolist(), abs=2e-5)
        assert {(entry["variant"], entry["score"]) for entry in summary["domains"][domain]["ablations"]} == {
            ("no stop", "macro AUROC"), ("no stop", "sequence score")
        }  # fmt: skip
        metrics = runs["original", BASE]["path_metrics"]
        assert {"ScanMatch", "DTW distance", "MultiMatch shape"} <= set(metrics)
        assert all(len(values["floors"]) == 6 for values in metrics.values())
        assert runs["none", BASE]["path_metrics"] == {}
        assert (runs["original", BASE]["answer_text_auroc"] is None) is (domain == "B")

    from cli.main import app

    arguments = ["experiment", "--out", str(tmp_path), "--report-only", "--sizes", "4", "--seeds", "2", "--steps", "2"]
    arguments += ["--batch-size", "2", "--test-images", "12", "--orders", "original", "--orders", "none"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    results = json.loads((tmp_path / RESULTS).read_text())
    assert results["runs"] == 6
    information = results["order_information"]
    assert information["images"] == 8
    assert set(information) >= {"original", "shuffled", "difference"}
    report = (tmp_path / REPORT).read_text()
    assert "| 4 | original | 2 |" in report
    assert "| no stop | 4 | 2 |" in report
    assert "Scanpaths, 4 images" in report
    assert "Measured on drawn phantoms, not on patients." in report
    assert f"`gazevlm experiment --out {tmp_path.as_posix()} --seeds 2 --steps 2" in report
    page = (tmp_path / PAGE).read_text()
    assert page.count("<div id=") >= 3
    assert "http" not in page.split("<script")[0]
    missing = CliRunner().invoke(app, ["experiment", "--out", str(tmp_path / "new"), "--report-only"])
    assert missing.exit_code == 1
    assert "holds no finished run" in missing.stderr
