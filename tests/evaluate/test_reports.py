"""Reports on the Evaluate tab: every kind that we write, and nothing else."""

import json
from pathlib import Path

import pytest

from evaluate.score_files import score_files
from evaluate.tab import markup
from evaluate.tab.reports import MOST_BYTES, MOST_ROWS, ReportError, read_report
from gazevlm_core.datasets.scanpath_files import FiledPath, ScanpathFile
from gazevlm_core.metrics.registry import DEFAULT_GRID
from tests.metrics.path_maker import random_paths


def estimate(value: float) -> dict:
    return {"value": value, "interval": [value - 0.02, value + 0.02]}


def metric(value: float) -> dict:
    return {
        "order": "sensitive", "better": "higher", "value": value, "order_gain": 0.01, "ceiling_other_reader": None,
        "floors": {"own path shuffled": 0.1, "uniform random": 0.05},
    }  # fmt: skip


def experiment() -> dict:
    runs = [
        {
            "variant": "base", "order": order, "images": images, "seeds": 3, "macro AUROC": estimate(0.7),
            "sequence score": estimate(0.3), "per_finding": {"edema": 0.7}, "answer_text_auroc": None,
            "sequence_floors": {"centre": 0.1, "order gain": 0.05, "ceiling: same reader again": 0.4},
            "path_metrics": {"ScanMatch": metric(0.4)} if order == "original" else {},
        }
        for order in ("original", "shuffled")
        for images in (100, 300)
    ]  # fmt: skip
    difference = {"score": "macro AUROC", "images": 300, "first": "original", "second": "shuffled"}
    domain = {
        "runs": runs,
        "differences": [{**difference, **estimate(0.01), "by_seed": [0.01, 0.02, 0.0]}],
        "ablations": [{"variant": "no stop", "images": 300, "score": "macro AUROC", **estimate(-0.01)}],
    }
    return {"kind": "experiment", "runs": 12, "planned_runs": 57, "domains": {"A": domain, "B": domain}}


def write(folder: Path, values: object) -> Path:
    path = folder / "report.json"
    path.write_text(values if isinstance(values, str) else json.dumps(values))
    return path


def test_an_experiment_shows_means_differences_ablations_and_curves(tmp_path: Path) -> None:
    report = read_report(write(tmp_path, experiment()))
    assert "12 of 57 runs" in report.note
    assert "not on patients" in report.note
    captions = [table.caption for table in report.tables]
    assert captions[:4] == [
        "Domain A: means over seeds", "Domain A: paired differences", "Domain A: ablations, less the base",
        "Domain A: scanpaths, original gaze, 300 images",
    ]  # fmt: skip
    assert report.tables[0].rows[0] == (
        "100", "original", "3", "0.700 [0.680, 0.720]", "0.300 [0.280, 0.320]", "0.050", "0.100 (centre)",
    )  # fmt: skip
    assert report.tables[3].rows == (
        ("ScanMatch", "higher", "sensitive", "0.400", "0.010", "0.100", "0.050", "-"),
    )  # fmt: skip
    areas, _ = report.figures
    assert [line.name for line in areas.data] == ["original gaze", "shuffled gaze"] * 2
    assert list(areas.data[0].x) == [100, 300]
    assert list(areas.data[0].y) == [0.7, 0.7]


def test_what_gazevlm_score_prints_is_shown_with_its_floors(tmp_path: Path) -> None:
    files = [
        ScanpathFile([FiledPath(str(k), "", path, (1.0, 1.0), "") for k, path in enumerate(random_paths(6, seed))])
        for seed in (1, 2)
    ]
    results = score_files(*files, grid=DEFAULT_GRID)
    report = read_report(write(tmp_path, results))
    (table,) = report.tables
    assert {row[0] for row in table.rows} == set(results["metrics"])
    assert "own path shuffled" in table.heads
    shown = dict(zip(table.heads, table.rows[0], strict=True))
    assert shown["score"].startswith(f"{results['metrics'][shown['metric']]['value']:.3f} [")
    (figure,) = report.figures
    assert {line.name for line in figure.data} >= {"predicted paths", "uniform random"}


def test_what_gazevlm_evaluate_prints_on_a_data_set_is_shown(tmp_path: Path) -> None:
    finding = {
        "images": 9, "positive": 3,
        "auroc": {**estimate(0.8), "floor": 0.5}, "auprc": {**estimate(0.6), "floor": 1 / 3},
        "f1": None, "calibration_error": estimate(0.1),
    }  # fmt: skip
    scores = {"macro_auroc": estimate(0.8), "findings": {"edema": finding}}
    values = {
        "dataset": "folder", "split": "test", "records": 9, "model": "m",
        "scores": {"finding_head": scores, "answer_text": None, "scanpath": "no readings"},
    }  # fmt: skip
    report = read_report(write(tmp_path, values))
    assert report.title == "m on 9 records of folder, split test"
    assert report.tables[0].rows[0][:5] == (
        "edema", "3 of 9", "0.800 [0.780, 0.820]", "0.600 [0.580, 0.620]", "0.333",
    )  # fmt: skip
    assert len(report.figures) == 1


@pytest.mark.parametrize(
    "text",
    [
        "", "no json", "[]", "{}", "3", '{"kind": "experiment"}', '{"scores": 3, "dataset": "phantom"}',
        '{"metrics": {}, "pairs": 1}', '{"metrics": {"a": {"value": NaN}}, "pairs": 1}', "[" * 100_000,
        '{"scores": {"scanpath": 1}, "dataset": "folder"}', '{"metrics": {"a": 1}, "pairs": 1}',
        '{"kind": "experiment", "domains": {"A": {"runs": [{"variant": "base"}]}}}',
    ],
)  # fmt: skip
def test_anything_else_gives_one_clear_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(ReportError, match=r"Give a results\.json"):
        read_report(write(tmp_path, text))


def test_a_number_without_bounds_is_refused(tmp_path: Path) -> None:
    endless = experiment()
    endless["domains"]["A"]["ablations"][0]["value"] = 10**400
    with pytest.raises(ReportError, match="not whole"):
        read_report(write(tmp_path, endless))
    text = json.dumps(experiment()).replace("0.05", "1e999")
    with pytest.raises(ReportError, match="no JSON as we write it"):
        read_report(write(tmp_path, text))


def test_bytes_and_floods_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bytes.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ReportError, match="no JSON"):
        read_report(path)
    with pytest.raises(ReportError, match="larger than 5 MB"):
        read_report(write(tmp_path, " " * (MOST_BYTES + 1)))
    flood = experiment()
    flood["domains"]["A"]["differences"] *= 10_000
    assert len(read_report(write(tmp_path, flood)).tables[1].rows) == MOST_ROWS


def test_words_from_a_file_are_no_markup(tmp_path: Path) -> None:
    evil = experiment()
    evil["domains"]["A"]["ablations"][0]["variant"] = "<img src=x onerror=alert(1)>"
    shown = read_report(write(tmp_path, evil))
    html = markup.title(shown) + markup.tables(shown)
    assert "<img" not in html
    assert "&lt;img" in html
